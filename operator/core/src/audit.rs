//! Invariants over what a pass saw and what it decided: the linter that every test runs after every pass.

use crate::cloud::CloudId;
use crate::cloud_resource::{DeleteReason, Effect, Kind, Next, Object, Plan, Record, tags};

/// Says which law a plan breaks, if any.
///
/// `adopts` is the resource that the spec takes over, `before` the record of the copy that the pass saw, `owned` whether it belongs to this very object.
pub fn check<K: Kind>(
    object: &Object,
    adopts: Option<&CloudId>,
    before: &Record<K::Request>,
    plan: &Plan<K::Request>,
) -> Result<(), String> {
    let owned = before.owner_uid.as_ref().is_none_or(|uid| *uid == object.owner.uid);
    let last_attempt = if owned { before.last_attempt } else { 0 };
    if plan.record.last_attempt < last_attempt {
        return Err(format!("lastAttempt falls from {last_attempt} to {}", plan.record.last_attempt));
    }
    let Next::Do(effect) = &plan.next else { return Ok(()) };
    let living = [&before.current, &before.successor];
    let is_ours = |id: &CloudId| owned && living.iter().any(|o| o.as_ref().is_some_and(|o| o.id == *id));
    match effect {
        Effect::Delete { id, .. } if Some(id) == adopts && last_attempt == 0 => {
            Err(format!("{id} would be deleted before it was confirmed to be this object's"))
        }
        Effect::Write(record)
            if takes_over_unrecorded(adopts.filter(|_| last_attempt == 0), before, record) =>
        {
            Err("a resource would be taken over without a record of it".into())
        }
        Effect::Create(_) if object.deleting => {
            Err("a create call for an object that is being deleted".into())
        }
        Effect::Create(_) if !object.live => Err("a create call on the word of a watch copy".into()),
        Effect::Create(_) if !object.has_finalizer => Err("a create call without a finalizer".into()),
        Effect::Create(call) => match before.operation.as_ref().filter(|_| owned) {
            None => Err("a create call that was not recorded".into()),
            Some(op) if op.turn() != call.turn || op.token != call.token || op.request != call.request => {
                Err("a create call that differs from the recorded one".into())
            }
            Some(_) if tags::<K>(&object.owner, call.turn.attempt, &call.request) != call.tags => {
                Err("tags of another object, attempt or request".into())
            }
            Some(_) => Ok(()),
        },
        Effect::Delete { id, why: DeleteReason::Superseded } if is_ours(id) => {
            Err(format!("{id} is in use and would be deleted"))
        }
        Effect::Delete { id, why: DeleteReason::Superseded }
            if !object.live && !before.retiring.contains(id) =>
        {
            Err("a resource would be deleted on the word of a watch copy".into())
        }
        Effect::Write(record) => {
            let unresolved = before.operation.as_ref().filter(|_| owned);
            match (unresolved, &record.operation) {
                (Some(old), Some(new)) if old.attempt != new.attempt => {
                    Err("an unresolved operation would be overwritten by another".into())
                }
                (None, Some(new)) if new.attempt <= last_attempt => {
                    Err("an attempt would be used twice".into())
                }
                _ => Ok(()),
            }
        }
        Effect::RemoveFinalizer if !object.deleting => {
            Err("the finalizer of a living object would go".into())
        }
        _ => Ok(()),
    }
}

/// Whether `after` has for its own what an adoption should have been recorded for.
fn takes_over_unrecorded<R>(adopts: Option<&CloudId>, before: &Record<R>, after: &Record<R>) -> bool {
    let owns = after.current.as_ref().map(|owned| &owned.id);
    adopts.is_some() && owns == adopts && before.adopting.as_ref() != adopts
}
