//! Workloads that live on virtual nodes: what reclaims, evictions and benchmarks are done to.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::testbed::nodes::{ACK_LABEL, ACK_TAINT, BEHAVIOUR, START_AFTER, VNODE};

/// Annotation by which a pod asks the operator for a graceful eviction at a notice; its value is `evict`.
pub const OUR_RELEASE: (&str, &str) = ("eci-operator.io/spot-release", "evict");
/// Annotation by which a pod asks the vendor's virtual node for it.
pub const VENDOR_RELEASE: (&str, &str) = ("k8s.aliyun.com/eci-spot-release-strategy", "api-evict");
/// Annotation that makes an instance a spot instance, and the value without a price limit.
pub const SPOT: (&str, &str) = ("k8s.aliyun.com/eci-spot-strategy", "SpotAsPriceGo");

/// Who is asked to evict at a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The operator, by its own annotation.
    Ours,
    /// The vendor, by its annotation.
    Vendor,
    /// Nobody.
    Nobody,
}

/// Equal pods under one name. They tolerate virtual nodes and are spot instances.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Where they are.
    pub namespace: String,
    /// Of the Deployment or StatefulSet; also the value of the pods' label `app`.
    pub name: String,
    /// How many.
    pub replicas: i32,
    /// How long each is Pending on its node.
    pub start_after: Duration,
    /// terminationGracePeriodSeconds.
    pub grace_seconds: i64,
    /// Whose annotation they carry.
    pub release: Release,
    /// Whether they may run on virtual nodes only.
    pub virtual_only: bool,
    /// More annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// More labels of the pods.
    pub labels: BTreeMap<String, String>,
}

impl Workload {
    /// Pods that start at once, have 30 s of grace, and ask the operator to evict them.
    pub fn new(namespace: &str, name: &str, replicas: i32) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            replicas,
            start_after: Duration::ZERO,
            grace_seconds: 30,
            release: Release::Ours,
            virtual_only: true,
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// With a time from scheduled to Ready.
    #[must_use]
    pub fn starting_in(mut self, time: Duration) -> Self {
        self.start_after = time;
        self
    }

    /// With a grace period.
    #[must_use]
    pub fn with_grace(mut self, seconds: i64) -> Self {
        self.grace_seconds = seconds;
        self
    }

    /// With somebody else to evict them.
    #[must_use]
    pub fn released_by(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// With a behaviour of [`crate::testbed::nodes`].
    #[must_use]
    pub fn behaving(mut self, behaviour: &str) -> Self {
        self.annotations.insert(BEHAVIOUR.to_owned(), behaviour.to_owned());
        self
    }

    /// What selects the pods.
    pub fn selector(&self) -> String {
        format!("app={}", self.name)
    }

    /// The pods' template.
    fn template(&self) -> Value {
        let mut annotations = self.annotations.clone();
        let mut annotate = |(key, value): (&str, &str)| annotations.insert(key.to_owned(), value.to_owned());
        annotate(SPOT);
        match self.release {
            Release::Ours => drop(annotate(OUR_RELEASE)),
            Release::Vendor => drop(annotate(VENDOR_RELEASE)),
            Release::Nobody => {}
        }
        if !self.start_after.is_zero() {
            annotate((START_AFTER, &format!("{}ms", self.start_after.as_millis())));
        }
        let node_selector = if self.virtual_only { json!({ (ACK_LABEL.0): ACK_LABEL.1 }) } else { json!({}) };
        let mut labels = self.labels.clone();
        labels.insert("app".to_owned(), self.name.clone());
        json!({
            "metadata": { "labels": labels, "annotations": annotations },
            "spec": {
                "terminationGracePeriodSeconds": self.grace_seconds,
                "nodeSelector": node_selector,
                "tolerations": [
                    { "key": ACK_TAINT.0, "operator": "Exists" },
                    { "key": VNODE.0, "operator": "Exists" },
                ],
                "containers": [{ "name": "main", "image": "example.com/none" }],
            },
        })
    }

    /// A Deployment of them. Updates play no part here; a surge would only confuse counts.
    pub fn deployment(&self) -> Result<Deployment> {
        self.controller(&json!({}))
    }

    /// A StatefulSet of them, all started at once.
    pub fn stateful_set(&self) -> Result<StatefulSet> {
        self.controller(&json!({ "serviceName": self.name, "podManagementPolicy": "Parallel" }))
    }

    fn controller<K: serde::de::DeserializeOwned>(&self, more: &Value) -> Result<K> {
        let mut spec = json!({
            "replicas": self.replicas,
            "selector": { "matchLabels": { "app": self.name } },
            "template": self.template(),
        });
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        let object = json!({
            "metadata": { "namespace": self.namespace, "name": self.name },
            "spec": spec,
        });
        serde_json::from_value(object).context("a workload is not what Kubernetes takes")
    }

    /// A Job of one of them, which says nothing about disruptions.
    pub fn job(&self) -> Result<Job> {
        let mut template = self.template();
        template["spec"]["restartPolicy"] = json!("Never");
        let object = json!({
            "metadata": { "namespace": self.namespace, "name": self.name }, "spec": { "template": template },
        });
        serde_json::from_value(object).context("a job is not what Kubernetes takes")
    }

    /// One of them without a controller, on a node of its own choice if given.
    pub fn bare_pod(&self, name: &str, node: Option<&str>) -> Result<Pod> {
        let template: PodTemplateSpec = serde_json::from_value(self.template())?;
        let mut metadata = template.metadata.unwrap_or_default();
        metadata.name = Some(name.to_owned());
        metadata.namespace = Some(self.namespace.clone());
        let mut spec = template.spec.unwrap_or_default();
        spec.node_name = node.map(str::to_owned);
        Ok(Pod { metadata, spec: Some(spec), status: None })
    }

    /// Creates the Deployment and waits until all of its pods are Ready, but no more than `limit`.
    pub async fn deploy(&self, client: &Client, limit: Duration) -> Result<Vec<Pod>> {
        let api: Api<Deployment> = Api::namespaced(client.clone(), &self.namespace);
        api.create(&PostParams::default(), &self.deployment()?).await?;
        self.ready(client, limit).await
    }

    /// Waits until all replicas are Ready, and gives their pods.
    pub async fn ready(&self, client: &Client, limit: Duration) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        let selector = ListParams::default().labels(&self.selector());
        let wanted = usize::try_from(self.replicas).unwrap_or_default();
        eventually(&format!("{wanted} pods of {} are Ready", self.name), limit, || async {
            let mut list = pods.list(&selector).await.map_err(|error| error.to_string())?.items;
            list.retain(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
            if list.len() == wanted { Ok(list) } else { Err(format!("{} are", list.len())) }
        })
        .await
    }
}

/// What a budget keeps.
#[derive(Clone, Debug)]
pub enum Keep {
    /// minAvailable.
    MinAvailable(IntOrString),
    /// maxUnavailable.
    MaxUnavailable(IntOrString),
}

/// A PodDisruptionBudget for the pods of a workload, under its name.
pub fn budget(workload: &Workload, keep: Keep) -> Result<PodDisruptionBudget> {
    let (field, value) = match keep {
        Keep::MinAvailable(value) => ("minAvailable", value),
        Keep::MaxUnavailable(value) => ("maxUnavailable", value),
    };
    let object = json!({
        "metadata": { "namespace": workload.namespace, "name": workload.name },
        "spec": { (field): value, "selector": { "matchLabels": { "app": workload.name } } },
    });
    serde_json::from_value(object).context("a budget is not what Kubernetes takes")
}

/// Creates a budget and waits until its controller has seen it and counts `healthy` pods.
pub async fn protect(client: &Client, budget: &PodDisruptionBudget, healthy: i32) -> Result<()> {
    let namespace = budget.namespace().unwrap_or_default();
    let name = budget.name_any();
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), &namespace);
    api.create(&PostParams::default(), budget).await?;
    eventually(&format!("{namespace}/{name} counts {healthy} pods"), Duration::from_mins(1), || async {
        let object = api.get(&name).await.map_err(|error| error.to_string())?;
        let status = object.status.unwrap_or_default();
        let seen = status.observed_generation == object.metadata.generation;
        if seen && status.current_healthy == healthy { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await
}

/// Whether it runs and its condition Ready is True. A released instance may keep that condition.
pub fn is_ready(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && condition(pod, "Ready") == Some("True")
}

/// The status of a condition of a pod.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotations_say_what_was_asked_for() {
        let workload =
            Workload::new("shop", "web", 3).starting_in(Duration::from_millis(1500)).behaving("unready");
        let pod = workload.bare_pod("web-0", Some("virtual-1")).unwrap();
        let annotations = pod.metadata.annotations.unwrap();
        assert_eq!(annotations[START_AFTER], "1500ms");
        assert_eq!(annotations[BEHAVIOUR], "unready");
        assert_eq!(annotations[OUR_RELEASE.0], "evict");
        assert_eq!(annotations[SPOT.0], "SpotAsPriceGo");
        assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("virtual-1"));

        let vendors = workload.released_by(Release::Vendor).bare_pod("web-0", None).unwrap();
        let annotations = vendors.metadata.annotations.unwrap();
        assert_eq!(annotations[VENDOR_RELEASE.0], "api-evict");
        assert!(!annotations.contains_key(OUR_RELEASE.0));
    }

    #[test]
    fn a_controller_selects_the_pods_of_its_template() {
        let workload = Workload::new("shop", "web", 3);
        let spec = workload.deployment().unwrap().spec.unwrap();
        assert_eq!(spec.selector.match_labels, spec.template.metadata.unwrap().labels);
        let spec = workload.stateful_set().unwrap().spec.unwrap();
        assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
        assert_eq!(spec.replicas, Some(3));
    }
}
