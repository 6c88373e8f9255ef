//! The resource of a living object: is it there, usable, and what the spec asks for?

use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::image_cache::SecretVersion;
use jiff::SignedDuration;

use super::memory::LOST;
use super::plan::{Decision, LONGEST_RETRY_AFTER, Pass};
use super::sight::Sight;
use super::speak::{Progress, Situation};
use super::{
    Class, DeleteReason, Effect, FailedBuilds, Kind, Operation, Owned, Phase, Problem, RETIRING_LIMIT, Read,
    Refusal, speak, tags,
};
use crate::cloud::CloudId;
use crate::pace;
use crate::time::{ago, until};

/// How soon a secret is read again while something waits for it (it is not watched by default).
const SECRET_RECHECK: Duration = Duration::from_secs(15);
/// A resource that vanishes is rebuilt at most so often.
const REBUILD_EVERY: Duration = Duration::from_hours(1);
/// A slow failure stalls after this time.
pub(super) const SLOW_STALLS_AFTER: Duration = Duration::from_mins(30);
/// How far the clocks of operator and cloud may differ: the cloud refuses calls beyond it (vendor's documentation).
const CLOCK_ERROR: SignedDuration = SignedDuration::from_mins(15);
/// Ownership tags that the cloud does not show yet are set again after this time.
pub(super) const RETAG_EVERY: Duration = Duration::from_mins(1);

impl<K: Kind> Pass<'_, K> {
    pub(super) fn steady(&mut self) -> Decision<K> {
        if let Some(current) = self.record.current.clone() {
            self.current(&current)
        } else if let Some(successor) = self.record.successor.take() {
            self.succeed(successor);
            self.write()
        } else if self.lost_its_record()
            && let Err(plan) = self.window_over(LOST)
        {
            // What the record knew of may show only now. Whoever builds beside it and is deleted would leave it behind.
            *plan
        } else {
            self.build(Progress::Reconciling, false)
        }
    }

    /// There is a resource: is it there, usable, and what the spec asks for?
    pub(super) fn current(&mut self, current: &Owned<K::Request>) -> Decision<K> {
        let view = match self.sight(&current.id, self.record.seen) {
            Sight::Seen(view) => view,
            Sight::Look(plan) => return *plan,
            Sight::Gone => return self.gone(current),
        };
        let phase = K::phase(&view);
        if self.is_lost(&view) {
            if phase == Phase::Usable && !self.was_looked_up(&current.id) {
                return self.read_resource(current.id.clone());
            }
            return self.lost(current, &view);
        }
        self.record.seen = true;
        self.record.usable = phase == Phase::Usable && !current.broken;
        self.record.whole = K::is_whole(&view);
        self.record.expiration = K::expiration(&view);
        let foreign = !self.seen.object.owner.owns(K::tags(&view));
        if foreign {
            if let Some(plan) = self.taken_by_another(&current.id, &view) {
                return plan;
            }
            if let Some(plan) = self.retag(current) {
                return plan;
            }
        }
        if current.broken {
            return self.rebuild(current, Reason::Broken, "stopped being usable");
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
            return if K::place(&wanted).is_none() {
                self.build(Progress::Rolling, self.record.usable)
            } else if K::replaces(&wanted, &current.request) {
                self.make_room(&wanted)
            } else {
                // What was deleted for a change that failed would be deleted again and again.
                self.rebuild(
                    &Owned { broken: true, ..current.clone() },
                    Reason::Broken,
                    "could not be changed in place",
                )
            };
        }
        if self.record.usable {
            self.record.failed = None;
            self.record.refusal = None;
            // A request for what is there is fulfilled; kept, it would rebuild what expires long after.
            self.record.handled_request.clone_from(&self.desired.requested_at);
        }
        match phase {
            Phase::Usable
                if current.updating
                    || K::updates(&wanted, &current.request)
                    || self.has_drifted(current, &view) =>
            {
                self.update(current, &wanted)
            }
            Phase::Usable => {
                let message = format!("The {} is usable.", K::NOUN);
                self.rest(&Situation::new(true, Reason::Available, Progress::Achieved, message))
            }
            Phase::Changing => {
                self.busy();
                let message = "The cloud changes the resource in place.";
                self.rest(&Situation::new(false, Reason::UpdateInProgress, Progress::Updating, message))
            }
            _ => {
                self.busy();
                let message = format!("The cloud builds the {} ({}).", K::NOUN, current.id);
                self.rest(&Situation::new(false, Reason::Building, Progress::Reconciling, message))
            }
        }
    }

    /// The resource that will replace the current one.
    pub(super) fn successor(&mut self) -> Option<Decision<K>> {
        let successor = self.record.successor.clone()?;
        let outdated = matches!(&self.desired.request, Ok(wanted) if K::replaces(wanted, &successor.request));
        if outdated {
            self.retire_successor();
            return Some(self.write());
        }
        // A successor that was never seen may be slow to show.
        let view = match self.sight(&successor.id, false) {
            Sight::Seen(view) => view,
            Sight::Look(plan) => return Some(*plan),
            Sight::Gone => {
                self.retire_successor();
                return Some(self.write());
            }
        };
        match K::phase(&view) {
            Phase::Usable => {
                self.retire_current();
                self.record.successor = None;
                self.record.failed = None;
                self.succeed(successor);
                Some(self.write())
            }
            Phase::Failed => {
                self.count_failure(&successor, K::failure(&view));
                self.retire_successor();
                Some(self.write())
            }
            _ => {
                self.busy();
                let message = format!(
                    "The cloud builds {} to replace the current {}, which serves until then.",
                    successor.id,
                    K::NOUN
                );
                Some(self.rest(&Situation::new(
                    self.record.usable,
                    Reason::Replacing,
                    Progress::Rolling,
                    message,
                )))
            }
        }
    }

    pub(super) fn gone(&mut self, current: &Owned<K::Request>) -> Decision<K> {
        let asked_again = self.asked_again();
        if self.record.failed.as_ref().is_some_and(|f| f.attempt == current.attempt) {
            // The cloud keeps a failed resource for a day: its end is no news.
            self.retire_current();
            return self.build(Progress::Reconciling, false);
        }
        let soon = self.now.wall.saturating_add(CLOCK_ERROR).unwrap_or(self.now.wall);
        let expired = self.record.expiration.is_some_and(|t| t <= soon);
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
            return self.rest(&Situation::new(false, reason, Progress::Stalled, message));
        }
        if self.seen.list.is_some_and(|list| list.suspect) && !asked_again {
            let message = "Many resources vanished at once. The operator does not believe it and rebuilds nothing until the cloud shows them again, or they vanish one by one. If this one is really gone, set the annotation eci-operator.io/requested-at to a new value.";
            let usable = self.record.usable;
            return self.rest(&Situation::new(
                usable,
                Reason::CloudViewSuspect,
                Progress::Reconciling,
                message,
            ));
        }
        self.rebuild(current, Reason::Vanished, "vanished")
    }

    /// Whether a resource that was usable has failed, or lacks what it had.
    fn is_lost(&self, view: &K::View) -> bool {
        let known = self.record.current.as_ref().is_some_and(|current| current.broken);
        let failed = K::phase(view) == Phase::Failed && self.record.usable;
        let incomplete = K::phase(view) == Phase::Usable && self.record.whole && !K::is_whole(view);
        !known && (failed || incomplete)
    }

    /// Whether a look by ID is at least as new as the list.
    fn was_looked_up(&self, id: &CloudId) -> bool {
        let listed = self.seen.list.map(|list| list.begun);
        self.memory.looks.get(id).is_some_and(|look| look.view.is_some() && Some(look.at) >= listed)
    }

    /// Tells of it and remembers it: what comes next is the same after a restart.
    fn lost(&mut self, current: &Owned<K::Request>, view: &K::View) -> Decision<K> {
        self.record.current = Some(Owned { broken: true, ..current.clone() });
        (self.record.seen, self.record.usable, self.record.whole) = (true, false, K::is_whole(view));
        self.wake_in(Duration::ZERO);
        let said = K::failure(view).map(|said| format!(" ({said})")).unwrap_or_default();
        let message = if K::phase(view) == Phase::Failed {
            format!("{} was usable and has failed in the cloud since{said}. It is built again.", current.id)
        } else {
            format!(
                "The snapshot of {} is gone: was it deleted by hand? No pod can start from the {}; it is built again.",
                current.id,
                K::NOUN
            )
        };
        self.rest(&Situation::new(false, Reason::Broken, Progress::Reconciling, message))
    }

    /// Builds anew what is gone or of no use any more, at most once an hour unless a person asks for it.
    fn rebuild(&mut self, current: &Owned<K::Request>, reason: Reason, what: &str) -> Decision<K> {
        self.record.usable = false;
        if let Some(last) = self.record.last_rebuild.filter(|_| !self.asked_again()) {
            let left = until(last, REBUILD_EVERY, self.now.wall);
            if !left.is_zero() {
                self.wake_in(left);
                let message = format!(
                    "{} {what} within an hour of the last rebuild; it is built again when the hour is over.",
                    current.id
                );
                return self.rest(&Situation::new(false, reason, Progress::Reconciling, message));
            }
        }
        self.record.last_rebuild = Some(self.now.wall);
        self.retire_current();
        // What is there is deleted, and only what is recorded as given up may be.
        if current.broken { self.write() } else { self.steady() }
    }

    pub(super) fn failed(&mut self, current: &Owned<K::Request>, failure: Option<String>) -> Decision<K> {
        self.count_failure(current, failure);
        self.record.usable = false;
        if self.record.failed != self.seen.record.failed {
            // Counted before the evidence is deleted.
            return self.write();
        }
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

    pub(super) fn count_failure(&mut self, owned: &Owned<K::Request>, message: Option<String>) {
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
    pub(super) fn asked_again(&self) -> bool {
        self.desired.requested_at.is_some() && self.desired.requested_at != self.record.handled_request
    }

    pub(super) fn wait_after_failure(&mut self, progress: Progress, usable: bool) -> Option<Decision<K>> {
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
            return Some(self.rest(&Situation::new(
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
        Some(self.rest(&Situation::new(usable, Reason::BuildFailed, progress, message)))
    }

    /// Records a new create call, unless there is a reason to wait.
    pub(super) fn build(&mut self, progress: Progress, usable: bool) -> Decision<K> {
        let invalid = |message| Problem { reason: Reason::InvalidSpec, message };
        let request = self.desired.request.as_ref().map_err(Problem::clone);
        let request = match request.and_then(|request| K::to_build(request).map_err(invalid)) {
            Ok(request) => request,
            Err(problem) => return self.stalled_by(&problem, usable),
        };
        if let Some(plan) = self.wait_after_failure(progress.clone(), usable) {
            return plan;
        }
        if self.record.retiring.len() >= RETIRING_LIMIT {
            if let Some(plan) = self.wait_for_trouble(usable, progress.clone()) {
                return plan;
            }
            let message = format!(
                "{} resources that were replaced are still to be deleted; nothing is built before the cloud deletes them.",
                self.record.retiring.len()
            );
            return self.rest(&Situation::new(usable, Reason::CloudBusy, progress, message));
        }
        // The record may have been rewound by a restored backup: what the cloud has of ours is looked at first, or the
        // next attempt could bear the number of one that was already made.
        let since = self.memory.version.as_ref().map_or(self.now.mono, |(_, since)| *since);
        if self.seen.list.is_none_or(|list| list.begun < since) {
            return self.await_list(since);
        }
        if let Some(field) = self.desired.privileged
            && let Some(plan) = self.needs_privilege(field, usable)
        {
            return plan;
        }
        if let Some(plan) = self.place_in_the_way(&request) {
            return plan;
        }
        if let Some(plan) = self.secrets_missing(&request, usable) {
            return plan;
        }
        let secrets = match self.secrets_of(&request) {
            Ok(secrets) => secrets,
            Err(Ok(plan)) => return *plan,
            Err(Err(problem)) => return self.stalled_by(&problem, usable),
        };
        // A row that was never sent waits for room, not for its turn.
        if let Some(refusal) = self.record.refusal.clone().filter(|refusal| refusal.count > 0) {
            let changed = refusal.generation != self.seen.object.generation || refusal.secrets != secrets;
            let (class, wait) = self.patience(&refusal);
            let asked =
                refusal.not_before.map_or(Duration::ZERO, |t| until(t, Duration::ZERO, self.now.wall));
            let left = until(refusal.last, wait, self.now.wall).max(asked.min(LONGEST_RETRY_AFTER));
            if !changed && !self.asked_again() && !left.is_zero() {
                self.wake_in(if secrets.is_empty() { left } else { left.min(SECRET_RECHECK) });
                let stalled = class == Class::Stuck
                    || (class == Class::Slow && ago(refusal.first, self.now.wall) >= SLOW_STALLS_AFTER);
                let progress = if stalled { Progress::Stalled } else { progress };
                return self.rest(&Situation::new(usable, refusal.reason, progress, refusal.message));
            }
        }
        if let Some(plan) = self.wait_for_room(&progress, usable, &secrets) {
            return plan;
        }
        let attempt = self.record.last_attempt.max(self.highest_listed()).saturating_add(1);
        self.record.last_attempt = attempt;
        if self.asked_again() {
            self.record.failed = None;
        }
        self.record.handled_request.clone_from(&self.desired.requested_at);
        self.record.operation = Some(Operation {
            attempt,
            sends: 1,
            token: self.seen.object.owner.token(attempt, &K::fingerprint(&request)),
            started: self.now.wall,
            request,
            secrets,
            generation: self.seen.object.generation,
        });
        self.write()
    }

    pub(super) fn patience(&self, refusal: &Refusal) -> (Class, Duration) {
        let (class, meaning) = speak::class_of(refusal.reason);
        let count = u32::try_from(refusal.count).unwrap_or(1);
        (class, pace::spread(pace::back_off(meaning, count), &self.seen.object.owner.uid))
    }

    /// Waits for the secrets of the request, or reads them first.
    pub(super) fn secrets_missing(&mut self, request: &K::Request, usable: bool) -> Option<Decision<K>> {
        match self.secrets_of(request) {
            Ok(_) => None,
            Err(Ok(plan)) => Some(*plan),
            Err(Err(problem)) => {
                self.wake_in(SECRET_RECHECK);
                Some(self.stalled_by(&problem, usable))
            }
        }
    }

    /// The secrets at their present versions; or what to do first; or what is wrong with them.
    #[allow(clippy::type_complexity, reason = "three ways out, used in two places")]
    pub(super) fn secrets_of(
        &mut self,
        request: &K::Request,
    ) -> Result<Vec<SecretVersion>, Result<Box<Decision<K>>, Problem>> {
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

    /// Changes the resource in place. That it was begun is recorded first: a lost answer followed by an edit back would
    /// otherwise leave the cloud with what nobody wants any more.
    pub(super) fn update(&mut self, current: &Owned<K::Request>, wanted: &K::Request) -> Decision<K> {
        if let Some(plan) = self.wait_for_trouble(true, Progress::Rolling) {
            return plan;
        }
        let request = K::updated(wanted, &current.request);
        let accepted =
            self.memory.updated.take().is_some_and(|(id, what)| id == current.id && what == request);
        let mut owned = current.clone();
        if accepted || !current.updating {
            owned.updating = !accepted;
            if accepted {
                owned.request = request;
                owned.generation = self.seen.object.generation;
            }
            self.record.current = Some(owned);
            return self.write();
        }
        let tags = tags::<K>(&self.seen.object.owner, current.attempt, &request);
        self.act(Effect::Update { id: current.id.clone(), request, tags })
    }

    /// Whether somebody else (a leader that was replaced, a person in the console) changed the resource in place. A list
    /// that lags is no drift, and a difference that does not go away is corrected ever more rarely.
    pub(super) fn has_drifted(&mut self, current: &Owned<K::Request>, view: &K::View) -> bool {
        if !K::drifted(&current.request, view) {
            return false;
        }
        let first = (self.memory.known.get(&current.id).copied().unwrap_or(self.now.mono), 1);
        let (since, count) = self.memory.settled.get(&current.id).copied().unwrap_or(first);
        let wait = (self.limits.vanish_gap * 2_u32.saturating_pow(count.saturating_sub(1).min(6)))
            .min(REBUILD_EVERY);
        let left = wait.saturating_sub(self.now.mono.since(since));
        if !left.is_zero() {
            self.wake_in(left);
        }
        left.is_zero()
    }

    pub(super) fn retag(&mut self, current: &Owned<K::Request>) -> Option<Decision<K>> {
        if self.memory.trouble.as_ref().is_some_and(|t| t.until > self.now.mono)
            || self.memory.retagged.get(&current.id).is_some_and(|at| self.now.mono.since(*at) < RETAG_EVERY)
        {
            return None;
        }
        let set = tags::<K>(&self.seen.object.owner, current.attempt.max(1), &current.request);
        Some(self.act(Effect::Retag { id: current.id.clone(), set, remove: Vec::new() }))
    }
}
