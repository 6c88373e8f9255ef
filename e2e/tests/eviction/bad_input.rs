//! Notices that are wrong, late, forged or about somebody else.

use anyhow::{Result, ensure};
use eci_api::eci_profile::EciProfileStatus;
use eci_e2e::eventually::eventually;
use eci_e2e::testbed::nodes::COMPLETE_AFTER;
use eci_e2e::vendor::{Behaviour, Notice, PodRef};
use eci_e2e::workload::{OUR_RELEASE, Workload, is_ready};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::{PATIENCE, Scene, make_profile, namespace, pod_is, quiet, says, told};

/// Writes a notice as the vendor does, but as these say.
pub(crate) async fn notice(client: &Client, pod: &PodRef, component: &str, time: Timestamp) -> Result<()> {
    let said = ("SpotToBeReleased", "Spot ECI will be released in 3 minutes");
    vendor_event(client, pod, component, time, said).await
}

async fn vendor_event(
    client: &Client,
    pod: &PodRef,
    component: &str,
    time: Timestamp,
    (reason, message): (&str, &str),
) -> Result<()> {
    let event = json!({
        "metadata": { "generateName": "forged-", "namespace": pod.namespace },
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid,
        },
        "source": { "component": component, "host": "eci" },
        "firstTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "lastTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let api: Api<Event> = Api::namespaced(client.clone(), &pod.namespace);
    api.create(&PostParams::default(), &serde_json::from_value(event)?).await?;
    Ok(())
}

/// A pod that asks for its eviction and has a notice of its own comes last: when it is told to end, the notices before
/// it were passed over.
async fn none_but_the_last(scene: &mut Scene, namespace: &str, others: &[PodRef]) -> Result<()> {
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    scene.observer.settled(&scene.doomed, PATIENCE).await?;
    let verdict = scene.observer.verdict(others);
    ensure!(verdict.untouched.len() == others.len(), "{verdict:?}");
    let requests = scene.requests(namespace)?;
    ensure!(requests.iter().all(|request| request.name == scene.doomed[0].name), "{requests:?}");
    Ok(())
}

#[tokio::test]
async fn forged_stale_and_mistaken_notices_evict_nobody() -> Result<()> {
    let stack = quiet().await;
    let client = namespace(stack, "forged").await?;
    let others = Workload::new("forged", "web", 3).deploy(&client, PATIENCE).await?;
    let others: Vec<PodRef> = others.iter().map(PodRef::of).collect();
    let last = Workload::new("forged", "last", 1).with_grace(1).deploy(&client, PATIENCE).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "forged", &last).await?;

    let now: Timestamp = last[0].metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap();
    notice(&client, &others[0], "somebody", now).await?;
    // Older than an event may be.
    let hour = jiff::SignedDuration::from_hours(1);
    notice(&client, &others[1], "kubelet", now.checked_sub(hour)?).await?;
    // About an earlier pod of that name.
    let earlier = PodRef { uid: "00000000-0000-0000-0000-000000000000".into(), ..others[2].clone() };
    notice(&client, &earlier, "kubelet", now).await?;
    // About nobody.
    let nobody = PodRef { name: "nobody".into(), ..earlier.clone() };
    notice(&client, &nobody, "kubelet", now).await?;
    none_but_the_last(&mut scene, "forged", &others).await
}

#[tokio::test]
async fn an_annotation_with_a_wrong_value_is_told_and_evicts_nobody() -> Result<()> {
    let stack = quiet().await;
    let client = namespace(stack, "wrong").await?;
    let mut wrong = Workload::new("wrong", "web", 1).released_by(eci_e2e::workload::Release::Nobody);
    wrong.annotations.insert(OUR_RELEASE.0.to_owned(), "yes".to_owned());
    let others: Vec<PodRef> = wrong.deploy(&client, PATIENCE).await?.iter().map(PodRef::of).collect();
    let last = Workload::new("wrong", "last", 1).with_grace(1).deploy(&client, PATIENCE).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "wrong", &last).await?;
    scene.vendor.announce(&others, Notice::Both).await?;
    let note = told(&client, &others[0], "WrongAnnotation").await?;
    ensure!(note.contains("takes evict or none"), "{note}");
    none_but_the_last(&mut scene, "wrong", &others).await
}

#[tokio::test]
async fn pods_that_have_ended_or_are_ending_are_not_asked_to_end_again() -> Result<()> {
    let stack = quiet().await;
    let client = namespace(stack, "ended").await?;
    let api: Api<Pod> = Api::namespaced(client.clone(), "ended");
    let mut done = Workload::new("ended", "done", 1);
    done.annotations.insert(COMPLETE_AFTER.to_owned(), "100ms".to_owned());
    api.create(&PostParams::default(), &done.bare_pod("done", None)?).await?;
    let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    let done = pod_is(&client, ("ended", "done"), |pod| phase(pod) == "Succeeded").await?;
    // A long grace period, which a second request would shorten.
    let slow = Workload::new("ended", "slow", 1).with_grace(120).deploy(&client, PATIENCE).await?;
    let last = Workload::new("ended", "last", 1).with_grace(1).deploy(&client, PATIENCE).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "ended", &last).await?;
    api.delete(&slow[0].name_any(), &DeleteParams::default()).await?;
    let ending = api.get(&slow[0].name_any()).await?;
    let before = ending.metadata.deletion_timestamp.clone();
    ensure!(before.is_some(), "{ending:?}");

    scene.vendor.announce(&[PodRef::of(&done), PodRef::of(&ending)], Notice::Both).await?;
    none_but_the_last(&mut scene, "ended", &[]).await?;
    let after = api.get(&slow[0].name_any()).await?.metadata.deletion_timestamp;
    ensure!(after == before, "its grace period was changed from {before:?} to {after:?}");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_is_made_anew_under_its_name_is_not_evicted_for_the_old_one() -> Result<()> {
    let stack = quiet().await;
    let client = namespace(stack, "again").await?;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), "again");
    let workload = Workload::new("again", "db", 2).with_grace(1);
    sets.create(&PostParams::default(), &workload.stateful_set()?).await?;
    let first = workload.ready(&client, PATIENCE).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "again", &first).await?;
    scene.vendor.announce(&scene.doomed.clone(), Notice::Both).await?;
    let verdict = scene.observer.settled(&scene.doomed, PATIENCE).await?;
    ensure!(verdict.evicted.len() == 2, "{verdict:?}");
    let old: Vec<String> = scene.doomed.iter().map(|pod| pod.uid.clone()).collect();
    let new = eventually("the pods are made anew", PATIENCE, || async {
        let pods = workload.ready(&client, PATIENCE).await.map_err(|error| error.to_string())?;
        let new = pods.iter().all(|pod| !old.contains(&pod.uid().unwrap_or_default()));
        if new { Ok(pods) } else { Err("the old ones are there".to_owned()) }
    })
    .await?;

    // The notice of the old pod comes again, and a notice of another workload after it.
    let new: Vec<PodRef> = new.iter().map(PodRef::of).collect();
    let now: Timestamp = first[0].metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap();
    notice(&client, &scene.doomed[0], "kubelet", now).await?;
    let last = Workload::new("again", "last", 1).with_grace(1).deploy(&client, PATIENCE).await?;
    let mut after = Scene::around(stack, Behaviour::QUIET, "again", &last).await?;
    none_but_the_last(&mut after, "again", &new).await?;
    ensure!(scene.requests("again")?.iter().filter(|request| request.code == 201).count() == 3);
    Ok(())
}

#[tokio::test]
async fn static_pods_and_those_of_daemon_sets_are_told_of_and_left_alone() -> Result<()> {
    let stack = quiet().await;
    let client = namespace(stack, "bound").await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "bound");
    let node = Api::<Node>::all(client.clone()).get("virtual").await?;
    let mut fixed = Workload::new("bound", "fixed", 1).bare_pod("fixed", Some("virtual"))?;
    fixed.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.name_any(),
        uid: node.uid().unwrap_or_default(),
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    pods.create(&PostParams::default(), &fixed).await?;
    let fixed = pod_is(&client, ("bound", "fixed"), is_ready).await?;

    let agent = Workload::new("bound", "agent", 1);
    let template = agent.deployment()?.spec.map(|spec| spec.template);
    let set = json!({
        "metadata": { "name": "agent" },
        "spec": { "selector": { "matchLabels": { "app": "agent" } }, "template": template },
    });
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), "bound");
    sets.create(&PostParams::default(), &serde_json::from_value(set)?).await?;
    let agent = agent.ready(&client, PATIENCE).await?.remove(0);

    let others = [PodRef::of(&fixed), PodRef::of(&agent)];
    let last = Workload::new("bound", "last", 1).with_grace(1).deploy(&client, PATIENCE).await?;
    let mut scene = Scene::around(stack, Behaviour::QUIET, "bound", &last).await?;
    scene.vendor.announce(&others, Notice::Both).await?;
    told(&client, &others[0], "StaticPod").await?;
    told(&client, &others[1], "DaemonSetPod").await?;
    none_but_the_last(&mut scene, "bound", &others).await
}

#[tokio::test]
async fn a_regular_instance_for_want_of_a_spot_instance_is_counted_once() -> Result<()> {
    let stack = quiet().await;
    let client = namespace(stack, "degraded").await?;
    make_profile(&client, "degraded", "degraded", json!({ "strategy": "SpotAsPriceGo" })).await?;
    let pods = Workload::new("degraded", "degraded", 1).deploy(&client, PATIENCE).await?;
    let pod = PodRef::of(&pods[0]);
    let now: Timestamp = pods[0].metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap();
    let said = ("SpotDegraded", "No spot instance, a regular one was made");
    // Somebody else's counts for nothing.
    vendor_event(&client, &pod, "somebody", now, said).await?;
    vendor_event(&client, &pod, "kubelet", now, said).await?;
    let counted = |status: &EciProfileStatus| status.counts.as_ref().is_some_and(|c| c.degraded_pods > 0);
    let status = says(&client, "degraded", "one pod is degraded", counted).await?;
    ensure!(status.counts.as_ref().is_some_and(|counts| counts.degraded_pods == 1), "{status:?}");
    Ok(())
}
