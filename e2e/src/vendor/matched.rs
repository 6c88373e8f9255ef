//! What the vendor says of pods that start with or without an image cache: an event, and of a hit an annotation.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::sync::oneshot;

use super::{PodRef, Shared};
use crate::testbed::wall_clock;

/// The annotation by which a pod names the image cache that it wants to start from.
const WANTED: &str = "k8s.aliyun.com/eci-imc-id";

/// Says it of every pod that comes to a virtual node, once, until it is ended. `listed` hears when it knows those that were
/// there before.
pub(super) async fn run(shared: Shared, listed: oneshot::Sender<()>) {
    let mut listed = Some(listed);
    let pods: Api<Pod> = Api::all(shared.client.clone());
    let on_nodes = watcher::Config::default().fields("spec.nodeName!=");
    let mut changes =
        std::pin::pin!(watcher(pods, on_nodes).default_backoff().filter_map(|event| async { event.ok() }));
    let (mut nodes, mut told) = (BTreeMap::new(), BTreeSet::new());
    let mut begun = false;
    while let Some(event) = changes.next().await {
        let pod = match event {
            watcher::Event::Apply(pod) => pod,
            watcher::Event::InitApply(pod) => {
                // Those that were there before it have started.
                if !begun {
                    told.insert(pod.uid().unwrap_or_default());
                }
                pod
            }
            watcher::Event::InitDone => {
                begun = true;
                // Who waits has given up, if at all.
                let _ = listed.take().map(|listed| listed.send(()));
                continue;
            }
            watcher::Event::Delete(pod) => {
                told.remove(&pod.uid().unwrap_or_default());
                continue;
            }
            watcher::Event::Init => continue,
        };
        let on = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        if told.contains(&pod.uid().unwrap_or_default()) || !shared.is_virtual(&mut nodes, &on).await {
            continue;
        }
        told.insert(pod.uid().unwrap_or_default());
        let wanted = pod.annotations().get(WANTED).map(String::as_str).filter(|id| !id.is_empty());
        // Said again at its next change, if it has one.
        if say(&shared, &PodRef::of(&pod), wanted).await.is_err() {
            told.remove(&pod.uid().unwrap_or_default());
        }
    }
}

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
