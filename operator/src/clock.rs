//! The clocks: the only place of the operator that reads them.

use std::time::Duration;

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

    /// Resolves at that moment, or in a millisecond when it is over; never when there is none.
    pub async fn until(&self, moment: Option<Mono>) {
        match moment {
            Some(moment) => {
                let wait = moment.since(self.now().mono).max(Duration::from_millis(1));
                tokio::time::sleep(wait).await;
            }
            None => std::future::pending().await,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the operator")]
fn machine() -> Timestamp {
    Timestamp::now()
}
