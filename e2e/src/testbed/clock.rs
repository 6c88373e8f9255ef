use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Elapsed time, for progress lines and measurements. Beside [`wall_clock`] the one reader of a clock in the test bed.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// It runs.
    #[expect(clippy::disallowed_methods, reason = "tests and benchmarks are about real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since its start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// What actors beside the operator write into objects: they have clocks of their own.
#[expect(clippy::disallowed_methods, reason = "actors of the test bed have the machine's clock")]
pub fn wall_clock() -> Timestamp {
    Timestamp::now()
}
