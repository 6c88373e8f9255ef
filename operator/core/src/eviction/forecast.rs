//! How many pods will be evicted in time: told at the notice, and graded by what came.
//!
//! At a notice [`super::course`] follows what may go and what that frees, with the [`typical`] start time: the many rounds
//! until a deadline take as long as starts do on the average. Before any notice, where nobody knows how many will come,
//! [`saved`] is careful: a budget that allows k evictions lets the next k go when replacements are ready, so by the
//! deadline `k × (1 + floor((time left − margin) / start time))` pods have gone, where the start time is the 90th
//! percentile of the last [`Starts::KEPT`] starts.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::BudgetRef;
use super::grace::MARGIN;

/// The last start times of a workload: from the creation of a pod until it was ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starts(VecDeque<Duration>);

impl Starts {
    /// How many are kept.
    pub const KEPT: usize = 20;
    /// With fewer nothing can be said.
    pub const ENOUGH: usize = 3;
    /// Longer ones are none: the pod was ready before, and became so again.
    pub const LONGEST: Duration = Duration::from_mins(30);

    /// One more.
    pub fn add(&mut self, start: Duration) {
        if start > Self::LONGEST {
            return;
        }
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(start);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The 90th percentile (nearest rank), `None` below [`ENOUGH`](Self::ENOUGH).
    pub fn p90(&self) -> Option<Duration> {
        p90(self.0.iter().copied().collect())
    }

    /// The samples, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Duration> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Duration> for Starts {
    fn from_iter<T: IntoIterator<Item = Duration>>(iter: T) -> Self {
        let mut starts = Self::default();
        iter.into_iter().for_each(|start| starts.add(start));
        starts
    }
}

/// The 90th percentile (nearest rank) of start times, `None` for fewer than [`Starts::ENOUGH`].
pub fn p90(mut starts: Vec<Duration>) -> Option<Duration> {
    if starts.len() < Starts::ENOUGH {
        return None;
    }
    starts.sort_unstable();
    let rank = (starts.len() * 9).div_ceil(10);
    starts.get(rank.saturating_sub(1)).copied()
}

/// The mean of start times without the shortest and the longest tenth, `None` for fewer than [`Starts::ENOUGH`]. They are
/// differences of whole seconds, which a mean of several makes good.
pub fn typical(mut starts: Vec<Duration>) -> Option<Duration> {
    if starts.len() < Starts::ENOUGH {
        return None;
    }
    starts.sort_unstable();
    let tail = starts.len() / 10;
    let middle = starts.get(tail..starts.len() - tail)?;
    let sum: Duration = middle.iter().fold(Duration::ZERO, |sum, start| sum.saturating_add(*start));
    Some(sum / u32::try_from(middle.len()).ok()?)
}

/// How many of `noticed` pods behind one budget that allows `allowed` now are evicted while `left` remains, when a
/// replacement takes `start`. `None` when that cannot be said: a start time is needed and not known.
pub fn saved(noticed: usize, allowed: usize, left: Duration, start: Option<Duration>) -> Option<usize> {
    if allowed == 0 {
        return Some(0);
    }
    if noticed <= allowed {
        return Some(noticed);
    }
    let time = left.saturating_sub(MARGIN).as_millis();
    let rounds = time / start?.as_millis().max(1);
    let rounds = usize::try_from(rounds).unwrap_or(usize::MAX);
    Some(allowed.saturating_mul(rounds.saturating_add(1)).min(noticed))
}

/// What will become of the pods of one batch of notices behind one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The budget; `None` for pods of a namespace that no budget selects.
    pub budget: Option<BudgetRef>,
    /// Their namespace.
    pub namespace: std::sync::Arc<str>,
    /// How many pods have a notice.
    pub noticed: usize,
    /// How many of them will be told to end [`MARGIN`] before their deadline; `None` when that cannot be said.
    pub saved: Option<usize>,
    /// What the budget allowed.
    pub allowed: usize,
    /// The start time that was reckoned with, when one is known.
    pub start: Option<Duration>,
    /// When it was made.
    pub at: Timestamp,
}

/// A forecast against what came, when the last pod of the batch has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grade {
    /// The forecast.
    pub forecast: Forecast,
    /// How many were told to end [`MARGIN`] before their deadline.
    pub saved: usize,
}

impl Grade {
    /// How far the forecast was off, in thousandths of the pods with a notice; `None` when it said nothing.
    pub fn error_permille(&self) -> Option<u64> {
        let told = self.forecast.saved?;
        let off = u64::try_from(told.abs_diff(self.saved)).unwrap_or(u64::MAX);
        let of = u64::try_from(self.forecast.noticed.max(1)).unwrap_or(u64::MAX);
        Some(off.saturating_mul(1_000) / of)
    }
}
