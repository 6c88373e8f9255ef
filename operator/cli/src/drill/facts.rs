//! Objects of Kubernetes as the facts that the eviction engine decides by.

use std::collections::BTreeSet;

use eci_core::eviction::read::{self, Apart};
use eci_core::eviction::{Budget, Pod};
use k8s_openapi::api::core::v1::{Pod as PodObject, PodCondition};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

/// A pod; `None` for one that no API server has.
pub(super) fn pod(object: &PodObject, virtual_nodes: &BTreeSet<String>) -> Option<Pod> {
    let spec = object.spec.as_ref();
    let grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
    let mut pod = read::pod(object.metadata.clone(), grace, &mut Apart)?;
    let node = spec.and_then(|spec| spec.node_name.as_ref());
    pod.on_virtual_node = node.is_some_and(|node| virtual_nodes.contains(node));
    if let Some(spec) = spec {
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        read::images(&mut pod, all.filter_map(|container| container.image.as_deref()), &mut Apart);
    }
    let status = object.status.as_ref();
    let (phase, reason) = (status.and_then(|s| s.phase.as_deref()), status.and_then(|s| s.reason.as_deref()));
    let conditions: &[PodCondition] =
        status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    read::status(&mut pod, phase, reason, |type_| {
        let found = conditions.iter().find(|condition| condition.type_ == type_)?;
        Some(read::Condition { status: &found.status, since: found.last_transition_time.as_ref() })
    });
    Some(pod)
}

/// A budget; `None` for one that no API server has.
pub(super) fn budget(object: &PodDisruptionBudget) -> Option<Budget> {
    read::budget(object.clone(), &mut Apart)
}
