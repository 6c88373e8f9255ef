//! Who is judged at a step. A pod with a notice sleeps while nothing changes that its verdict depends on: itself, its
//! requests, its budget, the time that it waits for, or what holds back everybody. So a step costs what changed, not how
//! many wait. Who can go and did not get a turn has its place in the queue, and sleeps as well.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::BudgetRef;
use super::schedule::Wake;
use super::state::{Case, Waiting};
use super::{At, Engine};
use crate::time::Mono;

impl Engine {
    /// Judges all pods with a notice at the next step. Never needed; tests hold the steps of an engine that sleeps
    /// against those of one that does not.
    pub fn rouse(&mut self) {
        self.awake.extend(self.cases.keys().cloned());
    }

    /// How many pods with a notice the next step judges, whatever happens until then.
    pub fn awake(&self) -> usize {
        self.awake.len()
    }

    /// Judges that pod at the next step.
    pub(super) fn wake(&mut self, uid: &Arc<str>) {
        if self.cases.contains_key(uid) {
            self.awake.insert(Arc::clone(uid));
        }
    }

    /// A new case, which is awake.
    pub(super) fn open(&mut self, uid: &Arc<str>, namespace: &Arc<str>, case: Case) {
        if self.cases.insert(Arc::clone(uid), case).is_none() {
            *self.population.entry(Arc::clone(namespace)).or_default() += 1;
        }
        self.awake.insert(Arc::clone(uid));
    }

    /// Takes a case away.
    pub(super) fn forget(&mut self, uid: &Arc<str>, namespace: &Arc<str>) -> Option<Case> {
        self.lift(uid);
        self.awake.remove(uid);
        let case = self.cases.remove(uid)?;
        if let Some(when) = case.says {
            self.unsaid.remove(&(when, Arc::clone(uid)));
        }
        if let Some(count) = self.population.get_mut(namespace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.population.remove(namespace);
            }
        }
        Some(case)
    }

    /// Wakes those for whom something changed, or whose time has come.
    pub(super) fn rouse_due(&mut self, at: At) {
        while let Some((when, uid)) = self.alarms.first().cloned()
            && when <= at.mono
        {
            self.alarms.pop_first();
            self.awake.insert(uid);
        }
        while let Some((when, id)) = self.timers.first().cloned()
            && when <= at.mono
        {
            self.timers.pop_first();
            if let Some(waiting) = self.waiting.get_mut(&id) {
                waiting.timer = None;
            }
            self.touched.insert(id);
        }
        for id in &self.touched {
            let Some(waiting) = self.waiting.get_mut(id) else { continue };
            let seen = self.brokers.get_mut(id).map(|broker| {
                broker.expire(at.mono);
                broker.outlook(at.mono)
            });
            if seen != waiting.seen {
                waiting.seen = seen;
                self.awake.extend(waiting.pods.iter().cloned());
            }
        }
    }

    /// Takes a case out of what it sleeps for.
    pub(super) fn lift(&mut self, uid: &Arc<str>) {
        let Some(case) = self.cases.get_mut(uid) else { return };
        if let Some(when) = case.alarm.take() {
            self.alarms.remove(&(when, Arc::clone(uid)));
        }
        if let Some(id) = case.waits.take()
            && let Some(waiting) = self.waiting.get_mut(&id)
        {
            waiting.pods.remove(uid);
            if waiting.pods.is_empty() {
                if let Some(when) = waiting.timer {
                    self.timers.remove(&(when, id.clone()));
                }
                self.waiting.remove(&id);
            }
        }
        self.dequeue(uid);
    }

    /// Takes the place of a case away among those that can go.
    pub(super) fn dequeue(&mut self, uid: &Arc<str>) {
        let ticket = self.cases.get_mut(uid).and_then(|case| case.ticket.take());
        let (Some(ticket), Some(known)) = (ticket, self.pods.get(uid)) else { return };
        self.queue.take(&known.pod.id.namespace, uid, &ticket);
    }

    /// Lets a case sleep until that time, and until that budget changes.
    pub(super) fn lay(&mut self, uid: &Arc<str>, until: Option<Mono>, on: Option<BudgetRef>, at: At) {
        let Some(case) = self.cases.get_mut(uid) else { return };
        if let Some(when) = until {
            case.alarm = Some(when);
            self.alarms.insert((when, Arc::clone(uid)));
        }
        if let Some(id) = on {
            case.waits = Some(id.clone());
            let seen = self.brokers.get(&id).map(|broker| broker.outlook(at.mono));
            let new = || Waiting { seen, pods: BTreeSet::new(), timer: None };
            let waiting = self.waiting.entry(id.clone()).or_insert_with(new);
            waiting.pods.insert(Arc::clone(uid));
            if waiting.timer.is_none() {
                self.touched.insert(id);
            }
        }
    }

    /// Sets the timers of the brokers that something happened to, and says when a step is needed for those who sleep.
    pub(super) fn set_timers(&mut self, handled: BTreeSet<BudgetRef>, at: At, wake: &mut Wake) {
        let booked = self.touched.iter().cloned();
        let ids: BTreeSet<BudgetRef> = handled.into_iter().chain(booked).collect();
        for id in ids {
            let Some(waiting) = self.waiting.get_mut(&id) else { continue };
            let when = self.brokers.get(&id).and_then(|broker| broker.wake(at.mono));
            if waiting.timer == when {
                continue;
            }
            if let Some(before) = std::mem::replace(&mut waiting.timer, when) {
                self.timers.remove(&(before, id.clone()));
            }
            if let Some(when) = when {
                self.timers.insert((when, id));
            }
        }
        wake.maybe(self.alarms.first().map(|(when, _)| *when));
        wake.maybe(self.timers.first().map(|(when, _)| *when));
    }
}
