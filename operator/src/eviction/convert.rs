//! From objects of the API server to the facts that the engine knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use eci_core::eviction::notice::{About, SpotEvent};
use eci_core::eviction::read::{self, Words, clip};
use eci_core::eviction::{Budget, BudgetRef, Labels, Pod, PodRef};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event as KubeEvent;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::intern::Shared;
use super::lean::LeanPod;

/// Turns objects into facts, sharing what is equal.
#[derive(Debug, Default)]
pub(super) struct Converter {
    words: Shared<str>,
    labels: Shared<BTreeMap<String, String>>,
    images: Shared<[Arc<str>]>,
}

impl Words for Converter {
    fn word(&mut self, text: &str) -> Arc<str> {
        self.words.get(text)
    }

    fn labels(&mut self, labels: BTreeMap<String, String>) -> Labels {
        self.labels.take(labels)
    }

    fn images(&mut self, images: Vec<Arc<str>>) -> Arc<[Arc<str>]> {
        self.images.get(images.as_slice())
    }
}

impl Converter {
    /// A pod, and the node that it is bound to. Whether that is a virtual one, and what profiles say, is for the caller.
    pub(super) fn pod(&mut self, lean: LeanPod) -> Option<(Pod, Option<Arc<str>>)> {
        let LeanPod { metadata, spec, status } = lean;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let mut pod = read::pod(metadata, spec.termination_grace_period_seconds, self)?;
        let images = spec.init_containers.iter().chain(&spec.containers);
        read::images(&mut pod, images.filter_map(|one| one.image.as_deref()), self);
        read::status(&mut pod, status.phase.as_deref(), status.reason.as_deref(), |type_| {
            let found = status.condition(type_)?;
            Some(read::Condition { status: &found.status, since: found.last_transition_time.as_ref() })
        });
        if !pod.ready {
            pod.not_ready_because = status.not_ready_because().map(|reason| self.words.get(clip(reason)));
        }
        let node = spec.node_name.filter(|node| !node.is_empty());
        Some((pod, node.map(|node| self.words.get(node.as_str()))))
    }

    /// Which budget, by its metadata.
    pub(super) fn budget_reference(&mut self, metadata: &ObjectMeta) -> Option<BudgetRef> {
        read::budget_reference(metadata, self)
    }

    /// A budget.
    pub(super) fn budget(&mut self, object: PodDisruptionBudget) -> Option<Budget> {
        read::budget(object, self)
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

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use eci_core::eviction::Phase;
    use eci_core::eviction::read::TEXT_LIMIT;
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
            "spec": { "nodeName": "virtual-1", "terminationGracePeriodSeconds": 60,
                "initContainers": [{ "name": "i", "image": "init:1" }],
                "containers": [{ "name": "a" }, { "name": "b", "image": "web:1" }] },
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
        assert_eq!(pod.images.iter().map(|image| &**image).collect::<Vec<_>>(), ["init:1", "web:1"]);
        assert!(!pod.from_cache);
        let expired = pod.expired.unwrap();
        assert!(expired.status);
        assert_eq!(expired.since, Some("2026-11-23T11:00:00Z".parse().unwrap()));
        assert_eq!((pod.not_ready_because, pod.deletion), (None, None));
    }

    #[test]
    fn images_are_kept_of_spot_pods_and_shared_and_a_matched_cache_is_seen() {
        let mut converter = Converter::default();
        let mut object = pod(&json!({}));
        object["metadata"]["annotations"]["k8s.aliyun.com/eci-matched-image-cache"] = json!("imc-1");
        let read = |converter: &mut Converter, object: &Value| {
            converter.pod(serde_json::from_value(object.clone()).unwrap()).unwrap().0
        };
        let (one, two) = (read(&mut converter, &object), read(&mut converter, &object));
        assert!(one.from_cache && Arc::ptr_eq(&one.images, &two.images));
        object["metadata"]["annotations"] = json!({});
        assert!(read(&mut converter, &object).images.is_empty());
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
