//! PodNetworkings of the vendor's network plugin: after the pod itself, and before the profiles.

use anyhow::Result;
use eci_e2e::eventually::eventually;
use eci_e2e::vendor::networking;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{PATIENCE, annotations, mark, namespace, pod, profile, shared, tried};

const V_SWITCH: &str = "k8s.aliyun.com/eci-vswitch";

/// Waits until such a pod, which its profile reaches, gets these vSwitches.
async fn gets(pods: &Api<Pod>, template: &Value, wanted: Option<&str>) -> Result<()> {
    eventually(&format!("a pod with the vSwitches {wanted:?}"), PATIENCE, || async {
        let made = tried(pods, template).await.map_err(|error| error.to_string())?;
        let found = annotations(&made).remove(V_SWITCH);
        let reached = mark(&made).as_deref() == Some("networked@1");
        if reached && found.as_deref() == wanted { Ok(()) } else { Err(format!("{:?}", made.metadata)) }
    })
    .await
}

#[tokio::test]
async fn a_pod_networking_comes_after_the_pod_and_before_profiles_while_its_kind_is_there() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "networked", json!({ "zone": "b" })).await?;
    let spec = json!({
        "selector": { "podSelector": { "matchLabels": { "app": "networked" } } },
        "placement": { "policy": "Fair" },
        "network": { "vSwitchIDs": ["vsw-profile"] },
    });
    profile(&client, "networked", spec).await?;
    let template = pod("a", "networked");
    gets(&pods, &template, Some("vsw-profile")).await?;

    networking::install(&client).await?;
    let selector = json!({
        "podSelector": { "matchLabels": { "app": "networked" } },
        "namespaceSelector": { "matchLabels": { "zone": "b" } },
    });
    networking::make(&client, "zone-b", json!({ "selector": selector, "vSwitchOptions": ["vsw-b"] })).await?;
    // The plugin reads its own object: the pod gets nothing that would stand before it.
    gets(&pods, &template, None).await?;
    let mut own = template.clone();
    own["metadata"]["annotations"] = json!({ (V_SWITCH): "vsw-own" });
    gets(&pods, &own, Some("vsw-own")).await?;
    let elsewhere = namespace(&client, "networked-elsewhere", json!({})).await?;
    gets(&elsewhere, &template, Some("vsw-profile")).await?;

    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.delete(networking::DEFINITION, &DeleteParams::default()).await?;
    gets(&pods, &template, Some("vsw-profile")).await
}
