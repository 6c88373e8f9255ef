use eci_core::profile::data_caches::{Asker, Cause, Dropped, Refusal};
use eci_core::profile::decide::{Denial, Field, Warning, Winner};
use serde_json::{Value, json};

use crate::scene::{Scene, owned, scene};

/// A pod that asks by its annotation, in a world with data caches of two buckets.
fn asking(annotation: &str) -> Scene {
    known(
        scene(&json!({}))
            .pod(&json!({"metadata": {"annotations": {"eci-operator.io/data-caches": annotation}}})),
    )
}

fn known(scene: Scene) -> Scene {
    scene
        .data_cache("model-a", "models", "/llm/a", true)
        .data_cache("model-b", "models", "/llm/b", true)
        .data_cache("slow", "models", "/llm/slow", false)
        .data_cache("dataset.v2", "sets", "/sets/2", true)
}

fn with_pod(scene: Scene, more: &Value) -> Scene {
    let annotations = scene.pod.metadata.annotations.clone().unwrap_or_default();
    let mut scene = scene.pod(more);
    scene.pod.metadata.annotations.get_or_insert_default().extend(annotations);
    scene
}

fn refusal(scene: &Scene) -> Option<Refusal> {
    match scene.decision().denial {
        Some(Denial::DataCaches(refusal)) => Some(refusal),
        other => {
            assert_eq!(other, None);
            None
        }
    }
}

fn value(scene: &Scene) -> Value {
    serde_json::to_value(scene.result()).unwrap()
}

#[test]
fn a_pod_that_asks_by_name_gets_bucket_volume_and_a_mount_in_every_container() {
    let scene = with_pod(
        asking("model-a=/models/a, model-b=/models/b"),
        &json!({"spec": {"initContainers": [{"name": "init", "image": "i"}], "containers": [
            {"name": "main", "image": "registry.example.com/web:1"},
            {"name": "side", "image": "s", "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}],
            "volumes": [{"name": "tmp", "emptyDir": {}}]}}),
    );
    assert_eq!(refusal(&scene), None);
    assert_eq!(scene.added(), owned(&[("eci-data-cache-bucket", "models")]));
    let pod = value(&scene);
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let paths: Vec<_> = volumes.iter().filter_map(|v| v["hostPath"]["path"].as_str()).collect();
    assert_eq!(paths, ["/llm/a", "/llm/b"]);
    let name = volumes[1]["name"].as_str().unwrap();
    for (list, index, before) in [("initContainers", 0, 0), ("containers", 0, 0), ("containers", 1, 1)] {
        let mounts = pod["spec"][list][index]["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.len(), before + 2);
        assert_eq!(mounts[before], json!({"name": name, "mountPath": "/models/a", "readOnly": true}));
    }
    assert_eq!(scene.decision().winners[&Field::DataCache("/models/b".to_owned())], Winner::Pod);
    assert_eq!(scene.second().changes, []);
    assert_eq!(scene.second().denial, None);
}

#[test]
fn a_pod_without_any_profile_gets_what_it_asks_for_and_runs_on_virtual_nodes_only() {
    let mut scene = asking("dataset.v2=/d");
    scene.profiles.clear();
    let pod = value(&scene);
    assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(required["nodeSelectorTerms"][0]["matchExpressions"][0]["values"], json!(["virtual-kubelet"]));
    assert_eq!(scene.added(), owned(&[("eci-data-cache-bucket", "sets")]));
    assert_eq!(scene.mark(), None);
    assert_eq!(scene.second().changes, []);
}

#[test]
fn what_a_pod_cannot_have_is_refused_with_what_to_do() {
    let own = |what: &str| asking(what);
    let mounted = |path: &str| {
        with_pod(
            asking("model-a=/models/a"),
            &json!({"spec": {"containers": [{"name": "main", "image": "i", "volumeMounts": [{"name": "v", "mountPath": path}]}],
                "volumes": [{"name": "v", "emptyDir": {}}]}}),
        )
    };
    let annotated = |what: &str, key: &str, value: &str| {
        with_pod(asking(what), &json!({"metadata": {"annotations": {key: value}}}))
    };
    let excluded = json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "type", "operator": "NotIn", "values": ["virtual-kubelet"]},
            {"key": "k8s.aliyun.com/vnode", "operator": "DoesNotExist"}]}]}}}}});
    let daemon = json!({"metadata": {"ownerReferences":
        [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": true}]}});
    let many = (0..21).map(|i| format!("model-a=/m{i}")).collect::<Vec<_>>().join(",");
    let cases = vec![
        (own(""), r#""" has no ="#),
        (own("model-a"), "has no ="),
        (own("=/models"), "does not begin with the name of a DataCache"),
        (own("Model=/models"), "does not begin with the name of a DataCache"),
        (own("model-a=models"), "does not end with a clean absolute path"),
        (own("model-a=/"), "does not end with a clean absolute path"),
        (own("model-a=/models/"), "does not end with a clean absolute path"),
        (own("model-a=/models/../etc"), "does not end with a clean absolute path"),
        (own("model-a=/mo:dels"), "does not end with a clean absolute path"),
        (own("model-a=/a,"), r#""" has no ="#),
        (own(&many), "is one too many"),
        (own("absent=/models"), "does not exist in namespace shop: create it there first"),
        (own("model-a=/a,dataset.v2=/b"), r#"the buckets "models" and "sets""#),
        (own("model-a=/a,model-b=/a"), "one of which is inside the other"),
        (own("model-a=/a,model-b=/a/b"), "one of which is inside the other"),
        (mounted("/models/a"), r#"container "main" has a volume at "/models/a""#),
        (mounted("/models/a/"), "choose another path"),
        (mounted("/models"), "choose another path"),
        (mounted("/models/a/sub"), "choose another path"),
        (
            annotated("model-a=/a", "k8s.aliyun.com/eci-data-cache-bucket", "mine"),
            r#"of the pod names "mine": remove that annotation"#,
        ),
        (
            annotated("model-a=/a", "eci-operator.io/data-cache-wait", "no"),
            r#"must be "gate" or "deny", not "no""#,
        ),
        (annotated("slow=/a", "eci-operator.io/data-cache-wait", "deny"), "is not available yet (Building)"),
        (with_pod(own("slow=/a"), &json!({"spec": {"nodeName": "n"}})), "remove spec.nodeName"),
        (with_pod(own("model-a=/a"), &excluded), "excludes virtual nodes"),
        (with_pod(own("model-a=/a"), &daemon), "pods of DaemonSets do not run on virtual nodes"),
    ];
    for (scene, told) in cases {
        let said = refusal(&scene).map(|refusal| refusal.to_string()).unwrap_or_default();
        assert!(said.contains(told), "{told}: {said}");
        let meta = scene.result().metadata.annotations.unwrap_or_default();
        let bucket = meta.get("k8s.aliyun.com/eci-data-cache-bucket");
        assert!(bucket.is_none_or(|bucket| bucket == "mine"), "nothing is half done: {told}");
    }
    // Beside each other is not inside each other.
    assert_eq!(refusal(&mounted("/models/ab")), None);
    assert_eq!(refusal(&mounted("/model")), None);
    // A volume of the pod's own must not be taken for ours.
    let ours = value(&asking("model-a=/a"))["spec"]["volumes"][0]["name"].as_str().unwrap().to_owned();
    let taken =
        with_pod(asking("model-a=/a"), &json!({"spec": {"volumes": [{"name": ours, "emptyDir": {}}]}}));
    assert!(matches!(refusal(&taken), Some(Refusal::VolumeTaken { .. })));
}

#[test]
fn a_pod_waits_at_its_gate_until_its_data_is_there() {
    let gates = |scene: &Scene| value(scene)["spec"]["schedulingGates"].clone();
    assert_eq!(gates(&asking("slow=/a")), json!([{"name": "eci-operator.io/data-cache"}]));
    assert_eq!(gates(&asking("model-a=/a")), Value::Null);
    let second = asking("slow=/a");
    assert_eq!(second.second().changes, []);
}

#[test]
fn a_hostile_annotation_makes_a_short_answer() {
    let long = "x".repeat(100_000);
    for annotation in [long.clone(), format!("{long}=/a"), format!("model-a=/{long}"), ",".repeat(100_000)] {
        let said = refusal(&asking(&annotation)).unwrap().to_string();
        assert!(said.len() < 600, "{said}");
    }
}

#[test]
fn who_opted_out_or_is_the_systems_gets_nothing() {
    let mut out = asking("model-a=/a");
    out.pod
        .metadata
        .labels
        .get_or_insert_default()
        .insert("eci-operator.io/inject".into(), "disabled".into());
    assert_eq!((out.decision().changes, out.decision().denial), (vec![], None));
}

#[test]
fn a_profile_mounts_in_the_namespace_of_the_pod_and_brings_it_to_virtual_nodes() {
    for placement in [
        json!({}),
        json!({"placement": {"policy": "Fair"}}),
        json!({"placement": {"policy": "VirtualNodesOnly"}}),
    ] {
        let mut spec = json!({"dataCaches": [{"name": "model-a", "mountPath": "/models/a"}]});
        spec.as_object_mut().unwrap().extend(placement.as_object().unwrap().clone());
        let scene = known(scene(&spec));
        assert_eq!(scene.added(), owned(&[("eci-data-cache-bucket", "models")]));
        let pod = value(&scene);
        let required =
            &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(required["nodeSelectorTerms"].as_array().unwrap().len(), 2, "{spec}");
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2, "{spec}");
        assert_eq!(scene.second().changes, [], "{spec}");
    }
    let absent = scene(&json!({"dataCaches": [{"name": "model-a", "mountPath": "/models/a"}]}));
    let expected = Refusal::NotFound {
        asker: Asker::Profile("p".into()),
        name: "model-a".into(),
        namespace: "shop".into(),
    };
    assert_eq!(refusal(&absent), Some(expected));
}

#[test]
fn limits_keep_the_toleration_back_and_nothing_that_cannot_be_added_later() {
    let spec = json!({"dataCaches": [{"name": "model-a", "mountPath": "/models/a"}],
        "placement": {"policy": "Fair", "limits": {"pods": 1}}, "storage": {"extraEphemeral": "50Gi"}});
    let early = known(scene(&spec));
    assert!(early.decision().deferred);
    let pod = value(&early);
    assert_eq!(pod["spec"]["tolerations"], Value::Null);
    assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(early.second().changes, []);
    let mut late = early.clone().spilling();
    late.pod = early.result();
    let granted = value(&late);
    assert_eq!(granted["spec"]["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(late.added(), owned(&[("eci-extra-ephemeral-storage", "50Gi")]));
    assert_eq!(late.second().changes, []);
}

#[test]
fn of_two_buckets_the_lower_profile_goes_without_and_says_so() {
    let base = json!({"priority": 1, "dataCaches": [{"name": "model-a", "mountPath": "/models/a"}]});
    let dropped = |scene: &Scene| match scene.decision().warnings.as_slice() {
        [Warning::DataCaches(dropped)] => dropped.clone(),
        other => panic!("{other:?}"),
    };
    let two = known(scene(&base))
        .profile("low", &json!({"dataCaches": [{"name": "dataset.v2", "mountPath": "/sets"}]}));
    let cause = Cause::Bucket { bucket: "sets".into(), first: "models".into() };
    assert_eq!(dropped(&two), Dropped { profile: "low".into(), cause });
    assert_eq!(two.added(), owned(&[("eci-data-cache-bucket", "models")]));
    assert_eq!(two.second().changes, []);

    let inside = known(scene(&base))
        .profile("low", &json!({"dataCaches": [{"name": "model-b", "mountPath": "/models"}]}));
    assert!(matches!(dropped(&inside).cause, Cause::Overlap { .. }));

    let same = known(scene(&base)).profile(
        "low",
        &json!({"dataCaches": [
        {"name": "model-b", "mountPath": "/models/a"}, {"name": "model-b", "mountPath": "/models/b"}]}),
    );
    assert_eq!(same.decision().warnings, []);
    let winners = same.decision().winners;
    assert_eq!(winners[&Field::DataCache("/models/a".into())], Winner::Profile("p".into()));
    assert_eq!(winners[&Field::DataCache("/models/b".into())], Winner::Profile("low".into()));

    // The pod's own word is the first of all.
    let named = known(scene(&base))
        .pod(&json!({"metadata": {"annotations": {"k8s.aliyun.com/eci-data-cache-bucket": "mine"}}}));
    assert!(matches!(dropped(&named).cause, Cause::Bucket { .. }));
    assert_eq!(value(&named)["spec"]["volumes"], Value::Null);
}

#[test]
fn what_keeps_a_pod_on_regular_nodes_keeps_data_caches_of_profiles_away() {
    for policy in ["PreferRegularNodes", "RegularNodesOnly"] {
        let placed = known(scene(&json!({"placement": {"policy": policy}})))
            .profile("data", &json!({"dataCaches": [{"name": "model-a", "mountPath": "/models/a"}]}));
        let said: Vec<_> = placed.decision().warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [format!(
                "the pod does not get the data caches of profile data: spec.placement.policy {policy} of profile p keeps the pod on regular nodes, at least at first, and only virtual nodes mount data caches"
            )]
        );
        assert_eq!(value(&placed)["spec"]["volumes"], Value::Null);
        assert_eq!(placed.second().changes, []);
    }
    // The pod's own annotation wins over such a profile.
    let mut own =
        asking("model-a=/a").profile("regular", &json!({"placement": {"policy": "RegularNodesOnly"}}));
    own.profiles.remove(0);
    assert_eq!((refusal(&own), own.decision().winners[&Field::Placement].clone()), (None, Winner::Pod));
    assert_eq!(own.second().changes, []);
}

#[test]
fn a_namespace_whose_pod_security_refuses_host_paths_is_named() {
    for (level, warned) in [("privileged", false), ("baseline", true), ("restricted", true)] {
        let mut scene = asking("model-a=/a");
        scene.namespace_labels.insert("pod-security.kubernetes.io/enforce".into(), level.into());
        assert_eq!(scene.decision().warnings.len(), usize::from(warned), "{level}");
    }
}
