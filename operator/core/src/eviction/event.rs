//! What goes into the engine and what comes out.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::answer::Answer;
use super::forecast::{Forecast, Grade};
use super::notice::{NotEligible, Notice, SpotEvent};
use super::outcome::{By, Outcome};
use super::why::Why;
use super::{Budget, BudgetRef, Pod, PodRef};
use crate::time::Mono;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod was seen: new, changed, or listed.
    Pod(Box<Pod>),
    /// A pod was deleted.
    PodGone(PodRef),
    /// A list of pods begins (kube-runtime: `Init`): at the start, and after a watch was lost.
    PodsListing,
    /// That list ends: a pod that was not seen since it began is gone.
    PodsListed,
    /// A PodDisruptionBudget was seen.
    Budget(Box<Budget>),
    /// A PodDisruptionBudget was deleted.
    BudgetGone(BudgetRef),
    /// A list of budgets begins. It must reach the API server after this event, and read what is newest (no
    /// resourceVersion), for evictions that were answered before it are counted as contained in it.
    BudgetsListing,
    /// That list ends: a budget that was not seen since it began is gone.
    BudgetsListed,
    /// An Event of the vendor was seen. It may come before its pod.
    Spot(Box<SpotEvent>),
    /// A request was answered. Each [`Order`] is answered exactly once.
    Answered {
        /// Of which order.
        attempt: Attempt,
        /// What it was.
        answer: Answer,
    },
    /// The wake-up.
    Tick,
}

/// The number of a request, never used twice by one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number.
    pub attempt: Attempt,
    /// The pod; its UID is the only precondition.
    pub pod: PodRef,
    /// `gracePeriodSeconds`, at least 1.
    pub grace: u32,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a policy/v1 Eviction.
    Evict(Order),
    /// Delete the pod against its budget: only for pods with `onDeadline: Delete`.
    Delete(Order),
    /// Say something.
    Report(Report),
}

/// What a step gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To do, in this order.
    pub effects: Vec<Effect>,
    /// When a [`Event::Tick`] is needed, if nothing happens before.
    pub wake: Option<Mono>,
}

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A pod got a notice that counts. Once for each pod and process.
    Noticed {
        /// Which.
        pod: PodRef,
        /// Its profile.
        profile: Option<Arc<str>>,
        /// The notice.
        notice: Notice,
    },
    /// A notice counts for nothing, or nobody is evicted for it. Once for each pod and reason.
    Ignored {
        /// Which.
        pod: PodRef,
        /// Its profile, when the pod is known.
        profile: Option<Arc<str>>,
        /// Why.
        why: NotEligible,
    },
    /// Where a pod with a notice stands, when that changed.
    Standing(Standing),
    /// The end of a pod that had a notice. Once for each pod and process.
    Ended(Ended),
    /// How many of those with a notice will be evicted in time.
    Forecast(Forecast),
    /// A forecast against what came.
    Graded(Grade),
    /// An instance was taken back (`BidFailed`), with or without a notice.
    Lost {
        /// Which.
        pod: PodRef,
        /// Its profile.
        profile: Option<Arc<str>>,
        /// Whether this process saw it happen, rather than found it so when it first listed pods.
        fresh: bool,
    },
    /// A regular instance was taken for want of a spot instance.
    Degraded {
        /// Which.
        pod: PodRef,
        /// Its profile, when the pod is known.
        profile: Option<Arc<str>>,
    },
}

/// Where a pod with a notice stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub pod: PodRef,
    /// Its profile.
    pub profile: Option<Arc<str>>,
    /// The reason.
    pub why: Why,
    /// The sentence: what happened, to which object, what to do. At most 1,024 characters.
    pub message: String,
    /// What the sentence says beyond the reason: numbers, culprits, the words of the server.
    pub facts: String,
    /// The budget that it is about, or that selects the pod.
    pub budget: Option<BudgetRef>,
    /// When its instance goes.
    pub deadline: Timestamp,
    /// Since when it has this reason.
    pub since: Timestamp,
}

/// The end of a pod that had a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub pod: PodRef,
    /// Its profile.
    pub profile: Option<Arc<str>>,
    /// The budget that selects it.
    pub budget: Option<BudgetRef>,
    /// How.
    pub outcome: Outcome,
    /// Who told it to end.
    pub by: By,
    /// The notice.
    pub notice: Notice,
    /// From the moment it was told to end to the deadline; negative when that was past. `None` if nobody told it.
    pub slack: Option<SignedDuration>,
    /// From the notice to the moment when it was seen as `BidFailed`, if it was: the real length of a notice.
    pub lead: Option<Duration>,
    /// Requests that were sent for it.
    pub attempts: u32,
}
