//! What profiles ask for at the deadline and after it, and the permission that it needs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfileStatus;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::Stack;
use eci_e2e::vendor::{Behaviour, Notice, PodRef};
use eci_e2e::workload::{Keep, Release, Workload, budget, protect};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::{PATIENCE, Scene, condition, make_profile, namespace, pod_is, quiet, says, stack, told};

/// The stack that tests share in which the operator may delete pods and notices are short.
async fn hasty() -> &'static Stack {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    let values = json!({ "eviction": { "deletePods": true, "noticeLength": "20s" } });
    SHARED.get_or_init(|| async { stack(values).await.unwrap() }).await
}

#[tokio::test]
async fn at_the_deadline_a_pod_is_deleted_against_its_budget_if_its_profile_says_so() -> Result<()> {
    let stack = hasty().await;
    let client = stack.client()?;
    let spot = json!({ "strategy": "SpotAsPriceGo", "release": "Evict", "onDeadline": "Delete" });
    make_profile(&client, "forced", "forced", spot).await?;
    let workload = Workload::new("forced", "forced", 2).with_grace(2);
    let mut scene = Scene::set(stack, Behaviour::QUIET, &workload, 0).await?;
    // Others with the same budget have no such profile.
    let patient = Workload::new("patient", "patient", 1).with_grace(2);
    let mut others = Scene::set(stack, Behaviour::QUIET, &patient, 0).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    others.vendor.announce(&others.doomed.clone(), Notice::Both).await?;
    let verdict = scene.observer.settled(&scene.doomed, PATIENCE).await?;
    ensure!(verdict.evicted.len() == 2, "{verdict:?}");
    let requests = scene.requests("forced")?;
    let deleted = requests.iter().filter(|request| request.verb == "delete").count();
    ensure!(deleted == 2, "{requests:?}");
    told(&client, &scene.doomed[0], "Forced").await?;

    // Their instance goes, and nobody had told them to end.
    told(&client, &others.doomed[0], "BudgetNeverAllows").await?;
    others.vendor.release(&others.doomed).await?;
    told(&client, &others.doomed[0], "HardKilled").await?;
    ensure!(others.requests("patient")?.iter().all(|request| request.verb != "delete"), "deleted");
    Ok(())
}

#[tokio::test]
async fn what_reclaimed_pods_leave_behind_goes_after_its_time_if_something_replaces_it() -> Result<()> {
    let stack = hasty().await;
    let client = namespace(stack, "remains").await?;
    let spot = json!({ "strategy": "SpotAsPriceGo", "failedPodTTL": "3s" });
    make_profile(&client, "remains", "remains", spot).await?;
    let workload = Workload::new("remains", "remains", 2).with_grace(1).released_by(Release::Nobody);
    let mut pods = workload.deploy(&client, PATIENCE).await?;
    let api: Api<Pod> = Api::namespaced(client.clone(), "remains");
    api.create(&PostParams::default(), &workload.bare_pod("alone", None)?).await?;
    pods.push(pod_is(&client, ("remains", "alone"), eci_e2e::workload::is_ready).await?);
    says(&client, "remains", "three pods", |status| {
        status.counts.as_ref().is_some_and(|counts| counts.spot_pods == 3)
    })
    .await?;
    let scene = Scene::around(stack, Behaviour::QUIET, "remains", &pods).await?;
    let failed = scene.vendor.release(&scene.doomed).await?;
    ensure!(failed.len() == 3, "{failed:?}");
    for pod in scene.doomed.iter().filter(|pod| pod.name != "alone") {
        eventually(&format!("{} is removed", pod.name), PATIENCE, || async {
            match api.get_opt(&pod.name).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err("it is there".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await?;
    }
    let alone = api.get("alone").await?;
    ensure!(PodRef::of(&alone) == scene.doomed[2], "the pod that nothing replaces is not removed");
    says(&client, "remains", "three were lost", |status| {
        status.counts.as_ref().is_some_and(|counts| counts.lost_pods == 3)
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_profile_names_what_would_save_more_pods_before_it_happens() -> Result<()> {
    const ZONE: &str = "topology.kubernetes.io/zone";
    let stack = hasty().await;
    let client = namespace(stack, "levers").await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let zone = Patch::Merge(json!({ "metadata": { "labels": { (ZONE): "cn-hangzhou-k" } } }));
    nodes.patch("virtual", &PatchParams::default(), &zone).await?;
    make_profile(&client, "levers", "levers", json!({ "strategy": "SpotAsPriceGo" })).await?;
    // Of a notice of 20 s, 15 are left for starts of 8 s: one pod at once, and one more.
    let mut slow = Workload::new("levers", "levers", 3).starting_in(Duration::from_secs(8)).with_grace(1);
    let part = [("part".to_owned(), "web".to_owned())];
    slow.labels.extend(part.clone());
    slow.deploy(&client, PATIENCE).await?;
    // The disruption controller cannot say how many pods a Job should have.
    let mut budget = budget(&slow, Keep::MaxUnavailable(IntOrString::Int(1)))?;
    let selector = budget.spec.as_mut().and_then(|spec| spec.selector.as_mut());
    selector.and_then(|selector| selector.match_labels.as_mut()).context("a selector")?.extend(part);
    protect(&client, &budget, 3).await?;
    let job = Workload { labels: [].into(), ..slow }.job()?;
    Api::<Job>::namespaced(client.clone(), "levers").create(&PostParams::default(), &job).await?;
    let wanted = [
        "allows 1 at a time",
        "an ImageCache of its 1 images (example.com/none) shortens starts",
        "Job levers/levers: an eviction counts as a failure",
        "spot instances of one zone",
    ];
    let says_all = |status: &EciProfileStatus| {
        let said = condition(status, "EvictionReady");
        said.is_some_and(|(_, _, message)| wanted.iter().all(|words| message.contains(words)))
    };
    let status = says(&client, "levers", "it names the levers", says_all).await?;
    let (is, reason, _) = condition(&status, "EvictionReady").unwrap();
    ensure!((is, reason) == ("False", "NotEvictable"), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn a_profile_that_needs_a_permission_that_is_not_there_says_so() -> Result<()> {
    let stack = quiet().await;
    let client = stack.client()?;
    let spot = json!({ "strategy": "SpotAsPriceGo", "release": "Evict", "onDeadline": "Delete" });
    make_profile(&client, "stalled", "stalled", spot).await?;
    let status =
        says(&client, "stalled", "it is stalled", |status| condition(status, "Stalled").is_some()).await?;
    let (_, reason, message) = condition(&status, "Stalled").unwrap();
    ensure!(reason == "DeletionNotPermitted" && message.contains("eviction.deletePods"), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_nothing_replaces_runs_as_long_as_it_can() -> Result<()> {
    let stack = hasty().await;
    let client = namespace(stack, "bare").await?;
    let api: Api<Pod> = Api::namespaced(client.clone(), "bare");
    let bare = Workload::new("bare", "bare", 1).with_grace(2);
    api.create(&PostParams::default(), &bare.bare_pod("alone", None)?).await?;
    let pod = pod_is(&client, ("bare", "alone"), eci_e2e::workload::is_ready).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "bare", &[pod]).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    let announced = scene.observer.elapsed();
    let verdict = scene.observer.settled(&scene.doomed, PATIENCE).await?;
    ensure!(verdict.evicted.len() == 1, "{verdict:?}");
    // Of 20 s, its grace period of 2 s and a margin of 10 s are left when it is told to end.
    let waited = scene.observer.ledger().seen(&scene.doomed[0].uid).and_then(|seen| seen.terminating_at);
    let waited = waited.unwrap_or_default().saturating_sub(announced);
    ensure!(waited >= Duration::from_secs(5), "evicted after {waited:?}");
    Ok(())
}
