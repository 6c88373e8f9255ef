//! An operator for some namespaces leaves others alone.

use anyhow::{Result, ensure};
use eci_e2e::stack::{Programs, Stack, StackOptions};
use eci_e2e::testbed::{ControlPlane, StartOptions};
use eci_e2e::vendor::{Behaviour, Notice, PodRef};
use eci_e2e::workload::Workload;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use crate::{PATIENCE, Scene, make_nodes, namespace, with_account};

#[tokio::test]
async fn pods_of_other_namespaces_are_neither_watched_nor_evicted() -> Result<()> {
    let values = json!({ "namespaces": ["inside"], "clusterID": "cluster-of-a-test" });
    let options = StackOptions { plane: StartOptions::default(), values, ..StackOptions::default() };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    // The chart makes a Role in it.
    plane.kubectl(["create", "namespace", "inside"]).await?.ok()?;
    let mut stack = Stack::around(plane, Programs::beside_this_one()?, &options).await?;
    stack.start_operator().await?;
    make_nodes(&stack).await?;
    let stack: &'static Stack = Box::leak(Box::new(stack));
    let client = namespace(stack, "outside").await?;
    with_account(&client, "inside").await?;

    let others = Workload::new("outside", "web", 2).with_grace(1).deploy(&client, PATIENCE).await?;
    let others: Vec<PodRef> = others.iter().map(PodRef::of).collect();
    let pods = Workload::new("inside", "web", 2).with_grace(1).deploy(&client, PATIENCE).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "inside", &pods).await?;
    scene.vendor.announce(&others, Notice::Both).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    scene.all_are_saved().await?;

    let api: Api<Pod> = Api::namespaced(client, "outside");
    for pod in &others {
        let found = api.get(&pod.name).await?;
        ensure!(PodRef::of(&found) == *pod && found.metadata.deletion_timestamp.is_none(), "{found:?}");
    }
    ensure!(scene.requests("outside")?.is_empty(), "{:?}", scene.requests("outside")?);
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    Ok(())
}
