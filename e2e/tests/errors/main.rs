//! Errors that a user can act on: each cause ends in a condition whose reason and message say what to do, and in a
//! usable cache once the cause is gone.
//!
//! The causes of one file share a stack, and there are few tests: they wait for most of their time, for clocks that
//! cannot be wound (a minute after a used-up quota, a minute between two looks at what vanished), and wait together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod account;
mod data;
mod identity;
mod objects;
mod outage;
mod throttling;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::REQUESTED_AT;
use eci_api::image_cache::ImageCache;
use eci_e2e::stack::{Cache, Caches, Objects, condition, message};
use serde_json::json;

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_secs(30);
/// How long something may take that waits for a clock of the operator's.
const LATER: Duration = Duration::from_mins(2);

#[tokio::test]
async fn what_befalls_single_objects_is_told_and_heals() -> Result<()> {
    let account = async { Box::pin(account::rows()).await.context("what an account runs out of") };
    let objects = async { Box::pin(objects::rows()).await.context("what one object suffers from") };
    let data = async { Box::pin(data::rows()).await.context("what befalls data caches") };
    tokio::try_join!(account, objects, data).map(|_| ())
}

#[tokio::test]
async fn what_befalls_every_call_is_told_and_leaves_usable_caches_alone() -> Result<()> {
    let identity = async { Box::pin(identity::rows()).await.context("who the operator is to the cloud") };
    let outage = async { Box::pin(outage::rows()).await.context("a cloud that does not serve") };
    tokio::try_join!(identity, outage).map(|_| ())
}

#[tokio::test]
async fn minutes_of_throttling_are_told_once_and_heal() -> Result<()> {
    Box::pin(throttling::rows()).await
}

/// The condition beside `Ready` that says whether a person is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Patience,
    Person,
}

/// Waits until an object is not ready for this reason, and checks that what it says has all of these words.
async fn told<K: Cache>(
    caches: &Objects<K>,
    name: &str,
    reason: &str,
    needs: Needs,
    words: &[&str],
) -> Result<K> {
    let told = caches.says(name, "False", reason, LATER).await?;
    let (is, is_not) = match needs {
        Needs::Patience => ("Reconciling", "Stalled"),
        Needs::Person => ("Stalled", "Reconciling"),
    };
    let seen = condition(&told, is);
    ensure!(seen == Some(("True".into(), reason.into())), "{name}: {is} is {seen:?}");
    ensure!(condition(&told, is_not).is_none(), "{name}: it is {is} and {is_not}");
    let sentence = message(&told, "Ready")?;
    for word in words {
        ensure!(sentence.contains(word), "{name}: {word:?} is not in {sentence:?}");
    }
    Ok(told)
}

/// Waits until it is usable, without anybody's help.
async fn heals<K: Cache>(caches: &Objects<K>, name: &str) -> Result<()> {
    let healed = caches.says(name, "True", "Available", LATER).await?;
    for type_ in ["Stalled", "Reconciling"] {
        ensure!(condition(&healed, type_).is_none(), "{name} is usable and {type_}");
    }
    Ok(())
}

/// Asks for a cache.
async fn asked_for(caches: &Caches, name: &str) -> Result<()> {
    caches.create(name, json!({ "images": [format!("registry.example.com/shop/{name}:1")] })).await?;
    Ok(())
}

/// A usable cache.
async fn ready(caches: &Caches, name: &str) -> Result<ImageCache> {
    asked_for(caches, name).await?;
    caches.says(name, "True", "Available", SOON).await
}

/// A cache that is usable stays so, whatever goes wrong elsewhere.
async fn is_still_ready(caches: &Caches, name: &str) -> Result<()> {
    let seen = condition(&caches.get(name).await?, "Ready");
    ensure!(seen == Some(("True".into(), "Available".into())), "{name}: Ready is {seen:?}");
    Ok(())
}

/// Asks for another build.
async fn ask_again<K: Cache>(caches: &Objects<K>, name: &str) -> Result<()> {
    caches.patch(name, json!({ "metadata": { "annotations": { REQUESTED_AT: "again" } } })).await?;
    Ok(())
}

/// Its ID in the cloud.
fn id(cache: &ImageCache) -> String {
    cache.status.as_ref().and_then(|status| status.image_cache_id.clone()).unwrap_or_default()
}
