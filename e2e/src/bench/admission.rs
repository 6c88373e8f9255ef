//! What the webhook costs: decisions in process, and pod creates on a real API server without it, with it, without its
//! process, and with a webhook that is asked about every pod, as the vendor's open-source one is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_core::admission::answer;
use eci_core::profile::decide::{Namespace, World};
use eci_core::profile::{PROFILES_ANNOTATION, Profile, Profiles};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::stack::{Programs, Stack, StackOptions};
use crate::testbed::webhook::{Says, Webhook};
use crate::testbed::{ControlPlane, Stopwatch};

/// How many profiles decisions are made against.
const PROFILES: [usize; 3] = [10, 100, 1_000];
/// How many decisions of each.
const DECISIONS: usize = 5_000;
/// Pod creates at once.
const AT_ONCE: usize = 4;
/// Pods before each measurement, which are not counted.
const WARM_UP: usize = 40;
/// For what must happen.
const PATIENCE: Duration = Duration::from_mins(2);
/// The name of the incumbent's configuration.
const INCUMBENT: &str = "incumbent";
/// Namespace that a profile selects.
const SELECTED: &str = "selected";
/// Namespace that no profile selects.
const FREE: &str = "free";

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Pods of each row.
    pub pods: usize,
    /// A release build of the operator.
    pub release: bool,
}

/// Decisions against so many profiles.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Decided {
    profiles: usize,
    p50_us: f64,
    p99_us: f64,
}

/// Pod creates of one row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: &'static str,
    pods: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Pods that carry the mark of a profile.
    marked: usize,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    release_build: bool,
    decisions: Vec<Decided>,
    creates: Vec<Row>,
    /// What the webhook adds to a create, ms.
    added_p50_ms: f64,
    /// Invariants that do not hold.
    broken: Vec<String>,
}

/// Measures, prints a table and writes `target/bench/admission.json`; whether every invariant held: the mark on every pod
/// that a profile selects and on no other, and every pod created when the operator is dead. Never a time.
pub async fn run(what: Admission) -> Result<bool> {
    let decisions = PROFILES.map(decisions).into_iter().collect::<Result<Vec<_>>>()?;
    println!("decisions in process\n\n| profiles | p50, µs | p99, µs |\n| ---: | ---: | ---: |");
    for Decided { profiles, p50_us, p99_us } in &decisions {
        println!("| {profiles} | {p50_us:.1} | {p99_us:.1} |");
    }
    let creates = creates(what).await?;
    println!("\npod creates, {AT_ONCE} at once\n");
    println!("| | creates a second | p50, ms | p99, ms | pods | of these marked |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for Row { name, pods, per_second, p50_ms, p99_ms, marked } in &creates {
        println!("| {name} | {per_second:.0} | {p50_ms:.1} | {p99_ms:.1} | {pods} | {marked} |");
    }
    let [without, with, _, dead] = &creates[..] else { anyhow::bail!("a row is missing") };
    let mut broken = Vec::new();
    for row in &creates {
        let wanted = if row.name == with.name { row.pods } else { 0 };
        if row.marked != wanted {
            broken.push(format!("{}: {} pods are marked, not {wanted}", row.name, row.marked));
        }
    }
    if dead.pods != what.pods {
        broken.push(format!("{} of {} pods were created without the operator", dead.pods, what.pods));
    }
    let added_p50_ms = with.p50_ms - without.p50_ms;
    println!("\nthe webhook adds {added_p50_ms:.1} ms to a create (p50)");
    for broken in &broken {
        println!("FAILED: {broken}");
    }
    let held = broken.is_empty();
    let report = Report { release_build: what.release, decisions, creates, added_p50_ms, broken };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    fs::write(dir.join("admission.json"), serde_json::to_string_pretty(&report)?)?;
    println!("written to target/bench/admission.json");
    Ok(held)
}

/// Teams with profiles of their own and one for all: what a large cluster has.
fn decisions(count: usize) -> Result<Decided> {
    let profile = |n: usize| -> Result<Profile> {
        let selector = match n % 4 {
            0 => json!({ "namespaceSelector": { "matchLabels": { "team": format!("team-{n}") } } }),
            1 => json!({ "podSelector": { "matchLabels": { "app": format!("app-{n}"), "tier": "batch" } } }),
            2 => json!({ "podSelector": { "matchExpressions": [
                { "key": "app", "operator": "In", "values": [format!("app-{n}"), format!("app-{}", n + 1)] },
                { "key": "stage", "operator": "NotIn", "values": ["test"] }] } }),
            _ => json!({ "namespaceSelector": { "matchLabels": {
                "kubernetes.io/metadata.name": format!("ns-{n}") } },
                "podSelector": { "matchExpressions": [{ "key": "spot", "operator": "Exists" }] } }),
        };
        let mut spec = json!({ "priority": n % 7, "selector": selector });
        spec["spot"] = json!({ "strategy": "SpotAsPriceGo", "release": "Evict" });
        spec["network"] = json!({ "vSwitchIDs": ["vsw-a"] });
        Ok(Profile { name: format!("p{n:04}"), generation: 1, spec: Arc::new(serde_json::from_value(spec)?) })
    };
    let mut all = (0..count).map(profile).collect::<Result<Vec<_>>>()?;
    let base = json!({ "priority": -5, "selector": { "namespaceSelector": { "matchExpressions": [
        { "key": "team", "operator": "Exists" }] } }, "placement": { "policy": "Fair" } });
    all.push(Profile {
        name: "base".to_owned(),
        generation: 1,
        spec: Arc::new(serde_json::from_value(base)?),
    });
    let profiles = Profiles::new(all, "eci-system");
    let world = World::default();
    let mut times = Vec::with_capacity(DECISIONS);
    for n in 0..DECISIONS {
        let team = format!("team-{}", n % count);
        let name = format!("ns-{}", n % count);
        let labels = BTreeMap::from([
            ("kubernetes.io/metadata.name".to_owned(), name.clone()),
            ("team".to_owned(), team),
        ]);
        let mut object = template("p");
        object["metadata"]["labels"] = json!({ "app": format!("app-{}", n % count), "tier": "batch" });
        let pod: Pod = serde_json::from_value(object)?;
        let namespace = Namespace { name: &name, labels: &labels };
        let start = Stopwatch::start();
        let answer = answer::pod(&profiles, &world, namespace, &pod);
        times.push(start.elapsed());
        ensure!(!answer.patch.is_empty(), "the profile for all did not match");
    }
    let us = |percent| percentile(&mut times.clone(), percent).as_secs_f64() * 1e6;
    Ok(Decided { profiles: count, p50_us: us(50), p99_us: us(99) })
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn template(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": "bench" } },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": "registry.example.com/web:1" }],
        },
    })
}

async fn creates(what: Admission) -> Result<Vec<Row>> {
    let options = StackOptions {
        log_level: "info",
        values: json!({ "controllers": ["webhook"] }),
        ..StackOptions::default()
    };
    let programs =
        if what.release { Programs::with_released_operator()? } else { Programs::beside_this_one()? };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, programs, &options).await?;
    stack.start_operator().await?;
    let client = stack.client()?;
    let selected = namespace(&client, SELECTED).await?;
    let free = namespace(&client, FREE).await?;
    let profile = json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": "bench" },
        "spec": {
            "selector": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": SELECTED } } },
            "placement": { "policy": "Fair" },
            "spot": { "strategy": "SpotAsPriceGo", "release": "Evict" },
        },
    });
    let profiles: Api<EciProfile> = Api::all(client.clone());
    profiles.create(&PostParams::default(), &serde_json::from_value(profile)?).await?;
    eventually("the webhook answers", PATIENCE, || async {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let pod = serde_json::from_value(template("probe")).map_err(|error| error.to_string())?;
        let made: Pod = selected.create(&params, &pod).await.map_err(|error| error.to_string())?;
        if is_marked(&made) { Ok(()) } else { Err("no mark".to_owned()) }
    })
    .await?;
    let mut rows = vec![
        create(&free, "without a webhook", what.pods).await?,
        create(&selected, "with the operator's webhook", what.pods).await?,
    ];
    let webhook = Webhook::start(stack.plane(), INCUMBENT, Duration::ZERO, |_| Says::Allow).await?;
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": INCUMBENT },
        "webhooks": [{
            "name": "incumbent.example.com", "clientConfig": webhook.client_config(),
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                "operations": ["CREATE"] }],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "timeoutSeconds": 5,
        }],
    });
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    configurations.patch(INCUMBENT, &PatchParams::apply("bench"), &Patch::Apply(configuration)).await?;
    eventually("the incumbent's shape is asked", PATIENCE, || async {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let pod = serde_json::from_value(template("probe")).map_err(|error| error.to_string())?;
        let before = webhook.asked();
        free.create(&params, &pod).await.map_err(|error| error.to_string())?;
        if webhook.asked() > before { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    rows.push(create(&free, "with one that is asked about every pod", what.pods).await?);
    configurations.delete(INCUMBENT, &DeleteParams::default()).await?;
    stack.kill_operator().await?;
    rows.push(create(&selected, "with the operator dead", what.pods).await?);
    let forbidden = stack.forbidden()?;
    ensure!(forbidden.is_empty(), "refused: {forbidden:?}");
    Ok(rows)
}

async fn namespace(client: &Client, name: &str) -> Result<Api<Pod>> {
    let api: Api<NamespaceObject> = Api::all(client.clone());
    let object = json!({ "metadata": { "name": name } });
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    eventually("the namespace has its account", PATIENCE, || async {
        accounts.get("default").await.map(drop)
    })
    .await?;
    Ok(Api::namespaced(client.clone(), name))
}

fn is_marked(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(PROFILES_ANNOTATION))
}

/// Creates pods, some at once, and deletes them again.
async fn create(pods: &Api<Pod>, name: &'static str, count: usize) -> Result<Row> {
    let next = AtomicUsize::new(0);
    let maker = |total: usize, prefix: &'static str| {
        let next = &next;
        async move {
            let mut made = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= total {
                    return anyhow::Ok(made);
                }
                let pod = serde_json::from_value(template(&format!("{prefix}-{n}")))?;
                let start = Stopwatch::start();
                let pod = pods.create(&PostParams::default(), &pod).await?;
                made.push((start.elapsed(), is_marked(&pod)));
            }
        }
    };
    futures::future::try_join_all((0..AT_ONCE).map(|_| maker(WARM_UP, "warm"))).await?;
    next.store(0, Ordering::Relaxed);
    let start = Stopwatch::start();
    let made = futures::future::try_join_all((0..AT_ONCE).map(|_| maker(count, "pod"))).await?;
    let seconds = start.elapsed().as_secs_f64();
    let made: Vec<_> = made.into_iter().flatten().collect();
    let gone = DeleteParams::default().grace_period(0);
    pods.delete_collection(&gone, &kube::api::ListParams::default()).await?;
    let mut times: Vec<_> = made.iter().map(|(time, _)| *time).collect();
    let mut ms = |percent| percentile(&mut times, percent).as_secs_f64() * 1e3;
    Ok(Row {
        name,
        pods: made.len(),
        per_second: number(made.len()) / seconds,
        p50_ms: ms(50),
        p99_ms: ms(99),
        marked: made.iter().filter(|(_, marked)| *marked).count(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a number of pods")]
fn number(count: usize) -> f64 {
    count as f64
}
