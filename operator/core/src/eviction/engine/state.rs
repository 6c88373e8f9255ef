//! What the engine remembers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::super::budget::Outlook;
use super::super::forecast::Forecast;
use super::super::grace::Millis;
use super::super::notice::{NotEligible, Notice};
use super::super::why::Why;
use super::super::{BudgetRef, Deletion, Expired, Owner, Pod};
use super::queue::Ticket;
use crate::time::Mono;

/// A pod that was seen.
#[derive(Clone, Debug)]
pub(in super::super) struct Known {
    pub(super) pod: Pod,
    /// By which list it was last seen.
    pub(super) listing: u64,
    /// The notice, whether or not the pod is eligible.
    pub(super) notice: Option<Notice>,
    /// The condition that the notice is from.
    pub(super) condition: Option<Expired>,
    /// What was said about it not being eligible.
    pub(super) ignored: BTreeSet<NotEligible>,
    /// Its deletion as it was first seen: the last version of a pod says 0 s, for its node ends a deletion that way.
    pub(super) deletion: Option<Deletion>,
    /// Whether its start was counted.
    pub(super) started: bool,
    /// Whether its loss was told.
    pub(super) lost: bool,
}

impl Known {
    pub(super) fn new(pod: Pod, listing: u64) -> Self {
        let deletion = pod.deletion;
        Self {
            pod,
            listing,
            notice: None,
            condition: None,
            ignored: BTreeSet::new(),
            deletion,
            started: false,
            lost: false,
        }
    }
}

/// How a request ended that need not be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    /// The eviction was accepted.
    Evict,
    /// The deletion was accepted.
    Delete,
    /// The pod was gone already.
    Nothing,
    /// It went to an earlier pod of that name.
    Stale,
}

/// A request that need not be repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) did: Did,
    /// When it was answered.
    pub(super) mono: Mono,
    pub(super) wall: Timestamp,
    /// The grace period that it gave, in seconds.
    pub(super) grace: u32,
}

/// Nothing is sent for a pod until then, and why.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub(super) until: Mono,
    pub(super) why: Why,
    /// The words of the server, cut.
    pub(super) words: String,
    /// Whether a change of the pod ends it.
    pub(super) until_change: bool,
}

/// A pod with a notice that counts.
#[derive(Clone, Debug)]
pub(in super::super) struct Case {
    pub(super) notice: Notice,
    /// The deadline on the clock of the process.
    pub(super) due: Millis,
    /// When the notice was first seen.
    pub(super) noticed: Mono,
    /// The budgets that select it.
    pub(super) budgets: Vec<BudgetRef>,
    /// The request under way.
    pub(super) flight: Option<super::Attempt>,
    pub(super) done: Option<Done>,
    /// Whether a deletion of ours may have been what ended it.
    pub(super) deleting: bool,
    pub(super) hold: Option<Hold>,
    /// No deletion is sent before then.
    pub(super) delete_after: Mono,
    pub(super) failures: u32,
    pub(super) attempts: u32,
    /// The grace period of a request of which nobody knows what became of it: repeated as it was, so that it cannot
    /// shorten what may have been granted.
    pub(super) repeat: Option<u32>,
    pub(super) why: Why,
    pub(super) about: Option<BudgetRef>,
    pub(super) since: (Mono, Timestamp),
    /// What was last said.
    pub(super) said: Option<(Why, Option<BudgetRef>)>,
    pub(super) batch: Option<BatchKey>,
    /// The budget whose change it sleeps for.
    pub(super) waits: Option<BudgetRef>,
    /// When it wakes by itself.
    pub(super) alarm: Option<Mono>,
    /// Its place among those that can go.
    pub(super) ticket: Option<Ticket>,
    /// When its standing is told.
    pub(super) says: Option<Mono>,
}

/// The pods that sleep until a budget changes.
#[derive(Clone, Debug)]
pub(in super::super) struct Waiting {
    /// The budget as they saw it; `None` when it was not there.
    pub(super) seen: Option<Outlook>,
    pub(super) pods: BTreeSet<Arc<str>>,
    /// When that budget is looked at by itself.
    pub(super) timer: Option<Mono>,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(in super::super) struct Flight {
    pub(super) uid: Arc<str>,
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    /// The broker that booked it.
    pub(super) broker: Option<BudgetRef>,
    pub(super) deletion: bool,
    pub(super) grace: u32,
    pub(super) sent: Mono,
    /// It counts as lost, though its answer may still come.
    pub(super) given_up: bool,
}

/// Notices that came together for pods of one budget, by their number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct BatchKey {
    pub(super) namespace: Arc<str>,
    pub(super) budget: Option<BudgetRef>,
    pub(super) number: u64,
}

/// A batch of notices.
#[derive(Clone, Debug)]
pub(in super::super) struct Batch {
    pub(super) first: Mono,
    pub(super) last: Mono,
    /// The most that the budget allowed while the batch was gathered.
    pub(super) allowed: usize,
    pub(super) noticed: usize,
    pub(super) open: usize,
    pub(super) saved: usize,
    pub(super) forecast: Option<Forecast>,
    /// The workloads of its pods.
    pub(super) workloads: BTreeSet<Owner>,
}

/// The last [`EVENT_LIMIT`](super::EVENT_LIMIT) UIDs of something.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Recent {
    order: VecDeque<Arc<str>>,
    all: BTreeSet<Arc<str>>,
}

impl Recent {
    pub(super) fn contains(&self, uid: &str) -> bool {
        self.all.contains(uid)
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, uid: Arc<str>) -> bool {
        if !self.all.insert(Arc::clone(&uid)) {
            return false;
        }
        self.order.push_back(uid);
        if self.order.len() > super::EVENT_LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}
