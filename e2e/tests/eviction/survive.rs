//! A workload with a budget lives through a reclaim of all of its pods.

use std::time::Duration;

use anyhow::{Result, ensure};
use eci_e2e::stack::Stack;
use eci_e2e::vendor::{Behaviour, Notice};
use eci_e2e::workload::{Release, Workload};

use crate::{PATIENCE, Scene, hostile, namespace, quiet};

/// Six pods of which four must be healthy, all of them reclaimed at once.
async fn six_of_six(
    stack: &'static Stack,
    behaviour: Behaviour,
    name: &str,
    release: Release,
    notice: Notice,
) -> Result<()> {
    let workload =
        Workload::new(name, "web", 6).starting_in(Duration::from_secs(1)).with_grace(3).released_by(release);
    let mut scene = Scene::set(stack, behaviour, &workload, 2).await?;
    scene.vendor.announce(&scene.doomed.clone(), notice).await?;
    scene.all_are_saved().await?;

    // Each pod that we evicted had one request that was granted, and there were few others.
    let requests = scene.requests(name)?;
    let granted = requests.iter().filter(|request| request.code == 201).count();
    ensure!(granted <= 6, "{requests:?}");
    ensure!(requests.len() <= 6 * 3, "{} requests for 6 pods: {requests:?}", requests.len());
    if release == Release::Ours {
        ensure!(granted == 6, "{requests:?}");
    }
    // The workload is whole again.
    workload.ready(&stack.client()?, PATIENCE).await?;
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}

#[tokio::test]
async fn a_deployment_with_a_budget_lives_through_a_reclaim_of_all_its_pods() -> Result<()> {
    six_of_six(quiet().await, Behaviour::QUIET, "whole", Release::Ours, Notice::Both).await
}

#[tokio::test]
async fn the_event_alone_is_enough() -> Result<()> {
    six_of_six(quiet().await, Behaviour::QUIET, "event-only", Release::Ours, Notice::EventOnly).await
}

#[tokio::test]
async fn the_condition_alone_is_enough() -> Result<()> {
    six_of_six(quiet().await, Behaviour::QUIET, "condition-only", Release::Ours, Notice::ConditionOnly).await
}

#[tokio::test]
async fn a_vendor_that_overwrites_status_changes_nothing() -> Result<()> {
    six_of_six(hostile().await, Behaviour::HOSTILE, "overwritten", Release::Ours, Notice::Both).await
}

#[tokio::test]
async fn a_vendor_that_evicts_the_same_pods_changes_nothing() -> Result<()> {
    six_of_six(hostile().await, Behaviour::HOSTILE, "contended", Release::Vendor, Notice::Both).await
}

#[tokio::test]
async fn pods_that_did_not_ask_are_left_alone() -> Result<()> {
    let stack = quiet().await;
    let workload = Workload::new("unasked", "web", 2).with_grace(1).released_by(Release::Nobody);
    let asking = Workload::new("unasked", "api", 2).with_grace(1);
    let client = namespace(stack, "unasked").await?;
    let left = workload.deploy(&client, PATIENCE).await?;
    let evicted = asking.deploy(&client, PATIENCE).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "unasked", &evicted).await?;
    let others: Vec<_> = left.iter().map(eci_e2e::vendor::PodRef::of).collect();
    // The notices of those who did not ask come first: when the others are gone, they were passed over.
    scene.vendor.announce(&others, Notice::Both).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    scene.observer.settled(&scene.doomed, PATIENCE).await?;
    let verdict = scene.observer.verdict(&others);
    ensure!(verdict.untouched.len() == 2, "{verdict:?}");
    Ok(())
}
