//! The vendor's webhook: sends pods with the label `alibabacloud.com/eci=true` to virtual nodes.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::testbed::ControlPlane;
use crate::testbed::nodes::{ACK_LABEL, ACK_TAINT};
use crate::testbed::webhook::{Says, Webhook};

/// The name of its configuration. Ours sorts before it, so that it is asked before.
pub const CONFIGURATION: &str = "vk-webhook";
/// The label by which a pod asks for a virtual node.
pub const ROUTED: (&str, &str) = ("alibabacloud.com/eci", "true");

/// Starts it, in place of one that another vendor on the same control plane has started.
pub(super) async fn start(plane: &ControlPlane, client: &Client) -> Result<Webhook> {
    let webhook = Webhook::start(plane, CONFIGURATION, Duration::ZERO, route).await?;
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": CONFIGURATION },
        "webhooks": [{
            "name": "vk-webhook.alibabacloud.com",
            "clientConfig": webhook.client_config(),
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"],
                "scope": "Namespaced",
            }],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "reinvocationPolicy": "Never", "timeoutSeconds": 5,
        }],
    });
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let params = PatchParams::apply("virtual-kubelet").force();
    api.patch(CONFIGURATION, &params, &Patch::Apply(configuration)).await?;
    Ok(webhook)
}

fn route(request: &Value) -> Says {
    let pod = &request["object"];
    if pod["metadata"]["labels"][ROUTED.0] != ROUTED.1 {
        return Says::Allow;
    }
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    tolerations.push(json!({ "key": ACK_TAINT.0, "operator": "Exists" }));
    let mut selector = pod["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
    selector.insert(ACK_LABEL.0.to_owned(), json!(ACK_LABEL.1));
    // `add` replaces what is there.
    Says::Patch(json!([
        { "op": "add", "path": "/spec/tolerations", "value": tolerations },
        { "op": "add", "path": "/spec/nodeSelector", "value": selector },
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_with_the_label_are_changed_and_keep_what_they_had() {
        let pod = |labels: Value| {
            json!({ "object": {
                "metadata": { "labels": labels },
                "spec": { "tolerations": [{ "key": "other" }], "nodeSelector": { "zone": "a" } },
            } })
        };
        assert!(matches!(route(&pod(json!({}))), Says::Allow));
        assert!(matches!(route(&pod(json!({ ROUTED.0: "false" }))), Says::Allow));
        let Says::Patch(patch) = route(&pod(json!({ ROUTED.0: "true" }))) else { unreachable!() };
        assert_eq!(patch[0]["value"][0]["key"], "other");
        assert_eq!(patch[0]["value"][1]["key"], ACK_TAINT.0);
        assert_eq!(patch[1]["value"], json!({ "zone": "a", "type": "virtual-kubelet" }));
    }
}
