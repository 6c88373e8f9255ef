//! What admission costs: decisions in process, and pod creates on a real API server without it, with it, without its
//! process, and with a webhook that is asked about every pod, as the vendor's open-source one is. And what must hold
//! whatever it costs: it says what `decide` says, and certificates are replaced without a lost question.

mod creates;
mod decisions;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::{Value, json};

use self::creates::{AT_ONCE, Load, PACE, Row, is_marked, row};
use self::decisions::{Decided, decisions};
use crate::admission::agreement::Agreement;
use crate::admission::rotation::{Questions, under_load};
use crate::admission::{make_namespace, tried, write_profile};
use crate::eventually::eventually;
use crate::stack::{Programs, Stack, StackOptions};
use crate::testbed::ControlPlane;
use crate::testbed::webhook::{Says, Webhook};

/// How many profiles decisions are made against.
const PROFILES: [usize; 3] = [10, 100, 1_000];
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

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    release_build: bool,
    decisions: Vec<Decided>,
    creates: Vec<Row>,
    /// What the webhook adds to a create at [`PACE`], ms.
    added_p50_ms: f64,
    /// Pods whose result was compared with the decision, on the API server.
    compared: usize,
    /// Pods tried while certificates were replaced.
    asked_during_rotation: usize,
    /// Those of them that the webhook's answer did not reach.
    lost_during_rotation: usize,
    /// Invariants that do not hold.
    broken: Vec<String>,
}

/// Measures, prints a table and writes `target/bench/admission.json`; whether every invariant held: the mark on every pod
/// that a profile selects and on no other, one question for each, every pod created when the operator is dead, and no
/// question lost while certificates were replaced. Never a time. A pod that comes out otherwise than decided is an error.
pub async fn run(what: Admission) -> Result<bool> {
    let decisions = PROFILES.map(decisions).into_iter().collect::<Result<Vec<_>>>()?;
    println!("decisions in process\n\n| profiles | p50, µs | p99, µs |\n| ---: | ---: | ---: |");
    for Decided { profiles, p50_us, p99_us } in &decisions {
        println!("| {profiles} | {p50_us:.1} | {p99_us:.1} |");
    }
    let programs =
        || if what.release { Programs::with_released_operator() } else { Programs::beside_this_one() };
    let (creates, compared) = creates(programs()?, what.pods).await?;
    for (load, title) in [
        (Load::Paced, format!("{PACE} a second")),
        (Load::AtOnce, format!("as many as can be, {AT_ONCE} at once")),
    ] {
        println!("\npod creates, {title}\n");
        println!("| | creates a second | p50, ms | p99, ms | pods | of these marked | questions |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        for Row { name, per_second, p50_ms, p99_ms, pods, marked, questions, .. } in
            creates.iter().filter(|row| row.load == load)
        {
            let questions = questions.map_or_else(|| "-".to_owned(), |number| number.to_string());
            println!(
                "| {name} | {per_second:.0} | {p50_ms:.1} | {p99_ms:.1} | {pods} | {marked} | {questions} |"
            );
        }
    }
    let Questions { asked, lost } = rotation(programs()?).await?;
    println!(
        "\n{compared} pods came out as decided; {asked} were tried while certificates were replaced, {lost} lost"
    );
    let mut broken = broken(&creates, what.pods);
    if lost > 0 {
        broken.push(format!("{lost} of {asked} questions were lost while certificates were replaced"));
    }
    let p50 = |name: &str| {
        let found = creates.iter().find(|row| row.load == Load::Paced && row.name == name);
        found.map(|row| row.p50_ms).context("a row is missing")
    };
    let added_p50_ms = p50(WITH)? - p50(WITHOUT)?;
    println!("the webhook adds {added_p50_ms:.1} ms to a create (p50, {PACE} a second)");
    for broken in &broken {
        println!("FAILED: {broken}");
    }
    let held = broken.is_empty();
    let report = Report {
        release_build: what.release,
        decisions,
        creates,
        added_p50_ms,
        compared,
        asked_during_rotation: asked,
        lost_during_rotation: lost,
        broken,
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    fs::write(dir.join("admission.json"), serde_json::to_string_pretty(&report)?)?;
    println!("written to target/bench/admission.json");
    Ok(held)
}

const WITHOUT: &str = "without a webhook";
const WITH: &str = "with the operator's webhook";
const OF_INCUMBENT: &str = "with one that is asked about every pod and changes nothing";
const DEAD: &str = "with the operator dead";

fn broken(creates: &[Row], pods: usize) -> Vec<String> {
    let mut broken = Vec::new();
    for row in creates {
        let selected = row.name == WITH;
        let wanted = if selected { row.pods } else { 0 };
        if row.marked != wanted {
            broken.push(format!("{}: {} pods are marked, not {wanted}", row.name, row.marked));
        }
        let asked = row.questions.unwrap_or_default();
        if usize::try_from(asked).unwrap_or(usize::MAX) != wanted {
            broken.push(format!("{}: {asked} questions about {wanted} pods", row.name));
        }
        if row.pods != pods {
            broken.push(format!("{}: {} of {pods} pods were created", row.name, row.pods));
        }
    }
    broken
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

/// A control plane with the operator's webhook, and nothing else of it.
async fn stack(programs: Programs, values: Value) -> Result<Stack> {
    let options = StackOptions { log_level: "info", values, ..StackOptions::default() };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, programs, &options).await?;
    stack.start_operator().await?;
    Ok(stack)
}

/// A namespace, and a profile for its pods that the webhook knows.
async fn selected(client: &Client) -> Result<Api<Pod>> {
    let pods = make_namespace(client, SELECTED, &json!({})).await?;
    let spec = json!({
        "selector": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": SELECTED } } },
        "placement": { "policy": "Fair" },
        "spot": { "strategy": "SpotAsPriceGo", "release": "Evict" },
    });
    write_profile(client, "bench", &spec).await?;
    eventually("the webhook answers", PATIENCE, || async {
        let made = tried(&pods, &template("probe")).await.map_err(|error| error.to_string())?;
        if is_marked(&made) { Ok(()) } else { Err("no mark".to_owned()) }
    })
    .await?;
    Ok(pods)
}

/// The rows, and how many pods came out as decided.
async fn creates(programs: Programs, count: usize) -> Result<(Vec<Row>, usize)> {
    let mut stack = stack(programs, json!({ "controllers": ["webhook"] })).await?;
    let client = stack.client()?;
    let free = make_namespace(&client, FREE, &json!({})).await?;
    let selected = selected(&client).await?;
    let both = [Load::Paced, Load::AtOnce];
    let mut rows = Vec::new();
    for load in both {
        rows.push(row(&free, WITHOUT, load, count, Some(stack.health())).await?);
        rows.push(row(&selected, WITH, load, count, Some(stack.health())).await?);
    }
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
        let before = webhook.asked();
        tried(&free, &template("probe")).await.map_err(|error| error.to_string())?;
        if webhook.asked() > before { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    for load in both {
        rows.push(row(&free, OF_INCUMBENT, load, count, Some(stack.health())).await?);
    }
    configurations.delete(INCUMBENT, &DeleteParams::default()).await?;
    let agreement = Agreement::prepare(&client).await?;
    let compared = agreement.holds(1).await?.pods;
    stack.kill_operator().await?;
    for load in both {
        rows.push(row(&selected, DEAD, load, count, None).await?);
    }
    let forbidden = stack.forbidden()?;
    ensure!(forbidden.is_empty(), "refused: {forbidden:?}");
    Ok((rows, compared))
}

/// Certificates that are replaced all the time.
async fn rotation(programs: Programs) -> Result<Questions> {
    let values = json!({ "controllers": ["webhook"], "webhook": { "caLifetime": "30s" } });
    let stack = stack(programs, values).await?;
    let client = stack.client()?;
    let selected = selected(&client).await?;
    under_load(&client, &selected, &template("probe")).await
}
