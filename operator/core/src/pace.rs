//! How long to wait: arithmetic, no clocks.

use std::time::Duration;

use crate::cloud::Meaning;

/// Waits between the builds of one generation that fail: after the first, second and third failure.
pub const BUILD_RETRIES: [Duration; 3] =
    [Duration::from_mins(5), Duration::from_mins(30), Duration::from_hours(2)];

/// How long to wait after the `count`th failure in a row (from 1) of a call that failed for this reason.
pub fn back_off(meaning: Meaning, count: u32) -> Duration {
    let (first, most) = match meaning {
        Meaning::NotSent | Meaning::Unknown | Meaning::Throttled | Meaning::Busy => (1, 60),
        Meaning::NoCredentials
        | Meaning::BadCredentials
        | Meaning::ClockSkew
        | Meaning::Denied
        | Meaning::AccountRestricted => (15, 120),
        Meaning::QuotaExceeded | Meaning::NoStock | Meaning::NoAddress | Meaning::Arrears => (60, 600),
        Meaning::TokenMismatch | Meaning::NotFound | Meaning::Invalid => (300, 1_800),
    };
    let doublings = count.saturating_sub(1).min(16);
    Duration::from_secs((first << doublings).min(most))
}

/// `wait`, moved by up to a tenth in either direction, always the same for the same `key`: objects that failed together
/// do not come back together.
pub fn spread(wait: Duration, key: &str) -> Duration {
    // FNV-1a: stable across processes and versions, unlike the standard library's hasher.
    let hash =
        key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let tenth = wait / 10;
    let share = u32::try_from(hash % 201).unwrap_or(100);
    wait.saturating_sub(tenth).saturating_add(tenth * share / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stop_growing() {
        let seconds = |n| back_off(Meaning::Throttled, n).as_secs();
        assert_eq!([1, 2, 3, 7, 100, u32::MAX].map(seconds), [1, 2, 4, 60, 60, 60]);
    }

    #[test]
    fn spread_stays_within_a_tenth_and_differs_between_keys() {
        let wait = Duration::from_secs(100);
        let all: Vec<_> = (0..50).map(|n| spread(wait, &format!("uid-{n}"))).collect();
        assert!(all.iter().all(|d| (90..=110).contains(&d.as_secs())));
        assert!(all.iter().collect::<std::collections::BTreeSet<_>>().len() > 25);
        assert_eq!(spread(Duration::ZERO, "x"), Duration::ZERO);
    }
}
