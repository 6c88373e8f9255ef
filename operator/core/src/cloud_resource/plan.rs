//! The decision: what a pass does next.

use std::collections::BTreeSet;
use std::time::Duration;

use eci_api::condition::Reason;

use super::memory::{Answer, Says};
use super::speak::{Progress, Situation};
use super::{
    Class, Desired, Effect, Kind, Limits, Memory, Next, Object, Observed, Operation, Owned, Plan, Problem,
    Read, Record, Refusal, explain,
};
use crate::cloud::CloudId;
use crate::time::{Mono, Now, after};

/// The margin by which the lease must outlive a create call.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Longest wait that the cloud can ask for.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// When to plan again at the latest while no list can be had. The news of one comes sooner.
const LIST_PATIENCE: Duration = Duration::from_mins(1);

/// Decides what a pass does next. `memory` takes in what is seen; everything else is in the result.
pub fn plan<K: Kind>(
    seen: Observed<'_, K>,
    desired: &Desired<K::Request>,
    memory: &mut Memory<K>,
    limits: &Limits,
    now: Now,
) -> Plan<K::Request> {
    let mut record = seen.record.clone();
    if record.owner_uid.as_ref().is_some_and(|uid| *uid != seen.object.owner.uid) {
        // A status from a backup of another object is as good as none; what it names may be somebody's.
        record = Record::default();
    }
    note_others(&mut record, &seen.object);
    let adopts = desired.adopts(&record);
    memory.digest(&seen, &record, adopts.as_ref(), now);
    let mut pass = Pass { seen, desired, memory, limits, now, record, wake: None, busy: false, awaits: None };
    if pass.seen.object.deleting { pass.deleted() } else { pass.living() }
}

/// Keeps when somebody else set something in the status: where each of it is written anew by the operator, the API server
/// does not tell any more.
fn note_others<R>(record: &mut Record<R>, object: &Object) {
    record.lost = record.lost.max(object.status_set_by_others);
}

/// What is said of an object whose create call waits for its turn; `record` is the one of the copy. Nothing is done.
pub fn queued<K: Kind>(object: &Object, record: &Record<K::Request>, region: &str) -> Decision<K> {
    let mut record = record.clone();
    if record.owner_uid.as_ref().is_some_and(|uid| *uid != object.owner.uid) {
        record = Record::default();
    }
    note_others(&mut record, object);
    record.owner_uid = Some(object.owner.uid.clone());
    record.region.get_or_insert_with(|| region.to_owned());
    let progress = if record.current.is_some() { Progress::Rolling } else { Progress::Reconciling };
    let message = "Builds of other objects are being asked for; this one is next as soon as there is room.";
    let conditions = Situation::new(record.usable, Reason::Pending, progress, message).conditions();
    Plan { next: Next::Rest, record, conditions, wake: None, busy: false, awaits: None }
}

/// One pass under way.
pub(super) struct Pass<'a, K: Kind> {
    pub(super) seen: Observed<'a, K>,
    pub(super) desired: &'a Desired<K::Request>,
    pub(super) memory: &'a mut Memory<K>,
    pub(super) limits: &'a Limits,
    pub(super) now: Now,
    pub(super) record: Record<K::Request>,
    wake: Option<Duration>,
    busy: bool,
    awaits: Option<Mono>,
}

pub(super) type Decision<K> = Plan<<K as Kind>::Request>;

impl<K: Kind> Pass<'_, K> {
    pub(super) fn living(&mut self) -> Decision<K> {
        if let Some(plan) = self.of_another_region() {
            return plan;
        }
        // From here on the record is this object's. A record without an owner is one that was lost.
        self.record.owner_uid = Some(self.seen.object.owner.uid.clone());
        self.record.region = Some(self.seen.region.to_owned());
        if let Some(plan) = self.settle_answer() {
            return plan;
        }
        if self.desired.suspend {
            let message = "spec.suspend is set: nothing but deletion is reconciled.";
            let usable = self.record.usable;
            return self.rest(&Situation::new(usable, Reason::Suspended, Progress::Paused, message));
        }
        if let Some(operation) = self.record.operation.clone() {
            return self.resolve(&operation);
        }
        let plan = match self.adopt_unrecorded() {
            Some(plan) => plan,
            None => match (self.to_adopt(), self.place_to_adopt()) {
                (Some(id), _) => self.adopt(&id),
                (None, Some(place)) => self.find_to_adopt(&place),
                (None, None) => self.steady(),
            },
        };
        if plan.next != Next::Rest {
            return plan;
        }
        if self.record.retiring.is_empty() { self.clear_strays(plan) } else { self.clear_retired(plan) }
    }

    /// A resource of another region is neither seen nor touched; not even the end of its object is, or it would stay
    /// and be billed.
    pub(super) fn of_another_region(&mut self) -> Option<Decision<K>> {
        let region = self.record.region.clone().filter(|region| region != self.seen.region)?;
        if !self.seen.object.has_finalizer && self.record.owns_nothing() {
            return None;
        }
        let message = format!(
            "This object's resource is in region {region}, the operator works in {}. Run an operator for {region} until the object is deleted there, then create it anew.",
            self.seen.region
        );
        let usable = self.record.usable && !self.seen.object.deleting;
        Some(self.rest(&Situation::new(usable, Reason::RegionChanged, Progress::Stalled, message)))
    }

    /// A definite answer to the create call goes into the status before anything else.
    pub(super) fn settle_answer(&mut self) -> Option<Decision<K>> {
        let answer = self.memory.answer.clone()?;
        let Some(operation) = self.record.operation.take_if(|op| answer.settles(op)) else {
            if !self.seen.object.live {
                return Some(self.read(Read::Object));
            }
            // The status already tells otherwise: another process settled it.
            self.memory.answer = None;
            return None;
        };
        match answer.says {
            Says::Made(id) => self.own(id, operation),
            Says::Withheld => {}
            Says::Refused(error) => {
                let (reason, _, message) = explain(&error);
                // This is written anyway, and the vendor's support asks for it.
                let request =
                    error.request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default();
                let message = format!("{message}{request}");
                // A row is of one reason and one generation: an edited spec is not stalled by what came before it.
                let same = |r: &Refusal| r.reason == reason && r.generation == operation.generation;
                let before = self.record.refusal.take().filter(same);
                self.record.refusal = Some(Refusal {
                    reason,
                    message,
                    count: before.as_ref().map_or(0, |r| r.count).saturating_add(1),
                    first: before.map_or(self.now.wall, |r| r.first),
                    last: self.now.wall,
                    not_before: error
                        .retry_after
                        .map(|wait| after(self.now.wall, wait.min(LONGEST_RETRY_AFTER))),
                    generation: operation.generation,
                    secrets: operation.secrets,
                });
            }
        }
        Some(self.write())
    }

    /// The operation made this resource.
    pub(super) fn own(&mut self, id: CloudId, operation: Operation<K::Request>) {
        let owned = Owned {
            id,
            attempt: operation.attempt,
            request: operation.request,
            secrets: operation.secrets,
            generation: operation.generation,
            updating: false,
            broken: false,
        };
        self.record.refusal = None;
        if self.record.current.is_some() {
            self.record.successor = Some(owned);
        } else {
            self.succeed(owned);
        }
    }

    /// This resource is the current one from now on.
    pub(super) fn succeed(&mut self, owned: Owned<K::Request>) {
        self.record.current = Some(owned);
        self.record.seen = false;
        self.record.usable = false;
        self.record.whole = false;
        self.record.expiration = None;
    }

    pub(super) fn retire_current(&mut self) {
        let current = self.record.current.take();
        self.record.retiring.extend(current.map(|o| o.id));
    }

    pub(super) fn retire_successor(&mut self) {
        let successor = self.record.successor.take();
        self.record.retiring.extend(successor.map(|o| o.id));
    }

    pub(super) fn known_ids(&self) -> BTreeSet<CloudId> {
        let made = match &self.memory.answer {
            Some(Answer { says: Says::Made(id), .. }) => Some(id.clone()),
            _ => None,
        };
        let owned = self.record.current.iter().chain(&self.record.successor).map(|o| o.id.clone());
        let adopted = self.record.adopting.clone().or_else(|| self.to_adopt());
        owned.chain(made).chain(adopted).chain(self.record.retiring.iter().cloned()).collect()
    }

    /// Nothing can be decided before a list that was begun at `since` or later.
    pub(super) fn await_list(&mut self, since: Mono) -> Decision<K> {
        let Some(error) = self.seen.list_error.filter(|_| self.seen.list.is_none_or(|l| l.begun < since))
        else {
            return self.read(Read::List(since));
        };
        let (reason, class, message) = explain(error);
        let progress = if class == Class::Stuck { Progress::Stalled } else { Progress::Reconciling };
        self.busy = true;
        self.awaits = Some(since);
        self.wake_in(LIST_PATIENCE);
        // What is being deleted is not for use any more, whether or not the cloud can be asked.
        let usable = self.record.usable && !self.seen.object.deleting;
        self.rest(&Situation::new(usable, reason, progress, message))
    }

    pub(super) fn lease_outlives_a_call(&self) -> bool {
        self.seen.lease_left.is_none_or(|left| left >= self.limits.request_timeout + LEASE_MARGIN)
    }

    pub(super) fn stalled_by(&mut self, problem: &Problem, usable: bool) -> Decision<K> {
        self.rest(&Situation::new(usable, problem.reason, Progress::Stalled, problem.message.clone()))
    }

    pub(super) fn wake_in(&mut self, wait: Duration) {
        self.wake = soonest(self.wake, Some(wait));
    }

    pub(super) fn busy(&mut self) {
        self.busy = true;
    }

    pub(super) fn read(&mut self, read: Read) -> Decision<K> {
        self.finish(Next::Read(read), Vec::new())
    }

    pub(super) fn read_resource(&mut self, id: CloudId) -> Decision<K> {
        self.read(Read::Resource(id))
    }

    pub(super) fn act(&mut self, effect: Effect<K::Request>) -> Decision<K> {
        self.finish(Next::Do(effect), Vec::new())
    }

    /// Whatever owns something has the finalizer first.
    pub(super) fn write(&mut self) -> Decision<K> {
        if !self.seen.object.has_finalizer {
            return self.act(Effect::AddFinalizer);
        }
        let record = Box::new(self.record.clone());
        self.act(Effect::Write(record))
    }

    pub(super) fn rest(&mut self, situation: &Situation) -> Decision<K> {
        self.finish(Next::Rest, situation.conditions())
    }

    fn finish(&mut self, next: Next<K::Request>, conditions: Vec<eci_api::condition::Wanted>) -> Decision<K> {
        Plan {
            next,
            record: self.record.clone(),
            conditions,
            wake: self.wake,
            busy: self.busy,
            awaits: self.awaits,
        }
    }
}

pub(super) fn soonest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
