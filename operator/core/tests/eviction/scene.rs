//! A stage for the engine: short ways to say what happens, and to ask what it does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eci_core::eviction::answer::Answer;
use eci_core::eviction::why::Why;
use eci_core::eviction::{
    Attempt, Budget, BudgetRef, Deletion, Effect, Ended, Engine, Event, Expired, GATHER, Order, Owner, Pod,
    PodRef, Report, Selector, Settings, Standing,
};
use eci_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// When the process started, in seconds of the wall clock.
pub const START: i64 = 1_790_000_000;

pub fn wall(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(START * 1_000 + ms).unwrap()
}

/// A ready pod of a Deployment on a virtual node, with everything that makes it eligible.
pub fn pod(name: &str) -> Pod {
    let labels: BTreeMap<String, String> = [("app".to_owned(), "web".to_owned())].into();
    let mut pod = Pod::new(PodRef::new("shop", name, &format!("{name}-1")));
    pod.version = 1;
    pod.labels = Arc::new(labels);
    pod.owner = Some(Owner { kind: "ReplicaSet".into(), name: "web-7d9".into() });
    pod.workload = Some(Owner { kind: "Deployment".into(), name: "web".into() });
    pod.on_virtual_node = true;
    pod.spot.strategy = Some("SpotAsPriceGo".into());
    pod.spot.release = Some("evict".into());
    pod.created = Some(wall(-7_200_000));
    pod
}

/// A budget over the pods of [`pod`].
pub fn budget(allowed: i32, healthy: i32, expected: i32) -> Budget {
    let labels = [("app".to_owned(), "web".to_owned())].into();
    let selector = LabelSelector { match_labels: Some(labels), match_expressions: None };
    let mut budget = Budget::new(BudgetRef::new("shop", "web"));
    budget.uid = "web-pdb".into();
    budget.version = 1;
    budget.selector = Selector::of(Some(&selector));
    (budget.allowed, budget.healthy, budget.expected) = (allowed, healthy, expected);
    budget.desired = healthy - allowed;
    budget
}

pub struct Scene {
    pub engine: Engine,
    pub ms: i64,
    pub version: u64,
    pub wake: Option<Mono>,
    pub reports: Vec<Report>,
}

impl Scene {
    pub fn new(settings: Settings) -> Self {
        Self { engine: Engine::new(settings), ms: 1_000, version: 100, wake: None, reports: Vec::new() }
    }

    /// With these pods and budgets listed.
    pub fn with(pods: &[Pod], budgets: &[Budget]) -> Self {
        let mut scene = Self::new(Settings::default());
        let orders = scene.list(pods, budgets);
        assert_eq!(orders, Vec::new(), "nothing has a notice yet");
        scene
    }

    pub fn list(&mut self, pods: &[Pod], budgets: &[Budget]) -> Vec<Effect> {
        let mut events = vec![Event::PodsListing, Event::BudgetsListing];
        events.extend(pods.iter().cloned().map(|pod| Event::Pod(Box::new(pod))));
        events.extend(budgets.iter().cloned().map(|budget| Event::Budget(Box::new(budget))));
        events.extend([Event::PodsListed, Event::BudgetsListed]);
        self.step(events)
    }

    /// Requests; reports are kept aside.
    pub fn step(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        let mono = Mono(Duration::from_millis(u64::try_from(self.ms).unwrap()));
        let step = self.engine.step(events, Now { wall: wall(self.ms), mono });
        self.wake = step.wake;
        let mut orders = Vec::new();
        for effect in step.effects {
            match effect {
                Effect::Report(report) => self.reports.push(report),
                order => orders.push(order),
            }
        }
        orders
    }

    pub fn wait(&mut self, ms: i64) -> Vec<Effect> {
        self.ms += ms;
        self.step([Event::Tick])
    }

    /// A newer version of the pod.
    pub fn saw(&mut self, mut pod: Pod) -> Vec<Effect> {
        self.version += 1;
        pod.version = self.version;
        self.step([Event::Pod(Box::new(pod))])
    }

    /// A newer version of the budget.
    pub fn saw_budget(&mut self, mut budget: Budget) -> Vec<Effect> {
        self.version += 1;
        budget.version = self.version;
        self.step([Event::Budget(Box::new(budget))])
    }

    /// The notice, as a condition that is as old as this.
    pub fn notice(&mut self, pods: &[Pod], age: i64) -> Vec<Effect> {
        let since = Some(wall(self.ms - age));
        let mut events = Vec::new();
        for pod in pods {
            self.version += 1;
            let expired = Some(Expired { status: true, since });
            events.push(Event::Pod(Box::new(Pod { expired, version: self.version, ..pod.clone() })));
        }
        self.step(events)
    }

    /// The same, and what is done once those that come together have been gathered.
    pub fn notice_and_gather(&mut self, pods: &[Pod], age: i64) -> Vec<Effect> {
        let mut effects = self.notice(pods, age);
        effects.extend(self.wait(i64::try_from(GATHER.as_millis()).unwrap()));
        effects
    }

    pub fn answer(&mut self, attempt: Attempt, answer: Answer) -> Vec<Effect> {
        self.step([Event::Answered { attempt, answer }])
    }

    pub fn standings(&self) -> Vec<&Standing> {
        self.reports
            .iter()
            .filter_map(|report| if let Report::Standing(standing) = report { Some(standing) } else { None })
            .collect()
    }

    pub fn said(&self) -> Vec<(&str, Why)> {
        self.standings().iter().map(|standing| (&*standing.pod.name, standing.why)).collect()
    }

    pub fn ended(&self) -> Vec<&Ended> {
        self.reports
            .iter()
            .filter_map(|report| if let Report::Ended(ended) = report { Some(ended) } else { None })
            .collect()
    }

    /// The pod as it is while it is being deleted since now.
    pub fn leaving(&self, pod: &Pod, grace: i64) -> Pod {
        let at = wall(self.ms) + SignedDuration::from_secs(grace);
        let expired = Some(Expired { status: true, since: Some(wall(self.ms)) });
        Pod { deletion: Some(Deletion { at, grace }), expired, ..pod.clone() }
    }
}

pub fn evictions(effects: &[Effect]) -> Vec<&Order> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Evict(order) = effect { Some(order) } else { None })
        .collect()
}

pub fn deletions(effects: &[Effect]) -> Vec<&Order> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Delete(order) = effect { Some(order) } else { None })
        .collect()
}

pub fn names(orders: &[&Order]) -> Vec<String> {
    orders.iter().map(|order| order.pod.name.to_string()).collect()
}

pub fn pods(count: usize) -> Vec<Pod> {
    (0..count).map(|n| pod(&format!("web-{n}"))).collect()
}
