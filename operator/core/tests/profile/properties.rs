use std::collections::BTreeMap;
use std::sync::Arc;

use eci_api::eci_profile::ProfileMode;
use eci_core::profile::decide::{Moment, World};
use eci_core::profile::{Labels, Profile, Profiles, Subject};
use k8s_openapi::api::core::v1::Pod;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::scene::{Scene, pod};

/// Few labels and values, so that selectors and effects meet.
fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(
        select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        select(vec!["1", "2"]).prop_map(str::to_owned),
        0..3,
    )
}

fn expression() -> impl Strategy<Value = Value> {
    (
        select(vec!["a", "b", "c"]),
        select(vec!["In", "NotIn", "Exists", "DoesNotExist"]),
        select(vec!["1", "2"]),
    )
        .prop_map(|(key, operator, value)| {
            let values = if operator.ends_with("In") { vec![value] } else { vec![] };
            json!({"key": key, "operator": operator, "values": values})
        })
}

fn spec() -> impl Strategy<Value = Value> {
    let placement = option::of(
        (select(vec!["Fair", "PreferRegularNodes", "VirtualNodesOnly", "RegularNodesOnly"]), any::<bool>())
            .prop_map(|(policy, limited)| {
                if limited && policy == "Fair" {
                    json!({"policy": policy, "limits": {"pods": 1}})
                } else {
                    json!({"policy": policy})
                }
            }),
    );
    let spot = option::of(select(vec![
        json!({"strategy": "SpotAsPriceGo", "release": "Evict"}),
        json!({"strategy": "SpotWithPriceLimit", "priceLimit": "1.5", "protectionHours": 0}),
    ]));
    let cache = option::of(select(vec![
        json!({"mode": "Auto"}),
        json!({"mode": "None"}),
        json!({"mode": "Pinned", "refs": [{"namespace": "default", "name": "one"}], "requireReady": true}),
        json!({"mode": "Pinned", "refs": [{"namespace": "default", "name": "one"}]}),
    ]));
    let network = option::of(select(vec![
        json!({"vSwitchIDs": ["vsw-1"], "eip": {"bandwidth": 5}}),
        json!({"securityGroupIDs": ["sg-1"], "ipv6": {}}),
    ]));
    let data = option::weighted(
        0.3,
        select(vec![
            json!([{"name": "one", "mountPath": "/m/one"}]),
            json!([{"name": "one", "mountPath": "/m"}, {"name": "two", "mountPath": "/n"}]),
            json!([{"name": "other", "mountPath": "/o"}]),
            json!([{"name": "absent", "mountPath": "/o"}]),
        ]),
    );
    let mode = select(vec!["Enforce", "Enforce", "Enforce", "Audit", "Disabled"]);
    (vec(expression(), 0..3), labels(), labels(), -1..2_i32, placement, spot, cache, (network, data), mode)
        .prop_map(
            |(expressions, labels, annotations, priority, placement, spot, cache, (network, data), mode)| {
                let mut spec = json!({"priority": priority, "mode": mode,
                "selector": {"podSelector": {"matchExpressions": expressions}},
                "effects": {"labels": labels, "annotations": annotations}});
                for (name, value) in [
                    ("placement", placement),
                    ("spot", spot),
                    ("imageCache", cache),
                    ("network", network),
                    ("dataCaches", data),
                ] {
                    if let Some(value) = value {
                        spec[name] = value;
                    }
                }
                spec
            },
        )
}

fn any_pod() -> impl Strategy<Value = Pod> {
    let own = btree_map(
        select(vec![
            "k8s.aliyun.com/eci-spot-strategy",
            "k8s.aliyun.com/eci-vswitch",
            "k8s.aliyun.com/eci-auto-imc",
            "a",
        ])
        .prop_map(str::to_owned),
        "[a-z~/]{0,6}",
        0..3,
    );
    let own = (
        own,
        option::weighted(
            0.2,
            select(vec!["one=/m/one", "one=/m,two=/n", "other=/o/p", "one=/", "absent=/x"]),
        ),
    )
        .prop_map(|(mut own, asks)| {
            own.extend(asks.map(|asks| ("eci-operator.io/data-caches".to_owned(), asks.to_owned())));
            own
        });
    let word = select(vec![
        json!({}),
        json!({}),
        json!({"nodeName": "n"}),
        json!({"nodeSelector": {"type": "virtual-kubelet"}, "tolerations": []}),
        json!({"tolerations": [{"operator": "Exists"}]}),
        json!({"tolerations": [{"key": "k8s.aliyun.com/vnode", "value": "true", "effect": "NoSchedule"}]}),
        json!({"affinity": {}}),
        json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]}}}),
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
            [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}, {"matchFields":
            [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}}}}),
        json!({"schedulingGates": [{"name": "example.com/gate"}]}),
        json!({"initContainers": [{"name": "i", "image": "i"}], "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "main", "image": "registry.example.com/web:1", "volumeMounts": [{"name": "v", "mountPath": "/m/two"}]}]}),
    ]);
    (labels(), option::of(own), word, any::<bool>()).prop_map(|(labels, annotations, spec, bare)| {
        let mut more = json!({"spec": spec, "metadata": {"labels": labels}});
        if let Some(annotations) = annotations {
            more["metadata"]["annotations"] = json!(annotations);
        }
        let mut pod = pod(&more);
        if bare {
            pod.metadata.labels = None;
        }
        pod
    })
}

fn scenes() -> impl Strategy<Value = Scene> {
    let cache = select(vec![
        None,
        Some((None, "registry.example.com/web:1")),
        Some((Some("imc-1"), "registry.example.com/web:1")),
        Some((Some("imc-1"), "other:1")),
    ]);
    (vec(spec(), 0..5), any_pod(), labels(), cache, any::<bool>()).prop_map(
        |(specs, pod, namespace_labels, cache, spill)| {
            let profiles = specs.into_iter().enumerate().map(|(i, spec)| Profile {
                name: format!("p{i}"),
                generation: i64::try_from(i).unwrap_or_default(),
                spec: Arc::new(serde_json::from_value(spec).unwrap()),
            });
            let scene = Scene {
                profiles: profiles.collect(),
                world: World::default(),
                namespace_labels: Labels::from_iter(namespace_labels),
                pod,
                moment: if spill { Moment::Spill } else { Moment::Creation },
            };
            let scene = scene
                .data_cache("one", "a", "/one", true)
                .data_cache("two", "a", "/two", false)
                .data_cache("other", "b", "/other", true);
            match cache {
                Some((usable, image)) => scene.cache("one", usable, &[image]),
                None => scene,
            }
        },
    )
}

/// Whether everything in `before` is in `after`: maps may have more keys and lists more items.
fn kept(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.iter().all(|(key, value)| after.get(key).is_some_and(|after| kept(value, after)))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.iter().all(|value| after.iter().any(|after| kept(value, after)))
        }
        (before, after) => before == after,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// However often a pod is decided upon, it is changed once.
    #[test]
    fn a_second_time_changes_nothing(scene in scenes()) {
        prop_assert_eq!(scene.second().changes, vec![], "{:?}", scene.result());
    }

    /// All that a user wrote is there afterwards.
    #[test]
    fn nothing_of_the_pod_is_lost(scene in scenes()) {
        let before = serde_json::to_value(&scene.pod).unwrap();
        let after = serde_json::to_value(scene.result()).unwrap();
        // The mark is the operator's.
        prop_assert!(kept(&before, &after), "{before}\n{after}");
    }

    /// Profiles are found by labels; it is the same as to look at each.
    #[test]
    fn what_applies_is_what_no_clause_fails(
        specs in vec((spec(), labels(), labels()), 0..8), pod_labels in labels(), namespace_labels in labels(),
    ) {
        let profiles = specs.into_iter().enumerate().map(|(i, (mut spec, pod, namespace))| {
            spec["selector"]["podSelector"]["matchLabels"] = json!(pod);
            spec["selector"]["namespaceSelector"] = json!({"matchLabels": namespace});
            let spec = Arc::new(serde_json::from_value(spec).unwrap());
            Profile { name: format!("p{i}"), generation: 1, spec }
        });
        let profiles = Profiles::new(profiles, "eci-system");
        let subject = Subject { namespace: "shop", namespace_labels: &namespace_labels, labels: &pod_labels };
        let found: Vec<_> = profiles.enforced(subject).map(|profile| profile.name.clone()).collect();
        let enforce = |(profile, mismatch): (&Profile, Option<_>)| {
            (mismatch.is_none() && profile.spec.mode == ProfileMode::Enforce).then(|| profile.name.clone())
        };
        prop_assert_eq!(found, profiles.tried(subject).filter_map(enforce).collect::<Vec<_>>());
    }

    /// Data caches are mounted on virtual nodes only, so that no pod with a volume for one may run elsewhere.
    #[test]
    fn a_pod_with_data_caches_cannot_run_on_regular_nodes(scene in scenes()) {
        let (decision, result) = (scene.decision(), scene.result());
        let spec = result.spec.clone().unwrap_or_default();
        let mounted = spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some()).count();
        if mounted > 0 && spec.node_name.is_none() {
            let value = serde_json::to_value(&spec).unwrap();
            let by_selector = !value["nodeSelector"].is_null();
            let required = &value["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
            let terms = required["nodeSelectorTerms"].as_array().cloned().unwrap_or_default();
            let virtual_only = |term: &Value| {
                let all = term["matchExpressions"].as_array().cloned().unwrap_or_default();
                all.iter().any(|e| e["operator"] == "In" && (e["key"] == "type" || e["key"] == "k8s.aliyun.com/vnode"))
            };
            prop_assert!(by_selector || (!terms.is_empty() && terms.iter().all(virtual_only)), "{value}");
            let tolerated = spec.tolerations.iter().flatten().any(|t| t.key.is_some());
            prop_assert!(tolerated || decision.deferred, "{value}");
            let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            for container in containers {
                let ours = |name: &str| name.starts_with("eci-data-cache-");
                let mounts = container.volume_mounts.iter().flatten();
                prop_assert!(mounts.filter(|mount| ours(&mount.name)).count() >= mounted);
            }
        }
    }

    /// A pod that exists can only gain tolerations and annotations; the API server refuses all else.
    #[test]
    fn a_pod_that_waits_gains_tolerations_and_annotations_only(scene in scenes()) {
        let scene = scene.spilling();
        let before = scene.pod.clone();
        let mut after = scene.result();
        after.metadata.annotations = before.metadata.annotations.clone();
        let (Some(spec), Some(after_spec)) = (&before.spec, &mut after.spec) else { unreachable!() };
        after_spec.tolerations.clone_from(&spec.tolerations);
        prop_assert_eq!(after, before);
    }
}
