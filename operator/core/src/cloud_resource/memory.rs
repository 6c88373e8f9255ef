//! What a process knows of an object beyond its status. Losing it is always safe.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::identity::TAG_UID;
use super::place::PlaceLook;
use super::{Create, Effect, Kind, Limits, Observed, Record, Turn};
use crate::cloud::{ClientToken, CloudError, CloudId, Meaning, Place};
use crate::time::{Mono, Now};

/// Stands for the turn of an operation that may have been under way when the record was lost.
pub(super) const LOST: Turn = Turn { attempt: 0, send: 0 };

/// What a process knows of one object (by UID).
#[derive(Debug)]
pub struct Memory<K: Kind> {
    /// When the process first saw the object.
    pub(super) born: Option<Mono>,
    /// The version of the object that it last saw, and since when; its own writes do not count as news.
    pub(super) version: Option<(String, Mono)>,
    /// When it first saw it being deleted.
    pub(super) deleting_since: Option<Mono>,
    /// The version that the object got with its finalizer from this process, which has recorded nothing since.
    pub(super) guarded: Option<String>,
    /// Since when the object has had a finalizer and no record: the record was lost, or a process died between the two.
    pub(super) lost_since: Option<Mono>,
    /// When the record was lost or overwritten, as it says, and since when the process knows.
    pub(super) overwritten: Option<(Timestamp, Mono)>,
    /// An operation that this process recorded and has not sent.
    pub(super) fresh: Option<Fresh>,
    /// The definite answer to a create call that the status does not yet have.
    pub(super) answer: Option<Answer>,
    /// When the last create call of this process was over whose answer is not known.
    pub(super) doubt: Option<Mono>,
    /// The window in which an unresolved operation is looked for.
    pub(super) window: Option<Window>,
    /// Resources that seem to be nobody's: begin of the first list that showed them.
    pub(super) strays: BTreeMap<CloudId, Mono>,
    /// Of these, people were told.
    pub(super) told: BTreeSet<CloudId>,
    /// Since when the process knows the current resource's ID.
    pub(super) known: BTreeMap<CloudId, Mono>,
    /// What looking up by ID gave.
    pub(super) looks: BTreeMap<CloudId, Look<K::View>>,
    /// What was seen at the object's place.
    pub(super) place: Option<PlaceLook<K::View>>,
    /// Deletes that the cloud accepted.
    pub(super) deleted: BTreeMap<CloudId, Mono>,
    /// Resources that are confirmed gone.
    pub(super) gone: BTreeSet<CloudId>,
    /// Resources whose ownership tags were set, and when.
    pub(super) retagged: BTreeMap<CloudId, Mono>,
    /// Resources whose ownership tags were taken away (Retain, or an adoption that was not finished).
    pub(super) released: BTreeSet<CloudId>,
    /// When the last try of that was over whose success is not known: the resource may be another's since.
    pub(super) release_tried: BTreeMap<CloudId, Mono>,
    /// A change in place that the cloud accepted and the status does not yet have.
    pub(super) updated: Option<(CloudId, K::Request)>,
    /// Changes in place that the cloud accepted: when the last, and how many.
    pub(super) settled: BTreeMap<CloudId, (Mono, u32)>,
    /// Turn of the unresolved operation that the process last saw.
    pub(super) turn: Option<Turn>,
    /// When it first saw that turn: the send may have been under way until then.
    pub(super) turn_since: Mono,
    /// The last failure of something that can simply be repeated.
    pub(super) trouble: Option<Trouble>,
}

impl<K: Kind> Default for Memory<K> {
    fn default() -> Self {
        Self {
            born: None,
            version: None,
            deleting_since: None,
            guarded: None,
            lost_since: None,
            overwritten: None,
            fresh: None,
            answer: None,
            doubt: None,
            window: None,
            strays: BTreeMap::new(),
            told: BTreeSet::new(),
            known: BTreeMap::new(),
            looks: BTreeMap::new(),
            place: None,
            deleted: BTreeMap::new(),
            gone: BTreeSet::new(),
            retagged: BTreeMap::new(),
            released: BTreeSet::new(),
            release_tried: BTreeMap::new(),
            updated: None,
            settled: BTreeMap::new(),
            turn: None,
            turn_since: Mono::default(),
            trouble: None,
        }
    }
}

/// An operation that this process recorded: it may be sent once without looking.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub(super) turn: Turn,
    pub(super) resource_version: String,
    pub(super) recorded: Mono,
}

/// A definite answer to a create call.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The call's token: after a lost status the same attempt number can stand for another call.
    pub(super) token: ClientToken,
    pub(super) turn: Turn,
    pub(super) says: Says,
}

impl Answer {
    /// Whether it settles this operation. A resource settles every send of its token; that nothing was made is said of
    /// one send only, another process may have recorded the next.
    pub(super) fn settles<R>(&self, operation: &super::Operation<R>) -> bool {
        operation.token == self.token && (matches!(self.says, Says::Made(_)) || operation.turn() == self.turn)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Says {
    Made(CloudId),
    Refused(CloudError),
    /// It never left this process.
    Withheld,
}

/// Looking for an unresolved operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) turn: Turn,
    /// Begin of the first list begun after the last possible send.
    pub(super) begun: Mono,
    /// The token is of no use: do not send it again, take the next attempt.
    pub(super) token_spent: bool,
}

/// What looking up by ID gave.
#[derive(Clone, Debug)]
pub(super) struct Look<V> {
    /// When the newest look was begun.
    pub(super) at: Mono,
    /// What it showed.
    pub(super) view: Option<V>,
    /// First of the looks in a row that showed nothing.
    pub(super) empty_since: Option<Mono>,
}

/// A failure of something that can simply be repeated.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) error: CloudError,
    pub(super) count: u32,
    pub(super) until: Mono,
    /// A look failed, not an effect.
    pub(super) of_look: bool,
}

/// What became of an effect.
#[derive(Debug)]
pub enum Outcome {
    /// A write to the object succeeded and gave it this resourceVersion.
    Written(String),
    /// A write to the object was refused because the copy was old, or the object is gone: look again.
    Conflict,
    /// The create call was answered.
    Created(CloudId),
    /// The call was not sent, and will not be: the secrets are no longer those of the record, or it came too late. The
    /// shell forgets what it read of the secrets.
    Withheld,
    /// The cloud did as it was told.
    Done,
    /// The call failed.
    Failed(CloudError),
}

impl<K: Kind> Memory<K> {
    /// Takes in what a pass sees, before it plans. `record` is the object's own.
    pub(super) fn digest(
        &mut self,
        seen: &Observed<'_, K>,
        record: &Record<K::Request>,
        adopts: Option<&CloudId>,
        now: Now,
    ) {
        self.born.get_or_insert(now.mono);
        if self.version.as_ref().is_none_or(|(version, _)| *version != seen.object.resource_version) {
            self.version = Some((seen.object.resource_version.clone(), now.mono));
        }
        if seen.object.deleting {
            self.deleting_since.get_or_insert(now.mono);
        }
        let guarded = self.guarded.as_ref() == Some(&seen.object.resource_version);
        let lost = seen.object.has_finalizer && record.owns_nothing() && !guarded;
        self.lost_since = self.lost_since.or(Some(now.mono)).filter(|_| lost);
        let turn = record.operation.as_ref().map(super::Operation::turn);
        let overwritten = record.lost != self.overwritten.map(|(at, _)| at);
        if overwritten {
            self.overwritten = record.lost.map(|at| (at, now.mono));
        }
        // A turn that comes again with an older record may be followed by one that is under way.
        if turn != self.turn || overwritten {
            self.turn = turn;
            self.turn_since = now.mono;
        }
        if self.fresh.as_ref().is_some_and(|f| Some(f.turn) != self.turn && seen.object.live) {
            self.fresh = None;
        }
        if self.window.is_some_and(|w| w.turn != LOST && Some(w.turn) != self.turn) {
            self.window = None;
        }
        for owned in record.current.iter().chain(&record.successor) {
            self.known.entry(owned.id.clone()).or_insert(now.mono);
        }
        self.forget(seen, record, adopts);
    }

    /// Keeps what is known of resources that the record, the list or an answer names, or that were not seen to go.
    fn forget(&mut self, seen: &Observed<'_, K>, record: &Record<K::Request>, adopts: Option<&CloudId>) {
        let Some(list) = seen.list else { return };
        let listed: BTreeSet<&CloudId> = list.items.iter().map(K::id).collect();
        self.strays.retain(|id, _| listed.contains(id));
        self.told.retain(|id| listed.contains(id));
        let recorded = record.current.iter().chain(&record.successor).map(|o| &o.id).chain(&record.retiring);
        let mut named: BTreeSet<CloudId> = recorded.chain(listed).cloned().collect();
        if let Some(Answer { says: Says::Made(id), .. }) = &self.answer {
            named.insert(id.clone());
        }
        self.known.retain(|id, _| named.contains(id) || !self.gone.contains(id));
        named.extend(adopts.cloned());
        named.extend(self.known.keys().cloned());
        self.gone.retain(|id| named.contains(id));
        self.released.retain(|id| named.contains(id));
        self.release_tried.retain(|id, _| named.contains(id));
        self.looks.retain(|id, _| named.contains(id));
        self.deleted.retain(|id, _| named.contains(id));
        self.retagged.retain(|id, _| named.contains(id));
        self.settled.retain(|id, _| named.contains(id));
    }

    /// Takes in that the status was written at rest: the object's new version is no news.
    pub fn wrote(&mut self, resource_version: String) {
        if let Some((held, _)) = &mut self.version {
            if self.guarded.as_ref() == Some(held) {
                self.guarded = Some(resource_version.clone());
            }
            *held = resource_version;
        }
    }

    /// Takes in what became of an effect.
    pub fn fold(&mut self, effect: &Effect<K::Request>, outcome: Outcome, limits: &Limits, now: Now) {
        if let (Outcome::Written(version), Some((held, _))) = (&outcome, &mut self.version) {
            held.clone_from(version);
        }
        match (effect, outcome) {
            (Effect::AddFinalizer, Outcome::Written(resource_version)) => {
                self.guarded = Some(resource_version);
            }
            (Effect::Write(record), Outcome::Written(resource_version)) => {
                self.answer = None;
                self.guarded = None;
                // Only an operation that this very write recorded may be sent without looking.
                let turn = record
                    .operation
                    .as_ref()
                    .map(super::Operation::turn)
                    .filter(|turn| Some(*turn) != self.turn);
                self.fresh = turn.map(|turn| Fresh { turn, resource_version, recorded: now.mono });
                if record.operation.is_none() {
                    self.doubt = None;
                    self.window = None;
                }
            }
            (Effect::Create(call), outcome) => self.fold_create(call, outcome, now),
            (Effect::Delete { id, .. }, Outcome::Done) => self.accept_delete(id, now),
            (Effect::Delete { id, .. }, Outcome::Failed(e)) if e.meaning == Meaning::NotFound => {
                self.accept_delete(id, now);
            }
            (Effect::Retag { id, set, .. }, Outcome::Done) => {
                self.accept_tags(id, set.contains_key(TAG_UID), now);
            }
            (Effect::Retag { id, set, .. }, Outcome::Failed(e)) if e.meaning == Meaning::NotFound => {
                self.accept_tags(id, set.contains_key(TAG_UID), now);
            }
            (Effect::Update { id, request, .. }, Outcome::Done) => {
                self.trouble = None;
                self.updated = Some((id.clone(), request.clone()));
                let count = self.settled.get(id).map_or(0, |(_, count)| *count).saturating_add(1);
                self.settled.insert(id.clone(), (now.mono, count));
            }
            (Effect::TellOfStray(id), _) => drop(self.told.insert(id.clone())),
            (_, Outcome::Done) => self.trouble = None,
            (effect, Outcome::Failed(error)) => {
                if let Effect::Retag { id, set, .. } = effect
                    && !set.contains_key(TAG_UID)
                {
                    self.release_tried.insert(id.clone(), now.mono);
                }
                self.stumble(error, false, limits, now);
            }
            (_, Outcome::Written(_) | Outcome::Conflict | Outcome::Created(_) | Outcome::Withheld) => {}
        }
    }

    /// Takes in a look by ID.
    pub fn looked(&mut self, id: CloudId, begun: Mono, view: Option<K::View>) {
        if self.trouble.as_ref().is_some_and(|t| t.of_look) {
            self.trouble = None;
        }
        let empty_since = match (&view, self.looks.get(&id)) {
            (Some(_), _) => None,
            (None, before) => Some(before.and_then(|b| b.empty_since).unwrap_or(begun)),
        };
        self.looks.insert(id, Look { at: begun, view, empty_since });
    }

    /// Takes in a look at a place.
    pub fn looked_at(&mut self, place: Place, begun: Mono, views: Vec<K::View>) {
        if self.trouble.as_ref().is_some_and(|t| t.of_look) {
            self.trouble = None;
        }
        self.place = Some(PlaceLook { place, at: begun, views });
    }

    /// Takes in a look by ID or at a place that failed.
    pub fn look_failed(&mut self, error: CloudError, limits: &Limits, now: Now) {
        self.stumble(error, true, limits, now);
    }

    fn stumble(&mut self, error: CloudError, of_look: bool, limits: &Limits, now: Now) {
        let count = self.trouble.as_ref().map_or(0, |t| t.count).saturating_add(1);
        let wait = error.retry_after.unwrap_or_default().max(crate::pace::back_off(error.meaning, count));
        let wait = wait.max(Duration::from_millis(200)).min(limits.resolve_window);
        self.trouble = Some(Trouble { error, count, until: now.mono.plus(wait), of_look });
    }

    fn fold_create(&mut self, call: &Create<K::Request>, outcome: Outcome, now: Now) {
        // Sent or not, it may not be sent without looking a second time.
        self.fresh = None;
        let says = match outcome {
            Outcome::Created(id) => {
                self.known.insert(id.clone(), now.mono);
                Says::Made(id)
            }
            Outcome::Failed(error) if error.is_refusal() => Says::Refused(error),
            Outcome::Failed(error) => {
                let token_spent = error.meaning == Meaning::TokenMismatch;
                self.doubt = Some(now.mono);
                // The window begins with the first list that is begun from now on; the old one is over.
                self.window = token_spent.then_some(Window { turn: call.turn, begun: now.mono, token_spent });
                self.trouble = None;
                return;
            }
            Outcome::Withheld | Outcome::Written(_) | Outcome::Conflict | Outcome::Done => Says::Withheld,
        };
        self.answer = Some(Answer { token: call.token.clone(), turn: call.turn, says });
    }

    fn accept_tags(&mut self, id: &CloudId, taken_over: bool, now: Now) {
        self.trouble = None;
        if taken_over {
            self.retagged.insert(id.clone(), now.mono);
        } else {
            self.released.insert(id.clone());
            self.release_tried.remove(id);
        }
    }

    fn accept_delete(&mut self, id: &CloudId, now: Now) {
        self.trouble = None;
        self.deleted.insert(id.clone(), now.mono);
    }
}
