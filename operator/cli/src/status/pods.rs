//! Virtual nodes, and what has become of the pods on them, in plain words.
//!
//! What the vendor's instance states mean for a pod: its page about the life cycle of instances; conditions and reasons:
//! its page about spot instances. Reasons are matched by their end, and unknown ones are shown as they are.

use std::collections::BTreeMap;

use eci_core::profile::nodes::VirtualNodes;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use serde_json::{Value, json};

use crate::manifest::cut;
use crate::table::table;

/// Most pods in the table; JSON has all.
const MOST: usize = 100;

/// A state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Reclaiming,
    Reclaimed,
    NoInstance,
    Failed,
    NoStock,
    Creating,
    DiskFull,
    Starting,
    NotReady,
    Terminating,
    Running,
    Succeeded,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Reclaiming => "Reclaiming",
            Self::Reclaimed => "Reclaimed",
            Self::NoInstance => "NoInstance",
            Self::Failed => "Failed",
            Self::NoStock => "NoStock",
            Self::Creating => "Creating",
            Self::DiskFull => "DiskFull",
            Self::Starting => "Starting",
            Self::NotReady => "NotReady",
            Self::Terminating => "Terminating",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Reclaiming => {
                "the spot instance is taken back in about three minutes (the cloud's state is still Running)"
            }
            Self::Reclaimed => "the spot instance was taken back (Expired); it is not billed any more",
            Self::NoInstance => {
                "no instance could be made (ScheduleFailed); not billed, and forgotten by the cloud after 24 hours"
            }
            Self::Failed => "a container failed and is not started again; not billed",
            Self::NoStock => {
                "the cloud has no instance of that kind in these zones now and goes on trying (Scheduling); not billed"
            }
            Self::Creating => "the cloud is looking for an instance (Scheduling); not billed",
            Self::DiskFull => "the disk of the instance is full; billed",
            Self::Starting => {
                "the instance is there and starts its containers (Pending, Restarting or Updating); billed"
            }
            Self::NotReady => "runs, but is not ready; billed",
            Self::Terminating => "is ending; billed until it has ended",
            Self::Running => "runs; billed",
            Self::Succeeded => "has done its work; not billed",
        }
    }

    fn is_well(self) -> bool {
        matches!(self, Self::Running | Self::Succeeded)
    }
}

/// A pod on a virtual node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    namespace: String,
    name: String,
    node: String,
    state: State,
    /// The vendor's own words about it, bounded.
    says: Option<String>,
}

/// A virtual node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRow {
    name: String,
    ready: bool,
    cordoned: bool,
    pods: usize,
}

/// The virtual nodes, with how many of the pods are on each.
pub(super) fn nodes(kinds: &VirtualNodes, nodes: &[Node], pods: &[Pod]) -> Vec<NodeRow> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for node in pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref()) {
        *count.entry(node).or_default() += 1;
    }
    let rows = nodes.iter().filter(|node| kinds.has(node)).map(|node| {
        let name = node.metadata.name.clone().unwrap_or_default();
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
        let pods = count.get(name.as_str()).copied().unwrap_or_default();
        NodeRow { name, ready, cordoned, pods }
    });
    rows.collect()
}

/// The pods on these nodes, the worst first.
pub(super) fn pods(nodes: &[NodeRow], pods: &[Pod]) -> Vec<Row> {
    let on = |pod: &&Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node.is_some_and(|node| nodes.iter().any(|row| row.name == node))
    };
    let mut rows: Vec<_> = pods.iter().filter(on).map(row).collect();
    rows.sort_by(|a, b| (a.state, &a.namespace, &a.name).cmp(&(b.state, &b.namespace, &b.name)));
    rows
}

fn row(pod: &Pod) -> Row {
    let (state, says) = state(pod);
    Row {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        state,
        says: says.filter(|says| !says.is_empty()).map(|says| cut(&says)),
    }
}

/// What a pod is like, and the vendor's words about it.
fn state(pod: &Pod) -> (State, Option<String>) {
    let none = k8s_openapi::api::core::v1::PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let condition = |kind: &str| status.conditions.iter().flatten().find(|c| c.type_ == kind);
    let is = |kind: &str, value: &str| condition(kind).filter(|c| c.status == value);
    let words = |c: &PodCondition| c.reason.clone().or_else(|| c.message.clone());
    let reason = status.reason.clone();
    match status.phase.as_deref().unwrap_or_default() {
        "Failed" if reason.as_deref() == Some("BidFailed") => (State::Reclaimed, status.message.clone()),
        "Failed"
            if reason.as_deref().is_some_and(|r| r.contains("ScheduleFailed") || r == "ProviderFailed") =>
        {
            (State::NoInstance, reason)
        }
        "Failed" => (State::Failed, reason.or_else(|| status.message.clone())),
        "Succeeded" => (State::Succeeded, None),
        _ if pod.metadata.deletion_timestamp.is_some() => (State::Terminating, None),
        phase => {
            if let Some(expired) = is("ContainerInstanceExpired", "True") {
                return (State::Reclaiming, words(expired));
            }
            if let Some(full) = is("ContainerHasSufficientDisk", "False") {
                return (State::DiskFull, words(full));
            }
            let created = condition("ContainerInstanceCreated").filter(|c| c.status != "True");
            if let Some(created) = created {
                let stock = words(created).is_some_and(|reason| {
                    ["NoStock", "StockExhaust", "StockClose"].iter().any(|end| reason.ends_with(end))
                });
                return (if stock { State::NoStock } else { State::Creating }, words(created));
            }
            match phase {
                "Running" if is("Ready", "True").is_some() => (State::Running, None),
                "Running" => (State::NotReady, condition("Ready").and_then(words)),
                // Only with an instance does a pod have an address.
                _ if status.pod_ip.as_deref().is_some_and(|ip| !ip.is_empty()) => {
                    (State::Starting, waiting(pod))
                }
                _ => (State::Creating, waiting(pod)),
            }
        }
    }
}

/// Why a container waits.
fn waiting(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
    statuses.into_iter().find_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone())
}

pub(super) fn table_of(nodes: &[NodeRow], pods: &[Row]) -> String {
    if nodes.is_empty() {
        return String::new();
    }
    let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let rows = nodes
        .iter()
        .map(|node| [node.name.clone(), yes(node.ready), yes(node.cordoned), node.pods.to_string()]);
    let mut text = table(["VIRTUAL NODE", "READY", "CORDONED", "PODS"], &rows.collect::<Vec<_>>());
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    for pod in pods {
        *counts.entry(pod.state).or_default() += 1;
    }
    if !counts.is_empty() {
        let rows = counts
            .iter()
            .map(|(state, count)| [state.word().to_owned(), count.to_string(), state.meaning().to_owned()]);
        text.extend(["\n", &table(["PODS ON VIRTUAL NODES", "COUNT", "MEANING"], &rows.collect::<Vec<_>>())]);
    }
    let unwell: Vec<_> = pods.iter().filter(|pod| !pod.state.is_well()).collect();
    if !unwell.is_empty() {
        let rows = unwell.iter().take(MOST).map(|pod| {
            let says = pod.says.clone().unwrap_or_else(|| "-".to_owned());
            [pod.namespace.clone(), pod.name.clone(), pod.node.clone(), pod.state.word().to_owned(), says]
        });
        text.extend([
            "\n",
            &table(["NAMESPACE", "POD", "NODE", "STATE", "THE CLOUD SAYS"], &rows.collect::<Vec<_>>()),
        ]);
        if unwell.len() > MOST {
            text.push_str(
                &["And ", &(unwell.len() - MOST).to_string(), " more; -o json has all of them.\n"].concat(),
            );
        }
    }
    text
}

pub(super) fn json_of(nodes: &[NodeRow], pods: &[Row]) -> (Vec<Value>, Vec<Value>) {
    let nodes = nodes.iter().map(|node| {
        json!({ "name": node.name, "ready": node.ready, "cordoned": node.cordoned, "pods": node.pods })
    });
    let pods = pods.iter().map(|pod| {
        json!({
            "namespace": pod.namespace,
            "name": pod.name,
            "node": pod.node,
            "state": pod.state.word(),
            "meaning": pod.state.meaning(),
            "cloudSays": pod.says,
        })
    });
    (nodes.collect(), pods.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop" },
            "spec": { "containers": [], "nodeName": "virtual-1" },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn each_state_of_the_vendors_is_known() {
        let condition = |kind: &str, status: &str, reason: &str| json!([{ "type": kind, "status": status, "reason": reason }]);
        for (status, expected, says) in [
            (json!({ "phase": "Pending" }), State::Creating, None),
            (json!({ "phase": "Pending", "podIP": "10.0.0.1" }), State::Starting, None),
            (
                json!({ "phase": "Pending", "conditions": condition("ContainerInstanceCreated", "False", "ContainerGroup.NoStock") }),
                State::NoStock,
                Some("ContainerGroup.NoStock"),
            ),
            (
                json!({ "phase": "Pending", "conditions": condition("ContainerInstanceCreated", "False", "Throttling") }),
                State::Creating,
                Some("Throttling"),
            ),
            (
                json!({ "phase": "Running", "conditions": condition("Ready", "True", "") }),
                State::Running,
                None,
            ),
            (
                json!({ "phase": "Running", "conditions": condition("Ready", "False", "x") }),
                State::NotReady,
                Some("x"),
            ),
            (
                json!({ "phase": "Running", "conditions": condition("ContainerInstanceExpired", "True", "SpotToBeReleased") }),
                State::Reclaiming,
                Some("SpotToBeReleased"),
            ),
            (
                json!({ "phase": "Running", "conditions": condition("ContainerHasSufficientDisk", "False", "full") }),
                State::DiskFull,
                Some("full"),
            ),
            (json!({ "phase": "Failed", "reason": "BidFailed" }), State::Reclaimed, None),
            (
                json!({ "phase": "Failed", "reason": "ContainerInstanceScheduleFailed" }),
                State::NoInstance,
                Some("ContainerInstanceScheduleFailed"),
            ),
            (json!({ "phase": "Failed", "reason": "Error" }), State::Failed, Some("Error")),
            (json!({ "phase": "Succeeded" }), State::Succeeded, None),
        ] {
            let (state, text) = state(&pod(&status));
            assert_eq!((state, text.as_deref().filter(|t| !t.is_empty())), (expected, says), "{status}");
        }
    }

    #[test]
    fn only_pods_on_virtual_nodes_are_shown() {
        let node = |name: &str, label: &str| {
            serde_json::from_value::<Node>(
                json!({ "metadata": { "name": name, "labels": { "type": label } } }),
            )
            .unwrap()
        };
        let mut other = pod(&json!({ "phase": "Running" }));
        other.spec.as_mut().unwrap().node_name = Some("regular".to_owned());
        let all = [pod(&json!({ "phase": "Failed", "reason": "BidFailed", "message": "x\ny" })), other];
        let nodes = nodes(
            &VirtualNodes::default(),
            &[node("virtual-1", "virtual-kubelet"), node("regular", "worker")],
            &all,
        );
        let rows = pods(&nodes, &all);
        assert_eq!((nodes.len(), nodes[0].pods, rows.len()), (1, 1, 1));
        let text = table_of(&nodes, &rows);
        assert!(text.contains("Reclaimed") && text.contains("x y"), "{text}");
        assert_eq!(table_of(&[], &[]), "");
    }
}
