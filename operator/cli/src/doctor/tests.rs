use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::checks::*;
use super::*;
use crate::findings::{Finding, Severity};

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn node(name: &str, label: &str, provider_id: &str) -> Node {
    object(
        json!({ "metadata": { "name": name, "labels": { "type": label } }, "spec": { "providerID": provider_id } }),
    )
}

fn pod(name: &str, node: &str, more: &Value) -> Pod {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "shop", "labels": { "app": "web" } },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "web:1" }] },
    });
    json_patch::merge(&mut pod, more);
    object(pod)
}

fn facts(pods: Vec<Pod>, profiles: &[Value]) -> Facts {
    let profiles = profiles.iter().map(|value| object::<EciProfile>(value.clone()));
    Facts {
        profiles: Profiles::new(profiles.collect::<Vec<_>>().iter().filter_map(Profile::of), "eci-operator"),
        world: World::default(),
        namespaces: [("shop".to_owned(), [("team".to_owned(), "web".to_owned())].into())].into(),
        nodes: vec![node("virtual-1", "virtual-kubelet", ""), node("regular", "worker", "")],
        pods,
    }
}

fn profile() -> Value {
    json!({
        "metadata": { "name": "p" },
        "spec": { "selector": { "podSelector": { "matchLabels": { "app": "web" } } }, "placement": { "policy": "Fair" } },
    })
}

fn of(check: &str, facts: &Facts) -> Vec<Finding> {
    checks::pods(facts)
        .into_iter()
        .filter(|(rule, _)| rule.name == check)
        .flat_map(|(_, found)| found)
        .collect()
}

#[test]
fn pods_on_virtual_nodes_and_pods_that_may_go_there_are_judged_once_for_each_workload() {
    let host_path = json!({ "spec": { "volumes": [{ "name": "v", "hostPath": { "path": "/var/log" } }] } });
    let owned = |name: &str, node: &str| {
        let mut pod = pod(name, node, &host_path);
        pod.metadata.owner_references = Some(vec![object(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true,
        }))]);
        pod
    };
    let virtual_pods = facts(vec![owned("db-0", "virtual-1"), owned("db-1", "virtual-1")], &[]);
    let found = of("host-path", &virtual_pods);
    assert_eq!((found.len(), found[0].object.as_str()), (1, "StatefulSet shop/db (2 pods)"));
    assert_eq!(found[0].severity, Severity::Error);
    assert!(found[0].remedy.contains("emptyDir"), "{found:?}");
    assert!(of("host-path", &facts(vec![owned("db-0", "regular")], &[])).is_empty());
    assert_eq!(of("host-path", &facts(vec![owned("db-0", "regular")], &[profile()])).len(), 1);
    // Where the scheduler put a pod is no wish of the pod.
    let claim =
        json!({ "spec": { "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }] } });
    assert!(of("late-binding", &facts(vec![pod("a", "virtual-1", &claim)], &[])).is_empty());
    let nas = json!({ "spec": { "securityContext": { "fsGroup": 1 }, "volumes": [{ "name": "v", "csi": { "driver": "nasplugin.csi.alibabacloud.com" } }] } });
    let found = of("nas-ownership", &facts(vec![pod("a", "virtual-1", &nas)], &[]));
    assert!(
        found[0].severity == Severity::Warning && found[0].remedy.contains("OnRootMismatch"),
        "{found:?}"
    );
}

#[test]
fn daemon_sets_and_node_ports_are_found() {
    let set = |spec: Value| {
        object::<DaemonSet>(json!({ "metadata": { "name": "logs", "namespace": "kube-system" },
            "spec": { "selector": {}, "template": { "spec": spec } } }))
    };
    let tolerates = set(json!({ "containers": [], "tolerations": [{ "operator": "Exists" }] }));
    let found = daemon_sets(&[tolerates], &facts(Vec::new(), &[]));
    assert_eq!(found[0].object, "DaemonSet kube-system/logs");
    assert!(daemon_sets(&[set(json!({ "containers": [] }))], &facts(Vec::new(), &[])).is_empty());

    let service = |kind: &str, app: &str| {
        object::<Service>(json!({ "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "type": kind, "selector": { "app": app } } }))
    };
    let on_virtual = facts(vec![pod("a", "virtual-1", &json!({}))], &[]);
    assert_eq!(services(&[service("NodePort", "web")], &on_virtual).len(), 1);
    assert!(services(&[service("NodePort", "db"), service("LoadBalancer", "web")], &on_virtual).is_empty());
    assert_eq!(services(&[service("NodePort", "web")], &facts(Vec::new(), &[profile()])).len(), 1);
}

#[test]
fn pulls_that_fail_for_want_of_trust_are_found() {
    let waiting = |message: &str| {
        json!({ "status": { "containerStatuses": [{ "name": "main", "image": "r.example.com/web:1", "imageID": "", "ready": false,
            "restartCount": 0, "state": { "waiting": { "reason": "ErrImagePull", "message": message } } }] } })
    };
    for (message, found) in [
        ("x509: certificate signed by unknown authority", 1),
        ("http: server gave HTTP response to HTTPS client", 1),
        ("manifest unknown", 0),
    ] {
        let here = facts(vec![pod("a", "virtual-1", &waiting(message))], &[]);
        assert_eq!(registries(&here).len(), found, "{message}");
        assert!(registries(&facts(vec![pod("a", "regular", &waiting(message))], &[])).is_empty());
    }
}

#[test]
fn metrics_servers_are_judged_by_their_version() {
    let deployment = |image: &str| {
        object::<Deployment>(json!({ "metadata": { "name": "metrics-server", "namespace": "kube-system" },
            "spec": { "selector": {}, "template": { "spec": { "containers": [{ "name": "main", "image": image }] } } } }))
    };
    for (image, found) in [
        ("registry.example.com:5000/metrics-server:v0.6.4", 1),
        ("metrics-server:v0.10.0@sha256:00", 1),
        ("metrics-server:v1.0", 1),
        ("metrics-server:v0.5.2", 0),
        ("metrics-server:latest", 0),
        ("registry.example.com:5000/metrics-server", 0),
    ] {
        assert_eq!(metrics(&[deployment(image)], &facts(Vec::new(), &[])).len(), found, "{image}");
    }
    let without = Facts { nodes: Vec::new(), ..facts(Vec::new(), &[]) };
    assert!(metrics(&[deployment("metrics-server:v0.6.4")], &without).is_empty());
}

#[test]
fn provider_ids_matter_beside_a_cloud_controller_manager_only() {
    let mut manager = pod("cloud-controller-manager-1", "regular", &json!({}));
    manager.metadata.namespace = Some("kube-system".to_owned());
    for (id, found) in [
        ("cn-shanghai.i-example", 0),
        ("alicloud://cn-shanghai.i-example", 0),
        ("", 1),
        ("i-example", 1),
        ("cn-shanghai.", 1),
        ("kind://docker/kind/control-plane", 1),
    ] {
        let nodes = vec![node("regular", "worker", id), node("virtual-1", "virtual-kubelet", "")];
        let with = Facts { nodes: nodes.clone(), ..facts(vec![manager.clone()], &[]) };
        assert_eq!(provider_ids(&with).len(), found, "{id}");
        assert!(provider_ids(&Facts { nodes, ..facts(Vec::new(), &[]) }).is_empty(), "{id}");
    }
}

#[test]
fn what_the_vendor_has_beside_us_is_found() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let configurations = [
        ("vk-webhook".to_owned(), Vec::new()),
        ("other".to_owned(), names(&["eci-profile.eci.aliyun.com"])),
        ("ours".to_owned(), names(&["pods.eci-operator.io"])),
    ];
    let found =
        vendors(&names(&["selectors.eci.aliyun.com", "imagecaches.eci-operator.io"]), &configurations);
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn budgets_that_never_allow_are_found_when_pods_on_virtual_nodes_have_them() {
    let budget = |desired: i32| {
        object::<PodDisruptionBudget>(json!({ "metadata": { "name": "b", "namespace": "shop" },
            "spec": { "selector": { "matchLabels": { "app": "web" } } },
            "status": { "currentHealthy": 2, "desiredHealthy": desired, "disruptionsAllowed": 0, "expectedPods": 2 } }))
    };
    let on = |node: &str| facts(vec![pod("a", node, &json!({}))], &[]);
    assert_eq!(budgets(&[budget(2)], &on("virtual-1")).len(), 1);
    assert!(budgets(&[budget(1)], &on("virtual-1")).is_empty());
    assert!(budgets(&[budget(2)], &on("regular")).is_empty());
}

#[test]
fn every_rule_is_a_check() {
    for (name, kind) in [(DAEMON_SET, "DaemonSet"), (NODE_PORT, "Service")] {
        assert!(RULES.iter().any(|rule| rule.name == name && rule.kind == kind));
    }
    assert!(RULES.iter().all(|rule| rule.kind == "Pod" || [DAEMON_SET, NODE_PORT].contains(&rule.name)));
}

#[test]
fn a_cache_in_the_cloud_that_no_object_knows_is_told_of_once() {
    let resource = |id: &str, uid: &str| tags::Resource {
        kind: "ImageCache",
        id: id.to_owned(),
        tags: [("uid", uid), ("namespace", "shop"), ("name", "web")]
            .into_iter()
            .map(|(key, value)| (format!("eci-operator.io/{key}"), value.to_owned()))
            .collect(),
    };
    let object = |uid: &str, ids: &[&str], busy| tags::Object {
        uid: uid.to_owned(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        busy,
    };
    let objects = [object("u-1", &["imc-1"], false), object("u-2", &[], true), object("", &[], false)];
    for (resource, expected) in [
        (resource("imc-1", "u-1"), None),
        // A copy of this cluster has the same UIDs.
        (resource("imc-2", "u-1"), Some("whose status does not know it")),
        (resource("imc-3", "u-2"), None),
        (resource("imc-4", "u-9"), Some("which this cluster has not")),
        (resource("imc-5", ""), Some("which this cluster has not")),
    ] {
        let found = tags::findings("cluster-a", std::slice::from_ref(&resource), &objects);
        assert_eq!(found.len(), usize::from(expected.is_some()), "{resource:?}");
        if let (Some(found), Some(expected)) = (found.first(), expected) {
            assert!(found.what.contains("ImageCache shop/web") && found.what.contains(expected), "{found:?}");
            assert_eq!(found.severity, Severity::Warning);
            assert!(found.remedy.contains("cluster-a") && found.remedy.contains("--cluster-id"), "{found:?}");
        }
    }
}

#[test]
fn a_claim_of_a_nas_volume_is_found_behind_its_name() {
    let volumes = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    let pod = pod(
        "a",
        "virtual-1",
        &json!({ "spec": { "securityContext": { "fsGroup": 1 }, "volumes": volumes } }),
    );
    let mut facts = facts(vec![pod], &[]);
    assert!(of("nas-ownership", &facts).is_empty());
    let known = eci_core::profile::claims::ClaimFacts { late: Some(false), nas: true };
    facts.world.claims.insert(("shop".to_owned(), "data".to_owned()), known);
    assert_eq!(of("nas-ownership", &facts).len(), 1);
}
