//! Grace periods and the moments that follow from them. Instants are milliseconds on the clock of the process and may
//! lie before its start.

use std::time::Duration;

use super::Pod;

/// What is left between the end of a grace period and the deadline, which is only "about" three minutes.
pub const MARGIN: Duration = Duration::from_secs(5);
/// What a pod that nothing replaces gets in addition.
pub const BARE_MARGIN: Duration = Duration::from_secs(10);
/// Longest grace period after the deadline: the instance may go at any moment.
pub const PAST_DEADLINE: i64 = 30;
/// Longest grace period that is counted: a week. Longer ones are no different when minutes count.
const LONGEST: i64 = 7 * 86_400;

/// A point on the clock of the process, in milliseconds.
pub type Millis = i64;

/// `duration` in milliseconds.
pub fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// The grace period of `pod` in seconds, within sane bounds.
pub fn of(pod: &Pod) -> i64 {
    pod.grace.clamp(0, LONGEST)
}

/// `gracePeriodSeconds` of a request sent at `now` for a pod with this grace period whose instance goes at `due`: its
/// own, as far as there is time for it; after the deadline at most [`PAST_DEADLINE`]; never 0, for 0 means "kill".
pub fn clamp(own: i64, due: Millis, now: Millis) -> u32 {
    let own = own.clamp(0, LONGEST);
    let left = due.saturating_sub(now);
    let most = if left > 0 { left.saturating_sub(millis(MARGIN)).div_euclid(1_000) } else { PAST_DEADLINE };
    u32::try_from(own.min(most).max(1)).unwrap_or(1)
}

/// The last moment at which a pod with this grace period can be told to end and have all of it.
pub fn latest_start(own: i64, due: Millis) -> Millis {
    due.saturating_sub(own.clamp(0, LONGEST) * 1_000).saturating_sub(millis(MARGIN))
}

/// When a pod that nothing replaces is told to end: it may run until then.
pub fn bare_start(own: i64, due: Millis) -> Millis {
    due.saturating_sub(own.clamp(0, LONGEST) * 1_000).saturating_sub(millis(BARE_MARGIN))
}

/// When a pod with `onDeadline: Delete` is deleted if its budget has not let it go: in time for its grace period, but
/// not before half of the notice is over, so that budgets have their chance whatever the grace period is.
pub fn delete_start(own: i64, due: Millis, length: Duration) -> Millis {
    latest_start(own, due).max(due.saturating_sub(millis(length) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_fits_into_what_is_left_and_is_never_zero() {
        for (own, left_ms, expected) in [
            (30, 180_000, 30),
            (30, 35_000, 30),
            (30, 34_999, 29),
            (30, 6_000, 1),
            (30, 5_000, 1),
            (30, 1, 1),
            (30, 0, 30),
            (30, -600_000, 30),
            (600, 180_000, 175),
            (600, -1, 30),
            (0, 180_000, 1),
            (-7, 180_000, 1),
            (i64::MAX, 180_000, 175),
            (i64::MIN, -1, 1),
        ] {
            assert_eq!(
                clamp(own, 1_000_000, 1_000_000 - left_ms),
                expected,
                "{own} s with {left_ms} ms left"
            );
        }
        assert_eq!(clamp(30, i64::MAX, i64::MIN), 30);
        assert_eq!(clamp(30, i64::MIN, i64::MAX), 30);
    }

    #[test]
    fn whoever_starts_by_the_latest_start_has_all_of_its_grace() {
        for own in [1, 5, 30, 170] {
            let start = latest_start(own, 180_000);
            assert_eq!(i64::from(clamp(own, 180_000, start)), own);
            assert_eq!(i64::from(clamp(own, 180_000, start + 1)), (own - 1).max(1));
            assert_eq!(start - bare_start(own, 180_000), 5_000);
        }
    }

    #[test]
    fn a_delete_leaves_the_grace_period_and_gives_budgets_half_of_the_notice() {
        let length = Duration::from_mins(3);
        assert_eq!(delete_start(30, 180_000, length), 145_000);
        assert_eq!(delete_start(600, 180_000, length), 90_000);
    }
}
