//! From nothing to Available to deleted.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{DataCaches, Stack, StackOptions, data_id, told};
use eci_sim::faults::{Effect, Fault, Seen};
use serde_json::{Value, json};

use crate::{LATER, SOON, apply, at, file, stack, story};

/// A secret of the namespace with these keys.
pub(crate) async fn secret(stack: &Stack, namespace: &str, name: &str, data: Value) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace }, "stringData": data,
    });
    apply(stack, &secret).await
}

#[tokio::test]
async fn every_source_is_loaded_once_and_goes_with_its_object() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "sources").await?;
    secret(stack, "sources", "hub", json!({ "token": "made-up-token\n" })).await?;
    secret(stack, "sources", "oss", json!({ "ossKey": "made-up-oss-key" })).await?;
    let with_token = json!({
        "type": "URL", "url": { "url": "https://example.com/private/weights.tar" },
        "accessTokenSecretRef": { "name": "hub", "key": "token" },
    });
    let sources = [
        ("url", with_token),
        ("hf", json!({ "type": "HuggingFace", "huggingFace": { "repoID": "a/b", "revision": "v1" } })),
        ("ms", json!({ "type": "ModelScope", "modelScope": { "repoID": "a/b", "repoType": "DataSet" } })),
        ("nas", json!({ "type": "NAS", "nas": { "server": "nas.example.com", "path": "/x" } })),
        (
            "oss",
            json!({ "type": "Custom", "custom": {
            "cloudType": "OSS", "options": { "ossBucket": "b" }, "optionsFrom": [{ "name": "oss" }],
        } }),
        ),
    ];
    for (name, source) in &sources {
        let path = format!("/sources/{name}");
        let spec = json!({
            "bucket": "models", "path": path, "source": source, "size": "40Gi", "eip": { "bandwidth": 10 },
            "tags": { "team": "a" },
        });
        caches.create(name, spec).await?;
    }
    for (name, _) in &sources {
        let cache = caches.says(name, "True", "Available", SOON).await?;
        let there = at(stack, &format!("/sources/{name}")).await?;
        ensure!(there.len() == 1 && there[0].id == data_id(&cache)?, "{name}: {there:?}");
        ensure!(there[0].size_gib == 40 && there[0].tags.get("team").is_some_and(|v| v == "a"), "{there:?}");
        let status = cache.status.context("a status")?;
        ensure!(status.cloud_status.as_deref() == Some("Available") && status.progress_percent == Some(100));
        ensure!(status.snapshot_id.is_some() && status.operation.is_none(), "{status:?}");
    }
    let shown = stack.plane().kubectl(["get", "datac", "-n", "sources", "hf", "-o", "wide"]).await?.ok()?;
    for word in ["READY", "CLOUD", "PROGRESS", "True", "Available", "100", "edc-", "models", "/sources/hf"] {
        ensure!(shown.contains(word), "no {word} in {shown}");
    }
    // The cloud got the secrets, and nobody else did.
    let log = stack.operator().context("it runs")?.log_tail(usize::MAX);
    let requests = serde_json::to_string(&stack.cloud().requests().await?)?;
    let objects = stack.plane().kubectl(["get", "datac", "-A", "-o", "yaml"]).await?.ok()?;
    for text in [&log, &requests, &objects] {
        ensure!(!text.contains("made-up-token") && !text.contains("made-up-oss-key"), "a secret is told");
    }
    for (name, _) in &sources {
        caches.delete(name).await?;
    }
    for (name, _) in &sources {
        caches.is_gone(name, SOON).await?;
        let path = format!("/sources/{name}");
        ensure!(at(stack, &path).await?.is_empty(), "{name} is left in the cloud");
        ensure!(story(stack, &path).await? == ["made", "deleted"], "{name} was made twice");
    }
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}

#[tokio::test]
async fn tags_change_in_place_and_another_source_waits_until_the_old_cache_is_gone() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "changes").await?;
    caches.create("model", file("/changes", "https://example.com/1")).await?;
    let first = data_id(&caches.says("model", "True", "Available", SOON).await?)?;
    caches.patch("model", json!({ "spec": { "tags": { "team": "b" }, "retentionDays": 9 } })).await?;
    caches
        .until("model", "the change is applied", SOON, |cache| {
            let applied = cache.status.as_ref().and_then(|status| status.applied.as_ref());
            applied.is_some_and(|a| a.request.retention_days == Some(9) && !a.updating)
        })
        .await?;
    let same = caches.says("model", "True", "Available", SOON).await?;
    ensure!(data_id(&same)? == first, "it was made anew for its tags");
    eventually("the cloud has the new tag", SOON, || async {
        let there = at(stack, "/changes").await.map_err(|error| error.to_string())?;
        let has = there.iter().any(|view| view.tags.get("team").is_some_and(|team| team == "b"));
        if has { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await?;
    caches.says("model", "True", "Available", SOON).await?;

    let source = json!({ "type": "URL", "url": { "url": "https://example.com/2" } });
    caches.patch("model", json!({ "spec": { "source": source } })).await?;
    let changed = caches.says("model", "True", "Available", SOON).await?;
    ensure!(data_id(&changed)? != first, "the new source was not loaded");
    let story = story(stack, "/changes").await?;
    ensure!(story == ["made", "deleted", "made"], "two at one place: {story:?}");

    // Suspended, nothing is done but its deletion.
    caches.patch("model", json!({ "spec": { "suspend": true, "tags": { "team": "c" } } })).await?;
    caches
        .until("model", "it is suspended", SOON, |cache| {
            cache.status.iter().flat_map(|s| &s.conditions).any(|c| c.type_ == "Paused")
        })
        .await?;
    ensure!(at(stack, "/changes").await?[0].tags.get("team").is_some_and(|team| team == "b"));
    caches.delete("model").await?;
    caches.is_gone("model", SOON).await?;
    ensure!(at(stack, "/changes").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_loaded_says_why_and_heals_with_its_cause() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "faults").await?;
    let mut spec = file("/faults/private", "https://example.com/private/a");
    spec["source"]["accessTokenSecretRef"] = json!({ "name": "hub", "key": "token" });
    caches.create("private", spec).await?;
    let missing = caches.says("private", "False", "SecretNotFound", SOON).await?;
    ensure!(told(&missing)?.contains("hub of spec.source does not exist"), "{}", told(&missing)?);
    secret(stack, "faults", "hub", json!({ "other": "x" })).await?;
    let invalid = caches.says("private", "False", "SecretInvalid", SOON).await?;
    ensure!(told(&invalid)?.contains("has no key token"), "{}", told(&invalid)?);
    secret(stack, "faults", "hub", json!({ "token": "made-up-token" })).await?;
    caches.says("private", "True", "Available", SOON).await?;

    // A failed one is deleted before the next is made.
    caches.create("absent", file("/faults/absent", "https://example.com/nonexistent")).await?;
    let failed = caches.says("absent", "False", "BuildFailed", SOON).await?;
    ensure!(told(&failed)?.contains("404 Not Found"), "{}", told(&failed)?);
    let source = json!({ "type": "URL", "url": { "url": "https://example.com/there" } });
    caches.patch("absent", json!({ "spec": { "source": source } })).await?;
    caches.says("absent", "True", "Available", SOON).await?;
    let story = story(stack, "/faults/absent").await?;
    ensure!(story == ["made", "deleted", "made"], "{story:?}");
    Ok(())
}

#[tokio::test]
async fn an_operator_killed_in_the_middle_of_a_create_call_makes_no_second_cache() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let caches = DataCaches::in_namespace(&stack, "killed").await?;
    let silence = Fault { effect: Some(Effect::Now), answer: Seen::Silence(60_000), ..Fault::default() };
    stack.cloud().add_fault(&silence.on("CreateDataCache").times(1)).await?;
    caches.create("model", file("/killed", "https://example.com/a")).await?;
    eventually("the create call has its effect", SOON, || async {
        let there = at(&stack, "/killed").await.map_err(|error| error.to_string())?;
        if there.is_empty() { Err("nothing is there") } else { Ok(()) }.map_err(str::to_owned)
    })
    .await?;
    stack.kill_operator().await?;
    stack.start_operator().await?;
    caches.says("model", "True", "Available", LATER).await?;
    ensure!(story(&stack, "/killed").await? == ["made"], "{:?}", story(&stack, "/killed").await?);

    // Refusals are conditions, and nothing is made twice for them.
    stack.cloud().add_fault(&Fault::refused("NoPermission").on("CreateDataCache")).await?;
    caches.create("denied", file("/denied", "https://example.com/a")).await?;
    let denied = caches.says("denied", "False", "PermissionDenied", SOON).await?;
    ensure!(told(&denied)?.contains("CreateDataCache"), "{}", told(&denied)?);
    stack.cloud().clear_faults().await?;
    caches.says("denied", "True", "Available", LATER).await?;
    ensure!(story(&stack, "/denied").await? == ["made"]);
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}
