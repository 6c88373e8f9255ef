//! Limits: never exceeded, whoever leads; and what an operator finds that was away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::leads;
use eci_e2e::testbed::nodes;
use eci_e2e::vendor::{Behaviour, Vendor};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    PATIENCE, bare_pod, deploy, has_effects, on_regular, placed, places, pods, profile, scene, stack, told,
    tolerates,
};

/// Looks on: the most pods that ever were on virtual nodes or free to go there at once.
struct Witness {
    most: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Witness {
    fn of(client: Client, namespace: &str) -> Self {
        let most = Arc::new(Mutex::new(0));
        let api: Api<Pod> = Api::namespaced(client, namespace);
        let seen = Arc::clone(&most);
        let task = tokio::spawn(async move {
            let mut taking = BTreeSet::new();
            let mut events = watcher::watcher(api, watcher::Config::default()).boxed();
            while let Ok(event) = events.try_next().await {
                match event {
                    Some(Event::Apply(pod) | Event::InitApply(pod)) => {
                        let takes = on_regular(&pod).map_or_else(|| tolerates(&pod), |regular| !regular);
                        if takes {
                            taking.insert(pod.name_any());
                        } else {
                            taking.remove(&pod.name_any());
                        }
                    }
                    Some(Event::Delete(pod)) => {
                        taking.remove(&pod.name_any());
                    }
                    Some(Event::Init | Event::InitDone) => {}
                    None => return,
                }
                let mut most = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *most = (*most).max(taking.len());
            }
        });
        Self { most, task }
    }

    fn most(&self) -> usize {
        assert!(!self.task.is_finished(), "the witness is gone");
        *self.most.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::test]
async fn limits_hold_under_a_crowd_and_the_death_of_the_leader_and_a_restart_forgets_nobody() -> Result<()> {
    let mut stack = stack().await?;
    let _vendor = Vendor::start(stack.plane(), Behaviour::HOSTILE).await?;
    let virtual_nodes = vec![nodes::virtual_node("crowd-virtual"), nodes::vnode("crowd-vnode")];
    let client = scene(&stack, "crowd", 5, virtual_nodes).await?;
    let replica = stack.start_replica("eci-operator-1").await?;
    profile(&client, "crowd", json!({ "policy": "Fair", "limits": { "pods": 10, "cpu": "12" } })).await?;
    let witness = Witness::of(client.clone(), "crowd");
    let big = json!({ "spec": { "containers": [{
        "name": "main", "image": "example.com/none", "resources": { "requests": { "cpu": "13" } },
    }] } });
    let big = bare_pod(&client, "crowd", "big", &big).await?;
    let names: Vec<String> = (0..40).map(|i| format!("pod-{i:02}")).collect();
    let nothing = json!({});
    let creations = futures::stream::iter(&names).map(|name| bare_pod(&client, "crowd", name, &nothing));
    let creating = creations.buffer_unordered(8).try_collect::<Vec<_>>();
    let killing = async {
        eventually("some were let go", PATIENCE, || async {
            let pods = pods(&client, "crowd").await.map_err(|error| error.to_string())?;
            let granted = pods.iter().filter(|pod| tolerates(pod)).count();
            if granted >= 3 { Ok(()) } else { Err(format!("{granted} were")) }
        })
        .await?;
        // The one that was started first leads.
        ensure!(leads(stack.health()).await?, "the first operator does not lead");
        stack.kill_operator().await
    };
    let (created, killed) = tokio::join!(creating, killing);
    created?;
    killed?;
    eventually("the other operator leads", PATIENCE, || async {
        let led = leads(replica.health()).await.map_err(|error| error.to_string())?;
        if led { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await?;
    let all = placed(&client, "crowd", [5, 10, 26]).await?;
    all.iter().try_for_each(has_effects)?;
    ensure!(places(&all).waiting.contains(&"big".to_owned()), "the big pod is on a node");
    told(&client, &big, "LimitTooSmall").await?;

    // Whoever leaves makes room.
    let api: Api<Pod> = Api::namespaced(client.clone(), "crowd");
    for name in places(&all).virtual_.iter().take(3) {
        api.delete(name, &DeleteParams::default()).await?;
    }
    let refilled = placed(&client, "crowd", [5, 10, 23]).await?;
    ensure!(refilled.len() == 38, "{}", refilled.len());
    let most = witness.most();
    ensure!(most == 10, "{most} at once of at most 10");

    // Nobody is there when pods become unschedulable.
    replica.kill().await?;
    let client = scene(&stack, "away", 1, vec![nodes::virtual_node("away-virtual")]).await?;
    profile(&client, "away", json!({ "policy": "PreferRegularNodes", "spillAfter": "1s" })).await?;
    deploy(&client, "away", 3).await?;
    let all = placed(&client, "away", [1, 0, 2]).await?;
    ensure!(all.iter().all(|pod| !tolerates(pod)), "somebody let them go");
    stack.start_operator().await?;
    let all = placed(&client, "away", [1, 2, 0]).await?;
    all.iter().try_for_each(has_effects)?;
    let spilled =
        all.iter().find(|pod| on_regular(pod) == Some(false)).context("two are on virtual nodes")?;
    told(&client, spilled, "VirtualNodesAllowed").await?;
    Ok(())
}
