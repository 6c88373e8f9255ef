//! What stands in the way of an eviction is told, before and while it does.

use anyhow::{Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::get;
use eci_e2e::testbed::nodes::{BEHAVIOUR, CRASH_LOOP, READY};
use eci_e2e::vendor::{Behaviour, Notice, PodRef};
use eci_e2e::workload::{Keep, Workload, budget, condition as pod_condition};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::{PATIENCE, Scene, annotate, condition, events, hostile, make_profile, quiet, says, told};

#[tokio::test]
async fn a_budget_that_never_allows_is_told_before_and_during_and_its_change_frees_the_pods() -> Result<()> {
    let stack = quiet().await;
    let workload = Workload::new("never", "never", 3).with_grace(1);
    let client = stack.client()?;
    make_profile(&client, "never", "never", json!({ "strategy": "SpotAsPriceGo", "release": "Evict" }))
        .await?;
    let mut scene = Scene::set(stack, Behaviour::QUIET, &workload, 0).await?;

    // Before it happens.
    let status = says(&client, "never", "its pods could not be evicted", |status| {
        condition(status, "EvictionReady").is_some_and(|(status, ..)| status == "False")
    })
    .await?;
    let (_, reason, message) = condition(&status, "EvictionReady").unwrap();
    ensure!(reason == "NotEvictable" && message.contains("PodDisruptionBudget never"), "{status:?}");
    ensure!(condition(&status, "Accepted").is_some_and(|(status, ..)| status == "True"), "{status:?}");
    // The two are of watches of their own, and one may be ahead.
    says(&client, "never", "its pods are counted, and are on virtual nodes", |status| {
        status.counts.as_ref().is_some_and(|counts| (counts.spot_pods, counts.virtual_node_pods) == (3, 3))
    })
    .await?;

    // While it does.
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    let note = told(&client, &scene.doomed[0], "BudgetNeverAllows").await?;
    ensure!(note.contains("never/never") || note.contains("PodDisruptionBudget never"), "{note}");
    let status =
        says(&client, "never", "three are blocked", |status| status.blocked_evictions.len() == 3).await?;
    ensure!(status.blocked_evictions.iter().all(|b| b.reason == "BudgetNeverAllows"), "{status:?}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "never");
    eventually("the condition of the pod says so", PATIENCE, || async {
        let pod = pods.get(&scene.doomed[0].name).await.map_err(|error| error.to_string())?;
        let said = pod_condition(&pod, "eci-operator.io/GracefulEviction") == Some("False");
        if said { Ok(()) } else { Err(format!("{:?}", pod.status)) }
    })
    .await?;
    let (_, page) = get(stack.health(), "/metrics").await?;
    let line = r#"eci_operator_eviction_blocked_pods{reason="BudgetNeverAllows"} "#;
    ensure!(page.contains(line), "{line} is not in:\n{page}");
    ensure!(scene.observer.verdict(&scene.doomed).untouched.len() == 3, "a budget of 0 let somebody go");

    // The budget changes in the middle.
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "never");
    let patch = json!({ "spec": { "maxUnavailable": 2 } });
    budgets.patch("never", &PatchParams::default(), &Patch::Merge(patch)).await?;
    scene.all_are_saved().await?;
    says(&client, "never", "none is blocked", |status| status.blocked_evictions.is_empty()).await?;
    Ok(())
}

#[tokio::test]
async fn two_budgets_are_told_and_the_end_of_one_frees_the_pods() -> Result<()> {
    let stack = hostile().await;
    let workload = Workload::new("two", "web", 2).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::HOSTILE, &workload, 1).await?;
    let client = stack.client()?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "two");
    let mut second = budget(&workload, Keep::MaxUnavailable(IntOrString::Int(1)))?;
    second.metadata.name = Some("second".to_owned());
    budgets.create(&PostParams::default(), &second).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    let note = told(&client, &scene.doomed[0], "SeveralBudgets").await?;
    ensure!(note.contains("second"), "{note}");
    ensure!(scene.observer.verdict(&scene.doomed).untouched.len() == 2, "the API server let somebody go");
    budgets.delete("second", &DeleteParams::default()).await?;
    scene.all_are_saved().await?;
    Ok(())
}

#[tokio::test]
async fn an_exhausted_budget_names_the_unready_pod_in_the_way() -> Result<()> {
    let stack = quiet().await;
    let workload = Workload::new("unready", "web", 3).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::QUIET, &workload, 1).await?;
    let client = stack.client()?;
    let culprit = scene.doomed.pop().unwrap();
    annotate(&client, &culprit, BEHAVIOUR, CRASH_LOOP).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "unready");
    eventually("the budget is used up", PATIENCE, || async {
        let status = budgets.get("web").await.map_err(|error| error.to_string())?.status.unwrap_or_default();
        if status.disruptions_allowed == 0 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    let note = told(&client, &scene.doomed[0], "BudgetExhausted").await?;
    ensure!(note.contains(&culprit.name), "{note} does not name {}", culprit.name);
    annotate(&client, &culprit, BEHAVIOUR, READY).await?;
    scene.all_are_saved().await?;
    Ok(())
}

#[tokio::test]
async fn pods_that_share_a_budget_and_a_reason_are_told_together() -> Result<()> {
    const PODS: i32 = 8;
    let stack = quiet().await;
    let workload = Workload::new("together", "web", PODS).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::QUIET, &workload, 0).await?;
    let client = stack.client()?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    let said = eventually("each pod is told of, by itself or with others", PATIENCE, || async {
        let events =
            events(&client, "together", "BudgetNeverAllows").await.map_err(|error| error.to_string())?;
        let told = |pod: &PodRef| {
            events.iter().any(|event| {
                let about = &event.involved_object;
                let with_others = about.kind.as_deref() == Some("PodDisruptionBudget")
                    && event.message.as_deref().is_some_and(|note| note.contains(&pod.name));
                about.uid.as_deref() == Some(&pod.uid) || with_others
            })
        };
        let missing = scene.doomed.iter().filter(|pod| !told(pod)).count();
        if missing == 0 { Ok(events) } else { Err(format!("{missing} are not in {} events", events.len())) }
    })
    .await?;
    ensure!(said.len() < scene.doomed.len(), "{} events for as many pods", said.len());
    let of_budget: Vec<_> = said
        .iter()
        .filter(|event| event.message.as_deref().is_some_and(|note| note.starts_with("each of ")))
        .collect();
    ensure!(!of_budget.is_empty(), "{said:?}");
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), "together");
    let uid = budgets.get("web").await?.metadata.uid;
    ensure!(of_budget.iter().all(|event| event.involved_object.uid == uid), "not about the budget: {said:?}");
    budgets.delete("web", &DeleteParams::default()).await?;
    scene.all_are_saved().await?;
    Ok(())
}
