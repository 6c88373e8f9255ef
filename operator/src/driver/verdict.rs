//! How a reconcile ends, and where tests end it.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::kind::Key;
use crate::kubernetes::KubeError;

/// Least time between two reconciles that an object asks for itself.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// When an object is looked at that waits for a list, should nobody nudge it.
const LIST_PATIENCE: Duration = Duration::from_mins(1);
/// When an object tries again to get its turn.
const TURN_WAIT: Duration = Duration::from_secs(1);
/// The wait after a reconcile that used up its passes.
const UNFINISHED_WAIT: Duration = Duration::from_secs(1);

/// Before or after an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has happened yet.
    Before,
    /// It has happened, and the driver does not know yet.
    After,
}

/// Where tests stop a reconcile as a crash would. `step` is the name of an effect.
pub trait Gate: Send + Sync + 'static {
    /// Whether to go on.
    fn check(&self, key: &Key, moment: Moment, step: &'static str) -> ControlFlow<()>;
}

/// Never stops anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Gate for Open {
    fn check(&self, _: &Key, _: Moment, _: &'static str) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Where a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do until something changes, or this time has passed.
    Rested(Option<Duration>),
    /// The object is nudged when there is a newer list.
    AwaitsList,
    /// Enough calls to the cloud are under way.
    AwaitsTurn,
    /// There is more to do than fits into one reconcile.
    Unfinished,
    /// The object does not exist any more.
    Gone,
    /// This process does not lead: nothing was done. Every object is triggered when it does.
    Standby,
}

impl Verdict {
    /// When to reconcile again by itself.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Rested(wait) => wait.map(|wait| wait.max(LEAST_WAIT)),
            Self::AwaitsList => Some(LIST_PATIENCE),
            Self::AwaitsTurn => Some(TURN_WAIT),
            Self::Unfinished => Some(UNFINISHED_WAIT),
            Self::Gone | Self::Standby => None,
        }
    }

    /// What the next step waits for, when there is one that could be taken otherwise.
    pub(super) fn waits_for(self) -> Option<&'static str> {
        match self {
            Self::AwaitsList => Some("list"),
            Self::AwaitsTurn => Some("turn"),
            Self::Unfinished => Some("pass"),
            Self::Rested(_) | Self::Gone | Self::Standby => None,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rested(_) => "rested",
            Self::AwaitsList => "awaits_list",
            Self::AwaitsTurn => "awaits_turn",
            Self::Unfinished => "unfinished",
            Self::Gone => "gone",
            Self::Standby => "standby",
        }
    }
}

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A call to the API server failed.
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
    /// The plan breaks a law: nothing is done rather than that.
    #[error("refused to act on a plan that breaks a law of the operator, please report this: {0}")]
    Unlawful(String),
    /// The gate stopped it.
    #[error("stopped by the gate")]
    Stopped,
}

/// A reconcile that failed.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct ReconcileError {
    /// Why.
    pub failure: Failure,
    /// When to try again.
    pub retry_in: Duration,
}
