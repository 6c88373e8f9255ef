//! Each policy puts pods where it says, on virtual nodes of every kind, and adds to what they say themselves.

use anyhow::{Result, ensure};
use eci_core::profile::PROFILES_ANNOTATION;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::Stack;
use eci_e2e::testbed::nodes;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::{
    CUSTOM, PATIENCE, SPOT, bare_pod, custom, has_effects, hostile, json_merge, policy, quiet, scene,
    template, tolerates,
};

/// What a pod says itself, by name: its policy, its words, and its node; none when there is none that it may have.
fn pods() -> Vec<(&'static str, &'static str, Value, Option<&'static str>)> {
    let at = |node: &str| json!({ "nodeSelector": { "kubernetes.io/hostname": node } });
    let terms = |terms: Value| {
        json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        } } })
    };
    let one_of =
        |nodes: &[&str]| json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": nodes });
    let mut anywhere = at("policies-ack");
    anywhere["tolerations"] = json!([{ "operator": "Exists" }]);
    let not = |(key, value): (&str, &str)| json!({ "key": key, "operator": "NotIn", "values": [value] });
    let no_virtual = json!([{ "matchExpressions": [not(nodes::ACK_LABEL), not(nodes::VNODE), not(CUSTOM)] }]);
    vec![
        ("virtual-ack", "VirtualNodesOnly", at("policies-ack"), Some("policies-ack")),
        ("virtual-vnode", "VirtualNodesOnly", at("policies-vnode"), Some("policies-vnode")),
        ("virtual-custom", "VirtualNodesOnly", at("policies-custom"), Some("policies-custom")),
        ("virtual-never-regular", "VirtualNodesOnly", at("policies-regular"), None),
        // One of its terms has to hold, as before.
        (
            "virtual-own-terms",
            "VirtualNodesOnly",
            terms(json!([
                { "matchExpressions": [one_of(&["policies-regular", "policies-vnode"])] },
                { "matchExpressions": [one_of(&["policies-ack"]), { "key": "nobody", "operator": "Exists" }] },
            ])),
            Some("policies-vnode"),
        ),
        // A term that asks for nothing matches no node, and does not begin to.
        ("virtual-empty-term", "VirtualNodesOnly", terms(json!([{}])), None),
        ("fair-ack", "Fair", at("policies-ack"), Some("policies-ack")),
        ("fair-vnode", "Fair", at("policies-vnode"), Some("policies-vnode")),
        ("fair-custom", "Fair", at("policies-custom"), Some("policies-custom")),
        ("fair-regular", "Fair", at("policies-regular"), Some("policies-regular")),
        // The virtual nodes are emptier, and a toleration of everything opens them.
        (
            "regular-tolerates",
            "RegularNodesOnly",
            json!({ "tolerations": [{ "operator": "Exists" }] }),
            Some("policies-regular"),
        ),
        ("regular-never-virtual", "RegularNodesOnly", anywhere, None),
        // The pod's own words about virtual nodes win over those of its profile.
        (
            "own-virtual",
            "RegularNodesOnly",
            json!({
                "nodeSelector": { (nodes::ACK_LABEL.0): nodes::ACK_LABEL.1 },
                "tolerations": [{ "key": nodes::ACK_TAINT.0, "operator": "Exists" }],
            }),
            Some("policies-ack"),
        ),
        ("own-regular", "VirtualNodesOnly", terms(no_virtual), Some("policies-regular")),
        // Bound from the beginning: nobody is asked where it goes.
        ("bound-virtual", "Fair", json!({ "nodeName": "policies-vnode" }), Some("policies-vnode")),
        (
            "bound-regular",
            "VirtualNodesOnly",
            json!({ "nodeName": "policies-regular" }),
            Some("policies-regular"),
        ),
    ]
}

fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    })
}

/// Whether everything that it said is still there.
fn keeps(words: &Value, pod: &Value) -> bool {
    match (words, pod) {
        (Value::Object(words), Value::Object(pod)) => {
            words.iter().all(|(key, value)| pod.get(key).is_some_and(|found| keeps(value, found)))
        }
        (Value::Array(words), Value::Array(pod)) => {
            words.iter().all(|value| pod.iter().any(|found| keeps(value, found)))
        }
        (words, pod) => words == pod,
    }
}

#[tokio::test]
async fn pods_go_where_their_policy_says_and_daemon_sets_stay_where_they_are() -> Result<()> {
    each_where_its_policy_says(quiet().await).await
}

#[tokio::test]
async fn pods_go_where_their_policy_says_beside_a_hostile_vendor() -> Result<()> {
    each_where_its_policy_says(hostile().await).await
}

async fn each_where_its_policy_says(stack: &Stack) -> Result<()> {
    let kinds =
        [nodes::virtual_node("policies-ack"), nodes::vnode("policies-vnode"), custom("policies-custom")];
    let client = scene(stack, "policies", 20, kinds.into()).await?;
    for word in ["Fair", "VirtualNodesOnly", "RegularNodesOnly"] {
        policy(&client, "policies", json!({ "policy": word })).await?;
    }
    for (name, word, spec, _) in pods() {
        let more = json!({ "metadata": { "labels": { "policy": word } }, "spec": spec });
        bare_pod(&client, "policies", name, &more).await?;
    }
    // The first tolerates nothing; the second everything, and excludes virtual nodes as the rule daemon-set says.
    let not = |(key, value): (&str, &str)| json!({ "key": key, "operator": "NotIn", "values": [value] });
    let everywhere = json!({
        "tolerations": [{ "operator": "Exists" }],
        "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
            { "matchExpressions": [not(nodes::ACK_LABEL), not(nodes::VNODE), not(CUSTOM)] },
        ] } } },
    });
    let daemons: Api<DaemonSet> = Api::namespaced(client.clone(), "policies");
    for (name, spec) in [("plain", json!({})), ("everywhere", everywhere)] {
        let mut daemon = template("policies");
        json_merge(
            &mut daemon,
            &json!({ "metadata": { "labels": { "app": name, "policy": "VirtualNodesOnly" } }, "spec": spec }),
        );
        let object = json!({
            "metadata": { "name": name },
            "spec": { "selector": { "matchLabels": { "app": name } }, "template": daemon },
        });
        daemons.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    }

    let api: Api<Pod> = Api::namespaced(client.clone(), "policies");
    for (name, word, words, node) in pods() {
        let pod = eventually(&format!("{name} is on {node:?}"), PATIENCE, || async {
            let pod = api.get(name).await.map_err(|error| error.to_string())?;
            let found = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            let settled = found.is_some() || is_unschedulable(&pod);
            if found.as_deref() == node && settled { Ok(pod) } else { Err(format!("{found:?}")) }
        })
        .await?;
        ensure!(keeps(&words, &serde_json::to_value(&pod.spec)?), "{name} lost {words}: {:?}", pod.spec);
        let spot = pod.annotations().contains_key(SPOT);
        match (name, word) {
            // Nothing of a profile about nodes, but what is said for virtual nodes.
            ("own-virtual" | "bound-virtual" | "bound-regular", _) => {
                let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
                ensure!(spot && affinity.is_none() && !tolerates(&pod), "{name}: {:?}", pod.spec);
            }
            ("own-regular", _) | (_, "RegularNodesOnly") => ensure!(!spot && !tolerates(&pod), "{name}"),
            _ => {
                ensure!(spot && tolerates(&pod), "{name}");
                has_effects(&pod)?;
            }
        }
    }
    for name in ["plain", "everywhere"] {
        eventually(&format!("the DaemonSet {name} is on the regular node alone"), PATIENCE, || async {
            let status =
                daemons.get(name).await.map_err(|error| error.to_string())?.status.unwrap_or_default();
            let here = (status.desired_number_scheduled, status.number_available);
            if here == (1, Some(1)) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await?;
        for pod in api.list(&ListParams::default().labels(&format!("app={name}"))).await?.items {
            let (annotations, labels) = (pod.annotations(), pod.labels());
            let touched = annotations.contains_key(PROFILES_ANNOTATION) || annotations.contains_key(SPOT);
            ensure!(!touched && !tolerates(&pod), "{name}: {annotations:?} {labels:?}");
            ensure!(pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some("policies-regular"));
        }
    }
    Ok(())
}
