//! A DataCache that pods would mount is not deleted with its object.

use anyhow::{Result, ensure};
use eci_e2e::stack::{DataCaches, Stack, condition, message};
use serde_json::{Value, json};

use crate::{LATER, SOON, apply, at, file, stack};

/// What makes pods that mount the cache, without making one: by name, and by bucket and path.
fn maker(kind: &str, namespace: &str) -> Value {
    let containers = json!([{ "name": "main", "image": "registry.example.com/serve:1" }]);
    let metadata = json!({ "namespace": namespace, "name": kind.to_lowercase() });
    let labels = json!({ "app": "serve" });
    if kind == "CronJob" {
        let annotations = json!({ "k8s.aliyun.com/eci-data-cache-bucket": "models" });
        let volumes = json!([{ "name": "model", "hostPath": { "path": format!("/{namespace}") } }]);
        let spec = json!({ "restartPolicy": "Never", "containers": containers, "volumes": volumes });
        let template = json!({ "metadata": { "annotations": annotations }, "spec": spec });
        let spec = json!({ "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": template } } });
        return json!({ "apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": spec });
    }
    let annotations = json!({ "eci-operator.io/data-caches": "model=/models/a" });
    let template = json!({
        "metadata": { "labels": labels, "annotations": annotations }, "spec": { "containers": containers },
    });
    let spec = json!({ "replicas": 0, "selector": { "matchLabels": labels }, "template": template });
    json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec })
}

/// A profile that mounts the cache `model` in the pods of one namespace.
fn profile(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": name },
        "spec": {
            "selector": {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "podSelector": { "matchLabels": { "app": "no-such-pod" } },
            },
            "dataCaches": [{ "mountPath": "/models/a", "name": "model" }],
        },
    })
}

async fn held_up(caches: &DataCaches, by: &str) -> Result<()> {
    let blocked = caches.until("model", by, LATER, |cache| {
        condition(cache, "DeletionBlocked") == Some(("True".into(), "InUse".into()))
            && message(cache, "DeletionBlocked").is_ok_and(|said| said.contains(by))
    });
    let blocked = blocked.await?;
    ensure!(condition(&blocked, "Ready") == Some(("True".into(), "Available".into())), "pods mount it");
    let said = message(&blocked, "DeletionBlocked")?;
    ensure!(said.contains("eci-operator.io/force-delete=true"), "{said}");
    Ok(())
}

async fn available(stack: &Stack, namespace: &str) -> Result<DataCaches> {
    let caches = DataCaches::in_namespace(stack, namespace).await?;
    caches.create("model", file(&format!("/{namespace}"), "https://example.com/a")).await?;
    caches.says("model", "True", "Available", SOON).await?;
    Ok(caches)
}

#[tokio::test]
async fn a_cache_that_pods_would_mount_stays_until_none_would() -> Result<()> {
    let stack = stack().await;
    let caches = available(stack, "data-in-use").await?;
    for kind in ["Deployment", "CronJob"] {
        apply(stack, &maker(kind, "data-in-use")).await?;
    }
    apply(stack, &profile("mounts-in-use", "data-in-use")).await?;
    apply(stack, &profile("mounts-elsewhere", "default")).await?;
    caches.delete("model").await?;
    let all =
        "CronJob data-in-use/cronjob, Deployment data-in-use/deployment, EciProfile mounts-in-use. Delete";
    held_up(&caches, all).await?;
    ensure!(at(stack, "/data-in-use").await?.len() == 1, "it was deleted all the same");
    let plane = stack.plane();
    for kind in ["deployment", "cronjob"] {
        plane.kubectl(["delete", kind, kind, "-n", "data-in-use"]).await?.ok()?;
    }
    held_up(&caches, "from it: EciProfile mounts-in-use. Delete").await?;
    plane.kubectl(["delete", "eciprofile", "mounts-in-use"]).await?.ok()?;
    caches.is_gone("model", LATER).await?;
    ensure!(at(stack, "/data-in-use").await?.is_empty(), "the cloud still has it");

    // No pod can be made in a namespace that goes: there the profile holds nothing up.
    let caches = available(stack, "data-goes").await?;
    apply(stack, &profile("mounts-what-goes", "data-goes")).await?;
    plane.kubectl(["delete", "namespace", "data-goes", "--timeout=120s"]).await?.ok()?;
    caches.is_gone("model", SOON).await?;
    ensure!(at(stack, "/data-goes").await?.is_empty(), "the cloud still has it");
    Ok(())
}
