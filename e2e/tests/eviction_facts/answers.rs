//! What the answers are told apart by.

use std::time::Duration;

use eci_core::eviction::answer::Answer;
use eci_e2e::eventually::eventually;
use eci_e2e::testbed::webhook::{Says, Webhook};
use futures::future::join_all;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::PATIENCE;
use crate::world::{World, another_uid, evict, only, plane};

fn causes(status: &Value) -> Vec<&str> {
    let causes = status["details"]["causes"].as_array();
    causes.into_iter().flatten().filter_map(|cause| cause["reason"].as_str()).collect()
}

#[tokio::test]
async fn a_budget_that_allows_nothing_refuses_with_its_cause_and_no_retry_after() {
    let world = World::new("refused").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 0).await;
    // The words differ by whether there are more healthy pods than the budget wants, as while one is disrupted.
    for (healthy, said) in [(2, "needs 2 healthy pods and has 2 currently"), (3, "does not allow evicting")] {
        world.budget_status("web", json!({ "currentHealthy": healthy })).await;
        let reaction = world.evict("web-0", only(&pod)).await;
        assert_eq!((reaction.code, reaction.retry_after), (429, None), "{reaction:?}");
        assert_eq!(reaction.status["reason"], "TooManyRequests");
        assert_eq!(causes(&reaction.status), ["DisruptionBudget"]);
        let Answer::BudgetExhausted(words) = reaction.answer() else { unreachable!("{reaction:?}") };
        assert!(words.contains("budget web") && words.contains(said), "{words}");
    }
    assert_eq!(world.grace("web-0").await, None);
}

#[tokio::test]
async fn a_budget_that_its_controller_has_not_seen_asks_for_ten_seconds() {
    let world = World::new("fresh").await;
    let pod = world.ready("web-0").await;
    world.make_budget("web", json!({})).await;
    let reaction = world.evict("web-0", only(&pod)).await;
    assert_eq!((reaction.code, reaction.retry_after), (429, Some(10)), "{reaction:?}");
    assert_eq!(causes(&reaction.status), ["DisruptionBudget"]);
    assert_eq!(reaction.answer(), Answer::BudgetNotProcessed);
}

#[tokio::test]
async fn several_budgets_on_a_pod_are_an_error_of_the_server() {
    let world = World::new("several").await;
    let pod = world.ready("web-0").await;
    world.budget("one", 3).await;
    world.budget("two", 3).await;
    let reaction = world.evict("web-0", only(&pod)).await;
    assert_eq!((reaction.code, reaction.retry_after), (500, None), "{reaction:?}");
    assert_eq!(reaction.answer(), Answer::SeveralBudgets);
    assert_eq!((world.left("one").await.0, world.left("two").await.0), (3, 3));
}

#[tokio::test]
async fn more_than_two_thousand_disrupted_pods_are_refused_as_forbidden() {
    let world = World::new("full").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    let disrupted: serde_json::Map<String, Value> =
        (0..2001).map(|n| (format!("pod-{n}"), json!("2026-01-01T00:00:00Z"))).collect();
    world.budget_status("web", json!({ "disruptionsAllowed": 1, "disruptedPods": disrupted })).await;
    let reaction = world.evict("web-0", only(&pod)).await;
    assert_eq!(reaction.code, 403, "{reaction:?}");
    assert_eq!(reaction.answer(), Answer::BudgetFull);
}

#[tokio::test]
async fn a_pod_that_is_gone_is_not_found_and_costs_nothing() {
    let world = World::new("gone").await;
    world.budget("web", 1).await;
    let reaction = world.evict("web-0", another_uid()).await;
    assert_eq!(reaction.code, 404, "{reaction:?}");
    assert_eq!(reaction.answer(), Answer::Gone);
    assert_eq!(world.left("web").await.0, 1);
}

#[tokio::test]
async fn a_missing_permission_is_forbidden_without_a_word_of_budgets() {
    let world = World::new("forbidden").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    let config = plane().await.config_for_user("eci-testbed:nobody", None).await.unwrap();
    let nobody = kube::Client::try_from(config).unwrap();
    let reaction = evict(&nobody, "forbidden", "web-0", only(&pod)).await;
    assert_eq!(reaction.code, 403, "{reaction:?}");
    assert!(matches!(reaction.answer(), Answer::NotPermitted(_)), "{reaction:?}");
    assert!(causes(&reaction.status).is_empty());
    assert_eq!(world.left("web").await.0, 1);
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_takes_no_evictions() {
    let world = World::new("terminating").await;
    let pod = world.ready("web-0").await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.delete("terminating", &DeleteParams::default()).await.unwrap();
    let reaction = world.evict("web-0", only(&pod)).await;
    // An eviction is a create call, and nothing is created in such a namespace.
    assert_eq!(reaction.code, 403, "{reaction:?}");
    assert_eq!(reaction.answer(), Answer::NamespaceTerminating, "{reaction:?}");
}

#[tokio::test]
async fn a_webhook_that_refuses_evictions_is_known_by_its_words() {
    let world = World::new("webhook").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    let webhook = Webhook::start(plane().await, "refuser", Duration::ZERO, |_| Says::Deny {
        code: 403,
        reason: "Forbidden",
        message: "not during office hours".to_owned(),
    })
    .await
    .unwrap();
    register(&world, "refuser", &webhook, &["pods/eviction"], "CREATE", json!([])).await;
    // The server reads its configurations by a watch of its own.
    let reaction = eventually("the webhook is asked", PATIENCE, || async {
        let dry = world.evict("web-0", json!({ "dryRun": ["All"] })).await;
        if webhook.asked() > 0 { Ok(world.evict("web-0", only(&pod)).await) } else { Err(dry.code) }
    })
    .await
    .unwrap();
    assert_eq!(reaction.code, 403, "{reaction:?}");
    let Answer::WebhookRefused(words) = reaction.answer() else { unreachable!("{reaction:?}") };
    assert!(words.contains("not during office hours"), "{words}");
    assert_eq!(world.left("web").await.0, 1, "it is asked before the budget");
    // One that does not answer, with failurePolicy Fail.
    drop(webhook);
    let reaction = world.evict("web-0", only(&pod)).await;
    assert_eq!(reaction.code, 500, "{reaction:?}");
    assert!(matches!(reaction.answer(), Answer::WebhookRefused(_)), "{reaction:?}");
}

#[tokio::test]
async fn an_overloaded_server_refuses_without_a_cause_and_says_when_to_come_back() {
    let world = World::new("overload").await;
    let pod = world.ready("web-0").await;
    world.budget("web", 1).await;
    let levels: Api<PriorityLevelConfiguration> = Api::all(world.client.clone());
    let level = json!({
        "metadata": { "name": "none" },
        "spec": { "type": "Limited", "limited": {
            "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": { "type": "Reject" },
        } },
    });
    levels.create(&PostParams::default(), &serde_json::from_value(level).unwrap()).await.unwrap();
    let schemas: Api<FlowSchema> = Api::all(world.client.clone());
    let schema = json!({
        "metadata": { "name": "crowded-out" },
        "spec": {
            "priorityLevelConfiguration": { "name": "none" }, "matchingPrecedence": 2,
            "rules": [{
                "subjects": [{ "kind": "User", "user": { "name": "eci-testbed:crowded" } }],
                "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"] }],
            }],
        },
    });
    schemas.create(&PostParams::default(), &serde_json::from_value(schema).unwrap()).await.unwrap();
    let config = plane().await.config_for_user("eci-testbed:crowded", None).await.unwrap();
    let crowded = kube::Client::try_from(config).unwrap();
    // One request passes even where none may, so there have to be more of them; and the server takes a moment to obey.
    let reaction = eventually("the server is overloaded", PATIENCE, || async {
        let crowd = (0..16).map(|_| evict(&crowded, "overload", "web-0", only(&pod)));
        let mut reactions = join_all(crowd).await;
        match reactions.iter().position(|reaction| reaction.code == 429) {
            Some(first) => Ok(reactions.swap_remove(first)),
            None => Err(format!("{:?}", reactions.first())),
        }
    })
    .await
    .unwrap();
    assert!(causes(&reaction.status).is_empty(), "{reaction:?}");
    assert_eq!(reaction.retry_after, Some(1), "{reaction:?}");
    assert_eq!(reaction.answer(), Answer::Overloaded(Duration::from_secs(1)));
    assert_eq!(world.left("web").await.0, 1);
}

/// The server tries 20 times, 0.5 s apart, to take a place in the budget. Here each try takes a while, and meanwhile
/// somebody writes to the budget.
#[tokio::test]
async fn a_budget_that_changes_all_the_time_is_a_conflict_that_names_it() {
    let world = World::new("contended").await;
    let pods = join_all((0..3).map(|n| {
        let world = &world;
        async move { world.ready(&format!("web-{n}")).await }
    }))
    .await;
    world.budget("web", 3).await;
    let slow =
        Webhook::start(plane().await, "slow", Duration::from_millis(100), |_| Says::Allow).await.unwrap();
    let only_the_server = json!([{
        "name": "evictions", "expression": "request.userInfo.username == 'system:apiserver'",
    }]);
    register(&world, "slow", &slow, &["poddisruptionbudgets/status"], "UPDATE", only_the_server).await;
    let mut probes = 0;
    eventually("the slow webhook is asked", PATIENCE, || {
        probes += 1;
        let (world, slow, name) = (&world, &slow, format!("probe-{probes}"));
        async move {
            world.ready(&name).await;
            let reaction = world.evict(&name, json!({})).await;
            if slow.asked() > 0 { Ok(()) } else { Err(reaction.code) }
        }
    })
    .await
    .unwrap();
    world.budget_status("web", json!({ "disruptionsAllowed": 3 })).await;
    let writes = async {
        let mut n = 0_u64;
        loop {
            n += 1;
            let patch = json!({ "metadata": { "annotations": { "writes": n.to_string() } } });
            world.budgets.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
    };
    let evictions =
        join_all(pods.iter().map(|pod| world.evict(pod.metadata.name.as_deref().unwrap(), only(pod))));
    let reactions = tokio::select! {
        reactions = evictions => reactions,
        () = writes => unreachable!(),
    };
    for reaction in &reactions {
        assert_eq!(reaction.code, 409, "{reaction:?}");
        assert_eq!(reaction.status["details"]["kind"], "poddisruptionbudgets", "{reaction:?}");
        assert_eq!(reaction.answer(), Answer::BudgetContended);
    }
    assert_eq!(world.left("web").await.0, 3, "nothing was taken");
}

/// A validating webhook for these resources, in this namespace only.
async fn register(
    world: &World,
    name: &str,
    webhook: &Webhook,
    resources: &[&str],
    operation: &str,
    conditions: Value,
) {
    let configuration = json!({
        "metadata": { "name": name },
        "webhooks": [{
            "name": format!("{name}.example.com"),
            "clientConfig": webhook.client_config(),
            "rules": [{
                "apiGroups": ["", "policy"], "apiVersions": ["v1"], "resources": resources,
                "operations": [operation], "scope": "Namespaced",
            }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": world.namespace } },
            "matchConditions": conditions,
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
        }],
    });
    let api: Api<ValidatingWebhookConfiguration> = Api::all(world.client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(configuration).unwrap()).await.unwrap();
}
