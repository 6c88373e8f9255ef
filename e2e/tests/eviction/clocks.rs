//! Clocks that do not agree: notices with times far before and after ours.

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfileStatus;
use eci_e2e::testbed::wall_clock;
use eci_e2e::vendor::{Behaviour, EXPIRED, PodRef};
use eci_e2e::workload::Workload;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::bad_input::notice;
use crate::{Scene, make_profile, quiet, says};

/// How far the vendor's clock is off.
const OFF: SignedDuration = SignedDuration::from_mins(5);
/// What a notice gives (`--spot-notice`, by default).
const LENGTH: SignedDuration = SignedDuration::from_mins(3);

async fn expires(client: &Client, pod: &PodRef, since: Timestamp) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let condition = json!({ "type": EXPIRED, "status": "True", "lastTransitionTime": Time(since) });
    let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
    api.patch_status(&pod.name, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn deadline(status: &EciProfileStatus, pod: &PodRef) -> Result<Timestamp> {
    let blocked = status.blocked_evictions.iter().find(|blocked| blocked.pod == pod.name);
    Ok(blocked.with_context(|| format!("{} is not blocked: {status:?}", pod.name))?.deadline.0)
}

#[tokio::test]
async fn a_notice_counts_from_its_own_time_if_that_is_past_and_from_its_coming_if_it_is_not() -> Result<()> {
    let stack = quiet().await;
    let client = stack.client()?;
    let spot = json!({ "strategy": "SpotAsPriceGo", "release": "Evict" });
    make_profile(&client, "clocks", "clocks", spot).await?;
    let workload = Workload::new("clocks", "clocks", 4).with_grace(1);
    let scene = Scene::set(stack, Behaviour::QUIET, &workload, 0).await?;

    let begun = wall_clock();
    let (behind, ahead) = (begun.checked_sub(OFF)?, begun.checked_add(OFF)?);
    expires(&client, &scene.doomed[0], behind).await?;
    notice(&client, &scene.doomed[1], "kubelet", behind).await?;
    expires(&client, &scene.doomed[2], ahead).await?;
    notice(&client, &scene.doomed[3], "kubelet", ahead).await?;
    let status =
        says(&client, "clocks", "four are blocked", |status| status.blocked_evictions.len() == 4).await?;
    let seen = wall_clock();

    // Times of the API are whole seconds.
    let second = SignedDuration::from_secs(1);
    for pod in &scene.doomed[..2] {
        let (told, expected) = (deadline(&status, pod)?, behind.checked_add(LENGTH)?);
        ensure!(told.duration_since(expected).abs() <= second, "{}: {told}, not {expected}", pod.name);
    }
    for pod in &scene.doomed[2..] {
        let told = deadline(&status, pod)?;
        let (first, last) = (begun.checked_add(LENGTH - second)?, seen.checked_add(LENGTH + second)?);
        ensure!(first <= told && told <= last, "{}: {told} is not from {first} to {last}", pod.name);
    }

    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client, "clocks");
    budgets.delete("clocks", &DeleteParams::default()).await?;
    scene.all_are_saved().await?;
    Ok(())
}
