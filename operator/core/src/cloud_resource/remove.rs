//! Deleting in the cloud, until it is confirmed.

use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::image_cache::DeletionPolicy;

use super::memory::Trouble;
use super::plan::{Decision, Pass, soonest};
use super::speak::{Progress, Situation};
use super::{Class, DeleteReason, Effect, Kind, Next, Plan, Read, explain};
use crate::cloud::CloudId;

/// A delete that was accepted and shows no effect is sent again after this time.
const DELETE_AGAIN: Duration = Duration::from_mins(1);

impl<K: Kind> Pass<'_, K> {
    /// Deletes what was replaced or given up. One that the cloud does not let us delete keeps none of the others: after
    /// each refusal in a row it is another one's turn.
    pub(super) fn clear_retired(&mut self, mut plan: Decision<K>) -> Decision<K> {
        let mut retiring = self.record.retiring.clone();
        let refusals = self.memory.trouble.as_ref().map_or(0, |trouble| trouble.count);
        let turns = usize::try_from(refusals).unwrap_or_default() % retiring.len().max(1);
        retiring.rotate_left(turns);
        for id in retiring {
            match self.remove(&id, DeleteReason::Superseded) {
                None => {
                    self.record.retiring.retain(|retired| *retired != id);
                    return self.write();
                }
                Some(removal) if removal.next == Next::Rest => {
                    plan.wake = soonest(plan.wake, removal.wake);
                    plan.busy = true;
                }
                Some(removal) => return removal,
            }
        }
        plan
    }

    /// Deletes what is ours by its tags but nothing that the record knows, seen in two lists. With
    /// `Retain` people are told of it instead.
    pub(super) fn clear_strays(&mut self, plan: Decision<K>) -> Decision<K> {
        let Some(list) = self.seen.list else { return plan };
        let known = self.known_ids();
        let kept = self.desired.deletion_policy == DeletionPolicy::Retain;
        let mut wait = None;
        let mut ripe = None;
        for view in list.items.iter().filter(|v| self.seen.object.owner.owns(K::tags(v))) {
            let id = K::id(view);
            if known.contains(id) || self.memory.gone.contains(id) {
                continue;
            }
            let first = *self.memory.strays.entry(id.clone()).or_insert(list.begun);
            if kept && self.memory.told.contains(id) {
                continue;
            }
            if list.begun.since(first) >= self.limits.stray_gap {
                ripe.get_or_insert_with(|| id.clone());
            } else {
                wait = Some(self.limits.stray_gap);
            }
        }
        if let Some(id) = ripe {
            if !self.seen.object.live {
                return self.read(Read::Object);
            }
            if kept {
                return self.act(Effect::TellOfStray(id));
            }
            match self.remove(&id, DeleteReason::Superseded) {
                Some(removal) if removal.next == Next::Rest => wait = removal.wake,
                Some(removal) => return removal,
                None => wait = Some(Duration::ZERO),
            }
        }
        Plan { wake: soonest(plan.wake, wait), busy: plan.busy || wait.is_some(), ..plan }
    }

    /// Deletes a resource and confirms that it is gone; `None` when it is.
    pub(super) fn remove(&mut self, id: &CloudId, why: DeleteReason) -> Option<Decision<K>> {
        if self.memory.gone.contains(id) {
            return None;
        }
        let look = self.memory.looks.get(id);
        let looked = look.map(|l| l.at);
        let missing = look.is_some_and(|l| l.view.is_none());
        let missing_for = look.and_then(|l| l.empty_since.map(|first| l.at.since(first))).unwrap_or_default();
        let accepted = self.memory.deleted.get(id).copied();
        let confirmed = match accepted {
            Some(at) => missing && looked.is_some_and(|l| l >= at),
            // The cloud does not let us delete it, and it is gone all the same.
            None => missing && missing_for >= self.limits.vanish_gap,
        };
        if confirmed {
            self.memory.gone.insert(id.clone());
            return None;
        }
        if let Some(plan) = self.wait_for_trouble(false, Progress::Reconciling) {
            return Some(plan);
        }
        let Some(at) = accepted else {
            let refused = self.memory.trouble.as_ref().is_some_and(|t| !t.of_look);
            let look_first = refused && looked.is_none_or(|l| self.now.mono.since(l) >= self.limits.look_gap);
            if look_first {
                return Some(self.read_resource(id.clone()));
            }
            return Some(self.act(Effect::Delete { id: id.clone(), why }));
        };
        if self.now.mono.since(at) >= DELETE_AGAIN && looked.is_some_and(|l| l >= at) && !missing {
            self.memory.deleted.remove(id);
            return Some(self.act(Effect::Delete { id: id.clone(), why }));
        }
        match looked.filter(|l| *l >= at) {
            Some(l) if self.now.mono.since(l) < self.limits.look_gap => {
                self.wake_in(self.limits.look_gap);
                self.busy();
                let reason =
                    if why == DeleteReason::ObjectDeleted { Reason::Deleting } else { Reason::BuildFailed };
                let message = format!("{id} is being deleted in the cloud.");
                Some(self.rest(&Situation::new(false, reason, Progress::Reconciling, message)))
            }
            _ => Some(self.read_resource(id.clone())),
        }
    }

    /// Waits while something that can simply be repeated has just failed.
    pub(super) fn wait_for_trouble(&mut self, usable: bool, progress: Progress) -> Option<Decision<K>> {
        let Trouble { error, until, .. } = self.memory.trouble.clone().filter(|t| t.until > self.now.mono)?;
        self.wake_in(until.since(self.now.mono));
        let (reason, class, message) = explain(&error);
        let progress = if class == Class::Stuck { Progress::Stalled } else { progress };
        Some(self.rest(&Situation::new(usable, reason, progress, message)))
    }
}
