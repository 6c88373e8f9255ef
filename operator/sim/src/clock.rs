//! The one place that reads the machine's clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Where the simulator's time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine.
    System,
    /// Set by hand; whoever sleeps on it moves it. For tests with one caller at a time.
    Manual(Arc<Mutex<Timestamp>>),
    /// The runtime's time, which tests can stop: it was this when.
    Runtime(Timestamp, tokio::time::Instant),
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(Mutex::new(start)))
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => read_system_clock(),
            Self::Manual(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
            Self::Runtime(then, at) => later(*then, at.elapsed()),
        }
    }

    /// Moves a manual clock forward; the others go by themselves.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(at) = self {
            let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
            *at = later(*at, by);
        }
    }

    /// Waits; on a manual clock, by moving it.
    pub async fn sleep(&self, time: Duration) {
        match self {
            Self::System | Self::Runtime(..) if !time.is_zero() => tokio::time::sleep(time).await,
            Self::System | Self::Runtime(..) => {}
            Self::Manual(_) => self.advance(time),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the simulator")]
fn read_system_clock() -> Timestamp {
    Timestamp::now()
}

/// `by` after `at`, at most the end of time.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// `ms` milliseconds after `at`, at most the end of time.
pub(crate) fn later_ms(at: Timestamp, ms: u64) -> Timestamp {
    later(at, Duration::from_millis(ms))
}
