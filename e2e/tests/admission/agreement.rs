//! The API server's pods and `decide` agree, on random pods, with and without a hostile vendor's webhook.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_core::profile::decide::{Moment, Namespace, World, decide};
use eci_core::profile::nodes::VirtualNodes;
use eci_core::profile::patch::patch;
use eci_core::profile::{Profile, Profiles};
use eci_e2e::stack::NAMESPACE;
use eci_e2e::vendor::{Behaviour, Vendor};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{marked, namespace, pod, profile, shared, tried};

/// How many random pods are tried, each of them twice.
const PODS: usize = 150;

/// A pod with some labels, annotations and words about nodes.
fn random(runner: &mut TestRunner) -> Result<Value> {
    let draw = (0..3_u8, 0..3_u8, 0..4_u8, 0..4_u8, 0..3_u8, proptest::bool::ANY);
    let tree = draw.new_tree(runner).map_err(|reason| anyhow::anyhow!("{reason}"))?;
    let (tier, team, annotated, placed, owned, init) = tree.current();
    let mut pod = pod("random", "agreement");
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
    if owned == 1 {
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "1", "controller": true,
        }]);
    }
    if init {
        pod["spec"]["initContainers"] = json!([{ "name": "init", "image": "registry.example.com/init:1" }]);
    }
    Ok(pod)
}

/// What stays the same when a pod is made twice.
fn comparable(pod: &Pod) -> Result<Value> {
    let mut pod = pod.clone();
    pod.metadata.uid = None;
    pod.metadata.creation_timestamp = None;
    pod.metadata.managed_fields = None;
    Ok(serde_json::to_value(pod)?)
}

async fn differences(pods: &Api<Pod>, profiles: &Profiles, runner: &mut TestRunner) -> Result<usize> {
    let labels = BTreeMap::from([
        ("kubernetes.io/metadata.name".to_owned(), "agreement".to_owned()),
        ("team".to_owned(), "agreement".to_owned()),
    ]);
    // In the order of the chart's arguments.
    let kinds = VirtualNodes::default().kinds().iter().rev().cloned().collect();
    let world = World { nodes: VirtualNodes::new(kinds), ..World::default() };
    let mut changed = 0;
    for _ in 0..PODS {
        let template = random(runner)?;
        // What the API server itself makes of it: the one label keeps everybody away.
        let mut opted_out = template.clone();
        opted_out["metadata"]["labels"]["eci-operator.io/inject"] = json!("disabled");
        let mut before = tried(pods, &opted_out).await?;
        before.metadata.labels.as_mut().context("labels")?.remove("eci-operator.io/inject");
        let namespace = Namespace { name: "agreement", labels: &labels };
        let decision = decide(profiles, &world, namespace, &before, Moment::Creation);
        let mut wanted = comparable(&before)?;
        let operations = serde_json::to_value(patch(&before, &decision.changes))?;
        let operations: json_patch::Patch = serde_json::from_value(operations)?;
        json_patch::patch(&mut wanted, &operations)?;
        let wanted = comparable(&serde_json::from_value(wanted)?)?;
        let found = comparable(&tried(pods, &template).await?)?;
        ensure!(found == wanted, "of {template:#}\ndecide: {wanted:#}\nthe API server: {found:#}");
        changed += usize::from(!decision.changes.is_empty());
    }
    Ok(changed)
}

#[tokio::test]
async fn random_pods_come_out_as_decide_says_also_beside_a_hostile_vendor() -> Result<()> {
    let stack = shared().await;
    let client = stack.client()?;
    let pods = namespace(&client, "agreement", json!({ "team": "agreement" })).await?;
    let in_namespace = json!({ "matchLabels": { "team": "agreement" } });
    let specs = [
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
    ];
    let mut ours = Vec::new();
    for (name, spec) in specs {
        let made = profile(&client, name, spec).await?;
        ours.push(Profile::of(&made).context("a name")?);
    }
    let mut template = pod("all", "agreement");
    template["metadata"]["labels"]["tier"] = json!("t1");
    marked(&pods, &template, Some("agree-regular@1,agree-spot@1,agree-base@1")).await?;
    template["metadata"]["labels"]["tier"] = json!("t2");
    marked(&pods, &template, Some("agree-prefer@1,agree-base@1")).await?;
    // Profiles of other tests select by labels that these pods do not have.
    let listed: Api<EciProfile> = Api::all(client.clone());
    ensure!(listed.list(&ListParams::default()).await?.items.len() >= ours.len());
    let profiles = Profiles::new(ours, NAMESPACE);
    let mut runner = TestRunner::deterministic();
    let changed = differences(&pods, &profiles, &mut runner).await?;
    ensure!(changed > PODS / 2, "only {changed} of {PODS} pods were changed at all");
    let vendor = Vendor::start(stack.plane(), Behaviour::HOSTILE).await?;
    differences(&pods, &profiles, &mut runner).await?;
    drop(vendor);
    println!("{} random pods, no difference", 2 * PODS);
    Ok(())
}
