//! Nothing goes wrong.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, condition, message};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::{SOON, stack};

/// How many create calls the cloud carried out for this object.
pub(crate) async fn creates(stack: &Stack, namespace: &str, name: &str) -> Result<usize> {
    Ok(stack.billed(namespace, name).await?.len())
}

/// How many caches the cloud has for this object.
pub(crate) async fn living(stack: &Stack, namespace: &str, name: &str) -> Result<usize> {
    Ok(stack.living(namespace, name).await?.len())
}

#[tokio::test]
async fn a_cache_becomes_ready_and_goes_with_its_object() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("life").await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1.4.2"] })).await?;
    let ready = caches.says("web", "True", "Available", SOON).await?;
    let status = ready.status.clone().context("a status")?;
    ensure!(status.image_cache_id.as_deref().is_some_and(|id| id.starts_with("imc-")), "{status:?}");
    ensure!(
        status.cloud_status.as_deref() == Some("Ready") && status.progress_percent == Some(100),
        "{status:?}"
    );
    ensure!(status.snapshot_id.is_some() && status.operation.is_none() && status.last_attempt == Some(1));
    ensure!(status.images.iter().map(|i| i.reference.as_str()).eq(["registry.example.com/shop/web:1.4.2"]));
    ensure!(condition(&ready, "Reconciling").is_none() && condition(&ready, "Stalled").is_none());

    let plane = stack.plane();
    let row = plane.kubectl(["get", "imgc", "web", "-n", "life", "--no-headers"]).await?.ok()?;
    for word in ["web", "True", "Available", "Ready", "100", "imc-"] {
        ensure!(row.contains(word), "{word} is not in {row:?}");
    }
    plane.kubectl(["wait", "--for=condition=Ready", "imgc/web", "-n", "life", "--timeout=5s"]).await?.ok()?;
    let told = plane.kubectl(["describe", "imgc", "web", "-n", "life"]).await?.ok()?;
    ensure!(told.contains("Available") && told.contains("Events:"), "{told}");

    ensure!(creates(stack, "life", "web").await? == 1);
    caches.delete("web").await?;
    caches.is_gone("web", SOON).await?;
    ensure!(living(stack, "life", "web").await? == 0, "the cloud still has it");
    Ok(())
}

#[tokio::test]
async fn events_tell_each_transition_once() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("events").await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    caches.says("web", "True", "Available", SOON).await?;
    let api: Api<Event> = Api::namespaced(stack.client()?, "events");
    let reasons = eventually("the events are there", SOON, || async {
        let events = api.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let mut reasons: Vec<_> = events.items.iter().filter_map(|e| e.reason.clone()).collect();
        reasons.sort();
        if reasons.iter().any(|r| r == "Available") { Ok(reasons) } else { Err(format!("{reasons:?}")) }
    })
    .await?;
    let mut distinct = reasons.clone();
    distinct.dedup();
    ensure!(reasons == distinct, "an event came twice: {reasons:?}");
    Ok(())
}

#[tokio::test]
async fn another_image_is_built_beside_the_old_one_which_serves_until_then() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("replace").await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    let first = caches.says("web", "True", "Available", SOON).await?;
    caches.patch("web", json!({ "spec": { "images": ["registry.example.com/shop/web:2"] } })).await?;
    let during = caches.until("web", "a successor", SOON, |c| {
        c.status.as_ref().is_some_and(|s| s.successor.is_some()) && condition(c, "Updating").is_some()
    });
    let during = during.await?;
    ensure!(condition(&during, "Ready") == Some(("True".into(), "Available".into())));
    ensure!(condition(&during, "Reconciling").is_some(), "kstatus must read it as in progress");
    let second = caches.says("web", "True", "Available", SOON).await?;
    let second = caches.until("web", "the old one is deleted", SOON, |c| {
        c.status.as_ref().is_some_and(|s| s.retiring.is_empty() && s.successor.is_none())
            && second.metadata.uid == c.metadata.uid
    });
    let second = second.await?;
    let id = |c: &eci_api::image_cache::ImageCache| c.status.as_ref().and_then(|s| s.image_cache_id.clone());
    ensure!(id(&first) != id(&second), "it is the same cache");
    ensure!(living(stack, "replace", "web").await? == 1, "two caches are billed");
    Ok(())
}

#[tokio::test]
async fn what_the_cloud_can_change_is_changed_in_place() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("update").await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    let first = caches.says("web", "True", "Available", SOON).await?;
    caches.patch("web", json!({ "spec": { "retentionDays": 7, "tags": { "team": "shop" } } })).await?;
    let second = caches
        .until("web", "retention applied", SOON, |c| {
            c.status
                .as_ref()
                .and_then(|s| s.applied.as_ref())
                .is_some_and(|a| a.request.retention_days == Some(7) && !a.updating)
                && condition(c, "Reconciling").is_none()
        })
        .await?;
    let id = |c: &eci_api::image_cache::ImageCache| c.status.as_ref().and_then(|s| s.image_cache_id.clone());
    ensure!(id(&first) == id(&second), "it was rebuilt");
    let view = serde_json::to_string(&stack.cloud().caches().await?)?;
    ensure!(view.contains("shop"), "the tag is not there: {view}");
    Ok(())
}

#[tokio::test]
async fn a_bad_spec_stalls_with_a_sentence_and_heals_when_corrected() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("bad-spec").await?;
    // The schema takes both; only the normal form finds that they are the same image.
    caches.create("web", json!({ "images": ["nginx", "docker.io/library/nginx:latest"] })).await?;
    let stalled = caches.says("web", "False", "InvalidSpec", SOON).await?;
    ensure!(condition(&stalled, "Stalled").is_some() && condition(&stalled, "Reconciling").is_none());
    let sentence = message(&stalled, "Stalled")?;
    ensure!(sentence.contains("bad-spec/web") && sentence.contains("same image"), "{sentence}");
    ensure!(
        stalled.metadata.finalizers.unwrap_or_default().is_empty(),
        "it owns nothing and needs no finalizer"
    );
    caches.patch("web", json!({ "spec": { "images": ["nginx"] } })).await?;
    caches.says("web", "True", "Available", SOON).await?;
    ensure!(creates(stack, "bad-spec", "web").await? == 1);
    Ok(())
}

#[tokio::test]
async fn a_pull_secret_is_used_and_a_missing_one_heals_when_it_comes() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("secrets").await?;
    let spec = json!({
        "images": ["private.example.com/shop/web:1"],
        "imagePullSecrets": [{ "name": "login" }],
    });
    caches.create("web", spec).await?;
    let waiting = caches.says("web", "False", "SecretNotFound", SOON).await?;
    ensure!(message(&waiting, "Stalled")?.contains("secrets/login"));
    let config = r#"{"auths":{"private.example.com":{"username":"robot","password":"made-up-password"}}}"#;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "login", "namespace": "secrets" },
        "stringData": { ".dockerconfigjson": config },
    });
    stack.plane().kubectl_stdin(["apply", "-f", "-"], &secret.to_string()).await?.ok()?;
    // Read again every 15 seconds: the operator may not watch secrets.
    let ready = caches.says("web", "True", "Available", crate::WINDOW).await?;
    let everything = serde_json::to_string(&ready)?;
    ensure!(!everything.contains("made-up-password"), "the status has the password");
    let log = stack.operator().context("the operator runs")?.log_tail(100_000);
    ensure!(log.len() > 1_000 && !log.contains("made-up-password"), "the log has the password");
    ensure!(!log.contains("FAKE-ACCESS-KEY-SECRET"), "the log has the access key");
    Ok(())
}

#[tokio::test]
async fn a_suspended_object_is_left_alone_until_it_is_deleted() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("suspend").await?;
    caches.create("web", json!({ "images": ["nginx"], "suspend": true })).await?;
    let paused = caches.until("web", "Paused", SOON, |c| condition(c, "Paused").is_some()).await?;
    ensure!(condition(&paused, "Reconciling").is_none(), "a paused object must not block a rollout");
    ensure!(creates(stack, "suspend", "web").await? == 0);
    caches.patch("web", json!({ "spec": { "suspend": false } })).await?;
    caches.says("web", "True", "Available", SOON).await?;
    caches.patch("web", json!({ "spec": { "suspend": true, "images": ["nginx:2"] } })).await?;
    let paused = caches.until("web", "Paused", SOON, |c| condition(c, "Paused").is_some()).await?;
    ensure!(
        condition(&paused, "Ready") == Some(("True".into(), "Available".into())),
        "Ready keeps its value"
    );
    caches.delete("web").await?;
    caches.is_gone("web", SOON).await?;
    ensure!(living(stack, "suspend", "web").await? == 0);
    Ok(())
}

#[tokio::test]
async fn a_retained_cache_stays_without_our_tags() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("retain").await?;
    caches.create("web", json!({ "images": ["nginx"], "deletionPolicy": "Retain" })).await?;
    let ready = caches.says("web", "True", "Available", SOON).await?;
    let uid = ready.metadata.uid.context("a UID")?;
    caches.delete("web").await?;
    caches.is_gone("web", SOON).await?;
    let view = stack.cloud().caches().await?;
    let kept =
        view.iter().map(|v| serde_json::to_string(v).unwrap_or_default()).find(|v| v.contains("retain.web"));
    let kept = kept.context("the cache was deleted")?;
    ensure!(!kept.contains(&uid) && kept.contains("eci-operator.io/retained"), "{kept}");
    Ok(())
}

#[tokio::test]
async fn health_readiness_and_metrics_are_served() -> Result<()> {
    let stack = stack().await;
    for path in ["/healthz", "/readyz"] {
        let (status, body) = eci_e2e::stack::get(stack.health(), path).await?;
        ensure!(status == 200, "{path}: {status} {body}");
    }
    let (status, body) = eci_e2e::stack::get(stack.health(), "/metrics").await?;
    ensure!(status == 200 && body.contains("eci_operator"), "{body}");
    Ok(())
}

#[tokio::test]
async fn nothing_that_the_operator_did_was_forbidden() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("permissions").await?;
    caches.create("web", json!({ "images": ["nginx"] })).await?;
    caches.says("web", "True", "Available", SOON).await?;
    caches.delete("web").await?;
    caches.is_gone("web", SOON).await?;
    let forbidden = stack.forbidden()?;
    ensure!(forbidden.is_empty(), "{forbidden:#?}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_with_a_cache_and_its_secret_can_be_deleted() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("whole").await?;
    let config = r#"{"auths":{"private.example.com":{"username":"robot","password":"made-up-password"}}}"#;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "login", "namespace": "whole" },
        "stringData": { ".dockerconfigjson": config },
    });
    stack.plane().kubectl_stdin(["apply", "-f", "-"], &secret.to_string()).await?.ok()?;
    let spec = json!({ "images": ["private.example.com/a:1"], "imagePullSecrets": [{ "name": "login" }] });
    caches.create("web", spec).await?;
    caches.says("web", "True", "Available", SOON).await?;
    stack.plane().kubectl(["delete", "namespace", "whole", "--timeout=60s"]).await?.ok()?;
    ensure!(living(stack, "whole", "web").await? == 0);
    ensure!(stack.forbidden()?.is_empty());
    Ok(())
}
