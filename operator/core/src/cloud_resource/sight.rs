//! What can be believed of the cloud: is a resource there, and what is ours that the record does not know?

use std::time::Duration;

use eci_api::condition::Reason;

use super::identity::attempt_of;
use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::{Kind, Owned, Phase, Read};
use crate::cloud::CloudId;

/// How often a resource is looked up by ID that the list does not (yet) show.
const LAG_LOOK: Duration = Duration::from_secs(15);

/// Whether a resource is there.
pub(super) enum Sight<K: Kind> {
    Seen(K::View),
    Gone,
    Look(Box<Decision<K>>),
}

impl<K: Kind> Pass<'_, K> {
    /// Whether a resource is there: in the newest list, or by ID.
    pub(super) fn sight(&mut self, id: &CloudId, seen_before: bool) -> Sight<K> {
        if self.memory.gone.contains(id) {
            return Sight::Gone;
        }
        let list = self.seen.list;
        let listed = list.and_then(|l| l.items.iter().find(|v| K::id(v) == id).map(|v| (l.begun, v.clone())));
        let look = self.memory.looks.get(id).cloned();
        if let Some((begun, view)) = listed {
            // A newer look by ID that shows it beats the list; one that shows nothing is lag until the list agrees.
            let newer = look.filter(|l| l.at > begun).and_then(|l| l.view);
            return Sight::Seen(newer.unwrap_or(view));
        }
        let known = self.memory.known.get(id).copied().unwrap_or(self.now.mono);
        let Some(list) = list.filter(|l| l.begun >= known) else {
            return match look.and_then(|l| l.view) {
                Some(view) => Sight::Seen(view),
                None => Sight::Look(Box::new(self.await_list(known))),
            };
        };
        let due = look.as_ref().is_none_or(|l| {
            self.now.mono.since(l.at)
                >= self.limits.look_gap.max(if l.view.is_some() { LAG_LOOK } else { Duration::ZERO })
        });
        if due {
            if let Some(plan) = self.wait_for_trouble(self.record.usable, Progress::Reconciling) {
                return Sight::Look(Box::new(plan));
            }
            return Sight::Look(Box::new(self.read_resource(id.clone())));
        }
        let Some(look) = look else { return Sight::Look(Box::new(self.read_resource(id.clone()))) };
        if let Some(view) = look.view {
            self.wake_in(LAG_LOOK);
            return Sight::Seen(view);
        }
        let gap = if seen_before { self.limits.vanish_gap } else { self.limits.resolve_window };
        let missing_for = look.empty_since.map(|first| look.at.since(first)).unwrap_or_default();
        if missing_for >= gap && list.begun.since(known) >= gap.min(self.limits.vanish_gap) {
            return Sight::Gone;
        }
        self.wake_in(self.limits.look_gap);
        self.busy();
        let (usable, message) =
            (self.record.usable, format!("The cloud does not show {id}; looking again before believing it."));
        let reason = if usable { Reason::Vanished } else { Reason::Building };
        Sight::Look(Box::new(self.rest(&Situation::new(usable, reason, Progress::Reconciling, message))))
    }

    /// Whether what was asked of the cloud for the object is forgotten. Of what is to be taken over nothing is built before
    /// there is a record.
    pub(super) fn lost_its_record(&self) -> bool {
        let adopts = self.desired.adopt.is_some() || self.desired.adopt_at.is_some();
        self.memory.lost_since.is_some() && !adopts
    }

    /// Without a record, or with one that is older than the cloud: take what the cloud has of ours.
    pub(super) fn adopt_unrecorded(&mut self) -> Option<Decision<K>> {
        let first_look = self.record.last_attempt == 0;
        let request = match &self.desired.request {
            Ok(request) => request.clone(),
            Err(problem) if first_look => return Some(self.stalled_by(&problem.clone(), false)),
            Err(_) => return None,
        };
        let born = self.memory.born.unwrap_or(self.now.mono);
        let Some(list) = self.seen.list.filter(|l| !first_look || l.begun >= born) else {
            return Some(self.await_list(born));
        };
        let owner = &self.seen.object.owner;
        let known = self.known_ids();
        // A namesake's resource that looking up by ID does not confirm is on its way out, or somebody else's by now.
        let still =
            |view: &Option<K::View>| view.as_ref().is_some_and(|view| owner.is_namesake(K::tags(view)));
        let refuted = |view: &K::View| {
            self.memory.looks.get(K::id(view)).is_some_and(|l| l.at >= list.begun && !still(&l.view))
        };
        // Whoever is to take over a resource takes no other one but what carries its own UID.
        let inherits = first_look && self.desired.adopt.is_none() && self.desired.adopt_at.is_none();
        // Where nothing can be built beside it, a namesake's resource that failed is taken over to be deleted.
        let placed = K::place(&request).is_some();
        let newer = |view: &&K::View| {
            let tags = K::tags(view);
            let ours = owner.owns(tags) && attempt_of(tags).unwrap_or(0) > self.record.last_attempt;
            (ours || (first_look && owner.owns(tags)) || (inherits && owner.is_namesake(tags)))
                && !known.contains(K::id(view))
                && !self.memory.gone.contains(K::id(view))
                && (owner.owns(tags) || ((placed || K::phase(view) != Phase::Failed) && !refuted(view)))
        };
        let best = list.items.iter().filter(newer).max_by_key(|view| {
            let tags = K::tags(view);
            let rank = match K::phase(view) {
                Phase::Usable | Phase::Changing | Phase::ChangeFailed => 2,
                Phase::Building => 1,
                Phase::Failed => 0,
            };
            (owner.owns(tags), rank, attempt_of(tags), std::cmp::Reverse(K::id(view)))
        });
        let highest = self.highest_listed();
        let Some(view) = best.cloned() else {
            // With a number in it, a lost record would pass for one that was kept, and what it knew of is still looked for.
            if !self.lost_its_record() {
                self.record.last_attempt = self.record.last_attempt.max(highest);
            }
            return None;
        };
        // Nothing may be taken over on the word of an old copy or an old list.
        if !self.seen.object.live {
            return Some(self.read(Read::Object));
        }
        let id = K::id(&view).clone();
        let confirmed =
            owner.owns(K::tags(&view)) || self.memory.looks.get(&id).is_some_and(|l| l.at >= list.begun);
        if !confirmed {
            return Some(self.read_resource(id));
        }
        let taken = Owned {
            id,
            attempt: attempt_of(K::tags(&view)).unwrap_or(0),
            request: K::corrected(&request, &view),
            secrets: Vec::new(),
            generation: self.seen.object.generation,
            updating: false,
            broken: false,
        };
        self.record.last_attempt = self.record.last_attempt.max(highest).max(taken.attempt).max(1);
        if self.lost_its_record() {
            self.record.lost = Some(self.now.wall);
        }
        if self.record.current.is_some() && placed {
            self.retire_current();
            self.succeed(taken);
        } else if self.record.current.is_some() {
            self.record.successor = Some(taken);
        } else {
            self.succeed(taken);
        }
        Some(self.write())
    }

    /// The highest attempt of this object that the list shows.
    pub(super) fn highest_listed(&self) -> i64 {
        let owner = &self.seen.object.owner;
        let unconfirmed = self.to_adopt();
        let all = self.seen.list.into_iter().flat_map(|list| &list.items);
        let mine = all.filter(|v| owner.owns(K::tags(v)) && Some(K::id(v)) != unconfirmed.as_ref());
        mine.filter_map(|v| attempt_of(K::tags(v))).max().unwrap_or(0)
    }
}
