//! Taking over a resource that exists: who may, which, and how it is confirmed.
//!
//! Nothing is built for such an object before. Each step is taken on what was just read, and that the adoption was
//! begun is recorded before the first tag is set: whoever finds the object later knows that the tags may be its own.

use std::collections::BTreeSet;
use std::time::Duration;

use eci_api::condition::Reason;
use jiff::Timestamp;

use super::identity::{TAG_CLUSTER, TAG_NAME, TAG_NAMESPACE, TAG_RETAINED, TAG_UID, attempt_of};
use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::steady::RETAG_EVERY;
use super::{Claim, Effect, Kind, Owned, Phase, Problem, Read, tags};
use crate::cloud::{CloudId, Place};
use crate::time::Mono;

/// The label of namespaces whose objects may take over resources and act as roles of the account.
pub const PRIVILEGED: &str = "eci-operator.io/privileged";

/// How often a refused adoption is tried again, and a namespace without the label is read again.
const RECHECK: Duration = Duration::from_mins(1);

/// The other objects of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// All of them.
    pub all: Vec<Peer>,
    /// The namespaces that they were looked for in; `None` is every one.
    pub namespaces: Option<BTreeSet<String>>,
}

/// Another object, as far as it can stand in the way of an adoption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What its spec takes over, unless its namespace may not.
    pub adopts: Option<CloudId>,
    /// What it has begun to take over.
    pub adopting: Option<CloudId>,
    /// What belongs to it by its status.
    pub owns: BTreeSet<CloudId>,
    /// Its claim to a place, for a kind that has one; `None` when it may not make one.
    pub claim: Option<Claim>,
}

/// How much an object has to do with a resource: less is more.
pub(super) type Rank<'a> = (u8, Timestamp, &'a str);

impl Peer {
    /// `tagged_for` is the UID in the tags: an object that has lost its status may have begun all the same.
    fn rank(&self, id: &CloudId, tagged_for: Option<&str>) -> Option<Rank<'_>> {
        let claims = self.adopts.as_ref() == Some(id);
        let level = if self.owns.contains(id) {
            0
        } else if self.adopting.as_ref() == Some(id) || (claims && tagged_for == Some(self.uid.as_str())) {
            1
        } else if claims && !self.deleting {
            2
        } else {
            return None;
        };
        Some((level, self.created, &self.uid))
    }

    /// As [`Peer::rank`], for a place.
    pub(super) fn rank_at(&self, place: &Place) -> Option<Rank<'_>> {
        let claim = self.claim.as_ref().filter(|claim| claim.place == *place)?;
        let level = u8::from(!claim.holds);
        (claim.holds || !self.deleting).then_some((level, self.created, &self.uid))
    }

    pub(super) fn in_words(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl<K: Kind> Pass<'_, K> {
    /// The resource that is to be taken over before anything else.
    pub(super) fn to_adopt(&self) -> Option<CloudId> {
        self.desired.adopts(&self.record).filter(|_| self.has_nothing_yet())
    }

    /// The place whose resource is to be taken over, while nobody knows which one that is.
    pub(super) fn place_to_adopt(&self) -> Option<Place> {
        self.desired.adopt_at.clone().filter(|_| self.record.adopting.is_none() && self.has_nothing_yet())
    }

    fn has_nothing_yet(&self) -> bool {
        let record = &self.record;
        record.last_attempt == 0
            && record.operation.is_none()
            && record.current.is_none()
            && record.successor.is_none()
    }

    /// The next step of taking over `id`.
    pub(super) fn adopt(&mut self, id: &CloudId) -> Decision<K> {
        if let Some(plan) = self.needs_privilege("spec.adopt", false) {
            return plan;
        }
        let request = match &self.desired.request {
            Ok(request) => request.clone(),
            Err(problem) => {
                let problem = problem.clone();
                return self.stalled_by(&problem, false);
            }
        };
        if let Some(plan) = K::place(&request).and_then(|place| self.place_rival(&place)) {
            return plan;
        }
        let now = self.now.mono;
        let tagged = self.memory.retagged.get(id).copied();
        let fresh = |at| now.since(at) < self.limits.look_gap && tagged.is_none_or(|tagged| tagged <= at);
        let look = self.memory.looks.get(id).filter(|l| fresh(l.at));
        let Some(look) = look.cloned() else {
            let trouble = self.wait_for_trouble(false, Progress::Reconciling);
            return trouble.unwrap_or_else(|| self.read_resource(id.clone()));
        };
        let tagged_for = look.view.as_ref().and_then(|view| self.tagged_for(view));
        let begun = self.record.adopting.as_ref() == Some(id)
            || tagged_for.as_ref() == Some(&self.seen.object.owner.uid);
        let rival = match self.rival(id, if begun { 1 } else { 2 }, tagged_for.as_deref()) {
            Ok(rival) => rival,
            Err(plan) => return *plan,
        };
        if let Some(rival) = rival {
            if self.record.adopting.take().is_some() {
                return self.write();
            }
            return self.refuse(
                Reason::AdoptionConflict,
                format!("{id} belongs to, or is claimed before this object by, {} {rival}. If that is wrong, delete {rival} with deletionPolicy Retain; this object goes on then.", K::NOUN),
            );
        }
        let Some(view) = look.view else {
            if self.desired.adopt.is_none() {
                // Another one may be at the place by now.
                self.record.adopting = None;
                return self.write();
            }
            let region = self.seen.region;
            return self.refuse(
                Reason::AdoptionNotFound,
                format!("The cloud has no {} {id} in region {region}. It is looked for every minute; if the ID is wrong, make another object, for spec.adopt can't be changed.", K::NOUN),
            );
        };
        let ours = self.seen.object.owner.owns(K::tags(&view));
        if !ours && let Some(plan) = self.unfit(id, &request, &view) {
            return plan;
        }
        if self.record.adopting.as_ref() != Some(id) {
            self.record.adopting = Some(id.clone());
            return self.write();
        }
        if !ours && tagged.is_none_or(|at| now.since(at) >= RETAG_EVERY) {
            if let Some(plan) = self.wait_for_trouble(false, Progress::Reconciling) {
                return plan;
            }
            let set = tags::<K>(&self.seen.object.owner, 1, &request);
            let remove = vec![TAG_RETAINED.to_owned()];
            return self.act(Effect::Retag { id: id.clone(), set, remove });
        }
        if ours && self.is_listed_as_ours(id, tagged.or(self.memory.born).unwrap_or(now)) {
            let attempt = attempt_of(K::tags(&view)).unwrap_or(1);
            self.record.adopting = None;
            self.record.last_attempt = self.record.last_attempt.max(attempt);
            self.succeed(Owned {
                id: id.clone(),
                attempt,
                request: K::corrected(&request, &view),
                secrets: Vec::new(),
                generation: self.seen.object.generation,
                updating: false,
                broken: false,
            });
            return self.write();
        }
        self.busy();
        self.wake_in(self.limits.look_gap);
        let message =
            format!("{id} is being taken over: its tags are set, and wait to be shown by the cloud.");
        self.rest(&Situation::new(false, Reason::Adopting, Progress::Reconciling, message))
    }

    /// Why the resource cannot be taken over as it is.
    fn unfit(&mut self, id: &CloudId, request: &K::Request, view: &K::View) -> Option<Decision<K>> {
        match self.owner_of(view) {
            Err(plan) => return Some(*plan),
            Ok(Some(whose)) => {
                return Some(self.refuse(
                    Reason::AdoptionConflict,
                    format!("{id} belongs to {whose} by its tags. Delete that object with deletionPolicy Retain first; or, if it does not exist any more, take the tags {TAG_CLUSTER} and {TAG_UID} off in the cloud."),
                ));
            }
            Ok(None) => {}
        }
        if K::phase(view) == Phase::Failed {
            return Some(self.refuse(
                Reason::AdoptionMismatch,
                format!("{id} has failed in the cloud, there is nothing to take over."),
            ));
        }
        let difference = K::differs(request, view)?;
        Some(self.refuse(
            Reason::AdoptionMismatch,
            format!("{id} is not what the spec says: {difference}. Write into the spec what there is; what you change after the adoption is carried out as usual."),
        ))
    }

    fn refuse(&mut self, reason: Reason, message: String) -> Decision<K> {
        self.wake_in(RECHECK);
        self.stalled_by(&Problem { reason, message }, false)
    }

    /// Waits, unless the namespace has the label.
    pub(super) fn needs_privilege(&mut self, field: &str, usable: bool) -> Option<Decision<K>> {
        let problem = match &self.seen.privileged {
            None => return Some(self.read(Read::Namespace)),
            Some(Ok(true)) => return None,
            Some(Err(problem)) => problem.clone(),
            Some(Ok(false)) => Problem {
                reason: Reason::NamespaceNotPrivileged,
                message: format!(
                    "{field} is for namespaces that an administrator has labelled {PRIVILEGED}=true, for it reaches beyond the namespace. Label namespace {}, or remove the field.",
                    self.seen.object.owner.namespace
                ),
            },
        };
        self.wake_in(RECHECK);
        Some(self.stalled_by(&problem, usable))
    }

    pub(super) fn peers(&mut self) -> Result<Peers, Box<Decision<K>>> {
        match &self.seen.peers {
            Some(peers) => Ok(peers.clone()),
            None => Err(Box::new(self.read(Read::Peers))),
        }
    }

    /// The object that has a better right to `id` than this one of rank `level`.
    fn rival(
        &mut self,
        id: &CloudId,
        level: u8,
        tagged_for: Option<&str>,
    ) -> Result<Option<String>, Box<Decision<K>>> {
        let peers = self.peers()?;
        let me = &self.seen.object;
        let mine = (level, me.created, me.owner.uid.as_str());
        let others = peers.all.iter().filter(|p| p.uid != me.owner.uid);
        let better =
            others.filter_map(|p| Some((p.rank(id, tagged_for)?, p))).filter(|(rank, _)| *rank < mine);
        Ok(better.min_by_key(|(rank, _)| *rank).map(|(_, p)| p.in_words()))
    }

    /// The UID in the tags, if they are of this cluster.
    fn tagged_for(&self, view: &K::View) -> Option<String> {
        let tags = K::tags(view);
        let ours = tags.get(TAG_CLUSTER) == Some(&self.seen.object.owner.cluster);
        tags.get(TAG_UID).filter(|_| ours).cloned()
    }

    /// To whom else the tags say that the resource belongs: another cluster, or an object that lives.
    pub(super) fn owner_of(&mut self, view: &K::View) -> Result<Option<String>, Box<Decision<K>>> {
        let me = self.seen.object.owner.clone();
        let tag = |key: &str| K::tags(view).get(key).map(|v| v.chars().take(128).collect::<String>());
        let Some(cluster) = tag(TAG_CLUSTER) else { return Ok(None) };
        let (uid, namespace, name) = (tag(TAG_UID), tag(TAG_NAMESPACE), tag(TAG_NAME));
        if uid.as_ref() == Some(&me.uid) && cluster == me.cluster {
            return Ok(None);
        }
        let object =
            format!("{} {}/{}", K::NOUN, namespace.as_deref().unwrap_or("?"), name.as_deref().unwrap_or("?"));
        if cluster != me.cluster {
            return Ok(Some(format!("{object} of cluster {cluster}")));
        }
        let peers = self.peers()?;
        // Between objects that only claim it their rank decides, and the tags of one that gave way may still be there.
        let id = K::id(view);
        let claimed = self.to_adopt().as_ref() == Some(id);
        let lives = peers.all.iter().any(|p| {
            let same_name = Some(&p.namespace) == namespace.as_ref() && Some(&p.name) == name.as_ref();
            let gave_way = claimed && p.adopts.as_ref() == Some(id) && !p.owns.contains(id);
            p.uid != me.uid && (Some(&p.uid) == uid.as_ref() || same_name) && !gave_way
        });
        let unseen = peers.namespaces.is_some_and(|seen| namespace.is_none_or(|ns| !seen.contains(&ns)));
        Ok((lives || unseen).then_some(object))
    }

    /// Whether a list that was begun at `since` or later shows it with our tags.
    fn is_listed_as_ours(&self, id: &CloudId, since: Mono) -> bool {
        let owner = &self.seen.object.owner;
        self.seen
            .list
            .filter(|list| list.begun >= since)
            .is_some_and(|list| list.items.iter().any(|view| K::id(view) == id && owner.owns(K::tags(view))))
    }

    /// Whose the current resource is by its tags, when they are not ours: a second owner is worse than none.
    pub(super) fn taken_by_another(&mut self, id: &CloudId, view: &K::View) -> Option<Decision<K>> {
        let other = match self.owner_of(view) {
            Err(plan) => return Some(*plan),
            Ok(other) => other?,
        };
        let cluster = K::tags(view).get(TAG_CLUSTER);
        if cluster == Some(&self.seen.object.owner.cluster) {
            // Of two objects of this cluster the better right counts; the other one sees this object's tags again.
            match self.rival(id, 0, None) {
                Err(plan) => return Some(*plan),
                Ok(None) => return None,
                Ok(Some(_)) => {}
            }
        }
        self.wake_in(RECHECK);
        let message = format!(
            "{id} belongs to {other} by its tags now, and is left alone. Delete one of the two objects; of this one, the resource stays."
        );
        let usable = self.record.usable;
        Some(self.rest(&Situation::new(usable, Reason::AdoptionConflict, Progress::Stalled, message)))
    }

    /// Of a deleted object: whether `id` belongs to somebody else by now. What was taken over is looked at first, and
    /// whatever is to be released once more: between two tries it may have become another's.
    pub(super) fn is_anothers(&mut self, id: &CloudId) -> Result<bool, Box<Decision<K>>> {
        let since = self.memory.deleting_since.unwrap_or(self.now.mono);
        let look = self.memory.looks.get(id).cloned();
        let took_over = self.desired.took_over(id) && look.as_ref().is_none_or(|l| l.at < since);
        let tried = self.memory.release_tried.get(id);
        let tried = tried.is_some_and(|tried| look.as_ref().is_none_or(|l| !self.is_news(l.at, *tried)));
        if (took_over || tried) && !self.memory.gone.contains(id) {
            let trouble = self.wait_for_trouble(false, Progress::Reconciling);
            return Err(Box::new(trouble.unwrap_or_else(|| self.read_resource(id.clone()))));
        }
        let listed =
            self.seen.list.and_then(|l| l.items.iter().find(|v| K::id(v) == id).map(|v| (l.begun, v)));
        let looked = look.as_ref().and_then(|l| l.view.as_ref().map(|view| (l.at, view)));
        let newest = listed.into_iter().chain(looked).max_by_key(|(at, _)| *at).map(|(_, view)| view.clone());
        match newest {
            Some(view) => Ok(self.owner_of(&view)?.is_some()),
            None => Ok(false),
        }
    }

    /// Whether a look that was begun `at` some time tells what is so now, after something that ended at `since`.
    fn is_news(&self, at: Mono, since: Mono) -> bool {
        at > since && self.now.mono.since(at) < self.limits.look_gap.max(self.limits.request_timeout)
    }

    /// Takes our tags off a resource whose adoption was not finished; it is never deleted.
    pub(super) fn give_back(&mut self, id: &CloudId) -> Option<Decision<K>> {
        match self.is_anothers(id) {
            Err(plan) => return Some(*plan),
            Ok(true) => return None,
            Ok(false) => {}
        }
        let view = self.memory.looks.get(id).and_then(|l| l.view.as_ref());
        if !view.is_some_and(|view| self.seen.object.owner.owns(K::tags(view))) {
            return None;
        }
        self.release(id)
    }
}
