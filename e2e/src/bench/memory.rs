//! What the operator as it is shipped takes: its file, its time from start to ready, and its memory of a large cluster,
//! with all of its parts and at a start that finds everything there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_api::image_cache::ImageCache;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::measure::{clock, memory};
use crate::eventually::eventually;
use crate::stack::{Programs, Stack, StackOptions, get};
use crate::testbed::{ControlPlane, StartOptions, nodes};

/// Pods of one namespace and workload.
const TOGETHER: usize = 200;
/// Requests to the API server at once.
const AT_ONCE: usize = 16;
/// For what must happen.
const PATIENCE: Duration = Duration::from_mins(10);
/// Most memory of the operator as it is shipped, KiB, with no more than the default numbers of objects.
const MEMORY: u64 = 64 * 1_024;
/// Most bytes of the operator's file as it is shipped.
const BINARY: u64 = 20 << 20;
/// Starts with nothing in the cluster.
const STARTS: usize = 5;
/// How often is looked whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Pods.
    pub pods: usize,
    /// ImageCaches.
    pub caches: usize,
    /// EciProfiles.
    pub profiles: usize,
    /// A release build of the operator.
    pub release: bool,
}

/// Resident memory at one moment, KiB.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reading {
    when: &'static str,
    rss_kib: u64,
    peak_rss_kib: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    pods: usize,
    caches: usize,
    profiles: usize,
    release_build: bool,
    /// The operator's file, bytes.
    binary_bytes: u64,
    /// From the start of the process to ready with nothing in the cluster, milliseconds, shortest first.
    empty_ready_ms: Vec<u128>,
    /// The same with everything there, milliseconds.
    full_ready_ms: u128,
    /// JSON of one pod, bytes.
    pod_bytes: usize,
    readings: Vec<Reading>,
    /// Invariants that do not hold.
    broken: Vec<String>,
}

/// Measures, prints a table and writes `target/bench/memory.json`; whether a release build stayed within 64 MiB, and its
/// file within 20.
pub async fn run(what: Memory) -> Result<bool> {
    let Memory { pods, caches, profiles, release } = what;
    let build = if release { "release" } else { "debug" };
    println!("bench memory: {pods} pods, {caches} ImageCaches, {profiles} EciProfiles, a {build} build");
    let options = StackOptions {
        // Nothing here needs a controller, and none should make others of these pods.
        plane: StartOptions { controllers: false, scheduler: false, kwok: false, ..StartOptions::default() },
        log_level: "info",
        values: json!({ "cloudWritesPerSecond": 50 }),
        ..StackOptions::default()
    };
    let programs = if release { Programs::with_released_operator()? } else { Programs::beside_this_one()? };
    let binary_bytes = fs::metadata(&programs.operator).context("the operator has no file")?.len();
    println!("the operator's file has {:.1} MiB", mib(binary_bytes / 1_024));
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, programs, &options).await?;
    stack.cloud().settings(json!({ "maxImageCaches": caches + 1 })).await?;
    let mut empty_ready_ms = Vec::new();
    for _ in 0..STARTS {
        empty_ready_ms.push(ready(&mut stack).await?.as_millis());
        ensure!(stack.stop_operator().await?, "the operator did not end well");
    }
    empty_ready_ms.sort_unstable();
    println!("ready after {empty_ready_ms:?} ms with nothing in the cluster");
    let begun = clock();
    let pod_bytes = populate(&stack.client()?, what).await?;
    println!("a pod has {pod_bytes} bytes of JSON; all of it was made in {} s", begun.elapsed().as_secs());

    let mut readings = Vec::new();
    let full_ready_ms = ready(&mut stack).await?.as_millis();
    println!("ready after {full_ready_ms} ms with everything in the cluster");
    readings.push(read("ready", &stack)?);
    counted(&stack, pods).await?;
    readings.push(read("every pod is counted for its profile", &stack)?);
    built(&stack, caches).await?;
    readings.push(read("every ImageCache is Ready", &stack)?);
    println!("\n| | memory (RSS), MiB | most so far, MiB |\n| --- | ---: | ---: |");
    for reading in &readings {
        println!("| {} | {:.1} | {:.1} |", reading.when, mib(reading.rss_kib), mib(reading.peak_rss_kib));
    }

    let default = (10_000, 1_000, 100);
    let is_default = pods <= default.0 && caches <= default.1 && profiles <= default.2;
    let most = readings.iter().map(|reading| reading.peak_rss_kib).max().unwrap_or_default();
    let mut broken = Vec::new();
    if release && is_default && most > MEMORY {
        broken.push(format!("{:.1} MiB of memory, more than {}", mib(most), MEMORY / 1_024));
    }
    if release && binary_bytes > BINARY {
        broken.push(format!("a file of {:.1} MiB, more than {}", mib(binary_bytes / 1_024), BINARY >> 20));
    }
    for request in stack.forbidden()? {
        broken.push(format!("refused: {request}"));
    }
    for broken in &broken {
        println!("FAILED: {broken}");
    }
    let held = broken.is_empty();
    let report = Report {
        pods,
        caches,
        profiles,
        release_build: release,
        binary_bytes,
        empty_ready_ms,
        full_ready_ms,
        pod_bytes,
        readings,
        broken,
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    fs::write(dir.join("memory.json"), serde_json::to_string_pretty(&report)?)?;
    println!("written to target/bench/memory.json");
    Ok(held)
}

#[expect(clippy::cast_precision_loss, reason = "MiB of one process")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

fn read(when: &'static str, stack: &Stack) -> Result<Reading> {
    let (rss_kib, peak_rss_kib) = memory(stack)?;
    Ok(Reading { when, rss_kib, peak_rss_kib })
}

/// Starts the operator; how long it takes from the start of the process until it says that it is ready.
async fn ready(stack: &mut Stack) -> Result<Duration> {
    let begun = clock();
    stack.launch_operator().await?;
    loop {
        // Before, it does not listen yet, or has not seen enough.
        if let Ok((200, _)) = get(stack.health(), "/readyz").await {
            return Ok(begun.elapsed());
        }
        stack.operator().context("the operator was just started")?.check_alive()?;
        ensure!(begun.elapsed() < PATIENCE, "the operator is not ready after {PATIENCE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until the profiles say that all pods are theirs.
async fn counted(stack: &Stack, pods: usize) -> Result<()> {
    let profiles: Api<EciProfile> = Api::all(stack.client()?);
    let wanted = i64::try_from(pods)?;
    eventually("every pod is counted", PATIENCE, || async {
        let list = profiles.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let counts = list.items.iter().filter_map(|profile| profile.status.as_ref()?.counts.as_ref());
        let seen: i64 = counts.map(|counts| counts.pods).sum();
        if seen == wanted { Ok(()) } else { Err(format!("{seen} are")) }
    })
    .await
}

/// Waits until all image caches are Ready.
async fn built(stack: &Stack, caches: usize) -> Result<()> {
    let api: Api<ImageCache> = Api::all(stack.client()?);
    eventually("every ImageCache is Ready", PATIENCE, || async {
        let list = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let is_ready = |cache: &&ImageCache| {
            let conditions = cache.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let ready = list.items.iter().filter(is_ready).count();
        if ready == caches { Ok(()) } else { Err(format!("{ready} are")) }
    })
    .await
}

/// Makes everything before the operator starts; gives the size of a pod.
async fn populate(client: &Client, what: Memory) -> Result<usize> {
    let Memory { pods, caches, profiles, .. } = what;
    let groups = pods.div_ceil(TOGETHER);
    create(Api::<Node>::all(client.clone()), "", &json!(nodes::virtual_node("virtual"))).await?;
    for group in 0..groups {
        let name = format!("team-{group}");
        create(Api::<Namespace>::all(client.clone()), "", &json!({ "metadata": { "name": name } })).await?;
        let account = json!({ "metadata": { "name": "default" } });
        create(Api::<ServiceAccount>::namespaced(client.clone(), &name), "", &account).await?;
        let budget = json!({ "metadata": { "name": "web" }, "spec": {
            "maxUnavailable": "10%", "selector": { "matchLabels": { "app": "web" } } } });
        create(Api::<PodDisruptionBudget>::namespaced(client.clone(), &name), "", &budget).await?;
    }
    for number in 0..profiles {
        // Each pod has one profile, and most profiles have none of them.
        let namespace = json!({ "matchLabels": { "kubernetes.io/metadata.name": format!("team-{number}") } });
        let profile = json!({
            "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile",
            "metadata": { "name": format!("profile-{number}") },
            "spec": {
                "selector": { "namespaceSelector": namespace },
                "spot": { "strategy": "SpotAsPriceGo", "release": "Evict" },
                "placement": { "policy": "Fair" },
            },
        });
        create(Api::<EciProfile>::all(client.clone()), "", &profile).await?;
    }
    ensure!(groups <= profiles, "{pods} pods need at least {groups} profiles");
    let each = (0..pods).map(|number| {
        let api: Api<Pod> = Api::namespaced(client.clone(), &format!("team-{}", number / TOGETHER));
        async move {
            let name = format!("web-5d8f7c9b6d-{number:05}");
            create(api.clone(), &name, &pod(&name)).await?;
            let status = Patch::Merge(json!({ "status": running() }));
            let made = api.patch_status(&name, &PatchParams::default(), &status).await?;
            anyhow::Ok(serde_json::to_vec(&made)?.len())
        }
    });
    let sizes: Vec<usize> = stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
    let each = (0..caches).map(|number| {
        let api: Api<ImageCache> = Api::namespaced(client.clone(), &format!("team-{}", number % groups));
        async move {
            let name = format!("cache-{number}");
            let image = format!("registry.example.com/shop/service-{number}:1.24.3");
            let cache = json!({
                "apiVersion": "eci-operator.io/v1alpha1", "kind": "ImageCache", "metadata": { "name": name },
                "spec": { "images": [image, "registry.example.com/base/sidecar:2.1.0"] },
            });
            create(api, &name, &cache).await
        }
    });
    stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(sizes.iter().sum::<usize>() / sizes.len().max(1))
}

async fn create<K>(api: Api<K>, name: &str, object: &Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object.clone())?;
    api.create(&PostParams::default(), &object).await.with_context(|| format!("cannot create {name}"))?;
    Ok(())
}

/// A pod as clusters have them: a service with a sidecar, probes, resources, environment and volumes.
fn pod(name: &str) -> Value {
    let container = |name: &str, image: &str| {
        let env: Vec<Value> = (0..12)
            .map(|n| json!({ "name": format!("SETTING_{n}"), "value": format!("value of the setting {n}") }))
            .collect();
        json!({
            "name": name, "image": image, "env": env,
            "ports": [{ "containerPort": 8_080, "name": "http" }],
            "resources": { "requests": { "cpu": "500m", "memory": "1Gi" }, "limits": { "memory": "1Gi" } },
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8_080 }, "periodSeconds": 5 },
            "livenessProbe": { "httpGet": { "path": "/live", "port": 8_080 }, "periodSeconds": 15 },
            "volumeMounts": [{ "name": "config", "mountPath": "/etc/config" }, { "name": "tmp", "mountPath": "/tmp" }],
        })
    };
    let uid = "11111111-2222-3333-4444-555555555555";
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": { "app": "web", "version": "1.24.3", "pod-template-hash": "5d8f7c9b6d" },
            "annotations": {
                "k8s.aliyun.com/eci-spot-strategy": "SpotAsPriceGo", "eci-operator.io/spot-release": "evict",
                "k8s.aliyun.com/eci-instance-id": format!("eci-{name}"), "prometheus.io/scrape": "true",
            },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8f7c9b6d",
                "uid": uid, "controller": true, "blockOwnerDeletion": true }],
        },
        "spec": {
            "nodeName": "virtual",
            "containers": [
                container("web", "registry.example.com/shop/web:1.24.3"),
                container("sidecar", "registry.example.com/base/sidecar:2.1.0"),
            ],
            "volumes": [{ "name": "config", "configMap": { "name": "web" } }, { "name": "tmp", "emptyDir": {} }],
        },
    })
}

fn running() -> Value {
    let since = "2026-01-01T00:00:00Z";
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": since });
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let container = |name: &str, image: &str| {
        json!({
            "name": name, "image": image, "imageID": format!("{image}@sha256:{}", "a".repeat(64)),
            "containerID": format!("containerd://{}", "b".repeat(64)), "ready": true, "started": true,
            "restartCount": 0, "state": { "running": { "startedAt": since } },
        })
    };
    json!({
        "phase": "Running", "podIP": "10.1.2.3", "hostIP": "10.1.2.3", "startTime": since,
        "conditions": conditions,
        "containerStatuses": [
            container("web", "registry.example.com/shop/web:1.24.3"),
            container("sidecar", "registry.example.com/base/sidecar:2.1.0"),
        ],
    })
}
