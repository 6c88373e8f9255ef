//! The API server ends and comes back, or forgets: a storm goes on, by lists where watches cannot.

use std::time::Duration;

use anyhow::{Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::observer::audit;
use eci_e2e::stack::{NAMESPACE, Programs, SERVICE_ACCOUNT, Stack, StackOptions};
use eci_e2e::testbed::{ControlPlane, Link, StartOptions};
use eci_e2e::vendor::{Behaviour, Notice, PodRef};
use eci_e2e::workload::Workload;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use tokio::task::JoinSet;

use crate::faults::{alone, nobody_twice};
use crate::{PATIENCE, Scene, make_nodes};

/// How often the operator is looked at by who starts it again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Starts the operator again when it ends, as a kubelet does: it ends when it cannot renew its lease.
pub(crate) fn restarts(stack: &'static Stack) -> JoinSet<()> {
    let mut kubelet = JoinSet::new();
    kubelet.spawn(async move {
        while let Some(operator) = stack.operator() {
            if !operator.is_alive() && operator.restart().is_err() {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    kubelet
}

/// Waits until the first of the doomed pods was told to end.
async fn first_eviction(scene: &Scene) -> Result<()> {
    eventually("the first eviction", PATIENCE, || {
        let evicted = scene.observer.verdict(&scene.doomed).evicted.len();
        std::future::ready(if evicted > 0 { Ok(()) } else { Err("none") })
    })
    .await
}

#[tokio::test]
async fn an_api_server_that_is_killed_and_comes_back_costs_no_pod_and_no_second_eviction() -> Result<()> {
    let stack: &'static Stack = alone().await?;
    let _kubelet = restarts(stack);
    let workload = Workload::new("comeback", "web", 6).starting_in(Duration::from_secs(1)).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::HOSTILE, &workload, 1).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    first_eviction(&scene).await?;
    stack.plane().restart_api_server().await?;
    let left = scene.observer.verdict(&scene.doomed).untouched.len();
    ensure!(left > 0, "the storm was over before the API server ended");
    scene.all_are_saved().await?;
    nobody_twice(&scene, "comeback")?;
    workload.ready(&stack.client()?, PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn notices_that_came_while_a_watch_was_lost_for_good_are_found_by_a_list() -> Result<()> {
    // Without histories of the API server's own, so that what etcd forgets is forgotten.
    let apiserver_args = vec!["--watch-cache-sizes=pods#0,poddisruptionbudgets.policy#0".to_owned()];
    let options = StackOptions {
        plane: StartOptions { apiserver_args, ..StartOptions::default() },
        ..StackOptions::default()
    };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, Programs::beside_this_one()?, &options).await?;
    let link = Link::open(stack.plane()).await?;
    stack.reach_api_server_at(link.url());
    stack.start_operator().await?;
    make_nodes(&stack).await?;
    let stack: &'static Stack = Box::leak(Box::new(stack));
    let _kubelet = restarts(stack);

    let workload = Workload::new("forgotten", "web", 4).starting_in(Duration::from_secs(1)).with_grace(1);
    let mut scene = Scene::set(stack, Behaviour::QUIET, &workload, 1).await?;
    let client = stack.client()?;
    let late = Workload::new("forgotten", "late", 3).with_grace(1).deploy(&client, PATIENCE).await?;
    let late: Vec<PodRef> = late.iter().map(PodRef::of).collect();
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    first_eviction(&scene).await?;

    link.cut();
    scene.doomed.extend(late.iter().cloned());
    scene.vendor.announce(&late, Notice::Both).await?;
    // One of them comes and goes in the dark.
    let pods: Api<Pod> = Api::namespaced(client.clone(), "forgotten");
    pods.delete(&late[0].name, &DeleteParams::default()).await?;
    eventually("it is gone", PATIENCE, || async {
        match pods.get_opt(&late[0].name).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is there".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    stack.plane().forget_history().await?;
    let mark = audit::mark(&stack.plane().audit_log_path())?;
    link.mend();

    scene.all_are_saved().await?;
    nobody_twice(&scene, "forgotten")?;
    // The event of its notice is listed before the pods or after them: it may be asked for, and is not there.
    let mut asked = scene.requests("forgotten")?;
    asked.retain(|request| request.name == late[0].name);
    ensure!(asked.iter().all(|request| request.code == 404), "it was gone: {asked:?}");
    let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    let since = audit::requests_since(&stack.plane().audit_log_path(), mark, &user)?;
    for resource in ["pods", "poddisruptionbudgets"] {
        let listed = since.iter().any(|request| request.verb == "list" && request.resource == resource);
        ensure!(listed, "{resource} were not listed again: their watch went on as if nothing were forgotten");
    }
    Ok(())
}
