//! The clocks: the only place of the operator that reads them.

use eci_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The clocks of this process. Copies agree on the instant that monotonic times count from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// What the wall clock showed when; `None` is the machine's.
    wall: Option<(Timestamp, Instant)>,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { start: Instant::now(), wall: None }
    }

    /// Starts counting; the wall clock, which showed `wall` at `at`, follows the runtime's time, which tests can stop.
    pub fn start_in_runtime(wall: Timestamp, at: Instant) -> Self {
        Self { start: Instant::now(), wall: Some((wall, at)) }
    }

    /// Now, by both clocks.
    pub fn now(&self) -> Now {
        let wall = self.wall.map_or_else(machine, |(wall, at)| {
            let since = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
            wall.saturating_add(since).unwrap_or(Timestamp::MAX)
        });
        Now { wall, mono: Mono(self.start.elapsed()) }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the operator")]
fn machine() -> Timestamp {
    Timestamp::now()
}
