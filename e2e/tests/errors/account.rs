//! What an account runs out of: quota, money, permission to use the service, and caches that the cloud takes back.

use anyhow::{Result, ensure};
use eci_api::image_cache::ImageCache;
use eci_e2e::stack::{Caches, Stack, StackOptions, condition};
use eci_sim::faults::Fault;
use eci_sim::world::call::{Cause, Effect};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{LATER, Needs, SOON, ask_again, heals, id, told};

const DAY: u64 = 86_400;

pub(crate) async fn rows() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("account").await?;
    let expiring = usable(&caches, "expiring", json!({ "retentionDays": 1 })).await?;
    let evictable = usable(&caches, "evictable", json!({ "eliminationStrategy": "LRU" })).await?;
    stack.cloud().advance(DAY + 60).await?;
    ended(&stack, &id(&expiring), Cause::Expired).await?;

    // Room for one: the newcomer takes the place of the one that may be eliminated, the next has none to take.
    stack.cloud().settings(json!({ "maxImageCaches": 1 })).await?;
    usable(&caches, "newcomer", json!({})).await?;
    ended(&stack, &id(&evictable), Cause::Eliminated).await?;
    caches.create("late", spec("late", json!({}))).await?;
    told(&caches, "late", "QuotaExceeded", Needs::Patience, &["Raise the quota"]).await?;
    stack.cloud().settings(json!({ "maxImageCaches": 500 })).await?;

    for (name, code, reason, needs, advice) in [
        ("owing", "Account.Arrearage", "Arrears", Needs::Patience, "unpaid bills"),
        ("new", "ServiceNotEnabled", "AccountRestricted", Needs::Person, "activate the service"),
        ("nowhere", "OperationDenied.NoStock", "NoStock", Needs::Patience, "add a vSwitch of another zone"),
        ("crowded", "InvalidVSwitchId.IpNotEnough", "VSwitchFull", Needs::Patience, "add another vSwitch"),
    ] {
        stack.cloud().add_fault(&Fault::refused(code).on("CreateImageCache").times(1)).await?;
        caches.create(name, spec(name, json!({}))).await?;
        told(&caches, name, reason, needs, &[advice, code, "CreateImageCache"]).await?;
    }

    tokio::try_join!(
        expired(&caches, "expiring"),
        eliminated(&caches, "evictable"),
        heals(&caches, "late"),
        heals(&caches, "owing"),
        heals(&caches, "new"),
        heals(&caches, "nowhere"),
        heals(&caches, "crowded"),
    )?;
    for name in ["late", "owing", "new", "nowhere", "crowded"] {
        let billed = stack.billed("account", name).await?.len();
        ensure!(billed == 1, "{name}: {billed} caches were billed");
    }
    Ok(())
}

/// Its days are over: it is not built again by itself, for that costs money, but on demand.
async fn expired(caches: &Caches, name: &str) -> Result<()> {
    caches.until(name, "the operator misses it", SOON, misses).await?;
    // Only the cloud's clock was wound: by the operator's, the day ends tomorrow. It goes by what the status says.
    let past = json!({ "status": { "expirationTime": "2020-01-01T00:00:00Z" } });
    caches.api().patch_status(name, &PatchParams::default(), &Patch::Merge(past)).await?;
    told(caches, name, "Expired", Needs::Person, &["retentionDays", "eci-operator.io/requested-at"]).await?;
    ask_again(caches, name).await?;
    heals(caches, name).await
}

/// The cloud took its place for another: it is not built again by itself, for it might take the next one's place.
async fn eliminated(caches: &Caches, name: &str) -> Result<()> {
    told(caches, name, "Eliminated", Needs::Person, &["make room", "eci-operator.io/requested-at"]).await?;
    ask_again(caches, name).await?;
    heals(caches, name).await
}

fn misses(cache: &ImageCache) -> bool {
    condition(cache, "Reconciling").is_some_and(|(_, reason)| reason == "Vanished")
}

fn spec(name: &str, more: Value) -> Value {
    let mut spec = json!({ "images": [format!("registry.example.com/shop/{name}:1")] });
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

async fn usable(caches: &Caches, name: &str, more: Value) -> Result<ImageCache> {
    caches.create(name, spec(name, more)).await?;
    caches.says(name, "True", "Available", LATER).await
}

/// The cloud removed it by itself.
async fn ended(stack: &Stack, id: &str, cause: Cause) -> Result<()> {
    let ledger = stack.cloud().ledger().await?;
    let found = ledger.iter().any(|entry| entry.id == id && entry.effect == Effect::Deleted { cause });
    ensure!(found, "the cloud did not remove {id}: {ledger:?}");
    Ok(())
}
