//! The decision: what a pass does next.

use std::collections::BTreeSet;
use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::image_cache::DeletionPolicy;

use super::identity::attempt_of;
use super::memory::{Answer, Trouble};
use super::speak::{Progress, Situation};
use super::{
    Class, DeleteReason, Desired, Effect, FailedBuilds, Kind, Limits, Memory, Next, Observed, Operation,
    Owned, Phase, Plan, Problem, Read, Record, Refusal, explain,
};
use crate::cloud::CloudId;
use crate::pace;
use crate::time::{Now, ago, until};

/// How soon a secret is read again while something waits for it (it is not watched by default).
pub(super) const SECRET_RECHECK: Duration = Duration::from_secs(15);
/// A resource that vanishes is rebuilt at most so often.
pub(super) const REBUILD_EVERY: Duration = Duration::from_secs(3_600);
/// A slow failure stalls after this time.
pub(super) const SLOW_STALLS_AFTER: Duration = Duration::from_secs(30 * 60);
/// A delete that was accepted and shows no effect is sent again after this time.
const DELETE_AGAIN: Duration = Duration::from_secs(60);
/// The margin by which the lease must outlive a create call.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Decides what a pass does next. `memory` takes in what is seen; everything else is in the result.
pub fn plan<K: Kind>(
    seen: Observed<'_, K>,
    desired: &Desired<K::Request>,
    memory: &mut Memory<K>,
    limits: &Limits,
    now: Now,
) -> Plan<K::Request> {
    memory.digest(&seen, now);
    let mut record = seen.record.clone();
    if record.owner_uid.as_ref().is_some_and(|uid| *uid != seen.object.owner.uid) {
        // A status from a backup of another object is as good as none.
        record = Record::default();
    }
    let mut pass = Pass { seen, desired, memory, limits, now, record, wake: None, busy: false };
    if pass.seen.object.deleting { pass.deleted() } else { pass.living() }
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
}

pub(super) type Decision<K> = Plan<<K as Kind>::Request>;

impl<K: Kind> Pass<'_, K> {
    fn living(&mut self) -> Decision<K> {
        if !self.seen.object.has_finalizer {
            return self.act(Effect::AddFinalizer);
        }
        if let Some(region) = self.record.region.as_deref().filter(|r| *r != self.seen.region) {
            let message = format!(
                "This object's resource is in region {region}, the operator works in {}. Run an operator for {region}, or delete and create the object.",
                self.seen.region
            );
            return self.rest(Situation::new(
                self.record.usable,
                Reason::RegionChanged,
                Progress::Stalled,
                message,
            ));
        }
        if let Some(plan) = self.settle_answer() {
            return plan;
        }
        if self.desired.suspend {
            let message = "spec.suspend is set: nothing but deletion is reconciled.";
            let usable = self.record.usable;
            return self.rest(Situation::new(usable, Reason::Suspended, Progress::Paused, message));
        }
        if let Some(operation) = self.record.operation.clone() {
            return self.resolve(&operation);
        }
        let plan = match self.adopt_unrecorded() {
            Some(plan) => plan,
            None => self.steady(),
        };
        if plan.next == Next::Rest { self.clear_strays(plan) } else { plan }
    }

    /// A definite answer to the create call goes into the status before anything else.
    fn settle_answer(&mut self) -> Option<Decision<K>> {
        let answer = self.memory.answer.clone()?;
        let attempt = match &answer {
            Answer::Made { attempt, .. } | Answer::Refused { attempt, .. } | Answer::Withheld { attempt } => {
                *attempt
            }
        };
        let Some(operation) = self.record.operation.take_if(|op| op.attempt == attempt) else {
            if !self.seen.object.live {
                return Some(self.read(Read::Object));
            }
            // The status already tells otherwise: another process settled it.
            self.memory.answer = None;
            return None;
        };
        match answer {
            Answer::Made { id, .. } => self.own(id, operation),
            Answer::Withheld { .. } => {}
            Answer::Refused { error, .. } => {
                let (reason, _, message) = explain(&error);
                let before = self.record.refusal.take().filter(|r| r.reason == reason);
                self.record.refusal = Some(Refusal {
                    reason,
                    message,
                    count: before.as_ref().map_or(0, |r| r.count).saturating_add(1),
                    first: before.map_or(self.now.wall, |r| r.first),
                    last: self.now.wall,
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
        };
        self.record.refusal = None;
        if self.record.current.is_some() {
            self.record.successor = Some(owned);
        } else {
            self.succeed(owned);
        }
    }

    /// This resource is the current one from now on.
    fn succeed(&mut self, owned: Owned<K::Request>) {
        self.record.current = Some(owned);
        self.record.seen = false;
        self.record.usable = false;
        self.record.expiration = None;
    }

    /// Without a record, or with one that is older than the cloud: take what the cloud has of ours.
    fn adopt_unrecorded(&mut self) -> Option<Decision<K>> {
        let first_look = self.record.owner_uid.is_none();
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
        let newer = |view: &&K::View| {
            let tags = K::tags(view);
            let ours = owner.owns(tags) && attempt_of(tags).unwrap_or(0) > self.record.last_attempt;
            (ours || (first_look && (owner.owns(tags) || owner.is_namesake(tags))))
                && !known.contains(K::id(view))
                && !self.memory.gone.contains(K::id(view))
                && (owner.owns(tags) || K::phase(view) != Phase::Failed)
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
        let highest =
            list.items.iter().filter(|v| owner.owns(K::tags(v))).filter_map(|v| attempt_of(K::tags(v))).max();
        let Some(view) = best.cloned() else {
            if first_look {
                self.record.owner_uid = Some(owner.uid.clone());
                self.record.region = Some(self.seen.region.to_owned());
                self.record.last_attempt = self.record.last_attempt.max(highest.unwrap_or(0));
            }
            return None;
        };
        // Nothing may be taken over on the word of an old copy or an old list.
        if !self.seen.object.live {
            return Some(self.read(Read::Object));
        }
        let id = K::id(&view).clone();
        let confirmed = self.memory.looks.get(&id).filter(|look| look.at >= list.begun);
        match confirmed.map(|look| look.view.clone()) {
            None => return Some(self.read_resource(id)),
            Some(None) => {
                self.memory.gone.insert(id);
                return Some(self.read(Read::List(list.begun)));
            }
            Some(Some(_)) => {}
        }
        let owned = Owned {
            id,
            attempt: attempt_of(K::tags(&view)).unwrap_or(0),
            request: K::corrected(&request, &view),
            secrets: Vec::new(),
            generation: self.seen.object.generation,
        };
        self.record.owner_uid = Some(owner.uid.clone());
        self.record.region = Some(self.seen.region.to_owned());
        self.record.last_attempt = self.record.last_attempt.max(highest.unwrap_or(0)).max(owned.attempt);
        if self.record.current.is_some() {
            self.record.successor = Some(owned)
        } else {
            self.succeed(owned)
        }
        Some(self.write())
    }

    fn steady(&mut self) -> Decision<K> {
        if let Some(current) = self.record.current.clone() {
            self.current(&current)
        } else if let Some(successor) = self.record.successor.take() {
            self.succeed(successor);
            self.write()
        } else {
            self.build(Progress::Reconciling, false)
        }
    }

    /// There is a resource: is it there, usable, and what the spec asks for?
    fn current(&mut self, current: &Owned<K::Request>) -> Decision<K> {
        let view = match self.sight(&current.id, self.record.seen) {
            Sight::Seen(view) => view,
            Sight::Look(plan) => return *plan,
            Sight::Gone => return self.gone(current),
        };
        let phase = K::phase(&view);
        self.record.seen = true;
        self.record.usable = phase == Phase::Usable;
        self.record.expiration = K::expiration(&view);
        if !self.seen.object.owner.owns(K::tags(&view)) {
            if let Some(plan) = self.retag(current) {
                return plan;
            }
        }
        if phase == Phase::Failed {
            return self.failed(current, K::failure(&view));
        }
        if let Some(plan) = self.successor() {
            return plan;
        }
        let wanted = match &self.desired.request {
            Ok(wanted) => wanted.clone(),
            Err(problem) => {
                let problem = problem.clone();
                return self.stalled_by(&problem, self.record.usable);
            }
        };
        if K::replaces(&wanted, &current.request) || phase == Phase::ChangeFailed {
            return self.build(Progress::Rolling, self.record.usable);
        }
        if self.record.usable {
            self.record.failed = None;
            self.record.refusal = None;
        }
        match phase {
            Phase::Usable if K::updates(&wanted, &current.request) => self.update(current, &wanted),
            Phase::Usable => {
                let message = format!("The {} is usable.", K::NOUN);
                self.rest(Situation::new(true, Reason::Available, Progress::Achieved, message))
            }
            Phase::Changing => {
                self.busy = true;
                let message = "The cloud changes the resource in place.";
                self.rest(Situation::new(false, Reason::UpdateInProgress, Progress::Updating, message))
            }
            _ => {
                self.busy = true;
                let message = format!("The cloud builds the {} ({}).", K::NOUN, current.id);
                self.rest(Situation::new(false, Reason::Building, Progress::Reconciling, message))
            }
        }
    }

    /// The resource that will replace the current one.
    fn successor(&mut self) -> Option<Decision<K>> {
        let successor = self.record.successor.clone()?;
        let outdated = matches!(&self.desired.request, Ok(wanted) if K::replaces(wanted, &successor.request));
        if outdated {
            self.record.successor = None;
            return Some(self.write());
        }
        // A successor that was never seen may be slow to show.
        let view = match self.sight(&successor.id, false) {
            Sight::Seen(view) => view,
            Sight::Look(plan) => return Some(*plan),
            Sight::Gone => {
                self.record.successor = None;
                return Some(self.write());
            }
        };
        match K::phase(&view) {
            Phase::Usable => {
                self.record.successor = None;
                self.record.failed = None;
                self.succeed(successor);
                Some(self.write())
            }
            Phase::Failed => {
                self.count_failure(&successor, K::failure(&view));
                self.record.successor = None;
                Some(self.write())
            }
            _ => {
                self.busy = true;
                let message = format!(
                    "The cloud builds {} to replace the current {}, which serves until then.",
                    successor.id,
                    K::NOUN
                );
                Some(self.rest(Situation::new(
                    self.record.usable,
                    Reason::Replacing,
                    Progress::Rolling,
                    message,
                )))
            }
        }
    }

    fn gone(&mut self, current: &Owned<K::Request>) -> Decision<K> {
        let asked_again = self.asked_again();
        if self.record.failed.as_ref().is_some_and(|f| f.attempt == current.attempt) {
            // The cloud keeps a failed resource for a day: its end is no news.
            self.record.current = None;
            return self.build(Progress::Reconciling, false);
        }
        let expired = self.record.expiration.is_some_and(|t| t <= self.now.wall);
        let eliminated = K::may_be_eliminated(&current.request);
        if (expired || eliminated) && !asked_again {
            self.record.usable = false;
            let (reason, message) = if expired {
                (
                    Reason::Expired,
                    "retentionDays ended and the cloud deleted the resource. To build it again, set the annotation eci-operator.io/requested-at to a new value.",
                )
            } else {
                (
                    Reason::Eliminated,
                    "The cloud deleted the resource to make room, as eliminationStrategy LRU allows. To build it again, set the annotation eci-operator.io/requested-at to a new value.",
                )
            };
            return self.rest(Situation::new(false, reason, Progress::Stalled, message));
        }
        if self.seen.list.is_some_and(|list| list.suspect) {
            let message = "Many resources vanished at once. The operator does not believe it and rebuilds nothing until the cloud shows them again, or they vanish one by one.";
            let usable = self.record.usable;
            return self.rest(Situation::new(
                usable,
                Reason::CloudViewSuspect,
                Progress::Reconciling,
                message,
            ));
        }
        self.record.usable = false;
        if let Some(last) = self.record.last_rebuild.filter(|_| !asked_again) {
            let left = until(last, REBUILD_EVERY, self.now.wall);
            if !left.is_zero() {
                self.wake_in(left);
                let message = format!(
                    "{} vanished again within an hour of its last rebuild; it is built again when the hour is over.",
                    current.id
                );
                return self.rest(Situation::new(false, Reason::Vanished, Progress::Reconciling, message));
            }
        }
        self.record.last_rebuild = Some(self.now.wall);
        self.record.current = None;
        self.steady()
    }

    fn failed(&mut self, current: &Owned<K::Request>, failure: Option<String>) -> Decision<K> {
        self.count_failure(current, failure);
        self.record.usable = false;
        if let Some(plan) = self.wait_after_failure(Progress::Reconciling, false) {
            return plan;
        }
        if let Err(problem) = &self.desired.request {
            let problem = problem.clone();
            return self.stalled_by(&problem, false);
        }
        let id = current.id.clone();
        if let Some(plan) = self.remove(&id, DeleteReason::BuildFailed) {
            return plan;
        }
        self.record.current = None;
        self.steady()
    }

    fn count_failure(&mut self, owned: &Owned<K::Request>, message: Option<String>) {
        let before = self.record.failed.take();
        if before.as_ref().is_some_and(|f| f.attempt == owned.attempt) {
            self.record.failed = before;
            return;
        }
        let count = before.filter(|f| f.generation == owned.generation).map_or(0, |f| f.count);
        self.record.failed = Some(FailedBuilds {
            count: count.saturating_add(1),
            generation: owned.generation,
            attempt: owned.attempt,
            last: self.now.wall,
            message,
        });
    }

    /// Whether the annotation asks for a try that was not yet made.
    fn asked_again(&self) -> bool {
        self.desired.requested_at.is_some() && self.desired.requested_at != self.record.handled_request
    }

    fn wait_after_failure(&mut self, progress: Progress, usable: bool) -> Option<Decision<K>> {
        let failed = self.record.failed.clone()?;
        if failed.generation != self.seen.object.generation || self.asked_again() {
            return None;
        }
        let said = failed.message.as_deref().unwrap_or("see status.events");
        let nth = usize::try_from(failed.count).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(wait) = pace::BUILD_RETRIES.get(nth) else {
            let message = format!(
                "{} builds of this generation failed, the last one: {said}. Correct the spec or what it refers to, or set the annotation eci-operator.io/requested-at to a new value.",
                failed.count
            );
            return Some(self.rest(Situation::new(
                usable,
                Reason::BuildFailedPermanently,
                Progress::Stalled,
                message,
            )));
        };
        let left = until(failed.last, *wait, self.now.wall);
        if left.is_zero() {
            return None;
        }
        self.wake_in(left);
        let message = format!(
            "The build failed: {said}. It is tried again {} minutes after the failure.",
            wait.as_secs() / 60
        );
        Some(self.rest(Situation::new(usable, Reason::BuildFailed, progress, message)))
    }

    /// Records a new create call, unless there is a reason to wait.
    fn build(&mut self, progress: Progress, usable: bool) -> Decision<K> {
        let request = match &self.desired.request {
            Ok(request) => request.clone(),
            Err(problem) => {
                let problem = problem.clone();
                return self.stalled_by(&problem, usable);
            }
        };
        if let Some(plan) = self.wait_after_failure(progress.clone(), usable) {
            return plan;
        }
        let secrets = match self.secrets_of(&request) {
            Ok(secrets) => secrets,
            Err(Ok(plan)) => return *plan,
            Err(Err(problem)) => {
                self.wake_in(SECRET_RECHECK);
                return self.stalled_by(&problem, usable);
            }
        };
        if let Some(refusal) = self.record.refusal.clone() {
            let changed = refusal.generation != self.seen.object.generation || refusal.secrets != secrets;
            let (class, wait) = self.patience(&refusal);
            let left = until(refusal.last, wait, self.now.wall);
            if !changed && !self.asked_again() && !left.is_zero() {
                self.wake_in(if secrets.is_empty() { left } else { left.min(SECRET_RECHECK) });
                let stalled = class == Class::Stuck
                    || (class == Class::Slow && ago(refusal.first, self.now.wall) >= SLOW_STALLS_AFTER);
                let progress = if stalled { Progress::Stalled } else { progress };
                return self.rest(Situation::new(usable, refusal.reason, progress, refusal.message));
            }
        }
        let attempt = self.record.last_attempt.saturating_add(1);
        self.record.last_attempt = attempt;
        self.record.owner_uid = Some(self.seen.object.owner.uid.clone());
        self.record.region = Some(self.seen.region.to_owned());
        self.record.handled_request.clone_from(&self.desired.requested_at);
        self.record.operation = Some(Operation {
            attempt,
            token: self.seen.object.owner.token(attempt),
            started: self.now.wall,
            request,
            secrets,
            generation: self.seen.object.generation,
        });
        self.write()
    }

    fn patience(&self, refusal: &Refusal) -> (Class, Duration) {
        let (class, meaning) = super::speak::class_of(refusal.reason);
        let count = u32::try_from(refusal.count).unwrap_or(1);
        (class, pace::spread(pace::back_off(meaning, count), &self.seen.object.owner.uid))
    }

    /// The secrets at their present versions; or what to do first; or what is wrong with them.
    #[allow(clippy::type_complexity, reason = "three ways out, used in two places")]
    pub(super) fn secrets_of(
        &mut self,
        request: &K::Request,
    ) -> Result<Vec<eci_api::image_cache::SecretVersion>, Result<Box<Decision<K>>, Problem>> {
        let names = K::secrets(request);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        match &self.seen.secrets {
            None => {
                let names = names.to_vec();
                Err(Ok(Box::new(self.read(Read::Secrets(names)))))
            }
            Some(Ok(versions)) => Ok(versions.clone()),
            Some(Err(problem)) => Err(Err(problem.clone())),
        }
    }

    fn update(&mut self, current: &Owned<K::Request>, wanted: &K::Request) -> Decision<K> {
        if let Some(plan) = self.wait_for_trouble(true, Progress::Rolling) {
            return plan;
        }
        let request = K::updated(wanted, &current.request);
        let tags = self.seen.object.owner.tags(current.attempt);
        if self.memory.updated.as_ref() == Some(&(current.id.clone(), request.clone())) {
            self.memory.updated = None;
            if let Some(owned) = &mut self.record.current {
                owned.request = request;
                owned.generation = self.seen.object.generation;
            }
            return self.write();
        }
        self.act(Effect::Update { id: current.id.clone(), request, tags })
    }

    fn retag(&mut self, current: &Owned<K::Request>) -> Option<Decision<K>> {
        if self.memory.trouble.as_ref().is_some_and(|t| t.until > self.now.mono)
            || self.memory.retagged.get(&current.id).is_some_and(|at| self.now.mono.since(*at) < DELETE_AGAIN)
        {
            return None;
        }
        let set = self.seen.object.owner.tags(current.attempt.max(1));
        Some(self.act(Effect::Retag { id: current.id.clone(), set, remove: Vec::new() }))
    }

    /// Deletes what is ours by its tags but nothing that the record knows, seen in two lists.
    fn clear_strays(&mut self, plan: Decision<K>) -> Decision<K> {
        let Some(list) = self.seen.list else { return plan };
        let known = self.known_ids();
        let mut wait = None;
        let mut ripe = None;
        for view in list.items.iter().filter(|v| self.seen.object.owner.owns(K::tags(v))) {
            let id = K::id(view);
            if known.contains(id) || self.memory.gone.contains(id) {
                continue;
            }
            let first = *self.memory.strays.entry(id.clone()).or_insert(list.begun);
            if list.begun.since(first) >= self.limits.stray_gap {
                ripe.get_or_insert_with(|| id.clone());
            } else {
                wait = Some(self.limits.stray_gap);
            }
        }
        let kept = self.desired.deletion_policy == DeletionPolicy::Retain;
        if let Some(id) = ripe.filter(|_| !kept) {
            if !self.seen.object.live {
                return self.read(Read::Object);
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
                self.busy = true;
                let reason =
                    if why == DeleteReason::ObjectDeleted { Reason::Deleting } else { Reason::BuildFailed };
                let message = format!("{id} is being deleted in the cloud.");
                Some(self.rest(Situation::new(false, reason, Progress::Reconciling, message)))
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
        Some(self.rest(Situation::new(usable, reason, progress, message)))
    }

    /// Whether a resource is there: in the newest list, or by ID.
    fn sight(&mut self, id: &CloudId, seen_before: bool) -> Sight<K> {
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
        self.busy = true;
        let (usable, message) =
            (self.record.usable, format!("The cloud does not show {id}; looking again before believing it."));
        let reason = if usable { Reason::Vanished } else { Reason::Building };
        Sight::Look(Box::new(self.rest(Situation::new(usable, reason, Progress::Reconciling, message))))
    }

    fn known_ids(&self) -> BTreeSet<CloudId> {
        let made = match &self.memory.answer {
            Some(Answer::Made { id, .. }) => Some(id.clone()),
            _ => None,
        };
        let owned = self.record.current.iter().chain(&self.record.successor).map(|o| o.id.clone());
        owned.chain(made).collect()
    }

    /// Nothing can be decided before a list that was begun at `since` or later.
    pub(super) fn await_list(&mut self, since: crate::time::Mono) -> Decision<K> {
        let Some(error) = self.seen.list_error.filter(|_| self.seen.list.is_none_or(|l| l.begun < since))
        else {
            return self.read(Read::List(since));
        };
        let (reason, class, message) = explain(error);
        let progress = if class == Class::Stuck { Progress::Stalled } else { Progress::Reconciling };
        self.busy = true;
        self.wake_in(self.limits.look_gap);
        let usable = self.record.usable;
        self.rest(Situation::new(usable, reason, progress, message))
    }

    pub(super) fn lease_outlives_a_call(&self) -> bool {
        self.seen.lease_left.is_none_or(|left| left >= self.limits.request_timeout + LEASE_MARGIN)
    }

    pub(super) fn stalled_by(&mut self, problem: &Problem, usable: bool) -> Decision<K> {
        self.rest(Situation::new(usable, problem.reason, Progress::Stalled, problem.message.clone()))
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

    pub(super) fn write(&mut self) -> Decision<K> {
        let record = Box::new(self.record.clone());
        self.act(Effect::Write(record))
    }

    pub(super) fn rest(&mut self, situation: Situation) -> Decision<K> {
        self.finish(Next::Rest, situation.conditions())
    }

    fn finish(&mut self, next: Next<K::Request>, conditions: Vec<eci_api::condition::Wanted>) -> Decision<K> {
        Plan { next, record: self.record.clone(), conditions, wake: self.wake, busy: self.busy }
    }
}

/// How often a resource is looked up by ID that the list does not (yet) show.
const LAG_LOOK: Duration = Duration::from_secs(15);

enum Sight<K: Kind> {
    Seen(K::View),
    Gone,
    Look(Box<Decision<K>>),
}

fn soonest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
