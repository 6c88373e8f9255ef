//! What one object suffers from, while its neighbours are well: its secret, its build, its snapshot, its end.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::{Caches, Stack, StackOptions, condition};
use eci_sim::faults::Fault;
use serde_json::{Value, json};

use crate::{LATER, Needs, SOON, ask_again, heals, id, ready, told};

pub(crate) async fn rows() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("objects").await?;
    let secrets = async { secret_corrected(&stack, &caches).await.context("a broken secret") };
    let others = async {
        network_opened(&stack, &caches).await.context("a build without a route")?;
        snapshot_deleted(&stack, &caches).await.context("a snapshot deleted by hand")?;
        delete_allowed(&stack, &caches).await.context("a delete that is refused")?;
        already_gone(&stack, &caches).await.context("a delete of what is gone")
    };
    tokio::try_join!(secrets, others)?;
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}

async fn secret_corrected(stack: &Stack, caches: &Caches) -> Result<()> {
    let spec =
        json!({ "images": ["private.example.com/shop/web:1"], "imagePullSecrets": [{ "name": "login" }] });
    caches.create("private", spec).await?;
    let words = ["secret objects/login", "spec.imagePullSecrets", "does not exist", "create it"];
    told(caches, "private", "SecretNotFound", Needs::Person, &words).await?;
    // Of the right type and JSON, which is all that the API server looks at. The password was put where its base64 form
    // belongs.
    apply_login(stack, json!({ "username": "robot", "auth": "made-up-password" })).await?;
    let words = ["secret login is not a docker config", "auth", "namespace objects", "spec.imagePullSecrets"];
    let broken = told(caches, "private", "SecretInvalid", Needs::Person, &words).await?;
    ensure!(
        !serde_json::to_string(&broken)?.contains("made-up-password"),
        "the status has a part of the secret"
    );
    apply_login(stack, json!({ "username": "robot", "password": "made-up-password" })).await?;
    heals(caches, "private").await
}

async fn apply_login(stack: &Stack, login: Value) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "login", "namespace": "objects" },
        "stringData": { ".dockerconfigjson": json!({ "auths": { "private.example.com": login } }).to_string() },
    });
    stack.plane().kubectl_stdin(["apply", "-f", "-"], &secret.to_string()).await?.ok()?;
    Ok(())
}

/// The vSwitch has no way out. The rule fits one build: after that the NAT gateway is there.
async fn network_opened(stack: &Stack, caches: &Caches) -> Result<()> {
    let timeout = json!({ "fails": {
        "reason": "Failed",
        "message": "ErrImagePull: dial tcp 203.0.113.7:443: i/o timeout",
    }});
    let rule = json!({ "imageContains": "public.example.com", "times": 1, "outcome": timeout });
    stack.cloud().settings(json!({ "builds": [rule] })).await?;
    caches.create("public", json!({ "images": ["public.example.com/shop/web:1"] })).await?;
    let words = ["NAT gateway or an EIP", "i/o timeout", "public.example.com/shop/web:1", "5 minutes"];
    told(caches, "public", "BuildFailed", Needs::Patience, &words).await?;
    ask_again(caches, "public").await?;
    heals(caches, "public").await
}

async fn snapshot_deleted(stack: &Stack, caches: &Caches) -> Result<()> {
    let before = ready(caches, "bare").await?;
    let snapshot = before.status.as_ref().and_then(|status| status.snapshot_id.clone());
    stack.cloud().delete_snapshot(&snapshot.context("a snapshot")?).await?;
    // It is built anew at once, so that what went wrong is told for a moment only; the event stays.
    let replaced = caches.until("bare", "another cache is usable", LATER, |c| {
        let settled = c.status.as_ref().is_some_and(|s| s.retiring.is_empty());
        settled && id(c) != id(&before) && condition(c, "Ready").is_some_and(|(status, _)| status == "True")
    });
    ensure!(replaced.await?.status.is_some_and(|s| s.failed_builds.is_none()), "it was no build that failed");
    ensure!(stack.living("objects", "bare").await?.len() == 1, "the broken one was left behind");
    let api: kube::Api<k8s_openapi::api::events::v1::Event> =
        kube::Api::namespaced(stack.client()?, "objects");
    let events = api.list(&kube::api::ListParams::default()).await?;
    let note = events.items.into_iter().find(|e| e.reason.as_deref() == Some("Broken")).and_then(|e| e.note);
    let note = note.context("an event says that it broke")?;
    ensure!(note.contains("SnapshotNotFound") && note.contains(&id(&before)), "{note}");
    Ok(())
}

async fn delete_allowed(stack: &Stack, caches: &Caches) -> Result<()> {
    ready(caches, "kept").await?;
    stack.cloud().add_fault(&Fault::refused("NoPermission").on("DeleteImageCache")).await?;
    caches.delete("kept").await?;
    let words = ["Grant the operator's RAM identity", "DeleteImageCache", "NoPermission"];
    told(caches, "kept", "PermissionDenied", Needs::Person, &words).await?;
    ensure!(stack.living("objects", "kept").await?.len() == 1, "a refused call had an effect");
    stack.cloud().clear_faults().await?;
    caches.is_gone("kept", LATER).await?;
    ensure!(stack.living("objects", "kept").await?.is_empty(), "the cloud still has it");
    Ok(())
}

/// How the cloud answers the deletion of what it does not know is documented nowhere.
async fn already_gone(stack: &Stack, caches: &Caches) -> Result<()> {
    for (name, refuses) in [("refused", true), ("accepted", false)] {
        let cache = ready(caches, name).await?;
        stack.cloud().settings(json!({ "deleteUnknownFails": refuses })).await?;
        stack.cloud().vanish(&id(&cache)).await?;
        caches.delete(name).await?;
        caches.is_gone(name, SOON).await.with_context(|| format!("the delete is {name}"))?;
    }
    Ok(())
}
