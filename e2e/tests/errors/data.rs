//! What befalls DataCaches: what their account runs out of, what the operator may not do, and sources that cannot be
//! read. The decisions are those of image caches; what is shown is that these calls and words come through as well.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::{DataCaches, Stack, StackOptions};
use eci_sim::faults::Fault;
use eci_sim::world::call::Effect;
use serde_json::{Value, json};

use crate::{LATER, Needs, SOON, heals, told};

/// How long the cloud asks to be left alone.
const PAUSE_MS: u64 = 5_000;

pub(crate) async fn rows() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = DataCaches::in_namespace(&stack, "data").await?;
    refused(&stack, &caches).await.context("a create call that is refused")?;
    full(&stack, &caches).await.context("an account that is full")?;
    source_without_a_way(&stack, &caches).await.context("a source without a way to it")?;
    let waiting = ["owing", "new", "nowhere", "crowded", "denied", "late", "patient"];
    futures::future::try_join_all(waiting.map(|name| heals(&caches, name))).await?;
    for name in waiting {
        let made = made(&stack, name).await?;
        ensure!(made == 1, "{made} caches were billed for {name}");
    }
    delete_refused(&stack, &caches).await.context("a delete that is refused")?;
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}

/// One fault after the other, each for every create call: those who wait already get it too, which does them no harm.
async fn refused(stack: &Stack, caches: &DataCaches) -> Result<()> {
    for (name, code, reason, needs, advice) in [
        ("owing", "Account.Arrearage", "Arrears", Needs::Patience, "unpaid bills"),
        ("new", "ServiceNotEnabled", "AccountRestricted", Needs::Person, "activate the service"),
        ("nowhere", "OperationDenied.NoStock", "NoStock", Needs::Patience, "add a vSwitch of another zone"),
        ("crowded", "InvalidVSwitchId.IpNotEnough", "VSwitchFull", Needs::Patience, "add another vSwitch"),
        ("denied", "NoPermission", "PermissionDenied", Needs::Person, "Grant the operator's RAM identity"),
    ] {
        stack.cloud().add_fault(&Fault::refused(code).on("CreateDataCache")).await?;
        caches.create(name, file(name)).await?;
        told(caches, name, reason, needs, &[advice, code, "CreateDataCache"]).await?;
        stack.cloud().clear_faults().await?;
    }
    stack.cloud().add_fault(&Fault::throttled(PAUSE_MS).on("CreateDataCache")).await?;
    caches.create("patient", file("patient")).await?;
    told(caches, "patient", "Throttled", Needs::Patience, &["slows down"]).await?;
    Ok(stack.cloud().clear_faults().await?)
}

/// The account says so before anything is sent, and how many are before this one.
async fn full(stack: &Stack, caches: &DataCaches) -> Result<()> {
    stack.cloud().settings(json!({ "maxDataCaches": 0 })).await?;
    caches.create("late", file("late")).await?;
    told(caches, "late", "QuotaExceeded", Needs::Patience, &["Raise the quota"]).await?;
    Ok(stack.cloud().settings(json!({ "maxDataCaches": 100 })).await?)
}

/// The vSwitch has no way out; with an EIP for the build it has.
async fn source_without_a_way(stack: &Stack, caches: &DataCaches) -> Result<()> {
    let source = json!({ "contains": "/public", "needsInternet": true });
    stack.cloud().settings(json!({ "sources": [source] })).await?;
    caches.create("public", file("public")).await?;
    let words = ["NAT gateway or an EIP", "spec.eip", "i/o timeout", "5 minutes"];
    told(caches, "public", "BuildFailed", Needs::Patience, &words).await?;
    caches.patch("public", json!({ "spec": { "eip": { "bandwidth": 10 } } })).await?;
    heals(caches, "public").await
}

async fn delete_refused(stack: &Stack, caches: &DataCaches) -> Result<()> {
    stack.cloud().add_fault(&Fault::refused("NoPermission").on("DeleteDataCache")).await?;
    caches.delete("owing").await?;
    let words = ["Grant the operator's RAM identity", "DeleteDataCache", "NoPermission"];
    told(caches, "owing", "PermissionDenied", Needs::Person, &words).await?;
    stack.cloud().clear_faults().await?;
    caches.is_gone("owing", LATER).await?;
    let left = stack.cloud().data_caches().await?.into_iter().any(|view| view.path == "/owing");
    ensure!(!left, "the cloud still has it");
    // The others go at once.
    caches.delete("new").await?;
    caches.is_gone("new", SOON).await
}

fn file(name: &str) -> Value {
    let url = json!({ "url": format!("https://example.com/{name}") });
    json!({ "bucket": "models", "path": format!("/{name}"), "source": { "type": "URL", "url": url } })
}

/// How often the cloud made a cache for an object.
async fn made(stack: &Stack, name: &str) -> Result<usize> {
    let wanted = format!("data.{name}");
    let ledger = stack.cloud().ledger().await?;
    let of = |effect: &Effect| matches!(effect, Effect::CreatedData { spec, .. } if spec.name == wanted);
    Ok(ledger.iter().filter(|entry| of(&entry.effect)).count())
}
