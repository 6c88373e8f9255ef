mod complete;

use super::*;
use crate::args::MigrateOutput;
use eci_api::data_cache::DataCache;
use eci_api::eci_profile::{EciProfile, LabelValue, PlacementPolicy, SpotStrategy};
use eci_api::image_cache::ImageCache;

const EXAMPLES: &str = include_str!("../../../../examples/vendor/objects.yaml");

fn way(adopt: bool) -> Way {
    Way { namespace: "shop".to_owned(), adopt }
}

fn migrated(text: &str) -> Migration {
    convert(&manifest::parse("f", text).unwrap(), &way(false)).0
}

fn object<T: serde::de::DeserializeOwned>(migration: &Migration, path: &str) -> T {
    let found = migration.objects.iter().find(|(name, _)| name == path);
    let (_, object) = found.unwrap_or_else(|| panic!("no {path} in {:?}", migration.objects));
    serde_json::from_value(object.clone()).unwrap()
}

/// The outcomes of a field, with their notes.
fn told(migration: &Migration, source: &str, field: &str) -> Vec<(Outcome, String)> {
    let lines = migration.lines.iter().filter(|line| line.source == source && line.field == field);
    lines.map(|line| (line.outcome, line.note.clone().unwrap_or_default())).collect()
}

fn config_map(selectors: &Value) -> Migration {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "eci-profile" },
        "data": { "selectors": selectors.to_string() } });
    migrated(&map.to_string())
}

/// One selector with these annotations: its profile, and the outcome of each.
fn effect(annotations: &Value) -> (Value, Migration) {
    let migration = config_map(&json!([
        { "name": "a", "objectSelector": { "matchLabels": { "a": "b" } }, "effect": { "annotations": annotations } }
    ]));
    (migration.objects[0].1["spec"].clone(), migration)
}

#[test]
fn the_documented_examples_become_objects_of_our_kinds() {
    let all = migrated(EXAMPLES);
    let paths: Vec<_> = all.objects.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "EciProfile test-spot",
            "EciProfile team-web",
            "EciProfile all",
            "EciProfile fair",
            "EciProfile prefer",
            "ImageCache shop/web",
            "DataCache shop/model",
            "DataCache shop/share",
            "DataCache shop/bucket",
        ]
    );
    assert_eq!(all.broken(), 0, "{:#?}", all.lines);
    let spot: EciProfile = object(&all, "EciProfile test-spot");
    assert_eq!(spot.spec.spot.unwrap().strategy, SpotStrategy::SpotWithPriceLimit);
    assert_eq!(spot.spec.instance.unwrap().candidates.len(), 3);
    assert_eq!(spot.spec.placement.unwrap().policy, PlacementPolicy::VirtualNodesOnly);
    assert_eq!(spot.spec.effects.unwrap().labels["created-by-eci"], LabelValue("true".to_owned()));
    let web: EciProfile = object(&all, "EciProfile team-web");
    assert!(web.spec.priority < spot.spec.priority, "the earlier selector wins");
    let network = web.spec.network.unwrap();
    assert_eq!(
        (network.v_switch_ids, network.eip.unwrap().bandwidth),
        (vec!["vsw-example3".to_owned()], Some(10))
    );
    let every: EciProfile = object(&all, "EciProfile all");
    assert!(every.spec.placement.is_none() && every.spec.selector.pod_selector.is_none());
    let prefer: EciProfile = object(&all, "EciProfile prefer");
    assert_eq!(prefer.spec.placement.unwrap().policy, PlacementPolicy::PreferRegularNodes);
    let source = "Selector kube-system/prefer";
    assert_eq!(told(&all, source, "spec.policy.normalNodePrefer.cpuRatio")[0].0, Outcome::NoEquivalent);
    let cache: ImageCache = object(&all, "ImageCache shop/web");
    assert_eq!(cache.spec.size.as_deref(), Some("25Gi"));
    assert_eq!(cache.spec.acr_instances[1].region_id.as_deref(), Some("cn-beijing"));
    assert_eq!(
        cache.spec.registries[0].plain_http.zip(cache.spec.registries[0].insecure_skip_tls_verify),
        Some((true, true))
    );
    assert!(cache.spec.adopt.is_none());
    let secret = &told(&all, "ImageCache web", "spec.imagePullSecrets[1]")[0];
    assert!(secret.1.contains("copy other from shop") || secret.0 == Outcome::Kept, "{secret:?}");
    let data: DataCache = object(&all, "DataCache shop/model");
    assert_eq!(data.spec.source.unwrap().model_scope.unwrap().repo_id, "Qwen/Qwen2.5-7B-Instruct");
    let nas: DataCache = object(&all, "DataCache shop/share");
    assert_eq!(nas.spec.source.unwrap().nas.unwrap().mount_options.len(), 3);
    // No secret leaves in any form of the result.
    for output in [MigrateOutput::Table, MigrateOutput::Yaml, MigrateOutput::Json] {
        assert!(!show::show(&all, &[], output).unwrap().contains("made-up"));
    }
}

#[test]
fn existing_caches_are_taken_over_when_asked_for() {
    let documents = manifest::parse("f", EXAMPLES).unwrap();
    let (all, _) = convert(&documents, &way(true));
    let cache: ImageCache = object(&all, "ImageCache shop/web");
    assert_eq!(cache.spec.adopt.unwrap().image_cache_id, "imc-example1");
    assert_eq!(cache.spec.deletion_policy, Some(eci_api::image_cache::DeletionPolicy::Retain));
    let data: DataCache = object(&all, "DataCache shop/share");
    assert_eq!(data.spec.adopt.unwrap().existing, Some(true));
}

#[test]
fn annotations_become_typed_fields_or_say_why_not() {
    let name = |short: &str| format!("k8s.aliyun.com/{short}");
    for (annotations, pointer, value) in [
        (
            json!({"eci-spot-strategy": "SpotAsPriceGo", "eci-spot-duration": "0", "eci-spot-fallback": "true", "eci-spot-release-strategy": "api-evict"}),
            "/spot",
            json!({"strategy": "SpotAsPriceGo", "protectionHours": 0, "fallback": "PayAsYouGo", "release": "Evict"}),
        ),
        (
            json!({"eci-vswitch": "vsw-a,vsw-b", "eci-security-group": "sg-a"}),
            "/network",
            json!({"vSwitchIDs": ["vsw-a", "vsw-b"], "securityGroupIDs": ["sg-a"]}),
        ),
        (
            json!({"eci-enable-ipv6": "true", "eci-ipv6-bandwidth-enable": "true", "eci-ipv6-bandwidth": "1G"}),
            "/network/ipv6",
            json!({"internetBandwidth": 1000}),
        ),
        (json!({"eci-use-specs": "0.5-1Gi, ecs.g6.large"}), "/instance/candidates", Value::Null),
        (
            json!({"eci-use-specs": "0.5-1Gi,ecs.g6.large"}),
            "/instance/candidates",
            json!([{"cpu": "0.5", "memory": "1Gi"}, {"instanceType": "ecs.g6.large"}]),
        ),
        (json!({"eci-extra-ephemeral-storage": "1Ti"}), "/storage/extraEphemeral", json!("1024Gi")),
        (json!({"eci-auto-imc": "false"}), "/imageCache/mode", json!("None")),
        (
            json!({"acr-instance-ids": "cri-a,cri-b", "acr-user-arns": "acs:ram::1:role/x,acs:ram::2:role/y"}),
            "/acrInstances/1/userRoleARN",
            json!("acs:ram::2:role/y"),
        ),
        (
            json!({"insecure-registry": "a:1,b", "plain-http-registry": "b"}),
            "/registries",
            json!([{"host": "b", "plainHTTP": true, "insecureSkipTLSVerify": true}, {"host": "a:1", "insecureSkipTLSVerify": true}]),
        ),
        (
            json!({"eci-ram-role-name": "r"}),
            "/effects/annotations/k8s.aliyun.com~1eci-ram-role-name",
            json!("r"),
        ),
    ] {
        let full: serde_json::Map<_, _> =
            annotations.as_object().unwrap().iter().map(|(key, value)| (name(key), value.clone())).collect();
        let (spec, _) = effect(&json!(full));
        assert_eq!(spec.pointer(pointer).cloned().unwrap_or(Value::Null), value, "{annotations}");
    }
    for (short, value, outcome, part) in [
        ("eci-spot-price-limit", "0.5", Outcome::NoEquivalent, "eci-spot-strategy"),
        (
            "eci-spot-strategy",
            "SpotWithPriceLimit",
            Outcome::Broken,
            "needs k8s.aliyun.com/eci-spot-price-limit",
        ),
        ("eci-spot-strategy", "Cheap", Outcome::Broken, "SpotAsPriceGo"),
        ("eip-bandwidth", "5", Outcome::NoEquivalent, "eci-with-eip"),
        ("eci-vswitch", "vsw-A", Outcome::Broken, "lower case"),
        ("eci-imc-id", "imc-a", Outcome::NoEquivalent, "spec.adopt.imageCacheID"),
        ("eci-private-ip-address", "10.0.0.1", Outcome::NoEquivalent, "one pod"),
        ("eci-instance-id", "eci-1", Outcome::NoEquivalent, "report of the virtual node"),
        ("eci-max-pending-minute", "5", Outcome::Broken, "from 10 to 1440"),
        ("eci-instance-famly", "x", Outcome::Changed, "is not known"),
        ("eci-image-cache", "true", Outcome::Changed, "name of the past"),
        ("insecure-registry", "*", Outcome::Broken, "name each"),
    ] {
        let (_, migration) = effect(&json!({ name(short): value }));
        let field = format!("data.selectors[0].effect.annotations[{}]", name(short));
        let all = told(&migration, "ConfigMap eci-profile", &crate::manifest::cut(&field));
        assert!(all.iter().any(|(o, note)| *o == outcome && note.contains(part)), "{short}: {all:?}");
    }
}

#[test]
fn a_condition_that_cannot_be_read_makes_no_profile() {
    let all = ["objectSelector", "namespaceSelector"];
    for (number, side) in all.into_iter().enumerate() {
        for bad in [
            json!({"matchLabels": {"a": "not a value!"}}),
            json!({"matchLabels": 3}),
            json!("x"),
            json!({"matchExpressions": [{"key": "a", "operator": "Like"}]}),
        ] {
            let mut selector = json!({ "name": "a", all[1 - number]: { "matchLabels": { "ok": "yes" } } });
            selector[side] = bad.clone();
            let migration = config_map(&json!([selector]));
            assert!(migration.objects.is_empty() && migration.broken() > 0, "{side} {bad}: {migration:?}");
        }
    }
}

#[test]
fn broken_input_is_told_and_nothing_is_made_of_it() {
    for (text, source, field, part) in [
        (
            "{kind: ConfigMap, apiVersion: v1, metadata: {name: eci-profile}, data: {selectors: '[{'}}",
            "ConfigMap eci-profile",
            "data.selectors",
            "is no JSON",
        ),
        (
            "{kind: ConfigMap, apiVersion: v1, metadata: {name: eci-profile}, data: {selectors: '{}'}}",
            "ConfigMap eci-profile",
            "data.selectors",
            "array",
        ),
        (
            "{kind: ConfigMap, apiVersion: v1, metadata: {name: eci-profile}, data: {selectors: '[3]'}}",
            "ConfigMap eci-profile",
            "data.selectors[0].",
            "must be an object",
        ),
        (
            "{kind: ConfigMap, apiVersion: v1, metadata: {name: eci-profile}, data: {selectors: '[{}]'}}",
            "ConfigMap eci-profile",
            "data.selectors[0].",
            "selects nothing",
        ),
        (
            "{kind: Selector, apiVersion: eci.aliyun.com/v1, metadata: {name: a}, spec: {effect: {}, policy: {fair: {}}}}",
            "Selector a",
            "spec",
            "every pod",
        ),
        (
            "{kind: Selector, apiVersion: eci.aliyun.com/v1, metadata: {name: a}, spec: 3}",
            "Selector a",
            "spec",
            "must be an object",
        ),
        (
            "{kind: ImageCache, apiVersion: eci.alibabacloud.com/v1, metadata: {name: a}, spec: {images: ['Not An Image']}}",
            "ImageCache a",
            "spec.images[0]",
            "Not An Image",
        ),
        (
            "{kind: ImageCache, apiVersion: eci.alibabacloud.com/v1, metadata: {name: a}, spec: {}}",
            "ImageCache a",
            "spec.images",
            "list of images",
        ),
        (
            "{kind: DataCache, apiVersion: eci.aliyun.com/v1alpha1, metadata: {name: a}, spec: {path: a}}",
            "DataCache a",
            "spec.path",
            "absolute",
        ),
        (
            "{kind: DataCache, apiVersion: eci.aliyun.com/v1alpha1, metadata: {name: a}, spec: {path: /a}}",
            "DataCache a",
            "spec.dataSource",
            "nobody knows",
        ),
        (
            "{kind: DataCache, apiVersion: eci.aliyun.com/v1alpha1, metadata: {name: a}, spec: {path: /a, bucket: eci-system, dataSource: {type: OSS}}}",
            "DataCache a",
            "spec.bucket",
            "eci-system",
        ),
    ] {
        let migration = migrated(text);
        let lines = told(&migration, source, field);
        assert!(
            lines.iter().any(|(o, note)| *o == Outcome::Broken && note.contains(part)),
            "{text}: {:?}",
            migration.lines
        );
        assert!(migration.objects.is_empty(), "{text}");
    }
}

#[test]
fn what_is_another_ones_is_passed_over_and_named() {
    let documents =
        manifest::parse("f", "{kind: ImageCache, apiVersion: eci.alibabacloud.com/v2, metadata: {name: a}}")
            .unwrap();
    let (migration, passed) = convert(&documents, &way(false));
    assert!(migration.lines.is_empty());
    assert_eq!(passed, ["f: ImageCache a (eci.alibabacloud.com/v2)"]);
}

#[test]
fn names_that_become_alike_are_told_apart() {
    let selector = |name: &str| json!({ "name": name, "objectSelector": { "matchLabels": { "a": "b" } } });
    let migration = config_map(&json!([selector("web"), selector("Web"), selector("WEB")]));
    let paths: Vec<_> = migration.objects.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["EciProfile web", "EciProfile web-2", "EciProfile web-3"]);
}

#[test]
fn a_comment_ends_with_its_line() {
    let migration = config_map(
        &json!([{ "name": "a\nkind: Pod\u{85}x: y", "objectSelector": { "matchLabels": { "a": "b" } } }]),
    );
    let yaml = show::show(&migration, &[], MigrateOutput::Yaml).unwrap();
    let documents = manifest::parse("f", &yaml).unwrap();
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].kind(), "EciProfile");
}
