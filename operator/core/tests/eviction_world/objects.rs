//! What exists in the simulated cluster, and how the engine sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use eci_core::eviction::notice::{About, SpotEvent};
use eci_core::eviction::{
    Budget, BudgetRef, Deletion, Expired, OnDeadline, Owner, Phase, Pod, PodRef, Promise, Selector,
    UnhealthyPolicy,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// When the world began, in seconds of the wall clock.
const START: i64 = 1_790_000_000;

pub fn wall(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(START * 1_000 + ms).unwrap()
}

/// As metav1.Time: whole seconds.
pub fn seconds(ms: i64) -> Timestamp {
    wall(ms.div_euclid(1_000) * 1_000)
}

/// A small generator of its own: the same in every version of every library.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low + 1)
    }

    pub fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Replaces a pod as soon as it is being deleted.
    ReplicaSet,
    /// Replaces a pod when it is gone, under the same name.
    StatefulSet,
    /// Replaces nothing.
    Bare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    MinAvailable(i64),
    MinAvailablePercent(i64),
    MaxUnavailable(i64),
    MaxUnavailablePercent(i64),
}

#[derive(Clone, Debug)]
pub struct Workload {
    pub namespace: String,
    pub app: String,
    pub kind: Kind,
    pub replicas: i64,
    /// How long a new pod takes to be ready.
    pub start: (i64, i64),
    pub grace: i64,
    pub on_deadline: OnDeadline,
    pub next: u64,
}

#[derive(Clone, Debug)]
pub struct SimPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub rv: u64,
    pub workload: usize,
    pub phase: Phase,
    pub ready: bool,
    pub ready_at: Option<i64>,
    pub created: i64,
    /// Begun when, with which grace period in seconds.
    pub deletion: Option<(i64, i64)>,
    pub grace: i64,
    pub cost: i32,
    pub noticed: Option<i64>,
    /// Only by an Event, without the condition.
    pub by_event: bool,
    pub bid_failed: bool,
}

impl SimPod {
    pub fn healthy(&self) -> bool {
        self.ready && self.deletion.is_none()
    }

    /// The vendor's Event of the notice.
    pub fn event(&self) -> SpotEvent {
        SpotEvent {
            uid: format!("event-of-{}", self.uid).into(),
            about: About::ToBeReleased,
            pod: PodRef::new(&self.namespace, &self.name, &self.uid),
            is_pod: true,
            component: "kubelet".into(),
            host: "eci".into(),
            time: self.noticed.map(seconds),
        }
    }

    pub fn seen(&self, workload: &Workload) -> Pod {
        let mut pod = Pod::new(PodRef::new(&self.namespace, &self.name, &self.uid));
        pod.version = self.rv;
        pod.labels = Arc::new([("app".to_owned(), workload.app.clone())].into());
        pod.owner = match workload.kind {
            Kind::ReplicaSet => Some(Owner { kind: "ReplicaSet".into(), name: workload.app.as_str().into() }),
            Kind::StatefulSet => {
                Some(Owner { kind: "StatefulSet".into(), name: workload.app.as_str().into() })
            }
            Kind::Bare => None,
        };
        pod.workload = pod.owner.clone();
        pod.on_virtual_node = true;
        pod.spot.strategy = Some("SpotAsPriceGo".into());
        pod.spot.release = Some("evict".into());
        (pod.phase, pod.ready, pod.bid_failed) = (self.phase, self.ready, self.bid_failed);
        pod.ready_since = self.ready_at.map(seconds);
        pod.created = Some(seconds(self.created));
        pod.deletion = self
            .deletion
            .map(|(begun, grace)| Deletion { at: seconds(begun) + SignedDuration::from_secs(grace), grace });
        (pod.grace, pod.deletion_cost, pod.on_deadline) = (self.grace, self.cost, workload.on_deadline);
        pod.expired = self
            .noticed
            .filter(|_| !self.by_event)
            .map(|at| Expired { status: true, since: Some(seconds(at)) });
        pod
    }
}

#[derive(Clone, Debug)]
pub struct SimPdb {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub rv: u64,
    pub app: String,
    pub rule: Rule,
    pub unhealthy: UnhealthyPolicy,
    pub generation: i64,
    pub observed: i64,
    pub allowed: i32,
    pub healthy: i32,
    pub desired: i32,
    pub expected: i32,
    pub disrupted: BTreeMap<String, i64>,
}

impl SimPdb {
    pub fn seen(&self) -> Budget {
        let labels = [("app".to_owned(), self.app.clone())].into();
        let selector = LabelSelector { match_labels: Some(labels), match_expressions: None };
        let mut budget = Budget::new(BudgetRef::new(&self.namespace, &self.name));
        (budget.uid, budget.version) = (self.uid.as_str().into(), self.rv);
        (budget.generation, budget.observed_generation) = (self.generation, self.observed);
        budget.selector = Selector::of(Some(&selector));
        budget.unhealthy = self.unhealthy;
        budget.promise = Some(match self.rule {
            Rule::MinAvailable(n) => Promise::MinAvailable(n.to_string().into()),
            Rule::MinAvailablePercent(p) => Promise::MinAvailable(format!("{p}%").into()),
            Rule::MaxUnavailable(n) => Promise::MaxUnavailable(n.to_string().into()),
            Rule::MaxUnavailablePercent(p) => Promise::MaxUnavailable(format!("{p}%").into()),
        });
        (budget.allowed, budget.healthy, budget.desired, budget.expected) =
            (self.allowed, self.healthy, self.desired, self.expected);
        budget.disrupted = Arc::new(self.disrupted.iter().map(|(k, v)| (k.clone(), seconds(*v))).collect());
        budget
    }

    /// What the disruption controller computes: desired and expected.
    pub fn target(&self, pods: i64, scale: i64) -> (i64, i64) {
        let percent = |p: i64| (scale * p + 99).div_euclid(100);
        match self.rule {
            Rule::MinAvailable(n) => (n, pods),
            Rule::MinAvailablePercent(p) => (percent(p), scale),
            Rule::MaxUnavailable(n) => ((scale - n).max(0), scale),
            Rule::MaxUnavailablePercent(p) => ((scale - percent(p)).max(0), scale),
        }
    }
}
