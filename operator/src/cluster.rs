//! The ID of the cluster: it is in the tags of every resource, so it must never change.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, Resource as _, ResourceExt as _};

use crate::kubernetes::{self, KubeError};

/// Name of the ConfigMap that remembers the ID.
pub const CONFIG_MAP: &str = "eci-operator-cluster-id";
/// Its key.
pub const KEY: &str = "clusterID";
/// The namespace whose UID is the default ID.
const SYSTEM_NAMESPACE: &str = "kube-system";
/// Where the API server tells a pod its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The namespace when nothing tells it.
const DEFAULT_NAMESPACE: &str = "eci-operator";

/// There is no ID that could be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A call to the API server failed.
    #[error("cannot find out the cluster's ID: {0}")]
    Kubernetes(#[from] KubeError),
    /// The default ID cannot be had.
    #[error("cannot find out the cluster's ID: there is no namespace kube-system; set --cluster-id")]
    NoSystemNamespace,
    /// The ID changed.
    #[error(
        "the cluster's ID is {now:?}, but ConfigMap {namespace}/{CONFIG_MAP} remembers {before:?}, which is in the tags of every cloud resource: set --cluster-id={before}. Delete the ConfigMap only if no ImageCache exists"
    )]
    Changed {
        /// Where the ConfigMap is.
        namespace: String,
        /// The ID that it has.
        before: String,
        /// The ID that would be used now.
        now: String,
    },
}

/// This cluster, as the cloud knows it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its ID.
    pub id: String,
    /// The ConfigMap that remembers it: what events are about that concern the cluster as a whole.
    pub remembered: Option<ObjectReference>,
}

/// Whether the text can be an ID: 1 to 64 characters of `A–Z a–z 0–9 - _ .`
pub fn is_valid(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The namespace of the operator, from the environment or its service account.
pub fn own_namespace(lookup: impl Fn(&str) -> Option<String>) -> String {
    lookup("POD_NAMESPACE")
        .or_else(|| std::fs::read_to_string(NAMESPACE_FILE).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}

/// The ID of the cluster: `configured`, else the UID of kube-system. The first start remembers it, unless it is told not
/// to write; a later one with another ID is refused, since it would take none of the existing resources for its own.
pub async fn id(
    client: &Client,
    namespace: &str,
    configured: Option<&str>,
    remember: bool,
) -> Result<Cluster, ClusterError> {
    let id = if let Some(id) = configured {
        id.to_owned()
    } else {
        let api: Api<Namespace> = Api::all(client.clone());
        let found =
            kubernetes::call("get", || "Namespace kube-system".into(), api.get(SYSTEM_NAMESPACE)).await?;
        found.and_then(|n| n.uid()).ok_or(ClusterError::NoSystemNamespace)?
    };
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let target = || format!("ConfigMap {namespace}/{CONFIG_MAP}");
    let mut found = kubernetes::call("get", target, api.get(CONFIG_MAP)).await?;
    if found.is_none() && !remember {
        return Ok(Cluster { id, remembered: None });
    }
    if found.is_none() {
        let new = ConfigMap {
            metadata: ObjectMeta { name: Some(CONFIG_MAP.into()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([(KEY.into(), id.clone())])),
            ..ConfigMap::default()
        };
        found = match kubernetes::call("create", target, api.create(&PostParams::default(), &new)).await {
            // Another process was faster: what it wrote counts.
            Err(KubeError::Conflict { .. }) => kubernetes::call("get", target, api.get(CONFIG_MAP)).await?,
            Ok(None) => {
                let message =
                    format!("the namespace {namespace} does not exist; create it, or set POD_NAMESPACE");
                return Err(KubeError::Failed { action: "create", target: target(), message }.into());
            }
            created => created?,
        };
    }
    let remembered = found.as_ref().map(|map| map.object_ref(&()));
    let before = found.and_then(|map| map.data?.remove(KEY)).unwrap_or_default();
    if before == id {
        Ok(Cluster { id, remembered })
    } else {
        Err(ClusterError::Changed { namespace: namespace.to_owned(), before, now: id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_fits_into_a_tag() {
        assert!(is_valid("c-1_a.B") && is_valid(&"a".repeat(64)));
        for bad in ["", "a b", "ä", &"a".repeat(65)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn the_namespace_comes_from_the_environment_first() {
        let found = |value: Option<&str>| own_namespace(|_| value.map(str::to_owned));
        assert_eq!(found(Some("ops\n")), "ops");
    }
}
