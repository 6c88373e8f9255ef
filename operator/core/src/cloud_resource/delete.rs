//! The end: everything of ours is deleted and confirmed gone (or handed over), then the finalizer goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::image_cache::DeletionPolicy;
use jiff::Timestamp;

use super::identity::{OWNERSHIP_TAGS, TAG_RETAINED};
use super::memory::LOST;
use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::{DeleteReason, Effect, Kind, Turn};
use crate::cloud::CloudId;
use crate::time::ago;

impl<K: Kind> Pass<'_, K> {
    /// No create call is sent any more.
    pub(super) fn deleted(&mut self) -> Decision<K> {
        if !self.seen.object.has_finalizer {
            let message = "Nothing of ours is left.";
            return self.rest(&Situation::new(false, Reason::Deleting, Progress::Reconciling, message));
        }
        if let Some(plan) = self.of_another_region() {
            return plan;
        }
        let since = self.memory.deleting_since.unwrap_or(self.now.mono);
        if self.seen.list.is_none_or(|l| l.begun < since) {
            return self.await_list(since);
        }
        if let Some(plan) = self.in_use() {
            return plan;
        }
        let retain = self.desired.deletion_policy == DeletionPolicy::Retain;
        // What was not confirmed as this object's own is never deleted.
        let unconfirmed = self.record.adopting.clone().or_else(|| self.to_adopt());
        for id in self.ours().into_iter().filter(|id| unconfirmed.as_ref() != Some(id)) {
            match self.is_anothers(&id) {
                Err(plan) => return *plan,
                Ok(true) => continue,
                Ok(false) => {}
            }
            let plan = if retain { self.release(&id) } else { self.remove(&id, DeleteReason::ObjectDeleted) };
            if let Some(plan) = plan {
                return plan;
            }
        }
        if let Some(plan) = unconfirmed.and_then(|id| self.give_back(&id)) {
            return plan;
        }
        if let Some(Err(mut plan)) = self.in_doubt().map(|turn| self.window_over(turn)) {
            // The reason that people see is the deletion; the message says what it waits for.
            let reason = if retain { Reason::Releasing } else { Reason::Deleting };
            for condition in &mut plan.conditions {
                condition.reason = reason;
            }
            return *plan;
        }
        self.act(Effect::RemoveFinalizer)
    }

    /// Every resource that is ours by the record, by this process's knowledge, or by its tags.
    fn ours(&self) -> BTreeSet<CloudId> {
        let recorded = self.record.current.iter().chain(&self.record.successor).map(|o| o.id.clone());
        let owner = &self.seen.object.owner;
        let listed = self.seen.list.into_iter().flat_map(|l| &l.items).filter(|v| owner.owns(K::tags(v)));
        let known = self.memory.known.keys().cloned();
        let retiring = self.record.retiring.iter().cloned();
        recorded.chain(retiring).chain(known).chain(listed.map(|v| K::id(v).clone())).collect()
    }

    /// The send of which nobody knows whether it made, or will make, a resource.
    fn in_doubt(&self) -> Option<Turn> {
        // What was taken for a lost record since, or was put in its place by somebody, need not name what was made last.
        let overwritten = self.record.lost.is_some_and(|at| self.listed_within_a_window_of(at));
        let Some(operation) = &self.record.operation else {
            // A finalizer without a record: the record was lost, and with it perhaps an operation.
            let recent = |at| self.now.mono.since(at) < self.limits.resolve_window;
            let lost = self.record.owner_uid.is_none()
                || self.lost_its_record()
                || overwritten
                || self.memory.doubt.is_some_and(recent);
            return lost.then_some(LOST);
        };
        let turn = operation.turn();
        let answered = self.memory.answer.as_ref().is_some_and(|a| a.settles(operation));
        // The first send of an attempt is this process's own affair until it is sent.
        let unsent = turn.send == 1 && self.memory.fresh.as_ref().is_some_and(|f| f.turn == turn);
        if answered || unsent { overwritten.then_some(LOST) } else { Some(turn) }
    }

    /// Whether the list was begun before a window had passed since then. Another process may have told the time, and a
    /// status has whole seconds.
    fn listed_within_a_window_of(&self, at: Timestamp) -> bool {
        let age = self.seen.list.map_or(Duration::ZERO, |list| self.now.mono.since(list.begun));
        ago(at, self.now.wall).saturating_sub(age) <= self.limits.resolve_window
    }

    /// Hands a resource over to people: our ownership tags go, a tag says where it came from.
    pub(super) fn release(&mut self, id: &CloudId) -> Option<Decision<K>> {
        if self.memory.released.contains(id) {
            return None;
        }
        if let Some(plan) = self.wait_for_trouble(false, Progress::Reconciling) {
            return Some(plan);
        }
        let owner = &self.seen.object.owner;
        let from =
            format!("{}/{}/{}", owner.cluster, owner.namespace, owner.name).chars().take(128).collect();
        Some(self.act(Effect::Retag {
            id: id.clone(),
            set: BTreeMap::from([(TAG_RETAINED.to_owned(), from)]),
            remove: OWNERSHIP_TAGS.map(str::to_owned).to_vec(),
        }))
    }
}
