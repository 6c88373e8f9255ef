//! Objects of a watch, decoded without what nobody here reads: who wrote which field is much of an object, and a list is
//! read in pages of many.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer};

/// What is read of metadata.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
}

/// Metadata without `managedFields`, which decoded are many times their text.
pub(crate) fn metadata<'de, D: Deserializer<'de>>(source: D) -> Result<ObjectMeta, D::Error> {
    let meta = SlimMeta::deserialize(source)?;
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        generation: meta.generation,
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
        labels: meta.labels,
        annotations: meta.annotations,
        owner_references: meta.owner_references,
        finalizers: meta.finalizers,
        ..ObjectMeta::default()
    })
}

/// A pod, as far as profiles and placement read it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SlimPod {
    #[serde(deserialize_with = "metadata", default)]
    metadata: ObjectMeta,
    spec: Option<PodSpec>,
    status: Option<SlimStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimStatus {
    phase: Option<String>,
    conditions: Option<Vec<PodCondition>>,
    nominated_node_name: Option<String>,
}

impl From<SlimPod> for Pod {
    fn from(SlimPod { metadata, spec, status }: SlimPod) -> Self {
        let status = status.map(|SlimStatus { phase, conditions, nominated_node_name }| PodStatus {
            phase,
            conditions,
            nominated_node_name,
            ..PodStatus::default()
        });
        Self { metadata, spec, status }
    }
}

impl Resource for SlimPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_but_the_managed_fields_of_metadata_is_kept() {
        let meta = json!({
            "name": "web-1", "namespace": "shop", "uid": "u1", "resourceVersion": "42", "generation": 3,
            "creationTimestamp": "2026-11-23T10:00:00Z", "deletionTimestamp": "2026-11-23T11:00:00Z",
            "deletionGracePeriodSeconds": 30, "labels": { "app": "web" }, "annotations": { "a": "b" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1" }],
            "finalizers": ["example.com/one"],
        });
        let mut whole = json!({ "metadata": meta, "status": { "phase": "Running", "podIP": "10.1.2.3" } });
        whole["metadata"]["managedFields"] =
            json!([{ "manager": "kubelet", "fieldsV1": { "f:status": {} } }]);
        let slim: SlimPod = serde_json::from_value(whole).unwrap();
        let pod = Pod::from(slim);
        assert_eq!(serde_json::to_value(&pod.metadata).unwrap(), meta);
        assert_eq!(serde_json::to_value(&pod.status).unwrap(), json!({ "phase": "Running" }));
        let bare: SlimPod = serde_json::from_value(json!({})).unwrap();
        assert_eq!(Pod::from(bare), Pod::default());
    }
}
