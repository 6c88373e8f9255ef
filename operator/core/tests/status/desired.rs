//! What a spec amounts to.

use eci_api::condition::{MESSAGE_LIMIT, Reason};
use eci_api::image_cache::{DeletionPolicy, EliminationStrategy, ImageCache, ImageCacheRequest};
use eci_core::cloud::{ClientToken, CloudId};
use eci_core::cloud_resource::Problem;
use eci_core::image_cache::{Defaults, all_tags, desired, update_call};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

fn object(spec: Value) -> ImageCache {
    let mut object = ImageCache::new("web", serde_json::from_value(spec).unwrap());
    object.metadata.namespace = Some("ns".into());
    object
}

fn defaults() -> Defaults {
    Defaults { v_switch_ids: vec!["vsw-default".into()], security_group_id: Some("sg-default".into()) }
}

fn request(spec: Value) -> ImageCacheRequest {
    desired(&object(spec), &defaults()).request.unwrap()
}

fn problem(spec: Value) -> Problem {
    desired(&object(spec), &defaults()).request.unwrap_err()
}

#[test]
fn a_spec_of_images_alone_gets_the_defaults() {
    let wanted = desired(&object(json!({ "images": ["redis:7", "nginx:1"] })), &defaults());
    assert_eq!(
        wanted.request.unwrap(),
        ImageCacheRequest {
            name: "ns.web".into(),
            images: vec!["nginx:1".into(), "redis:7".into()],
            size_gib: 20,
            v_switch_ids: vec!["vsw-default".into()],
            security_group_id: Some("sg-default".into()),
            ..ImageCacheRequest::default()
        }
    );
    assert_eq!(wanted.deletion_policy, DeletionPolicy::Delete);
    assert!(!wanted.suspend);
    assert_eq!(wanted.requested_at, None);
}

#[test]
fn a_full_spec_is_taken_over_and_lists_without_an_order_are_sorted() {
    let made = request(json!({
        "images": ["nginx:1"],
        "imagePullSecrets": [{ "name": "second" }, { "name": "first" }],
        "registries": [
            { "host": "z.example.com", "plainHTTP": true },
            { "host": "a.example.com", "plainHTTP": true, "insecureSkipTLSVerify": true },
            { "host": "m.example.com", "plainHTTP": false, "insecureSkipTLSVerify": false },
        ],
        "acrInstances": [{ "id": "cri-b" }, { "id": "cri-a" }],
        "size": "1Ti",
        "retentionDays": 7,
        "network": {
            "vSwitchIDs": ["vsw-b", "vsw-a"], "securityGroupID": "sg-1", "eipInstanceID": "eip-1",
        },
        "resourceGroupID": "rg-1",
        "tags": { "team": "web" },
        "flash": true,
        "reuseLayers": true,
        "snapshotCopies": { "standard": 2, "flash": 3 },
        "eliminationStrategy": "LRU",
    }));
    assert_eq!(made.pull_secrets, ["second", "first"], "the first that has a login gives it");
    assert_eq!(made.plain_http_registries, ["a.example.com", "z.example.com"]);
    assert_eq!(made.insecure_registries, ["a.example.com"]);
    assert_eq!(made.acr_instances.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["cri-a", "cri-b"]);
    assert_eq!((made.size_gib, made.retention_days), (1_024, Some(7)));
    assert_eq!(made.v_switch_ids, ["vsw-b", "vsw-a"], "in the order of preference");
    assert_eq!(made.security_group_id.as_deref(), Some("sg-1"));
    assert_eq!(made.eip_instance_id.as_deref(), Some("eip-1"));
    assert_eq!(made.resource_group_id.as_deref(), Some("rg-1"));
    assert_eq!(made.tags["team"], "web");
    assert_eq!((made.flash, made.reuse_layers), (Some(true), Some(true)));
    assert_eq!((made.standard_copies, made.flash_copies), (Some(2), Some(3)));
    assert_eq!(made.elimination_strategy, Some(EliminationStrategy::Lru));
}

#[test]
fn what_a_spec_cannot_mean_is_said_with_object_and_field() {
    let many: Vec<String> = (0..21).map(|n| format!("nginx:{n}")).collect();
    for (spec, parts) in [
        (json!({ "images": [] }), vec!["spec.images has 0", "1 to 20"]),
        (json!({ "images": many }), vec!["spec.images has 21"]),
        (json!({ "images": ["https://nginx"] }), vec!["spec.images", "https://nginx"]),
        (json!({ "images": ["NGINX"] }), vec!["spec.images", "NGINX", "lower-case"]),
        (json!({ "images": ["x".repeat(100_000)] }), vec!["spec.images", "longer than 255"]),
        (
            json!({ "images": ["nginx:1", "docker.io/library/nginx:1"] }),
            vec!["docker.io/library/nginx:1", "same image"],
        ),
        (json!({ "images": ["nginx:1"], "size": "19Gi" }), vec!["spec.size", "19Gi", "20Gi to 32768Gi"]),
        (json!({ "images": ["nginx:1"], "size": "40" }), vec!["spec.size", "such as 40Gi"]),
        (json!({ "images": ["nginx:1"], "size": "9".repeat(100_000) }), vec!["spec.size"]),
    ] {
        let problem = problem(spec);
        assert_eq!(problem.reason, Reason::InvalidSpec);
        check_sentence(&problem.message);
        for part in parts {
            assert!(problem.message.contains(part), "{} has no {part}", problem.message);
        }
    }
}

#[test]
fn a_role_of_the_account_needs_a_privileged_namespace() {
    let wanted = |acr: Value| {
        let spec = json!({ "images": ["nginx:1"], "acrInstances": [acr] });
        desired(&object(spec), &defaults())
    };
    let arn = "acs:ram::1:role/any";
    for (field, role) in [("userRoleARN", true), ("serviceRoleARN", true), ("name", false)] {
        let wanted = wanted(json!({ "id": "cri-a", field: arn }));
        assert_eq!(wanted.privileged.is_some(), role, "{field}");
        assert!(wanted.request.is_ok(), "{field}");
    }
}

fn check_sentence(message: &str) {
    assert!(message.starts_with("ImageCache ns/web: "), "{message}");
    assert!(message.ends_with('.') && !message.ends_with(".."), "{message}");
    assert!(message.chars().count() <= MESSAGE_LIMIT, "{message}");
}

#[test]
fn without_any_vswitch_both_places_to_set_one_are_named() {
    let wanted = desired(&object(json!({ "images": ["nginx:1"] })), &Defaults::default());
    let problem = wanted.request.unwrap_err();
    assert_eq!(problem.reason, Reason::NetworkMissing);
    check_sentence(&problem.message);
    assert!(problem.message.contains("spec.network.vSwitchIDs") && problem.message.contains("--vswitch-ids"));
}

#[test]
fn an_invalid_spec_still_says_what_becomes_of_the_resource() {
    let wanted = desired(
        &object(json!({ "images": [], "deletionPolicy": "Retain", "suspend": true })),
        &Defaults::default(),
    );
    assert_eq!((wanted.deletion_policy, wanted.suspend), (DeletionPolicy::Retain, true));
}

#[test]
fn a_request_for_another_try_is_kept_within_bounds() {
    let mut asking = object(json!({ "images": ["nginx:1"] }));
    let long = "é".repeat(10_000);
    asking.metadata.annotations = Some([(eci_api::REQUESTED_AT.to_owned(), long)].into());
    assert_eq!(desired(&asking, &defaults()).requested_at, Some("é".repeat(128)));
}

#[test]
fn an_object_without_metadata_is_no_reason_to_panic() {
    let mut bare = object(json!({ "images": ["nginx:1"] }));
    bare.metadata = ObjectMeta::default();
    assert_eq!(desired(&bare, &defaults()).request.unwrap().name, ".");
}

#[test]
fn an_update_says_all_tags_with_ours_on_top_and_leaves_out_what_is_absent() {
    let call = |request: &ImageCacheRequest| {
        let ours = [("eci-operator.io/uid".to_owned(), "uid-1".to_owned())].into();
        update_call(CloudId::parse("imc-1").unwrap(), ClientToken::new("t").unwrap(), request, &ours)
    };
    let bare = call(&ImageCacheRequest::default());
    assert_eq!((bare.retention_days, bare.elimination_strategy, bare.resource_group_id), (None, None, None));
    assert_eq!((bare.standard_copies, bare.flash_copies), (None, None));
    let tags = [("team", "web"), ("eci-operator.io/uid", "stolen")].map(|(k, v)| (k.into(), v.into()));
    let full = ImageCacheRequest { tags: tags.into(), ..ImageCacheRequest::default() };
    let sent = call(&full).tags.unwrap();
    assert_eq!((sent["team"].as_str(), sent["eci-operator.io/uid"].as_str()), ("web", "uid-1"));
    for (strategy, word) in [(EliminationStrategy::Keep, ""), (EliminationStrategy::Lru, "LRU")] {
        let request = ImageCacheRequest { elimination_strategy: Some(strategy), ..full.clone() };
        assert_eq!(call(&request).elimination_strategy.as_deref(), Some(word));
    }
    assert_eq!(all_tags(&full, &std::collections::BTreeMap::new()), full.tags);
}
