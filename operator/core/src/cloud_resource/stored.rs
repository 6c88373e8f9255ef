//! What a status keeps of a record, the same for every kind; the kinds add their own fields.

use eci_api::condition::{self, ConditionType, Reason};
use eci_api::image_cache::{
    Applied, CloudEvent, FailedBuilds as ApiFailedBuilds, Operation as ApiOperation, Refusal as ApiRefusal,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{FailedBuilds, Operation, Owned, Refusal};
use crate::cloud::{ClientToken, CloudEventView, CloudId};

/// Most of the cloud's events that a status shows.
pub const EVENTS_SHOWN: usize = 5;
/// Longest message of one of them, in characters.
pub const EVENT_LIMIT: usize = 256;

/// An instant as a status has it.
pub fn time(at: Timestamp) -> Time {
    Time(condition::whole_seconds(at))
}

/// A resource that a status names.
pub fn owned<R: Clone>(id: &str, applied: &Applied<R>) -> Option<Owned<R>> {
    Some(Owned {
        id: CloudId::parse(id).ok()?,
        attempt: applied.attempt,
        request: applied.request.clone(),
        secrets: applied.secret_versions.clone(),
        generation: applied.generation,
        updating: applied.updating,
        broken: applied.broken,
    })
}

/// What a resource was made from.
pub fn applied<R: Clone>(owned: &Owned<R>) -> Applied<R> {
    Applied {
        attempt: owned.attempt,
        request: owned.request.clone(),
        secret_versions: owned.secrets.clone(),
        generation: owned.generation,
        updating: owned.updating,
        broken: owned.broken,
    }
}

/// An unresolved create call that a status has; `None` when it was spoilt.
pub fn operation<R: Clone>(op: &ApiOperation<R>) -> Option<Operation<R>> {
    Some(Operation {
        attempt: op.attempt,
        sends: op.sends,
        token: ClientToken::new(op.token.clone())?,
        started: op.start_time.0,
        request: op.request.clone(),
        secrets: op.secret_versions.clone(),
        generation: op.generation,
    })
}

/// An unresolved create call for a status.
pub fn shown_operation<R: Clone>(op: &Operation<R>) -> ApiOperation<R> {
    ApiOperation {
        attempt: op.attempt,
        sends: op.sends,
        token: op.token.as_str().to_owned(),
        start_time: time(op.started),
        request: op.request.clone(),
        secret_versions: op.secrets.clone(),
        generation: op.generation,
    }
}

/// Failed builds that a status counts.
pub fn failed(f: &ApiFailedBuilds) -> FailedBuilds {
    FailedBuilds {
        count: f.count,
        generation: f.generation,
        attempt: f.attempt,
        last: f.last_time.0,
        message: f.message.clone(),
    }
}

/// Failed builds for a status.
pub fn shown_failed(f: &FailedBuilds) -> ApiFailedBuilds {
    ApiFailedBuilds {
        count: f.count,
        generation: f.generation,
        attempt: f.attempt,
        last_time: time(f.last),
        message: f.message.clone(),
    }
}

/// A refusal that a status has.
pub fn refusal(r: &ApiRefusal) -> Refusal {
    Refusal {
        reason: Reason::ALL.iter().copied().find(|x| x.as_str() == r.reason).unwrap_or(Reason::CloudRefused),
        message: r.message.clone(),
        count: r.count,
        first: r.first_time.0,
        last: r.last_time.0,
        not_before: r.not_before_time.as_ref().map(|t| t.0),
        generation: r.generation,
        secrets: r.secret_versions.clone(),
    }
}

/// A refusal for a status.
pub fn shown_refusal(r: &Refusal) -> ApiRefusal {
    ApiRefusal {
        reason: r.reason.as_str().to_owned(),
        message: r.message.clone(),
        count: r.count,
        last_time: time(r.last),
        not_before_time: r.not_before.map(time),
        first_time: time(r.first),
        generation: r.generation,
        secret_versions: r.secrets.clone(),
    }
}

/// Whether the conditions say so.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    conditions.iter().any(|c| c.type_ == type_.as_str() && c.status == "True")
}

/// The newest events, newest first.
pub fn shown_events(events: &[CloudEventView]) -> Vec<CloudEvent> {
    let mut events: Vec<_> = events.iter().collect();
    events.sort_by_key(|e| std::cmp::Reverse(e.last_time));
    let shown = events.into_iter().take(EVENTS_SHOWN).map(|e| CloudEvent {
        type_: e.type_.clone(),
        reason: e.reason.clone(),
        message: clip(&e.message),
        count: e.count,
        last_time: e.last_time.map(time),
    });
    shown.collect()
}

/// Why a resource failed, by the newest warning; `needs` is added when the build could not reach what it loads.
pub fn failure(events: &[CloudEventView], needs: &str) -> Option<String> {
    let warnings = events.iter().filter(|e| e.type_ == "Warning");
    let last = warnings.max_by_key(|e| e.last_time)?;
    let hint = if speaks_of_no_route(&last.message) {
        format!(" (the build instance needs a NAT gateway or an EIP to reach {needs})")
    } else {
        String::new()
    };
    Some(format!("{}: {}{hint}", last.reason, clip(&last.message)))
}

fn speaks_of_no_route(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "i/o timeout",
        "no route to host",
        "network is unreachable",
        "context deadline exceeded",
        "connection timed out",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

/// A foreign text for a status or a message.
pub fn clip(text: &str) -> String {
    text.chars().take(EVENT_LIMIT).collect()
}
