//! Who goes next.
//!
//! Pods with a notice are judged when something changes for them, those that can go are put in order, and requests are
//! made while the rate, the requests under way and the budgets leave room. In order: who is behind a budget and costs
//! none of it; who can still have its whole grace period, by the last moment for that; who cannot (so that the hopeless
//! take no slot from those who can be saved), the least late first. At the same moment who has a budget goes before who
//! has none, for others wait for its replacement; then the lowest deletion cost; then the youngest. Namespaces take
//! turns, but whoever has to start within [`URGENT`] goes first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::budget::Closed;
use super::super::grace::{self, Millis};
use super::super::why::Why;
use super::super::{Attempt, BudgetRef, Effect, OnDeadline, Order, Pod};
use super::queue::Ticket;
use super::state::{Case, Did, Flight};
use super::{At, Engine};
use crate::time::Mono;

/// Whoever has to start within this time does not wait for the turn of its namespace.
pub const URGENT: Duration = Duration::from_secs(10);

/// How long a notice of a pod that runs waits for those that come with it: they come one by one, and the order counts.
pub const GATHER: Duration = Duration::from_millis(200);

/// What can be done for a pod now.
enum Verdict {
    /// Nothing.
    Rest(Why, Option<BudgetRef>),
    /// Nothing before then.
    Later(Why, Option<BudgetRef>, Mono),
    /// Nothing until that budget changes, which may have to be looked at before then.
    Budget(Why, BudgetRef, Option<Mono>),
    /// An eviction, booked on that budget if there is one. Who is free to go although a budget selects it goes first.
    Go { free: bool, broker: Option<BudgetRef> },
}

/// Whether a deletion against budgets may help the pod some time.
fn may_delete(pod: &Pod, case: &Case) -> bool {
    pod.on_deadline == OnDeadline::Delete
        && pod.deletion.is_none()
        && !pod.phase.is_terminal()
        && case.flight.is_none()
        && case.done.is_none_or(|done| done.did == Did::Stale)
}

/// The earliest of the wake-ups that were asked for.
#[derive(Default)]
pub(super) struct Wake(Option<Mono>);

impl Wake {
    pub(super) fn at(&mut self, when: Mono) {
        self.0 = Some(self.0.map_or(when, |known| known.min(when)));
    }

    pub(super) fn maybe(&mut self, when: Option<Mono>) {
        if let Some(when) = when {
            self.at(when);
        }
    }
}

/// An instant of the engine's clock as one of the process.
pub(super) fn mono(ms: Millis) -> Mono {
    Mono(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

impl Engine {
    /// Decides, and says when to come again.
    pub(super) fn schedule(&mut self, at: At) -> Option<Mono> {
        let mut wake = Wake::default();
        self.bucket.fill(at.mono);
        let mut standing: Vec<(Arc<str>, Why, Option<BudgetRef>)> = Vec::new();
        let mut at_deadline: BTreeSet<Arc<str>> = BTreeSet::new();
        self.rouse_due(at);
        let handled = std::mem::take(&mut self.touched);
        for uid in &std::mem::take(&mut self.awake) {
            self.lift(uid);
            let Some((case, known)) = self.cases.get_mut(uid).zip(self.pods.get(uid)) else { continue };
            case.hold.take_if(|hold| hold.until <= at.mono);
            for id in &case.budgets {
                if let Some(broker) = self.brokers.get_mut(id) {
                    broker.expire(at.mono);
                }
            }
            let Some(case) = self.cases.get(uid) else { continue };
            let pod = &known.pod;
            let (mut until, mut on, mut ticket) = (None, None, None);
            let (why, about) = match self.judge(pod, case, at) {
                Verdict::Rest(why, about) => (why, about),
                Verdict::Later(why, about, when) => {
                    until = Some(when);
                    (why, about)
                }
                Verdict::Budget(why, budget, when) => {
                    (until, on) = (when, Some(budget.clone()));
                    (why, Some(budget))
                }
                Verdict::Go { free, broker } => {
                    on = case.budgets.first().cloned();
                    ticket = Some(Ticket::new(pod, case.due, free, broker));
                    (Why::WaitingForTurn, on.clone())
                }
            };
            if may_delete(pod, case) {
                let start = grace::delete_start(pod.grace, case.due, self.settings.policy.length);
                if start <= at.ms {
                    at_deadline.insert(Arc::clone(uid));
                } else {
                    let start = mono(start);
                    until = Some(until.map_or(start, |when| when.min(start)));
                }
            }
            standing.push((Arc::clone(uid), why, about));
            self.lay(uid, until, on, at);
            self.enqueue(uid, ticket);
        }
        let sent = self.evict(at, &mut wake);
        self.delete(&at_deadline, at, &mut wake);
        self.set_timers(handled, at, &mut wake);
        for (uid, why, about) in standing {
            let under_way = self.cases.get(&uid).is_some_and(|case| case.flight.is_some());
            let waits = why == Why::WaitingForTurn;
            let undeletable = !under_way && at_deadline.contains(&uid) && self.may_not_delete(&uid);
            let (why, about) = match self.gate_of(&uid) {
                _ if undeletable => (Why::DeleteNotPermitted, about),
                _ if waits && under_way => (Why::Evicting, about),
                Some(why) if waits => (why, None),
                _ => (why, about),
            };
            self.stand(&uid, why, about, at);
        }
        for uid in sent {
            let about = self.cases.get(&uid).and_then(|case| case.budgets.first().cloned());
            self.stand(&uid, Why::Evicting, about, at);
        }
        self.awake.extend(at_deadline);
        self.speak(at, &mut wake);
        let limit = self.settings.answer_limit;
        let sent = self.flights.values().filter(|flight| !flight.given_up).map(|flight| flight.sent).min();
        wake.maybe(sent.map(|sent| sent.plus(limit)));
        let active = &self.population;
        self.served.retain(|namespace, _| active.contains_key(namespace));
        self.forbidden.retain(|(namespace, _), _| active.contains_key(namespace));
        // Never in the past, or the shell would spin.
        wake.0.map(|when| when.max(at.mono.plus(Duration::from_millis(1))))
    }

    /// What can be done for a pod by itself: budgets with and without room are told apart later.
    fn judge(&self, pod: &Pod, case: &Case, at: At) -> Verdict {
        if pod.deletion.is_some() {
            let why = match case.done.map(|done| done.did) {
                _ if case.deleting => Why::DeletedAtDeadline,
                Some(Did::Evict) => Why::Evicted,
                _ if case.repeat.is_some() || case.flight.is_some() => Why::Evicted,
                _ => Why::DeletedByOthers,
            };
            return Verdict::Rest(why, case.budgets.first().cloned());
        }
        if case.flight.is_some() {
            return Verdict::Rest(Why::Evicting, case.budgets.first().cloned());
        }
        match case.done.map(|done| done.did) {
            // The same words as when its deletion is seen, or it would be told twice.
            Some(Did::Evict) => return Verdict::Rest(Why::Evicted, case.budgets.first().cloned()),
            Some(Did::Delete) => {
                return Verdict::Rest(Why::DeletedAtDeadline, case.budgets.first().cloned());
            }
            Some(Did::Nothing) => {
                return Verdict::Rest(Why::DeletedByOthers, case.budgets.first().cloned());
            }
            Some(Did::Stale) => return Verdict::Rest(Why::BudgetHeldByStaleEviction, None),
            None => {}
        }
        if let Some(hold) = &case.hold {
            return Verdict::Later(hold.why, case.budgets.first().cloned(), hold.until);
        }
        let forbidden = self.forbidden.get(&(Arc::clone(&pod.id.namespace), false));
        if let Some(retry) = forbidden.and_then(|gate| gate.retry()).filter(|retry| at.mono < *retry) {
            return Verdict::Later(Why::NotPermitted, None, retry);
        }
        let budget = match case.budgets.as_slice() {
            [] => None,
            _ if pod.is_outside_budgets() => None,
            [one] => Some(one),
            [first, ..] => return Verdict::Rest(Why::SeveralBudgets, Some(first.clone())),
        };
        if pod.owner.is_none() {
            let start = grace::bare_start(pod.grace, case.due);
            if at.ms < start {
                return Verdict::Later(Why::NothingReplacesIt, budget.cloned(), mono(start));
            }
        }
        let gathered = case.noticed.plus(GATHER);
        let Some((budget, broker)) = budget.and_then(|id| Some((id, self.brokers.get(id)?))) else {
            // Its replacement competes with those that others wait for.
            if at.mono < gathered && !pod.is_outside_budgets() {
                return Verdict::Later(Why::WaitingForTurn, None, gathered);
            }
            return Verdict::Go { free: pod.is_outside_budgets(), broker: None };
        };
        if !pod.ready && broker.budget.lets_unready_go() {
            return Verdict::Go { free: true, broker: None };
        }
        if at.mono < gathered {
            return Verdict::Budget(Why::WaitingForTurn, budget.clone(), Some(gathered));
        }
        if broker.room(at.mono) > 0 {
            return Verdict::Go { free: false, broker: Some(budget.clone()) };
        }
        let why = match broker.closed() {
            Closed::NotProcessed => Why::BudgetNotProcessed,
            Closed::SyncFailed => Why::BudgetSyncFailed,
            Closed::Overrun => Why::BudgetOverrun,
            Closed::Never => Why::BudgetNeverAllows,
            Closed::Stale => Why::BudgetHeldByStaleEviction,
            Closed::Exhausted => Why::BudgetExhausted,
            Closed::Contended => Why::BudgetContended,
            Closed::Busy => Why::WaitingForTurn,
        };
        Verdict::Budget(why, budget.clone(), None)
    }

    /// What holds back all pods of a namespace, or all there are.
    fn gate_of(&self, uid: &str) -> Option<Why> {
        if self.server.is_shut() {
            return Some(self.server_why);
        }
        let namespace = Arc::clone(&self.pods.get(uid)?.pod.id.namespace);
        self.forbidden.contains_key(&(namespace, false)).then_some(Why::NotPermitted)
    }

    fn may_not_delete(&self, uid: &str) -> bool {
        let namespace = self.pods.get(uid).map(|known| Arc::clone(&known.pod.id.namespace));
        namespace.is_some_and(|namespace| self.forbidden.contains_key(&(namespace, true)))
    }

    /// Room for another request, and for one of that namespace.
    fn has_room(&self, namespace: &str, at: At) -> bool {
        let most = self.settings.in_flight.max(2);
        let under_way = self.flights.values().filter(|flight| !flight.given_up);
        let (mut all, mut own) = (0, 0);
        for flight in under_way {
            all += 1;
            own += usize::from(*flight.namespace == *namespace);
        }
        self.server.room(at.mono, all, most) > 0 && own < most / 2
    }

    /// Gives a pod that can go its place among all that can.
    fn enqueue(&mut self, uid: &Arc<str>, ticket: Option<Ticket>) {
        let (Some(ticket), Some(known)) = (ticket, self.pods.get(uid)) else { return };
        let Some(case) = self.cases.get_mut(uid) else { return };
        self.queue.put(&known.pod.id.namespace, uid, &ticket);
        case.ticket = Some(ticket);
    }

    /// Makes requests for those whose turn it is, and says for whom.
    fn evict(&mut self, at: At, wake: &mut Wake) -> Vec<Arc<str>> {
        let mut sent = Vec::new();
        if self.queue.is_empty() {
            return sent;
        }
        let served = |namespace: &Arc<str>| self.served.get(namespace).copied();
        let floor = self.queue.namespaces().filter_map(served).min().unwrap_or(0);
        let mut turns = BTreeSet::new();
        for namespace in self.queue.namespaces() {
            // Whoever comes anew does not have all the turns that it did not need.
            let served = self.served.entry(Arc::clone(namespace)).or_insert(floor);
            *served = (*served).max(floor);
            if let Some((rank, uid)) = self.queue.head(namespace, *served, at.ms) {
                turns.insert((rank, Arc::clone(namespace), uid));
            }
        }
        while let Some((rank, namespace, uid)) = turns.pop_first() {
            let mut served = rank.served;
            match self.try_evict(&uid, &namespace, at, wake) {
                Tried::Sent => {
                    served += 1;
                    self.served.insert(Arc::clone(&namespace), served);
                    self.lift(&uid);
                    sent.push(uid);
                }
                // Others of its budget were first.
                Tried::NotNow => {
                    self.dequeue(&uid);
                    self.awake.insert(uid);
                }
                Tried::Full => continue,
                Tried::Empty => break,
            }
            if let Some((rank, uid)) = self.queue.head(&namespace, served, at.ms) {
                turns.insert((rank, namespace, uid));
            }
        }
        sent
    }

    fn try_evict(&mut self, uid: &Arc<str>, namespace: &Arc<str>, at: At, wake: &mut Wake) -> Tried {
        let ticket = self.cases.get(uid).and_then(|case| case.ticket.as_ref());
        let budget = ticket.and_then(|ticket| ticket.broker.clone());
        let broker = budget.as_ref().and_then(|id| self.brokers.get(id));
        if broker.is_some_and(|broker| broker.room(at.mono) == 0) {
            return Tried::NotNow;
        }
        if !self.has_room(namespace, at) {
            wake.maybe(self.server.retry().filter(|when| *when > at.mono));
            return Tried::Full;
        }
        let place = (Arc::clone(namespace), false);
        if self.forbidden.contains_key(&place) && self.any_under_way(&place) {
            return Tried::Full;
        }
        if !self.bucket.take() {
            wake.at(self.bucket.ready());
            return Tried::Empty;
        }
        let Some((case, known)) = self.cases.get_mut(uid).zip(self.pods.get(uid)) else {
            return Tried::NotNow;
        };
        let pod = &known.pod;
        let fits = grace::clamp(pod.grace, case.due, at.ms);
        // Once more with the same grace period, if there is time for it: see `Case::repeat`.
        let left = case.due.saturating_sub(at.ms).div_euclid(1_000);
        let grace =
            case.repeat.filter(|again| i64::from(*again) <= left).map_or(fits, |again| again.max(fits));
        let attempt = Attempt(self.last_attempt + 1);
        self.last_attempt = attempt.0;
        case.flight = Some(attempt);
        case.attempts = case.attempts.saturating_add(1);
        if let Some((id, broker)) = budget.as_ref().and_then(|id| Some((id, self.brokers.get_mut(id)?))) {
            broker.book(attempt, &pod.id.name, at.mono);
            self.touched.insert(id.clone());
        }
        let flight = Flight {
            uid: Arc::clone(uid),
            namespace: Arc::clone(namespace),
            name: Arc::clone(&pod.id.name),
            broker: budget,
            deletion: false,
            grace,
            sent: at.mono,
            given_up: false,
        };
        self.flights.insert(attempt, flight);
        self.out.push(Effect::Evict(Order { attempt, pod: pod.id.clone(), grace }));
        Tried::Sent
    }

    fn any_under_way(&self, place: &(Arc<str>, bool)) -> bool {
        self.flights
            .values()
            .any(|flight| !flight.given_up && flight.namespace == place.0 && flight.deletion == place.1)
    }

    /// Deletes those whose profile says so and whose time has come.
    fn delete(&mut self, uids: &BTreeSet<Arc<str>>, at: At, wake: &mut Wake) {
        for uid in uids {
            let Some((case, known)) = self.cases.get(uid).zip(self.pods.get(uid)) else { continue };
            if case.flight.is_some() {
                continue;
            }
            let namespace = Arc::clone(&known.pod.id.namespace);
            let place = (Arc::clone(&namespace), true);
            if let Some(gate) = self.forbidden.get(&place) {
                let retry = gate.retry().unwrap_or_default();
                if at.mono < retry {
                    wake.at(retry);
                    continue;
                }
                if self.any_under_way(&place) {
                    continue;
                }
            }
            if at.mono < case.delete_after {
                wake.at(case.delete_after);
                continue;
            }
            if !self.has_room(&namespace, at) {
                wake.maybe(self.server.retry().filter(|when| *when > at.mono));
                continue;
            }
            if !self.bucket.take() {
                wake.at(self.bucket.ready());
                return;
            }
            let attempt = Attempt(self.last_attempt + 1);
            self.last_attempt = attempt.0;
            let grace = grace::clamp(known.pod.grace, case.due, at.ms);
            let pod = known.pod.id.clone();
            let flight = Flight {
                uid: Arc::clone(uid),
                namespace,
                name: Arc::clone(&pod.name),
                broker: None,
                deletion: true,
                grace,
                sent: at.mono,
                given_up: false,
            };
            self.flights.insert(attempt, flight);
            if let Some(case) = self.cases.get_mut(uid) {
                case.flight = Some(attempt);
                case.attempts = case.attempts.saturating_add(1);
            }
            self.out.push(Effect::Delete(Order { attempt, pod, grace }));
        }
    }
}

/// What became of a try to evict.
enum Tried {
    /// A request was made.
    Sent,
    /// Not this pod.
    NotNow,
    /// Nothing more of this namespace now.
    Full,
    /// Nothing more at all now.
    Empty,
}
