//! Forecasts: what will become of those that got their notices together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::course::{Course, Doomed, Health, Replaced};
use super::super::forecast::{self, Forecast, Grade, Starts};
use super::super::grace::{self, Millis, millis};
use super::super::{Budget, Deletion, Labels, OnDeadline, Owner, Pod, Promise, Report, UnhealthyPolicy};
use super::answered::{self, is_in_time};
use super::schedule::Wake;
use super::state::{Batch, BatchKey, Case, Did, Known};
use super::{At, Engine};

/// Most forecasts of one step: evictions do not wait for them.
const AT_ONCE: usize = 64;
/// What passes between an eviction and the creation of the new pod, and between its readiness and the next eviction.
const BETWEEN: Millis = 100;
/// Times of objects are whole seconds: on the average they are as much too early.
const HALF_A_SECOND: Millis = 500;

/// A pod that a budget selects, with its notice if it has one.
type Behind<'a> = (&'a Known, Option<&'a Case>);

/// How long new pods of workloads take, in milliseconds.
struct Pace<'a> {
    engine: &'a Engine,
    namespace: Arc<str>,
    known: BTreeMap<Owner, Option<Millis>>,
    /// Of all workloads of the batch.
    common: Option<Millis>,
}

impl Pace<'_> {
    /// From the creation of a pod until its budget counts it.
    fn of(&mut self, workload: Option<&Owner>) -> Option<Millis> {
        let Some(workload) = workload else { return self.common };
        if let Some(known) = self.known.get(workload) {
            return *known;
        }
        let starts = self.engine.starts(&self.namespace, workload);
        let own = starts.and_then(|starts| forecast::typical(starts.iter().collect()));
        let pace = own.map(millis).or(self.common);
        self.known.insert(workload.clone(), pace);
        pace
    }
}

/// How long the controller of a pod waits after the pod was told to end, until it makes a new one. The names of a
/// StatefulSet are free again when the old pod is gone, which takes its grace period at most.
fn until_replaced(pod: &Pod, grace: i64) -> Millis {
    let by_name = pod.owner.as_ref().is_some_and(|owner| &*owner.kind == "StatefulSet");
    BETWEEN + if by_name { grace.clamp(0, i64::from(u16::MAX)) * 1_000 } else { 0 }
}

impl Engine {
    /// Tells of batches whose notices have all come.
    pub(super) fn foresee(&mut self, at: At, wake: &mut Wake) {
        let mut ready: Vec<BatchKey> = Vec::new();
        for key in &self.untold {
            match self.batches.get(key).and_then(Self::batch_ready) {
                Some(when) if when <= at.mono && ready.len() < AT_ONCE => ready.push(key.clone()),
                Some(when) => wake.at(when),
                None => {}
            }
        }
        let pods = self.behind(&ready);
        let told: Vec<_> = ready.iter().zip(pods).map(|(key, pods)| self.said(key, &pods, at)).collect();
        for (key, said) in ready.into_iter().zip(told) {
            self.untold.remove(&key);
            let Some((batch, (saved, start))) = self.batches.get_mut(&key).zip(said) else { continue };
            let forecast = Forecast {
                budget: key.budget.clone(),
                namespace: Arc::clone(&key.namespace),
                noticed: batch.noticed,
                saved,
                allowed: batch.allowed,
                start,
                at: at.wall,
            };
            batch.forecast = Some(forecast.clone());
            let (over, came) = (batch.open == 0, batch.saved);
            self.report(Report::Forecast(forecast.clone()));
            if over {
                self.batches.remove(&key);
                self.report(Report::Graded(Grade { forecast, saved: came }));
            }
        }
    }

    /// How many of a batch will be told to end in time, and the start time that is reckoned with.
    fn said(&self, key: &BatchKey, pods: &[Behind<'_>], at: At) -> Option<(Option<usize>, Option<Duration>)> {
        let batch = self.batches.get(key)?;
        let start = forecast::typical(self.starts_of(key, batch));
        let saved = match key.budget {
            None => Some(batch.noticed),
            Some(_) => self.saved(key, batch, pods, start.map(millis), at),
        };
        Some((saved, start))
    }

    /// The start times of the workloads that a batch is about.
    fn starts_of(&self, key: &BatchKey, batch: &Batch) -> Vec<Duration> {
        let of = |workload: &Owner| self.starts.get(&(Arc::clone(&key.namespace), workload.clone()));
        batch.workloads.iter().filter_map(of).flat_map(Starts::iter).collect()
    }

    /// How many of a batch behind a budget are or will be told to end in time.
    fn saved(
        &self,
        key: &BatchKey,
        batch: &Batch,
        pods: &[Behind<'_>],
        common: Option<Millis>,
        at: At,
    ) -> Option<usize> {
        let budget = &self.brokers.get(key.budget.as_ref()?)?.budget;
        let namespace = Arc::clone(&key.namespace);
        let mut pace = Pace { engine: self, namespace, known: BTreeMap::new(), common };
        let mut course = Course {
            now: at.ms,
            spare: 0,
            opens: budget.is_processed() && budget.sync_failed.is_none() && budget.expected > 0,
            if_healthy: budget.desired > 0,
            always: budget.unhealthy == UnhealthyPolicy::AlwaysAllow,
            coming: Vec::new(),
            // Its numbers are those of another spec.
            coming_unknown: !budget.is_processed(),
            doomed: Vec::new(),
        };
        let (mut healthy, mut others, mut already) = (0_i64, 0_i64, batch.saved);
        // Asked to end a moment ago; told to end so recently that what replaces them is not ready; those that may be it.
        let (mut asked, mut told_lately, mut starting) = (0_i64, 0_i64, 0_i64);
        for &(known, case) in pods {
            let pod = &known.pod;
            if pod.phase.is_terminal() {
                continue;
            }
            let start = pace.of(pod.workload.as_ref());
            if is_leaving(known, case) {
                already += usize::from(case.is_some_and(|case| is_saved(known, case, key, at)));
                if pod.owner.as_ref().is_some_and(|owner| &*owner.kind == "StatefulSet") {
                    let gone = pod.deletion.map_or(at.ms, |deletion| at.on_process_clock(deletion.at));
                    others += 1;
                    match start {
                        Some(start) => course.coming.push(gone.max(at.ms) + BETWEEN + start),
                        None => course.coming_unknown = true,
                    }
                } else if pod.owner.is_some() {
                    let lately = told(known, case).is_none_or(|when| {
                        start.is_none_or(|start| at.ms.saturating_sub(at.on_process_clock(when)) < start)
                    });
                    asked += i64::from(pod.deletion.is_none());
                    told_lately += i64::from(pod.deletion.is_some() && lately);
                }
                continue;
            }
            let comes = if pod.ready { None } else { comes(pod, start, at) };
            healthy += i64::from(pod.ready);
            others += i64::from(!pod.ready);
            let unknown = !pod.ready && start.is_none() && !pod.is_stuck();
            starting += i64::from(comes.is_some() || unknown);
            match case {
                Some(case) if case.budgets.len() == 1 || pod.is_outside_budgets() => {
                    course.doomed.push(doomed(pod, case, comes, start, self, key));
                }
                // It stays as it is until its instance goes.
                Some(_) => {}
                None => course.coming.extend(comes),
            }
            course.coming_unknown |= unknown;
        }
        course.spare = healthy - i64::from(budget.desired);
        // Nobody has made them yet. Of a number of pods that have to be there, the disruption controller expects what it
        // finds, with those that are leaving.
        let counted = i64::from(budget.expected) - healthy - others;
        let found = asked + (told_lately - starting).max(0);
        let missing = if expects_what_it_finds(budget) { found } else { counted.max(found) };
        let missing = usize::try_from(missing).unwrap_or(0);
        match common {
            Some(start) => course.coming.extend(vec![at.ms + BETWEEN + start; missing]),
            None => course.coming_unknown |= missing > 0,
        }
        course.saved().map(|saved| saved + already)
    }

    /// The pods that the budget of each batch selects, found in one pass.
    fn behind(&self, keys: &[BatchKey]) -> Vec<Vec<Behind<'_>>> {
        let mut behind = vec![Vec::new(); keys.len()];
        let selector = |key: &BatchKey| Some(self.brokers.get(key.budget.as_ref()?)?.budget.selector.clone());
        let selectors: Vec<_> = keys.iter().map(selector).collect();
        let namespaces: BTreeSet<&Arc<str>> = keys.iter().map(|key| &key.namespace).collect();
        for namespace in namespaces {
            let of_this = self
                .names
                .range((Arc::clone(namespace), Arc::from(""))..)
                .take_while(|((of, _), _)| of == namespace)
                .filter_map(|(_, uid)| Some((uid, self.pods.get(uid)?)));
            // Pods of one workload share their labels, and their names are beside each other.
            let mut last: Option<(&Labels, Vec<usize>)> = None;
            for (uid, known) in of_this {
                let labels = &known.pod.labels;
                let (_, selecting) = match last.take() {
                    Some(same) if Arc::ptr_eq(same.0, labels) => last.insert(same),
                    _ => {
                        let selects = |n: &usize| {
                            keys[*n].namespace == *namespace
                                && selectors[*n].as_ref().is_some_and(|selector| selector.matches(labels))
                        };
                        last.insert((labels, (0..keys.len()).filter(selects).collect()))
                    }
                };
                for n in selecting {
                    behind[*n].push((known, self.cases.get(uid)));
                }
            }
        }
        behind
    }
}

/// Whether a pod was told to end, as far as is known.
fn is_leaving(known: &Known, case: Option<&Case>) -> bool {
    let asked = case.is_some_and(|case| {
        case.flight.is_some()
            || case.done.is_some_and(|done| matches!(done.did, Did::Evict | Did::Delete | Did::Nothing))
    });
    known.pod.deletion.is_some() || asked
}

/// When a pod was told to end, as far as is known.
fn told(known: &Known, case: Option<&Case>) -> Option<Timestamp> {
    match case {
        Some(case) => answered::told(known, case).0,
        None => known.deletion.map(Deletion::begun),
    }
}

/// Whether `expectedPods` is how many pods there are, and not how many their controllers want.
fn expects_what_it_finds(budget: &Budget) -> bool {
    matches!(&budget.promise, Some(Promise::MinAvailable(value)) if !value.ends_with('%'))
}

/// Whether a pod of that batch that was told to end was so in time.
fn is_saved(known: &Known, case: &Case, key: &BatchKey, at: At) -> bool {
    let when = told(known, Some(case)).unwrap_or(at.wall);
    case.batch.as_ref() == Some(key)
        && !case.deleting
        && is_in_time(case.notice.deadline.duration_since(when))
}

/// When a pod becomes ready that is not: when its start is over. One that takes twice as long does not get ready, nor does
/// one whose containers fail.
fn comes(pod: &Pod, start: Option<Millis>, at: At) -> Option<Millis> {
    if pod.is_stuck() {
        return None;
    }
    let (created, start) = (at.on_process_clock(pod.created?) + HALF_A_SECOND, start?);
    let late = created.saturating_add(start.saturating_mul(2)) < at.ms;
    (!late).then(|| created.saturating_add(start).max(at.ms))
}

fn doomed(
    pod: &Pod,
    case: &Case,
    comes: Option<Millis>,
    start: Option<Millis>,
    engine: &Engine,
    key: &BatchKey,
) -> Doomed {
    let own = grace::of(pod);
    let deletes = pod.on_deadline == OnDeadline::Delete;
    let replaced = match start {
        _ if pod.owner.is_none() => Replaced::Never,
        Some(start) => Replaced::After(until_replaced(pod, own).saturating_add(start)),
        None => Replaced::Unknown,
    };
    Doomed {
        start: grace::latest_start(own, case.due),
        due: case.due,
        not_before: if pod.owner.is_none() { grace::bare_start(own, case.due) } else { Millis::MIN },
        deleted_at: deletes.then(|| grace::delete_start(own, case.due, engine.settings.policy.length)),
        health: match pod.ready {
            _ if pod.is_outside_budgets() => Health::Outside,
            true => Health::Ready,
            false => Health::Unready(comes),
        },
        replaced,
        counts: case.batch.as_ref() == Some(key),
    }
}
