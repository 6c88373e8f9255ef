//! Who is judged at a step. A pod with a notice sleeps while nothing changes that its verdict depends on: itself, its
//! requests, its budget, the time that it waits for, or what holds back everybody. So a step costs what changed, not how
//! many wait. Awake stay those who could go and did not get a turn: the rate lets them go soon.

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
        self.unsaid.remove(uid);
        let case = self.cases.remove(uid)?;
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
        for (id, waiting) in &mut self.waiting {
            let seen = self.brokers.get(id).map(|broker| broker.outlook(at.mono));
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
                self.waiting.remove(&id);
            }
        }
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
            let waiting = self.waiting.entry(id).or_insert_with(|| Waiting { seen, pods: BTreeSet::new() });
            waiting.pods.insert(Arc::clone(uid));
        }
    }

    /// When a step is needed for those who sleep.
    pub(super) fn sleepers(&self, at: At, wake: &mut Wake) {
        wake.maybe(self.alarms.first().map(|(when, _)| *when));
        for id in self.waiting.keys() {
            wake.maybe(self.brokers.get(id).and_then(|broker| broker.wake(at.mono)));
        }
    }
}
