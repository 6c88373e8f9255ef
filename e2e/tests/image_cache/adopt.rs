//! Caches that exist are taken over: by whom, from whom, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_aliyun::credentials::StaticCredentials;
use eci_aliyun::{Client, Config};
use eci_api::image_cache::ImageCache;
use eci_core::cloud::{Cloud as _, CloudId};
use eci_e2e::stack::{Caches, REGION, Stack, StackOptions, condition, message};
use eci_sim::faults::Fault;
use eci_sim::world::image_cache::View;
use serde_json::{Value, json};

use crate::{SOON, WINDOW, stack};

/// How long something may take that is tried again every minute.
const RECHECKED: Duration = Duration::from_mins(2);

async fn privileged(stack: &Stack, name: &str) -> Result<Caches> {
    let caches = stack.namespace(name).await?;
    stack.plane().kubectl(["label", "namespace", name, "eci-operator.io/privileged=true"]).await?.ok()?;
    Ok(caches)
}

fn adopting(id: &str, policy: &str) -> Value {
    json!({ "images": ["nginx"], "deletionPolicy": policy, "adopt": { "imageCacheID": id } })
}

fn id_of(cache: &ImageCache) -> Result<String> {
    cache.status.as_ref().and_then(|s| s.image_cache_id.clone()).context("an ID")
}

/// A cache that outlived its object.
async fn retained(stack: &Stack, caches: &Caches, name: &str) -> Result<String> {
    caches.create(name, json!({ "images": ["nginx"], "deletionPolicy": "Retain" })).await?;
    let id = id_of(&caches.says(name, "True", "Available", SOON).await?)?;
    caches.delete(name).await?;
    caches.is_gone(name, SOON).await?;
    ensure!(in_cloud(stack, &id).await?.is_some());
    Ok(id)
}

async fn in_cloud(stack: &Stack, id: &str) -> Result<Option<View>> {
    Ok(stack.cloud().caches().await?.into_iter().find(|view| view.id == id))
}

/// Sets tags as the operator of another cluster would.
async fn tag(stack: &Stack, id: &str, tags: [(&str, &str); 2]) -> Result<()> {
    let credentials = StaticCredentials::from_env(|name| match name {
        "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some("FAKE-ACCESS-KEY-ID".to_owned()),
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some("FAKE-ACCESS-KEY-SECRET".to_owned()),
        _ => None,
    })?;
    let mut config = Config::new(REGION, Arc::new(credentials));
    config.endpoint = Some(stack.sim_url().to_owned());
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Client::new(config)?.tag_image_cache(&CloudId::parse(id)?, &tags).await?;
    Ok(())
}

#[tokio::test]
async fn a_retained_cache_is_taken_over_without_a_build_and_goes_by_its_new_policy() -> Result<()> {
    let stack = stack().await;
    let caches = privileged(stack, "adopt").await?;
    let id = retained(stack, &caches, "old").await?;
    caches.create("new", adopting(&id, "Delete")).await?;
    let ready = caches.says("new", "True", "Available", SOON).await?;
    ensure!(id_of(&ready)? == id, "another cache");
    ensure!(stack.billed("adopt", "new").await?.is_empty(), "something was built");
    let tags = in_cloud(stack, &id).await?.context("it is there")?.tags;
    ensure!(tags.get("eci-operator.io/uid") == ready.metadata.uid.as_ref(), "{tags:?}");
    ensure!(!tags.contains_key("eci-operator.io/retained"), "{tags:?}");
    // A change of the spec is carried out as for any other cache.
    caches.patch("new", json!({ "spec": { "retentionDays": 9 } })).await?;
    caches
        .until("new", "retention applied", SOON, |c| {
            let applied = c.status.as_ref().and_then(|s| s.applied.as_ref());
            applied.is_some_and(|a| a.request.retention_days == Some(9) && !a.updating)
        })
        .await?;
    caches.delete("new").await?;
    caches.is_gone("new", SOON).await?;
    ensure!(in_cloud(stack, &id).await?.is_none(), "deletionPolicy Delete left it");
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}

#[tokio::test]
async fn the_api_server_refuses_privileged_fields_elsewhere_and_lets_go_of_what_is_there() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("tenant").await?;
    let roles = json!([{ "id": "cri-example", "userRoleARN": "acs:ram::123456789012:role/pull" }]);
    let with_role = json!({ "images": ["nginx"], "acrInstances": roles });
    for (name, spec) in [("adopts", adopting("imc-any", "Delete")), ("role", with_role.clone())] {
        let refused = caches.create(name, spec).await.err().context("the policy takes it")?.to_string();
        ensure!(refused.contains("eci-operator.io/privileged=true"), "{refused}");
    }
    caches.create("plain", json!({ "images": ["nginx"] })).await?;
    let patched = caches.patch("plain", json!({ "spec": { "acrInstances": roles } })).await;
    ensure!(patched.is_err(), "an edit gets past the policy");

    let plane = stack.plane();
    plane.kubectl(["label", "namespace", "tenant", "eci-operator.io/privileged=true"]).await?.ok()?;
    caches.create("role", with_role).await?;
    caches.says("role", "True", "Available", SOON).await?;
    plane.kubectl(["label", "namespace", "tenant", "eci-operator.io/privileged-"]).await?.ok()?;
    // Nothing privileged changes: it can be edited and deleted without the label, finalizer and all.
    caches.patch("role", json!({ "spec": { "retentionDays": 5 } })).await?;
    for name in ["role", "plain"] {
        caches.delete(name).await?;
        caches.is_gone(name, SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_itself_refuses_a_namespace_without_the_label_and_heals_with_it() -> Result<()> {
    let options = StackOptions {
        values: json!({ "privilegedFields": { "policy": false } }),
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await?;
    let trusted = privileged(&stack, "trusted").await?;
    let id = retained(&stack, &trusted, "old").await?;
    let tenant = stack.namespace("tenant").await?;
    tenant.create("new", adopting(&id, "Delete")).await?;
    let refused = tenant.says("new", "False", "NamespaceNotPrivileged", SOON).await?;
    ensure!(condition(&refused, "Stalled").is_some());
    ensure!(
        message(&refused, "Stalled")?.contains("Label namespace tenant"),
        "{}",
        message(&refused, "Stalled")?
    );
    // Its claim does not stand in the way of others, though it is the older one.
    trusted.create("new", adopting(&id, "Retain")).await?;
    trusted.says("new", "True", "Available", RECHECKED).await?;
    stack.plane().kubectl(["label", "namespace", "tenant", "eci-operator.io/privileged=true"]).await?.ok()?;
    let conflict = tenant.says("new", "False", "AdoptionConflict", RECHECKED).await?;
    ensure!(message(&conflict, "Ready")?.contains("trusted/new"), "{}", message(&conflict, "Ready")?);
    // The loser's end, with deletionPolicy Delete, touches nothing.
    tenant.delete("new").await?;
    tenant.is_gone("new", SOON).await?;
    ensure!(in_cloud(&stack, &id).await?.is_some(), "the loser deleted it");
    Ok(())
}

#[tokio::test]
async fn of_two_claimants_the_older_wins_and_the_other_follows_when_it_is_gone() -> Result<()> {
    let stack = stack().await;
    let caches = privileged(stack, "claims").await?;
    let id = retained(stack, &caches, "old").await?;
    caches.create("a", adopting(&id, "Retain")).await?;
    caches.create("b", adopting(&id, "Retain")).await?;
    let ready = caches.until("a", "one of them is ready", SOON, |c| {
        condition(c, "Ready").is_some_and(|(_, reason)| reason == "Available" || reason == "AdoptionConflict")
    });
    let a_won = condition(&ready.await?, "Ready").is_some_and(|(_, reason)| reason == "Available");
    let (winner, loser) = if a_won { ("a", "b") } else { ("b", "a") };
    caches.says(winner, "True", "Available", SOON).await?;
    let told = caches.says(loser, "False", "AdoptionConflict", SOON).await?;
    ensure!(message(&told, "Ready")?.contains(&format!("claims/{winner}")), "{}", message(&told, "Ready")?);
    caches.delete(winner).await?;
    caches.is_gone(winner, SOON).await?;
    ensure!(id_of(&caches.says(loser, "True", "Available", RECHECKED).await?)? == id);
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_and_what_another_cluster_has_is_said_and_waited_for() -> Result<()> {
    let stack = stack().await;
    let caches = privileged(stack, "waits").await?;
    caches.create("missing", adopting("imc-missing", "Delete")).await?;
    let told = caches.says("missing", "False", "AdoptionNotFound", SOON).await?;
    ensure!(message(&told, "Stalled")?.contains("imc-missing"));
    ensure!(told.metadata.finalizers.unwrap_or_default().is_empty(), "it owns nothing");

    let id = retained(stack, &caches, "old").await?;
    tag(stack, &id, [("eci-operator.io/cluster", "other"), ("eci-operator.io/uid", "theirs")]).await?;
    caches.create("foreign", adopting(&id, "Delete")).await?;
    let told = caches.says("foreign", "False", "AdoptionConflict", SOON).await?;
    ensure!(message(&told, "Ready")?.contains("cluster other"), "{}", message(&told, "Ready")?);
    caches.delete("foreign").await?;
    caches.is_gone("foreign", SOON).await?;
    ensure!(in_cloud(stack, &id).await?.is_some(), "another cluster's cache was deleted");

    // Not what the spec says.
    let other = retained(stack, &caches, "older").await?;
    let mut spec = adopting(&other, "Delete");
    spec["size"] = json!("77Gi");
    caches.create("bigger", spec).await?;
    let told = caches.says("bigger", "False", "AdoptionMismatch", SOON).await?;
    ensure!(message(&told, "Ready")?.contains("its size is 20Gi"), "{}", message(&told, "Ready")?);
    caches.patch("bigger", json!({ "spec": { "size": "20Gi" } })).await?;
    ensure!(id_of(&caches.says("bigger", "True", "Available", SOON).await?)? == other);
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_of_the_tags_makes_no_difference() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = privileged(&stack, "lost").await?;
    for (name, fault) in [("after", Fault::lost_after()), ("before", Fault::lost_before())] {
        let id = retained(&stack, &caches, name).await?;
        stack.cloud().add_fault(&fault.on("TagResources").times(1)).await?;
        caches.create(name, adopting(&id, "Delete")).await?;
        let ready = caches.says(name, "True", "Available", WINDOW).await?;
        ensure!(id_of(&ready)? == id, "{name}: another cache");
    }
    Ok(())
}
