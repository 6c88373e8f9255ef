//! What the operator said, and when anybody could read it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use eci_core::eviction::why::Why;
use futures::StreamExt as _;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinSet;

use crate::testbed::{ControlPlane, Stopwatch};

/// Who reads, to the API server.
const USER: &str = "eci-bench:reader";
/// Who speaks.
const OPERATOR: &str = "eci-operator";
/// The reason of a forecast.
const FORECAST: &str = "EvictionForecast";
/// A forecast that comes later has come too late.
const FORECAST_LIMIT: Duration = Duration::from_secs(5);

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    /// When it was seen.
    at: Duration,
    reason: String,
    note: String,
}

/// A reader of events. Dropping it ends it.
pub(super) struct Words {
    clock: Stopwatch,
    begun: Duration,
    heard: Arc<Mutex<Vec<Word>>>,
    exhausted: Arc<Mutex<Exhausted>>,
    _task: JoinSet<()>,
}

/// What budgets allowed.
#[derive(Debug, Default)]
struct Exhausted {
    /// Those that were last seen to allow nothing.
    now: BTreeSet<String>,
    /// When one was first seen to allow nothing, since the first notices if they were given.
    at: Option<Duration>,
}

impl Words {
    /// Starts to read the events of a namespace.
    pub(super) async fn start(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let api: Api<Event> = Api::namespaced(plane.client_for_user(USER).await?, namespace);
        let clock = Stopwatch::start();
        let budgets: Api<PodDisruptionBudget> =
            Api::namespaced(plane.client_for_user(USER).await?, namespace);
        let (heard, exhausted) = (Arc::default(), Arc::default());
        let mut task = JoinSet::new();
        task.spawn(listen(api, clock, Arc::clone(&heard)));
        task.spawn(look(budgets, clock, Arc::clone(&exhausted)));
        Ok(Self { clock, begun: Duration::ZERO, heard, exhausted, _task: task })
    }

    /// The first notices are given now.
    pub(super) fn begin(&mut self) {
        self.begun = self.clock.elapsed();
        let mut exhausted = self.exhausted.lock().unwrap_or_else(PoisonError::into_inner);
        exhausted.at = (!exhausted.now.is_empty()).then_some(self.begun);
    }

    fn since_the_begin(&self) -> Vec<Word> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let words = heard.iter().filter(|word| word.at >= self.begun);
        words.map(|word| Word { at: word.at.saturating_sub(self.begun), ..word.clone() }).collect()
    }

    /// How long after the first notices it could be read what stands in the way of a pod, if it could.
    pub(super) fn why(&self) -> Option<Duration> {
        why(&self.since_the_begin())
    }

    /// The same after the first budget had nothing left, if that was between the first notices and the word: before,
    /// nothing stood in the way. An earlier word was about something else.
    pub(super) fn why_since_blocked(&self) -> Option<Duration> {
        let exhausted = self.exhausted.lock().unwrap_or_else(PoisonError::into_inner);
        let blocked = exhausted.at.map_or(Duration::ZERO, |at| at.saturating_sub(self.begun));
        let why = self.why()?;
        Some(why.checked_sub(blocked).unwrap_or(why))
    }

    /// How many of `doomed` pods would be evicted in time, as could be read 5 s after the first notices; `None` when it
    /// was not known.
    pub(super) fn forecast(&self, doomed: usize) -> Option<usize> {
        forecast(&self.since_the_begin(), doomed)
    }
}

async fn listen(api: Api<Event>, clock: Stopwatch, heard: Arc<Mutex<Vec<Word>>>) {
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        // It tries again by itself.
        let Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = event else { continue };
        if event.reporting_controller.as_deref() != Some(OPERATOR) {
            continue;
        }
        let (reason, note) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
        let word = Word { at: clock.elapsed(), reason, note };
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(word);
    }
}

async fn look(api: Api<PodDisruptionBudget>, clock: Stopwatch, exhausted: Arc<Mutex<Exhausted>>) {
    let mut budgets = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = budgets.next().await {
        let Ok(watcher::Event::Apply(budget) | watcher::Event::InitApply(budget)) = event else { continue };
        let name = budget.name_any();
        let allowed = budget.status.map_or(0, |status| status.disruptions_allowed);
        let mut exhausted = exhausted.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed > 0 {
            exhausted.now.remove(&name);
        } else if exhausted.now.insert(name) {
            exhausted.at.get_or_insert_with(|| clock.elapsed());
        }
    }
}

fn why(words: &[Word]) -> Option<Duration> {
    let blocked = |word: &&Word| {
        Why::ALL.iter().any(|reason| reason.is_blocked() && reason.as_str() == word.reason.as_str())
    };
    words.iter().find(blocked).map(|word| word.at)
}

/// Of budgets without a forecast all pods can go at once.
fn forecast(words: &[Word], doomed: usize) -> Option<usize> {
    let early = words.iter().filter(|word| word.reason == FORECAST && word.at <= FORECAST_LIMIT);
    let lost: Option<usize> = early.map(|word| not_saved(&word.note)).sum();
    Some(doomed.saturating_sub(lost?))
}

/// The number in `12 of them will be evicted in time, 28 will not.`; none in `All 40 of them will be evicted in time.`
fn not_saved(note: &str) -> Option<usize> {
    if note.ends_with("of them will be evicted in time.") {
        return Some(0);
    }
    let (_, rest) = note.split_once("of them will be evicted in time, ")?;
    rest.strip_suffix(" will not.")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(seconds: u64, reason: &str, note: &str) -> Word {
        Word { at: Duration::from_secs(seconds), reason: reason.to_owned(), note: note.to_owned() }
    }

    #[test]
    fn a_forecast_is_what_was_said_in_time_of_all_budgets() {
        let some = "The budget allows 2 disruptions now. 12 of them will be evicted in time, 28 will not.";
        let all = "The budget allows 2 disruptions now. All 10 of them will be evicted in time.";
        let unknown = "How many of them will be evicted in time depends on how long";
        assert_eq!(forecast(&[], 60), Some(60));
        assert_eq!(forecast(&[word(1, FORECAST, some), word(2, FORECAST, all)], 60), Some(32));
        assert_eq!(forecast(&[word(1, FORECAST, some), word(9, FORECAST, some)], 60), Some(32));
        assert_eq!(forecast(&[word(1, FORECAST, some), word(1, FORECAST, unknown)], 60), None);
    }

    #[test]
    fn why_is_the_first_word_of_what_stands_in_the_way() {
        let words = [
            word(1, FORECAST, ""),
            word(1, "Evicted", ""),
            word(2, "BudgetExhausted", ""),
            word(3, "NotPermitted", ""),
        ];
        assert_eq!(why(&words), Some(Duration::from_secs(2)));
        assert_eq!(why(&words[..2]), None);
    }
}
