//! Where pods go: the operator with its chart's permissions, the real scheduler, regular and virtual nodes.
//!
//! Tests share control planes. Each has nodes of its own, with a label that its pods select; no kind of virtual node is
//! known by that label, so that for the operator the pods say nothing of virtual nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod gate;
mod limits;
mod policies;
mod spill;
mod zones;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_core::profile::PROFILES_ANNOTATION;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, StackOptions};
use eci_e2e::testbed::{StartOptions, nodes};
use eci_e2e::vendor::{Behaviour, Vendor};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Node, Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(2);
/// The label by which the pods of a test find its nodes.
const POOL: &str = "example.com/pool";
/// Label and taint of a kind of virtual node that only this cluster has.
const CUSTOM: (&str, &str) = ("example.com/virtual", "yes");
/// The annotation that pods get with the profile's spot settings.
const SPOT: &str = "k8s.aliyun.com/eci-spot-strategy";

/// A stack whose operator also knows a kind of virtual node of its own.
async fn stack() -> Result<Stack> {
    let values = json!({
        "virtualNodeLabels": { (CUSTOM.0): CUSTOM.1 }, "virtualNodeTaints": { (CUSTOM.0): CUSTOM.1 },
    });
    let plane = StartOptions::default();
    Stack::start(StackOptions { plane, values, ..StackOptions::default() }).await
}

/// The stack that tests share whose operator nobody stops.
async fn quiet() -> &'static Stack {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    SHARED.get_or_init(|| async { stack().await.unwrap() }).await
}

/// The stack that tests share whose vendor is in the way: it overwrites the status of pods on virtual nodes, and its
/// webhook is asked after ours.
async fn hostile() -> &'static Stack {
    static SHARED: OnceCell<(Stack, Vendor)> = OnceCell::const_new();
    let start = || async {
        let stack = stack().await.unwrap();
        let vendor = Vendor::start(stack.plane(), Behaviour::HOSTILE).await.unwrap();
        (stack, vendor)
    };
    &SHARED.get_or_init(start).await.0
}

/// A virtual node of a kind of its own.
fn custom(name: &str) -> Node {
    let mut node = nodes::vnode(name);
    node.labels_mut().remove(nodes::VNODE.0);
    node.labels_mut().insert(CUSTOM.0.to_owned(), CUSTOM.1.to_owned());
    for taint in node.spec.iter_mut().flat_map(|spec| spec.taints.iter_mut().flatten()) {
        (taint.key, taint.value) = (CUSTOM.0.to_owned(), Some(CUSTOM.1.to_owned()));
    }
    node
}

/// A namespace of that name and nodes for its pods alone: a regular one with that many cores, and these virtual ones.
async fn scene(stack: &Stack, name: &str, cores: u32, virtual_nodes: Vec<Node>) -> Result<Client> {
    stack.namespace(name).await?;
    let client = stack.client()?;
    let api: Api<Node> = Api::all(client.clone());
    let regular = nodes::regular(&format!("{name}-regular"), &cores.to_string(), "64Gi");
    for mut node in std::iter::once(regular).chain(virtual_nodes) {
        node.labels_mut().insert(POOL.to_owned(), name.to_owned());
        api.create(&PostParams::default(), &node).await?;
    }
    // Until then the scheduler finds no room on them.
    let pool = ListParams::default().labels(&format!("{POOL}={name}"));
    eventually("the nodes are ready", PATIENCE, || async {
        let nodes = api.list(&pool).await.map_err(|error| error.to_string())?.items;
        let waits: Vec<String> = nodes.iter().filter(|node| !is_ready(node)).map(Node::name_any).collect();
        if waits.is_empty() { Ok(()) } else { Err(format!("{waits:?}")) }
    })
    .await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    eventually("the namespace has its account", PATIENCE, || async {
        accounts.get("default").await.map(drop)
    })
    .await?;
    Ok(client)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    ready && !taints.into_iter().any(|taint| taint.key.starts_with("node.kubernetes.io/"))
}

/// A profile for the pods of a namespace.
async fn profile(client: &Client, namespace: &str, placement: Value) -> Result<()> {
    write_profile(client, namespace, namespace_selector(namespace), placement).await
}

fn namespace_selector(namespace: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } })
}

async fn write_profile(client: &Client, name: &str, selector: Value, placement: Value) -> Result<()> {
    let profile = json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": name },
        "spec": { "selector": selector, "placement": placement, "spot": { "strategy": "SpotAsPriceGo" } },
    });
    let api: Api<EciProfile> = Api::all(client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(profile)?).await?;
    Ok(())
}

/// A profile for the pods of a namespace that have the name of its policy as label `policy`; comes back when new pods
/// get what it says.
async fn policy(client: &Client, namespace: &str, placement: Value) -> Result<()> {
    let word = placement["policy"].as_str().unwrap_or_default().to_owned();
    let mut selector = namespace_selector(namespace);
    selector["podSelector"] = json!({ "matchLabels": { "policy": word } });
    let name = format!("{namespace}-{}", word.to_lowercase());
    write_profile(client, &name, selector, placement).await?;
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut probe = template(namespace);
    json_merge(&mut probe, &json!({ "metadata": { "name": "probe", "labels": { "policy": word } } }));
    let probe: Pod = serde_json::from_value(probe)?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually(&format!("the profile {name} is known to the webhook"), PATIENCE, || async {
        let made = api.create(&dry_run, &probe).await.map_err(|error| error.to_string())?;
        let mark = made.annotations().get(PROFILES_ANNOTATION).cloned();
        if mark.as_deref() == Some(&format!("{name}@1")) { Ok(()) } else { Err(format!("{mark:?}")) }
    })
    .await
}

/// What a pod of a test is like: it asks for one core, and for the nodes of its test.
fn template(namespace: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": namespace } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": { (POOL): namespace },
            "containers": [{
                "name": "main", "image": "example.com/none", "resources": { "requests": { "cpu": "1" } },
            }],
        },
    })
}

async fn deploy(client: &Client, namespace: &str, replicas: i32) -> Result<()> {
    let deployment = json!({
        "metadata": { "name": "web", "namespace": namespace },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": { "app": namespace } },
            "template": template(namespace),
        },
    });
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    Ok(())
}

async fn bare_pod(client: &Client, namespace: &str, name: &str, more: &Value) -> Result<Pod> {
    let mut pod = template(namespace);
    pod["metadata"]["name"] = name.into();
    json_merge(&mut pod, more);
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    Ok(api.create(&PostParams::default(), &serde_json::from_value(pod)?).await?)
}

/// RFC 7396, without removals.
fn json_merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                json_merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Where the pods of a namespace are, by the kind of place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    regular: Vec<String>,
    virtual_: Vec<String>,
    waiting: Vec<String>,
}

fn on_regular(pod: &Pod) -> Option<bool> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    Some(node.ends_with("-regular"))
}

async fn pods(client: &Client, namespace: &str) -> Result<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut pods = api.list(&ListParams::default()).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(pods)
}

fn places(pods: &[Pod]) -> Places {
    let mut places = Places::default();
    for pod in pods {
        let place = match on_regular(pod) {
            Some(true) => &mut places.regular,
            Some(false) => &mut places.virtual_,
            None => &mut places.waiting,
        };
        place.push(pod.name_any());
    }
    places
}

/// Waits until that many pods of a namespace are on regular nodes, on virtual nodes and on none.
async fn placed(client: &Client, namespace: &str, wanted: [usize; 3]) -> Result<Vec<Pod>> {
    let what = format!("pods of {namespace} are on regular nodes, on virtual nodes and on none: {wanted:?}");
    eventually(&what, PATIENCE, || async {
        let pods = pods(client, namespace).await.map_err(|error| error.to_string())?;
        let found = places(&pods);
        let numbers = [found.regular.len(), found.virtual_.len(), found.waiting.len()];
        if numbers == wanted { Ok(pods) } else { Err(format!("{numbers:?}")) }
    })
    .await
}

/// A pod that was let go has all of it, and one that was not has nothing.
fn has_effects(pod: &Pod) -> Result<()> {
    let spot = pod.annotations().get(SPOT).map(String::as_str);
    let tolerates = tolerates(pod);
    let name = pod.name_any();
    if on_regular(pod) == Some(false) {
        ensure!(spot == Some("SpotAsPriceGo") && tolerates, "{name}: {spot:?} {tolerates}");
    }
    ensure!(spot.is_some() == tolerates, "{name} has a part of what the profile says: {spot:?} {tolerates}");
    Ok(())
}

/// Whether it tolerates virtual nodes of every kind.
fn tolerates(pod: &Pod) -> bool {
    let keys: BTreeMap<&str, &str> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.tolerations.iter().flatten())
        .filter_map(|toleration| Some((toleration.key.as_deref()?, toleration.value.as_deref()?)))
        .collect();
    [nodes::ACK_TAINT, nodes::VNODE, CUSTOM].iter().all(|(key, value)| keys.get(key) == Some(value))
}

/// Waits for an event of the operator about a pod.
async fn told(client: &Client, pod: &Pod, reason: &str) -> Result<String> {
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let list = ListParams::default().fields(&format!("reason={reason}"));
    eventually(&format!("an event {reason} about {}", pod.name_any()), PATIENCE, || async {
        let events = api.list(&list).await.map_err(|error| error.to_string())?.items;
        let event = events.iter().find(|event| event.involved_object.uid == pod.metadata.uid);
        event.and_then(|event| event.message.clone()).ok_or_else(|| format!("{} of others", events.len()))
    })
    .await
}
