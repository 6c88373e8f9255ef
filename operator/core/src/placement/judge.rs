//! Where a pod stands, by what it is and where it is.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::spill::{Stand, Waiting};
use crate::profile::decide::{Change, Moment, Namespace, World, decide};
use crate::profile::nodes::OwnWords;
use crate::profile::{Profile, Profiles};

/// Where a pod stands that is on no node. `free_since` is when its last scheduling gate was seen to go: a wait before
/// that was not for a node.
pub fn unbound(
    profiles: &Profiles,
    world: &World,
    namespace: Namespace<'_>,
    pod: &Pod,
    free_since: Option<Timestamp>,
) -> Stand {
    let Some(spec) = &pod.spec else { return Stand::Settled };
    if pod.metadata.deletion_timestamp.is_some() {
        return Stand::Settled;
    }
    if world.nodes.own_words(spec) == OwnWords::Other {
        return Stand::Virtual;
    }
    if spec.scheduling_gates.iter().flatten().next().is_some() {
        return Stand::Settled;
    }
    let decision = decide(profiles, world, namespace, pod, Moment::Spill);
    if !decision.changes.iter().any(|change| matches!(change, Change::Toleration(_))) {
        return Stand::Settled;
    }
    let status = pod.status.as_ref();
    let unschedulable = status.and_then(|status| {
        let mut conditions = status.conditions.iter().flatten();
        let found = conditions.find(|condition| condition.type_ == "PodScheduled")?;
        (found.status == "False" && found.reason.as_deref() == Some("Unschedulable"))
            .then(|| found.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
    });
    let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
    Stand::Waiting(Waiting {
        unschedulable: unschedulable.map(|since| free_since.map_or(since, |free| since.max(free))),
        nominated: nominated.is_some_and(|name| !name.is_empty()),
        priority: spec.priority.unwrap_or_default(),
        created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
    })
}

/// The changes that let a waiting pod go to virtual nodes; empty when there are none any more.
pub fn admission(profiles: &Profiles, world: &World, namespace: Namespace<'_>, pod: &Pod) -> Vec<Change> {
    let decision = decide(profiles, world, namespace, pod, Moment::Spill);
    if decision.changes.iter().any(|change| matches!(change, Change::Toleration(_))) {
        decision.changes
    } else {
        Vec::new()
    }
}

/// The profile whose placement counts among those that apply to a pod, in their order.
pub fn placing<'a>(applied: impl IntoIterator<Item = &'a Profile>) -> Option<&'a Profile> {
    applied.into_iter().find(|profile| profile.spec.placement.is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::profile::Labels;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn stand(placement: &Value, pod: Value, free_since: Option<Timestamp>) -> Stand {
        let spec = json!({
            "selector": { "podSelector": { "matchLabels": { "app": "web" } } },
            "placement": placement,
            "spot": { "strategy": "SpotAsPriceGo" },
        });
        let profile = Profile {
            name: "p".into(),
            generation: 1,
            spec: Arc::new(serde_json::from_value(spec).unwrap()),
        };
        let profiles = Profiles::new([profile], "eci-system");
        let none = Labels::new();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        unbound(&profiles, &World::default(), Namespace { name: "shop", labels: &none }, &pod, free_since)
    }

    fn pod(spec: &Value, status: &Value) -> Value {
        let mut whole = json!({ "containers": [] });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({
            "metadata": { "labels": { "app": "web" }, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": whole, "status": status,
        })
    }

    #[test]
    fn only_a_pod_without_words_of_its_own_waits_and_it_waits_from_the_word_of_the_scheduler() {
        let prefer = json!({ "policy": "PreferRegularNodes" });
        let condition = |status: &str, reason: &str| {
            json!({ "conditions": [{
                "type": "PodScheduled", "status": status, "reason": reason,
                "lastTransitionTime": "2026-01-01T00:01:00Z",
            }] })
        };
        let waits = |unschedulable: Option<&str>, nominated, priority| {
            Stand::Waiting(Waiting {
                unschedulable: unschedulable.map(at),
                nominated,
                priority,
                created: at("2026-01-01T00:00:00Z"),
            })
        };
        let minute = Some("2026-01-01T00:01:00Z");
        let unschedulable = condition("False", "Unschedulable");
        let mut nominated = unschedulable.clone();
        nominated["nominatedNodeName"] = "node-1".into();
        let tolerates = json!({ "tolerations": [{ "key": "k8s.aliyun.com/vnode", "operator": "Exists" }] });
        for (placement, pod, expected) in [
            (&prefer, pod(&json!({ "priority": 7 }), &unschedulable), waits(minute, false, 7)),
            (&prefer, pod(&json!({}), &nominated), waits(minute, true, 0)),
            (&prefer, pod(&json!({}), &json!({})), waits(None, false, 0)),
            (&prefer, pod(&json!({}), &condition("False", "SchedulerError")), waits(None, false, 0)),
            (&prefer, pod(&tolerates, &unschedulable), Stand::Virtual),
            (
                &prefer,
                pod(
                    &json!({ "schedulingGates": [{ "name": "a/b" }] }),
                    &condition("False", "SchedulingGated"),
                ),
                Stand::Settled,
            ),
            (&json!({ "policy": "RegularNodesOnly" }), pod(&json!({}), &unschedulable), Stand::Settled),
            (&json!({ "policy": "VirtualNodesOnly" }), pod(&json!({}), &unschedulable), Stand::Settled),
            (
                &json!({ "policy": "Fair", "limits": { "pods": 1 } }),
                pod(&json!({}), &json!({})),
                waits(None, false, 0),
            ),
        ] {
            assert_eq!(stand(placement, pod.clone(), None), expected, "{placement} {pod}");
        }
        let mut daemon = pod(&json!({}), &unschedulable);
        daemon["metadata"]["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": true }]);
        assert_eq!(stand(&prefer, daemon, None), Stand::Settled);
        let mut leaves = pod(&json!({}), &unschedulable);
        leaves["metadata"]["deletionTimestamp"] = "2026-01-01T00:02:00Z".into();
        assert_eq!(stand(&prefer, leaves, None), Stand::Settled);
        // The condition keeps the time of the gate.
        let freed = stand(&prefer, pod(&json!({}), &unschedulable), Some(at("2026-01-01T01:00:00Z")));
        assert_eq!(freed, waits(Some("2026-01-01T01:00:00Z"), false, 0));
    }
}
