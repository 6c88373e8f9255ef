//! The cloud has enough, answers nonsense, or does not answer.

use std::ffi::OsStr;

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Caches, Programs, REGION, Stack, StackOptions, condition, message};
use eci_e2e::testbed::Process;
use eci_sim::faults::{Fault, Seen};

use crate::{LATER, Needs, SOON, asked_for, heals, is_still_ready, ready, told};

/// How long the cloud asks to be left alone.
const PAUSE_MS: u64 = 20_000;

pub(crate) async fn rows() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("outage").await?;
    ready(&caches, "healthy").await?;
    throttled(&stack, &caches).await.context("throttling with a time to wait")?;
    login_page(&stack, &caches).await.context("a page instead of an answer")?;
    proxy_refuses(&stack, &caches).await.context("a proxy that refuses")?;
    tokio::try_join!(heals(&caches, "patient"), heals(&caches, "portal"), heals(&caches, "proxied"))?;
    pause_was_kept(&stack).await?;
    unreachable(&stack, &caches).await.context("a cloud that is not there")
}

async fn throttled(stack: &Stack, caches: &Caches) -> Result<()> {
    stack.cloud().add_fault(&Fault::throttled(PAUSE_MS).on("CreateImageCache").times(1)).await?;
    asked_for(caches, "patient").await?;
    // Soon the client says so itself, and keeps the call back.
    told(caches, "patient", "Throttled", Needs::Patience, &["slows down"]).await?;
    is_still_ready(caches, "healthy").await
}

/// The pause that the cloud asks for is for all objects.
async fn pause_was_kept(stack: &Stack) -> Result<()> {
    let calls = stack.cloud().calls().await?.recent;
    let mut creates = calls.iter().filter(|call| call.action == "CreateImageCache");
    let refused = creates.find(|call| call.answer == "Throttling.User").context("a refused call")?;
    let next = creates.next().context("a call after the refused one")?;
    let pause = next.at.duration_since(refused.at).as_millis();
    // The operator's time begins with the answer, and the log has milliseconds.
    ensure!(pause >= i128::from(PAUSE_MS), "the cloud asked for {PAUSE_MS} ms and was called after {pause}");
    ensure!(next.answer == "OK", "{next:?}");
    ensure!(stack.billed("outage", "patient").await?.len() == 1, "it was billed twice");
    Ok(())
}

/// What a captive portal does: a page, and says that all is well.
async fn login_page(stack: &Stack, caches: &Caches) -> Result<()> {
    let page = Fault { answer: Seen::NotJson(200), ..Fault::default() };
    stack.cloud().add_fault(&page.on("DescribeImageCaches")).await?;
    asked_for(caches, "portal").await?;
    told(caches, "portal", "CloudUnavailable", Needs::Patience, &["the answer cannot be read"]).await?;
    is_still_ready(caches, "healthy").await?;
    Ok(stack.cloud().clear_faults().await?)
}

async fn proxy_refuses(stack: &Stack, caches: &Caches) -> Result<()> {
    let page = Fault { answer: Seen::NotJson(403), ..Fault::default() };
    stack.cloud().add_fault(&page.on("DescribeImageCaches")).await?;
    asked_for(caches, "proxied").await?;
    let words = ["status 403", "that was not the API of ECI", "check the endpoint and proxies"];
    told(caches, "proxied", "CloudRefused", Needs::Person, &words).await?;
    is_still_ready(caches, "healthy").await?;
    Ok(stack.cloud().clear_faults().await?)
}

/// Nobody listens at the endpoint, then somebody does again.
async fn unreachable(stack: &Stack, caches: &Caches) -> Result<()> {
    ready(caches, "leaving").await?;
    stack.sim().kill9();
    asked_for(caches, "waiting").await?;
    let words = ["cannot be reached", "DNS", "network policy", "--endpoint"];
    told(caches, "waiting", "CloudUnavailable", Needs::Patience, &words).await?;
    is_still_ready(caches, "healthy").await?;
    caches.delete("leaving").await?;
    let leaving = caches.until("leaving", "it says why it cannot leave", SOON, |cache| {
        condition(cache, "Reconciling").is_some_and(|(_, reason)| reason == "CloudUnavailable")
    });
    let sentence = message(&leaving.await?, "Reconciling")?;
    ensure!(words.iter().all(|word| sentence.contains(word)), "{sentence}");

    // At the same address; it has forgotten everything, which is what the one that leaves wants.
    let address = stack.sim_url().trim_start_matches("http://");
    let args = ["--listen", address, "--region", REGION, "--build-time", "2s"].map(OsStr::new);
    let program = Programs::beside_this_one()?.sim;
    let env = [("RUST_LOG", "eci_sim=info")];
    let _cloud = Process::spawn("sim-again", &program, args, env, &stack.plane().log_dir())?;
    eventually("the cloud is back", SOON, || async { stack.cloud().now().await.map_err(|e| e.to_string()) })
        .await?;
    heals(caches, "waiting").await?;
    caches.is_gone("leaving", LATER).await
}
