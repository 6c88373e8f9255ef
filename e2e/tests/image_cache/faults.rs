//! The cloud misbehaves.

use std::time::Duration;

use anyhow::{Result, ensure};
use eci_e2e::stack::{Stack, StackOptions, condition, message};
use eci_sim::faults::{Fault, Seen};
use serde_json::json;

use crate::life::{creates, living};
use crate::{SOON, WINDOW, stack};

#[tokio::test]
async fn a_refused_create_says_why_and_heals_by_itself() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("refused").await?;
    for (name, code, reason, class) in [
        ("denied", "NoPermission", "PermissionDenied", "Stalled"),
        ("busy", "OperationConflict", "CloudBusy", "Reconciling"),
        ("throttled", "Throttling.User", "Throttled", "Reconciling"),
    ] {
        stack.cloud().add_fault(&Fault::refused(code).on("CreateImageCache")).await?;
        caches.create(name, json!({ "images": ["nginx"] })).await?;
        let refused = caches.says(name, "False", reason, SOON).await?;
        ensure!(condition(&refused, class).is_some(), "{name} is not {class}");
        ensure!(message(&refused, "Ready")?.contains(code), "{}", message(&refused, "Ready")?);
        stack.cloud().clear_faults().await?;
        caches.says(name, "True", "Available", WINDOW).await?;
        ensure!(creates(&stack, "refused", name).await? == 1 && living(&stack, "refused", name).await? == 1);
    }
    Ok(())
}

#[tokio::test]
async fn slow_failures_wait_with_their_reason() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("slow").await?;
    for (name, code, reason) in [
        ("quota", "QuotaExceeded", "QuotaExceeded"),
        ("stock", "OperationDenied.NoStock", "NoStock"),
        ("addresses", "InvalidVSwitchId.IpNotEnough", "VSwitchFull"),
        ("bills", "Account.Arrearage", "Arrears"),
    ] {
        stack.cloud().add_fault(&Fault::refused(code).on("CreateImageCache").times(1)).await?;
        caches.create(name, json!({ "images": ["nginx"] })).await?;
        let waiting = caches.says(name, "False", reason, SOON).await?;
        ensure!(
            condition(&waiting, "Reconciling").is_some() && condition(&waiting, "Stalled").is_none(),
            "{name}"
        );
        // A change of the spec is a reason to try at once.
        caches.patch(name, json!({ "spec": { "size": "40Gi" } })).await?;
        caches.says(name, "True", "Available", SOON).await?;
    }
    Ok(())
}

#[tokio::test]
async fn lost_answers_make_no_second_cache() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("lost").await?;
    stack.cloud().add_fault(&Fault::lost_after().on("CreateImageCache").times(1)).await?;
    caches.create("after", json!({ "images": ["nginx"] })).await?;
    caches.says("after", "True", "Available", SOON).await?;
    let not_json = Fault { answer: Seen::NotJson(502), ..Fault::default() };
    stack.cloud().add_fault(&not_json.on("CreateImageCache").times(1)).await?;
    caches.create("proxy", json!({ "images": ["nginx"] })).await?;
    caches.says("proxy", "True", "Available", SOON).await?;
    let truncated = Fault { answer: Seen::Truncated, ..Fault::default() };
    stack.cloud().add_fault(&truncated.on("CreateImageCache").times(1)).await?;
    caches.create("half", json!({ "images": ["nginx"] })).await?;
    caches.says("half", "True", "Available", SOON).await?;
    stack.cloud().add_fault(&Fault::lost_after().on("DeleteImageCache").times(2)).await?;
    for name in ["after", "proxy", "half"] {
        ensure!(creates(&stack, "lost", name).await? == 1, "{name} was billed twice");
        caches.delete(name).await?;
        caches.is_gone(name, SOON).await?;
        ensure!(living(&stack, "lost", name).await? == 0, "{name} was left behind");
    }
    Ok(())
}

#[tokio::test]
async fn a_cloud_that_cannot_be_reached_is_a_condition_and_heals() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("down").await?;
    let page = Fault { answer: Seen::NotJson(502), ..Fault::default() };
    stack.cloud().add_fault(&page).await?;
    caches.create("web", json!({ "images": ["nginx"] })).await?;
    let waiting = caches.says("web", "False", "CloudUnavailable", SOON).await?;
    ensure!(condition(&waiting, "Reconciling").is_some());
    stack.cloud().clear_faults().await?;
    caches.says("web", "True", "Available", WINDOW).await?;
    ensure!(creates(&stack, "down", "web").await? == 1);
    Ok(())
}

#[tokio::test]
async fn a_failed_build_is_told_with_the_clouds_words_and_a_new_spec_is_tried_at_once() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("failed").await?;
    caches.create("web", json!({ "images": ["registry.example.com/nonexistent:1"] })).await?;
    let failed = caches.says("web", "False", "BuildFailed", SOON).await?;
    ensure!(condition(&failed, "Reconciling").is_some(), "it is tried again by itself");
    let status = failed.status.clone().unwrap_or_default();
    ensure!(status.cloud_status.as_deref() == Some("Failed") && !status.events.is_empty(), "{status:?}");
    ensure!(
        message(&failed, "Ready")?.contains("minutes after the failure"),
        "{}",
        message(&failed, "Ready")?
    );
    caches.patch("web", json!({ "spec": { "images": ["registry.example.com/existent:1"] } })).await?;
    caches.says("web", "True", "Available", SOON).await?;
    ensure!(living(stack, "failed", "web").await? == 1, "the failed one was left behind");
    Ok(())
}

#[tokio::test]
async fn a_cache_deleted_by_hand_is_built_again() -> Result<()> {
    let stack = stack().await;
    let caches = stack.namespace("vanished").await?;
    caches.create("web", json!({ "images": ["nginx"] })).await?;
    let ready = caches.says("web", "True", "Available", SOON).await?;
    let id = ready.status.and_then(|s| s.image_cache_id).unwrap_or_default();
    stack.cloud().vanish(&id).await?;
    let rebuilt = caches.until("web", "another cache is ready", Duration::from_secs(150), |c| {
        let status = c.status.clone().unwrap_or_default();
        status.image_cache_id.is_some_and(|new| new != id)
            && condition(c, "Ready") == Some(("True".into(), "Available".into()))
    });
    rebuilt.await?;
    ensure!(living(stack, "vanished", "web").await? == 1);
    Ok(())
}
