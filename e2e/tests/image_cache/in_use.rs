//! A cache from which pods would start is not deleted with its object; and how every other deletion ends.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::{Caches, Stack, condition, message};
use serde_json::{Value, json};

use crate::life::living;
use crate::{SOON, WINDOW, stack};

/// A usable cache, and its ID.
pub(crate) async fn usable(caches: &Caches, name: &str) -> Result<String> {
    caches.create(name, json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    let ready = caches.says(name, "True", "Available", SOON).await?;
    ready.status.and_then(|status| status.image_cache_id).context("an ID")
}

fn pinned(id: &str) -> Value {
    json!({ "k8s.aliyun.com/eci-imc-id": id })
}

/// The spec of a pod that goes nowhere.
fn pod() -> Value {
    json!({
        "nodeSelector": { "nowhere": "true" },
        "containers": [{ "name": "main", "image": "registry.example.com/shop/web:1" }],
    })
}

fn template(id: &str) -> Value {
    json!({ "metadata": { "labels": { "app": "web" }, "annotations": pinned(id) }, "spec": pod() })
}

/// What makes pods from the cache, without making one now.
pub(crate) fn maker(kind: &str, namespace: &str, id: &str) -> Value {
    let mut job = template(id);
    job["spec"]["restartPolicy"] = json!("Never");
    let selector = json!({ "matchLabels": { "app": "web" } });
    let (api, spec) = match kind {
        "Deployment" => ("apps/v1", json!({ "replicas": 0, "selector": selector, "template": template(id) })),
        "StatefulSet" => (
            "apps/v1",
            json!({ "replicas": 0, "serviceName": "web", "selector": selector, "template": template(id) }),
        ),
        "DaemonSet" => ("apps/v1", json!({ "selector": selector, "template": template(id) })),
        "Job" => ("batch/v1", json!({ "suspend": true, "template": job })),
        "CronJob" => {
            ("batch/v1", json!({ "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": job } } }))
        }
        _ => ("v1", pod()),
    };
    let mut metadata = json!({ "namespace": namespace, "name": kind.to_lowercase() });
    if kind == "Pod" {
        metadata["annotations"] = pinned(id);
    }
    json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec })
}

async fn apply(stack: &Stack, object: &Value) -> Result<()> {
    let plane = stack.plane();
    plane.kubectl_stdin(["apply", "-f", "-"], &object.to_string()).await?.ok()?;
    Ok(())
}

#[tokio::test]
async fn a_cache_that_pods_would_start_from_stays_until_none_would() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("in-use").await?;
    let id = usable(&caches, "web").await?;
    let kinds = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"];
    for kind in kinds {
        apply(stack, &maker(kind, "in-use", &id)).await?;
    }
    let profile = json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": "pins-in-use" },
        "spec": {
            "selector": { "podSelector": { "matchLabels": { "pins": "in-use" } } },
            "imageCache": { "mode": "Pinned", "refs": [{ "namespace": "in-use", "name": "web" }] },
        },
    });
    apply(stack, &profile).await?;
    caches.delete("web").await?;
    // A look that another deletion asked for a moment ago may not have seen all of them yet.
    let all = "CronJob in-use/cronjob, DaemonSet in-use/daemonset, Deployment in-use/deployment, EciProfile pins-in-use, Job in-use/job and 2 more";
    let blocked = caches.until("web", "all who would start pods are named", WINDOW, |cache| {
        condition(cache, "DeletionBlocked") == Some(("True".into(), "InUse".into()))
            && message(cache, "DeletionBlocked").is_ok_and(|said| said.contains(all))
    });
    let blocked = blocked.await?;
    ensure!(condition(&blocked, "Ready") == Some(("True".into(), "Available".into())), "pods start from it");
    let sentence = message(&blocked, "DeletionBlocked")?;
    ensure!(sentence.contains("eci-operator.io/force-delete=true"), "{sentence:?}");
    ensure!(living(stack, "in-use", "web").await? == 1, "it was deleted all the same");

    let plane = stack.plane();
    plane.kubectl(["delete", "eciprofile", "pins-in-use"]).await?.ok()?;
    for kind in kinds.iter().filter(|kind| **kind != "Pod") {
        let name = kind.to_lowercase();
        plane.kubectl(["delete", &name, &name, "-n", "in-use", "--cascade=foreground"]).await?.ok()?;
    }
    let rest = caches.until("web", "only the pod is left", WINDOW, |cache| {
        message(cache, "DeletionBlocked").is_ok_and(|said| said.contains("from it: Pod in-use/pod. Delete"))
    });
    rest.await?;
    // One that runs has a disk of its own.
    let runs = json!({ "status": { "phase": "Running" } }).to_string();
    let patch = ["patch", "pod", "pod", "-n", "in-use", "--subresource=status", "--type=merge", "-p", &runs];
    plane.kubectl(patch).await?.ok()?;
    caches.is_gone("web", WINDOW).await?;
    ensure!(living(stack, "in-use", "web").await? == 0, "the cloud still has it");
    Ok(())
}

#[tokio::test]
async fn a_person_may_force_the_deletion_of_a_cache_in_use() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("forced").await?;
    let id = usable(&caches, "web").await?;
    apply(stack, &maker("Deployment", "forced", &id)).await?;
    caches.delete("web").await?;
    caches.until("web", "it waits", SOON, |cache| condition(cache, "DeletionBlocked").is_some()).await?;
    caches.patch("web", json!({ "metadata": { "annotations": { eci_api::FORCE_DELETE: "true" } } })).await?;
    caches.is_gone("web", SOON).await?;
    ensure!(living(stack, "forced", "web").await? == 0);
    Ok(())
}
