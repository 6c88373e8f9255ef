//! Time as an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// An instant of a process: the time since it started. Instants of two processes cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(pub Duration);

impl Mono {
    /// Later by `by`.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// How long after `earlier`; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Now, by both clocks. The wall clock may jump: it is for what people read and for what outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock.
    pub wall: Timestamp,
    /// Monotonic clock of this process.
    pub mono: Mono,
}

/// How long from `now` until `then + after`; zero when that is past.
pub fn until(then: Timestamp, after: Duration, now: Timestamp) -> Duration {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    let left = then.duration_since(now).saturating_add(after);
    Duration::try_from(left).unwrap_or(Duration::ZERO)
}

/// `time` after `then`; the end of time when that is beyond it.
pub fn after(then: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    then.saturating_add(time).unwrap_or(Timestamp::MAX)
}

/// How long ago `then` was; zero when it is in the future.
pub fn ago(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_never_go_below_zero() {
        let t = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(until(t(100), Duration::from_secs(5), t(101)), Duration::from_secs(4));
        assert_eq!(until(t(100), Duration::from_secs(5), t(200)), Duration::ZERO);
        assert!(until(Timestamp::MAX, Duration::MAX, Timestamp::MIN).as_secs() > 0);
        assert_eq!(ago(t(200), t(100)), Duration::ZERO);
        assert_eq!(Mono(Duration::from_secs(1)).since(Mono(Duration::from_secs(2))), Duration::ZERO);
    }
}
