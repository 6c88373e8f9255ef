//! Objects of Kubernetes as the facts that the eviction engine decides by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eci_core::eviction::notice::{CONDITION, RELEASE, STRATEGY, VENDOR_RELEASE};
use eci_core::eviction::{
    Budget, BudgetRef, Deletion, Expired, Owner, Phase, Pod, PodRef, Promise, Selector, SpotAnnotations,
    UnhealthyPolicy, workload_of,
};
use k8s_openapi::api::core::v1::Pod as PodObject;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Grace period of a pod that says none, in seconds (Kubernetes).
const USUAL_GRACE: i64 = 30;

/// A pod; `None` for one that no API server has.
pub(super) fn pod(object: &PodObject, virtual_nodes: &BTreeSet<String>) -> Option<Pod> {
    let meta = &object.metadata;
    let id = PodRef::new(meta.namespace.as_deref()?, meta.name.as_deref()?, meta.uid.as_deref()?);
    let spec = object.spec.as_ref();
    let status = object.status.as_ref();
    let annotation = |name: &str| {
        meta.annotations.as_ref().and_then(|all| all.get(name)).map(|text| Arc::from(text.as_str()))
    };
    let labels: BTreeMap<String, String> = meta.labels.clone().unwrap_or_default();
    let owner = meta
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| Owner { kind: owner.kind.as_str().into(), name: owner.name.as_str().into() });
    let condition = |kind: &str| {
        status.and_then(|s| s.conditions.as_ref()).and_then(|all| all.iter().find(|c| c.type_ == kind))
    };
    let ready = condition("Ready");
    let deletion = meta
        .deletion_timestamp
        .as_ref()
        .map(|at| Deletion { at: at.0, grace: meta.deletion_grace_period_seconds.unwrap_or_default() });
    Some(Pod {
        workload: workload_of(owner.as_ref(), &labels),
        labels: Arc::new(labels),
        owner,
        on_virtual_node: spec
            .and_then(|spec| spec.node_name.as_ref())
            .is_some_and(|node| virtual_nodes.contains(node)),
        phase: Phase::of(status.and_then(|s| s.phase.as_deref()).unwrap_or_default()),
        ready: ready.is_some_and(|condition| condition.status == "True"),
        ready_since: ready.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0),
        deletion,
        grace: spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(USUAL_GRACE),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        spot: SpotAnnotations {
            strategy: annotation(STRATEGY),
            release: annotation(RELEASE),
            vendor_release: annotation(VENDOR_RELEASE),
        },
        expired: condition(CONDITION).map(|condition| Expired {
            status: condition.status == "True",
            since: condition.last_transition_time.as_ref().map(|time| time.0),
        }),
        ..Pod::new(id)
    })
}

/// How long a pod took from its creation until it was ready; `None` for one that is not.
pub(super) fn start(pod: &Pod) -> Option<Duration> {
    let (ready, created) = (pod.ready_since.filter(|_| pod.ready)?, pod.created?);
    Duration::try_from(ready.duration_since(created)).ok()
}

/// A budget; `None` for one that no API server has.
pub(super) fn budget(object: &PodDisruptionBudget) -> Option<Budget> {
    let meta = &object.metadata;
    let id = BudgetRef::new(meta.namespace.as_deref()?, meta.name.as_deref()?);
    let spec = object.spec.as_ref();
    let text = |value: &IntOrString| match value {
        IntOrString::Int(number) => number.to_string().into(),
        IntOrString::String(text) => text.as_str().into(),
    };
    let least = spec.and_then(|spec| spec.min_available.as_ref()).map(|v| Promise::MinAvailable(text(v)));
    let most =
        || spec.and_then(|spec| spec.max_unavailable.as_ref()).map(|v| Promise::MaxUnavailable(text(v)));
    let always = spec.and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref()) == Some("AlwaysAllow");
    let mut budget = Budget {
        uid: meta.uid.as_deref().unwrap_or_default().into(),
        generation: meta.generation.unwrap_or_default(),
        selector: Selector::of(spec.and_then(|spec| spec.selector.as_ref())),
        promise: least.or_else(most),
        unhealthy: if always { UnhealthyPolicy::AlwaysAllow } else { UnhealthyPolicy::IfHealthyBudget },
        ..Budget::new(id)
    };
    if let Some(status) = &object.status {
        budget.observed_generation = status.observed_generation.unwrap_or_default();
        budget.allowed = status.disruptions_allowed;
        budget.healthy = status.current_healthy;
        budget.desired = status.desired_healthy;
        budget.expected = status.expected_pods;
        budget.sync_failed = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "DisruptionAllowed" && condition.reason == "SyncFailed")
            .map(|condition| condition.message.as_str().into());
    }
    Some(budget)
}
