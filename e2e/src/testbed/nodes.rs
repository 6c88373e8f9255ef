//! Nodes that kwok plays.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;

/// The annotation of the nodes that kwok manages; its value is `fake`.
pub const MANAGED: &str = "kwok.x-k8s.io/node";

/// A regular node with `cpu` and `memory` as written in Kubernetes (`"32"`, `"128Gi"`) and room for 110 pods.
pub fn regular(name: &str, cpu: &str, memory: &str) -> Node {
    let room = resources([("cpu", cpu), ("memory", memory), ("pods", "110")]);
    node(name, [("kubernetes.io/hostname", name), ("kubernetes.io/os", "linux")], room)
}

/// A virtual node as ACK makes it: labelled `type=virtual-kubelet`, tainted, with room for 5000 pods.
pub fn virtual_node(name: &str) -> Node {
    let room = resources([("cpu", "20k"), ("memory", "40Ti"), ("pods", "5k")]);
    let labels = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("type", "virtual-kubelet"),
        ("alibabacloud.com/virtual-node", "true"),
    ];
    let mut node = node(name, labels, room);
    node.spec = Some(NodeSpec {
        taints: Some(vec![Taint {
            key: "virtual-kubelet.io/provider".into(),
            value: Some("alibabacloud".into()),
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
