//! What became of doomed pods, in numbers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::{Breach, Ledger};
use crate::vendor::PodRef;

/// What became of the pods that were announced. Times are since [`Ledger::begin`].
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Doomed pods that got a deletionTimestamp before their instance was released: when each did, in order.
    pub evicted: Vec<Duration>,
    /// Doomed pods that the vendor killed: BidFailed without a deletionTimestamp before.
    pub lost: Vec<PodRef>,
    /// Doomed pods of which neither is true.
    pub untouched: Vec<PodRef>,
    /// Pods that were not doomed and were terminated.
    pub wrong: Vec<PodRef>,
    /// Healthy pods that were terminated below a floor.
    pub breaches: Vec<Breach>,
    /// The least that any budget had left above its floor; negative when something broke it, a release included.
    pub slack: Option<i32>,
}

/// The parts of a verdict that are figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Doomed pods.
    pub doomed: usize,
    /// Evicted in time.
    pub evicted: usize,
    /// Killed by the vendor.
    pub lost: usize,
    /// Neither.
    pub untouched: usize,
    /// Not doomed and terminated.
    pub wrong: usize,
    /// Terminated below a floor.
    pub below_floor: usize,
    /// When the last eviction was seen, seconds.
    pub last_seconds: Option<f64>,
}

impl Verdict {
    /// Of what was seen of these pods since the begin.
    pub fn of(ledger: &Ledger, doomed: &[PodRef]) -> Self {
        let begun = ledger.begun();
        let mut verdict = Self { breaches: ledger.breaches().to_vec(), ..Self::default() };
        for pod in doomed {
            let Some(seen) = ledger.seen(&pod.uid) else {
                verdict.untouched.push(pod.clone());
                continue;
            };
            match (seen.terminating_at, seen.released_at) {
                (Some(evicted), released) if released.is_none_or(|released| evicted <= released) => {
                    verdict.evicted.push(evicted.saturating_sub(begun));
                }
                (_, Some(_)) => verdict.lost.push(pod.clone()),
                (_, None) => verdict.untouched.push(pod.clone()),
            }
        }
        let uids: BTreeSet<&str> = doomed.iter().map(|pod| pod.uid.as_str()).collect();
        let wrong = ledger.pods().filter(|seen| {
            seen.terminating_at.is_some_and(|at| at >= begun) && !uids.contains(seen.pod.uid.as_str())
        });
        verdict.wrong = wrong.map(|seen| seen.pod.clone()).collect();
        verdict.slack = ledger.budgets().map(|(_, floor)| floor.least - floor.desired).min();
        verdict.evicted.sort_unstable();
        verdict
    }

    /// How many were evicted before an instant since the begin.
    pub fn evicted_by(&self, limit: Duration) -> usize {
        self.evicted.iter().filter(|at| **at <= limit).count()
    }

    /// In numbers.
    pub fn figures(&self) -> Figures {
        Figures {
            doomed: self.evicted.len() + self.lost.len() + self.untouched.len(),
            evicted: self.evicted.len(),
            lost: self.lost.len(),
            untouched: self.untouched.len(),
            wrong: self.wrong.len(),
            below_floor: self.breaches.len(),
            last_seconds: self.evicted.last().map(Duration::as_secs_f64),
        }
    }
}

/// The nearest-rank percentile of sorted times.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}
