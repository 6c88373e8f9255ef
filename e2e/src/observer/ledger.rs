//! What was seen of pods and budgets, in order. Pure: who watches says what and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};

use crate::vendor::{PodRef, RELEASED};
use crate::workload::is_ready;

/// Namespace and name of a budget.
pub type BudgetRef = (String, String);

/// A pod as it was seen. Times are since the observer's start.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub pod: PodRef,
    /// The node it was on.
    pub node: Option<String>,
    /// When it was first seen.
    pub since: Duration,
    /// When it was first Ready.
    pub ready_at: Option<Duration>,
    /// When it was first seen with a deletionTimestamp, or vanished without one.
    pub terminating_at: Option<Duration>,
    /// When it was first seen as released by the vendor.
    pub released_at: Option<Duration>,
    /// When it was gone.
    pub gone_at: Option<Duration>,
    /// What it is labelled with.
    pub labels: BTreeMap<String, String>,
    healthy: bool,
}

/// A healthy pod that was terminated although its budget had none to spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Whose pod.
    pub budget: BudgetRef,
    /// The pod.
    pub pod: PodRef,
    /// Healthy pods that were left.
    pub healthy: i32,
    /// Healthy pods that the budget wants, by its status.
    pub desired: i32,
    /// When.
    pub at: Duration,
}

/// A budget as it was seen.
#[derive(Clone, Debug)]
pub struct Floor {
    /// Healthy pods that it wants, by its status.
    pub desired: i32,
    /// Ready pods that are neither terminating nor failed.
    pub healthy: i32,
    /// The least of them since [`Ledger::begin`].
    pub least: i32,
    /// The resourceVersions by which the budget opened since [`Ledger::begin`]: it allowed nothing, and then something.
    pub openings: Vec<String>,
    selector: Selector,
    allowed: i32,
}

impl Floor {
    /// Whether it is about pods with such labels.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches(labels)
    }
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pods: BTreeMap<String, Seen>,
    budgets: BTreeMap<BudgetRef, Floor>,
    breaches: Vec<Breach>,
    begun: Duration,
}

impl Ledger {
    /// From here on minima and breaches count: what came before was getting ready.
    pub fn begin(&mut self, at: Duration) {
        self.begun = at;
        self.breaches.clear();
        for floor in self.budgets.values_mut() {
            floor.least = floor.healthy;
            floor.openings.clear();
        }
    }

    /// When it began, since the observer's start.
    pub fn begun(&self) -> Duration {
        self.begun
    }

    /// A pod is there, or has changed.
    pub fn pod(&mut self, at: Duration, pod: &Pod) {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default();
        let reference = PodRef::of(pod);
        let uid = reference.uid.clone();
        let ready = is_ready(pod);
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let seen = self.pods.entry(uid.clone()).or_insert_with(|| Seen {
            pod: reference,
            node: None,
            since: at,
            ready_at: None,
            terminating_at: None,
            released_at: None,
            gone_at: None,
            healthy: false,
            labels: BTreeMap::new(),
        });
        let relabelled = seen.labels != *pod.labels();
        let (was_healthy, old_labels) = (seen.healthy, seen.labels.clone());
        seen.labels.clone_from(pod.labels());
        seen.node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        seen.healthy = ready && !terminating;
        if ready {
            seen.ready_at.get_or_insert(at);
        }
        if phase == "Failed" && reason == RELEASED {
            seen.released_at.get_or_insert(at);
        }
        let newly_terminating = terminating && seen.terminating_at.is_none();
        if newly_terminating {
            seen.terminating_at = Some(at);
        }
        let seen = seen.clone();
        if relabelled && was_healthy {
            self.shift(&seen.pod.namespace, &old_labels, -1);
        }
        match (was_healthy && !relabelled, seen.healthy) {
            (false, true) => self.shift(&seen.pod.namespace, &seen.labels, 1),
            (true, false) => self.shift(&seen.pod.namespace, &seen.labels, -1),
            _ => {}
        }
        if newly_terminating {
            self.terminated(at, &seen, was_healthy);
        }
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, at: Duration, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        let Some(seen) = self.pods.get_mut(&uid) else { return };
        if seen.gone_at.is_some() {
            return;
        }
        seen.gone_at = Some(at);
        let was_healthy = std::mem::replace(&mut seen.healthy, false);
        let at_once = seen.terminating_at.is_none();
        seen.terminating_at.get_or_insert(at);
        let seen = seen.clone();
        if was_healthy {
            self.shift(&seen.pod.namespace, &seen.labels, -1);
        }
        if at_once {
            self.terminated(at, &seen, was_healthy);
        }
    }

    /// A list of all pods was read: those that are not in it are gone. It does not say in which order things happened
    /// since the last one, so that what became healthy is taken to have done so before another pod went.
    pub fn list(&mut self, at: Duration, pods: &[Pod]) {
        let (going, staying): (Vec<&Pod>, Vec<&Pod>) =
            pods.iter().partition(|pod| pod.metadata.deletion_timestamp.is_some() || !is_ready(pod));
        for pod in staying.into_iter().chain(going) {
            self.pod(at, pod);
        }
        self.only(at, &pods.iter().map(|pod| pod.uid().unwrap_or_default()).collect());
    }

    /// Pods that are not among these are gone.
    fn only(&mut self, at: Duration, uids: &BTreeSet<String>) {
        let gone: Vec<Pod> = self
            .pods
            .values()
            .filter(|seen| seen.gone_at.is_none() && !uids.contains(&seen.pod.uid))
            .map(|seen| {
                let mut pod = Pod::default();
                pod.metadata.uid = Some(seen.pod.uid.clone());
                pod
            })
            .collect();
        for pod in &gone {
            self.pod_gone(at, pod);
        }
    }

    /// A budget is there, or has changed. One with a selector that cannot be read selects nothing.
    pub fn budget(&mut self, budget: &PodDisruptionBudget) {
        let namespace = budget.namespace().unwrap_or_default();
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
        let Some(Ok(selector)) = selector.map(Selector::try_from) else { return };
        let status = budget.status.clone().unwrap_or_default();
        let key = (namespace, budget.name_any());
        let floor = self.budgets.entry(key.clone()).or_insert_with(|| {
            let mine = |seen: &&Seen| seen.pod.namespace == key.0 && selector.matches(&seen.labels);
            let healthy = self.pods.values().filter(|seen| seen.healthy).filter(mine).count();
            let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
            Floor {
                desired: 0,
                healthy,
                least: healthy,
                openings: Vec::new(),
                selector,
                // What it allows when it is first seen, nobody knows since when.
                allowed: status.disruptions_allowed,
            }
        });
        floor.desired = status.desired_healthy;
        if floor.allowed <= 0 && status.disruptions_allowed > 0 {
            floor.openings.push(budget.resource_version().unwrap_or_default());
        }
        floor.allowed = status.disruptions_allowed;
    }

    /// A budget is gone.
    pub fn budget_gone(&mut self, budget: &PodDisruptionBudget) {
        self.budgets.remove(&(budget.namespace().unwrap_or_default(), budget.name_any()));
    }

    /// Counts healthy pods of the budgets that select such labels.
    fn shift(&mut self, namespace: &str, labels: &BTreeMap<String, String>, by: i32) {
        for ((home, _), floor) in &mut self.budgets {
            if home == namespace && floor.selector.matches(labels) {
                floor.healthy += by;
                floor.least = floor.least.min(floor.healthy);
            }
        }
    }

    /// A pod was terminated; `healthy` if it was until then, so that its budget paid for it.
    fn terminated(&mut self, at: Duration, seen: &Seen, healthy: bool) {
        for (key, floor) in &mut self.budgets {
            if key.0 != seen.pod.namespace || !floor.selector.matches(&seen.labels) {
                continue;
            }
            if healthy && floor.healthy < floor.desired {
                self.breaches.push(Breach {
                    budget: key.clone(),
                    pod: seen.pod.clone(),
                    healthy: floor.healthy,
                    desired: floor.desired,
                    at,
                });
            }
        }
    }

    /// A pod, by its UID.
    pub fn seen(&self, uid: &str) -> Option<&Seen> {
        self.pods.get(uid)
    }

    /// All pods that ever were.
    pub fn pods(&self) -> impl Iterator<Item = &Seen> {
        self.pods.values()
    }

    /// All budgets that there are.
    pub fn budgets(&self) -> impl Iterator<Item = (&BudgetRef, &Floor)> {
        self.budgets.iter()
    }

    /// Healthy pods terminated below a floor since [`Ledger::begin`].
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }
}
