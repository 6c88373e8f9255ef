//! From objects of the API server to the facts that the engine knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use eci_core::eviction::notice::{About, CONDITION, RELEASE, STRATEGY, SpotEvent, VENDOR_RELEASE};
use eci_core::eviction::{
    Budget, BudgetRef, Deletion, Expired, Labels, Owner, Phase, Pod, PodRef, Promise, Selector,
    SpotAnnotations, UnhealthyPolicy, workload_of,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event as KubeEvent;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::intern::Shared;
use super::lean::{LeanPod, LeanStatus};

/// Annotation with the cost of deleting a pod rather than another one of its workload.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Reason of a pod whose spot instance was taken back.
const BID_FAILED: &str = "BidFailed";
/// Grace period of a pod that gives none, in seconds.
const DEFAULT_GRACE: i64 = 30;
/// Longest text of the API server that is kept, in characters.
const TEXT_LIMIT: usize = 256;

/// Turns objects into facts, sharing what is equal.
#[derive(Debug, Default)]
pub(super) struct Converter {
    words: Shared<str>,
    labels: Shared<BTreeMap<String, String>>,
}

impl Converter {
    /// A pod, and the node that it is bound to. Whether that is a virtual one, and what profiles say, is for the caller.
    pub(super) fn pod(&mut self, lean: LeanPod) -> Option<(Pod, Option<Arc<str>>)> {
        let LeanPod { metadata, spec, status } = lean;
        let spec = spec.unwrap_or_default();
        let mut pod = Pod::new(self.reference(&metadata)?);
        pod.version = version(&metadata);
        pod.owner = self.owner(&metadata);
        pod.deletion = metadata.deletion_timestamp.as_ref().map(|at| Deletion {
            at: at.0,
            grace: metadata.deletion_grace_period_seconds.unwrap_or_default(),
        });
        pod.grace = spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE);
        pod.created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let annotations = metadata.annotations.unwrap_or_default();
        let mut annotation = |key: &str| annotations.get(key).map(|value| self.words.get(clip(value)));
        pod.spot = SpotAnnotations {
            strategy: annotation(STRATEGY),
            release: annotation(RELEASE),
            vendor_release: annotation(VENDOR_RELEASE),
        };
        pod.deletion_cost =
            annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or_default();
        pod.labels = self.labels(metadata.labels.unwrap_or_default());
        pod.workload = workload_of(pod.owner.as_ref(), &pod.labels).map(|workload| Owner {
            kind: self.words.get(&*workload.kind),
            name: self.words.get(&*workload.name),
        });
        self.fill_status(&mut pod, &status.unwrap_or_default());
        let node = spec.node_name.filter(|node| !node.is_empty());
        Some((pod, node.map(|node| self.words.get(node.as_str()))))
    }

    fn fill_status(&mut self, pod: &mut Pod, status: &LeanStatus) {
        pod.phase = Phase::of(status.phase.as_deref().unwrap_or_default());
        pod.bid_failed = status.reason.as_deref() == Some(BID_FAILED);
        let ready = status.condition("Ready");
        pod.ready = ready.is_some_and(|condition| condition.status == "True");
        pod.ready_since = ready.and_then(|condition| time(condition.last_transition_time.as_ref()));
        if !pod.ready {
            pod.not_ready_because = status.not_ready_because().map(|reason| self.words.get(clip(reason)));
        }
        pod.expired = status.condition(CONDITION).map(|condition| Expired {
            // The vendor's samples write it in either way.
            status: condition.status.eq_ignore_ascii_case("true"),
            since: time(condition.last_transition_time.as_ref()),
        });
    }

    /// Which pod, by its metadata.
    pub(super) fn reference(&mut self, metadata: &ObjectMeta) -> Option<PodRef> {
        Some(PodRef {
            namespace: self.words.get(metadata.namespace.as_deref()?),
            name: metadata.name.as_deref()?.into(),
            uid: metadata.uid.as_deref()?.into(),
        })
    }

    /// Which budget, by its metadata.
    pub(super) fn budget_reference(&mut self, metadata: &ObjectMeta) -> Option<BudgetRef> {
        Some(BudgetRef {
            namespace: self.words.get(metadata.namespace.as_deref()?),
            name: self.words.get(metadata.name.as_deref()?),
        })
    }

    fn owner(&mut self, metadata: &ObjectMeta) -> Option<Owner> {
        let owners = metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        Some(Owner { kind: self.words.get(clip(&owner.kind)), name: self.words.get(clip(&owner.name)) })
    }

    fn labels(&mut self, labels: BTreeMap<String, String>) -> Labels {
        self.labels.take(labels)
    }

    /// A budget.
    pub(super) fn budget(&mut self, object: PodDisruptionBudget) -> Option<Budget> {
        let mut budget = Budget::new(self.budget_reference(&object.metadata)?);
        budget.uid = object.metadata.uid.as_deref().unwrap_or_default().into();
        budget.version = version(&object.metadata);
        budget.generation = object.metadata.generation.unwrap_or_default();
        if let Some(spec) = object.spec {
            budget.selector = Selector::of(spec.selector.as_ref());
            budget.promise = match (spec.min_available, spec.max_unavailable) {
                (Some(value), _) => Some(Promise::MinAvailable(self.amount(&value))),
                (None, Some(value)) => Some(Promise::MaxUnavailable(self.amount(&value))),
                (None, None) => None,
            };
            budget.unhealthy = match spec.unhealthy_pod_eviction_policy.as_deref() {
                Some("AlwaysAllow") => UnhealthyPolicy::AlwaysAllow,
                _ => UnhealthyPolicy::IfHealthyBudget,
            };
        }
        let Some(status) = object.status else {
            // Its controller has not seen it.
            budget.observed_generation = budget.generation - 1;
            return Some(budget);
        };
        budget.observed_generation = status.observed_generation.unwrap_or_default();
        budget.allowed = status.disruptions_allowed;
        budget.healthy = status.current_healthy;
        budget.desired = status.desired_healthy;
        budget.expected = status.expected_pods;
        let disrupted = status.disrupted_pods.unwrap_or_default();
        budget.disrupted = Arc::new(disrupted.into_iter().map(|(name, since)| (name, since.0)).collect());
        let conditions = status.conditions.unwrap_or_default();
        let failed = conditions.iter().find(|c| c.type_ == "DisruptionAllowed" && c.reason == "SyncFailed");
        budget.sync_failed = failed.map(|condition| clip(&condition.message).into());
        Some(budget)
    }

    fn amount(&mut self, value: &IntOrString) -> Arc<str> {
        match value {
            IntOrString::Int(number) => self.words.get(number.to_string().as_str()),
            IntOrString::String(text) => self.words.get(clip(text)),
        }
    }

    /// An event of the vendor.
    pub(super) fn spot(&mut self, about: About, event: KubeEvent) -> SpotEvent {
        let pod = event.involved_object;
        let source = event.source.unwrap_or_default();
        let component =
            source.component.filter(|component| !component.is_empty()).or(event.reporting_component);
        let host = source.host.filter(|host| !host.is_empty()).or(event.reporting_instance);
        let word = |text: Option<String>| text.unwrap_or_default();
        let seen = time(event.last_timestamp.as_ref())
            .or(event.event_time.map(|time| time.0))
            .or(time(event.first_timestamp.as_ref()))
            .or(time(event.metadata.creation_timestamp.as_ref()));
        SpotEvent {
            uid: word(event.metadata.uid).into(),
            about,
            pod: PodRef {
                namespace: self.words.get(clip(&word(pod.namespace))),
                name: clip(&word(pod.name)).into(),
                uid: clip(&word(pod.uid)).into(),
            },
            is_pod: pod.kind.as_deref() == Some("Pod"),
            component: self.words.get(clip(&word(component))),
            host: self.words.get(clip(&word(host))),
            time: seen,
        }
    }
}

fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The beginning of a foreign text.
fn clip(text: &str) -> &str {
    text.char_indices().nth(TEXT_LIMIT).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn convert(pod: Value) -> (Pod, Option<Arc<str>>) {
        Converter::default().pod(serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn pod(status: &Value) -> Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": "web-1", "uid": "u1", "resourceVersion": "42",
                "creationTimestamp": "2026-11-23T10:00:00Z",
                "labels": { "app": "web", "pod-template-hash": "5d" },
                "annotations": {
                    "k8s.aliyun.com/eci-spot-strategy": "SpotAsPriceGo",
                    "eci-operator.io/spot-release": "evict",
                    "controller.kubernetes.io/pod-deletion-cost": "-7",
                },
                "ownerReferences": [
                    { "apiVersion": "v1", "kind": "X", "name": "x", "uid": "0" },
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d", "uid": "1", "controller": true },
                ],
                "managedFields": [{ "manager": "somebody" }],
            },
            "spec": { "nodeName": "virtual-1", "terminationGracePeriodSeconds": 60, "containers": [{ "name": "a" }] },
            "status": status,
        })
    }

    #[test]
    fn a_pod_is_read_with_what_decisions_need() {
        let (pod, node) = convert(pod(&json!({
            "phase": "Running",
            "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T10:00:20Z" },
                { "type": "ContainerInstanceExpired", "status": "true", "lastTransitionTime": "2026-11-23T11:00:00Z" },
            ],
        })));
        assert_eq!((pod.id.to_string().as_str(), &*pod.id.uid, pod.version), ("shop/web-1", "u1", 42));
        assert_eq!(node.as_deref(), Some("virtual-1"));
        assert_eq!((pod.grace, pod.deletion_cost, pod.phase, pod.ready), (60, -7, Phase::Running, true));
        assert_eq!(
            pod.owner.as_ref().map(|owner| (&*owner.kind, &*owner.name)),
            Some(("ReplicaSet", "web-5d"))
        );
        assert_eq!(pod.workload.as_ref().map(|of| (&*of.kind, &*of.name)), Some(("Deployment", "web")));
        assert_eq!(pod.spot.strategy.as_deref(), Some("SpotAsPriceGo"));
        assert_eq!((pod.spot.release.as_deref(), pod.spot.vendor_release.as_deref()), (Some("evict"), None));
        let expired = pod.expired.unwrap();
        assert!(expired.status);
        assert_eq!(expired.since, Some("2026-11-23T11:00:00Z".parse().unwrap()));
        assert_eq!((pod.not_ready_because, pod.deletion), (None, None));
    }

    #[test]
    fn a_pod_with_nothing_in_it_is_read_too() {
        let bare = json!({ "metadata": { "namespace": "shop", "name": "a", "uid": "u" } });
        let (pod, node) = convert(bare);
        assert_eq!((pod.phase, pod.ready, pod.grace, node), (Phase::Pending, false, 30, None));
        let nameless: LeanPod = serde_json::from_value(json!({ "metadata": {} })).unwrap();
        assert_eq!(Converter::default().pod(nameless), None);
    }

    #[test]
    fn why_a_pod_is_not_ready_is_the_most_telling_word() {
        for (status, expected) in [
            (
                json!({ "containerStatuses": [
                    { "ready": true, "state": { "running": {} } },
                    { "ready": false, "state": { "waiting": { "reason": "ImagePullBackOff" } } },
                ], "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }] }),
                Some("ImagePullBackOff"),
            ),
            (
                json!({ "initContainerStatuses": [
                    { "ready": false, "state": { "terminated": { "reason": "Completed" } } },
                ], "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady" }] }),
                Some("ContainersNotReady"),
            ),
            (
                json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] }),
                Some("Unschedulable"),
            ),
            (json!({}), None),
        ] {
            let (pod, _) = convert(pod(&status));
            assert_eq!(pod.not_ready_because.as_deref(), expected, "{status}");
        }
    }

    #[test]
    fn a_budget_without_a_status_is_not_processed_yet() {
        let object = json!({
            "metadata": { "namespace": "shop", "name": "web", "uid": "b", "generation": 1, "resourceVersion": "7" },
            "spec": { "maxUnavailable": "25%", "selector": { "matchLabels": { "app": "web" } } },
        });
        let mut converter = Converter::default();
        let budget = converter.budget(serde_json::from_value(object.clone()).unwrap()).unwrap();
        assert!(!budget.is_processed());
        assert_eq!(budget.promise.as_ref().unwrap().to_string(), "maxUnavailable 25%");
        let mut object = object;
        object["status"] = json!({
            "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 4, "desiredHealthy": 3,
            "expectedPods": 4, "disruptedPods": { "web-1": "2026-11-23T10:00:00Z" },
            "conditions": [{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed",
                "message": "x".repeat(1_000), "lastTransitionTime": "2026-11-23T10:00:00Z" }],
        });
        let budget = converter.budget(serde_json::from_value(object).unwrap()).unwrap();
        assert!(budget.is_processed());
        assert_eq!((budget.allowed, budget.healthy, budget.desired, budget.expected), (1, 4, 3, 4));
        assert_eq!(budget.disrupted.len(), 1);
        assert_eq!(budget.sync_failed.unwrap().chars().count(), TEXT_LIMIT);
    }

    #[test]
    fn an_event_is_read_in_the_old_form_and_in_the_new_one() {
        let mut converter = Converter::default();
        let old = json!({
            "metadata": { "namespace": "shop", "name": "e", "uid": "e1" },
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "u1" },
            "source": { "component": "kubelet", "host": "eci" },
            "lastTimestamp": "2026-11-23T10:00:00Z",
        });
        let event = converter.spot(About::ToBeReleased, serde_json::from_value(old).unwrap());
        assert_eq!((&*event.component, &*event.host, event.is_pod), ("kubelet", "eci", true));
        assert_eq!(event.time, Some("2026-11-23T10:00:00Z".parse().unwrap()));
        let new = json!({
            "metadata": { "namespace": "shop", "name": "e", "uid": "e2" },
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "u1" },
            "reportingComponent": "kubelet", "reportingInstance": "eci",
            "eventTime": "2026-11-23T10:00:00.000000Z",
        });
        let event = converter.spot(About::ToBeReleased, serde_json::from_value(new).unwrap());
        assert_eq!((&*event.component, &*event.host), ("kubelet", "eci"));
        assert!(event.time.is_some());
    }
}
