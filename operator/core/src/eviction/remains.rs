//! What a pod leaves behind whose instance was taken back: a Failed object, which `failedPodTTL` of its profile removes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::notice::Policy;
use super::{Phase, Pod};

/// When the object is to be removed, `ttl` after its instance went; `None` when it is none of those that are removed: it
/// must have failed with its instance, and have a controller that makes a new one. The instance went at the deadline of
/// the notice that the object carries, else when it was first seen to have failed.
pub fn removal(pod: &Pod, ttl: Duration, first_seen: Timestamp, policy: &Policy) -> Option<Timestamp> {
    let is_replaced = pod.owner.as_ref().is_some_and(|owner| &*owner.kind != "Node");
    if pod.phase != Phase::Failed || !pod.bid_failed || pod.deletion.is_some() || !is_replaced {
        return None;
    }
    let later = |time: Timestamp, by: Duration| {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        time.checked_add(by).unwrap_or(Timestamp::MAX)
    };
    let noticed = pod.expired.filter(|expired| expired.status).and_then(|expired| expired.since);
    let went = noticed.map_or(first_seen, |since| later(since, policy.length).min(first_seen));
    Some(later(went, ttl))
}

#[cfg(test)]
mod tests {
    use super::super::{Deletion, Expired, Owner, PodRef};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failed() -> Pod {
        let owner = Owner { kind: "ReplicaSet".into(), name: "web-1".into() };
        Pod {
            phase: Phase::Failed,
            bid_failed: true,
            owner: Some(owner),
            ..Pod::new(PodRef::new("shop", "web", "u"))
        }
    }

    #[test]
    fn the_time_counts_from_the_end_of_the_instance() {
        let hour = Duration::from_hours(1);
        let policy = Policy::default();
        let removal = |pod: &Pod| removal(pod, hour, at(100_000), &policy);
        assert_eq!(removal(&failed()), Some(at(103_600)));
        let expired = |status, since| Pod { expired: Some(Expired { status, since }), ..failed() };
        assert_eq!(removal(&expired(true, Some(at(90_000)))), Some(at(90_000 + 180 + 3_600)));
        assert_eq!(removal(&expired(false, Some(at(90_000)))), Some(at(103_600)));
        assert_eq!(removal(&expired(true, None)), Some(at(103_600)));
        // A notice of the future says nothing.
        assert_eq!(removal(&expired(true, Some(at(999_999)))), Some(at(103_600)));
    }

    #[test]
    fn what_nothing_replaces_or_ended_otherwise_stays() {
        let node = Owner { kind: "Node".into(), name: "n".into() };
        let deletion = Deletion { at: at(1), grace: 1 };
        for pod in [
            Pod { owner: None, ..failed() },
            Pod { owner: Some(node), ..failed() },
            Pod { bid_failed: false, ..failed() },
            Pod { phase: Phase::Running, ..failed() },
            Pod { deletion: Some(deletion), ..failed() },
        ] {
            assert_eq!(removal(&pod, Duration::ZERO, at(1), &Policy::default()), None, "{pod:?}");
        }
    }
}
