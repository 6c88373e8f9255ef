//! PreferRegularNodes: regular nodes first, then virtual ones, and those first when the workload shrinks.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::Stack;
use eci_e2e::testbed::nodes;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::{
    PATIENCE, bare_pod, custom, deploy, has_effects, hostile, on_regular, placed, places, pods, profile,
    quiet, scene, template, told, tolerates,
};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

#[tokio::test]
async fn what_finds_no_regular_node_goes_to_virtual_ones_and_from_there_first() -> Result<()> {
    spills_and_shrinks(quiet().await).await
}

#[tokio::test]
async fn a_hostile_vendor_does_not_keep_pods_from_spilling_nor_from_going_first() -> Result<()> {
    spills_and_shrinks(hostile().await).await
}

async fn spills_and_shrinks(stack: &Stack) -> Result<()> {
    let client = scene(stack, "spill", 3, vec![nodes::virtual_node("spill-virtual")]).await?;
    let placement =
        json!({ "policy": "PreferRegularNodes", "spillAfter": "2s", "scaleIn": "VirtualNodesFirst" });
    profile(&client, "spill", placement).await?;
    // It says itself when it is to go.
    let own =
        bare_pod(&client, "spill", "own", &json!({ "metadata": { "annotations": { (COST): "7" } } })).await?;
    placed(&client, "spill", [1, 0, 0]).await?;
    // Nothing is put into a pod of a DaemonSet, and nothing keeps it from its node.
    let mut daemon = template("spill-daemon");
    daemon["spec"]["nodeSelector"] = template("spill")["spec"]["nodeSelector"].clone();
    daemon["spec"]["containers"][0]["resources"] = json!({});
    let daemons: Api<DaemonSet> = Api::namespaced(client.clone(), "spill");
    let object = json!({
        "metadata": { "name": "daemon", "namespace": "spill" },
        "spec": { "selector": { "matchLabels": { "app": "spill-daemon" } }, "template": daemon },
    });
    daemons.create(&PostParams::default(), &serde_json::from_value(object)?).await?;

    deploy(&client, "spill", 5).await?;
    let all = placed(&client, "spill", [4, 3, 0]).await?;
    all.iter().try_for_each(has_effects)?;
    let spilled =
        all.iter().find(|pod| on_regular(pod) == Some(false)).context("three are on virtual nodes")?;
    told(&client, spilled, "VirtualNodesAllowed").await?;
    let status = daemons.get("daemon").await?.status.unwrap_or_default();
    ensure!(status.desired_number_scheduled == 1, "the DaemonSet wants to be on virtual nodes: {status:?}");
    let of_daemon = all.iter().find(|pod| pod.labels()["app"] == "spill-daemon").context("a pod")?;
    ensure!(on_regular(of_daemon) == Some(true) && !tolerates(of_daemon), "{of_daemon:?}");

    let priced = eventually("pods on virtual nodes have their cost", PATIENCE, || async {
        let pods = pods(&client, "spill").await.map_err(|error| error.to_string())?;
        let cost = |pod: &k8s_openapi::api::core::v1::Pod| pod.annotations().get(COST).cloned();
        let missing = pods.iter().filter(|pod| on_regular(pod) == Some(false) && cost(pod).is_none()).count();
        if missing == 0 { Ok(pods) } else { Err(format!("{missing} have none")) }
    })
    .await?;
    for pod in &priced {
        let expected = match on_regular(pod) {
            Some(false) => Some("-100"),
            _ if pod.metadata.uid == own.metadata.uid => Some("7"),
            _ => None,
        };
        ensure!(pod.annotations().get(COST).map(String::as_str) == expected, "{}", pod.name_any());
    }
    let stay = places(&priced).regular;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "spill");
    let shrink = Patch::Merge(json!({ "spec": { "replicas": 2 } }));
    deployments.patch("web", &PatchParams::default(), &shrink).await?;
    let left = placed(&client, "spill", [4, 0, 0]).await?;
    ensure!(places(&left).regular == stay, "{:?} instead of {stay:?}", places(&left));
    Ok(())
}

#[tokio::test]
async fn virtual_nodes_of_every_kind_are_open_to_what_spills() -> Result<()> {
    let stack = quiet().await;
    let kinds = [("ack", nodes::virtual_node("ack-virtual")), ("vnode", nodes::vnode("vnode-virtual"))];
    for (name, node) in kinds.into_iter().chain([("custom", custom("custom-virtual"))]) {
        let client = scene(stack, name, 1, vec![node]).await?;
        profile(&client, name, json!({ "policy": "PreferRegularNodes", "spillAfter": "3s" })).await?;
        deploy(&client, name, 2).await?;
        placed(&client, name, [1, 1, 0]).await?.iter().try_for_each(has_effects)?;
    }
    Ok(())
}
