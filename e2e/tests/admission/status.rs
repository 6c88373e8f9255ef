//! What profiles say of themselves: whether they are in effect, with whom they disagree, and what they would change.

use anyhow::{Result, ensure};
use eci_api::eci_profile::{EciProfile, EciProfileStatus};
use eci_e2e::eventually::eventually;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::{PATIENCE, annotates, mark, marked, namespace, pod, profile, shared, tried};

const NOTE: &str = "example.com/note";

/// Waits until the status of a profile, of its newest generation, is as wanted.
async fn says(
    client: &Client,
    name: &str,
    what: &str,
    wanted: impl Fn(&EciProfileStatus) -> bool,
) -> Result<EciProfileStatus> {
    let api: Api<EciProfile> = Api::all(client.clone());
    eventually(&format!("profile {name}: {what}"), PATIENCE, || async {
        let profile = api.get(name).await.map_err(|error| error.to_string())?;
        let status = profile.status.unwrap_or_default();
        let newest = status.observed_generation == profile.metadata.generation;
        if newest && wanted(&status) { Ok(status) } else { Err(format!("{status:?}")) }
    })
    .await
}

/// Status and reason of a condition.
fn condition(status: &EciProfileStatus, type_: &str) -> Option<(String, String)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((condition.status.clone(), condition.reason.clone()))
}

fn is(status: &EciProfileStatus, type_: &str, value: &str, reason: &str) -> bool {
    condition(status, type_) == Some((value.to_owned(), reason.to_owned()))
}

fn message(status: &EciProfileStatus, type_: &str) -> String {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
    condition.map(|condition| condition.message.clone()).unwrap_or_default()
}

/// How often the operator has told this of a profile.
async fn told(client: &Client, name: &str, reason: &str) -> Result<usize> {
    let api: Api<Event> = Api::namespaced(client.clone(), "default");
    let list = api.list(&ListParams::default().fields(&format!("reason={reason}"))).await?.items;
    Ok(list.iter().filter(|event| event.involved_object.name.as_deref() == Some(name)).count())
}

#[tokio::test]
async fn a_profile_is_ready_when_its_pods_are_asked_about_and_says_when_it_is_off() -> Result<()> {
    let client = shared().await.client()?;
    profile(&client, "asked", annotates("asked", NOTE, "x")).await?;
    let status = says(&client, "asked", "it is ready", |s| is(s, "Ready", "True", "Programmed")).await?;
    ensure!(is(&status, "Accepted", "True", "Valid"), "{status:?}");
    ensure!(is(&status, "Programmed", "True", "Programmed"), "{status:?}");
    for absent in ["Reconciling", "Stalled"] {
        ensure!(condition(&status, absent).is_none(), "{status:?}");
    }
    says(&client, "asked", "nobody disagrees", |s| is(s, "Conflicted", "False", "NoConflict")).await?;
    let mut off = annotates("asked", NOTE, "x");
    off["mode"] = json!("Disabled");
    profile(&client, "asked", off).await?;
    let status = says(&client, "asked", "it is off", |s| is(s, "Ready", "True", "Disabled")).await?;
    ensure!(is(&status, "Programmed", "False", "Disabled"), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn a_profile_that_cannot_work_has_no_effect_and_says_what_is_wrong() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "invalid", json!({})).await?;
    let system = json!({
        "selector": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } } },
        "effects": { "annotations": { (NOTE): "x" } },
    });
    let mut mounts = annotates("invalid", NOTE, "mounts");
    mounts["dataCaches"] =
        json!([{ "name": "a", "mountPath": "/models" }, { "name": "b", "mountPath": "/models/b" }]);
    // What a rule of the schema cannot say.
    let json = annotates("invalid", "k8s.aliyun.com/eci-ephemeral-storage-options", "{");
    for (name, spec, reason, words) in [
        ("invalid-system", system, "InvalidSpec", "system namespaces"),
        ("invalid-mounts", mounts.clone(), "InvalidSpec", "/models/b"),
        ("invalid-json", json, "InvalidAnnotation", "k8s.aliyun.com/eci-ephemeral-storage-options"),
    ] {
        profile(&client, name, spec).await?;
        let status = says(&client, name, "it is refused", |s| is(s, "Accepted", "False", reason)).await?;
        ensure!(message(&status, "Accepted").contains(words), "{status:?}");
        ensure!(
            is(&status, "Ready", "False", reason) && is(&status, "Stalled", "True", reason),
            "{status:?}"
        );
    }
    // It neither changes pods nor refuses them for want of its data caches, and takes nothing from others.
    profile(&client, "valid", annotates("invalid", NOTE, "valid")).await?;
    marked(&pods, &pod("a", "invalid"), Some("valid@1")).await?;
    // Once it is corrected it counts.
    mounts["dataCaches"] = json!([]);
    profile(&client, "invalid-mounts", mounts).await?;
    let healed = says(&client, "invalid-mounts", "it is ready", |s| is(s, "Ready", "True", "Programmed"));
    ensure!(condition(&healed.await?, "Stalled").is_none());
    marked(&pods, &pod("a", "invalid"), Some("invalid-mounts@2,valid@1")).await?;
    Ok(())
}

#[tokio::test]
async fn two_profiles_of_equal_priority_that_disagree_about_a_pod_both_say_so() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "conflicts", json!({})).await?;
    profile(&client, "conflict-a", annotates("conflicts", NOTE, "a")).await?;
    profile(&client, "conflict-b", annotates("conflicts", NOTE, "b")).await?;
    marked(&pods, &pod("web", "conflicts"), Some("conflict-a@1,conflict-b@1")).await?;
    pods.create(&PostParams::default(), &serde_json::from_value(pod("web", "conflicts"))?).await?;
    for (name, other, words) in [
        ("conflict-a", "conflict-b", "this one wins by its name"),
        ("conflict-b", "conflict-a", "that one wins by its name"),
    ] {
        let conflicted = |s: &EciProfileStatus| is(s, "Conflicted", "True", "EqualPriority");
        let status = says(&client, name, "it is conflicted", conflicted).await?;
        let said = message(&status, "Conflicted");
        for part in [other, words, "conflicts/web", NOTE] {
            ensure!(said.contains(part), "{said}");
        }
        // A conflict keeps nothing away.
        ensure!(is(&status, "Ready", "True", "Programmed"), "{status:?}");
        eventually(&format!("an event about {name}"), PATIENCE, || async {
            let told = told(&client, name, "EqualPriority").await.map_err(|error| error.to_string())?;
            if told == 1 { Ok(()) } else { Err(format!("{told} events")) }
        })
        .await?;
    }
    let mut first = annotates("conflicts", NOTE, "a");
    first["priority"] = json!(1);
    profile(&client, "conflict-a", first).await?;
    for name in ["conflict-a", "conflict-b"] {
        says(&client, name, "none is any more", |s| is(s, "Conflicted", "False", "NoConflict")).await?;
    }
    ensure!(told(&client, "conflict-a", "EqualPriority").await? == 1, "it is told once");
    Ok(())
}

#[tokio::test]
async fn an_audit_names_the_workloads_that_would_change_and_changes_none() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "audited", json!({})).await?;
    let mut spec = annotates("audited", NOTE, "x");
    spec["mode"] = json!("Audit");
    spec["spot"] = json!({ "strategy": "SpotAsPriceGo" });
    spec["placement"] = json!({ "policy": "Fair" });
    profile(&client, "audited", spec.clone()).await?;
    let template = pod("any", "audited");
    let deployment = json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 2, "selector": { "matchLabels": { "app": "audited" } },
            "template": { "metadata": { "labels": { "app": "audited" } }, "spec": template["spec"] },
        },
    });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "audited");
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    let status = says(&client, "audited", "the workload with both pods", |status| {
        let found = status.audit_impact.first();
        found.is_some_and(|workload| (workload.name.as_str(), workload.pods) == ("web", 2))
    })
    .await?;
    let [workload] = status.audit_impact.as_slice() else { anyhow::bail!("{status:?}") };
    ensure!(
        (workload.namespace.as_str(), workload.kind.as_str()) == ("audited", "Deployment"),
        "{workload:?}"
    );
    for change in
        ["+ annotation example.com/note: x", "+ annotation k8s.aliyun.com/eci-spot-strategy: SpotAsPriceGo"]
    {
        ensure!(workload.changes.iter().any(|told| told == change), "{workload:?}");
    }
    ensure!(is(&status, "Ready", "True", "AuditOnly") && is(&status, "Programmed", "False", "AuditOnly"));
    ensure!(message(&status, "Ready").contains("Of 2 pods that it selects, 2 would be made otherwise"));
    ensure!(status.counts.as_ref().is_some_and(|counts| counts.pods == 2), "{status:?}");
    for pod in pods.list(&ListParams::default()).await?.items {
        ensure!(mark(&pod).is_none() && !super::annotations(&pod).contains_key(NOTE), "{:?}", pod.metadata);
    }
    ensure!(mark(&tried(&pods, &pod("new", "audited")).await?).is_none());
    // In earnest it says nothing more of what would be.
    spec["mode"] = json!("Enforce");
    profile(&client, "audited", spec).await?;
    let enforced = |s: &EciProfileStatus| s.audit_impact.is_empty() && is(s, "Ready", "True", "Programmed");
    says(&client, "audited", "it is enforced", enforced).await?;
    Ok(())
}
