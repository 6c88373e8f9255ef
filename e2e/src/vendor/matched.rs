//! What the vendor says of pods that start with or without an image cache: an event, and of a hit an annotation.

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{PodRef, Shared};
use crate::testbed::wall_clock;

/// Says that a pod starts from the image cache of this ID, or from none.
pub(super) async fn say(shared: &Shared, pod: &PodRef, cache: Option<&str>) -> Result<()> {
    if let Some(id) = cache {
        let api: Api<Pod> = Api::namespaced(shared.client.clone(), &pod.namespace);
        let annotations = json!({ "k8s.aliyun.com/eci-matched-image-cache": id });
        let patch = json!({ "metadata": { "uid": pod.uid, "annotations": annotations } });
        api.patch(&pod.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .context("the vendor cannot annotate a pod")?;
    }
    let now = wall_clock();
    let (type_, reason, message) = match cache {
        Some(id) => {
            let message = format!(
                "[eci.imagecache]Successfully hit image cache {id}, eci will be scheduled with this image cache."
            );
            ("Normal", "SuccessfulHitImageCache", message)
        }
        None => ("Warning", "ImageCacheMissed", "[eci.imagecache]Missed image cache.".to_owned()),
    };
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", pod.name, now.as_nanosecond())),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        },
        source: Some(EventSource { component: Some("EciService".to_owned()), host: None }),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(shared.client.clone(), &pod.namespace);
    api.create(&PostParams::default(), &event).await.context("the vendor cannot write its event")?;
    Ok(())
}
