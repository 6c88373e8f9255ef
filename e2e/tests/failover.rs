//! Two operators: one leads, the other takes over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_core::lease::{LOOK_EVERY, SHORTEST};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Caches, Replica, Stack, StackOptions, get, leads};
use eci_e2e::testbed::Process;
use eci_sim::faults::{Effect, Fault, Seen};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_secs(30);
/// How long something may take that waits for a window of looking.
const WINDOW: Duration = Duration::from_mins(1);
/// A death is followed by a new leader after a lease and a look; the rest is for a busy machine.
const TAKEOVER: Duration = SHORTEST.saturating_add(LOOK_EVERY).saturating_add(Duration::from_secs(3));
/// A farewell is followed by one after a look.
const HANDOVER: Duration = Duration::from_secs(3);
/// Longest that a metric is waited for: a frozen process does not answer.
const SCRAPE: Duration = Duration::from_millis(500);

/// The operator there leads before this time has passed.
async fn leads_within(health: &str, limit: Duration) -> Result<()> {
    let leading = eventually("the operator leads", limit, || async {
        match leads(health).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("it stands by".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    });
    tokio::time::timeout(limit, leading).await.context("the operator took too long to lead")?
}

/// An ImageCache is Ready, and was paid for once.
async fn ready_and_billed_once(stack: &Stack, caches: &Caches, name: &str, limit: Duration) -> Result<()> {
    caches.says(name, "True", "Available", limit).await?;
    let billed = stack.billed(caches.namespace(), name).await?.len();
    ensure!(billed == 1, "{billed} caches were billed for {name}");
    let living = stack.living(caches.namespace(), name).await?.len();
    ensure!(living == 1, "{living} caches live for {name}");
    Ok(())
}

/// Asks two operators again and again whether they lead, until it is told to stop.
struct Sampler {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<usize>>,
}

impl Sampler {
    fn start(one: &str, other: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (one, other) = (one.to_owned(), other.to_owned());
        let task = tokio::spawn(async move {
            let mut samples = 0;
            while !*stopped.borrow() {
                // A process never leads twice. So who leads before and after the other was asked led all the while.
                let all = [says(&one).await, says(&other).await, says(&one).await];
                ensure!(all != [true; 3], "both lead");
                samples += 1;
                tokio::task::yield_now().await;
            }
            Ok(samples)
        });
        Self { stop, task }
    }

    async fn end(self) -> Result<usize> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

/// Whether it says that it leads; one that says nothing does not.
async fn says(health: &str) -> bool {
    let answer = tokio::time::timeout(SCRAPE, leads(health)).await;
    answer.is_ok_and(|answer| answer.unwrap_or(false))
}

fn signal(process: &Process, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(process.pid()).context("a process number")?, signal)?)
}

/// An operator ends by itself, and says that it has lost the lease.
async fn ends_without_the_lease(operator: &Process) -> Result<()> {
    eventually("the operator ends", SOON, || async {
        match operator.exit_status() {
            Some(status) if !status.success() => Ok(()),
            Some(status) => Err(format!("it ended with {status}")),
            None => Err("it runs".to_owned()),
        }
    })
    .await?;
    // Not its last lines only: connections that probes had open fail in the same moment, and each is logged.
    logs(operator, "lost the lease eci-system/eci-operator").await
}

/// An operator logs a line with this text.
async fn logs(operator: &Process, text: &str) -> Result<()> {
    eventually(&format!("the operator logs {text:?}"), SOON, || async {
        if fs::read_to_string(operator.log_path()).is_ok_and(|log| log.contains(text)) {
            Ok(())
        } else {
            Err(operator.log_tail(3))
        }
    })
    .await
}

/// A stack whose own operator leads, and one that stands by.
async fn pair(build_time: &'static str) -> Result<(Stack, Replica)> {
    let stack = Stack::start(StackOptions { build_time, ..StackOptions::default() }).await?;
    leads_within(stack.health(), HANDOVER).await?;
    let standby = stack.start_replica("eci-operator-1").await?;
    Ok((stack, standby))
}

#[tokio::test]
async fn a_standby_takes_over_from_a_killed_leader_without_a_second_cache() -> Result<()> {
    let (mut stack, second) = pair("4s").await?;
    let caches = stack.namespace("failover").await?;

    let unanswered = Fault { effect: Some(Effect::Now), answer: Seen::Silence(60_000), ..Fault::default() };
    stack.cloud().add_fault(&unanswered.on("CreateImageCache").times(1)).await?;
    caches.create("create", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    let sent = &stack;
    eventually("the create call reaches the cloud", SOON, || async move {
        match sent.billed("failover", "create").await {
            Ok(billed) if billed.is_empty() => Err("not yet".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    stack.kill_operator().await?;
    leads_within(second.health(), TAKEOVER).await?;
    ready_and_billed_once(&stack, &caches, "create", WINDOW).await?;

    // The other way round: the first comes back as the standby.
    stack.start_operator().await?;
    caches.create("build", json!({ "images": ["registry.example.com/shop/web:2"] })).await?;
    caches.says("build", "False", "Building", SOON).await?;
    second.kill().await?;
    leads_within(stack.health(), TAKEOVER).await?;
    ready_and_billed_once(&stack, &caches, "build", SOON).await?;
    caches.delete("build").await?;
    caches.is_gone("build", WINDOW).await?;
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}

#[tokio::test]
async fn a_standby_is_ready_does_nothing_and_is_handed_the_lease_at_once() -> Result<()> {
    let (mut stack, second) = pair("5s").await?;
    let caches = stack.namespace("handover").await?;
    let sampler = Sampler::start(stack.health(), second.health());
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    caches.says("web", "False", "Building", SOON).await?;

    let (_, page) = get(second.health(), "/metrics").await?;
    for done in ["eci_operator_cloud_calls_total{", "eci_operator_reconciles_total{"] {
        ensure!(!page.contains(done), "the standby did something:\n{page}");
    }

    ensure!(stack.stop_operator().await?, "it did not end as one that was asked to");
    leads_within(second.health(), HANDOVER).await?;
    ready_and_billed_once(&stack, &caches, "web", SOON).await?;
    ensure!(sampler.end().await? > 0, "nothing was sampled");
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}

#[tokio::test]
async fn a_leader_that_was_frozen_for_longer_than_its_lease_ends_without_another_act() -> Result<()> {
    let (stack, second) = pair("2s").await?;
    let caches = stack.namespace("frozen").await?;
    let sampler = Sampler::start(stack.health(), second.health());
    let first = stack.operator().context("the first operator runs")?;
    signal(first, Signal::STOP)?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    leads_within(second.health(), TAKEOVER).await?;
    signal(first, Signal::CONT)?;
    ends_without_the_lease(first).await?;
    ready_and_billed_once(&stack, &caches, "web", SOON).await?;
    ensure!(sampler.end().await? > 0, "nothing was sampled");
    Ok(())
}

#[tokio::test]
async fn a_leader_outlasts_a_short_silence_of_the_api_server_and_ends_in_a_long_one() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    leads_within(stack.health(), HANDOVER).await?;
    let operator = stack.operator().context("the operator runs")?;
    let servers = stack.plane().processes();
    let server = servers.iter().find(|p| p.name() == "kube-apiserver").context("an API server")?;

    signal(server, Signal::STOP)?;
    logs(operator, "the leader election has trouble").await?;
    signal(server, Signal::CONT)?;
    logs(operator, "the lease can be read and written again").await?;
    ensure!(leads(stack.health()).await?, "it leads no more");

    signal(server, Signal::STOP)?;
    let ended = ends_without_the_lease(operator).await;
    signal(server, Signal::CONT)?;
    ended
}
