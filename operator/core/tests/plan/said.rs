//! Plans in words, so that a test compares one line, and what everybody may expect of a status.

use eci_api::condition::MESSAGE_LIMIT;
use eci_api::image_cache::{ImageCacheRequest, ImageCacheStatus};
use eci_core::cloud_resource::identity::TAG_UID;
use eci_core::cloud_resource::{Effect, Next, Object, Plan, Read, Record};

/// What cli-utils' kstatus, and with it Flux and `kubectl wait`, reads from an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kstatus {
    Current,
    Failed,
    InProgress,
    Terminating,
}

pub fn kstatus(object: &Object, status: &ImageCacheStatus) -> Kstatus {
    let has =
        |type_: &str, value: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == value);
    if object.deleting {
        Kstatus::Terminating
    } else if status.observed_generation != Some(object.generation) || has("Reconciling", "True") {
        Kstatus::InProgress
    } else if has("Stalled", "True") {
        Kstatus::Failed
    } else if has("Ready", "False") || has("Ready", "Unknown") {
        Kstatus::InProgress
    } else {
        Kstatus::Current
    }
}

/// Holds for every status that is written at rest.
pub fn check_status(object: &Object, status: &ImageCacheStatus) {
    let types: Vec<&str> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(types.first(), Some(&"Ready"), "Ready is always there, and first");
    assert!(
        !(types.contains(&"Reconciling") && types.contains(&"Stalled")),
        "never Reconciling and Stalled at once: {types:?}"
    );
    assert_eq!(status.observed_generation, Some(object.generation));
    for condition in &status.conditions {
        let message = &condition.message;
        assert!(message.len() > 10 && message.chars().count() <= MESSAGE_LIMIT, "{message}");
        assert!(message.ends_with(['.', ')']), "not a sentence: {message}");
        assert!(condition.type_ == "Ready" || condition.status == "True", "{condition:?}");
    }
}

/// `rest: !Ready(Building) Reconciling(Building); wake 15s; busy; InProgress`
pub fn rest(plan: &Plan<ImageCacheRequest>, object: &Object, status: &ImageCacheStatus) -> String {
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .map(|c| format!("{}{}({})", if c.status == "True" { "" } else { "!" }, c.type_, c.reason))
        .collect();
    let wake = plan.wake.map(|w| format!("; wake {}s", w.as_secs_f64().round())).unwrap_or_default();
    let busy = if plan.busy { "; busy" } else { "" };
    format!("rest: {}{wake}{busy}; {:?}", conditions.join(" "), kstatus(object, status))
}

/// What a plan does, unless it rests.
pub fn step(next: &Next<ImageCacheRequest>) -> String {
    match next {
        Next::Rest => "rest".into(),
        Next::Read(Read::Place(place)) => format!("look at {place}"),
        Next::Read(Read::Object) => "get the object".into(),
        Next::Read(Read::Secrets(names)) => format!("read secrets {}", names.join(",")),
        Next::Read(Read::Namespace) => "read the namespace".into(),
        Next::Read(Read::Peers) => "look at the others".into(),
        Next::Read(Read::Users) => "look who uses it".into(),
        Next::Read(Read::Room) => "ask for room".into(),
        Next::Read(Read::List(_)) => "list".into(),
        Next::Read(Read::Resource(id)) => format!("look at {id}"),
        Next::Do(effect) => match effect {
            Effect::AddFinalizer => "add finalizer".into(),
            Effect::TellOfStray(id) => format!("tell of {id}"),
            Effect::RemoveFinalizer => "remove finalizer".into(),
            Effect::Write(record) => format!("write [{}]", remembered(record)),
            Effect::Create(call) => format!("create {}/{}", call.turn.attempt, call.turn.send),
            Effect::Update { id, .. } => format!("update {id}"),
            Effect::Delete { id, why } => format!("delete {id} {why:?}"),
            Effect::Retag { id, set, .. } if set.contains_key(TAG_UID) => format!("tag {id}"),
            Effect::Retag { id, .. } => format!("release {id}"),
        },
    }
}

/// What a record has, in few words.
pub fn remembered(record: &Record<ImageCacheRequest>) -> String {
    let mut parts = Vec::new();
    parts.extend(record.operation.as_ref().map(|op| format!("op {}/{}", op.attempt, op.sends)));
    parts.extend(
        record
            .current
            .as_ref()
            .map(|o| format!("current {}{}", o.id, if o.updating { " updating" } else { "" })),
    );
    parts.extend(record.successor.as_ref().map(|o| format!("successor {}", o.id)));
    parts.extend(record.adopting.iter().map(|id| format!("adopting {id}")));
    parts.extend(record.retiring.iter().map(|id| format!("retiring {id}")));
    parts.extend(record.failed.as_ref().map(|f| format!("failed {}", f.count)));
    parts.extend(record.refusal.as_ref().map(|r| format!("refused {}", r.count)));
    parts.join(", ")
}
