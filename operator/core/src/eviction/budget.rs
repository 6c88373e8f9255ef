//! The broker of one budget: how many evictions may be under way, counted locally so that few are refused.
//!
//! An eviction that was sent is booked against `disruptionsAllowed` as last seen. The booking ends when the status that
//! contains it is seen (the pod's name turns up in `disruptedPods`, which the watch shows even before the answer), when
//! the eviction is refused, or by a list that began after the answer. If none of these comes, it ends [`SETTLE`] after
//! the answer: a booking that ends too early costs one refused request, one that never ends costs pods. After a failure
//! that the server itself told it ends sooner, at first: what it had written before, the watch has shown by then.
//!
//! A refusal counts against the version of the budget that was known when the request was sent. If a newer one has been
//! seen meanwhile, the decision is made anew at once; else the broker waits for a newer version, or [`SAFETY`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Attempt, Budget};
use crate::time::Mono;

/// Most evictions under way on one budget.
pub const PER_BUDGET: usize = 8;
/// One more eviction at once for so many slots. Each is a compare-and-swap on the status of the budget, and whoever loses
/// it sleeps 500 ms in the server: one after the other, each sent when the one before is seen in the status, is faster
/// until there are many.
const SLOTS_FOR_ONE_MORE: usize = 4;
/// Others do not wait longer than this for an eviction that is under way.
const PATIENCE: Duration = Duration::from_millis(100);
/// An eviction that takes so long has lost a compare-and-swap.
const SLOW: Duration = Duration::from_millis(450);
/// How long a booking outlives its answer when nothing confirms it.
pub const SETTLE: Duration = Duration::from_secs(2);
/// The same after a failure that the server told, at first; twice as long after each that follows.
pub const FAILURE_SETTLE: Duration = Duration::from_millis(150);
/// Longest wait for a newer version of a budget after a refusal that its known version does not explain.
pub const SAFETY: Duration = Duration::from_secs(2);
/// First such wait.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// How long an eviction of an earlier pod of the same name holds a slot: the disruption controller's time-out.
pub const STALE_HOLD: Duration = Duration::from_mins(2);
/// Most stale slots that are remembered for one budget.
const STALE_LIMIT: usize = 64;

/// Something that lets requests through or holds them back after a failure. While it is shut, one request at a time
/// tries whether it opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    failures: u32,
    until: Mono,
}

impl Gate {
    /// How many requests may go, when `under_way` are and at most `most` may be.
    pub(super) fn room(self, now: Mono, under_way: usize, most: usize) -> usize {
        if self.failures == 0 {
            most.saturating_sub(under_way)
        } else if now >= self.until {
            1_usize.saturating_sub(under_way)
        } else {
            0
        }
    }

    /// A failure: `first` at first, twice as long each time, at most `most`. Answers to requests that were sent before
    /// it was shut do not make it wait longer.
    pub(super) fn shut(&mut self, now: Mono, first: Duration, most: Duration) {
        if self.failures > 0 && now < self.until {
            return;
        }
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        self.until = now.plus(wait);
    }

    pub(super) fn open(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_shut(self) -> bool {
        self.failures > 0
    }

    /// When it may be tried again, if it is shut.
    pub(super) fn retry(self) -> Option<Mono> {
        self.is_shut().then_some(self.until)
    }
}

/// An eviction that is booked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Charge {
    pod: Arc<str>,
    /// The entry that `disruptedPods` had for that name already: an earlier pod's.
    entry: Option<Timestamp>,
    /// The version of the budget when it was sent.
    version: u64,
    sent: Mono,
    /// When it was answered with anything but a refusal, and when it ends then.
    settled: Option<(Mono, Mono)>,
}

/// Why a broker gives no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its controller has not seen the newest spec.
    NotProcessed,
    /// Its controller cannot compute it.
    SyncFailed,
    /// `disruptionsAllowed` is negative, or the server said that it does not keep up.
    Overrun,
    /// It can never allow any.
    Never,
    /// It allows none now, and one of its slots is held by a stale eviction.
    Stale,
    /// It allows none now.
    Exhausted,
    /// It allows some, but others of ours are under way.
    Busy,
    /// Too many at once were sent to it.
    Contended,
}

/// What the last answer about a budget said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing of interest.
    #[default]
    Nothing,
    /// Not processed.
    NotProcessed,
    /// It does not keep up.
    Overrun,
    /// It was contended.
    Contended,
}

/// What a pod that waits for a budget depends on: as long as it stays as it is, the pod need not be judged anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outlook {
    has_room: bool,
    closed: Closed,
    lets_unready_go: bool,
}

/// The broker of one budget.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    pub(super) budget: Budget,
    /// By which list it was last seen.
    pub(super) listing: u64,
    charges: BTreeMap<Attempt, Charge>,
    cap: usize,
    most: usize,
    gate: Gate,
    shut_at: u64,
    said: Said,
    stale: Vec<(Arc<str>, Mono)>,
    /// Failures of the server since it last took an eviction.
    failures: u32,
}

impl Broker {
    pub(super) fn new(budget: Budget, most: usize, listing: u64) -> Self {
        Self {
            budget,
            listing,
            charges: BTreeMap::new(),
            cap: most,
            most,
            gate: Gate::default(),
            shut_at: 0,
            said: Said::Nothing,
            stale: Vec::new(),
            failures: 0,
        }
    }

    /// A version of the budget was seen. An older one than the known one is passed over: `false`.
    pub(super) fn see(&mut self, budget: Budget) -> bool {
        if budget.version != 0 && budget.version < self.budget.version {
            return false;
        }
        if budget.uid != self.budget.uid {
            // Another budget of that name: nothing of ours is in its status.
            self.charges.retain(|_, charge| charge.settled.is_none());
        }
        self.charges.retain(|_, charge| {
            let entry = budget.disrupted.get(&*charge.pod);
            entry.is_none() || entry == charge.entry.as_ref()
        });
        if budget.version == 0 || budget.version > self.shut_at {
            self.gate.open();
            self.said = Said::Nothing;
        }
        self.budget = budget;
        true
    }

    /// A list that began at `began` has ended: it contains what was answered before.
    pub(super) fn listed(&mut self, began: Mono) {
        self.charges.retain(|_, charge| charge.settled.is_none_or(|(at, _)| at >= began));
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Mono) {
        self.charges.retain(|_, charge| charge.settled.is_none_or(|(_, until)| now < until));
        self.stale.retain(|(_, until)| *until > now);
    }

    fn under_way(&self) -> usize {
        self.charges.values().filter(|charge| charge.settled.is_none()).count()
    }

    /// Those that were sent a moment ago.
    fn fast(&self, now: Mono) -> impl Iterator<Item = &Charge> {
        self.charges
            .values()
            .filter(move |charge| charge.settled.is_none() && now.since(charge.sent) < PATIENCE)
    }

    /// What is left of the budget by our count.
    fn left(&self) -> usize {
        if !self.budget.is_processed() {
            return 0;
        }
        usize::try_from(self.budget.allowed).unwrap_or(0).saturating_sub(self.charges.len())
    }

    /// How many evictions may be sent now.
    pub(super) fn room(&self, now: Mono) -> usize {
        let (left, under_way) = (self.left(), self.under_way());
        if self.gate.is_shut() {
            return left.min(self.gate.room(now, under_way, 1));
        }
        let at_once = (left + under_way).div_ceil(SLOTS_FOR_ONE_MORE).min(self.cap);
        left.min(at_once.saturating_sub(self.fast(now).count())).min(self.most.saturating_sub(under_way))
    }

    /// When something may change without any event.
    pub(super) fn wake(&self, now: Mono) -> Option<Mono> {
        let settled = self.charges.values().filter_map(|charge| charge.settled).map(|(_, until)| until);
        let over = settled.chain(self.stale.iter().map(|(_, until)| *until)).min();
        if self.left() == 0 {
            return over;
        }
        let retry = self.gate.retry().filter(|when| *when > now);
        let slow = self.fast(now).map(|charge| charge.sent.plus(PATIENCE)).min();
        over.into_iter().chain(retry).chain(slow).min()
    }

    /// Why there is no room.
    pub(super) fn closed(&self) -> Closed {
        let budget = &self.budget;
        if !budget.is_processed() || self.said == Said::NotProcessed {
            Closed::NotProcessed
        } else if budget.sync_failed.is_some() {
            Closed::SyncFailed
        } else if budget.allowed < 0 || self.said == Said::Overrun {
            Closed::Overrun
        } else if budget.never_allows() && budget.allowed == 0 {
            Closed::Never
        } else if budget.allowed == 0 && self.holds_stale() {
            Closed::Stale
        } else if self.said == Said::Contended {
            Closed::Contended
        } else if budget.allowed == 0 || self.gate.is_shut() {
            Closed::Exhausted
        } else {
            Closed::Busy
        }
    }

    /// What those see that wait for it.
    pub(super) fn outlook(&self, now: Mono) -> Outlook {
        let lets_unready_go = self.budget.lets_unready_go();
        Outlook { has_room: self.room(now) > 0, closed: self.closed(), lets_unready_go }
    }

    fn holds_stale(&self) -> bool {
        self.stale.iter().any(|(pod, _)| self.budget.disrupted.contains_key(&**pod))
    }

    /// An eviction of the pod of that name is sent.
    pub(super) fn book(&mut self, attempt: Attempt, pod: &Arc<str>, sent: Mono) {
        let entry = self.budget.disrupted.get(&**pod).copied();
        let charge =
            Charge { pod: Arc::clone(pod), entry, version: self.budget.version, sent, settled: None };
        self.charges.insert(attempt, charge);
    }

    /// It was accepted after that time.
    pub(super) fn accepted(&mut self, attempt: Attempt, now: Mono, took: Duration) {
        self.settle(attempt, now);
        self.failures = 0;
        self.cap = if took >= SLOW { (self.cap / 2).max(1) } else { (self.cap + 1).min(self.most) };
        self.gate.open();
        self.said = Said::Nothing;
    }

    /// Nobody knows whether the budget was charged.
    pub(super) fn settle(&mut self, attempt: Attempt, now: Mono) {
        self.settle_for(attempt, now, SETTLE);
    }

    /// The server failed, and may have charged the budget before.
    pub(super) fn failed(&mut self, attempt: Attempt, now: Mono) {
        let wait = FAILURE_SETTLE.saturating_mul(1 << self.failures.min(16)).min(SETTLE);
        self.failures = self.failures.saturating_add(1);
        self.settle_for(attempt, now, wait);
    }

    fn settle_for(&mut self, attempt: Attempt, now: Mono, wait: Duration) {
        if let Some(charge) = self.charges.get_mut(&attempt) {
            charge.settled = Some((now, now.plus(wait)));
        }
    }

    /// It was refused for a reason that has nothing to do with the budget, or was never sent.
    pub(super) fn release(&mut self, attempt: Attempt) {
        self.charges.remove(&attempt);
    }

    /// It was refused because of the budget.
    pub(super) fn refused(&mut self, attempt: Attempt, now: Mono, said: Said) {
        let known = self.charges.remove(&attempt).map_or(self.budget.version, |charge| charge.version);
        if said == Said::Contended {
            self.cap = (self.cap / 2).max(1);
        } else if self.budget.version > known {
            return;
        }
        self.said = said;
        self.shut_at = self.budget.version;
        self.gate.shut(now, FIRST_WAIT, SAFETY);
    }

    /// It went to an earlier pod of that name, and used up a slot.
    pub(super) fn went_stale(&mut self, attempt: Attempt, now: Mono, pod: &Arc<str>) {
        self.settle(attempt, now);
        if self.stale.len() < STALE_LIMIT {
            self.stale.push((Arc::clone(pod), now.plus(STALE_HOLD)));
        }
    }
}
