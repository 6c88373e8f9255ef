//! `--dry-run` under the permissions of a normal installation, so that nothing but the operator itself keeps it from
//! writing.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, StackOptions};
use serde_json::json;

use crate::SOON;

/// Waits until the operator's log has a line with all of these words.
pub(crate) async fn logged(stack: &Stack, words: &[&str]) -> Result<String> {
    let operator = stack.operator().context("the operator runs")?;
    eventually(&format!("a log line with {words:?}"), SOON, || async {
        let log = operator.log_tail(100_000);
        let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        line.map(str::to_owned).ok_or_else(|| operator.log_tail(5))
    })
    .await
}

#[tokio::test]
async fn a_dry_run_prints_every_plan_and_does_nothing() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("rehearsal").await?;
    for name in ["kept", "gone"] {
        caches.create(name, json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    }
    for name in ["kept", "gone"] {
        caches.says(name, "True", "Available", SOON).await?;
    }
    ensure!(stack.stop_operator().await?, "the operator ends when asked to");
    let (written, ledger) = (stack.writes()?.len(), stack.cloud().ledger().await?);
    ensure!(written > 0 && !ledger.is_empty(), "the operator has worked: {written} writes, {ledger:?}");

    stack.add_argument("--dry-run");
    stack.start_operator().await?;
    let created = caches.create("new", json!({ "images": ["registry.example.com/shop/new:1"] })).await?;
    caches.patch("kept", json!({ "spec": { "images": ["registry.example.com/shop/web:2"] } })).await?;
    caches.delete("gone").await?;
    let request = "registry.example.com/shop/new:1";
    logged(&stack, &["dry-run: would add the finalizer; then record", "rehearsal/new", "attempt 1", request])
        .await?;
    logged(
        &stack,
        &["dry-run: would record", "rehearsal/kept", "attempt 2", "registry.example.com/shop/web:2"],
    )
    .await?;
    logged(&stack, &["dry-run: would ", "rehearsal/gone", "delete imc-"]).await?;

    let seen = caches.get("new").await?;
    ensure!(seen.metadata.resource_version == created.metadata.resource_version, "{seen:?}");
    let now = stack.writes()?;
    ensure!(now.len() == written, "a dry run wrote: {:?}", &now[written..]);
    let after = stack.cloud().ledger().await?;
    ensure!(after == ledger, "a dry run changed the cloud: {after:?}");
    let leads = eci_e2e::stack::leads(stack.health()).await?;
    ensure!(leads, "a dry run needs no Lease to look");
    Ok(())
}
