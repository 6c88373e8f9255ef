//! The operator dies.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, StackOptions, condition};
use eci_sim::faults::{Effect, Fault, Seen};
use serde_json::json;

use crate::life::{creates, living};
use crate::{SOON, WINDOW};

/// A create call that reaches the cloud and is not answered for long.
fn unanswered(effect: Effect) -> Fault {
    Fault { effect: Some(effect), answer: Seen::Silence(60_000), ..Fault::default() }
        .on("CreateImageCache")
        .times(1)
}

/// Waits until the simulated cloud has got a create call.
async fn create_was_sent(stack: &Stack) -> Result<()> {
    eventually("a create call reaches the cloud", SOON, || async {
        let calls = stack.cloud().calls().await.map_err(|e| e.to_string())?;
        let calls = serde_json::to_string(&calls).map_err(|e| e.to_string())?;
        if calls.contains("CreateImageCache") { Ok(()) } else { Err("no create call".to_owned()) }
    })
    .await
}

/// Kills the operator while its create call is under way and starts it again.
async fn killed_in_the_middle_of_a_create(effect: Effect) -> Result<(Stack, usize)> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("crash").await?;
    stack.cloud().add_fault(&unanswered(effect)).await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    let recorded = caches.until("web", "the operation is recorded", SOON, |c| {
        c.status.as_ref().is_some_and(|s| s.operation.is_some())
    });
    let recorded = recorded.await?;
    ensure!(condition(&recorded, "Ready").is_none_or(|(status, _)| status != "True"));
    if effect == Effect::Never {
        // The fault keeps what it strikes out of the call log's effects; the record is what shows that it was sent.
        caches.get("web").await?.status.and_then(|s| s.operation).context("an operation")?;
    } else {
        create_was_sent(&stack).await?;
    }
    stack.kill_operator().await?;
    stack.start_operator().await?;
    caches.says("web", "True", "Available", WINDOW).await?;
    let billed = creates(&stack, "crash", "web").await?;
    ensure!(living(&stack, "crash", "web").await? == 1, "not exactly one cache lives");
    Ok((stack, billed))
}

#[tokio::test]
async fn an_operator_killed_after_the_effect_of_its_create_call_makes_no_second_cache() -> Result<()> {
    let (stack, billed) = killed_in_the_middle_of_a_create(Effect::Now).await?;
    ensure!(billed == 1, "{billed} caches were billed");
    ensure!(stack.forbidden()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_operator_killed_before_the_effect_of_its_create_call_finds_the_late_cache() -> Result<()> {
    let (_, billed) = killed_in_the_middle_of_a_create(Effect::Later(4_000)).await?;
    ensure!(billed == 1, "{billed} caches were billed");
    Ok(())
}

#[tokio::test]
async fn a_lost_create_call_is_sent_again_after_the_window() -> Result<()> {
    let (_, billed) = killed_in_the_middle_of_a_create(Effect::Never).await?;
    ensure!(billed == 1, "{billed} caches were billed");
    Ok(())
}

#[tokio::test]
async fn an_object_deleted_while_its_create_call_is_unresolved_leaves_nothing_behind() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("crash").await?;
    stack.cloud().add_fault(&unanswered(Effect::Later(4_000))).await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    create_was_sent(&stack).await?;
    stack.kill_operator().await?;
    caches.delete("web").await?;
    stack.start_operator().await?;
    caches.is_gone("web", WINDOW).await?;
    ensure!(living(&stack, "crash", "web").await? == 0, "the late cache was left behind");
    Ok(())
}

#[tokio::test]
async fn an_operator_that_is_asked_to_stop_ends_cleanly_and_its_successor_goes_on() -> Result<()> {
    let mut stack = Stack::start(StackOptions { build_time: "6s", ..StackOptions::default() }).await?;
    let caches = stack.namespace("stop").await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    caches.says("web", "False", "Building", SOON).await?;
    ensure!(stack.stop_operator().await?, "it did not end as one that was asked to");
    stack.start_operator().await?;
    caches.says("web", "True", "Available", SOON).await?;
    ensure!(creates(&stack, "stop", "web").await? == 1);
    Ok(())
}
