//! A cloud that throttles every action for minutes: first without a word for how long, then with one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::{Caches, Stack, StackOptions, condition, message};
use eci_sim::faults::{Fault, Seen};

use crate::{LATER, Needs, asked_for, heals, is_still_ready, ready, told};

/// How long it lasts, each way.
const LASTS: Duration = Duration::from_secs(65);
/// How long the cloud asks to be left alone, when it does.
const PAUSE_MS: u64 = 20_000;
/// How often the objects are looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Most calls of one action in that time. Without a word: back-offs of 1, 2, 4, 8, 16 and 30 s, of the list and of an
/// object that looks for its own.
const MOST_UNASKED: u64 = 24;
/// With one: each pause once, for the list and for an object.
const MOST_ASKED: u64 = 2 * (LASTS.as_secs() * 1_000 / PAUSE_MS + 1);

pub(crate) async fn rows() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("throttled").await?;
    ready(&caches, "healthy").await?;
    ready(&caches, "leaving").await?;
    for (pause_ms, newcomer, most) in [(None, "unasked", MOST_UNASKED), (Some(PAUSE_MS), "asked", MOST_ASKED)]
    {
        let fault = Fault {
            answer: Seen::Error {
                code: "Throttling.User".into(),
                status: None,
                message: None,
                retry_after_ms: pause_ms,
            },
            ..Fault::default()
        };
        let before = calls(&stack).await?;
        stack.cloud().add_fault(&fault).await?;
        asked_for(&caches, newcomer).await?;
        if pause_ms.is_some() {
            caches.delete("leaving").await?;
        }
        lasts(&caches, newcomer).await.with_context(|| format!("asked to wait {pause_ms:?}"))?;
        for (action, count) in calls(&stack).await? {
            let count = count - before.get(&action).copied().unwrap_or(0);
            println!("throttled, asked to wait {pause_ms:?}: {count} calls of {action}");
            ensure!(count <= most, "{action} was called {count} times, asked to wait {pause_ms:?}");
        }
        stack.cloud().clear_faults().await?;
        heals(&caches, newcomer).await?;
        is_still_ready(&caches, "healthy").await?;
        let billed = stack.billed("throttled", newcomer).await?.len();
        ensure!(billed == 1, "{billed} caches were billed for {newcomer}");
    }
    caches.is_gone("leaving", LATER).await?;
    ensure!(stack.living("throttled", "leaving").await?.is_empty(), "the cloud still has it");
    Ok(())
}

/// All the while the same is said, without a person being called and without a write of the status.
async fn lasts(caches: &Caches, name: &str) -> Result<()> {
    let first = told(caches, name, "Throttled", Needs::Patience, &["slows down", "Throttling.User"]).await?;
    for _ in 0..LASTS.as_secs() / LOOK_EVERY.as_secs() {
        let now = caches.get(name).await?;
        let seen = (condition(&now, "Ready"), condition(&now, "Reconciling"), condition(&now, "Stalled"));
        let throttled = |status: &str| Some((status.to_owned(), "Throttled".to_owned()));
        ensure!(seen == (throttled("False"), throttled("True"), None), "{name}: {seen:?}");
        ensure!(message(&now, "Ready")? == message(&first, "Ready")?, "{name}: the message changes");
        ensure!(
            now.metadata.resource_version == first.metadata.resource_version,
            "{name}: it was written although nothing changed"
        );
        is_still_ready(caches, "healthy").await?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn calls(stack: &Stack) -> Result<BTreeMap<String, u64>> {
    let calls = stack.cloud().calls().await?;
    Ok(calls.counts.keys().map(|action| (action.clone(), calls.of(action))).collect())
}
