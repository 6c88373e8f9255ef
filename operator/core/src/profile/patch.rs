//! Changes of a pod as a JSON patch (RFC 6902).

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::{Value, json};

use super::decision::{Change, ContainerAt};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// `add`: sets what is at the path, or appends when the path ends with `/-`.
    pub op: &'static str,
    /// Where, as a JSON pointer.
    pub path: String,
    /// What.
    pub value: Value,
}

/// The patch that makes `changes` to `pod`. What the pod does not have yet is made first; nothing is replaced but the
/// required node terms, which contain the pod's own, and the mark of the profiles.
pub fn patch(pod: &Pod, changes: &[Change]) -> Vec<Operation> {
    let mut patch = Patch { operations: Vec::new(), made: Vec::new() };
    let (meta, spec) = (&pod.metadata, pod.spec.as_ref());
    let affinity = spec.and_then(|spec| spec.affinity.as_ref());
    let node_affinity = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
    for change in changes {
        match change {
            Change::Annotation(key, value) => {
                patch.ensure("/metadata/annotations", meta.annotations.is_some(), json!({}));
                patch.add(format!("/metadata/annotations/{}", escape(key)), json!(value));
            }
            Change::Label(key, value) => {
                patch.ensure("/metadata/labels", meta.labels.is_some(), json!({}));
                patch.add(format!("/metadata/labels/{}", escape(key)), json!(value));
            }
            Change::Toleration(toleration) => {
                let present = spec.is_some_and(|spec| spec.tolerations.is_some());
                patch.ensure("/spec/tolerations", present, json!([]));
                patch.add("/spec/tolerations/-".to_owned(), json!(toleration));
            }
            Change::NodeTerms(terms) => {
                patch.ensure("/spec/affinity", affinity.is_some(), json!({}));
                patch.ensure("/spec/affinity/nodeAffinity", node_affinity.is_some(), json!({}));
                let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
                patch.add(required.to_owned(), json!({ "nodeSelectorTerms": terms }));
            }
            Change::Gate(name) => {
                let present = spec.is_some_and(|spec| spec.scheduling_gates.is_some());
                patch.ensure("/spec/schedulingGates", present, json!([]));
                patch.add("/spec/schedulingGates/-".to_owned(), json!({ "name": name }));
            }
            Change::Volume(volume) => {
                let present = spec.is_some_and(|spec| spec.volumes.is_some());
                patch.ensure("/spec/volumes", present, json!([]));
                patch.add("/spec/volumes/-".to_owned(), json!(volume));
            }
            Change::Mount(at, mount) => {
                let (list, index, container) = match *at {
                    ContainerAt::Init(i) => {
                        ("initContainers", i, spec.and_then(|s| s.init_containers.as_ref()?.get(i)))
                    }
                    ContainerAt::Main(i) => ("containers", i, spec.and_then(|s| s.containers.get(i))),
                };
                let mounts = format!("/spec/{list}/{index}/volumeMounts");
                patch.ensure(&mounts, container.is_some_and(|c| c.volume_mounts.is_some()), json!([]));
                patch.add(format!("{mounts}/-"), json!(mount));
            }
        }
    }
    patch.operations
}

struct Patch {
    operations: Vec<Operation>,
    made: Vec<String>,
}

impl Patch {
    /// Makes a parent that is not there, once.
    fn ensure(&mut self, path: &str, present: bool, empty: Value) {
        if !present && !self.made.iter().any(|made| made == path) {
            self.made.push(path.to_owned());
            self.add(path.to_owned(), empty);
        }
    }

    fn add(&mut self, path: String, value: Value) {
        self.operations.push(Operation { op: "add", path, value });
    }
}

/// A key as a part of a JSON pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
