//! What keeps the operator from doing what a profile says of spot pods.

use eci_api::condition::ProfileReason;
use eci_api::eci_profile::{Spot, SpotDeadline, SpotRelease};

/// Something that only a person can put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In a word.
    pub reason: ProfileReason,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What the operator may do to pods: where it may not, the first namespace in which that is so (empty: in all).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// `None` when it may evict everywhere.
    pub evict_denied: Option<String>,
    /// `None` when it may delete everywhere.
    pub delete_denied: Option<String>,
}

/// What keeps the operator from doing what a profile says of spot pods, and a person can put right. `failing_watch` is
/// the resource whose watch has failed for long.
pub fn trouble(spot: &Spot, failing_watch: Option<&str>, permits: &Permits) -> Option<Trouble> {
    if let Some(resource) = failing_watch {
        let message = format!(
            "The operator cannot watch {resource}, so that it may miss notices and evictions. Its log says why; if it is not permitted to, install the roles of the chart."
        );
        return Some(Trouble { reason: ProfileReason::WatchFailing, message });
    }
    let place = |namespace: &str| {
        if namespace.is_empty() { String::new() } else { format!(" in the namespace {namespace}") }
    };
    let evicts = spot.release == Some(SpotRelease::Evict);
    if let Some(namespace) = permits.evict_denied.as_deref().filter(|_| evicts) {
        let message = format!(
            "The operator may not evict pods{}: give its ServiceAccount the verb create on pods/eviction, as the chart does.",
            place(namespace)
        );
        return Some(Trouble { reason: ProfileReason::EvictionNotPermitted, message });
    }
    let deletes = spot.on_deadline == Some(SpotDeadline::Delete);
    let removes = spot.failed_pod_ttl.is_some();
    let namespace = permits.delete_denied.as_deref().filter(|_| deletes || removes)?;
    let field = if deletes { "spec.spot.onDeadline: Delete" } else { "spec.spot.failedPodTTL" };
    let message = format!(
        "{field} needs the right to delete pods, which the operator does not have{}: set the value eviction.deletePods of the chart to true, or take the field out.",
        place(namespace)
    );
    Some(Trouble { reason: ProfileReason::DeletionNotPermitted, message })
}
