//! What the webhook is held to, in tests and in measurements: that it says what `decide` says, and that certificates are
//! replaced without a lost question.

pub mod agreement;
pub mod rotation;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use eci_api::eci_profile::EciProfile;

use crate::eventually::eventually;
use std::time::Duration;

/// For what must happen, on a machine that may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Asks the API server to create a pod, but not to keep it.
pub async fn tried(pods: &Api<Pod>, pod: &Value) -> Result<Pod> {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    Ok(pods.create(&params, &serde_json::from_value(pod.clone())?).await?)
}

/// Writes a profile with this spec, whether there is one or not.
pub async fn write_profile(client: &Client, name: &str, spec: &Value) -> Result<EciProfile> {
    let profile = json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile",
        "metadata": { "name": name }, "spec": spec,
    });
    let api: Api<EciProfile> = Api::all(client.clone());
    Ok(api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(profile)).await?)
}

/// A namespace with these labels, in which pods can be created.
pub async fn make_namespace(client: &Client, name: &str, labels: &Value) -> Result<Api<Pod>> {
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let namespace = json!({ "metadata": { "name": name, "labels": labels } });
    api.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    eventually("the namespace has its account", PATIENCE, || async {
        accounts.get("default").await.map(drop)
    })
    .await?;
    Ok(Api::namespaced(client.clone(), name))
}

/// The profiles that a pod was made with.
pub fn mark(pod: &Pod) -> Option<String> {
    pod.metadata.annotations.as_ref()?.get(eci_core::profile::PROFILES_ANNOTATION).cloned()
}
