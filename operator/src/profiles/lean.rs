//! A pod as it is kept here: what decisions read of it, the same bytes for all pods that are the same to them.

use eci_api::annotations::{self, Writer};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// How the volume of a pod's token is called, each with a name of its own.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// Annotations that differ from pod to pod, or are long, and that no profile sets: by how they begin.
const NOISE: [&str; 3] =
    ["kubectl.kubernetes.io/last-applied-configuration", "cni.projectcalico.org/", "k8s.v1.cni.cncf.io/"];

/// What is left of a pod, as JSON. One without a controller keeps its name, for it is its own workload.
pub(super) fn shape(pod: Pod) -> Option<Vec<u8>> {
    let Pod { metadata, spec, .. } = pod;
    let mut owners = metadata.owner_references.unwrap_or_default();
    for owner in &mut owners {
        (owner.uid, owner.block_owner_deletion) = (String::new(), None);
    }
    let controlled = owners.iter().any(|owner| owner.controller == Some(true));
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.retain(|name, _| {
        let reported = annotations::find(name).is_some_and(|known| known.writer == Writer::System);
        !reported && !NOISE.iter().any(|noise| name.starts_with(noise))
    });
    let mut spec = spec?;
    (spec.node_name, spec.hostname, spec.subdomain) = (None, None, None);
    if let Some(volumes) = &mut spec.volumes {
        volumes.retain(|volume| !volume.name.starts_with(TOKEN_VOLUME));
    }
    spec.init_containers.iter_mut().flatten().for_each(trim);
    spec.containers.iter_mut().for_each(trim);
    let pod = Pod {
        metadata: ObjectMeta {
            name: metadata.name.filter(|_| !controlled),
            namespace: metadata.namespace,
            labels: metadata.labels,
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: (!owners.is_empty()).then_some(owners),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    };
    serde_json::to_vec(&pod).ok()
}

fn trim(container: &mut Container) {
    (container.env, container.env_from, container.command, container.args) = (None, None, None, None);
    (container.liveness_probe, container.readiness_probe, container.startup_probe) = (None, None, None);
    container.lifecycle = None;
    if let Some(mounts) = &mut container.volume_mounts {
        mounts.retain(|mount| !mount.name.starts_with(TOKEN_VOLUME));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(name: &str, more: &Value) -> Vec<u8> {
        let mut pod = json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "resourceVersion": name,
                "labels": { "app": "web" },
                "annotations": { "k8s.aliyun.com/eci-instance-id": name, "cni.projectcalico.org/podIP": name },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": true,
                }],
            },
            "spec": {
                "nodeName": name, "hostname": name,
                "volumes": [{ "name": format!("kube-api-access-{name}") }, { "name": "data", "emptyDir": {} }],
                "containers": [{
                    "name": "main", "image": "web:1", "env": [{ "name": "SECRET", "value": name }],
                    "volumeMounts": [
                        { "name": format!("kube-api-access-{name}"), "mountPath": "/var/run" },
                        { "name": "data", "mountPath": "/data" },
                    ],
                }],
            },
            "status": { "podIP": name },
        });
        for (key, value) in more.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        shape(serde_json::from_value(pod).unwrap()).unwrap()
    }

    #[test]
    fn pods_of_one_template_are_the_same_and_others_are_not() {
        assert_eq!(made("a", &json!({})), made("b", &json!({})));
        assert_ne!(made("a", &json!({})), made("a", &json!({ "labels": { "app": "db" } })));
        let alone = json!({ "ownerReferences": [] });
        assert_ne!(made("a", &alone), made("b", &alone));
        let pod: Pod = serde_json::from_slice(&made("a", &json!({}))).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        assert_eq!(container.image.as_deref(), Some("web:1"));
        assert_eq!(container.volume_mounts.as_ref().unwrap().len(), 1);
        assert_eq!((pod.metadata.name, pod.metadata.annotations), (None, None));
    }
}
