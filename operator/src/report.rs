//! What people are told: events and log lines on transitions, plans in words.

use std::fmt;

use eci_api::condition::{ConditionType, EventReason, Reason};
use eci_api::eci_profile::EciProfile;
use eci_core::cloud::CloudId;
use eci_core::cloud_resource::{Effect, Next, Plan, Read, Record};
use eci_core::profile::status::Told;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource};

use crate::kubernetes;

/// Longest note of an event, in bytes (the API server refuses more).
const NOTE_LIMIT: usize = 1_024;

/// Reasons that are no cause for concern.
const CALM: [Reason; 9] = [
    Reason::Available,
    Reason::Pending,
    Reason::Building,
    Reason::Resolving,
    Reason::Replacing,
    Reason::UpdateInProgress,
    Reason::Deleting,
    Reason::Releasing,
    Reason::Suspended,
];

/// Conditions that say more than `Ready` when they are there, the most telling first.
const TELLING: [ConditionType; 5] = [
    ConditionType::DeletionBlocked,
    ConditionType::Stalled,
    ConditionType::Reconciling,
    ConditionType::Updating,
    ConditionType::Paused,
];

/// Where an object stands, in one line: what a transition is a change of. Messages may change without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headline<'a> {
    /// Status of `Ready`; empty before the first.
    pub ready: &'a str,
    /// Reason of the most telling condition.
    pub reason: &'a str,
}

/// The headline of these conditions, and the message that goes with it.
pub fn headline(conditions: &[Condition]) -> (Headline<'_>, &str) {
    let find = |t: ConditionType| conditions.iter().find(|c| c.type_ == t.as_str());
    let ready = find(ConditionType::Ready);
    let telling = TELLING.into_iter().find_map(find).or(ready);
    let reason = telling.map_or("", |c| c.reason.as_str());
    let line = Headline { ready: ready.map_or("", |c| c.status.as_str()), reason };
    (line, telling.map_or("", |c| c.message.as_str()))
}

/// Publishes events about objects.
#[derive(Clone)]
pub struct Reporter {
    recorder: Recorder,
}

impl Reporter {
    /// By this client; `instance` is the name of the pod, when it is known.
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let reporter =
            kube::runtime::events::Reporter { controller: kubernetes::FIELD_MANAGER.to_owned(), instance };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells of a transition, if there is one: an event and a log line.
    pub async fn transition<O: Resource<DynamicType = ()>>(
        &self,
        object: &O,
        before: &[Condition],
        after: &[Condition],
    ) {
        let (line, message) = headline(after);
        if headline(before).0 == line {
            return;
        }
        tracing::info!(ready = line.ready, reason = line.reason, why = message, "object changed");
        let calm = CALM.iter().any(|r| r.as_str() == line.reason);
        let type_ = if calm { EventType::Normal } else { EventType::Warning };
        self.publish(object, type_, line.reason, "Reconcile", message).await;
    }

    /// Tells that a superseded resource was deleted.
    pub async fn superseded<O: Resource<DynamicType = ()>>(&self, object: &O, id: &CloudId) {
        tracing::info!(%id, "deleted a resource that nothing uses any more");
        let note = format!("Deleted {id} in the cloud: it belonged to this object and was not in use.");
        let reason = EventReason::SupersededDeleted.as_str();
        self.publish(object, EventType::Normal, reason, "Delete", &note).await;
    }

    /// Tells of a resource of the object that nothing uses and that is not deleted.
    pub async fn stray<O: Resource<DynamicType = ()>>(&self, object: &O, id: &CloudId) {
        let note = format!(
            "{id} in the cloud belongs to this object by its tags and is not in use. It is billed, and kept because of deletionPolicy Retain; delete it by hand if nobody needs it."
        );
        tracing::warn!(%id, "{note}");
        let reason = EventReason::StrayKept.as_str();
        self.publish(object, EventType::Warning, reason, "Reconcile", &note).await;
    }

    /// Tells of resources that belong to no object; `cluster` is what the event is about.
    pub async fn orphans(&self, cluster: &ObjectReference, note: &str) {
        let reason = EventReason::OrphansFound.as_str();
        self.publish_about(cluster, EventType::Warning, reason, "Sweep", note).await;
    }

    /// Tells of a change of a profile.
    pub(crate) async fn told(&self, profile: &EciProfile, word: &Told) {
        let type_ = if word.warning { EventType::Warning } else { EventType::Normal };
        self.publish(profile, type_, &word.reason, "Reconcile", &word.message).await;
    }

    async fn publish<O: Resource<DynamicType = ()>>(
        &self,
        object: &O,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        self.publish_about(&object.object_ref(&()), type_, reason, action, note).await;
    }

    async fn publish_about(
        &self,
        reference: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(clip(note, NOTE_LIMIT).to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        let target = || format!("an event about {}", reference.name.as_deref().unwrap_or_default());
        // An event is a courtesy: its failure stops nothing.
        match kubernetes::call("publish", target, self.recorder.publish(&event, reference)).await {
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "an event is lost"),
        }
    }
}

/// A note as the API server takes it.
pub(crate) fn clip_note(note: &str) -> &str {
    clip(note, NOTE_LIMIT)
}

/// The longest beginning of `text` that has at most `limit` bytes.
pub(crate) fn clip(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// A plan in a few words, for the log: no request, no secret.
pub struct InWords<'a, R>(pub &'a Plan<R>);

impl<R> fmt::Display for InWords<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.next {
            Next::Read(Read::Object) => f.write_str("read the object"),
            Next::Read(Read::Secrets(names)) => write!(f, "read the secrets {}", names.join(", ")),
            Next::Read(Read::Namespace) => f.write_str("read the namespace's labels"),
            Next::Read(Read::Peers) => f.write_str("look at the other objects"),
            Next::Read(Read::Users) => f.write_str("look who would start pods from it"),
            Next::Read(Read::Room) => f.write_str("ask whether the account has room"),
            Next::Read(Read::List(since)) => write!(f, "await a list begun after {:?}", since.0),
            Next::Read(Read::Resource(id)) => write!(f, "look up {id}"),
            Next::Read(Read::Place(place)) => write!(f, "look what is at {place}"),
            Next::Do(effect) => match effect {
                Effect::AddFinalizer => f.write_str("add the finalizer"),
                Effect::Write(record) => write!(f, "record {}", Recorded(record)),
                Effect::Create(create) => {
                    write!(f, "create, attempt {}, send {}", create.turn.attempt, create.turn.send)
                }
                Effect::Update { id, .. } => write!(f, "update {id}"),
                Effect::Delete { id, why } => write!(f, "delete {id} ({why:?})"),
                Effect::Retag { id, set, remove } => {
                    write!(f, "retag {id}: set {}, remove {}", set.len(), remove.len())
                }
                Effect::TellOfStray(id) => write!(f, "tell of {id}"),
                Effect::RemoveFinalizer => f.write_str("remove the finalizer"),
            },
            Next::Rest => write!(f, "rest, {}", Recorded(&self.0.record)),
        }
    }
}

struct Recorded<'a, R>(&'a Record<R>);

impl<R> fmt::Display for Recorded<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        match &record.current {
            Some(current) => write!(f, "current {}", current.id)?,
            None => f.write_str("nothing current")?,
        }
        if let Some(successor) = &record.successor {
            write!(f, ", successor {}", successor.id)?;
        }
        if let Some(operation) = &record.operation {
            write!(f, ", attempt {} (send {}) unresolved", operation.attempt, operation.sends)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(type_: ConditionType, status: &str, reason: Reason, message: &str) -> Condition {
        Condition {
            type_: type_.as_str().into(),
            status: status.into(),
            reason: reason.as_str().into(),
            message: message.into(),
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    #[test]
    fn a_headline_names_what_stands_in_the_way_even_of_a_ready_object() {
        let ready = condition(ConditionType::Ready, "True", Reason::Available, "fine");
        let stalled = condition(ConditionType::Stalled, "True", Reason::SecretNotFound, "no secret");
        assert_eq!(headline(&[]), (Headline { ready: "", reason: "" }, ""));
        let calm = [ready.clone()];
        assert_eq!(headline(&calm), (Headline { ready: "True", reason: "Available" }, "fine"));
        let both = [ready, stalled];
        assert_eq!(headline(&both), (Headline { ready: "True", reason: "SecretNotFound" }, "no secret"));
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        let note = "ä".repeat(600);
        assert_eq!(clip(&note, NOTE_LIMIT).len(), 1_024);
        assert_eq!(clip(&note, 3), "ä");
        assert_eq!(clip("short", NOTE_LIMIT), "short");
    }
}
