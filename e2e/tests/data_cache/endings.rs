//! Deletions that end, whatever the cloud says, and a cache that somebody else deleted.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::{DataCaches, Stack, StackOptions, condition, data_id};
use eci_sim::faults::{Effect, Fault, Seen};
use serde_json::json;

use crate::life::secret;
use crate::{LATER, SOON, at, file, stack, story};

async fn usable(caches: &DataCaches, name: &str) -> Result<String> {
    caches.create(name, file(&format!("/{name}"), "https://example.com/a")).await?;
    data_id(&caches.says(name, "True", "Available", SOON).await?)
}

#[tokio::test]
async fn a_namespace_with_a_data_cache_and_its_secret_can_be_deleted() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "whole-data").await?;
    secret(stack, "whole-data", "hub", json!({ "token": "made-up-token" })).await?;
    let mut spec = file("/whole", "https://example.com/private/a");
    spec["source"]["accessTokenSecretRef"] = json!({ "name": "hub", "key": "token" });
    caches.create("model", spec).await?;
    caches.says("model", "True", "Available", SOON).await?;
    stack.plane().kubectl(["delete", "namespace", "whole-data", "--timeout=120s"]).await?.ok()?;
    ensure!(at(stack, "/whole").await?.is_empty(), "the cloud still has it");
    Ok(())
}

#[tokio::test]
async fn a_data_cache_deleted_by_hand_is_loaded_again() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "by-hand-gone").await?;
    let first = usable(&caches, "again").await?;
    stack.cloud().vanish(&first).await?;
    let again = caches.until("again", "another cache is usable", LATER, |cache| {
        data_id(cache).is_ok_and(|id| id != first)
            && condition(cache, "Ready").is_some_and(|(status, _)| status == "True")
    });
    again.await?;
    let story = story(stack, "/again").await?;
    ensure!(story == ["made", "deleted", "made"], "{story:?}");
    Ok(())
}

/// A stack of its own: the faults are of every deletion. They wait for their minutes together.
#[tokio::test]
async fn every_deletion_of_a_data_cache_ends() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = DataCaches::in_namespace(&stack, "endings").await?;
    refused_for_a_while(&stack, &caches).await.context("a delete that hits a quota")?;
    refused_afterwards(&stack, &caches).await.context("a delete that is refused after it was carried out")?;
    for (name, refuses) in [("gone-refused", true), ("gone-accepted", false)] {
        let id = usable(&caches, name).await?;
        stack.cloud().settings(json!({ "deleteUnknownFails": refuses })).await?;
        stack.cloud().vanish(&id).await?;
        caches.delete(name).await?;
        caches.is_gone(name, LATER).await.with_context(|| format!("the delete is {name}"))?;
    }
    for name in ["quota", "forbidden"] {
        caches.is_gone(name, LATER).await?;
        ensure!(at(&stack, &format!("/{name}")).await?.is_empty(), "the cloud still has {name}");
    }
    Ok(())
}

async fn refused_for_a_while(stack: &Stack, caches: &DataCaches) -> Result<()> {
    usable(caches, "quota").await?;
    stack.cloud().add_fault(&Fault::refused("QuotaExceeded").on("DeleteDataCache")).await?;
    caches.delete("quota").await?;
    caches.says("quota", "False", "QuotaExceeded", LATER).await?;
    ensure!(at(stack, "/quota").await?.len() == 1, "a refused call had an effect");
    Ok(stack.cloud().clear_faults().await?)
}

async fn refused_afterwards(stack: &Stack, caches: &DataCaches) -> Result<()> {
    usable(caches, "forbidden").await?;
    let code = "Forbidden.RAM".to_owned();
    let answer = Seen::Error { code, status: Some(403), message: None, retry_after_ms: None };
    let fault = Fault { effect: Some(Effect::Now), answer, ..Fault::default() };
    stack.cloud().add_fault(&fault.on("DeleteDataCache")).await?;
    caches.delete("forbidden").await?;
    caches.says("forbidden", "False", "PermissionDenied", LATER).await?;
    Ok(stack.cloud().clear_faults().await?)
}
