//! Notices and releases, as the vendor's pages describe them.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{PodRef, Shared};
use crate::testbed::wall_clock;

/// Pod condition that is True from the notice on.
pub const EXPIRED: &str = "ContainerInstanceExpired";
/// Reason of a pod whose instance was released.
pub const RELEASED: &str = "BidFailed";
/// Reason of the event of a notice.
const TO_BE_RELEASED: &str = "SpotToBeReleased";

/// Requests at once.
const AT_ONCE: usize = 16;

/// Which of the two signs of a notice are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Event and condition, as ack-virtual-node does since 2.11.0.
    Both,
    /// The event only, as before it.
    EventOnly,
    /// The condition only: events can be lost.
    ConditionOnly,
}

/// Announces; gives the number of pods that were gone already.
pub(super) async fn announce(shared: &Shared, pods: &[PodRef], notice: Notice) -> Result<usize> {
    let now = wall_clock();
    let each = pods.iter().map(|pod| async move {
        if notice != Notice::ConditionOnly {
            write_event(shared, pod, now).await?;
        }
        if notice == Notice::EventOnly {
            return Ok::<_, anyhow::Error>(true);
        }
        // Before the condition is there, so that the overwriter never takes it away.
        shared.announced().insert(pod.uid.clone(), now);
        set_expired(shared, pod, now).await
    });
    let seen: Vec<bool> = stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(seen.into_iter().filter(|seen| !seen).count())
}

async fn write_event(shared: &Shared, pod: &PodRef, now: Timestamp) -> Result<()> {
    let api: Api<Event> = Api::namespaced(shared.client.clone(), &pod.namespace);
    let event = Event {
        metadata: ObjectMeta {
            // As a kubelet names its events.
            name: Some(format!("{}.{:x}", pod.name, now.as_nanosecond())),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some(TO_BE_RELEASED.to_owned()),
        message: Some("Spot ECI will be released in 3 minutes".to_owned()),
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        },
        source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some("eci".to_owned()) }),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    };
    api.create(&PostParams::default(), &event).await.context("the vendor cannot write its event")?;
    Ok(())
}

/// Whether the pod was still there.
async fn set_expired(shared: &Shared, pod: &PodRef, now: Timestamp) -> Result<bool> {
    let status = json!({
        "conditions": [{ "type": EXPIRED, "status": "True", "lastTransitionTime": Time(now) }],
    });
    patch_status(shared, pod, status).await
}

/// Patches the status of exactly this pod; false if it is gone. A UID in a patch is a precondition.
async fn patch_status(shared: &Shared, pod: &PodRef, status: serde_json::Value) -> Result<bool> {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &pod.namespace);
    let patch = json!({ "metadata": { "uid": pod.uid }, "status": status });
    match api.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        Err(error) => {
            Err(error).with_context(|| format!("the vendor cannot write the status of {}", pod.name))
        }
    }
}

/// Releases; gives the pods that failed by it.
pub(super) async fn release(shared: &Shared, pods: &[PodRef]) -> Result<Vec<PodRef>> {
    let each = pods.iter().map(|pod| async move {
        let failed = release_one(shared, pod).await?;
        Ok::<_, anyhow::Error>(failed.then(|| pod.clone()))
    });
    let failed: Vec<_> = stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(failed.into_iter().flatten().collect())
}

async fn release_one(shared: &Shared, pod: &PodRef) -> Result<bool> {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &pod.namespace);
    let Some(found) = api.get_opt(&pod.name).await? else { return Ok(false) };
    let phase = found.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if found.metadata.uid.as_deref() != Some(&pod.uid) || matches!(phase, "Succeeded" | "Failed") {
        return Ok(false);
    }
    let now = wall_clock();
    let mut status = json!({
        "phase": "Failed",
        "reason": RELEASED,
        // Without seconds, as the vendor writes it.
        "message": format!(
            "The pod is spot instance, and have been released at {}",
            now.strftime("%Y-%m-%dT%H:%MZ")
        ),
    });
    if !shared.behaviour.released_stay_ready {
        let unready = |kind| {
            json!({
                "type": kind, "status": "False", "reason": "PodFailed", "lastTransitionTime": Time(now),
            })
        };
        status["conditions"] = json!([unready("Ready"), unready("ContainersReady")]);
    }
    patch_status(shared, pod, status).await
}
