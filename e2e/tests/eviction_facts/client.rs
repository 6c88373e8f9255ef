//! What kube's client makes of evictions.

use std::time::Duration;

use eci_e2e::observer::audit;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{DeleteParams, EvictParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use crate::PATIENCE;
use crate::world::{World, plane};

fn eviction(world: &World, pod: &str, options: &serde_json::Value) -> Eviction {
    serde_json::from_value(json!({
        "metadata": { "namespace": world.namespace, "name": pod }, "deleteOptions": options,
    }))
    .unwrap()
}

#[tokio::test]
async fn a_typed_eviction_keeps_its_uid_and_its_grace() {
    let world = World::new("typed").await;
    let pod = world.ready("web-0").await;
    let send = async |options| {
        let eviction = eviction(&world, "web-0", &options);
        world
            .pods
            .create_subresource::<Eviction, Status>("eviction", "web-0", &PostParams::default(), &eviction)
            .await
    };
    let wrong = json!({ "preconditions": { "uid": "00000000-0000-4000-8000-000000000000" } });
    let refused = send(wrong).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused}");
    assert_eq!(world.grace("web-0").await, None);
    let right = json!({ "gracePeriodSeconds": 7, "preconditions": { "uid": pod.metadata.uid } });
    assert_eq!(send(right).await.unwrap().code, Some(201));
    assert_eq!(world.grace("web-0").await, Some(7));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "this is why it is not allowed")]
async fn the_clients_own_eviction_loses_them() {
    let world = World::new("lost").await;
    world.ready("web-0").await;
    let options = DeleteParams {
        grace_period_seconds: Some(7),
        preconditions: Some(Preconditions {
            uid: Some("00000000-0000-4000-8000-000000000000".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let params = EvictParams { delete_options: Some(options), ..EvictParams::default() };
    world.pods.evict("web-0", &params).await.unwrap();
    // When this fails, kube has been mended: lift the ban in clippy.toml.
    assert_eq!(world.grace("web-0").await, Some(30));
}

#[tokio::test]
async fn a_client_with_its_default_retries_hides_a_refusal_and_one_without_shows_it() {
    let world = World::new("retries").await;
    world.ready("web-0").await;
    world.budget("web", 0).await;
    let log = plane().await.audit_log_path();
    let mut answers = Vec::new();
    for (user, retry) in [("eci-testbed:patient", true), ("eci-testbed:plain", false)] {
        let mut config = plane().await.config_for_user(user, Some("system:masters")).await.unwrap();
        config.default_retry = retry;
        let pods: Api<Pod> = Api::namespaced(Client::try_from(config).unwrap(), "retries");
        let eviction = eviction(&world, "web-0", &json!({}));
        let mark = audit::mark(&log).unwrap();
        let sent = || audit::requests_since(&log, mark, user).unwrap().len();
        let params = PostParams::default();
        let call = pods.create_subresource::<_, Status>("eviction", "web-0", &params, &eviction);
        let many = eci_e2e::eventually::eventually("it is sent again and again", PATIENCE, || async {
            if sent() >= 5 { Ok(()) } else { Err(sent()) }
        });
        answers.push(tokio::select! {
            answer = call => {
                assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 429));
                eci_e2e::eventually::eventually("it is in the log", Duration::from_secs(30), || async {
                    if sent() == 0 { Err("no") } else { Ok(()) }
                })
                .await
                .unwrap();
                sent()
            }
            many = many => { many.unwrap(); 5 }
        });
    }
    assert_eq!(answers, [5, 1], "requests for one call");
}
