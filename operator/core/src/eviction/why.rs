//! Why a pod with a notice has not gone yet, or how it went: reasons, and sentences for people.

use std::fmt::Write as _;

use eci_api::condition::MESSAGE_LIMIT;
use eci_api::reasons;
use jiff::Timestamp;

use super::Budget;

/// Longest foreign text that is shown, in characters.
pub const TEXT_LIMIT: usize = 200;
/// Most pods that one message names.
pub const NAMED_PODS: usize = 3;

/// A foreign text, as it may be shown: one line, cut to [`TEXT_LIMIT`] characters.
pub fn foreign(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut cut: String = text.chars().take(TEXT_LIMIT).map(clean).collect();
    if text.chars().nth(TEXT_LIMIT).is_some() {
        cut.push('…');
    }
    cut
}

/// A message of ours, cut to what a condition may hold.
pub(super) fn bounded(message: String) -> String {
    if message.chars().count() <= MESSAGE_LIMIT {
        message
    } else {
        message.chars().take(MESSAGE_LIMIT).collect()
    }
}

reasons! {
    /// Where a pod with a notice stands.
    Why {
        /// The eviction can go out; others go first, or so many are under way on this budget.
        WaitingForTurn,
        /// The eviction was sent and is not answered yet.
        Evicting,
        /// The API server took the eviction: the pod is being deleted with its grace period.
        Evicted,
        /// The pod is being deleted by somebody else.
        DeletedByOthers,
        /// The pod was deleted against its budget, because its profile says `onDeadline: Delete`.
        DeletedAtDeadline,
        /// No controller would replace the pod, so it runs as long as it can and is evicted shortly before the deadline.
        NothingReplacesIt,
        /// The budget allows no eviction now; it will when pods that are not ready become ready.
        BudgetExhausted,
        /// The budget allows no eviction even when all of its pods are healthy (maxUnavailable 0, or minAvailable of all
        /// replicas). Change the budget, or run more replicas than minAvailable.
        BudgetNeverAllows,
        /// The budget's controller has not seen its newest spec yet.
        BudgetNotProcessed,
        /// The budget's controller cannot compute it; the message has its words.
        BudgetSyncFailed,
        /// An eviction with the UID of an earlier pod used up a slot of the budget for up to two minutes.
        BudgetHeldByStaleEviction,
        /// Too many evictions on one budget at once; tried again.
        BudgetContended,
        /// The budget's status says a negative number, or has 2,000 evictions that its controller has not confirmed: it
        /// does not keep up.
        BudgetOverrun,
        /// More than one PodDisruptionBudget selects the pod; the API server refuses every eviction. Leave one.
        SeveralBudgets,
        /// An admission webhook or policy refuses the eviction; the message has its words.
        WebhookRefused,
        /// The namespace is being deleted, and the pod with it.
        NamespaceTerminating,
        /// The operator may not evict pods. Give its ServiceAccount `create` on `pods/eviction`.
        NotPermitted,
        /// The profile of the pod says `onDeadline: Delete`, its time has come, and the operator may not delete pods. Set
        /// the chart value `eviction.deletePods`.
        DeleteNotPermitted,
        /// The API server asks for fewer requests.
        ServerOverloaded,
        /// The API server cannot be reached or failed; the message has its words.
        ServerUnavailable,
        /// The API server refused the request itself; the message has its words.
        RequestRefused,
    }
}

impl Why {
    /// Whether something stands in the way that a person may want to know of.
    pub const fn is_blocked(self) -> bool {
        !matches!(
            self,
            Self::WaitingForTurn
                | Self::Evicting
                | Self::Evicted
                | Self::DeletedByOthers
                | Self::DeletedAtDeadline
                | Self::NothingReplacesIt
                | Self::NamespaceTerminating
        )
    }
}

/// What a budget needs and has, and which of its pods are in the way.
pub(super) fn budget(budget: &Budget, unready: &str) -> String {
    let promise = budget.promise.as_ref().map(|promise| format!(" ({})", foreign(&promise.to_string())));
    let mut text = format!(
        "PodDisruptionBudget {}{} needs {} healthy pods and has {} of {}",
        budget.id.name,
        promise.unwrap_or_default(),
        budget.desired,
        budget.healthy,
        budget.expected
    );
    if !unready.is_empty() {
        text.push_str("; not ready: ");
        text.push_str(unready);
    }
    text
}

/// What happened to a pod, the facts, and what to do: a sentence without its subject.
pub(super) fn predicate(why: Why, facts: &str) -> String {
    let what = match why {
        Why::WaitingForTurn => "waits for its turn to be evicted",
        Why::Evicting => "is being evicted",
        Why::Evicted => "was evicted within its budget and ends with its grace period",
        Why::DeletedByOthers => "is being deleted by somebody else",
        Why::DeletedAtDeadline => {
            "was deleted against its budget, as onDeadline: Delete of its EciProfile asks"
        }
        Why::NothingReplacesIt => {
            "has no controller that would replace it, and is evicted shortly before its deadline"
        }
        Why::BudgetExhausted => "cannot be evicted yet: its budget allows none until more pods are ready",
        Why::BudgetNeverAllows => {
            "cannot be evicted: its budget never allows it; raise maxUnavailable, or run more replicas than minAvailable"
        }
        Why::BudgetNotProcessed => {
            "cannot be evicted yet: the newest spec of its budget is not processed yet"
        }
        Why::BudgetSyncFailed => {
            "cannot be evicted: the disruption controller cannot compute its budget; correct it"
        }
        Why::BudgetHeldByStaleEviction => {
            "cannot be evicted yet: an eviction of an earlier pod of the same name holds a slot of the budget for up to two minutes"
        }
        Why::BudgetContended => "could not be evicted: too many evictions at once on its budget; tried again",
        Why::BudgetOverrun => "cannot be evicted: the disruption controller does not keep up with its budget",
        Why::SeveralBudgets => {
            "cannot be evicted: the API server evicts no pod that more than one budget selects; leave one"
        }
        Why::WebhookRefused => "cannot be evicted: an admission webhook or policy refuses; change it",
        Why::NamespaceTerminating => "ends with its namespace, which is being deleted",
        Why::NotPermitted => {
            "cannot be evicted: the operator lacks a permission; give its ServiceAccount create on pods/eviction"
        }
        Why::DeleteNotPermitted => {
            "cannot be deleted as onDeadline: Delete of its EciProfile asks: the operator may not delete pods; set the chart value eviction.deletePods"
        }
        Why::ServerOverloaded => "cannot be evicted yet: the API server asks for fewer requests",
        Why::ServerUnavailable => {
            "could not be evicted: the API server failed or did not answer; tried again"
        }
        Why::RequestRefused => "cannot be evicted: the API server refuses the request",
    };
    if facts.is_empty() { what.to_owned() } else { format!("{what} ({facts})") }
}

/// A sentence about pods, and when their instance goes.
pub(super) fn sentence(subject: &str, predicate: &str, deadline: Option<Timestamp>) -> String {
    let mut text = format!("{subject} {predicate}");
    if let Some(deadline) = deadline {
        let at = deadline.strftime("%H:%M:%SZ");
        let _ = write!(text, "; its instance is taken back at about {at}");
    }
    bounded(text)
}
