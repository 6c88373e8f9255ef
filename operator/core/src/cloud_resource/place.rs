//! Kinds that have one resource at a place: nothing is built beside another, and nothing that is not ours is touched.
//!
//! Of several objects of the cluster over one place, the one whose resource is there has it; else the older, then the one
//! with the lower UID. Of several clusters, the one whose tags the resource bears.

use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::image_cache::DeletionPolicy;

use super::identity::attempt_of;
use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::{Kind, Owned, Phase, Problem, Read};
use crate::cloud::{CloudId, Place};
use crate::time::Mono;

/// How often a place that is taken is looked at again.
const RECHECK: Duration = Duration::from_mins(1);

/// What was seen at a place.
#[derive(Clone, Debug)]
pub(super) struct PlaceLook<V> {
    pub(super) place: Place,
    /// When the look was begun.
    pub(super) at: Mono,
    pub(super) views: Vec<V>,
}

impl<K: Kind> Pass<'_, K> {
    /// What is at the place by a look that was begun at `since` or later; or what to do first.
    fn at_place(&mut self, place: &Place, since: Mono) -> Result<Vec<K::View>, Box<Decision<K>>> {
        let fresh = |look: &&PlaceLook<K::View>| {
            look.place == *place && look.at >= since && self.now.mono.since(look.at) < self.limits.look_gap
        };
        let Some(look) = self.memory.place.as_ref().filter(fresh) else {
            let trouble = self.wait_for_trouble(self.record.usable, Progress::Reconciling);
            return Err(Box::new(trouble.unwrap_or_else(|| self.read(Read::Place(place.clone())))));
        };
        let there = look.views.iter().filter(|view| !self.memory.gone.contains(K::id(view)));
        Ok(there.cloned().collect())
    }

    /// What keeps a resource from being built at its place, when its kind has one.
    pub(super) fn place_in_the_way(&mut self, request: &K::Request) -> Option<Decision<K>> {
        let place = K::place(request)?;
        if !self.record.retiring.is_empty() {
            let message = format!(
                "The former {} is deleted before the new one is built: {place} has one in the account.",
                K::NOUN
            );
            self.busy();
            return Some(self.rest(&Situation::new(
                false,
                Reason::Replacing,
                Progress::Reconciling,
                message,
            )));
        }
        if let Some(plan) = self.place_rival(&place) {
            return Some(plan);
        }
        let since = self.memory.version.as_ref().map_or(self.now.mono, |(_, since)| *since);
        let there = match self.at_place(&place, since) {
            Ok(there) => there,
            Err(plan) => return Some(*plan),
        };
        let view = there.into_iter().min_by_key(|view| K::id(view).clone())?;
        Some(self.place_taken(&place, request, &view))
    }

    /// Waits behind another object of the cluster with a better right to the place.
    pub(super) fn place_rival(&mut self, place: &Place) -> Option<Decision<K>> {
        let peers = match self.peers() {
            Ok(peers) => peers,
            Err(plan) => return Some(*plan),
        };
        let me = &self.seen.object;
        let mine = (u8::from(self.record.adopting.is_none()), me.created, me.owner.uid.as_str());
        let others = peers.all.iter().filter(|p| p.uid != me.owner.uid);
        let better = others.filter_map(|p| Some((p.rank_at(place)?, p))).filter(|(rank, _)| *rank < mine);
        let (_, rival) = better.min_by_key(|(rank, _)| *rank)?;
        let message = format!(
            "{place} belongs to {} {}, which {}. One bucket and path has one cache in the account: choose another path for one of them; specs with the same data can share one object.",
            K::NOUN,
            rival.in_words(),
            if rival.claim.as_ref().is_some_and(|claim| claim.holds) {
                "has a resource there"
            } else {
                "is older"
            },
        );
        Some(self.taken(message))
    }

    /// Something is at the place that the record does not know.
    fn place_taken(&mut self, place: &Place, request: &K::Request, view: &K::View) -> Decision<K> {
        let id = K::id(view).clone();
        if self.seen.object.owner.owns(K::tags(view)) {
            if self.desired.deletion_policy == DeletionPolicy::Retain {
                return self.taken(format!(
                    "{id} is at {place} and is this object's own by its tags, of an attempt that was given up. deletionPolicy Retain keeps it: delete it by hand."
                ));
            }
            // It is deleted, or taken over, as soon as lists show it.
            self.busy();
            self.wake_in(self.limits.look_gap);
            let message =
                format!("{id} of an earlier attempt is at {place}; nothing is built before it is gone.");
            return self.rest(&Situation::new(false, Reason::Resolving, Progress::Reconciling, message));
        }
        let whose = match self.owner_of(view) {
            Ok(whose) => whose,
            Err(plan) => return *plan,
        };
        if whose.is_none() && self.seen.object.owner.is_namesake(K::tags(view)) {
            return self.take_leftover(id, request, view);
        }
        self.taken(match whose {
            Some(whose) => format!(
                "{id} at {place} belongs to {whose} by its tags, and is left alone. One bucket and path has one cache in the account: choose another path, or delete that one."
            ),
            None => format!(
                "{id} at {place} was not made by this object, and is left alone. Choose another path, delete it in the cloud, or take it over with a {} that has spec.adopt.existing: true.",
                K::NOUN
            ),
        })
    }

    /// A resource of an earlier object of this name, which was lost sight of: nobody else will ever look after it.
    fn take_leftover(&mut self, id: CloudId, request: &K::Request, view: &K::View) -> Decision<K> {
        if !self.seen.object.live {
            return self.read(Read::Object);
        }
        let attempt = attempt_of(K::tags(view)).unwrap_or(0);
        self.record.last_attempt = self.record.last_attempt.max(attempt).max(1);
        self.succeed(Owned {
            id,
            attempt,
            request: K::corrected(request, view),
            secrets: Vec::new(),
            generation: self.seen.object.generation,
            updating: false,
            broken: false,
        });
        self.write()
    }

    fn taken(&mut self, message: String) -> Decision<K> {
        self.wake_in(RECHECK);
        self.stalled_by(&Problem { reason: Reason::BucketPathTaken, message }, false)
    }

    /// Finds out which resource is to be taken over: the one at the place.
    pub(super) fn find_to_adopt(&mut self, place: &Place) -> Decision<K> {
        if let Some(plan) = self.needs_privilege("spec.adopt", false) {
            return plan;
        }
        if let Err(problem) = &self.desired.request {
            let problem = problem.clone();
            return self.stalled_by(&problem, false);
        }
        if let Some(plan) = self.place_rival(place) {
            return plan;
        }
        let there = match self.at_place(place, Mono::default()) {
            Ok(there) => there,
            Err(plan) => return *plan,
        };
        let failed = |view: &K::View| K::phase(view) == Phase::Failed;
        let Some(view) = there.iter().min_by_key(|view| (failed(view), K::id(view).clone())) else {
            self.wake_in(RECHECK);
            let region = self.seen.region;
            return self.stalled_by(
                &Problem {
                    reason: Reason::AdoptionNotFound,
                    message: format!(
                        "The cloud has no {} at {place} in region {region}. It is looked for every minute; to build one, make a DataCache without spec.adopt.",
                        K::NOUN
                    ),
                },
                false,
            );
        };
        self.record.adopting = Some(K::id(view).clone());
        self.write()
    }

    /// A look at the place of an unresolved operation, when one is due: it finds its resource before the lists do.
    pub(super) fn look_while_resolving(&mut self, request: &K::Request) -> Option<Decision<K>> {
        let place = K::place(request)?;
        let since = self.memory.doubt.unwrap_or_default();
        let recent = |look: &PlaceLook<K::View>| {
            look.place == place
                && look.at >= since
                && self.now.mono.since(look.at) < self.limits.vanish_gap / 4
        };
        let trouble = self.memory.trouble.as_ref().is_some_and(|t| t.until > self.now.mono);
        if trouble || self.memory.place.as_ref().is_some_and(recent) {
            self.wake_in(self.limits.vanish_gap / 4);
            return None;
        }
        Some(self.read(Read::Place(place)))
    }

    /// Whether somebody else's resource is at the place of a request, so that the request cannot have made one.
    pub(super) fn place_is_anothers(&self, request: &K::Request, since: Mono) -> bool {
        let Some(place) = K::place(request) else { return false };
        let look = self.memory.place.as_ref().filter(|look| look.place == place && look.at >= since);
        let foreign = |view: &K::View| !self.seen.object.owner.owns(K::tags(view));
        look.is_some_and(|look| look.views.iter().any(foreign))
    }

    /// What the newest look at the place showed that was begun at `since` or later, for those who look for a resource by
    /// its tags.
    pub(super) fn seen_at_place(&self, since: Mono) -> impl Iterator<Item = &K::View> {
        self.memory.place.iter().filter(move |look| look.at >= since).flat_map(|look| &look.views)
    }

    /// The resource does not fit the spec any more and cannot be replaced side by side: it goes first.
    pub(super) fn make_room(&mut self, wanted: &K::Request) -> Decision<K> {
        // A resource that serves does not go for one that could not be built.
        let ready = K::to_build(wanted).map_err(|message| Problem { reason: Reason::InvalidSpec, message });
        if let Err(problem) = ready {
            return self.stalled_by(&problem, self.record.usable);
        }
        if let Some(plan) = self.secrets_missing(wanted, self.record.usable) {
            return plan;
        }
        self.retire_current();
        self.write()
    }
}

/// An object's claim to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where.
    pub place: Place,
    /// Whether it has a resource there, or may have: a create call is unresolved, an adoption was begun.
    pub holds: bool,
}

impl Claim {
    /// Of an object with this record.
    pub fn new<R>(place: Place, record: &super::Record<R>) -> Self {
        let holds = record.current.is_some()
            || record.successor.is_some()
            || record.operation.is_some()
            || record.adopting.is_some()
            || !record.retiring.is_empty();
        Self { place, holds }
    }
}
