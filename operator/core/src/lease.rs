//! Who leads: at most one process at a time acts, and another takes over when it dies.
//!
//! Nobody compares clocks. A process takes over a record that *it* has seen unchanged for as long as the record says, on
//! its own monotonic clock; the holder trusts a renewal from the moment *before* it was sent, and a little shorter. What
//! a candidate saw was written before it saw it, so the holder's trust ends first. Every write has the version of the
//! record as its precondition, so of several candidates one wins.

use std::time::Duration;

use crate::time::Mono;

/// How long a lease lasts at least.
pub const SHORTEST: Duration = Duration::from_secs(10);
/// How much longer than a call to the cloud a lease lasts at least: a call may begin that late after a renewal that
/// [`RENEW_EVERY`] and a slow answer leave it time to end.
const BEYOND_A_CALL: Duration = Duration::from_secs(5);
/// How much shorter the holder trusts a renewal than the others wait: for clocks that do not run at the same rate.
pub const DRIFT: Duration = Duration::from_secs(1);
/// How often the holder renews.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a candidate looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between a request that failed, or was too late, and the next.
pub const RETRY: Duration = Duration::from_millis(500);
/// Limit on one request.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// Longest that any record is waited for, whatever it says.
const LONGEST: Duration = Duration::from_mins(2);

/// How long a lease lasts when a call to the cloud may take `request_timeout`: whole seconds, 10 s for calls up to 5 s.
/// A holder that renews in time can always begin a call.
pub fn duration_for(request_timeout: Duration) -> Duration {
    let least = request_timeout.saturating_add(BEYOND_A_CALL);
    let whole = least.as_secs().saturating_add(u64::from(least.subsec_nanos() > 0));
    Duration::from_secs(whole).clamp(SHORTEST, LONGEST)
}

/// The lease as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// resourceVersion: another one after every write.
    pub version: String,
    /// Who holds it; `None` when it was released.
    pub holder: Option<String>,
    /// How long it lasts after its last change.
    pub duration: Duration,
    /// How often it changed hands.
    pub transitions: i32,
}

/// A write that makes the process the holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Precondition: the version of the record, or that there is none.
    pub version: Option<String>,
    /// How often the lease has changed hands, this time included.
    pub transitions: i32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Read the record.
    Look,
    /// Nobody holds it: take it.
    Acquire(Claim),
    /// Keep it.
    Renew(Claim),
    /// Nothing until then.
    Wait(Mono),
    /// It was held and is not any more: stop all work at once.
    Lost,
}

/// What one process has seen of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// How long its own claims last.
    duration: Duration,
    /// The record as last seen, and since when it is known to be as it is.
    record: Option<(LeaseRecord, Mono)>,
    /// When the record was last read or written, by the answer; `None` while what it is like is in doubt.
    known: Option<Mono>,
    /// Not before then, after a request that did not succeed.
    retry: Mono,
    /// When the newest claim that was accepted was sent.
    renewed: Option<Mono>,
}

impl Observation {
    /// Has seen nothing. `duration` is how long a lease of this process lasts, see [`duration_for`].
    pub fn new(duration: Duration) -> Self {
        Self { duration, record: None, known: None, retry: Mono::default(), renewed: None }
    }

    /// Until when this process may act as the holder; `None` before it was and after it released the lease.
    pub fn trusted(&self) -> Option<Mono> {
        Some(self.renewed?.plus(self.duration.saturating_sub(DRIFT)))
    }

    /// Who holds the lease as far as is known.
    pub fn holder(&self) -> Option<&str> {
        self.record.as_ref()?.0.holder.as_deref()
    }

    /// The record as last seen, unless what it is like is in doubt.
    pub fn certain(&self) -> Option<&LeaseRecord> {
        self.known.and(self.record.as_ref()).map(|(record, _)| record)
    }

    /// A request begins. Until [`saw`](Self::saw) or [`claimed`](Self::claimed) tells how it ended, and for ever if it
    /// does not, anything may have become of it.
    pub fn asks(&mut self, now: Mono) {
        self.known = None;
        self.retry = now.plus(RETRY);
    }

    /// The record was read; `answered` is when the answer had come.
    pub fn saw(&mut self, record: Option<LeaseRecord>, answered: Mono) {
        let since =
            self.record.take().filter(|(old, _)| Some(old) == record.as_ref()).map(|(_, since)| since);
        self.record = record.map(|record| (record, since.unwrap_or(answered)));
        self.known = Some(answered);
    }

    /// A claim was accepted: `sent` is when the request began, `answered` when it was over.
    pub fn claimed(&mut self, record: LeaseRecord, sent: Mono, answered: Mono) {
        self.record = Some((record, answered));
        self.known = Some(answered);
        self.renewed = Some(sent);
    }

    /// This process gives the lease up: from now on it is no holder.
    pub fn resigns(&mut self) {
        self.renewed = None;
    }
}

/// What the process `me` does next. Any record and any clock has an answer.
pub fn decide(seen: &Observation, me: &str, now: Mono) -> Decision {
    match (seen.renewed, seen.trusted()) {
        (Some(renewed), Some(until)) => keep(seen, me, renewed, until, now),
        _ => seek(seen, me, now),
    }
}

fn keep(seen: &Observation, me: &str, renewed: Mono, until: Mono, now: Mono) -> Decision {
    if now >= until {
        return Decision::Lost;
    }
    if seen.known.is_none() {
        return if now < seen.retry { Decision::Wait(seen.retry.min(until)) } else { Decision::Look };
    }
    let due = renewed.plus(RENEW_EVERY);
    match &seen.record {
        Some((record, _)) if record.holder.as_deref() == Some(me) => {
            if now < due {
                return Decision::Wait(due);
            }
            Decision::Renew(Claim { version: Some(record.version.clone()), transitions: record.transitions })
        }
        _ => Decision::Lost,
    }
}

fn seek(seen: &Observation, me: &str, now: Mono) -> Decision {
    let Some(known) = seen.known else {
        return if now < seen.retry { Decision::Wait(seen.retry) } else { Decision::Look };
    };
    let Some((record, since)) = &seen.record else {
        return Decision::Acquire(Claim { version: None, transitions: 0 });
    };
    let expires = since.plus(record.duration.min(LONGEST));
    // One that is held by this very process is the trace of a claim whose answer was lost.
    let free = record.holder.as_deref().is_none_or(|holder| holder == me);
    if free || now >= expires {
        let transitions = record.transitions.saturating_add(1);
        return Decision::Acquire(Claim { version: Some(record.version.clone()), transitions });
    }
    let look = known.plus(LOOK_EVERY);
    if now >= look { Decision::Look } else { Decision::Wait(look.min(expires)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "me";
    const OTHER: &str = "other";

    fn ms(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }

    fn record(version: &str, holder: Option<&str>) -> LeaseRecord {
        let holder = holder.map(str::to_owned);
        LeaseRecord { version: version.into(), holder, duration: SHORTEST, transitions: 3 }
    }

    fn claim(version: Option<&str>, transitions: i32) -> Claim {
        Claim { version: version.map(str::to_owned), transitions }
    }

    /// Someone who read `record` at 1 s, by the answer.
    fn saw(record: Option<LeaseRecord>) -> Observation {
        let mut seen = Observation::new(SHORTEST);
        seen.asks(ms(900));
        seen.saw(record, ms(1_000));
        seen
    }

    /// Someone whose claim, sent at 1 s, was accepted at 1.3 s.
    fn holds() -> Observation {
        let mut seen = Observation::new(SHORTEST);
        seen.asks(ms(1_000));
        seen.claimed(record("2", Some(ME)), ms(1_000), ms(1_300));
        seen
    }

    #[test]
    fn a_candidate_takes_what_nobody_holds_and_waits_for_what_somebody_does() {
        use Decision::{Acquire, Look, Wait};
        let table = [
            ("nothing was seen yet", Observation::new(SHORTEST), 0, Look),
            ("there is no record", saw(None), 1_000, Acquire(claim(None, 0))),
            ("it was released", saw(Some(record("1", None))), 1_000, Acquire(claim(Some("1"), 4))),
            (
                "a lost claim of our own",
                saw(Some(record("1", Some(ME)))),
                1_000,
                Acquire(claim(Some("1"), 4)),
            ),
            ("just seen", saw(Some(record("1", Some(OTHER)))), 1_000, Wait(ms(2_000))),
            ("time to look again", saw(Some(record("1", Some(OTHER)))), 2_000, Look),
            ("one instant too early", saw(Some(record("1", Some(OTHER)))), 10_999, Look),
            ("expired", saw(Some(record("1", Some(OTHER)))), 11_000, Acquire(claim(Some("1"), 4))),
        ];
        for (case, seen, now, wanted) in table {
            assert_eq!(decide(&seen, ME, ms(now)), wanted, "{case}");
        }
    }

    #[test]
    fn a_record_lasts_from_when_it_was_first_seen_as_it_is() {
        let mut seen = saw(Some(record("1", Some(OTHER))));
        seen.asks(ms(10_000));
        seen.saw(Some(record("1", Some(OTHER))), ms(10_500));
        assert_eq!(
            decide(&seen, ME, ms(10_600)),
            Decision::Wait(ms(11_000)),
            "looking again changes nothing"
        );
        seen.saw(Some(record("2", Some(OTHER))), ms(10_900));
        assert_eq!(decide(&seen, ME, ms(11_000)), Decision::Wait(ms(11_900)), "a renewal does");
        assert_eq!(decide(&seen, ME, ms(20_900)), Decision::Acquire(claim(Some("2"), 4)));
    }

    #[test]
    fn the_record_says_how_long_it_lasts_but_not_for_ever() {
        let lasting =
            |seconds| LeaseRecord { duration: Duration::from_secs(seconds), ..record("1", Some(OTHER)) };
        for (seconds, free_at) in [(1, 2_000), (40, 41_000), (u64::MAX, 121_000)] {
            let seen = saw(Some(lasting(seconds)));
            assert!(!matches!(decide(&seen, ME, ms(free_at - 1)), Decision::Acquire(_)), "{seconds} s");
            assert!(matches!(decide(&seen, ME, ms(free_at)), Decision::Acquire(_)), "{seconds} s");
        }
        let worn = LeaseRecord { transitions: i32::MAX, ..record("1", None) };
        assert_eq!(decide(&saw(Some(worn)), ME, ms(1_000)), Decision::Acquire(claim(Some("1"), i32::MAX)));
    }

    #[test]
    fn the_holder_trusts_a_claim_from_before_it_was_sent_and_less_long_than_the_others_wait() {
        let seen = holds();
        assert_eq!(seen.trusted(), Some(ms(10_000)));
        assert_eq!(decide(&seen, ME, ms(1_300)), Decision::Wait(ms(3_000)));
        let renew = Decision::Renew(claim(Some("2"), 3));
        assert_eq!(decide(&seen, ME, ms(3_000)), renew);
        assert_eq!(decide(&seen, ME, ms(9_999)), renew, "late is better than never");
        assert_eq!(decide(&seen, ME, ms(10_000)), Decision::Lost);
    }

    #[test]
    fn a_claim_without_an_answer_is_looked_for_before_the_next_and_prolongs_nothing() {
        let mut seen = holds();
        seen.asks(ms(3_000));
        assert_eq!(seen.certain(), None);
        assert_eq!(decide(&seen, ME, ms(3_400)), Decision::Wait(ms(3_500)));
        assert_eq!(decide(&seen, ME, ms(3_500)), Decision::Look);
        seen.asks(ms(3_500));
        seen.saw(Some(record("3", Some(ME))), ms(3_600));
        assert_eq!(decide(&seen, ME, ms(3_600)), Decision::Renew(claim(Some("3"), 3)));
        assert_eq!(seen.trusted(), Some(ms(10_000)));
        seen.asks(ms(9_800));
        assert_eq!(decide(&seen, ME, ms(9_900)), Decision::Wait(ms(10_000)), "not beyond its trust");
        assert_eq!(decide(&seen, ME, ms(10_300)), Decision::Lost);

        let mut seen = saw(Some(record("1", None)));
        seen.asks(ms(1_000));
        assert_eq!(decide(&seen, ME, ms(1_000)), Decision::Wait(ms(1_500)));
        assert_eq!(decide(&seen, ME, ms(1_500)), Decision::Look);
    }

    #[test]
    fn a_holder_that_sees_its_lease_in_other_hands_has_lost_it() {
        for (case, found) in [
            ("deleted", None),
            ("released by hand", Some(record("3", None))),
            ("taken", Some(record("3", Some(OTHER)))),
        ] {
            let mut seen = holds();
            seen.asks(ms(3_000));
            seen.saw(found, ms(3_100));
            assert_eq!(decide(&seen, ME, ms(3_100)), Decision::Lost, "{case}");
        }
    }

    #[test]
    fn who_resigns_is_no_holder_and_may_not_call() {
        let mut seen = holds();
        assert_eq!((seen.holder(), seen.certain().map(|r| r.version.as_str())), (Some(ME), Some("2")));
        seen.resigns();
        assert_eq!(seen.trusted(), None);
    }

    #[test]
    fn a_lease_leaves_time_for_a_call_after_a_late_renewal() {
        for (call, lease) in
            [(0, 10_000), (1_000, 10_000), (5_000, 10_000), (5_001, 11_000), (60_000, 65_000)]
        {
            let call = Duration::from_millis(call);
            assert_eq!(duration_for(call), Duration::from_millis(lease), "{call:?}");
            let slow = Duration::from_secs(1);
            assert!(duration_for(call) > call + DRIFT + RENEW_EVERY + slow, "{call:?}");
        }
        assert_eq!(duration_for(Duration::MAX), LONGEST);
    }
}
