//! What the scheduler weighs beside room: pods spread over zones, and disks that are made where the pod is put.

use anyhow::Result;
use eci_e2e::eventually::eventually;
use eci_e2e::testbed::nodes;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::{PATIENCE, bare_pod, on_regular, policy, quiet, scene};

const ZONE: &str = "topology.kubernetes.io/zone";
/// Written by the scheduler to a claim whose disk is to be made for a node.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A regular node in zone a, a virtual one in zone b, and a profile of each of these policies.
async fn zones(namespace: &str, policies: &[serde_json::Value]) -> Result<Client> {
    let mut virtual_node = nodes::virtual_node(&format!("{namespace}-virtual"));
    virtual_node.labels_mut().insert(ZONE.to_owned(), "b".to_owned());
    let client = scene(quiet().await, namespace, 20, vec![virtual_node]).await?;
    let api: Api<Node> = Api::all(client.clone());
    let zone = Patch::Merge(json!({ "metadata": { "labels": { (ZONE): "a" } } }));
    api.patch(&format!("{namespace}-regular"), &PatchParams::default(), &zone).await?;
    for placement in policies {
        policy(&client, namespace, placement.clone()).await?;
    }
    Ok(client)
}

#[tokio::test]
async fn pods_that_must_spread_over_zones_find_their_nodes_under_every_policy() -> Result<()> {
    let client = zones(
        "spread",
        &[
            json!({ "policy": "Fair" }),
            json!({ "policy": "PreferRegularNodes", "spillAfter": "1s" }),
            json!({ "policy": "RegularNodesOnly" }),
            json!({ "policy": "VirtualNodesOnly" }),
        ],
    )
    .await?;
    // Zones count for a pod as far as its policy lets it go there.
    let expected = [
        ("Fair", [2, 2]),
        ("PreferRegularNodes", [2, 2]),
        ("RegularNodesOnly", [4, 0]),
        ("VirtualNodesOnly", [0, 4]),
    ];
    for (policy, _) in expected {
        let more = json!({
            "metadata": { "labels": { "policy": policy } },
            "spec": { "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": { "matchLabels": { "policy": policy } },
            }] },
        });
        for number in 0..4 {
            bare_pod(&client, "spread", &format!("{}-{number}", policy.to_lowercase()), &more).await?;
        }
    }
    let api: Api<Pod> = Api::namespaced(client.clone(), "spread");
    for (policy, wanted) in expected {
        let of_policy = ListParams::default().labels(&format!("policy={policy}"));
        eventually(
            &format!("pods of {policy} on regular and virtual nodes: {wanted:?}"),
            PATIENCE,
            || async {
                let pods = api.list(&of_policy).await.map_err(|error| error.to_string())?.items;
                let on = |regular| pods.iter().filter(|pod| on_regular(pod) == Some(regular)).count();
                let found = [on(true), on(false)];
                if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
            },
        )
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_is_made_for_the_virtual_node_that_the_scheduler_chose() -> Result<()> {
    let client = zones("disks", &[json!({ "policy": "VirtualNodesOnly" })]).await?;
    let params = PostParams::default();
    let class = json!({
        "metadata": { "name": "disks-late" },
        "provisioner": "disk.example.com", "volumeBindingMode": "WaitForFirstConsumer",
    });
    let classes: Api<StorageClass> = Api::all(client.clone());
    classes.create(&params, &serde_json::from_value(class)?).await?;
    let claim = json!({
        "metadata": { "name": "data" },
        "spec": {
            "storageClassName": "disks-late", "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "20Gi" } },
        },
    });
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "disks");
    claims.create(&params, &serde_json::from_value(claim)?).await?;
    let more = json!({
        "metadata": { "labels": { "policy": "VirtualNodesOnly" } },
        "spec": { "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }] },
    });
    bare_pod(&client, "disks", "db", &more).await?;
    let claim = eventually("the scheduler says where the disk is to be", PATIENCE, || async {
        let claim = claims.get("data").await.map_err(|error| error.to_string())?;
        let node = claim.annotations().get(SELECTED_NODE).cloned();
        if node.as_deref() == Some("disks-virtual") { Ok(claim) } else { Err(format!("{node:?}")) }
    })
    .await?;
    // What the provisioner does.
    let volume = json!({
        "metadata": { "name": "disks-data" },
        "spec": {
            "storageClassName": "disks-late", "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "20Gi" },
            "csi": { "driver": "disk.example.com", "volumeHandle": "d-1" },
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "disks", "name": "data",
                "uid": claim.metadata.uid,
            },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": ZONE, "operator": "In", "values": ["b"] }] },
            ] } },
        },
    });
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    volumes.create(&params, &serde_json::from_value(volume)?).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "disks");
    eventually("the pod is on the virtual node, with its disk", PATIENCE, || async {
        let pod = pods.get("db").await.map_err(|error| error.to_string())?;
        let node = pod.spec.and_then(|spec| spec.node_name);
        if node.as_deref() == Some("disks-virtual") { Ok(()) } else { Err(format!("{node:?}")) }
    })
    .await
}
