//! `imageCache.requireReady`: a pod waits for its cache at a gate of the scheduler, and no longer than it may.

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_core::profile::PROFILES_ANNOTATION;
use eci_core::profile::caches::IMAGE_CACHE_GATE;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::Caches;
use eci_e2e::testbed::nodes;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::{PATIENCE, bare_pod, json_merge, namespace_selector, quiet, scene, template};

/// The annotation by which a pod starts from one cache.
const PINNED: &str = "k8s.aliyun.com/eci-imc-id";

/// A profile that pins one cache for the pods with this label, which wait for it so long; comes back when new pods get
/// what it says.
async fn pins(client: &Client, label: &str, cache: &str, timeout: &str) -> Result<()> {
    let mut selector = namespace_selector("gate");
    selector["podSelector"] = json!({ "matchLabels": { "waits": label } });
    let name = format!("gate-{label}");
    let profile = json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": name },
        "spec": { "selector": selector, "imageCache": {
            "mode": "Pinned", "refs": [{ "namespace": "gate", "name": cache }],
            "requireReady": true, "readyTimeout": timeout,
        } },
    });
    let api: Api<EciProfile> = Api::all(client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(profile)?).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "gate");
    let mut probe = template("gate");
    json_merge(&mut probe, &labelled(label));
    probe["metadata"]["name"] = "probe".into();
    let probe: Pod = serde_json::from_value(probe)?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually(&format!("a pod that {name} selects is gated"), PATIENCE, || async {
        let made = pods.create(&dry_run, &probe).await.map_err(|error| error.to_string())?;
        let mark = made.annotations().get(PROFILES_ANNOTATION).cloned();
        if is_gated(&made) { Ok(()) } else { Err(format!("{mark:?}")) }
    })
    .await
}

fn labelled(label: &str) -> Value {
    json!({ "metadata": { "labels": { "waits": label } } })
}

fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.scheduling_gates.iter().flatten());
    gates.into_iter().any(|gate| gate.name == IMAGE_CACHE_GATE)
}

fn is_bound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

#[tokio::test]
async fn pods_wait_for_their_image_cache_until_it_is_ready_or_their_time_is_over() -> Result<()> {
    let stack = quiet().await;
    let client = scene(stack, "gate", 1, vec![nodes::virtual_node("gate-virtual")]).await?;
    let caches = Caches::new(client.clone(), "gate");
    // Neither is built until somebody lets it.
    for name in ["soon", "never"] {
        caches.create(name, json!({ "images": ["example.com/none"], "suspend": true })).await?;
    }
    pins(&client, "patient", "soon", "24h").await?;
    pins(&client, "hasty", "never", "5s").await?;
    let virtual_node = json!({ "spec": {
        "tolerations": [{ "key": nodes::ACK_TAINT.0, "operator": "Exists" }],
        "containers": [{ "name": "main", "image": "example.com/none" }],
    } });
    for name in ["patient", "hasty"] {
        let mut more = labelled(name);
        json_merge(&mut more, &virtual_node);
        let made = bare_pod(&client, "gate", name, &more).await?;
        ensure!(is_gated(&made) && !made.annotations().contains_key(PINNED), "{made:?}");
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), "gate");
    let started = |name: &'static str| {
        let pods = pods.clone();
        async move {
            eventually(&format!("{name} has a node"), PATIENCE, || async {
                let pod = pods.get(name).await.map_err(|error| error.to_string())?;
                if is_bound(&pod) && !is_gated(&pod) { Ok(pod) } else { Err(format!("{:?}", pod.spec)) }
            })
            .await
        }
    };
    let hasty = started("hasty").await?;
    ensure!(!hasty.annotations().contains_key(PINNED), "it starts from what is not there: {hasty:?}");
    let patient = pods.get("patient").await?;
    ensure!(is_gated(&patient) && !is_bound(&patient), "it did not wait: {patient:?}");

    caches.patch("soon", json!({ "spec": { "suspend": false } })).await?;
    caches.says("soon", "True", "Available", PATIENCE).await?;
    let id = caches.get("soon").await?.status.and_then(|status| status.image_cache_id).context("an ID")?;
    let patient = started("patient").await?;
    ensure!(patient.annotations().get(PINNED) == Some(&id), "{:?}", patient.annotations());
    Ok(())
}
