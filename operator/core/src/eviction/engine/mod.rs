//! The engine: facts in, requests and reports out.

mod answered;
mod foresee;
mod intake;
mod queue;
mod rouse;
mod schedule;
mod speak;
mod state;

pub use schedule::{GATHER, URGENT};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::queue::Queue;
use self::state::{Batch, BatchKey, Case, Flight, Known, Recent, Waiting};
use super::budget::{Broker, Gate, PER_BUDGET};
use super::forecast::Starts;
use super::grace::{Millis, millis};
use super::notice::{Policy, SpotEvent};
use super::pace::Bucket;
use super::why::Why;
use super::{Attempt, BudgetRef, Effect, Event, Owner, Report, Standing, Step};
use crate::time::{Mono, Now};

/// Most events of the vendor that wait for their pod, and most UIDs that are remembered as dealt with.
pub const EVENT_LIMIT: usize = 4_096;
/// Most workloads whose start times are kept.
pub const WORKLOAD_LIMIT: usize = 4_096;
/// How long a reason has to last before it is reported: most pass by themselves.
pub const SAY_AFTER: Duration = Duration::from_millis(500);
/// Most blocked pods that [`Engine::blocked`] tells.
pub const BLOCKED_LIMIT: usize = 20;

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which pods are evicted at a notice, and how long one is.
    pub policy: Policy,
    /// Most requests a second, at least 1.
    pub per_second: u32,
    /// Most requests at once after a pause, at least 1.
    pub burst: u32,
    /// Most requests under way, at least 2; a namespace gets at most half of them.
    pub in_flight: usize,
    /// Most evictions under way on one budget, at least 1.
    pub per_budget: usize,
    /// When a request without an answer counts as lost. Longer than the time limit of the requests themselves.
    pub answer_limit: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            per_second: 100,
            burst: 200,
            in_flight: 64,
            per_budget: PER_BUDGET,
            answer_limit: Duration::from_secs(40),
        }
    }
}

/// Now, by each clock that the engine reckons with.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) wall: Timestamp,
    pub(super) mono: Mono,
    pub(super) ms: Millis,
}

impl At {
    fn of(now: Now) -> Self {
        Self { wall: now.wall, mono: now.mono, ms: millis(now.mono.0) }
    }

    /// An instant of the wall clock on the clock of the process.
    fn on_process_clock(self, wall: Timestamp) -> Millis {
        let ahead = wall.duration_since(self.wall).as_millis();
        self.ms.saturating_add(i64::try_from(ahead).unwrap_or(if ahead < 0 {
            i64::MIN / 4
        } else {
            i64::MAX / 4
        }))
    }
}

/// How many pods with a notice there are, by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that have not ended.
    pub noticed: usize,
    /// Of these, those that something stands in the way of.
    pub blocked: usize,
    /// Of these, those that are being deleted.
    pub leaving: usize,
    /// Requests under way.
    pub in_flight: usize,
}

/// The state machine. One per process that leads; everything in it can be rebuilt from the API server.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Settings,
    /// By UID.
    pods: BTreeMap<Arc<str>, Known>,
    /// The UID of the pod that has a namespace and name.
    names: BTreeMap<(Arc<str>, Arc<str>), Arc<str>>,
    /// Pods with a notice that counts, by UID.
    cases: BTreeMap<Arc<str>, Case>,
    /// Those of them that are judged at the next step; the others sleep, see `rouse`.
    awake: BTreeSet<Arc<str>>,
    /// Those that can go and wait for their turn.
    queue: Queue,
    /// Those whose standing is still to be told, and when.
    unsaid: BTreeSet<(Mono, Arc<str>)>,
    waiting: BTreeMap<BudgetRef, Waiting>,
    alarms: BTreeSet<(Mono, Arc<str>)>,
    /// Brokers that something happened to.
    touched: BTreeSet<BudgetRef>,
    /// When brokers are to be looked at though nothing happens to them.
    timers: BTreeSet<(Mono, BudgetRef)>,
    /// How many there are in each namespace.
    population: BTreeMap<Arc<str>, usize>,
    brokers: BTreeMap<BudgetRef, Broker>,
    flights: BTreeMap<Attempt, Flight>,
    batches: BTreeMap<BatchKey, Batch>,
    /// Those of them that have no forecast yet.
    untold: BTreeSet<BatchKey>,
    starts: BTreeMap<(Arc<str>, Owner), Starts>,
    /// Events whose pod has not been seen, by its UID.
    hearsay: BTreeMap<Arc<str>, (SpotEvent, Timestamp, Mono)>,
    /// UIDs of events that were dealt with.
    heard: Recent,
    /// UIDs of pods that are gone: what comes late about them is history.
    gone: Recent,
    pods_synced: bool,
    budgets_synced: bool,
    pod_listing: u64,
    pod_list_began: Mono,
    budget_listing: u64,
    budget_list_began: Mono,
    last_attempt: u64,
    last_batch: u64,
    bucket: Bucket,
    /// The API server as a whole.
    server: Gate,
    /// Why that is shut, if it is.
    server_why: Why,
    /// Namespaces in which evictions (`false`) or deletions (`true`) are not permitted.
    forbidden: BTreeMap<(Arc<str>, bool), Gate>,
    /// How often each namespace had its turn.
    served: BTreeMap<Arc<str>, u64>,
    out: Vec<Effect>,
}

impl Engine {
    /// Knows nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            pods: BTreeMap::new(),
            names: BTreeMap::new(),
            cases: BTreeMap::new(),
            awake: BTreeSet::new(),
            queue: Queue::default(),
            unsaid: BTreeSet::new(),
            waiting: BTreeMap::new(),
            alarms: BTreeSet::new(),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            population: BTreeMap::new(),
            brokers: BTreeMap::new(),
            flights: BTreeMap::new(),
            batches: BTreeMap::new(),
            untold: BTreeSet::new(),
            starts: BTreeMap::new(),
            hearsay: BTreeMap::new(),
            heard: Recent::default(),
            gone: Recent::default(),
            pods_synced: false,
            budgets_synced: false,
            pod_listing: 0,
            pod_list_began: Mono::default(),
            budget_listing: 0,
            budget_list_began: Mono::default(),
            last_attempt: 0,
            last_batch: 0,
            bucket: Bucket::new(settings.per_second, settings.burst),
            server: Gate::default(),
            server_why: Why::ServerUnavailable,
            forbidden: BTreeMap::new(),
            served: BTreeMap::new(),
            out: Vec::new(),
        }
    }

    /// Takes in what happened, in that order, and decides.
    pub fn step(&mut self, events: impl IntoIterator<Item = Event>, now: Now) -> Step {
        let at = At::of(now);
        for event in events {
            self.take(event, at);
        }
        self.expire(at);
        let wake = if self.pods_synced && self.budgets_synced { self.schedule(at) } else { None };
        Step { effects: std::mem::take(&mut self.out), wake }
    }

    /// The pods with a notice that something stands in the way of, the most urgent first, at most `limit`.
    pub fn blocked(&self, limit: usize) -> Vec<Standing> {
        let mut blocked: Vec<(&Arc<str>, &Case)> =
            self.cases.iter().filter(|(_, case)| case.why.is_blocked()).collect();
        blocked.sort_by_key(|(uid, case)| (case.due, *uid));
        let mut culprits = BTreeMap::new();
        blocked.into_iter().take(limit).filter_map(|(uid, _)| self.standing(uid, &mut culprits)).collect()
    }

    /// How many pods with a notice there are.
    pub fn counts(&self) -> Counts {
        let is_leaving =
            |uid: &Arc<str>| self.pods.get(uid).is_some_and(|known| known.pod.deletion.is_some());
        Counts {
            noticed: self.cases.len(),
            blocked: self.cases.values().filter(|case| case.why.is_blocked()).count(),
            leaving: self.cases.keys().filter(|uid| is_leaving(uid)).count(),
            in_flight: self.flights.values().filter(|flight| !flight.given_up).count(),
        }
    }

    /// The start times of a workload, if pods of it were seen to start.
    pub fn starts(&self, namespace: &str, workload: &Owner) -> Option<&Starts> {
        self.starts.get(&(namespace.into(), workload.clone()))
    }

    fn report(&mut self, report: Report) {
        self.out.push(Effect::Report(report));
    }
}
