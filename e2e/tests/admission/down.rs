//! Without the operator: pods are created all the same, but for those that must not start without their data; and once
//! it was uninstalled nothing of it is left.

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::NAMESPACE;
use jiff::SignedDuration;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{PATIENCE, annotates, mark, marked, namespace, pod, profile, refusal, stack, tried};

/// The name of both configurations.
const CONFIGURATION: &str = "eci-operator-eci-system";

/// Pods that a profile selects are made as they are, and so are those that nobody is asked about.
async fn passes_without_a_mark(client: &Client, pods: &Api<Pod>) -> Result<()> {
    for app in ["plain", "other"] {
        ensure!(mark(&tried(pods, &pod("a", app)).await?).is_none(), "{app}");
    }
    let system = Api::namespaced(client.clone(), "kube-system");
    ensure!(mark(&tried(&system, &pod("a", "plain")).await?).is_none());
    Ok(())
}

async fn profile_of(client: &Client, name: &str) -> kube::Result<EciProfile> {
    Api::all(client.clone()).get(name).await
}

/// Waits until the API server is told to ask about the pods of both profiles.
async fn programmed(configurations: &Api<MutatingWebhookConfiguration>) -> Result<()> {
    eventually("both profiles are programmed", PATIENCE, || async {
        let found = configurations.get(CONFIGURATION).await.map_err(|error| error.to_string())?;
        let webhooks = found.webhooks.unwrap_or_default();
        let fails = webhooks.iter().filter(|w| w.failure_policy.as_deref() == Some("Fail")).count();
        // One for the annotation, one for the profile; and three for pods that go to virtual nodes without one.
        if (webhooks.len(), fails) == (6, 2) { Ok(()) } else { Err(format!("{webhooks:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_dead_operator_keeps_only_those_pods_away_that_need_their_data() -> Result<()> {
    let mut stack = stack(json!({})).await?;
    let client = stack.client()?;
    let pods = namespace(&client, "down", json!({})).await?;
    profile(&client, "plain", annotates("plain", "example.com/note", "x")).await?;
    let mut data = annotates("data", "example.com/note", "x");
    data["dataCaches"] = json!([{ "mountPath": "/model", "name": "model" }]);
    profile(&client, "data", data).await?;
    marked(&pods, &pod("a", "plain"), Some("plain@1")).await?;
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    programmed(&configurations).await?;
    // What somebody else changes is put right. A pod alone does not show it: the API server may not have seen the
    // change yet, and one that is stopped before it puts it right leaves nobody asked.
    let open = json!({ "webhooks": null });
    configurations.patch(CONFIGURATION, &PatchParams::default(), &Patch::Merge(open)).await?;
    programmed(&configurations).await?;
    marked(&pods, &pod("a", "plain"), Some("plain@1")).await?;

    // One that hangs is no better than a dead one, and no worse: it takes questions and never answers them.
    let operator = stack.operator().context("the operator runs")?;
    kill_process(Pid::from_raw(operator.pid()).context("a process number")?, Signal::STOP)?;
    passes_without_a_mark(&client, &pods).await?;
    stack.kill_operator().await?;
    passes_without_a_mark(&client, &pods).await?;
    // The API server learns of the webhooks by a watch, so what was put right may reach it late.
    let words = eventually("a pod that needs data is refused", PATIENCE, || async {
        refusal(tried(&pods, &pod("a", "data")).await)
    })
    .await?;
    ensure!(words.contains("failed calling webhook"), "{words}");
    let mut asks = pod("a", "other");
    asks["metadata"]["annotations"] = json!({ "eci-operator.io/data-caches": "model=/model" });
    let words = refusal(tried(&pods, &asks).await)?;
    ensure!(words.contains("data-caches.pods.eci-operator.io"), "{words}");
    // Whoever opted out, or is of the system, is not kept away either.
    asks["metadata"]["labels"]["eci-operator.io/inject"] = json!("disabled");
    tried(&pods, &asks).await?;
    asks["metadata"]["labels"] = json!({});
    tried(&Api::namespaced(client.clone(), "kube-system"), &asks).await?;
    tried(&Api::namespaced(client.clone(), NAMESPACE), &asks).await?;
    // Nothing else waits for it: pods change and go, other objects come.
    pods.create(&PostParams::default(), &serde_json::from_value(pod("kept", "data-less"))?).await?;
    pods.delete("kept", &kube::api::DeleteParams::default().grace_period(0)).await?;
    stack.plane().kubectl(["create", "service", "nodeport", "web", "--tcp=80", "-n", "down"]).await?.ok()?;

    let settled = profile_of(&client, "plain").await?.creation_timestamp().context("a creation time")?.0
        + SignedDuration::from_secs(12);
    eventually("a pod is created that its profile is clearly older than", PATIENCE, || async {
        let missed = serde_json::from_value(pod("missed", "plain")).map_err(|error| error.to_string())?;
        let made = pods.create(&PostParams::default(), &missed).await.map_err(|error| error.to_string())?;
        if made.creation_timestamp().is_some_and(|time| time.0 > settled) {
            return Ok(());
        }
        let gone = pods.delete("missed", &kube::api::DeleteParams::default().grace_period(0)).await;
        Err(gone.map_or_else(|error| error.to_string(), |_| "too early".to_owned()))
    })
    .await?;

    stack.start_operator().await?;
    marked(&pods, &pod("a", "plain"), Some("plain@1")).await?;
    eventually("the profile counts the pod that it missed", PATIENCE, || async {
        let found = profile_of(&client, "plain").await.map_err(|error| error.to_string())?;
        let counts = found.status.and_then(|status| status.counts).unwrap_or_default();
        if (counts.pods, counts.missed_pods) == (1, 1) { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await?;

    stack.plane().helm(["uninstall", "eci-operator", "-n", NAMESPACE]).await?.ok()?;
    let others: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    eventually("nothing of the webhook is left", PATIENCE, || async {
        let left = [
            configurations.get_opt(CONFIGURATION).await.map(|found| found.is_some()),
            others.get_opt(CONFIGURATION).await.map(|found| found.is_some()),
            secrets.get_opt("eci-operator-webhook").await.map(|found| found.is_some()),
        ];
        let left = left.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        if left == [false; 3] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await?;
    tried(&pods, &pod("a", "data")).await.context("after the end nobody is kept away")?;
    Ok(())
}
