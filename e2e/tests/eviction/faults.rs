//! What fails in the middle of a reclaim: a permission, the API server, the leader.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, leads};
use eci_e2e::vendor::{Behaviour, Notice};
use eci_e2e::workload::Workload;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::PostParams;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::outage::restarts;
use crate::{PATIENCE, Scene, condition, make_profile, says, stack, told};

/// How long the API server is silent: less than a lease.
const SILENCE: Duration = Duration::from_secs(4);

/// A stack for one test alone.
pub(crate) async fn alone() -> Result<&'static mut Stack> {
    // A scene keeps a reference to its stack; the processes end with this one.
    Ok(Box::leak(Box::new(stack(json!({})).await?)))
}

#[tokio::test]
async fn without_the_permission_to_evict_the_profile_is_stalled_until_it_is_given() -> Result<()> {
    let stack: &'static Stack = alone().await?;
    let client = stack.client()?;
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let whole = roles.get("eci-operator").await?;
    let mut less = whole.clone();
    let mut kept = less.rules.unwrap_or_default();
    kept.retain(|rule| rule.resources.iter().flatten().all(|resource| resource != "pods/eviction"));
    less.rules = Some(kept);
    roles.replace("eci-operator", &PostParams::default(), &less).await?;

    let spot = json!({ "strategy": "SpotAsPriceGo", "release": "Evict" });
    make_profile(&client, "denied", "denied", spot).await?;
    let status =
        says(&client, "denied", "it is stalled", |status| condition(status, "Stalled").is_some()).await?;
    let (_, reason, message) = condition(&status, "Stalled").unwrap();
    ensure!(reason == "EvictionNotPermitted" && message.contains("pods/eviction"), "{status:?}");

    let workload = Workload::new("denied", "denied", 2).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::QUIET, &workload, 1).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    told(&client, &scene.doomed[0], "NotPermitted").await?;

    let mut again = roles.get("eci-operator").await?;
    again.rules = whole.rules;
    roles.replace("eci-operator", &PostParams::default(), &again).await?;
    scene.all_are_saved().await?;
    says(&client, "denied", "nothing is wrong any more", |status| condition(status, "Stalled").is_none())
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_silent_api_server_in_the_middle_costs_no_pod_and_no_second_eviction() -> Result<()> {
    let stack: &'static Stack = alone().await?;
    // On a busy machine the silence can outlast the lease after all.
    let _kubelet = restarts(stack);
    let workload = Workload::new("silence", "web", 6).starting_in(Duration::from_secs(1)).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::HOSTILE, &workload, 1).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    eventually("the first eviction", PATIENCE, || {
        let evicted = scene.observer.verdict(&scene.doomed).evicted.len();
        std::future::ready(if evicted > 0 { Ok(()) } else { Err("none") })
    })
    .await?;
    let servers = stack.plane().processes();
    let server = servers.iter().find(|p| p.name() == "kube-apiserver").context("an API server")?;
    let pid = Pid::from_raw(server.pid()).context("a process number")?;
    kill_process(pid, Signal::STOP)?;
    tokio::time::sleep(SILENCE).await;
    kill_process(pid, Signal::CONT)?;
    scene.all_are_saved().await?;
    nobody_twice(&scene, "silence")
}

#[tokio::test]
async fn a_killed_leader_is_followed_by_one_that_goes_on_and_evicts_nobody_twice() -> Result<()> {
    let stack = alone().await?;
    let second = stack.start_replica("eci-operator-1").await?;
    let operator = stack.operator().context("the operator runs")?;
    let pid = Pid::from_raw(operator.pid()).context("a process number")?;
    let stack: &'static Stack = stack;
    let workload = Workload::new("failover", "web", 6).starting_in(Duration::from_secs(2)).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::QUIET, &workload, 1).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    eventually("the first eviction", PATIENCE, || {
        let evicted = scene.observer.verdict(&scene.doomed).evicted.len();
        std::future::ready(if evicted > 0 { Ok(()) } else { Err("none") })
    })
    .await?;
    kill_process(pid, Signal::KILL)?;
    let died = scene.observer.elapsed();
    let verdict = scene.all_are_saved().await?;
    ensure!(leads(second.health()).await?, "the second does not lead");
    let next = verdict.evicted.iter().find(|at| **at > died + Duration::from_secs(3));
    ensure!(next.is_some(), "the first had evicted all of them: {verdict:?}");
    println!("first eviction {:?} after the death of the leader", next.map(|at| at.saturating_sub(died)));
    nobody_twice(&scene, "failover")
}

/// No pod had two evictions that were granted, and none was asked of a pod that was not doomed.
pub(crate) fn nobody_twice(scene: &Scene, namespace: &str) -> Result<()> {
    let requests = scene.requests(namespace)?;
    let granted: Vec<&str> =
        requests.iter().filter(|request| request.code == 201).map(|request| request.name.as_str()).collect();
    let different: BTreeSet<&str> = granted.iter().copied().collect();
    ensure!(granted.len() == different.len(), "somebody was evicted twice: {granted:?}");
    let doomed: BTreeSet<&str> = scene.doomed.iter().map(|pod| pod.name.as_str()).collect();
    ensure!(requests.iter().all(|request| doomed.contains(request.name.as_str())), "{requests:?}");
    Ok(())
}
