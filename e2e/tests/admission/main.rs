//! Admission: the operator with its chart's permissions as a webhook of a real API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod agreement;
mod clients;
mod down;
mod effects;
mod held;
mod networking;
mod rotation;
mod rules;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eci_api::eci_profile::EciProfile;
use eci_e2e::admission::{make_namespace, mark, write_profile};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, StackOptions};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// The stack that tests share which only ask.
async fn shared() -> &'static Stack {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    let rules = json!({ "webhook": { "rules": { "host-path": "deny" } } });
    SHARED.get_or_init(|| async { stack(rules).await.unwrap() }).await
}

/// A stack with these values of the chart.
async fn stack(values: Value) -> Result<Stack> {
    Stack::start(StackOptions { values, ..StackOptions::default() }).await
}

/// A namespace with these labels, in which pods can be created.
async fn namespace(client: &Client, name: &str, labels: Value) -> Result<Api<Pod>> {
    make_namespace(client, name, &labels).await
}

/// Writes a profile with this spec, whether there is one or not.
async fn profile(client: &Client, name: &str, spec: Value) -> Result<EciProfile> {
    write_profile(client, name, &spec).await
}

/// A spec for pods with the label `app` and this annotation.
fn annotates(app: &str, key: &str, value: &str) -> Value {
    json!({
        "selector": { "podSelector": { "matchLabels": { "app": app } } },
        "effects": { "annotations": { key: value } },
    })
}

/// A pod with the label `app`.
fn pod(name: &str, app: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": app } },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": "registry.example.com/web:1" }],
        },
    })
}

/// Asks the API server to create a pod, but not to keep it.
async fn tried(pods: &Api<Pod>, pod: &Value) -> kube::Result<Pod> {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&params, &serde_json::from_value(pod.clone()).unwrap()).await
}

/// The annotations of a pod.
fn annotations(pod: &Pod) -> BTreeMap<String, String> {
    pod.metadata.annotations.clone().unwrap_or_default()
}

/// Waits until such a pod gets this mark, and gives it.
async fn marked(pods: &Api<Pod>, template: &Value, wanted: Option<&str>) -> Result<Pod> {
    eventually(&format!("a pod marked {wanted:?}"), PATIENCE, || async {
        let made = tried(pods, template).await.map_err(|error| error.to_string())?;
        let found = mark(&made);
        if found.as_deref() == wanted { Ok(made) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// The words with which the API server refused something.
fn refusal<T>(result: kube::Result<T>) -> Result<String> {
    match result {
        Err(kube::Error::Api(status)) => Ok(status.message.clone()),
        Err(error) => Err(error).context("no answer"),
        Ok(_) => anyhow::bail!("it was not refused"),
    }
}
