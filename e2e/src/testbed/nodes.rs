//! Nodes that kwok plays.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;

/// The annotation of the nodes that kwok manages; its value is `fake`.
pub const MANAGED: &str = "kwok.x-k8s.io/node";

/// Annotation of a pod: how long it stays Pending on its node, as Go writes durations (`"5s"`, `"1.5s"`).
pub const START_AFTER: &str = "testbed.eci-operator.io/start-after";

/// Annotation of a pod: what it does once it runs, one of [`READY`], [`UNREADY`] and [`CRASH_LOOP`]. It may be changed
/// while the pod runs.
pub const BEHAVIOUR: &str = "testbed.eci-operator.io/behaviour";

/// Annotation of a pod: how long it runs before it is Succeeded.
pub const COMPLETE_AFTER: &str = "testbed.eci-operator.io/complete-after";

/// A [`BEHAVIOUR`], the default: Running and Ready.
pub const READY: &str = "ready";
/// A [`BEHAVIOUR`]: Running, and its readiness probe fails.
pub const UNREADY: &str = "unready";
/// A [`BEHAVIOUR`]: Running, not Ready, and its container waits in CrashLoopBackOff.
pub const CRASH_LOOP: &str = "crash-loop";

/// The label by which ACK's virtual nodes are known, and its value.
pub const ACK_LABEL: (&str, &str) = ("type", "virtual-kubelet");
/// The taint of ACK's virtual nodes: key and value; the effect is NoSchedule.
pub const ACK_TAINT: (&str, &str) = ("virtual-kubelet.io/provider", "alibabacloud");
/// Label and taint (NoSchedule) of VNodes in self-managed clusters.
pub const VNODE: (&str, &str) = ("k8s.aliyun.com/vnode", "true");

/// A regular node with `cpu` and `memory` as written in Kubernetes (`"32"`, `"128Gi"`) and room for 110 pods.
pub fn regular(name: &str, cpu: &str, memory: &str) -> Node {
    let room = resources([("cpu", cpu), ("memory", memory), ("pods", "110")]);
    node(name, [("kubernetes.io/hostname", name), ("kubernetes.io/os", "linux")], room)
}

/// A virtual node as ACK makes it: labelled `type=virtual-kubelet`, tainted, with room for 5000 pods.
pub fn virtual_node(name: &str) -> Node {
    tainted(name, [ACK_LABEL, ("alibabacloud.com/virtual-node", "true")], ACK_TAINT)
}

/// A virtual node as VNode makes it in a self-managed cluster, with room for 5000 pods.
pub fn vnode(name: &str) -> Node {
    tainted(name, [VNODE, ("type", "vnode")], VNODE)
}

fn tainted(name: &str, labels: [(&str, &str); 2], (key, value): (&str, &str)) -> Node {
    let room = resources([("cpu", "20k"), ("memory", "40Ti"), ("pods", "5k")]);
    let [first, second] = labels;
    let labels = [("kubernetes.io/hostname", name), ("kubernetes.io/os", "linux"), first, second];
    let mut node = node(name, labels, room);
    node.spec = Some(NodeSpec {
        taints: Some(vec![Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: "NoSchedule".into(),
            time_added: None,
        }]),
        ..NodeSpec::default()
    });
    node
}

fn node<const N: usize>(name: &str, labels: [(&str, &str); N], room: BTreeMap<String, Quantity>) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(name.into()),
            annotations: Some([(MANAGED.into(), "fake".into())].into()),
            labels: Some(labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect()),
            ..ObjectMeta::default()
        },
        status: Some(NodeStatus {
            allocatable: Some(room.clone()),
            capacity: Some(room),
            ..NodeStatus::default()
        }),
        ..Node::default()
    }
}

fn resources<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    entries.into_iter().map(|(name, quantity)| (name.into(), Quantity(quantity.into()))).collect()
}
