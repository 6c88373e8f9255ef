//! The authorities that sign the certificates of the webhook, and when the next one takes over.
//!
//! An authority has a life; the shares below are of it. A successor is trusted some time before it signs, and its
//! predecessor some time after it has stopped, so that no certificate in use is ever one that the API server does not
//! trust.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::time;

/// At this percentage of an authority's life its successor is made.
const INTRODUCE: u32 = 60;
/// A successor signs after this percentage of its life, when the API server knows it.
const PROMOTE: u32 = 10;
/// It signs at this percentage of its predecessor's life, whoever knows it.
const PROMOTE_ANYWAY: u32 = 95;
/// A predecessor is trusted until this percentage of the life of the one that signs.
const RETIRE: u32 = 30;
/// A certificate lives for this percentage of its authority's life at most,
const LEAF: u32 = 20;
/// and never longer than this.
const LONGEST_LEAF: Duration = Duration::from_hours(30 * 24);
/// A certificate is replaced at this percentage of its life.
const RENEW: u32 = 50;

/// What an authority is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It signs.
    Current,
    /// It is trusted, and will sign.
    Next,
    /// It has signed, and is trusted still.
    Previous,
}

/// From when until when something is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// It was made then.
    pub issued: Timestamp,
    /// It is worth nothing from then on.
    pub expires: Timestamp,
}

impl Life {
    /// Of that length from `now` on.
    pub fn begin(now: Timestamp, length: Duration) -> Self {
        Self { issued: now, expires: time::after(now, length) }
    }

    fn length(&self) -> Duration {
        time::ago(self.issued, self.expires)
    }

    fn at(&self, percent: u32) -> Timestamp {
        time::after(self.issued, self.length() / 100 * percent)
    }

    /// The life of a certificate that an authority with this one signs at `now`.
    #[must_use]
    pub fn leaf(&self, now: Timestamp) -> Self {
        let length = (self.length() / 100 * LEAF).min(LONGEST_LEAF);
        Self { issued: now, expires: time::after(now, length).min(self.expires) }
    }

    /// When a certificate with this life is replaced.
    #[must_use]
    pub fn renewal(&self) -> Timestamp {
        self.at(RENEW)
    }
}

/// What is to be done about the authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none that could sign: make one that signs at once.
    Create,
    /// Make the successor.
    Introduce,
    /// The successor signs from now on.
    Promote,
    /// The predecessor is trusted no more.
    Retire,
    /// Nothing before then.
    Wait(Timestamp),
}

/// The next step. `known` says whether the API server was told of all of them.
pub fn step(authorities: &[(Role, Life)], known: bool, now: Timestamp) -> Step {
    let life = |role| authorities.iter().find(|(r, _)| *r == role).map(|(_, life)| *life);
    let Some(current) = life(Role::Current).filter(|life| now < life.expires) else {
        return Step::Create;
    };
    let mut due = Vec::new();
    match life(Role::Next) {
        None => due.push((current.at(INTRODUCE), Step::Introduce)),
        Some(next) => {
            let anyway = current.at(PROMOTE_ANYWAY);
            let settled = next.at(PROMOTE).min(anyway);
            due.push((if known { settled } else { anyway }, Step::Promote));
        }
    }
    if life(Role::Previous).is_some() {
        due.push((current.at(RETIRE), Step::Retire));
    }
    let first = due.into_iter().min_by_key(|(at, _)| *at);
    match first {
        Some((at, step)) if at <= now => step,
        Some((at, _)) => Step::Wait(at),
        None => Step::Wait(current.expires),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn life(issued: i64) -> Life {
        Life::begin(at(issued), Duration::from_secs(1_000))
    }

    #[test]
    fn a_successor_is_trusted_before_it_signs_and_its_predecessor_after() {
        use Role::{Current, Next, Previous};
        let first = (Current, life(0));
        for (authorities, known, now, wanted) in [
            (vec![], true, 0, Step::Create),
            (vec![first], true, 0, Step::Wait(at(600))),
            (vec![first], false, 599, Step::Wait(at(600))),
            (vec![first], false, 600, Step::Introduce),
            (vec![first, (Next, life(600))], true, 600, Step::Wait(at(700))),
            (vec![first, (Next, life(600))], true, 700, Step::Promote),
            (vec![first, (Next, life(600))], false, 700, Step::Wait(at(950))),
            (vec![first, (Next, life(600))], false, 950, Step::Promote),
            // Made late: it cannot wait for its turn.
            (vec![first, (Next, life(900))], true, 950, Step::Promote),
            (vec![(Previous, life(0)), (Current, life(600))], true, 700, Step::Wait(at(900))),
            (vec![(Previous, life(0)), (Current, life(600))], true, 900, Step::Retire),
            (vec![(Current, life(600))], true, 900, Step::Wait(at(1_200))),
            // After a long sleep there is nobody left who could sign.
            (vec![first, (Next, life(600))], true, 1_000, Step::Create),
            (vec![(Next, life(600))], true, 700, Step::Create),
        ] {
            assert_eq!(step(&authorities, known, at(now)), wanted, "{authorities:?} {known} {now}");
        }
    }

    #[test]
    fn a_certificate_ends_with_its_authority_and_is_replaced_well_before() {
        let authority = life(0);
        assert_eq!(authority.leaf(at(100)), Life { issued: at(100), expires: at(300) });
        assert_eq!(authority.leaf(at(100)).renewal(), at(200));
        assert_eq!(authority.leaf(at(950)).expires, at(1_000));
        let long = Life::begin(at(0), Duration::from_hours(24 * 365));
        assert_eq!(long.leaf(at(0)).expires, at(30 * 24 * 3_600));
    }

    /// Whatever the length of the lives and however late the steps are taken, up to a twentieth of a life, an
    /// authority that signs was trusted for a twentieth of a life, and every certificate in use is trusted.
    #[test]
    fn through_many_rotations_nothing_in_use_is_untrusted() {
        for length in [30_u64, 1_000, 31_536_000] {
            for delay in [0, length / 40, length / 20] {
                let life = |now| Life::begin(now, Duration::from_secs(length));
                let mut now = at(0);
                let mut all = vec![(Role::Current, life(now))];
                let mut trusted_since = vec![now];
                for _ in 0..200 {
                    match step(&all, true, now) {
                        Step::Create => panic!("nobody could sign at {now}: {all:?}"),
                        Step::Introduce => {
                            all.push((Role::Next, life(now)));
                            trusted_since.push(now);
                        }
                        Step::Promote => {
                            let next = all.iter().position(|(role, _)| *role == Role::Next).unwrap();
                            let trusted = time::ago(trusted_since[next], now);
                            assert!(trusted >= Duration::from_secs(length / 20), "{trusted:?}");
                            for (role, _) in &mut all {
                                *role = match role {
                                    Role::Next => Role::Current,
                                    Role::Current | Role::Previous => Role::Previous,
                                };
                            }
                        }
                        Step::Retire => {
                            // All that it signed was replaced when its successor began.
                            while all[0].0 == Role::Previous {
                                all.remove(0);
                                trusted_since.remove(0);
                            }
                        }
                        Step::Wait(until) => now = time::after(until, Duration::from_secs(delay)),
                    }
                    let current = all.iter().find(|(role, _)| *role == Role::Current).unwrap().1;
                    assert!(all.len() <= 3 && now < current.expires);
                }
            }
        }
    }
}
