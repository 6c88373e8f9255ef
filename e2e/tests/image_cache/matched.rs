//! Whether pods start from a cache, by what the vendor says of them.

use anyhow::{Result, ensure};
use eci_api::image_cache::ImageCache;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Caches, condition};
use eci_e2e::vendor::{Behaviour, PodRef, Vendor};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{SOON, stack};

const WHERE: &str = "matches";

/// A usable cache of this image.
async fn cache(caches: &Caches, name: &str) -> Result<String> {
    caches.create(name, json!({ "images": [image(name)] })).await?;
    let ready = caches.says(name, "True", "Available", SOON).await?;
    Ok(ready.status.and_then(|status| status.image_cache_id).unwrap_or_default())
}

fn image(name: &str) -> String {
    format!("registry.example.com/matches/{name}:1")
}

/// A pod that goes nowhere, with these images.
async fn pod(caches: &Caches, name: &str, images: &[String]) -> Result<PodRef> {
    let containers: Vec<Value> = images
        .iter()
        .enumerate()
        .map(|(number, image)| json!({ "name": format!("c{number}"), "image": image }))
        .collect();
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "nodeSelector": { "nowhere": "true" }, "containers": containers },
    }))?;
    let api: Api<Pod> = Api::namespaced(caches.client(), WHERE);
    Ok(PodRef::of(&api.create(&PostParams::default(), &pod).await?))
}

fn counts(cache: &ImageCache) -> Option<(i64, i64, i64)> {
    let matches = cache.status.as_ref()?.matches.as_ref()?;
    Some((matches.hits, matches.partial_hits, matches.misses))
}

#[tokio::test]
async fn hits_and_misses_are_counted_and_a_cache_that_is_never_matched_says_so() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace(WHERE).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(caches.client(), WHERE);
    eventually("the namespace has its account", SOON, || async { accounts.get("default").await.map(drop) })
        .await?;
    let vendor = Vendor::start(stack.plane(), Behaviour::QUIET).await?;
    let whole = cache(&caches, "whole").await?;
    let part = cache(&caches, "part").await?;
    cache(&caches, "never").await?;
    let hit = pod(&caches, "hit", &[image("whole")]).await?;
    vendor.matched(&hit, Some(&whole)).await?;
    let partial = pod(&caches, "partial", &[image("part"), image("other")]).await?;
    vendor.matched(&partial, Some(&part)).await?;
    let missed = pod(&caches, "missed", &[image("never")]).await?;
    vendor.matched(&missed, None).await?;
    for (name, expected, said) in [
        ("whole", (1, 0, 0), ("True", "Matched")),
        ("part", (1, 1, 0), ("False", "PartialOnly")),
        ("never", (0, 0, 1), ("False", "NeverMatched")),
    ] {
        let counted =
            caches.until(name, "its pods are counted", SOON, |cache| counts(cache) == Some(expected)).await?;
        let seen = condition(&counted, "Matched");
        ensure!(seen == Some((said.0.to_owned(), said.1.to_owned())), "{name}: {seen:?}");
        ensure!(condition(&counted, "Ready") == Some(("True".into(), "Available".into())), "{name}");
        let time = counted.status.and_then(|status| status.last_matched_time);
        ensure!(time.is_some() == (expected.0 > 0), "{name}: last matched at {time:?}");
    }
    for name in ["whole", "part", "never"] {
        caches.delete(name).await?;
        caches.is_gone(name, SOON).await?;
    }
    Ok(())
}
