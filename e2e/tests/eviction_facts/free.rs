//! Which evictions cost no budget.

use eci_core::eviction::answer::Answer;
use serde_json::{Value, json};

use crate::world::{World, only};

#[tokio::test]
async fn pods_that_do_not_run_are_evicted_whatever_the_budget_says() {
    let world = World::new("not-running").await;
    world.budget("web", 0).await;
    for phase in ["Pending", "Succeeded", "Failed"] {
        let name = phase.to_lowercase();
        // Ready or not: a released spot instance may keep that condition.
        let pod = world.pod(&name, phase, true).await;
        let reaction = world.evict(&name, only(&pod)).await;
        assert_eq!(reaction.code, 201, "{phase}: {reaction:?}");
    }
    assert_eq!(world.left("web").await, (0, Vec::new()));
    // What runs is not.
    let running = world.ready("running").await;
    assert_eq!(world.evict("running", only(&running)).await.code, 429);
}

#[tokio::test]
async fn pods_that_end_have_no_grace() {
    let world = World::new("ended").await;
    for phase in ["Succeeded", "Failed"] {
        let name = phase.to_lowercase();
        let pod = world.pod(&name, phase, false).await;
        assert_eq!(world.evict(&name, only(&pod)).await.code, 201);
        assert!(world.pods.get_opt(&name).await.unwrap().is_none(), "{phase}");
    }
}

/// An unready pod under a policy, with so many healthy of 2 desired, and nothing allowed: the answer, and whether the
/// budget was charged.
async fn unready(name: &str, policy: Value, healthy: i32, allowed: i32) -> (Answer, i32) {
    let world = World::new(name).await;
    let pod = world.pod("web-0", "Running", false).await;
    world.make_budget("web", json!({ "unhealthyPodEvictionPolicy": policy })).await;
    world.budget_status("web", json!({ "currentHealthy": healthy, "disruptionsAllowed": allowed })).await;
    let reaction = world.evict("web-0", only(&pod)).await;
    (reaction.answer(), world.left("web").await.0)
}

#[tokio::test]
async fn unready_pods_are_free_while_the_budget_is_healthy() {
    for (name, policy) in [("default-healthy", Value::Null), ("if-healthy", json!("IfHealthyBudget"))] {
        assert_eq!(unready(name, policy, 2, 0).await, (Answer::Accepted, 0), "{name}");
    }
    // Nor is anything taken where something could be.
    assert_eq!(unready("with-some-left", Value::Null, 3, 1).await, (Answer::Accepted, 1));
}

#[tokio::test]
async fn unready_pods_wait_with_the_others_while_the_budget_is_not_healthy() {
    let (answer, left) = unready("unhealthy", Value::Null, 1, 0).await;
    assert!(matches!(answer, Answer::BudgetExhausted(_)), "{answer:?}");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn unready_pods_are_always_free_where_the_budget_says_so() {
    for (name, healthy) in [("always-healthy", 2), ("always-unhealthy", 0)] {
        assert_eq!(unready(name, json!("AlwaysAllow"), healthy, 0).await, (Answer::Accepted, 0), "{name}");
    }
}

#[tokio::test]
async fn a_terminating_pod_is_free() {
    let world = World::new("going").await;
    let pod = world.ready("web-0").await;
    world.pods.delete("web-0", &kube::api::DeleteParams::default()).await.unwrap();
    world.budget("web", 0).await;
    assert_eq!(world.evict("web-0", only(&pod)).await.code, 201);
    assert_eq!(world.left("web").await, (0, Vec::new()));
}
