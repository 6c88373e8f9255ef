use eci_core::profile::claims::ClaimFacts;
use eci_core::profile::decide::{Denial, Namespace};
use eci_core::profile::nodes::VirtualNodes;
use eci_core::profile::rules::{
    Finding, Mode, RULES, Rule, RuleSettings, RuleSettingsError, daemon_set, service,
};
use eci_core::profile::{Labels, Profiles};
use serde_json::{Value, json};

use crate::scene::{Scene, scene};

/// A pod that may run on virtual nodes.
fn virtual_pod(more: &Value) -> Scene {
    scene(&json!({"placement": {"policy": "Fair"}})).pod(more)
}

fn found(scene: &Scene) -> Vec<&'static str> {
    scene.decision().rules.iter().map(|finding| finding.rule.name()).collect()
}

fn one(container: &Value) -> Value {
    let mut whole = json!({"name": "main", "image": "nginx"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    json!({"spec": {"containers": [whole]}})
}

fn affinity(key: &str, required: bool) -> Value {
    let term = json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": "web"}}});
    let (name, term) = if required {
        ("requiredDuringSchedulingIgnoredDuringExecution", term)
    } else {
        ("preferredDuringSchedulingIgnoredDuringExecution", json!({"weight": 1, "podAffinityTerm": term}))
    };
    json!({"spec": {"affinity": {"podAntiAffinity": {name: [term]}}}})
}

fn spread(key: &str, when: &str) -> Value {
    json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when}]}})
}

fn labelled(spec: &Value) -> Value {
    json!({"metadata": {"labels": {"alibabacloud.com/eci": "true"}}, "spec": spec})
}

#[test]
fn each_rule_finds_what_virtual_nodes_cannot_do_and_nothing_else() {
    let containers = |count: usize| {
        let all: Vec<_> = (0..count).map(|i| json!({"name": format!("c{i}"), "image": "nginx"})).collect();
        json!({"spec": {"containers": all}})
    };
    let sidecar = json!({"name": "s", "image": "s", "restartPolicy": "Always"});
    let init = json!({"name": "i", "image": "i"});
    let with_init = |init: Value| {
        let mut pod = containers(20);
        pod["spec"]["initContainers"] = json!([init]);
        pod
    };
    let host_path = json!({"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}]});
    let bucket = json!({"metadata": {"annotations": {"k8s.aliyun.com/eci-data-cache-bucket": "default"}}, "spec": host_path});
    let claim = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]});
    let ephemeral =
        json!({"volumes": [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]});
    let nas = |context: Value, volume: Value| {
        let mut volume = volume;
        volume["name"] = json!("nas");
        json!({"spec": {"securityContext": context, "volumes": [volume]}})
    };
    let nfs = json!({"nfs": {"server": "s", "path": "/"}});
    let csi = json!({"csi": {"driver": "nasplugin.csi.alibabacloud.com"}});
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &[]),
        (json!({"spec": host_path}), &["host-path"]),
        (bucket, &[]),
        (json!({"spec": {"hostNetwork": true}}), &["host-network"]),
        (json!({"spec": {"hostNetwork": false}}), &[]),
        (one(&json!({"ports": [{"containerPort": 80, "hostPort": 80}]})), &["host-network"]),
        (one(&json!({"ports": [{"containerPort": 80}]})), &[]),
        (json!({"spec": {"hostPID": true}}), &["host-namespaces"]),
        (json!({"spec": {"hostIPC": true}}), &["host-namespaces"]),
        (one(&json!({"securityContext": {"privileged": true}})), &["privileged"]),
        (one(&json!({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}})), &[]),
        (containers(20), &[]),
        (containers(21), &["container-count"]),
        (with_init(init), &[]),
        (with_init(sidecar), &["container-count"]),
        (affinity("kubernetes.io/hostname", true), &["host-anti-affinity"]),
        (affinity("kubernetes.io/hostname", false), &[]),
        (affinity("topology.kubernetes.io/zone", true), &[]),
        (spread("kubernetes.io/hostname", "DoNotSchedule"), &["topology-spread"]),
        (spread("kubernetes.io/hostname", "ScheduleAnyway"), &[]),
        (spread("topology.kubernetes.io/zone", "DoNotSchedule"), &[]),
        (labelled(&json!({"nodeSelector": {"zone": "a"}})), &["label-overrides"]),
        (labelled(&json!({"affinity": {"nodeAffinity": {}}})), &["label-overrides"]),
        (labelled(&spread("topology.kubernetes.io/zone", "ScheduleAnyway")["spec"]), &["label-overrides"]),
        (labelled(&json!({})), &[]),
        (labelled(&claim), &["late-binding"]),
        (labelled(&ephemeral), &["late-binding"]),
        (json!({"spec": claim}), &[]),
        (
            json!({"spec": {"nodeName": "n", "nodeSelector": {"type": "virtual-kubelet"}, "volumes": claim["volumes"]}}),
            &["late-binding"],
        ),
        (nas(json!({"fsGroup": 1000}), nfs.clone()), &["nas-ownership"]),
        (nas(json!({"fsGroup": 1000, "fsGroupChangePolicy": "Always"}), csi), &["nas-ownership"]),
        (nas(json!({"fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"}), nfs.clone()), &[]),
        (nas(json!({"runAsUser": 1000}), nfs), &[]),
        (nas(json!({"fsGroup": 1000}), json!({"emptyDir": {}})), &[]),
        (one(&json!({"image": "registry.cn-beijing.aliyuncs.com/a/b:1"})), &["public-registry"]),
        (one(&json!({"image": "registry-vpc.cn-beijing.aliyuncs.com/a/b:1"})), &[]),
    ];
    for (pod, expected) in cases {
        assert_eq!(found(&virtual_pod(&pod)), expected, "{pod}");
    }
}

#[test]
fn what_is_known_of_a_claim_makes_a_warning_certain_or_takes_it_away() {
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    let late = labelled(&json!({"volumes": claim}));
    let nas = json!({"spec": {"securityContext": {"fsGroup": 1000}, "volumes": claim}});
    let said = |pod: &Value, namespace: &str, facts: Option<ClaimFacts>| {
        let mut scene = virtual_pod(pod);
        let key = (namespace.to_owned(), "data".to_owned());
        scene.world.claims.extend(facts.map(|facts| (key, facts)));
        scene.decision().rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let facts = |late, nas| Some(ClaimFacts { late, nas });
    assert!(said(&late, "shop", None).contains("never comes if its StorageClass"));
    assert!(said(&late, "shop", facts(None, false)).contains("never comes if its StorageClass"));
    assert!(said(&late, "shop", facts(Some(true), false)).contains("never comes for its StorageClass"));
    assert_eq!(said(&late, "shop", facts(Some(false), false)), "");
    assert!(
        said(&late, "other", facts(Some(false), false)).contains("never comes if"),
        "of another namespace"
    );
    assert_eq!(said(&nas, "shop", None), "");
    assert_eq!(said(&nas, "shop", facts(Some(false), false)), "");
    assert!(said(&nas, "shop", facts(Some(false), true)).starts_with("nas-ownership: "));
    let mut keeps = nas.clone();
    keeps["spec"]["securityContext"]["fsGroupChangePolicy"] = json!("OnRootMismatch");
    assert_eq!(said(&keeps, "shop", facts(Some(false), true)), "");
}

#[test]
fn a_spot_pod_is_told_the_size_that_it_pays_for() {
    let spot = |requests: Value, specs: Option<&str>| {
        let mut pod = one(&json!({"resources": {"requests": requests}}));
        pod["metadata"]["annotations"] = json!({"k8s.aliyun.com/eci-spot-strategy": "SpotAsPriceGo"});
        if let Some(specs) = specs {
            pod["metadata"]["annotations"]["k8s.aliyun.com/eci-use-specs"] = json!(specs);
        }
        virtual_pod(&pod).decision().rules.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let asks = |cpu: &str, memory: &str| spot(json!({"cpu": cpu, "memory": memory}), None);
    let nothing = Vec::<String>::new();
    assert_eq!(asks("2", "4Gi"), nothing);
    assert_eq!(spot(json!({}), None), nothing, "it says nothing of its size");
    assert_eq!(
        asks("500m", "1Gi"),
        [
            "spot-size: the pod asks for 0.5 vCPU and 1 GiB, and spot instances by vCPU and memory begin at 2 vCPU: it is billed as 2 vCPU and 2 GiB: ask for 2 vCPU, or name instance types (spec.instance.candidates, annotation eci-use-specs)"
        ]
    );
    assert_eq!(
        asks("3", "4Gi"),
        [
            "spot-rounding: the pod asks for 3 vCPU and 4 GiB, which is billed as 4 vCPU and 4 GiB: ask for a size of the table, or name instance types"
        ]
    );
    assert!(asks("65", "4Gi")[0].contains("more than the largest size"));
    assert_eq!(spot(json!({"cpu": "500m"}), Some("ecs.c6.large,2-4Gi")), nothing);
    assert!(
        spot(json!({}), Some("1-2Gi"))[0].starts_with("spot-size: annotation k8s.aliyun.com/eci-use-specs")
    );
    assert!(
        spot(json!({}), Some("2-4Gi,2-3Gi"))[0]
            .contains(r#"asks for "2-3Gi", which is billed as 2 vCPU and 4 GiB"#)
    );
    let regular = one(&json!({"resources": {"requests": {"cpu": "500m"}}}));
    assert_eq!(found(&virtual_pod(&regular)), Vec::<&str>::new());
}

#[test]
fn rules_are_for_pods_that_may_go_to_virtual_nodes() {
    let bad = json!({"spec": {"hostNetwork": true}});
    let with = |spec: &Value| scene(spec).pod(&bad);
    for (spec, counts) in [
        (json!({}), false),
        (json!({"placement": {"policy": "RegularNodesOnly"}}), false),
        (json!({"placement": {"policy": "Fair"}}), true),
        (json!({"placement": {"policy": "VirtualNodesOnly"}}), true),
        (json!({"placement": {"policy": "PreferRegularNodes"}}), true),
        (json!({"placement": {"policy": "Fair", "limits": {"pods": 1}}}), true),
    ] {
        assert_eq!(!found(&with(&spec)).is_empty(), counts, "{spec}");
    }
    let mut own = with(&json!({})).pod(&json!({"spec": {"hostNetwork": true,
        "tolerations": [{"key": "k8s.aliyun.com/vnode", "operator": "Exists"}]}}));
    own.profiles.clear();
    assert_eq!(found(&own), ["host-network"], "by its own words, without a profile");
    own.pod
        .metadata
        .labels
        .get_or_insert_default()
        .insert("eci-operator.io/inject".into(), "disabled".into());
    assert_eq!(found(&own), Vec::<&str>::new(), "it opted out");
    let fixed = with(&json!({"placement": {"policy": "Fair"}}))
        .pod(&json!({"spec": {"hostNetwork": true, "nodeName": "n"}}));
    assert_eq!(found(&fixed), Vec::<&str>::new(), "a static pod of any node");
}

#[test]
fn a_rule_denies_warns_or_is_silent_as_it_is_set() {
    let mut scene = virtual_pod(&json!({"spec": {"hostNetwork": true, "hostPID": true}}));
    let set = |settings: &[&str]| RuleSettings::parse(settings.iter().copied()).unwrap();
    scene.world.rules = set(&["host-network=deny", "host-namespaces=off"]);
    let decision = scene.decision();
    assert_eq!(found(&scene), ["host-network"]);
    assert_eq!(
        decision.denial.map(|denial| denial.to_string()).as_deref(),
        Some(
            "host-network: hostNetwork is true, and virtual nodes have no network of a host: take it out, and use a Service of the type LoadBalancer to be reached from outside"
        )
    );
    scene.world.rules = set(&["host-namespaces=deny", "host-network=deny"]);
    assert!(matches!(scene.decision().denial, Some(Denial::Rules(all)) if all.len() == 2));
    scene.world.rules = set(&["host-network=warn"]);
    assert_eq!(scene.decision().denial, None);
}

#[test]
fn settings_name_rules_that_exist() {
    let error = |settings: &[&str]| RuleSettings::parse(settings.iter().copied()).unwrap_err();
    assert!(matches!(error(&["hostpath=deny"]), RuleSettingsError::Unknown(_)));
    assert!(error(&["x=deny"]).to_string().contains("the rules are host-path, host-network"));
    for bad in ["", "host-path", "host-path=", "host-path=Deny", "host-path=deny=x"] {
        assert!(matches!(error(&[bad]), RuleSettingsError::Syntax(_)), "{bad}");
    }
    assert_eq!(error(&["host-path=deny", "host-path=warn"]), RuleSettingsError::Twice("host-path"));
    for rule in RULES {
        let setting = format!("{}=deny", rule.name);
        assert_eq!(RuleSettings::parse([setting.as_str()]).unwrap().mode(rule.id), Mode::Deny);
    }
}

#[test]
fn daemon_sets_that_would_come_to_virtual_nodes_are_found() {
    let check = |spec: &Value| -> Vec<Finding> {
        let set = json!({"metadata": {"name": "logs"}, "spec": {"selector": {}, "template": {"spec": spec}}});
        daemon_set(&serde_json::from_value(set).unwrap(), &VirtualNodes::default(), &RuleSettings::default())
    };
    let all = json!([{"operator": "Exists"}]);
    let terms = |expressions: Value| {
        json!({"containers": [], "tolerations": all, "affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}}}})
    };
    let not_in = |key: &str, value: &str| json!({"key": key, "operator": "NotIn", "values": [value]});
    for (spec, count) in [
        (json!({"containers": []}), 0),
        (json!({"containers": [], "tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}), 0),
        (json!({"containers": [], "tolerations": all}), 1),
        (
            json!({"containers": [], "tolerations": [{"key": "k8s.aliyun.com/vnode", "operator": "Exists"}]}),
            1,
        ),
        (terms(json!([not_in("type", "virtual-kubelet")])), 1),
        (terms(json!([not_in("type", "virtual-kubelet"), not_in("k8s.aliyun.com/vnode", "true")])), 0),
        (
            json!({"containers": [], "tolerations": all, "nodeSelector": {"type": "gpu", "k8s.aliyun.com/vnode": "no"}}),
            0,
        ),
        (json!({"containers": [], "tolerations": all, "nodeSelector": {"kubernetes.io/os": "linux"}}), 1),
    ] {
        assert_eq!(check(&spec).len(), count, "{spec}");
    }
    let said = check(&json!({"containers": [], "tolerations": all}))[0].to_string();
    assert!(said.contains("type NotIn [virtual-kubelet] and k8s.aliyun.com/vnode NotIn [true]"), "{said}");
}

#[test]
fn node_ports_are_found_when_a_profile_may_send_their_pods_to_virtual_nodes() {
    let fair =
        |selector: Value| json!({"selector": {"podSelector": selector}, "placement": {"policy": "Fair"}});
    let app = |value: &str| json!({"matchLabels": {"app": value}});
    let check = |profile: &Value, selector: &Value, type_: &str, namespace: &[(&str, &str)]| {
        let scene = scene(profile);
        let labels: Labels = namespace.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let object = json!({"spec": {"type": type_, "selector": selector}});
        service(
            &serde_json::from_value(object).unwrap(),
            Namespace { name: "shop", labels: &labels },
            &Profiles::new(scene.profiles, "eci-system"),
            &RuleSettings::default(),
        )
        .len()
    };
    let web = json!({"app": "web"});
    assert_eq!(check(&fair(app("web")), &web, "NodePort", &[]), 1);
    assert_eq!(check(&fair(app("web")), &web, "ClusterIP", &[]), 0);
    assert_eq!(check(&fair(app("web")), &web, "LoadBalancer", &[]), 0);
    assert_eq!(check(&fair(app("web")), &json!({"app": "db"}), "NodePort", &[]), 0);
    assert_eq!(check(&fair(app("web")), &json!({"tier": "a"}), "NodePort", &[]), 1, "app may be anything");
    assert_eq!(check(&fair(app("web")), &json!({}), "NodePort", &[]), 0, "endpoints by hand");
    let never = json!({"placement": {"policy": "RegularNodesOnly"}});
    assert_eq!(check(&never, &web, "NodePort", &[]), 0);
    assert_eq!(check(&never, &web, "NodePort", &[("alibabacloud.com/eci", "true")]), 1);
    assert_eq!(check(&never, &web, "NodePort", &[("eci-operator.io/inject", "disabled")]), 0);
    let audited = json!({"mode": "Audit", "placement": {"policy": "Fair"}});
    assert_eq!(check(&audited, &web, "NodePort", &[]), 0);
}

/// The page is this table. `ECI_WRITE_DOCS=1` writes it.
#[test]
fn every_rule_is_in_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rules.md");
    let mut page = String::from(
        "# Rules: what virtual nodes cannot run\n\n\
         Each rule has a name that never changes, and one of the modes `off`, `warn` (when it is not set) and `deny`.\n\
         Rules about pods count for those that may run on virtual nodes: by a profile, by their own words, or because they\n\
         mount data caches.\n\n\
         | rule | looks at | finds | why | instead |\n| --- | --- | --- | --- | --- |\n",
    );
    let row = |rule: &Rule| {
        let Rule { name, kind, finds, why, instead, .. } = rule;
        format!("| `{name}` | {kind} | {finds} | {why} | {instead} |\n")
    };
    page.extend(RULES.iter().map(row));
    if std::env::var_os("ECI_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "run this test with ECI_WRITE_DOCS=1");
}
