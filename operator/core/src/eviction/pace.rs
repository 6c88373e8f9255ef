//! How many requests a second, whatever the storm.

use std::time::Duration;

use crate::time::Mono;

/// A token bucket in thousandths of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    per_second: u64,
    burst: u64,
    level: u64,
    at: Mono,
}

/// One request.
const ONE: u64 = 1_000;

impl Bucket {
    /// A full bucket: `per_second` requests a second (at least 1), up to `burst` at once (at least 1).
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let (per_second, burst) = (u64::from(per_second.max(1)), u64::from(burst.max(1)) * ONE);
        Self { per_second, burst, level: burst, at: Mono::default() }
    }

    /// Lets it fill until `now`.
    pub(super) fn fill(&mut self, now: Mono) {
        let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            // What is less than a millisecond is kept for the next time.
            self.level = self.level.saturating_add(millis.saturating_mul(self.per_second)).min(self.burst);
            self.at = self.at.plus(Duration::from_millis(millis));
        }
    }

    /// Takes one request out of it, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let enough = self.level >= ONE;
        if enough {
            self.level -= ONE;
        }
        enough
    }

    /// When there is one.
    pub(super) fn ready(&self) -> Mono {
        let missing = ONE.saturating_sub(self.level);
        self.at.plus(Duration::from_millis(missing.div_ceil(self.per_second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_its_burst_and_then_its_rate() {
        let at = |ms| Mono(Duration::from_millis(ms));
        let mut bucket = Bucket::new(10, 3);
        bucket.fill(at(5_000));
        assert_eq!((0..5).filter(|_| bucket.take()).count(), 3);
        assert_eq!(bucket.ready(), at(5_100));
        bucket.fill(at(5_099));
        assert!(!bucket.take());
        bucket.fill(bucket.ready());
        assert!(bucket.take() && !bucket.take());
        bucket.fill(at(3_600_000));
        assert_eq!((0..9).filter(|_| bucket.take()).count(), 3);
    }

    #[test]
    fn fractions_are_not_lost() {
        let mut bucket = Bucket::new(100, 1);
        let mut taken = 0;
        for micros in (0..1_000_000).step_by(700) {
            bucket.fill(Mono(Duration::from_micros(micros)));
            taken += u32::from(bucket.take());
        }
        assert!((99..=101).contains(&taken), "{taken}");
    }
}
