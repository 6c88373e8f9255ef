//! The API server's pods and `decide` agree.
//!
//! What the API server makes of a pod that opted out is what `decide` is asked about; what it makes of the same pod that
//! did not must be what `decide` says.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use eci_core::profile::decide::{Moment, Namespace, World, decide};
use eci_core::profile::nodes::VirtualNodes;
use eci_core::profile::patch::patch;
use eci_core::profile::{Profile, Profiles};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{PATIENCE, make_namespace, mark, tried, write_profile};
use crate::eventually::eventually;
use crate::stack::NAMESPACE;

/// The namespace in which pods are tried.
const AGREEMENT: &str = "agreement";
/// In how many ways each part of a pod is made: labels tier and team, annotations, words about nodes, owner, containers.
const WAYS: [usize; 6] = [3, 3, 4, 4, 3, 2];
/// How many different pods there are.
pub const PODS: usize = 3 * 3 * 4 * 4 * 3 * 2;

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Pods.
    pub pods: usize,
    /// Those of them that profiles change.
    pub changed: usize,
}

/// Pods with all combinations of some labels, annotations, words about nodes, owners and containers.
fn pod(number: usize) -> Value {
    let mut rest = number;
    let [tier, team, annotated, placed, owned, init] = WAYS.map(|ways| {
        let way = rest % ways;
        rest /= ways;
        way
    });
    let mut pod = json!({
        "metadata": { "name": "tried", "labels": { "app": AGREEMENT } },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": "registry.example.com/web:1" }],
        },
    });
    let labels = &mut pod["metadata"]["labels"];
    if tier > 0 {
        labels["tier"] = json!(format!("t{tier}"));
    }
    if team > 0 {
        labels["team"] = json!(format!("t{team}"));
    }
    match annotated {
        1 => pod["metadata"]["annotations"] = json!({ "example.com/a": "own" }),
        2 => pod["metadata"]["annotations"] = json!({ "k8s.aliyun.com/eci-vswitch": "vsw-own" }),
        3 => pod["metadata"]["annotations"] = json!({ "k8s.aliyun.com/eci-spot-strategy": "NoSpot" }),
        _ => {}
    }
    match placed {
        1 => pod["spec"]["nodeSelector"] = json!({ "type": "virtual-kubelet" }),
        2 => pod["spec"]["tolerations"] = json!([{ "key": "other", "operator": "Exists" }]),
        3 => {
            pod["spec"]["affinity"] = json!({ "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                    { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a", "b"] }] },
                ] },
            } });
        }
        _ => {}
    }
    if owned > 0 {
        let kind = ["StatefulSet", "DaemonSet"][owned - 1];
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": kind, "name": "agent", "uid": "1", "controller": true,
        }]);
    }
    if init > 0 {
        pod["spec"]["initContainers"] = json!([{ "name": "init", "image": "registry.example.com/init:1" }]);
    }
    pod
}

/// What stays the same when a pod is made twice.
fn comparable(pod: &Pod) -> Result<Value> {
    let mut pod = pod.clone();
    pod.metadata.uid = None;
    pod.metadata.creation_timestamp = None;
    pod.metadata.managed_fields = None;
    Ok(serde_json::to_value(pod)?)
}

/// A cluster with profiles that overlap.
pub struct Agreement {
    pods: Api<Pod>,
    profiles: Profiles,
    world: World,
}

impl Agreement {
    /// Makes the namespace and the profiles, and waits until the webhook knows them.
    pub async fn prepare(client: &Client) -> Result<Self> {
        let pods = make_namespace(client, AGREEMENT, &json!({ "team": AGREEMENT })).await?;
        let mut ours = Vec::new();
        for (name, spec) in specs() {
            let made = write_profile(client, name, &spec).await?;
            ours.push(Profile::of(&made).context("a profile without a name")?);
        }
        // In the order of the chart's arguments.
        let known = VirtualNodes::default();
        let kinds = || known.kinds().iter().rev();
        let labels: Vec<_> = kinds().map(|kind| kind.label.clone()).collect();
        let taints: Vec<_> = kinds().map(|kind| kind.taint.clone()).collect();
        let world = World { nodes: VirtualNodes::of(&labels, &taints)?, ..World::default() };
        for (tier, wanted) in
            [("t1", "agree-regular@1,agree-spot@1,agree-base@1"), ("t2", "agree-prefer@1,agree-base@1")]
        {
            let mut probe = pod(0);
            probe["metadata"]["labels"]["tier"] = json!(tier);
            eventually(&format!("the webhook knows {wanted}"), PATIENCE, || async {
                let found = mark(&tried(&pods, &probe).await.map_err(|error| error.to_string())?);
                if found.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{found:?}")) }
            })
            .await?;
        }
        Ok(Self { pods, profiles: Profiles::new(ours, NAMESPACE), world })
    }

    /// Tries pods, of the first [`PODS`] one in `step`, each with the profiles and without. Fails at the first difference.
    pub async fn holds(&self, step: usize) -> Result<Tried> {
        let labels = BTreeMap::from([
            ("kubernetes.io/metadata.name".to_owned(), AGREEMENT.to_owned()),
            ("team".to_owned(), AGREEMENT.to_owned()),
        ]);
        let namespace = Namespace { name: AGREEMENT, labels: &labels };
        let mut all = Tried::default();
        for template in (0..PODS).step_by(step.max(1)).map(pod) {
            // What the API server itself makes of it: the one label keeps everybody away.
            let mut opted_out = template.clone();
            opted_out["metadata"]["labels"]["eci-operator.io/inject"] = json!("disabled");
            let mut before = tried(&self.pods, &opted_out).await?;
            before.metadata.labels.as_mut().context("labels")?.remove("eci-operator.io/inject");
            let decision = decide(&self.profiles, &self.world, namespace, &before, Moment::Creation);
            let mut wanted = comparable(&before)?;
            let operations = serde_json::to_value(patch(&before, &decision.changes))?;
            let operations: json_patch::Patch = serde_json::from_value(operations)?;
            json_patch::patch(&mut wanted, &operations)?;
            let wanted = comparable(&serde_json::from_value(wanted)?)?;
            let found = comparable(&tried(&self.pods, &template).await?)?;
            ensure!(found == wanted, "of {template:#}\ndecide: {wanted:#}\nthe API server: {found:#}");
            all.pods += 1;
            all.changed += usize::from(!decision.changes.is_empty());
        }
        Ok(all)
    }
}

/// Profiles that add up, take the lead over each other, and select by labels that others give.
fn specs() -> [(&'static str, Value); 4] {
    let in_namespace = json!({ "matchLabels": { "team": AGREEMENT } });
    [
        (
            "agree-base",
            json!({
                "priority": -10,
                "selector": { "namespaceSelector": in_namespace },
                "placement": { "policy": "Fair" },
                "network": { "vSwitchIDs": ["vsw-base"], "securityGroupIDs": ["sg-base"] },
                "effects": { "annotations": { "example.com/a": "base", "example.com/b": "base" } },
            }),
        ),
        (
            "agree-spot",
            json!({
                "selector": { "namespaceSelector": in_namespace, "podSelector": { "matchLabels": { "tier": "t1" } } },
                "placement": { "policy": "VirtualNodesOnly" },
                "spot": { "strategy": "SpotAsPriceGo", "fallback": "PayAsYouGo", "release": "Evict" },
                "effects": { "labels": { "team": "t2" } },
            }),
        ),
        (
            "agree-regular",
            json!({
                "priority": 5,
                "selector": { "namespaceSelector": in_namespace, "podSelector": { "matchExpressions": [
                    { "key": "team", "operator": "In", "values": ["t2"] },
                    { "key": "tier", "operator": "NotIn", "values": ["t2"] }] } },
                "placement": { "policy": "RegularNodesOnly" },
                "imageCache": { "mode": "None" },
            }),
        ),
        (
            "agree-prefer",
            json!({
                "priority": 9,
                "selector": { "namespaceSelector": in_namespace, "podSelector": { "matchLabels": { "tier": "t2" } } },
                "placement": { "policy": "PreferRegularNodes" },
                "instance": { "candidates": [{ "cpu": "2", "memory": "4Gi" }] },
            }),
        ),
    ]
}
