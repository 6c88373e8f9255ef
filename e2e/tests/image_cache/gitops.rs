//! What GitOps tools make of an object in each of its states: kstatus (Flux, cli-utils) and Argo CD's health script.

use anyhow::{Context as _, Result, ensure};
use eci_api::eci_profile::EciProfile;
use eci_api::image_cache::ImageCache;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, StackOptions, condition};
use eci_sim::faults::Fault;
use kube::Api;
use kube::api::PostParams;
use mlua::{Lua, LuaSerdeExt as _};
use serde::Serialize;
use serde_json::{Value, json};

use crate::SOON;

/// The script that is shipped.
const HEALTH: &str = include_str!("../../../docs/argocd/health.lua");

/// What kstatus says, by its documented order of rules for kinds that it does not know.
fn kstatus(object: &Value) -> &'static str {
    let (meta, status) = (&object["metadata"], &object["status"]);
    if meta.get("deletionTimestamp").is_some() {
        return "Terminating";
    }
    if status.get("observedGeneration").is_some_and(|seen| *seen != meta["generation"]) {
        return "InProgress";
    }
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for condition in &conditions {
        match (condition["type"].as_str(), condition["status"].as_str()) {
            (Some("Reconciling"), Some("True")) => return "InProgress",
            (Some("Stalled"), Some("True")) => return "Failed",
            _ => {}
        }
    }
    match conditions.iter().find(|c| c["type"] == "Ready").and_then(|c| c["status"].as_str()) {
        Some("True") | None => "Current",
        Some(_) => "InProgress",
    }
}

/// What Argo CD shows.
fn argo(object: &Value) -> Result<String> {
    let lua = Lua::new();
    let failed = |error: mlua::Error| anyhow::anyhow!("health.lua: {error}");
    lua.globals().set("obj", lua.to_value(object).map_err(failed)?).map_err(failed)?;
    let health: mlua::Table = lua.load(HEALTH).eval().map_err(failed)?;
    let message: String = health.get("message").map_err(failed)?;
    ensure!(!message.is_empty(), "no message");
    health.get("status").map_err(failed)
}

fn reads(object: &impl Serialize, state: &str, wanted: (&str, &str)) -> Result<()> {
    let object = serde_json::to_value(object)?;
    let (kstatus, argo) = (kstatus(&object), argo(&object)?);
    ensure!((kstatus, argo.as_str()) == wanted, "{state}: kstatus {kstatus}, Argo CD {argo}: {object:#}");
    Ok(())
}

#[tokio::test]
async fn gitops_tools_read_each_state_right() -> Result<()> {
    let mut stack = Stack::start(StackOptions { build_time: "3s", ..StackOptions::default() }).await?;
    let caches = stack.namespace("gitops").await?;

    // Nobody has seen it yet: the default of the schema keeps kstatus from calling it current.
    stack.stop_operator().await?;
    let fresh = caches.create("web", json!({ "images": ["nginx"] })).await?;
    reads(&fresh, "fresh", ("InProgress", "Progressing"))?;
    stack.start_operator().await?;

    let building = caches.says("web", "False", "Building", SOON).await?;
    reads(&building, "reconciling", ("InProgress", "Progressing"))?;
    let ready = caches.says("web", "True", "Available", SOON).await?;
    reads(&ready, "ready", ("Current", "Healthy"))?;

    let edited = caches.patch("web", json!({ "spec": { "images": ["nginx:2"] } })).await?;
    reads(&edited, "edited", ("InProgress", "Progressing"))?;
    let updating = caches.until("web", "updating", SOON, |c| condition(c, "Updating").is_some()).await?;
    reads(&updating, "updating", ("InProgress", "Progressing"))?;
    caches.says("web", "True", "Available", SOON).await?;
    caches.until("web", "updated", SOON, |c| condition(c, "Updating").is_none()).await?;

    stack.cloud().add_fault(&Fault::refused("NoPermission").on("CreateImageCache")).await?;
    caches.create("denied", json!({ "images": ["nginx"] })).await?;
    let stalled = caches.says("denied", "False", "PermissionDenied", SOON).await?;
    reads(&stalled, "stalled", ("Failed", "Degraded"))?;
    stack.cloud().clear_faults().await?;
    profiles(&stack).await?;

    caches.patch("web", json!({ "spec": { "suspend": true } })).await?;
    let seen =
        |c: &ImageCache| c.status.as_ref().and_then(|s| s.observed_generation) == c.metadata.generation;
    let paused = caches.until("web", "paused", SOON, |c| condition(c, "Paused").is_some() && seen(c)).await?;
    reads(&paused, "paused", ("Current", "Suspended"))?;

    stack.stop_operator().await?;
    caches.delete("web").await?;
    let deleting = caches.get("web").await?;
    deleting.metadata.deletion_timestamp.as_ref().context("it is being deleted")?;
    reads(&deleting, "terminating", ("Terminating", "Progressing"))?;
    stack.start_operator().await?;
    caches.is_gone("web", SOON).await?;
    Ok(())
}

/// Profiles that are as they should be, whatever their mode, and one that is not.
async fn profiles(stack: &Stack) -> Result<()> {
    let api: Api<EciProfile> = Api::all(stack.client()?);
    for (name, mode, wanted) in [
        ("enforced", "Enforce", ("Current", "Healthy")),
        ("audited", "Audit", ("Current", "Healthy")),
        ("disabled", "Disabled", ("Current", "Healthy")),
        ("invalid", "Enforce", ("Failed", "Degraded")),
    ] {
        // A text that is no JSON is what the rules of the schema cannot see.
        let key = if name == "invalid" {
            "k8s.aliyun.com/eci-ephemeral-storage-options"
        } else {
            "example.com/note"
        };
        let profile = json!({
            "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": name },
            "spec": {
                "mode": mode,
                "selector": { "podSelector": { "matchLabels": { "app": name } } },
                "effects": { "annotations": { key: "x" } },
            },
        });
        let made = api.create(&PostParams::default(), &serde_json::from_value(profile)?).await?;
        reads(&made, "fresh", ("InProgress", "Progressing"))?;
        eventually(&format!("profile {name} is read as {wanted:?}"), SOON, || async {
            let profile = api.get(name).await.map_err(|error| error.to_string())?;
            reads(&profile, name, wanted).map_err(|error| error.to_string())
        })
        .await?;
    }
    Ok(())
}
