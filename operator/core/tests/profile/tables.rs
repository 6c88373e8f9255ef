use eci_api::annotations::CATALOGUE;
use eci_core::profile::Mismatch;
use eci_core::profile::decide::{Change, Denial, Field, Winner};
use eci_core::profile::nodes::{KindsError, VirtualNodes, key_and_value};
use eci_core::profile::unit::Unit;
use serde_json::{Value, json};

use crate::scene::{Scene, owned, scene};

#[test]
fn each_unit_becomes_the_annotations_of_the_vendor() {
    for (spec, added) in [
        (json!({"spot": {"strategy": "SpotAsPriceGo"}}), &[("eci-spot-strategy", "SpotAsPriceGo")][..]),
        (
            json!({"spot": {"strategy": "SpotWithPriceLimit", "priceLimit": "0.5", "protectionHours": 0,
                "fallback": "PayAsYouGo", "release": "Evict"}}),
            &[
                ("eci-operator.io/spot-release", "evict"),
                ("eci-spot-duration", "0"),
                ("eci-spot-fallback", "true"),
                ("eci-spot-price-limit", "0.5"),
                ("eci-spot-strategy", "SpotWithPriceLimit"),
            ],
        ),
        (
            json!({"network": {"vSwitchIDs": ["vsw-a", "vsw-b"], "securityGroupIDs": ["sg-a"]}}),
            &[("eci-security-group", "sg-a"), ("eci-vswitch", "vsw-a,vsw-b")],
        ),
        (
            json!({"network": {"eip": {"bandwidth": 20, "isp": "BGP_PRO", "chargeType": "PayByTraffic",
                "commonBandwidthPackageID": "cbwp-a", "addressPoolID": "pippool-a"}}}),
            &[
                ("eci-with-eip", "true"),
                ("eip-bandwidth", "20"),
                ("eip-common-bandwidth-package-id", "cbwp-a"),
                ("eip-internet-charge-type", "PayByTraffic"),
                ("eip-isp", "BGP_PRO"),
                ("eip-public-ip-address-pool-id", "pippool-a"),
            ],
        ),
        (json!({"network": {"ipv6": {}}}), &[("eci-enable-ipv6", "true")]),
        (
            json!({"network": {"ipv6": {"internetBandwidth": 100}}}),
            &[
                ("eci-enable-ipv6", "true"),
                ("eci-ipv6-bandwidth", "100M"),
                ("eci-ipv6-bandwidth-enable", "true"),
            ],
        ),
        (
            json!({"instance": {"candidates": [{"cpu": "2", "memory": "4Gi"}, {"instanceType": "ecs.c6.xlarge"}]}}),
            &[("eci-use-specs", "2-4Gi,ecs.c6.xlarge")],
        ),
        (json!({"storage": {"extraEphemeral": "50Gi"}}), &[("eci-extra-ephemeral-storage", "50Gi")]),
        (
            json!({"registries": [{"host": "a.example.com", "plainHTTP": true},
                {"host": "b.example.com", "insecureSkipTLSVerify": true, "plainHTTP": true},
                {"host": "c.example.com"}]}),
            &[("insecure-registry", "b.example.com"), ("plain-http-registry", "a.example.com,b.example.com")],
        ),
        (
            json!({"acrInstances": [{"id": "cri-a"}, {"id": "cri-b", "regionID": "cn-beijing"}]}),
            &[("acr-instance-ids", "cri-a,cn-beijing:cri-b")],
        ),
        (json!({"imageCache": {"mode": "Auto"}}), &[("eci-auto-imc", "true")]),
        (json!({"imageCache": {"mode": "None"}}), &[("eci-auto-imc", "false")]),
        (
            json!({"effects": {"annotations": {"k8s.aliyun.com/eci-ntp-server": "10.0.0.1", "example.com/a": "b"}}}),
            &[("example.com/a", "b"), ("eci-ntp-server", "10.0.0.1")],
        ),
    ] {
        let scene = scene(&spec);
        assert_eq!(scene.added(), owned(added), "{spec}");
        assert_eq!(scene.decision().findings, [], "{spec}");
        assert_eq!(scene.mark().as_deref(), Some("p@3"));
    }
}

/// An annotation that a field writes must be one by which a pod takes that field out of the profile's hands, and the
/// other way round.
#[test]
fn units_have_the_annotations_that_the_catalogue_says_profiles_write() {
    let mut of_units: Vec<&str> = Unit::ALL.iter().flat_map(|unit| unit.annotations()).copied().collect();
    // The operator's own, and the one for a single pod, which speaks against an EIP made for each.
    of_units
        .retain(|name| !["eci-operator.io/spot-release", "k8s.aliyun.com/eci-eip-instanceid"].contains(name));
    of_units.push("k8s.aliyun.com/eci-data-cache-bucket");
    let mut of_fields: Vec<&str> =
        CATALOGUE.iter().filter(|a| a.profile_field.is_some()).map(|a| a.name).collect();
    of_units.sort_unstable();
    of_fields.sort_unstable();
    assert_eq!(of_units, of_fields);
}

#[test]
fn a_pod_that_says_anything_of_a_unit_keeps_all_of_it() {
    let spec = json!({"spot": {"strategy": "SpotWithPriceLimit", "priceLimit": "0.5"}, "storage": {"extraEphemeral": "50Gi"}});
    for own in Unit::Spot.annotations() {
        let scene = scene(&spec).pod(&json!({"metadata": {"annotations": {*own: "x"}}}));
        assert_eq!(scene.added(), owned(&[("eci-extra-ephemeral-storage", "50Gi")]), "{own}");
        assert_eq!(scene.decision().winners[&Field::Unit(Unit::Spot)], Winner::Pod);
    }
}

#[test]
fn profiles_add_up_and_the_first_in_order_wins_each_field_whole() {
    let scene = scene(&json!({"priority": 1, "storage": {"extraEphemeral": "10Gi"}, "effects":
            {"annotations": {"example.com/a": "high"}, "labels": {"tier": "high"}}}))
    .profile("base", &json!({"storage": {"extraEphemeral": "99Gi"}, "network": {"vSwitchIDs": ["vsw-base"]},
            "effects": {"annotations": {"example.com/a": "low", "example.com/b": "low"}, "labels": {"tier": "low", "app": "no"}}}))
    .profile("audited", &json!({"priority": 9, "mode": "Audit", "storage": {"extraEphemeral": "1Gi"}}));
    assert_eq!(
        scene.added(),
        owned(&[
            ("example.com/a", "high"),
            ("example.com/b", "low"),
            ("eci-extra-ephemeral-storage", "10Gi"),
            ("eci-vswitch", "vsw-base"),
        ])
    );
    let labels = scene.result().metadata.labels.unwrap();
    assert_eq!((labels["tier"].as_str(), labels["app"].as_str()), ("high", "web"));
    let winners = scene.decision().winners;
    assert_eq!(winners[&Field::Label("app".to_owned())], Winner::Pod);
    assert_eq!(winners[&Field::Unit(Unit::Storage)], Winner::Profile("p".to_owned()));
    assert_eq!(winners[&Field::Unit(Unit::Network)], Winner::Profile("base".to_owned()));
    assert_eq!(scene.mark().as_deref(), Some("p@3,base@3"));
}

#[test]
fn a_label_of_one_profile_may_be_what_another_selects() {
    let scene = scene(&json!({"effects": {"labels": {"spot": "yes"}}})).profile(
        "spot",
        &json!({"priority": 5, "selector": {"podSelector": {"matchLabels": {"spot": "yes"}}},
            "spot": {"strategy": "SpotAsPriceGo"}}),
    );
    assert_eq!(scene.added(), owned(&[("eci-spot-strategy", "SpotAsPriceGo")]));
    assert_eq!(scene.mark().as_deref(), Some("spot@3,p@3"));
    assert_eq!(scene.second().changes, []);
    let scene = scene.profile("none", &json!({"selector": {"podSelector": {"matchLabels": {"spot": "no"}}}}));
    let tried: Vec<_> =
        scene.decision().tried.into_iter().map(|tried| (tried.profile, tried.mismatch)).collect();
    assert_eq!((&tried[0], tried.len()), (&("spot".to_owned(), None), 3), "by the label that p gives");
    let why = tried[1].1.as_ref().map(ToString::to_string);
    assert_eq!(
        why.as_deref(),
        Some("spec.selector.podSelector: the pod's label spot must be \"no\", but is \"yes\""),
        "{tried:?}"
    );
}

#[test]
fn there_is_always_a_kind_of_virtual_nodes() {
    let pairs = |texts: &[&str]| texts.iter().map(|text| key_and_value(text)).collect::<Result<Vec<_>, _>>();
    let of = |labels: &[&str], taints: &[&str]| {
        VirtualNodes::of(&pairs(labels).unwrap(), &pairs(taints).unwrap()).map(|nodes| nodes.kinds().len())
    };
    assert_eq!(of(&[], &[]), Err(KindsError::None));
    assert_eq!(of(&["a=b"], &[]), Err(KindsError::Unequal { labels: 1, taints: 0 }));
    assert_eq!(of(&["a=b", "c="], &["x=y", "z=="]), Ok(2));
    for bad in ["", "a", "=b"] {
        assert!(key_and_value(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_label_that_a_profile_gives_takes_no_other_profile_away() {
    let absent = json!({"selector": {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}},
        "storage": {"extraEphemeral": "50Gi"}});
    let scene = scene(&json!({"effects": {"labels": {"tier": "a"}}})).profile("absent", &absent);
    assert_eq!(scene.mark().as_deref(), Some("absent@3,p@3"));
    assert_eq!(scene.second().changes, []);
    let own = scene.pod(&json!({"metadata": {"labels": {"tier": "b"}}}));
    assert_eq!(own.mark().as_deref(), Some("p@3"));
}

fn placed(policy: &str) -> Scene {
    scene(&json!({"placement": {"policy": policy}, "storage": {"extraEphemeral": "50Gi"}}))
}

fn tolerated(scene: &Scene) -> Vec<String> {
    let spec = scene.result().spec.unwrap();
    spec.tolerations.into_iter().flatten().filter_map(|toleration| toleration.key).collect()
}

fn terms(scene: &Scene) -> Value {
    let value = serde_json::to_value(scene.result()).unwrap();
    value["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"]
        .clone()
}

#[test]
fn fair_tolerates_every_kind_of_virtual_node_and_asks_for_none() {
    let scene = placed("Fair");
    assert_eq!(tolerated(&scene), ["virtual-kubelet.io/provider", "k8s.aliyun.com/vnode"]);
    assert_eq!(terms(&scene), Value::Null);
    assert_eq!(scene.second().changes, []);
}

#[test]
fn virtual_nodes_only_keeps_what_the_pod_asks_of_nodes() {
    let zone = json!({"key": "zone", "operator": "In", "values": ["a"]});
    let scene = placed("VirtualNodesOnly").pod(&json!({"spec": {
        "nodeSelector": {"arch": "arm64"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [zone]}, {}]}}}}}));
    assert_eq!(tolerated(&scene), ["gpu", "virtual-kubelet.io/provider", "k8s.aliyun.com/vnode"]);
    let ack = json!({"key": "type", "operator": "In", "values": ["virtual-kubelet"]});
    let vnode = json!({"key": "k8s.aliyun.com/vnode", "operator": "In", "values": ["true"]});
    // The empty term matches no node, and still does.
    assert_eq!(
        terms(&scene),
        json!([{"matchExpressions": [zone, ack]}, {"matchExpressions": [zone, vnode]}, {}])
    );
    let result = scene.result().spec.unwrap();
    assert_eq!(result.node_selector.unwrap()["arch"], "arm64");
    assert_eq!(scene.second().changes, []);
}

#[test]
fn regular_nodes_only_excludes_every_kind_and_says_nothing_for_virtual_nodes() {
    let scene = placed("RegularNodesOnly");
    assert_eq!(
        terms(&scene),
        json!([{"matchExpressions": [
            {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]},
            {"key": "k8s.aliyun.com/vnode", "operator": "NotIn", "values": ["true"]},
        ]}])
    );
    assert_eq!(scene.added(), []);
    assert_eq!(tolerated(&scene), Vec::<String>::new());
    assert_eq!(scene.second().changes, []);
}

#[test]
fn what_prefers_regular_nodes_or_has_limits_changes_only_later() {
    for placement in
        [json!({"policy": "PreferRegularNodes"}), json!({"policy": "Fair", "limits": {"pods": 3}})]
    {
        let spec = json!({"placement": placement, "storage": {"extraEphemeral": "50Gi"}, "effects":
            {"labels": {"tier": "b"}, "annotations": {"example.com/a": "b"}}});
        let early = scene(&spec);
        assert!(early.decision().deferred);
        assert_eq!(early.added(), owned(&[("example.com/a", "b")]), "{placement}");
        assert_eq!(tolerated(&early), Vec::<String>::new());
        let late = scene(&spec).spilling();
        assert!(!late.decision().deferred);
        assert_eq!(late.added(), owned(&[("example.com/a", "b"), ("eci-extra-ephemeral-storage", "50Gi")]));
        assert_eq!(tolerated(&late), ["virtual-kubelet.io/provider", "k8s.aliyun.com/vnode"]);
        assert_eq!(late.result().metadata.labels, late.pod.metadata.labels);
    }
}

#[test]
fn a_pod_that_speaks_of_virtual_nodes_is_placed_by_its_own_words() {
    for (own, spec, gets_units) in [
        ("nodeName", json!({"spec": {"nodeName": "n"}}), true),
        ("nodeSelector", json!({"spec": {"nodeSelector": {"type": "virtual-kubelet"}}}), true),
        (
            "toleration",
            json!({"spec": {"tolerations": [{"key": "k8s.aliyun.com/vnode", "operator": "Exists"}]}}),
            true,
        ),
        ("label", json!({"metadata": {"labels": {"alibabacloud.com/eci": "true"}}}), true),
        (
            "exclusion",
            json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [{"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]},
                {"key": "k8s.aliyun.com/vnode", "operator": "DoesNotExist"}]}]}}}}}),
            false,
        ),
    ] {
        let scene = placed("VirtualNodesOnly").pod(&spec);
        let decision = scene.decision();
        assert_eq!(decision.winners[&Field::Placement], Winner::Pod, "{own}");
        let moved = |change: &Change| matches!(change, Change::Toleration(_) | Change::NodeTerms(_));
        assert!(!decision.changes.iter().any(moved), "{own}");
        assert_eq!(!scene.added().is_empty(), gets_units, "{own}");
    }
    // A system pod tolerates everything and does not mean virtual nodes by it.
    let all = placed("RegularNodesOnly").pod(&json!({"spec": {"tolerations": [{"operator": "Exists"}]}}));
    assert_ne!(terms(&all), Value::Null);
}

#[test]
fn pods_of_daemon_sets_are_left_alone() {
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": true}]);
    let scene = placed("Fair").pod(&json!({"metadata": {"ownerReferences": owner}}));
    assert_eq!(scene.decision().changes, []);
    assert_eq!(scene.decision().tried.len(), 1);
}

fn pinned(more: &Value) -> Scene {
    let mut usage = json!({"mode": "Pinned", "refs": [
        {"namespace": "default", "name": "first"}, {"namespace": "default", "name": "second"}]});
    usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene(&json!({"imageCache": usage}))
}

#[test]
fn the_first_usable_cache_that_covers_all_images_is_pinned() {
    const WEB: &str = "registry.example.com/web:1";
    let none = || owned(&[("eci-auto-imc", "false")]);
    let second = || owned(&[("eci-imc-id", "imc-2")]);
    let base = || pinned(&json!({}));
    assert_eq!(base().added(), none(), "no such cache");
    assert_eq!(base().cache("first", Some("imc-1"), &["other:1"]).added(), none(), "other images");
    assert_eq!(base().cache("first", None, &[WEB]).added(), none(), "not usable");
    assert_eq!(
        base().cache("first", None, &[WEB]).cache("second", Some("imc-2"), &[WEB, "x:1"]).added(),
        second()
    );
    let two = json!({"spec": {"initContainers": [{"name": "i", "image": "docker.io/library/busybox"}]}});
    assert_eq!(
        base().cache("second", Some("imc-2"), &[WEB]).pod(&two).added(),
        none(),
        "not the init container's"
    );
    assert_eq!(base().cache("second", Some("imc-2"), &[WEB, "busybox:latest"]).pod(&two).added(), second());
}

#[test]
fn a_pod_waits_for_a_cache_only_if_one_covers_it() {
    const WEB: &str = "registry.example.com/web:1";
    let waiting = || pinned(&json!({"requireReady": true}));
    let gates = |scene: &Scene| {
        let gates = scene.result().spec.unwrap().scheduling_gates.unwrap_or_default();
        gates.into_iter().map(|gate| gate.name).collect::<Vec<_>>()
    };
    let waits = waiting().cache("first", None, &[WEB]);
    assert_eq!(gates(&waits), ["eci-operator.io/image-cache"]);
    assert_eq!(waits.added(), []);
    assert_eq!(waits.second().changes, []);
    let other = waiting().cache("first", None, &["other:1"]);
    assert_eq!((gates(&other).len(), other.added()), (0, owned(&[("eci-auto-imc", "false")])));
    let usable = waiting().cache("first", Some("imc-1"), &[WEB]);
    assert_eq!((gates(&usable).len(), usable.added()), (0, owned(&[("eci-imc-id", "imc-1")])));
    let bound = waiting().cache("first", None, &[WEB]).pod(&json!({"spec": {"nodeName": "n"}}));
    assert_eq!(bound.decision().denial, Some(Denial::GateWithNode { profile: "p".to_owned() }));
    let late = waiting().cache("first", None, &[WEB]).spilling();
    assert_eq!((gates(&late).len(), late.added()), (0, owned(&[("eci-auto-imc", "false")])));
}

#[test]
fn every_profile_says_why_it_does_not_apply() {
    let scene = scene(&json!({}))
        .profile("off", &json!({"mode": "Disabled"}))
        .profile("other", &json!({"selector": {"podSelector": {"matchLabels": {"app": "db"}}}}));
    let tried = scene.decision().tried;
    let of = |name: &str| tried.iter().find(|tried| tried.profile == name).unwrap().mismatch.clone();
    assert_eq!(of("p"), None);
    assert_eq!(of("off"), Some(Mismatch::Disabled));
    assert!(matches!(of("other"), Some(Mismatch::Pod(_))));
}

#[test]
fn what_cannot_work_together_is_found_on_the_pod_that_comes_out() {
    let scene = scene(&json!({"effects": {"annotations": {"k8s.aliyun.com/eci-spot-duraton": "1"}}}));
    let found: Vec<_> = scene.decision().findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "annotation k8s.aliyun.com/eci-spot-duraton is not known, and the virtual node ignores what it does not know: is k8s.aliyun.com/eci-spot-duration meant?"
        ]
    );
}
