//! How often an action may be called: arithmetic on a monotonic clock, nothing else.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::action::Action;

/// Longest gap between two calls that throttling can lead to.
pub const SLOWEST: Duration = Duration::from_secs(8);

/// Longest pause that the cloud can impose.
pub const LONGEST_HOLD: Duration = Duration::from_mins(10);

/// Steady rate and burst of one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Least gap between calls in the long run.
    pub interval: Duration,
    /// Calls that may come at once after a quiet time, at least 1.
    pub burst: u32,
}

impl Rate {
    /// Reads: 5 per second, bursts of 10. The vendor publishes no limits, so this is low on purpose.
    pub const READS: Self = Self { interval: Duration::from_millis(200), burst: 10 };
    /// Writes: 2 per second, bursts of 5.
    pub const WRITES: Self = Self { interval: Duration::from_millis(500), burst: 5 };

    /// So many writes per second, in bursts of a second's worth or of 5, whichever is more.
    pub fn of_writes(per_second: NonZeroU16) -> Self {
        let burst = Self::WRITES.burst.max(per_second.get().into());
        Self { interval: Duration::from_secs(1) / u32::from(per_second.get()), burst }
    }
}

/// The pace of one action: a token bucket whose rate is halved by throttling and rises slowly with successes.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: Rate,
    interval: Duration,
    /// When the bucket will be full, if nothing else is taken from it.
    full_at: Duration,
}

impl Pace {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, interval: rate.interval, full_at: Duration::ZERO }
    }

    /// Takes a turn: how long to wait for it. `Err` is how long it would be, when that is more than `longest`; then no
    /// turn is taken.
    pub fn take(&mut self, now: Duration, longest: Duration) -> Result<Duration, Duration> {
        let full_at = self.full_at.max(now);
        let wait = full_at.saturating_sub(self.tolerance()).saturating_sub(now);
        if wait > longest {
            return Err(wait);
        }
        self.full_at = full_at.saturating_add(self.interval);
        Ok(wait)
    }

    /// The cloud took a call: the gap shrinks by a sixteenth, down to the configured one.
    pub fn succeeded(&mut self) {
        self.interval = self.rate.interval.max((self.interval / 16).saturating_mul(15));
    }

    /// The cloud wants fewer calls: the gap doubles, the burst is gone, and nothing is sent for as long as the cloud
    /// asks.
    pub fn throttled(&mut self, now: Duration, retry_after: Option<Duration>) {
        let slowest = SLOWEST.max(self.rate.interval);
        self.interval = self.interval.saturating_mul(2).clamp(Duration::from_millis(1), slowest);
        let hold = retry_after.unwrap_or(self.interval).min(LONGEST_HOLD);
        self.full_at = self.full_at.max(now.saturating_add(hold).saturating_add(self.tolerance()));
    }

    /// How far behind a full bucket calls still go out at once.
    fn tolerance(&self) -> Duration {
        self.interval.saturating_mul(self.rate.burst.saturating_sub(1))
    }
}

/// How long calls of each action have waited for their turn since the client was made. Copies agree.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<[AtomicU64; Action::ALL.len()]>);

impl Waits {
    pub(crate) fn add(&self, action: Action, wait: Duration) {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.0[action as usize].fetch_add(micros, Ordering::Relaxed);
    }

    /// Each action with its sum.
    pub fn each(&self) -> Vec<(&'static str, Duration)> {
        let sum = |action: Action| Duration::from_micros(self.0[action as usize].load(Ordering::Relaxed));
        Action::ALL.into_iter().map(|action| (action.name(), sum(action))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(20);
    const RATE: Rate = Rate { interval: Duration::from_millis(500), burst: 3 };

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_burst_goes_out_at_once_and_then_the_rate_holds() {
        let mut pace = Pace::new(RATE);
        let now = millis(10_000);
        let waits: Vec<_> = (0..5).map(|_| pace.take(now, LONGEST).unwrap()).collect();
        assert_eq!(waits, [millis(0), millis(0), millis(0), millis(500), millis(1_000)]);
    }

    #[test]
    fn a_rate_of_writes_is_so_many_a_second_and_the_default_is_two() {
        assert_eq!(Rate::of_writes(NonZeroU16::new(2).unwrap()), Rate::WRITES);
        let many = Rate::of_writes(NonZeroU16::new(50).unwrap());
        assert_eq!(many, Rate { interval: millis(20), burst: 50 });
    }

    #[test]
    fn waits_add_up_for_each_action_on_its_own() {
        let waits = Waits::default();
        waits.clone().add(Action::CreateImageCache, millis(1_500));
        waits.add(Action::CreateImageCache, millis(250));
        let sum = |name| waits.each().into_iter().find(|(action, _)| *action == name).unwrap().1;
        assert_eq!((sum("CreateImageCache"), sum("DeleteImageCache")), (millis(1_750), millis(0)));
    }

    #[test]
    fn a_quiet_time_fills_the_bucket_but_not_beyond_its_burst() {
        let mut pace = Pace::new(RATE);
        for _ in 0..3 {
            pace.take(millis(1_000), LONGEST).unwrap();
        }
        let later = millis(100_000);
        assert_eq!((0..4).filter(|_| pace.take(later, LONGEST) == Ok(Duration::ZERO)).count(), 3);
    }

    #[test]
    fn throttling_halves_the_rate_and_successes_bring_it_back_slowly() {
        let mut pace = Pace::new(RATE);
        pace.throttled(millis(0), None);
        assert_eq!(pace.interval, millis(1_000));
        assert_eq!(pace.take(millis(0), LONGEST), Ok(millis(1_000)), "no burst after throttling");
        pace.succeeded();
        assert!(pace.interval > millis(900));
        for _ in 0..20 {
            pace.succeeded();
        }
        assert_eq!(pace.interval, RATE.interval);
    }

    #[test]
    fn the_rate_never_falls_below_its_floor() {
        let mut pace = Pace::new(RATE);
        for _ in 0..100 {
            pace.throttled(millis(0), None);
        }
        assert_eq!(pace.interval, SLOWEST);
    }

    #[test]
    fn a_pause_that_the_cloud_asks_for_is_kept_up_to_a_bound() {
        let mut pace = Pace::new(RATE);
        pace.throttled(millis(0), Some(millis(5_000)));
        assert_eq!(pace.take(millis(0), LONGEST), Ok(millis(5_000)));
        pace.throttled(millis(0), Some(Duration::MAX));
        assert_eq!(pace.take(millis(0), LONGEST), Err(LONGEST_HOLD));
    }

    #[test]
    fn a_refused_turn_costs_nothing() {
        let mut pace = Pace::new(RATE);
        pace.throttled(millis(0), Some(Duration::from_mins(1)));
        for _ in 0..100 {
            assert!(pace.take(millis(0), LONGEST).is_err());
        }
        assert_eq!(pace.take(Duration::from_mins(1), LONGEST), Ok(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn no_history_exceeds_burst_and_rate(steps in prop::collection::vec((0_u64..3_000, any::<bool>()), 1..60)) {
            let mut pace = Pace::new(RATE);
            let mut now = millis(1_000);
            let mut sent = Vec::new();
            for (pause, throttled) in steps {
                now += millis(pause);
                if throttled { pace.throttled(now, None) } else { pace.succeeded() }
                if let Ok(wait) = pace.take(now, LONGEST) {
                    prop_assert!(wait <= LONGEST);
                    sent.push(now + wait);
                }
            }
            sent.sort();
            for (index, first) in sent.iter().enumerate() {
                let within = sent[index..].iter().filter(|t| **t < *first + RATE.interval).count();
                prop_assert!(within <= RATE.burst as usize + 1, "{within} calls within one interval");
            }
        }
    }
}
