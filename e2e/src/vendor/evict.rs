//! The release strategy `api-evict`: the virtual node evicts a pod itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt as _};

use super::{PodRef, Shared};
use crate::workload::VENDOR_RELEASE;

/// How long it waits after a refusal. Its real habit is documented nowhere.
const RETRY: Duration = Duration::from_secs(1);

/// Tries until the pod is on its way out, if it carries the annotation.
pub(super) async fn run(shared: Shared, pod: PodRef) {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &pod.namespace);
    loop {
        let found = match api.get_opt(&pod.name).await {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(_) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let phase = found.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let asks = found.annotations().get(VENDOR_RELEASE.0).is_some_and(|value| value == VENDOR_RELEASE.1);
        if !asks
            || found.metadata.uid.as_deref() != Some(&pod.uid)
            || found.metadata.deletion_timestamp.is_some()
            || matches!(phase, "Succeeded" | "Failed")
        {
            return;
        }
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(pod.name.clone()),
                namespace: Some(pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            delete_options: None,
        };
        let answer: kube::Result<serde_json::Value> =
            api.create_subresource("eviction", &pod.name, &PostParams::default(), &eviction).await;
        if answer.is_ok() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}
