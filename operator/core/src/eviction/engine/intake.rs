//! What is seen: pods, budgets, lists, the vendor's events.

use std::sync::Arc;

use super::super::budget::Broker;
use super::super::notice::{self, About, NotEligible, Notice, NoticeSource, SpotEvent};
use super::super::outcome::Outcome;
use super::super::why::Why;
use super::super::{Budget, BudgetRef, Event, Pod, PodRef, Report};
use super::state::{Batch, BatchKey, Case, Flight, Known};
use super::{At, EVENT_LIMIT, Engine, WORKLOAD_LIMIT};
use crate::time::{Mono, ago};

/// Notices that come within this time after the last one of a batch belong to it.
const BATCH_GAP: std::time::Duration = std::time::Duration::from_secs(1);
/// Most workloads whose start times count for a batch.
const BATCH_WORKLOADS: usize = 64;
/// A batch is told after this time at the latest.
const BATCH_LONGEST: std::time::Duration = std::time::Duration::from_secs(4);

impl Engine {
    pub(super) fn take(&mut self, event: Event, at: At) {
        match event {
            Event::Pod(pod) => self.saw_pod(*pod, at),
            Event::PodGone(pod) => self.pod_gone(&pod.uid, at),
            Event::PodsListing => {
                self.pod_listing += 1;
                self.pod_list_began = at.mono;
            }
            Event::PodsListed => self.pods_listed(at),
            Event::Budget(budget) => self.saw_budget(*budget),
            Event::BudgetGone(budget) => self.budget_gone(&budget),
            Event::BudgetsListing => {
                self.budget_listing += 1;
                self.budget_list_began = at.mono;
            }
            Event::BudgetsListed => self.budgets_listed(),
            Event::Spot(event) => self.saw_event(*event, at),
            Event::Answered { attempt, answer } => self.answered(attempt, answer, at),
            Event::Tick => {}
        }
    }

    fn saw_pod(&mut self, pod: Pod, at: At) {
        let uid = Arc::clone(&pod.id.uid);
        if self.gone.contains(&uid) {
            return;
        }
        let listing = self.pod_listing;
        if let Some(known) = self.pods.get_mut(&uid) {
            known.listing = listing;
            if pod.version != 0 && pod.version < known.pod.version {
                return;
            }
        }
        let name = (Arc::clone(&pod.id.namespace), Arc::clone(&pod.id.name));
        if let Some(other) = self.names.get(&name).filter(|other| **other != uid).cloned() {
            let newer = self.pods.get(&other).is_none_or(|known| {
                let (a, b) = (pod.version, known.pod.version);
                if a == 0 || b == 0 { pod.created >= known.pod.created } else { a > b }
            });
            if !newer {
                return;
            }
            self.pod_gone(&other, at);
        }
        self.names.insert(name, Arc::clone(&uid));
        let before = self.pods.get(&uid).map(|known| (known.pod.bid_failed, known.pod.labels != pod.labels));
        let changed_labels = before.is_none_or(|(_, changed)| changed);
        if let Some(known) = self.pods.get_mut(&uid) {
            known.deletion = known.deletion.or(pod.deletion);
            known.pod = pod;
        } else {
            self.pods.insert(Arc::clone(&uid), Known::new(pod, listing));
        }
        self.count_start(&uid);
        self.count_loss(&uid, before.map(|(failed, _)| failed));
        if let Some((event, wall, _)) = self.hearsay.remove(&uid) {
            let heard = notice::from_event(&event, &self.settings.policy, wall);
            self.heed(&uid, heard);
        }
        self.read_condition(&uid, at);
        if let Some(case) = self.cases.get_mut(&uid) {
            case.hold.take_if(|hold| hold.until_change);
        }
        self.wake(&uid);
        if changed_labels {
            self.match_budgets(&uid);
        }
        self.settle_case(&uid, at);
    }

    /// The condition as it stands: a notice, one taken back, or nothing.
    fn read_condition(&mut self, uid: &Arc<str>, at: At) {
        let policy = self.settings.policy;
        let Some(known) = self.pods.get_mut(uid) else { return };
        let Some(condition) = known.pod.expired else { return };
        if condition.status {
            // Its time counts from when it was first seen, not from each time.
            if known.condition == Some(condition) {
                return;
            }
            known.condition = Some(condition);
            let heard = notice::from_condition(condition.since, &policy, at.wall);
            self.heed(uid, Ok(heard));
        } else {
            known.condition = None;
            let taken_back = known.notice.is_some_and(|notice| {
                notice.source == NoticeSource::Condition
                    || condition.since.is_some_and(|since| since >= notice.given)
            });
            if taken_back {
                known.notice = None;
            }
        }
    }

    /// Remembers a notice, or says why it is none.
    fn heed(&mut self, uid: &Arc<str>, heard: Result<Notice, NotEligible>) {
        let Some(known) = self.pods.get_mut(uid) else { return };
        match heard {
            Ok(notice) => {
                // A condition that was taken back and came again is another notice.
                let replaces = notice.source == NoticeSource::Condition;
                let best =
                    known.notice.filter(|_| !replaces).map_or(notice, |old| notice::better(old, notice));
                known.notice = Some(best);
            }
            Err(why) => self.ignore(uid, why),
        }
    }

    fn ignore(&mut self, uid: &Arc<str>, why: NotEligible) {
        let Some(known) = self.pods.get_mut(uid) else { return };
        if !known.ignored.insert(why) {
            return;
        }
        let (pod, profile) = (known.pod.id.clone(), known.pod.profile.clone());
        self.report(Report::Ignored { pod, profile, why });
    }

    fn saw_event(&mut self, event: SpotEvent, at: At) {
        if !self.heard.insert(Arc::clone(&event.uid)) {
            return;
        }
        let heard = notice::from_event(&event, &self.settings.policy, at.wall);
        let uid = Arc::clone(&event.pod.uid);
        let known = self.pods.contains_key(&uid);
        match (event.about, heard) {
            (About::Degraded, Err(_)) => {}
            (About::Degraded, Ok(_)) => {
                let profile = self.pods.get(&uid).and_then(|known| known.pod.profile.clone());
                self.report(Report::Degraded { pod: event.pod, profile });
            }
            (About::ToBeReleased, Err(why)) if !known => {
                self.report(Report::Ignored { pod: event.pod, profile: None, why });
            }
            (About::ToBeReleased, Ok(_)) if !known => {
                let name = (Arc::clone(&event.pod.namespace), Arc::clone(&event.pod.name));
                if self.names.contains_key(&name) {
                    let why = NotEligible::AnotherPod;
                    self.report(Report::Ignored { pod: event.pod.clone(), profile: None, why });
                }
                // Its pod may yet be seen: the two watches know nothing of each other.
                if self.hearsay.len() < EVENT_LIMIT {
                    self.hearsay.insert(uid, (event, at.wall, at.mono));
                }
            }
            (About::ToBeReleased, heard) => {
                let same_place = self.pods.get(&uid).is_some_and(|known| {
                    known.pod.id.namespace == event.pod.namespace && known.pod.id.name == event.pod.name
                });
                self.heed(&uid, if same_place { heard } else { Err(NotEligible::AnotherPod) });
                self.settle_case(&uid, at);
            }
        }
    }

    /// Makes the case of a pod what its notice and eligibility say.
    fn settle_case(&mut self, uid: &Arc<str>, at: At) {
        let Some(known) = self.pods.get(uid) else { return };
        let notice = known.notice;
        if known.pod.phase.is_terminal() {
            self.close(uid, None, at);
            return;
        }
        let Some(notice) = notice else {
            self.close(uid, Some(Outcome::Withdrawn), at);
            return;
        };
        if let Err(why) = notice::eligible(&known.pod, &self.settings.policy) {
            self.ignore(uid, why);
            self.close(uid, Some(Outcome::Withdrawn), at);
            return;
        }
        let due = at.on_process_clock(notice.deadline);
        if let Some(case) = self.cases.get_mut(uid) {
            if case.notice != notice {
                (case.notice, case.due) = (notice, due);
                self.wake(uid);
            }
            return;
        }
        let (pod, profile) = (known.pod.id.clone(), known.pod.profile.clone());
        let case = Case {
            notice,
            due,
            noticed: at.mono,
            budgets: Vec::new(),
            flight: None,
            done: None,
            deleting: false,
            hold: None,
            delete_after: Mono::default(),
            failures: 0,
            attempts: 0,
            repeat: None,
            why: Why::WaitingForTurn,
            about: None,
            since: (at.mono, at.wall),
            said: None,
            batch: None,
            waits: None,
            alarm: None,
            ticket: None,
            says: None,
        };
        self.open(uid, &pod.namespace, case);
        self.match_budgets(uid);
        self.join_batch(uid, at);
        self.report(Report::Noticed { pod, profile, notice });
    }

    fn join_batch(&mut self, uid: &Arc<str>, at: At) {
        let Some((known, case)) = self.pods.get(uid).zip(self.cases.get(uid)) else { return };
        let namespace = Arc::clone(&known.pod.id.namespace);
        let budget = case.budgets.first().cloned();
        let of_this = |number| BatchKey { namespace: Arc::clone(&namespace), budget: budget.clone(), number };
        let open = self.batches.range(of_this(0)..=of_this(u64::MAX)).next_back();
        let open = open.filter(|(_, batch)| batch.forecast.is_none()).map(|(key, _)| key.clone());
        let key = open.unwrap_or_else(|| {
            self.last_batch += 1;
            of_this(self.last_batch)
        });
        let broker = budget.as_ref().and_then(|id| self.brokers.get(id));
        let allowed = broker.map_or(0, |broker| usize::try_from(broker.budget.allowed).unwrap_or(0));
        if !self.batches.contains_key(&key) {
            self.untold.insert(key.clone());
        }
        let batch = self.batches.entry(key.clone()).or_insert(Batch {
            first: at.mono,
            last: at.mono,
            allowed,
            noticed: 0,
            open: 0,
            saved: 0,
            forecast: None,
            workloads: std::collections::BTreeSet::new(),
        });
        if let Some(workload) = &known.pod.workload
            && batch.workloads.len() < BATCH_WORKLOADS
        {
            batch.workloads.insert(workload.clone());
        }
        batch.last = at.mono;
        batch.noticed += 1;
        batch.open += 1;
        if let Some(case) = self.cases.get_mut(uid) {
            case.batch = Some(key);
        }
    }

    /// When a batch is told, if it was not.
    pub(super) fn batch_ready(batch: &Batch) -> Option<crate::time::Mono> {
        let ready = batch.last.plus(BATCH_GAP).min(batch.first.plus(BATCH_LONGEST));
        batch.forecast.is_none().then_some(ready)
    }

    pub(super) fn pod_gone(&mut self, uid: &Arc<str>, at: At) {
        self.hearsay.remove(uid);
        self.gone.insert(Arc::clone(uid));
        if !self.pods.contains_key(uid) {
            return;
        }
        self.close(uid, None, at);
        if let Some(known) = self.pods.remove(uid) {
            let PodRef { namespace, name, .. } = known.pod.id;
            if self.names.get(&(Arc::clone(&namespace), Arc::clone(&name))) == Some(uid) {
                self.names.remove(&(namespace, name));
            }
        }
    }

    fn pods_listed(&mut self, at: At) {
        let (listing, began) = (self.pod_listing, self.pod_list_began);
        let gone = self.pods.iter().filter(|(_, known)| known.listing < listing);
        let gone: Vec<Arc<str>> = gone.map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in gone {
            self.pod_gone(&uid, at);
        }
        // Whoever is in a list that began after the answer, and is not being deleted, was not evicted.
        for (uid, case) in &mut self.cases {
            let stays = self.pods.get(uid).is_some_and(|known| known.pod.deletion.is_none());
            if stays && case.done.is_some_and(|done| done.mono < began) {
                case.done = None;
                self.awake.insert(Arc::clone(uid));
            }
        }
        if self.starts.len() > WORKLOAD_LIMIT / 2 {
            let alive: std::collections::BTreeSet<_> = self
                .pods
                .values()
                .filter_map(|known| Some((Arc::clone(&known.pod.id.namespace), known.pod.workload.clone()?)))
                .collect();
            self.starts.retain(|workload, _| alive.contains(workload));
        }
        self.pods_synced = true;
    }

    fn saw_budget(&mut self, budget: Budget) {
        let id = budget.id.clone();
        self.touched.insert(id.clone());
        let changed = match self.brokers.get_mut(&id) {
            None => {
                let mut broker = Broker::new(budget, self.settings.per_budget.max(1), self.budget_listing);
                // What was sent while another budget had that name can be charged to this one.
                let ours = |flight: &&Flight| !flight.given_up && flight.broker.as_ref() == Some(&id);
                for (attempt, flight) in self.flights.iter().filter(|(_, flight)| ours(flight)) {
                    broker.book(*attempt, &flight.name, flight.sent);
                }
                self.brokers.insert(id.clone(), broker);
                true
            }
            Some(broker) => {
                let before = broker.budget.selector.clone();
                broker.listing = self.budget_listing;
                broker.see(budget) && before != broker.budget.selector
            }
        };
        if changed {
            self.match_cases(&id);
        }
        if let Some(broker) = self.brokers.get(&id) {
            let allowed = usize::try_from(broker.budget.allowed).unwrap_or(0);
            let of =
                |number| BatchKey { namespace: Arc::clone(&id.namespace), budget: Some(id.clone()), number };
            for (_, batch) in self.batches.range_mut(of(0)..=of(u64::MAX)) {
                if batch.forecast.is_none() {
                    batch.allowed = batch.allowed.max(allowed);
                }
            }
        }
    }

    fn budget_gone(&mut self, id: &BudgetRef) {
        if self.brokers.remove(id).is_some() {
            self.touched.insert(id.clone());
            self.match_cases(id);
        }
    }

    fn budgets_listed(&mut self) {
        let (listing, began) = (self.budget_listing, self.budget_list_began);
        let gone = self.brokers.iter().filter(|(_, broker)| broker.listing < listing);
        let gone: Vec<BudgetRef> = gone.map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.budget_gone(id);
        }
        self.brokers.values_mut().for_each(|broker| broker.listed(began));
        self.touched.extend(self.brokers.keys().cloned());
        self.budgets_synced = true;
    }

    /// Which pods with a notice a budget selects, after it came, changed its selector, or went.
    fn match_cases(&mut self, id: &BudgetRef) {
        let selector = self.brokers.get(id).map(|broker| &broker.budget.selector);
        for (uid, case) in &mut self.cases {
            let Some(known) = self.pods.get(uid) else { continue };
            if known.pod.id.namespace != id.namespace {
                continue;
            }
            let selected = selector.is_some_and(|selector| selector.matches(&known.pod.labels));
            match case.budgets.binary_search(id) {
                Ok(place) if !selected => drop(case.budgets.remove(place)),
                Err(place) if selected => case.budgets.insert(place, id.clone()),
                _ => continue,
            }
            self.awake.insert(Arc::clone(uid));
        }
    }

    /// Which budgets select the pod.
    fn match_budgets(&mut self, uid: &Arc<str>) {
        let Some((known, case)) = self.pods.get(uid).zip(self.cases.get_mut(uid)) else { return };
        let pod = &known.pod;
        let first = BudgetRef { namespace: Arc::clone(&pod.id.namespace), name: "".into() };
        case.budgets = self
            .brokers
            .range(first..)
            .take_while(|(id, _)| id.namespace == pod.id.namespace)
            .filter(|(_, broker)| broker.budget.selector.matches(&pod.labels))
            .map(|(id, _)| id.clone())
            .collect();
        self.awake.insert(Arc::clone(uid));
    }

    fn count_start(&mut self, uid: &Arc<str>) {
        let full = self.starts.len() >= WORKLOAD_LIMIT;
        let Some(known) = self.pods.get_mut(uid) else { return };
        let pod = &known.pod;
        let (Some(workload), Some(created), Some(ready)) = (&pod.workload, pod.created, pod.ready_since)
        else {
            return;
        };
        if known.started || !pod.ready {
            return;
        }
        let key = (Arc::clone(&pod.id.namespace), workload.clone());
        known.started = true;
        if !full || self.starts.contains_key(&key) {
            self.starts.entry(key).or_default().add(ago(created, ready));
        }
    }

    fn count_loss(&mut self, uid: &Arc<str>, failed_before: Option<bool>) {
        let synced = self.pods_synced;
        let Some(known) = self.pods.get_mut(uid) else { return };
        if !known.pod.bid_failed || known.lost {
            return;
        }
        known.lost = true;
        let (pod, profile) = (known.pod.id.clone(), known.pod.profile.clone());
        let fresh = failed_before == Some(false) || (failed_before.is_none() && synced);
        self.report(Report::Lost { pod, profile, fresh });
    }
}
