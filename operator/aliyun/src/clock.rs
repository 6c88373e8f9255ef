//! The two things that a client takes from its surroundings: time and randomness.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A clock.
pub trait Clock: Send + Sync + 'static {
    /// Time of day: what requests are stamped with.
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The clock of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// No random number could be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no random number for the request: {0}")]
pub struct NoRandomness(String);

/// Where nonces come from. The cloud takes each only once.
pub trait Nonces: Send + Sync + 'static {
    /// A text that has never been given before.
    fn next(&self) -> Result<String, NoRandomness>;
}

/// 32 hexadecimal digits from the system's random generator, as the vendor's libraries send.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNonces;

impl Nonces for SystemNonces {
    fn next(&self) -> Result<String, NoRandomness> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
        Ok(hex::encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ_and_have_32_digits() {
        let (a, b) = (SystemNonces.next().unwrap(), SystemNonces.next().unwrap());
        assert_ne!(a, b);
        assert!(a.len() == 32 && a.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
