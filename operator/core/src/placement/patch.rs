//! The patches that are sent for pods. Each fails with a conflict unless the pod is the very version that was decided on.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::gate::GatePlan;
use super::{DELETION_COST, VIRTUAL_COST};
use crate::profile::decide::Change;
use crate::profile::patch::{Operation, patch};

/// What lets a pod go to virtual nodes: all of it at once.
pub fn admit(pod: &Pod, changes: &[Change]) -> Value {
    whole(pod, &patch(pod, changes), &[])
}

/// What removes gates, with what changes by that.
pub fn open(pod: &Pod, plan: &GatePlan) -> Value {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten()).enumerate();
    // From behind, so that the others keep their places.
    let mut places: Vec<usize> =
        gates.filter(|(_, gate)| plan.open.contains(&gate.name.as_str())).map(|(place, _)| place).collect();
    places.reverse();
    let removals: Vec<Value> = places
        .iter()
        .map(|place| json!({ "op": "remove", "path": format!("/spec/schedulingGates/{place}") }))
        .collect();
    whole(pod, &patch(pod, &plan.changes), &removals)
}

/// What lets a pod on a virtual node go first when its workload shrinks. A merge patch.
pub fn cost(resource_version: &str) -> Value {
    json!({ "metadata": {
        "resourceVersion": resource_version,
        "annotations": { (DELETION_COST): VIRTUAL_COST },
    } })
}

fn whole(pod: &Pod, operations: &[Operation], more: &[Value]) -> Value {
    let version = pod.metadata.resource_version.as_deref().unwrap_or_default();
    let precondition = json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version });
    let operations = operations.iter().map(|operation| json!(operation));
    std::iter::once(precondition).chain(operations).chain(more.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::caches::IMAGE_CACHE_GATE;

    #[test]
    fn gates_go_in_one_patch_with_what_changes_and_others_stay() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "resourceVersion": "7" },
            "spec": { "containers": [], "schedulingGates": [
                { "name": IMAGE_CACHE_GATE }, { "name": "example.com/other" },
            ] },
        }))
        .unwrap();
        let plan = GatePlan {
            open: vec![IMAGE_CACHE_GATE],
            changes: vec![Change::Annotation("a/b".into(), "c".into())],
            ..GatePlan::default()
        };
        let mut patched = serde_json::to_value(&pod).unwrap();
        let operations: json_patch::Patch = serde_json::from_value(open(&pod, &plan)).unwrap();
        json_patch::patch(&mut patched, &operations).unwrap();
        assert_eq!(patched["spec"]["schedulingGates"], json!([{ "name": "example.com/other" }]));
        assert_eq!(patched["metadata"], json!({ "resourceVersion": "7", "annotations": { "a/b": "c" } }));
    }
}
