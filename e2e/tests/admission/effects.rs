//! What a profile says is in the pods that it selects, and in no others.

use anyhow::{Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_e2e::eventually::eventually;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{PATIENCE, annotates, annotations, marked, namespace, pod, profile, shared, tried};

const NOTE: &str = "example.com/note";

#[tokio::test]
async fn pods_of_a_deployment_get_what_profiles_say_and_keep_what_they_say_themselves() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "effects", json!({ "team": "effects" })).await?;
    let spec = json!({
        "selector": { "namespaceSelector": { "matchLabels": { "team": "effects" } } },
        "placement": { "policy": "VirtualNodesOnly" },
        "spot": { "strategy": "SpotAsPriceGo", "release": "Evict" },
        "network": { "vSwitchIDs": ["vsw-a", "vsw-b"], "securityGroupIDs": ["sg-a"] },
        "effects": { "labels": { "billing": "spot" }, "annotations": { (NOTE): "from the profile" } },
    });
    profile(&client, "effects", spec).await?;
    marked(&pods, &pod("first", "any"), Some("effects@1")).await?;
    let own = json!({ (NOTE): "my own", "k8s.aliyun.com/eci-vswitch": "vsw-mine" });
    let deployment = json!({
        "metadata": { "name": "web" },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": {
            "metadata": { "labels": { "app": "web" }, "annotations": own },
            "spec": {
                "containers": [{ "name": "main", "image": "registry.example.com/web:1" }],
                "tolerations": [{ "key": "mine", "operator": "Exists" }],
                "nodeSelector": { "zone": "a" },
            },
        } },
    });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "effects");
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    let made = eventually("two pods", PATIENCE, || async {
        let list = pods.list(&ListParams::default().labels("app=web")).await;
        let list: Vec<Pod> = list.map_err(|error| error.to_string())?.items;
        if list.len() == 2 { Ok(list) } else { Err(format!("{} pods", list.len())) }
    })
    .await?;
    for pod in &made {
        let has = annotations(pod);
        ensure!(has["eci-operator.io/profiles"] == "effects@1", "{has:?}");
        ensure!(has[NOTE] == "my own" && has["k8s.aliyun.com/eci-vswitch"] == "vsw-mine", "{has:?}");
        ensure!(!has.contains_key("k8s.aliyun.com/eci-security-group"), "half of a unit: {has:?}");
        ensure!(has["k8s.aliyun.com/eci-spot-strategy"] == "SpotAsPriceGo", "{has:?}");
        ensure!(pod.labels()["billing"] == "spot", "{:?}", pod.labels());
        let spec = pod.spec.as_ref().unwrap();
        let keys: Vec<_> = spec.tolerations.iter().flatten().filter_map(|t| t.key.clone()).collect();
        ensure!(keys.iter().any(|key| key == "mine"), "{keys:?}");
        ensure!(keys.iter().any(|key| key == "virtual-kubelet.io/provider"), "{keys:?}");
        ensure!(spec.node_selector.as_ref().unwrap()["zone"] == "a");
        ensure!(spec.affinity.is_some(), "VirtualNodesOnly has required terms");
    }
    // A change of a pod is no creation: the mark that somebody takes away stays away.
    let patch = json!({ "metadata": { "annotations": { "eci-operator.io/profiles": null } } });
    let name = made[0].name_any();
    let after =
        pods.patch(&name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(patch)).await?;
    ensure!(!annotations(&after).contains_key("eci-operator.io/profiles"));
    Ok(())
}

#[tokio::test]
async fn a_change_of_a_profile_takes_effect_and_so_does_its_end() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "changes", json!({})).await?;
    profile(&client, "changes", annotates("changes", NOTE, "one")).await?;
    let made = marked(&pods, &pod("a", "changes"), Some("changes@1")).await?;
    ensure!(annotations(&made)[NOTE] == "one");
    profile(&client, "changes", annotates("changes", NOTE, "two")).await?;
    let made = marked(&pods, &pod("a", "changes"), Some("changes@2")).await?;
    ensure!(annotations(&made)[NOTE] == "two");
    let mut audit = annotates("changes", NOTE, "three");
    audit["mode"] = json!("Audit");
    profile(&client, "changes", audit).await?;
    marked(&pods, &pod("a", "changes"), None).await?;
    profile(&client, "changes", annotates("changes", NOTE, "four")).await?;
    marked(&pods, &pod("a", "changes"), Some("changes@4")).await?;
    let api: Api<EciProfile> = Api::all(client);
    api.delete("changes", &DeleteParams::default()).await?;
    marked(&pods, &pod("a", "changes"), None).await?;
    Ok(())
}

#[tokio::test]
async fn nobody_is_touched_who_opted_out_and_no_namespace_of_the_system() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "opt", json!({})).await?;
    let out = namespace(&client, "opted-out", json!({ "eci-operator.io/inject": "disabled" })).await?;
    profile(&client, "opt", annotates("opt", NOTE, "x")).await?;
    marked(&pods, &pod("a", "opt"), Some("opt@1")).await?;
    ensure!(super::mark(&tried(&out, &pod("a", "opt")).await?).is_none());
    let mut alone = pod("a", "opt");
    alone["metadata"]["labels"]["eci-operator.io/inject"] = json!("disabled");
    ensure!(super::mark(&tried(&pods, &alone).await?).is_none());
    for name in ["kube-system", "kube-public", "eci-system"] {
        let system: Api<Pod> = Api::namespaced(client.clone(), name);
        ensure!(super::mark(&tried(&system, &pod("a", "opt")).await?).is_none(), "{name}");
    }
    // A namespace that is newer than the watch, perhaps; many at once would find a gap.
    for n in 0..5 {
        let new = namespace(&client, &format!("opt-{n}"), json!({})).await?;
        ensure!(super::mark(&tried(&new, &pod("a", "opt")).await?).as_deref() == Some("opt@1"), "{n}");
    }
    Ok(())
}

#[tokio::test]
async fn bare_pods_pods_without_a_name_and_huge_pods_pass() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "bare", json!({})).await?;
    profile(&client, "bare", annotates("bare", NOTE, "x")).await?;
    marked(&pods, &pod("a", "bare"), Some("bare@1")).await?;
    let bare = json!({
        "metadata": { "name": "bare" },
        "spec": { "containers": [{ "name": "main", "image": "registry.example.com/web:1" }] },
    });
    let made = tried(&pods, &bare).await?;
    ensure!(made.metadata.annotations.is_none(), "{:?}", made.metadata);
    let mut nameless = pod("a", "bare");
    nameless["metadata"] = json!({ "generateName": "web-", "labels": { "app": "bare" } });
    ensure!(super::mark(&tried(&pods, &nameless).await?).as_deref() == Some("bare@1"));
    let mut huge = pod("a", "bare");
    huge["spec"]["containers"][0]["env"] = json!(
        (0..1_000)
            .map(|n| json!({ "name": format!("V{n}"), "value": "x".repeat(1_000) }))
            .collect::<Vec<_>>()
    );
    ensure!(super::mark(&tried(&pods, &huge).await?).as_deref() == Some("bare@1"));
    Ok(())
}
