//! A pod that asks for a data cache by name: it never starts without it, and starts with it mounted.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_core::profile::data_caches::{
    BUCKET_ANNOTATION, DATA_CACHE_GATE, DATA_CACHE_WAIT_ANNOTATION, DATA_CACHES_ANNOTATION, WAIT_DENY,
};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{DataCaches, Stack, condition};
use eci_e2e::testbed::nodes;
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::{SOON, file, stack};

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// A pod for virtual nodes, whose containers want the cache `model` at `/models/a`.
fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "annotations": { (DATA_CACHES_ANNOTATION): "model=/models/a" } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": { (nodes::ACK_LABEL.0): nodes::ACK_LABEL.1 },
            "tolerations": [{ "key": nodes::ACK_TAINT.0, "operator": "Exists" }],
            "initContainers": [{ "name": "warm", "image": "registry.example.com/serve:1" }],
            "containers": [{ "name": "main", "image": "registry.example.com/serve:1" }],
        },
    })
}

/// Pods of the namespace, once they can be made and there is a virtual node for them.
async fn pods(stack: &Stack, namespace: &str) -> Result<Api<Pod>> {
    let client = stack.client()?;
    let node = nodes::virtual_node(&format!("{namespace}-virtual"));
    Api::<Node>::all(client.clone()).create(&PostParams::default(), &node).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    eventually("the namespace has its account", PATIENCE, || async {
        accounts.get("default").await.map(drop)
    })
    .await?;
    Ok(Api::namespaced(client, namespace))
}

/// Asks the API server to create a pod, but not to keep it.
async fn tried(pods: &Api<Pod>, pod: &Value) -> Result<Pod, String> {
    let pod = serde_json::from_value(pod.clone()).map_err(|error| error.to_string())?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&params, &pod).await.map_err(|error| error.to_string())
}

fn gates(pod: &Pod) -> Vec<&str> {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.map(|gate| gate.name.as_str()).collect()
}

/// The annotation with the bucket, the volume with the path, and a mount of it that cannot be written in every container.
fn mounts(pod: &Pod, path: &str) -> Result<()> {
    let bucket = pod.metadata.annotations.iter().flatten().find(|(key, _)| *key == BUCKET_ANNOTATION);
    ensure!(bucket.is_some_and(|(_, bucket)| bucket == "models"), "the bucket is {bucket:?}");
    let PodSpec { volumes, init_containers, containers, .. } = pod.spec.clone().context("a spec")?;
    let volume = volumes.into_iter().flatten().find(|v| v.host_path.as_ref().is_some_and(|h| h.path == path));
    let volume = volume.with_context(|| format!("no volume has the path {path}"))?.name;
    for container in init_containers.into_iter().flatten().chain(containers) {
        let mount = container.volume_mounts.iter().flatten().find(|mount| mount.name == volume);
        let fits = mount.is_some_and(|m| m.mount_path == "/models/a" && m.read_only == Some(true));
        ensure!(fits, "{}: {:?}", container.name, container.volume_mounts);
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_waits_at_the_gate_until_its_cache_is_available_and_runs_with_it_mounted() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "mounts").await?;
    let pods = pods(stack, "mounts").await?;
    // The webhook is asked, and knows no such cache.
    eventually("a pod that asks for what is not there is refused", PATIENCE, || async {
        match tried(&pods, &pod("lost")).await {
            Err(words) if words.contains("DataCache") && words.contains("model") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let mut spec = file("/mounts/a", "https://example.com/a");
    spec["suspend"] = json!(true);
    caches.create("model", spec).await?;
    eventually("a pod that asks for it is gated", PATIENCE, || async {
        let made = tried(&pods, &pod("gated")).await?;
        if gates(&made) == [DATA_CACHE_GATE] { Ok(()) } else { Err(format!("{:?}", gates(&made))) }
    })
    .await?;
    let made = pods.create(&PostParams::default(), &serde_json::from_value(pod("early"))?).await?;
    ensure!(gates(&made) == [DATA_CACHE_GATE], "{:?}", gates(&made));
    mounts(&made, "/mounts/a")?;
    let mut impatient = pod("impatient");
    impatient["metadata"]["annotations"][DATA_CACHE_WAIT_ANNOTATION] = json!(WAIT_DENY);
    let words = tried(&pods, &impatient).await.err().context("a pod that would not wait was created")?;
    ensure!(words.contains("model") && words.contains("not available"), "{words}");
    // Pods that ask for nothing are nobody's affair.
    let mut other = pod("other");
    other["metadata"]["annotations"] = json!({});
    let other = tried(&pods, &other).await.map_err(anyhow::Error::msg)?;
    ensure!(gates(&other).is_empty() && other.metadata.annotations.unwrap_or_default().is_empty());
    let waits = pods.get("early").await?;
    let unbound = waits.spec.as_ref().is_some_and(|spec| spec.node_name.is_none());
    ensure!(gates(&waits) == [DATA_CACHE_GATE] && unbound, "it did not wait: {:?}", waits.spec);

    caches.patch("model", json!({ "spec": { "suspend": false } })).await?;
    caches.says("model", "True", "Available", SOON).await?;
    let runs = runs(&pods, "early").await?;
    ensure!(gates(&runs).is_empty(), "{:?}", gates(&runs));
    mounts(&runs, "/mounts/a")?;
    // And who comes later does not wait.
    eventually("a pod is not gated any more", PATIENCE, || async {
        let made = tried(&pods, &pod("late")).await?;
        mounts(&made, "/mounts/a").map_err(|error| error.to_string())?;
        if gates(&made).is_empty() { Ok(()) } else { Err(format!("{:?}", gates(&made))) }
    })
    .await?;

    // It is not given to new pods while it is being deleted, and the one that runs does not hold it up.
    hold_up(stack, "mounts").await?;
    caches.delete("model").await?;
    caches
        .until("model", "its deletion is held up", SOON, |cache| {
            condition(cache, "DeletionBlocked").is_some()
        })
        .await?;
    eventually("a pod waits for what is being deleted", PATIENCE, || async {
        let made = tried(&pods, &pod("too-late")).await?;
        if gates(&made) == [DATA_CACHE_GATE] { Ok(()) } else { Err(format!("{:?}", gates(&made))) }
    })
    .await?;
    stack.plane().kubectl(["delete", "deployment", "serve", "-n", "mounts"]).await?.ok()?;
    caches.is_gone("model", SOON).await?;
    pods.delete("early", &DeleteParams::default()).await?;
    Ok(())
}

/// A template that asks for the cache by name.
async fn hold_up(stack: &Stack, namespace: &str) -> Result<()> {
    let mut template = pod("");
    template["metadata"] = json!({
        "labels": { "app": "serve" }, "annotations": template["metadata"]["annotations"],
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "serve", "namespace": namespace },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "serve" } }, "template": template },
    });
    crate::apply(stack, &deployment).await
}

/// Waits until a pod runs on the virtual node.
async fn runs(pods: &Api<Pod>, name: &str) -> Result<Pod> {
    eventually(&format!("pod {name} runs"), PATIENCE, || async {
        let pod = pods.get(name).await.map_err(|error| error.to_string())?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let there = node.as_deref().is_some_and(|node| node.ends_with("-virtual"));
        if there && phase.as_deref() == Some("Running") {
            Ok(pod)
        } else {
            Err(format!("{phase:?} {node:?}"))
        }
    })
    .await
}
