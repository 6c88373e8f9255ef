//! The clocks: the only place of the operator that reads them.

use std::time::Instant;

use eci_core::time::{Mono, Now};
use jiff::Timestamp;

/// The clocks of this process. Copies agree on the instant that monotonic times count from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "the clock of the operator")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Now, by both clocks.
    #[expect(clippy::disallowed_methods, reason = "the clock of the operator")]
    pub fn now(&self) -> Now {
        Now { wall: Timestamp::now(), mono: Mono(self.start.elapsed()) }
    }
}
