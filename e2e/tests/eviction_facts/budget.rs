//! What an eviction takes from a budget, and when.

use eci_core::eviction::answer::Answer;
use serde_json::json;

use crate::world::{World, another_uid, only};

#[tokio::test]
async fn an_eviction_takes_one_and_notes_the_pod_before_it_is_deleted() {
    let world = World::new("takes").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 2).await;
    let reaction = world.evict("web-0", only(&pod)).await;
    assert_eq!((reaction.code, reaction.answer()), (201, Answer::Accepted), "{reaction:?}");
    assert_eq!(world.left("web").await, (1, vec!["web-0".to_owned()]));
    assert_eq!(world.grace("web-0").await, Some(30));
    let status = world.pods.get("web-0").await.unwrap().status.unwrap();
    let target = status.conditions.unwrap().into_iter().find(|c| c.type_ == "DisruptionTarget").unwrap();
    assert_eq!((target.status.as_str(), target.reason.as_deref()), ("True", Some("EvictionByEvictionAPI")));
    // Without controllers nothing gives it back, and nothing forgets the pod: the next one finds what is left.
    let next = world.ready("web-1").await;
    assert_eq!(world.evict("web-1", only(&next)).await.code, 201);
    assert_eq!(world.left("web").await.0, 0);
}

#[tokio::test]
async fn a_wrong_uid_is_refused_after_the_budget_was_charged() {
    let world = World::new("burnt").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    let reaction = world.evict("web-0", another_uid()).await;
    assert_eq!(reaction.code, 409, "{reaction:?}");
    assert_eq!(reaction.status["details"]["kind"], "Pod", "{reaction:?}");
    assert_eq!(reaction.answer(), Answer::StaleUid);
    assert_eq!(world.grace("web-0").await, None, "the pod lives");
    assert_eq!(world.left("web").await, (0, vec!["web-0".to_owned()]));
    let right = world.evict("web-0", only(&pod)).await;
    assert!(matches!(right.answer(), Answer::BudgetExhausted(_)), "{right:?}");
}

#[tokio::test]
async fn a_stale_resource_version_is_refused_after_the_budget_was_charged() {
    let world = World::new("version").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    let stale = pod.metadata.resource_version.clone();
    // Any write of status will do, and virtual kubelets write all the time.
    let status = kube::api::Patch::Strategic(
        json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "message": "again" }] } }),
    );
    world.pods.patch_status("web-0", &kube::api::PatchParams::default(), &status).await.unwrap();
    let reaction = world.evict("web-0", json!({ "preconditions": { "resourceVersion": stale } })).await;
    assert_eq!(reaction.code, 409, "{reaction:?}");
    assert_eq!(reaction.answer(), Answer::PodChanged, "{reaction:?}");
    assert_eq!(world.grace("web-0").await, None, "the pod lives");
    assert_eq!(world.left("web").await.0, 0, "and the budget is charged");
}

#[tokio::test]
async fn a_dry_run_judges_by_the_budget_and_takes_nothing() {
    let world = World::new("dry-run").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    for _ in 0..3 {
        let mut options = only(&pod);
        options["dryRun"] = json!(["All"]);
        assert_eq!(world.evict("web-0", options).await.code, 201);
    }
    assert_eq!(world.left("web").await, (1, Vec::new()));
    assert_eq!(world.grace("web-0").await, None);
    world.budget_status("web", json!({ "disruptionsAllowed": 0 })).await;
    let refused = world.evict("web-0", json!({ "dryRun": ["All"] })).await;
    assert!(matches!(refused.answer(), Answer::BudgetExhausted(_)), "{refused:?}");
}

#[tokio::test]
async fn a_second_eviction_of_a_terminating_pod_takes_nothing_and_can_shorten_its_grace() {
    let world = World::new("again").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    assert_eq!(world.evict("web-0", only(&pod)).await.code, 201);
    assert_eq!(world.grace("web-0").await, Some(30));
    assert_eq!(world.left("web").await.0, 0);
    let mut longer = only(&pod);
    longer["gracePeriodSeconds"] = json!(60);
    assert_eq!(world.evict("web-0", longer).await.code, 201);
    assert_eq!(world.grace("web-0").await, Some(30), "it is never made longer");
    let mut shorter = only(&pod);
    shorter["gracePeriodSeconds"] = json!(5);
    assert_eq!(world.evict("web-0", shorter).await.code, 201);
    assert_eq!(world.grace("web-0").await, Some(5));
    assert_eq!(world.left("web").await.0, 0);
}

#[tokio::test]
async fn the_grace_of_an_eviction_is_taken_as_it_is_and_zero_kills_at_once() {
    let world = World::new("grace").await;
    for (name, asked, found) in
        [("short", Some(7), Some(7)), ("long", Some(90), Some(90)), ("own", None, Some(30))]
    {
        let pod = world.ready(name).await;
        let mut options = only(&pod);
        options["gracePeriodSeconds"] = json!(asked);
        assert_eq!(world.evict(name, options).await.code, 201);
        assert_eq!(world.grace(name).await, found, "{name}");
    }
    world.ready("zero").await;
    assert_eq!(world.evict("zero", json!({ "gracePeriodSeconds": 0 })).await.code, 201);
    assert!(world.pods.get_opt("zero").await.unwrap().is_none(), "no kubelet was asked");
    // Below zero is read as one second.
    world.ready("negative").await;
    assert_eq!(world.evict("negative", json!({ "gracePeriodSeconds": -1 })).await.code, 201);
    assert_eq!(world.grace("negative").await, Some(1));
}

#[tokio::test]
async fn a_budget_that_is_deleted_or_opened_lets_the_next_eviction_pass() {
    let world = World::new("changed").await;
    let [first, second] = [world.ready("web-0").await, world.ready("web-1").await];
    world.budget("web", 0).await;
    assert_eq!(world.evict("web-0", only(&first)).await.code, 429);
    // A new spec that the controller has not seen closes it even for what the old one allowed.
    let spec = kube::api::Patch::Merge(json!({ "spec": { "maxUnavailable": 2 } }));
    world.budgets.patch("web", &kube::api::PatchParams::default(), &spec).await.unwrap();
    assert_eq!(world.evict("web-0", only(&first)).await.answer(), Answer::BudgetNotProcessed);
    world.budget_status("web", json!({ "observedGeneration": 2, "disruptionsAllowed": 1 })).await;
    assert_eq!(world.evict("web-0", only(&first)).await.code, 201);
    assert_eq!(world.evict("web-1", only(&second)).await.code, 429);
    world.budgets.delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    assert_eq!(world.evict("web-1", only(&second)).await.code, 201);
}
