//! The end: everything of ours is deleted and confirmed gone (or handed over), then the finalizer goes.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::condition::Reason;
use eci_api::image_cache::DeletionPolicy;

use super::identity::{OWNERSHIP_TAGS, TAG_RETAINED};
use super::memory::Answer;
use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::{DeleteReason, Effect, Kind};
use crate::cloud::CloudId;

impl<K: Kind> Pass<'_, K> {
    /// No create call is sent any more.
    pub(super) fn deleted(&mut self) -> Decision<K> {
        if !self.seen.object.has_finalizer {
            let message = "Nothing of ours is left.";
            return self.rest(Situation::new(false, Reason::Deleting, Progress::Reconciling, message));
        }
        let since = self.memory.deleting_since.unwrap_or(self.now.mono);
        if self.seen.list.is_none_or(|l| l.begun < since) {
            return self.await_list(since);
        }
        let retain = self.desired.deletion_policy == DeletionPolicy::Retain;
        for id in self.ours() {
            let plan = if retain { self.release(&id) } else { self.remove(&id, DeleteReason::ObjectDeleted) };
            if let Some(plan) = plan {
                return plan;
            }
        }
        if let Some(attempt) = self.in_doubt() {
            if let Err(mut plan) = self.window_over(attempt) {
                // The reason that people see is the deletion; the message says what it waits for.
                for condition in &mut plan.conditions {
                    condition.reason = Reason::Deleting;
                }
                return plan;
            }
        }
        self.act(Effect::RemoveFinalizer)
    }

    /// Every resource that is ours by the record, by this process's knowledge, or by its tags.
    fn ours(&self) -> BTreeSet<CloudId> {
        let recorded = self.record.current.iter().chain(&self.record.successor).map(|o| o.id.clone());
        let made = match &self.memory.answer {
            Some(Answer::Made { id, .. }) => Some(id.clone()),
            _ => None,
        };
        let owner = &self.seen.object.owner;
        let listed = self.seen.list.into_iter().flat_map(|l| &l.items).filter(|v| owner.owns(K::tags(v)));
        recorded.chain(made).chain(listed.map(|v| K::id(v).clone())).collect()
    }

    /// The attempt of which nobody knows whether it made, or will make, a resource.
    fn in_doubt(&self) -> Option<i64> {
        let attempt = self.record.operation.as_ref()?.attempt;
        let answered = match &self.memory.answer {
            Some(
                Answer::Made { attempt, .. } | Answer::Refused { attempt, .. } | Answer::Withheld { attempt },
            ) => Some(*attempt),
            None => None,
        };
        let unsent = self.memory.fresh.as_ref().map(|f| f.attempt);
        (answered != Some(attempt) && unsent != Some(attempt)).then_some(attempt)
    }

    /// Hands a resource over to people: our ownership tags go, a tag says where it came from.
    fn release(&mut self, id: &CloudId) -> Option<Decision<K>> {
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
