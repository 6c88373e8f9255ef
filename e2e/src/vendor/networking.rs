//! PodNetworkings of the vendor's network plugin: a definition with the fields of theirs that are read, and objects.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::eventually::eventually;

/// Name of the definition.
pub const DEFINITION: &str = "podnetworkings.network.alibabacloud.com";
/// How long the API server may take to serve the kind.
const SOON: Duration = Duration::from_mins(1);

/// Installs the definition, and waits until objects can be made.
pub async fn install(client: &Client) -> Result<()> {
    let strings = json!({ "type": "array", "items": { "type": "string" } });
    let selector = json!({ "type": "object", "properties": {
        "matchLabels": { "type": "object", "additionalProperties": { "type": "string" } },
        "matchExpressions": { "type": "array", "items": { "type": "object", "properties": {
            "key": { "type": "string" }, "operator": { "type": "string" }, "values": strings,
        } } },
    } });
    let spec = json!({ "type": "object", "properties": {
        "allocationType": { "type": "object", "properties": { "type": { "type": "string", "default": "Elastic" } } },
        "selector": { "type": "object", "properties": { "podSelector": selector, "namespaceSelector": selector } },
        "securityGroupIDs": strings, "vSwitchOptions": strings,
    } });
    let status = json!({ "type": "object", "properties": { "status": { "type": "string" } } });
    let definition = json!({
        "metadata": { "name": DEFINITION },
        "spec": {
            "group": "network.alibabacloud.com",
            "names": { "kind": "PodNetworking", "plural": "podnetworkings", "singular": "podnetworking" },
            "scope": "Cluster",
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object", "properties": { "spec": spec, "status": status },
                } },
            }],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &serde_json::from_value(definition)?).await?;
    eventually("PodNetworkings are served", SOON, || async {
        api(client).list(&kube::api::ListParams::default()).await.map(drop)
    })
    .await
}

/// Makes one with this spec that is Ready.
pub async fn make(client: &Client, name: &str, spec: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "network.alibabacloud.com/v1beta1", "kind": "PodNetworking",
        "metadata": { "name": name }, "spec": spec,
    });
    api(client).create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let ready = Patch::Merge(json!({ "status": { "status": "Ready" } }));
    api(client).patch_status(name, &PatchParams::default(), &ready).await?;
    Ok(())
}

fn api(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("network.alibabacloud.com", "v1beta1", "PodNetworking");
    Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, "podnetworkings"))
}
