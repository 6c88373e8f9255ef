//! What is said of profiles by themselves, beside each other, and of the pods that exist.

use eci_api::condition::ProfileReason;
use eci_api::eci_profile::EciProfileSpec;
use eci_core::profile::audit::Audit;
use eci_core::profile::check::{check, refusal};
use eci_core::profile::conflict::Conflicts;
use eci_core::profile::decide::{Field, Namespace, Winner};
use eci_core::profile::networking::{PodNetworking, selection_of};
use eci_core::profile::unit::Unit;
use eci_core::profile::{Labels, Profiles};
use serde_json::{Value, json};

use crate::scene::{Scene, owned, pod, scene};

fn problems(more: &Value) -> Vec<String> {
    let mut spec = json!({"selector": {"podSelector": {"matchLabels": {"app": "web"}}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec: EciProfileSpec = serde_json::from_value(spec).unwrap();
    check(&spec, "eci-system").iter().map(|problem| format!("{} {problem}", problem.reason())).collect()
}

#[test]
fn what_is_wrong_with_a_profile_is_said_when_it_is_written() {
    let annotation = |name: &str, value: &str| json!({"effects": {"annotations": {name: value}}});
    let namespaces = |names: &[&str]| {
        json!({"selector": {"namespaceSelector": {"matchExpressions":
            [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}}})
    };
    let pods = |expressions: Value| json!({"selector": {"podSelector": {"matchExpressions": expressions}}});
    let caches =
        |paths: [&str; 2]| json!({"dataCaches": paths.map(|path| json!({"name": "m", "mountPath": path}))});
    let cases = vec![
        (json!({"selector": {}}), "InvalidSpec spec.selector selects every pod"),
        (json!({"selector": {"podSelector": {}}}), "InvalidSpec spec.selector selects every pod"),
        (
            pods(json!([{"key": "a", "operator": "In"}])),
            "podSelector: the expression over \"a\" needs values",
        ),
        (
            pods(json!([{"key": "a", "operator": "Exists", "values": ["x"]}])),
            "podSelector: the expression over \"a\" takes no values",
        ),
        (
            pods(json!([{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "DoesNotExist"}])),
            "podSelector selects nothing: the label \"a\"",
        ),
        (
            pods(
                json!([{"key": "a", "operator": "In", "values": ["x"]}, {"key": "a", "operator": "NotIn", "values": ["x"]}]),
            ),
            "podSelector selects nothing: the label \"a\"",
        ),
        (
            json!({"selector": {"podSelector": {"matchLabels": {"eci-operator.io/inject": "disabled"}}}}),
            "by which pods and namespaces opt out",
        ),
        (namespaces(&["kube-system"]), "names system namespaces or the operator's own only (kube-system)"),
        (namespaces(&["kube-public", "eci-system"]), "(kube-public, eci-system)"),
        (
            json!({"spot": {"strategy": "SpotAsPriceGo", "priceLimit": "0.5"}}),
            "spec.spot.priceLimit does nothing without spec.spot.strategy: SpotWithPriceLimit",
        ),
        (
            json!({"spot": {"strategy": "SpotWithPriceLimit", "priceLimit": "0.5001"}}),
            "at most three decimals",
        ),
        (
            json!({"placement": {"policy": "Fair", "spillAfter": "10s"}}),
            "spillAfter is for the policy PreferRegularNodes",
        ),
        (
            json!({"placement": {"policy": "VirtualNodesOnly", "limits": {"pods": 1}}}),
            "limits are for the policies Fair and PreferRegularNodes",
        ),
        (
            json!({"placement": {"policy": "PreferRegularNodes"}, "dataCaches": [{"name": "m", "mountPath": "/m"}]}),
            "spec.dataCaches cannot be combined",
        ),
        (caches(["/m", "/m/a"]), "one of which is inside the other"),
        (json!({"imageCache": {"mode": "Pinned"}}), "refs are set if and only if"),
        (json!({"imageCache": {"mode": "Auto", "requireReady": true}}), "needs the mode Pinned"),
        (
            annotation("k8s.aliyun.com/eci-vswitch", "vsw-1"),
            "InvalidAnnotation spec.effects.annotations: k8s.aliyun.com/eci-vswitch is written by spec.network",
        ),
        (annotation("k8s.aliyun.com/eci-private-ip-address", "10.0.0.1"), "right for one pod only"),
        (annotation("k8s.aliyun.com/eci-instance-id", "eci-1"), "is a report of the virtual node"),
        (annotation("eci-operator.io/profiles", "x"), "is the operator's own"),
        (annotation("k8s.aliyun.com/eci-max-pending-minute", "5"), "must be a whole number from 10 to 1440"),
    ];
    for (spec, told) in cases {
        let found = problems(&spec);
        assert!(found.len() == 1 && found[0].contains(told), "{spec}: {found:?}");
    }
    for fine in [
        json!({}),
        namespaces(&["kube-system", "shop"]),
        pods(
            json!([{"key": "a", "operator": "NotIn", "values": ["x"]}, {"key": "a", "operator": "DoesNotExist"}]),
        ),
        caches(["/m", "/ma"]),
        annotation("k8s.aliyun.com/eci-max-pending-minute", "10"),
        annotation("example.com/any", "thing"),
    ] {
        assert_eq!(problems(&fine), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn a_condition_names_as_many_problems_as_it_has_room_for() {
    let annotations: Value = (0..40)
        .map(|i| (format!("eci-operator.io/{i}"), json!("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let spec = json!({"selector": {}, "effects": {"annotations": annotations}});
    let spec: EciProfileSpec = serde_json::from_value(spec).unwrap();
    let (reason, message) = refusal(&check(&spec, "eci-system")).unwrap();
    assert_eq!(reason, ProfileReason::InvalidSpec);
    assert!(message.chars().count() <= 1_024 && message.ends_with("more"), "{message}");
    assert_eq!(refusal(&[]), None);
}

fn conflicts(scene: &Scene) -> Conflicts {
    let profiles = Profiles::new(scene.profiles.clone(), "eci-system");
    let mut conflicts = Conflicts::default();
    conflicts.add(&profiles, Namespace { name: "shop", labels: &scene.namespace_labels }, &scene.pod);
    // The pod that exists has what the profiles made of it, and that is no word of its own.
    let mut again = Conflicts::default();
    again.add(&profiles, Namespace { name: "shop", labels: &scene.namespace_labels }, &scene.result());
    assert_eq!(conflicts, again);
    conflicts
}

#[test]
fn equal_priority_and_different_values_of_one_field_are_a_conflict() {
    let storage = |size: &str| json!({"storage": {"extraEphemeral": size}});
    let two = |one: &Value, other: &Value| conflicts(&scene(one).profile("q", other));
    let both = two(&storage("10Gi"), &storage("20Gi"));
    let (is, reason, message) = both.of("q");
    assert_eq!((is, reason), (true, ProfileReason::EqualPriority));
    assert_eq!(
        message,
        "profile p of equal priority says otherwise of spec.storage for pod shop/web, and that one wins by its name: give one of them another priority"
    );
    assert!(both.of("p").2.contains("profile q of equal priority"), "{:?}", both.of("p"));
    assert!(!both.of("other").0);

    let label = |value: &str| json!({"effects": {"labels": {"tier": value}}});
    let annotation = |value: &str| json!({"effects": {"annotations": {"example.com/a": value}}});
    let data = |name: &str| json!({"dataCaches": [{"name": name, "mountPath": "/m"}]});
    let policy = |policy: &str| json!({"placement": {"policy": policy}});
    for (one, other, expected) in [
        (storage("10Gi"), storage("10Gi"), false),
        (storage("10Gi"), json!({"storage": {"extraEphemeral": "20Gi"}, "priority": -1}), false),
        (storage("10Gi"), json!({"network": {"vSwitchIDs": ["vsw-1"]}}), false),
        (storage("10Gi"), json!({"storage": {"extraEphemeral": "20Gi"}, "mode": "Audit"}), false),
        (label("a"), label("b"), true),
        (annotation("a"), annotation("b"), true),
        (annotation("a"), annotation("a"), false),
        (policy("Fair"), policy("VirtualNodesOnly"), true),
        (data("m"), data("n"), true),
        (json!({"imageCache": {"mode": "Auto"}}), json!({"imageCache": {"mode": "None"}}), true),
        (
            storage("10Gi"),
            json!({"storage": {"extraEphemeral": "20Gi"},
            "selector": {"podSelector": {"matchLabels": {"app": "db"}}}}),
            false,
        ),
    ] {
        let scene = scene(&one)
            .profile("q", &other)
            .data_cache("m", "b", "/m", true)
            .data_cache("n", "b", "/n", true);
        assert_eq!(conflicts(&scene).of("p").0, expected, "{one} {other}");
    }
    // A third with a higher priority decides, or the pod itself.
    let decided = scene(&storage("10Gi"))
        .profile("q", &storage("20Gi"))
        .profile("top", &json!({"priority": 5, "storage": {"extraEphemeral": "1Gi"}}));
    assert!(!conflicts(&decided).of("p").0);
    let own = scene(&storage("10Gi"))
        .profile("q", &storage("20Gi"))
        .pod(&json!({"metadata": {"annotations": {"k8s.aliyun.com/eci-extra-ephemeral-storage": "5Gi"}}}));
    assert!(!conflicts(&own).of("p").0);
}

#[test]
fn an_audit_counts_pods_by_workload_and_says_what_would_change() {
    let base = scene(&json!({"storage": {"extraEphemeral": "10Gi"}, "placement": {"policy": "Fair"}}))
        .profile(
            "audited",
            &json!({"mode": "Audit", "priority": 5, "placement": {"policy": "VirtualNodesOnly"},
            "storage": {"extraEphemeral": "20Gi"}, "spot": {"strategy": "SpotAsPriceGo"}}),
        )
        .profile("same", &json!({"mode": "Audit", "priority": 1, "storage": {"extraEphemeral": "10Gi"}}));
    let profiles = Profiles::new(base.profiles.clone(), "eci-system");
    let none = Labels::new();
    let namespace = Namespace { name: "shop", labels: &none };
    let owned_by = |name: &str, kind: &str, owner: &str, hash: Option<&str>| {
        let mut labels = json!({"app": "web"});
        if let Some(hash) = hash {
            labels["pod-template-hash"] = json!(hash);
        }
        let owners =
            json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": true}]);
        base.clone().pod(&json!({"metadata": {"name": name, "labels": labels, "ownerReferences": owners}}))
    };
    let mut audit = Audit::of(&profiles, "audited", "eci-system").unwrap();
    let mut same = Audit::of(&profiles, "same", "eci-system").unwrap();
    let mut all = vec![
        owned_by("web-1", "ReplicaSet", "web-5d4f", Some("5d4f")),
        owned_by("web-2", "ReplicaSet", "web-5d4f", Some("5d4f")),
        owned_by("db-0", "StatefulSet", "db", None),
        base.clone().pod(&json!({})),
    ];
    all.extend((0..30).map(|i| owned_by(&format!("job-{i}"), "Job", &format!("job-{i:02}"), None)));
    for scene in &all {
        // As they are in a cluster: changed by the profiles of now, and on a node.
        let mut pod = scene.result();
        pod.spec.get_or_insert_default().node_name = Some("n".to_owned());
        audit.add(&base.world, namespace, &pod);
        same.add(&base.world, namespace, &pod);
    }
    audit.add(&base.world, namespace, &pod(&json!({"metadata": {"labels": {"app": "other"}}})));
    assert_eq!(
        audit.message(),
        "spec.mode is Audit: nothing is changed. Of 34 pods that it selects, 34 would be made otherwise."
    );
    let impact = audit.impact();
    assert_eq!(impact.len(), 20);
    assert_eq!((impact[0].kind.as_str(), impact[0].name.as_str(), impact[0].pods), ("Deployment", "web", 2));
    assert_eq!(
        impact[0].changes,
        [
            "+ annotation k8s.aliyun.com/eci-extra-ephemeral-storage: 20Gi",
            "+ annotation k8s.aliyun.com/eci-spot-strategy: SpotAsPriceGo",
            "+ runs on virtual nodes only",
            "- annotation k8s.aliyun.com/eci-extra-ephemeral-storage: 10Gi",
        ]
    );
    assert_eq!(same.impact(), []);
    assert!(same.message().ends_with("Of 34 pods that it selects, 0 would be made otherwise."));
    assert!(Audit::of(&profiles, "p", "eci-system").is_none(), "it is enforced");
    assert!(Audit::of(&profiles, "absent", "eci-system").is_none());
}

#[test]
fn a_pod_networking_comes_after_the_pod_and_before_the_profiles() {
    let network = json!({"network": {"vSwitchIDs": ["vsw-p"], "securityGroupIDs": ["sg-p"], "ipv6": {}}});
    let selects =
        |labels: Value| selection_of(&serde_json::from_value(json!({"matchLabels": labels})).unwrap());
    let ready = |name: &str, pods: Value| PodNetworking {
        name: name.to_owned(),
        ready: true,
        pods: selects(pods),
        says_where: true,
        ..PodNetworking::default()
    };
    let winner = |networkings: Vec<PodNetworking>, more: &Value| {
        let mut scene = scene(&network).pod(more);
        scene.world.networkings = networkings;
        assert_eq!(scene.second().changes, []);
        let winner = scene.decision().winners[&Field::Unit(Unit::Network)].clone();
        // The other units of the profile are not concerned.
        assert!(scene.added().contains(&("eci-enable-ipv6".to_owned(), "true".to_owned())));
        (winner, scene.added())
    };
    let web = || ready("web", json!({"app": "web"}));
    let by = |name: &str| Winner::PodNetworking(name.to_owned());
    let (who, added) = winner(vec![web(), ready("a", json!({"app": "web"}))], &json!({}));
    assert_eq!((who, added), (by("a"), owned(&[("eci-enable-ipv6", "true")])));
    let own = json!({"metadata": {"annotations": {"k8s.aliyun.com/eci-vswitch": "vsw-own"}}});
    assert_eq!(winner(vec![web()], &own).0, Winner::Pod);
    let stateful = json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "u"}]}});
    assert_eq!(winner(vec![PodNetworking { fixed: true, ..web() }], &stateful).0, by("web"));
    let elsewhere = selects(json!({"team": "a"}));
    for passed in [
        PodNetworking { ready: false, ..web() },
        PodNetworking { says_where: false, ..web() },
        PodNetworking { fixed: true, ..web() },
        PodNetworking { pods: None, ..web() },
        PodNetworking { namespaces: elsewhere, ..web() },
        ready("db", json!({"app": "db"})),
    ] {
        let told = format!("{passed:?}");
        assert_eq!(winner(vec![passed], &json!({})).0, Winner::Profile("p".to_owned()), "{told}");
    }
    let object = json!({
        "spec": {
            "selector": { "podSelector": { "matchLabels": { "app": "web" } } },
            "vSwitchOptions": ["vsw-1"], "allocationType": { "type": "Elastic" },
        },
        "status": { "status": "Ready" },
    });
    assert_eq!(PodNetworking::read("web", &object), Some(web()));
    for (pointer, value, expected) in [
        ("/status/status", json!("Fail"), Some(PodNetworking { ready: false, ..web() })),
        ("/status", Value::Null, Some(PodNetworking { ready: false, ..web() })),
        ("/spec/vSwitchOptions", json!([]), Some(PodNetworking { says_where: false, ..web() })),
        ("/spec/allocationType/type", json!("Fixed"), Some(PodNetworking { fixed: true, ..web() })),
        ("/spec/selector", Value::Null, Some(PodNetworking { pods: None, ..web() })),
        ("/spec/selector/podSelector", json!("all"), None),
        ("/spec/selector/podSelector", json!({ "matchLabels": { "app": 1 } }), None),
    ] {
        let mut object = object.clone();
        *object.pointer_mut(pointer).unwrap() = value;
        assert_eq!(PodNetworking::read("web", &object), expected, "{pointer}");
    }
    let unknown = json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]});
    assert_eq!(selection_of(&serde_json::from_value(unknown).unwrap()), None);
}
