//! One bucket and path, several who want it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use eci_aliyun::credentials::StaticCredentials;
use eci_aliyun::{Client, Config};
use eci_api::data_cache::DataCacheRequest;
use eci_core::cloud::{ClientToken, Cloud as _, CreateDataCache};
use eci_e2e::stack::{DataCaches, REGION, Stack, data_id, told};
use serde_json::json;

use crate::{LATER, SOON, at, file, stack, story};

/// Makes a cache as a person with the console would, and gives its ID.
async fn by_hand(stack: &Stack, path: &str, tags: BTreeMap<String, String>) -> Result<String> {
    let credentials = StaticCredentials::from_env(|name| match name {
        "ALIBABA_CLOUD_ACCESS_KEY_ID" => Some("FAKE-ACCESS-KEY-ID".to_owned()),
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET" => Some("FAKE-ACCESS-KEY-SECRET".to_owned()),
        _ => None,
    })?;
    let mut config = Config::new(REGION, Arc::new(credentials));
    config.endpoint = Some(stack.sim_url().to_owned());
    let request = DataCacheRequest {
        name: "by-hand".to_owned(),
        bucket: "models".to_owned(),
        path: path.to_owned(),
        source_type: "URL".to_owned(),
        source_options: [("url".to_owned(), "https://example.com/by-hand".to_owned())].into(),
        size_gib: 80,
        v_switch_ids: vec!["vsw-example".to_owned()],
        security_group_id: Some("sg-example".to_owned()),
        ..DataCacheRequest::default()
    };
    let token = ClientToken::new(format!("by-hand{}", path.replace('/', "-"))).context("a token")?;
    let call = CreateDataCache { token, request, secret_options: BTreeMap::new(), tags };
    Ok(Client::new(config)?.create_data_cache(&call).await?.to_string())
}

#[tokio::test]
async fn a_place_of_somebody_else_is_named_left_alone_and_built_when_it_is_free() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "taken").await?;
    let theirs =
        [("eci-operator.io/cluster", "other"), ("eci-operator.io/uid", "u"), ("eci-operator.io/name", "x")];
    let theirs = theirs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let id = by_hand(stack, "/taken", theirs).await?;
    caches.create("model", file("/taken", "https://example.com/a")).await?;
    let taken = caches.says("model", "False", "BucketPathTaken", SOON).await?;
    for words in [id.as_str(), "of cluster other", "choose another path"] {
        ensure!(told(&taken)?.contains(words), "no {words} in {}", told(&taken)?);
    }
    ensure!(taken.status.iter().flat_map(|s| &s.conditions).any(|c| c.type_ == "Stalled"));
    ensure!(at(stack, "/taken").await?.len() == 1 && story(stack, "/taken").await? == ["made"]);
    stack.cloud().vanish(&id).await?;
    caches.says("model", "True", "Available", LATER).await?;
    Ok(())
}

#[tokio::test]
async fn of_two_objects_over_one_place_the_first_has_it_and_the_other_when_that_is_gone() -> Result<()> {
    let stack = stack().await;
    let (first, second) =
        (DataCaches::in_namespace(stack, "first").await?, DataCaches::in_namespace(stack, "second").await?);
    first.create("model", file("/shared", "https://example.com/a")).await?;
    first.says("model", "True", "Available", SOON).await?;
    second.create("model", file("/shared", "https://example.com/a")).await?;
    let loser = second.says("model", "False", "BucketPathTaken", SOON).await?;
    ensure!(told(&loser)?.contains("data cache first/model"), "{}", told(&loser)?);
    ensure!(at(stack, "/shared").await?.len() == 1);
    first.says("model", "True", "Available", SOON).await?;
    first.delete("model").await?;
    first.is_gone("model", SOON).await?;
    second.says("model", "True", "Available", LATER).await?;
    ensure!(story(stack, "/shared").await? == ["made", "deleted", "made"]);
    Ok(())
}

#[tokio::test]
async fn what_was_made_by_hand_is_taken_over_and_handed_back() -> Result<()> {
    let stack = stack().await;
    let caches = DataCaches::in_namespace(stack, "adopts-data").await?;
    let plane = stack.plane();
    plane.kubectl(["label", "namespace", "adopts-data", "eci-operator.io/privileged=true"]).await?.ok()?;
    let id = by_hand(stack, "/by-hand", BTreeMap::new()).await?;
    let adopting = json!({
        "bucket": "models", "path": "/by-hand", "adopt": { "existing": true }, "deletionPolicy": "Retain",
    });
    caches.create("model", adopting).await?;
    let adopted = caches.says("model", "True", "Available", SOON).await?;
    ensure!(data_id(&adopted)? == id && story(stack, "/by-hand").await? == ["made"], "something was built");
    let tags = &at(stack, "/by-hand").await?[0].tags;
    ensure!(tags.get("eci-operator.io/uid") == adopted.metadata.uid.as_ref(), "{tags:?}");
    caches.delete("model").await?;
    caches.is_gone("model", SOON).await?;
    let kept = at(stack, "/by-hand").await?;
    ensure!(kept.len() == 1 && !kept[0].tags.contains_key("eci-operator.io/uid"), "{kept:?}");
    ensure!(kept[0].tags.contains_key("eci-operator.io/retained"), "{kept:?}");

    // By its ID, and this time it goes with its object.
    let by_id = json!({
        "bucket": "models", "path": "/by-hand", "adopt": { "dataCacheID": id }, "deletionPolicy": "Delete",
    });
    caches.create("again", by_id).await?;
    caches.says("again", "True", "Available", SOON).await?;
    caches.delete("again").await?;
    caches.is_gone("again", SOON).await?;
    ensure!(at(stack, "/by-hand").await?.is_empty());
    Ok(())
}
