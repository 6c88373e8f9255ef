//! What people are told about single pods, as events: a courtesy that comes after the writes. When there are too many, some
//! are dropped and counted.

use eci_core::eviction::PodRef;
use eci_core::placement::reason::PodReason;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;

use super::metrics::PlacementMetrics;
use crate::kubernetes::{FIELD_MANAGER, KubeError, call};
use crate::report::clip_note;

/// Words that wait to be said; more are dropped.
const QUEUE_LIMIT: usize = 4_096;
/// Words that are said at once.
const TELLERS: usize = 4;
/// Longest part of a pod's name in the name of an event, in characters.
const NAME_LIMIT: usize = 180;
/// Characters of the UID in the name of an event.
const UID_LENGTH: usize = 13;

/// Something to tell about a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    /// Which.
    pub(super) pod: PodRef,
    /// In a word.
    pub(super) reason: PodReason,
    /// In a sentence.
    pub(super) note: String,
    /// When it happened.
    pub(super) at: Timestamp,
}

impl Word {
    /// The same word about the same pod has the same name, so that it is there once whoever says it.
    fn event(&self, instance: &str) -> Event {
        let PodRef { namespace, name, uid } = &self.pod;
        let prefix: String = name.chars().take(NAME_LIMIT).collect();
        let uid_part: String = uid.chars().take(UID_LENGTH).collect();
        // Neither a dot nor a hyphen may stand beside a dot.
        let parts = [prefix.as_str(), uid_part.as_str(), &self.reason.as_str().to_lowercase()]
            .map(|part| part.trim_matches(['.', '-']).to_owned());
        Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_string()),
                name: Some(parts.join(".")),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(self.at)),
            reporting_controller: Some(FIELD_MANAGER.into()),
            reporting_instance: Some(instance.into()),
            action: Some("Place".into()),
            reason: Some(self.reason.as_str().into()),
            type_: Some(if self.reason.is_warning() { "Warning" } else { "Normal" }.into()),
            note: Some(clip_note(&self.note).to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                namespace: Some(namespace.to_string()),
                name: Some(name.to_string()),
                uid: Some(uid.to_string()),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

/// Where words go in.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    queue: mpsc::Sender<Word>,
    metrics: PlacementMetrics,
}

impl Teller {
    /// The entrance, and the task that says what comes in until nobody is left at the entrance. `instance` is the name of
    /// the operator's pod.
    pub(super) fn new(
        client: Client,
        instance: Option<&str>,
        metrics: PlacementMetrics,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, mut words) = mpsc::channel(QUEUE_LIMIT);
        let instance = instance.unwrap_or(FIELD_MANAGER).to_owned();
        let task = async move {
            let words = futures::stream::poll_fn(move |context| words.poll_recv(context));
            words.for_each_concurrent(TELLERS, |word| say(&client, &instance, word)).await;
        };
        (Self { queue, metrics }, task)
    }

    /// Says it when its turn comes; drops it when there are too many.
    pub(super) fn tell(&self, word: Word) {
        if self.queue.try_send(word).is_err() {
            self.metrics.dropped();
        }
    }
}

async fn say(client: &Client, instance: &str, word: Word) {
    let events: Api<Event> = Api::namespaced(client.clone(), &word.pod.namespace);
    let event = word.event(instance);
    let target = || format!("an event about the pod {}", word.pod);
    match call("publish", target, events.create(&PostParams::default(), &event)).await {
        // It was said before.
        Ok(_) | Err(KubeError::Conflict { .. }) => {}
        Err(error) => tracing::warn!(%error, "an event is lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_name_that_the_api_server_takes_and_a_note_that_fits() {
        let word = |name: &str| Word {
            pod: PodRef::new("shop", name, "0a1b2c3d-0a1b-4c3d-8e9f-0a1b2c3d4e5f"),
            reason: PodReason::ProfileMissed,
            note: "ä".repeat(1_024),
            at: Timestamp::UNIX_EPOCH,
        };
        for (name, expected) in [
            ("web-1", "web-1.0a1b2c3d-0a1b.profilemissed"),
            (&format!("{}.b", "a".repeat(179)), &format!("{}.0a1b2c3d-0a1b.profilemissed", "a".repeat(179))),
        ] {
            let event = word(name).event("me");
            assert_eq!(event.metadata.name.as_deref(), Some(expected));
            assert!(event.note.is_some_and(|note| note.len() <= 1_024));
            assert_eq!(event.type_.as_deref(), Some("Warning"));
        }
    }
}
