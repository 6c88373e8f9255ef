//! What the disruption controller makes of it.

use eci_core::eviction::answer::Answer;
use eci_e2e::eventually::eventually;
use eci_e2e::testbed::{ControlPlane, StartOptions, nodes};
use eci_e2e::vendor::{Behaviour, Notice, PodRef, Vendor};
use eci_e2e::workload::{Keep, Release, Workload, budget, condition, protect};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudgetStatus;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::PATIENCE;
use crate::world::{World, only};

async fn plane() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = || async {
        let plane = ControlPlane::start(StartOptions::default()).await.unwrap();
        let nodes_api: Api<Node> = Api::all(plane.client().unwrap());
        nodes_api.create(&PostParams::default(), &nodes::virtual_node("virtual")).await.unwrap();
        plane
    };
    SHARED.get_or_init(start).await
}

async fn status_until(
    world: &World,
    what: &str,
    is: impl Fn(&PodDisruptionBudgetStatus) -> bool,
) -> PodDisruptionBudgetStatus {
    eventually(what, PATIENCE, || async {
        let status = world.budgets.get("web").await.unwrap().status.unwrap_or_default();
        if is(&status) { Ok(status) } else { Err(format!("{status:?}")) }
    })
    .await
    .unwrap()
}

/// Lets the controller look again, and waits until it has.
async fn resync(world: &World) -> PodDisruptionBudgetStatus {
    let policy = world.budgets.get("web").await.unwrap().spec.unwrap().unhealthy_pod_eviction_policy;
    let other = if policy.as_deref() == Some("IfHealthyBudget") { "AlwaysAllow" } else { "IfHealthyBudget" };
    let patch = Patch::Merge(json!({ "spec": { "unhealthyPodEvictionPolicy": other } }));
    let changed = world.budgets.patch("web", &PatchParams::default(), &patch).await.unwrap();
    let generation = changed.metadata.generation;
    status_until(world, "the controller has seen it", |status| status.observed_generation == generation).await
}

#[tokio::test]
async fn a_slot_that_a_stale_uid_took_is_not_given_back_by_the_next_look() {
    let world = World::on(plane().await, "held").await;
    let workload = Workload::new("held", "web", 3).released_by(Release::Nobody);
    workload.deploy(&world.client, PATIENCE).await.unwrap();
    protect(&world.client, &budget(&workload, Keep::MaxUnavailable(IntOrString::Int(1))).unwrap(), 3)
        .await
        .unwrap();
    let pod = workload.ready(&world.client, PATIENCE).await.unwrap().remove(0);
    let name = pod.metadata.name.clone().unwrap();
    assert_eq!(world.evict(&name, crate::world::another_uid()).await.answer(), Answer::StaleUid);
    let status = resync(&world).await;
    assert_eq!(status.disruptions_allowed, 0, "three healthy pods, and yet: {status:?}");
    assert!(status.disrupted_pods.unwrap_or_default().contains_key(&name));
    assert!(matches!(world.evict(&name, only(&pod)).await.answer(), Answer::BudgetExhausted(_)));
}

#[tokio::test]
async fn an_eviction_is_forgotten_when_the_pod_is_terminating_and_the_slot_is_free_when_another_is_ready() {
    let world = World::on(plane().await, "given-back").await;
    let workload = Workload::new("given-back", "web", 3).released_by(Release::Nobody);
    workload.deploy(&world.client, PATIENCE).await.unwrap();
    protect(&world.client, &budget(&workload, Keep::MaxUnavailable(IntOrString::Int(1))).unwrap(), 3)
        .await
        .unwrap();
    let pod = workload.ready(&world.client, PATIENCE).await.unwrap().remove(0);
    assert_eq!(world.evict(&pod.metadata.name.clone().unwrap(), only(&pod)).await.code, 201);
    // While the old one is still in its grace of 30 s.
    let status = status_until(&world, "it is open again", |status| {
        status.disruptions_allowed == 1
            && status.disrupted_pods.as_ref().is_none_or(std::collections::BTreeMap::is_empty)
    })
    .await;
    assert_eq!(status.current_healthy, 3);
}

#[tokio::test]
async fn labels_that_are_taken_from_a_pod_leave_the_budget_stale_until_something_touches_it() {
    let world = World::on(plane().await, "stale").await;
    // Bare pods: a ReplicaSet would make another one, and that wakes the controller.
    let workload = Workload::new("stale", "web", 3).released_by(Release::Nobody);
    for n in 0..3 {
        let pod = workload.bare_pod(&format!("web-{n}"), None).unwrap();
        eventually("pods can be made", PATIENCE, || async {
            world.pods.create(&PostParams::default(), &pod).await.map(drop)
        })
        .await
        .unwrap();
    }
    workload.ready(&world.client, PATIENCE).await.unwrap();
    protect(&world.client, &budget(&workload, Keep::MinAvailable(IntOrString::Int(2))).unwrap(), 3)
        .await
        .unwrap();
    let strip = Patch::Merge(json!({ "metadata": { "labels": { "app": null } } }));
    world.pods.patch("web-0", &PatchParams::default(), &strip).await.unwrap();
    // Another budget that selects the pod as it is now: once that is counted, the change was seen.
    let other = json!({
        "metadata": { "name": "other" },
        "spec": { "minAvailable": 1, "selector": { "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }] } },
    });
    protect(
        &world.client,
        &{
            let mut other: k8s_openapi::api::policy::v1::PodDisruptionBudget =
                serde_json::from_value(other).unwrap();
            other.metadata.namespace = Some("stale".to_owned());
            other
        },
        1,
    )
    .await
    .unwrap();
    let stale = world.budgets.get("web").await.unwrap().status.unwrap();
    assert_eq!((stale.current_healthy, stale.disruptions_allowed), (3, 1), "two are left: {stale:?}");
    let touch = Patch::Merge(json!({ "metadata": { "annotations": { "touched": "1" } } }));
    world.budgets.patch("web", &PatchParams::default(), &touch).await.unwrap();
    let fresh = status_until(&world, "the budget is right again", |status| status.current_healthy == 2).await;
    assert_eq!(fresh.disruptions_allowed, 0);
}

#[tokio::test]
async fn a_pod_that_returns_under_its_name_is_another_one() {
    let world = World::on(plane().await, "ordinals").await;
    let workload = Workload::new("ordinals", "web", 2).with_grace(1).released_by(Release::Nobody);
    let sets: Api<StatefulSet> = Api::namespaced(world.client.clone(), "ordinals");
    sets.create(&PostParams::default(), &workload.stateful_set().unwrap()).await.unwrap();
    let old = workload.ready(&world.client, PATIENCE).await.unwrap();
    let old = old.iter().find(|pod| pod.metadata.name.as_deref() == Some("web-0")).unwrap();
    protect(&world.client, &budget(&workload, Keep::MaxUnavailable(IntOrString::Int(1))).unwrap(), 2)
        .await
        .unwrap();
    assert_eq!(world.evict("web-0", only(old)).await.code, 201);
    let new: Pod = eventually("web-0 is back", PATIENCE, || async {
        let pod = world.pods.get("web-0").await.map_err(|error| error.to_string())?;
        let ready = condition(&pod, "Ready") == Some("True");
        if pod.metadata.uid != old.metadata.uid && ready { Ok(pod) } else { Err(format!("{:?}", pod.status)) }
    })
    .await
    .unwrap();
    status_until(&world, "it is open again", |status| status.disruptions_allowed == 1).await;
    // What was meant for the old one does not touch the new one, and costs a slot.
    assert_eq!(world.evict("web-0", only(old)).await.answer(), Answer::StaleUid);
    assert_eq!(world.pods.get("web-0").await.unwrap().metadata.uid, new.metadata.uid);
    assert_eq!(world.grace("web-0").await, None);
    assert_eq!(resync(&world).await.disruptions_allowed, 0);
}

#[tokio::test]
async fn a_released_instance_that_keeps_its_condition_counts_as_healthy() {
    let world = World::on(plane().await, "zombie").await;
    let workload = Workload::new("zombie", "web", 2).released_by(Release::Nobody);
    let doomed = workload.deploy(&world.client, PATIENCE).await.unwrap();
    protect(&world.client, &budget(&workload, Keep::MinAvailable(IntOrString::Int(2))).unwrap(), 2)
        .await
        .unwrap();
    let doomed = PodRef::of(&doomed[0]);
    let mut vendor = Vendor::start(plane().await, Behaviour::QUIET).await.unwrap();
    vendor.announce(std::slice::from_ref(&doomed), Notice::Both).await.unwrap();
    assert_eq!(vendor.release(std::slice::from_ref(&doomed)).await.unwrap().len(), 1);
    workload.ready(&world.client, PATIENCE).await.unwrap();
    // Two serve, and the budget counts a third that is dead.
    let status = status_until(&world, "the dead one is counted", |status| status.current_healthy == 3).await;
    assert_eq!(status.disruptions_allowed, 1);
}
