//! What follows from the answers of the API server, and how a case ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::answer::Answer;
use super::super::budget::Said;
use super::super::forecast::Grade;
use super::super::grace;
use super::super::notice::EVENT_LIFE;
use super::super::outcome::{By, Outcome};
use super::super::why::Why;
use super::super::{Attempt, Ended, Report};
use super::state::{Case, Did, Done, Flight, Hold, Known};
use super::{At, Engine};
use crate::time::ago;

/// Wait after an answer that was lost: time for the watch to show what became of the request.
const AFTER_UNKNOWN: Duration = Duration::from_secs(2);
/// Wait while the server cannot be reached: at first, and at most.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Wait while the server is overloaded: at most.
const OVERLOAD_MOST: Duration = Duration::from_secs(10);
/// Wait before a namespace in which the operator has no permission is tried again: at first, and at most.
const FORBIDDEN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));
/// Wait after a failure of the server for one pod: at first, and at most.
const FAILED: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Wait after a refusal that only a person can change: at first, and at most.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// Wait after a conflict that has nothing to do with budgets.
const CHANGED: Duration = Duration::from_millis(500);

/// What an answer says about the pod.
enum Next {
    /// Nothing needs to be repeated.
    Did(Did),
    /// Again when there is room.
    Again,
    /// Again after a wait.
    Wait { wait: Duration, why: Why, words: String, until_change: bool },
}

fn doubled((first, most): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(most)
}

impl Engine {
    pub(super) fn answered(&mut self, attempt: Attempt, answer: Answer, at: At) {
        // An answer to what was never asked, or a second answer.
        let Some(flight) = self.flights.remove(&attempt) else { return };
        self.tell_gates(&flight, &answer, at);
        self.tell_broker(attempt, &flight, &answer, at);
        let failures = self.cases.get(&flight.uid).map_or(0, |case| case.failures);
        let next = next(answer, &flight, failures);
        self.wake(&flight.uid);
        let Some(case) = self.cases.get_mut(&flight.uid) else { return };
        let was_under_way = case.flight == Some(attempt);
        if was_under_way {
            case.flight = None;
        }
        match next {
            Next::Did(did) => {
                case.done = Some(Done { did, mono: at.mono, wall: at.wall, grace: flight.grace });
                case.hold = None;
                case.repeat = None;
                case.deleting |= did == Did::Delete;
            }
            // What a request says that was given up long ago is history, unless it did something.
            _ if !was_under_way => {}
            Next::Again => {}
            Next::Wait { wait, why, words, until_change } => {
                case.failures = case.failures.saturating_add(1);
                let until = at.mono.plus(wait);
                if flight.deletion {
                    case.delete_after = until;
                }
                case.hold = Some(Hold { until, why, words, until_change });
                let unknown = why == Why::ServerUnavailable;
                case.repeat = unknown.then_some(flight.grace);
                case.deleting |= unknown && flight.deletion;
            }
        }
    }

    /// The server as a whole, and the permission in a namespace.
    fn tell_gates(&mut self, flight: &Flight, answer: &Answer, at: At) {
        let place = (Arc::clone(&flight.namespace), flight.deletion);
        let before = (self.server, self.server_why, self.forbidden.get(&place).copied());
        match answer {
            Answer::Overloaded(wait) => {
                self.server.shut(at.mono, *wait, OVERLOAD_MOST);
                self.server_why = Why::ServerOverloaded;
            }
            Answer::NotSent => {
                self.server.shut(at.mono, OUTAGE.0, OUTAGE.1);
                self.server_why = Why::ServerUnavailable;
            }
            Answer::Unknown => {}
            _ => self.server.open(),
        }
        match answer {
            Answer::NotPermitted(_) => {
                self.forbidden.entry(place.clone()).or_default().shut(at.mono, FORBIDDEN.0, FORBIDDEN.1);
            }
            Answer::Overloaded(_) | Answer::NotSent | Answer::Unknown | Answer::ServerFailed(_) => {}
            _ => {
                self.forbidden.remove(&place);
            }
        }
        // What holds back everybody concerns those who sleep as well.
        if before != (self.server, self.server_why, self.forbidden.get(&place).copied()) {
            self.rouse();
        }
    }

    fn tell_broker(&mut self, attempt: Attempt, flight: &Flight, answer: &Answer, at: At) {
        let Some((id, broker)) = flight.broker.as_ref().and_then(|id| Some((id, self.brokers.get_mut(id)?)))
        else {
            return;
        };
        self.touched.insert(id.clone());
        match answer {
            Answer::Accepted => broker.accepted(attempt, at.mono, at.mono.since(flight.sent)),
            Answer::Unknown | Answer::PodChanged => broker.settle(attempt, at.mono),
            Answer::ServerFailed(_) => broker.failed(attempt, at.mono),
            Answer::StaleUid => broker.went_stale(attempt, at.mono, &flight.name),
            Answer::BudgetExhausted(_) => broker.refused(attempt, at.mono, Said::Nothing),
            Answer::BudgetNotProcessed => broker.refused(attempt, at.mono, Said::NotProcessed),
            Answer::BudgetContended => broker.refused(attempt, at.mono, Said::Contended),
            Answer::BudgetFull | Answer::BudgetNegative => broker.refused(attempt, at.mono, Said::Overrun),
            _ => broker.release(attempt),
        }
    }

    /// What becomes true by the passing of time.
    pub(super) fn expire(&mut self, at: At) {
        let limit = self.settings.answer_limit;
        let lost =
            self.flights.iter().filter(|(_, flight)| !flight.given_up && at.mono.since(flight.sent) >= limit);
        let lost: Vec<Attempt> = lost.map(|(attempt, _)| *attempt).collect();
        for attempt in lost {
            let Some(flight) = self.flights.get(&attempt).cloned() else { continue };
            self.answered(attempt, Answer::Unknown, at);
            self.flights.insert(attempt, Flight { given_up: true, ..flight });
        }
        self.hearsay.retain(|_, (_, _, since)| at.mono.since(*since) < EVENT_LIFE);
        let cases = &self.cases;
        self.flights.retain(|_, flight| !flight.given_up || cases.contains_key(&flight.uid));
    }

    /// Ends the case of a pod that is gone, has ended, or whose notice does not count any more.
    pub(super) fn close(&mut self, uid: &Arc<str>, withdrawn: Option<Outcome>, at: At) {
        let Some(known) = self.pods.get(uid) else { return };
        // Whoever is being deleted ends that way, even if the notice is taken back.
        let leaving = known.pod.deletion.is_some() && !known.pod.phase.is_terminal();
        if withdrawn.is_some() && leaving {
            return;
        }
        let namespace = Arc::clone(&known.pod.id.namespace);
        let Some(case) = self.forget(uid, &namespace) else { return };
        let Some(known) = self.pods.get(uid) else { return };
        let (told, by) = told(known, &case);
        let outcome = withdrawn.unwrap_or_else(|| outcome(known, &case));
        let lead = known.pod.bid_failed.then(|| ago(case.notice.given, at.wall));
        let slack = told.map(|told| case.notice.deadline.duration_since(told));
        let saved = matches!(outcome, Outcome::Graceful | Outcome::Late) && slack.is_some_and(is_in_time);
        let (pod, profile) = (known.pod.id.clone(), known.pod.profile.clone());
        let Case { notice, attempts, batch, budgets, .. } = case;
        let budget = budgets.into_iter().next();
        self.report(Report::Ended(Ended {
            pod,
            profile,
            budget,
            outcome,
            by,
            notice,
            slack,
            lead,
            attempts,
        }));
        let Some(key) = batch else { return };
        let Some(batch) = self.batches.get_mut(&key) else { return };
        batch.open = batch.open.saturating_sub(1);
        batch.saved += usize::from(saved);
        if batch.open == 0 && batch.forecast.is_some() {
            let saved = batch.saved;
            let forecast = self.batches.remove(&key).and_then(|batch| batch.forecast);
            if let Some(forecast) = forecast {
                self.report(Report::Graded(Grade { forecast, saved }));
            }
        }
    }
}

/// Whether whoever was told to end so long before its deadline counts as saved.
pub(super) fn is_in_time(slack: SignedDuration) -> bool {
    slack.as_millis() >= i128::from(grace::millis(grace::MARGIN))
}

/// When the pod was told to end, and by whom.
pub(super) fn told(known: &Known, case: &Case) -> (Option<Timestamp>, By) {
    let granted = case.done.filter(|done| matches!(done.did, Did::Evict | Did::Delete));
    match (granted, known.deletion) {
        (Some(done), _) => (Some(done.wall), By::Us),
        (None, Some(deletion)) => {
            let ours = case.repeat.is_some() || case.flight.is_some();
            (Some(deletion.begun()), if ours { By::Us } else { By::Others })
        }
        (None, None) => (None, By::Nobody),
    }
}

fn outcome(known: &Known, case: &Case) -> Outcome {
    let pod = &known.pod;
    let evicted = case.done.filter(|done| done.did == Did::Evict);
    let deleted = case.done.is_some_and(|done| done.did == Did::Delete);
    if deleted || (case.deleting && known.deletion.is_some()) {
        return Outcome::Forced;
    }
    let seen = known.deletion.map(|deletion| deletion.grace);
    match seen.max(evicted.map(|done| i64::from(done.grace))) {
        // A release in the middle cuts any grace period short.
        Some(grace) if grace >= grace::of(pod) && !pod.bid_failed => Outcome::Graceful,
        Some(_) => Outcome::Late,
        None if pod.bid_failed => Outcome::HardKilled,
        None if pod.phase.is_terminal() => Outcome::Ended,
        None => Outcome::Vanished,
    }
}

fn next(answer: Answer, flight: &Flight, failures: u32) -> Next {
    let wait = |wait, why, words| Next::Wait { wait, why, words, until_change: false };
    match answer {
        Answer::Accepted if flight.deletion => Next::Did(Did::Delete),
        Answer::Accepted => Next::Did(Did::Evict),
        Answer::Gone => Next::Did(Did::Nothing),
        Answer::StaleUid => Next::Did(Did::Stale),
        // A pod that costs no budget can be refused, too: it became ready while it was judged.
        Answer::BudgetExhausted(words) if flight.broker.is_none() => {
            Next::Wait { wait: AFTER_UNKNOWN, why: Why::BudgetExhausted, words, until_change: true }
        }
        Answer::BudgetNotProcessed if flight.broker.is_none() => Next::Wait {
            wait: CHANGED,
            why: Why::BudgetNotProcessed,
            words: String::new(),
            until_change: true,
        },
        // The broker, the gate of the server or that of the namespace waits, not the pod.
        Answer::BudgetExhausted(_)
        | Answer::BudgetNotProcessed
        | Answer::BudgetFull
        | Answer::BudgetNegative
        | Answer::BudgetContended
            if flight.broker.is_some() =>
        {
            Next::Again
        }
        Answer::Overloaded(_) | Answer::NotSent | Answer::NotPermitted(_) => Next::Again,
        Answer::BudgetContended | Answer::PodChanged => wait(CHANGED, Why::BudgetContended, String::new()),
        Answer::BudgetExhausted(words) => wait(AFTER_UNKNOWN, Why::BudgetExhausted, words),
        Answer::BudgetNotProcessed => wait(AFTER_UNKNOWN, Why::BudgetNotProcessed, String::new()),
        Answer::BudgetFull | Answer::BudgetNegative => wait(AFTER_UNKNOWN, Why::BudgetOverrun, String::new()),
        Answer::SeveralBudgets => wait(doubled(REFUSED, failures), Why::SeveralBudgets, String::new()),
        Answer::WebhookRefused(words) => wait(doubled(REFUSED, failures), Why::WebhookRefused, words),
        Answer::NamespaceTerminating => {
            wait(doubled(REFUSED, failures), Why::NamespaceTerminating, String::new())
        }
        Answer::Invalid(words) => wait(doubled(REFUSED, failures), Why::RequestRefused, words),
        Answer::ServerFailed(words) => wait(doubled(FAILED, failures), Why::ServerUnavailable, words),
        Answer::Unknown => wait(
            doubled((AFTER_UNKNOWN, FAILED.1), failures),
            Why::ServerUnavailable,
            "the answer was lost".to_owned(),
        ),
    }
}
