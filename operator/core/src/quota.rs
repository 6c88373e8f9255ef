//! Whether the account has room for one more resource, and who is next: a full account is a queue, not a loop of calls.
//!
//! What the cloud says of its quotas is advice. Where it says nothing, creates go out as if there were no limit, and
//! where it may be wrong, the first of the queue tries all the same, seldom.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::time::Mono;

/// How long a reading holds.
pub const READING_HOLDS: Duration = Duration::from_secs(30);
/// How long a reading holds after something was deleted, while somebody waits.
const STALE_HOLDS: Duration = Duration::from_secs(5);
/// How long the account is not asked again after it gave no reading.
pub const FAILURE_HOLDS: Duration = Duration::from_mins(1);
/// When somebody who waits for room asks again.
pub const ROOM_RECHECK: Duration = Duration::from_secs(30);
/// A reading that was begun so long after a grant shows what became of it.
const GRANT_SHOWS: Duration = Duration::from_secs(20);
/// Who has not asked for so long does not wait any more.
const WAITER_LIFE: Duration = Duration::from_secs(100);
/// How often the first of the queue tries although the account seems full: the cloud may make room by itself, or may
/// count wrongly.
const TRY_EVERY: Duration = Duration::from_mins(10);
/// Most who wait. Beyond it there is no position, and nobody is forgotten: each asks again.
const QUEUE_LIMIT: usize = 20_000;

/// Whether there is room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nobody knows: go on.
    Unknown,
    /// There is.
    Free,
    /// There is none.
    Full {
        /// Most that the account may have.
        limit: i64,
        /// How many it has.
        used: i64,
        /// How many wait that are older.
        before: usize,
    },
}

/// A quota and its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Most that the account may have.
    pub limit: i64,
    /// How many it has.
    pub used: i64,
}

/// Who waits: the older object is first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the object was created.
    pub created: Timestamp,
    /// Its UID.
    pub uid: String,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    begun: Mono,
    quota: Option<Quota>,
    /// Something was deleted since.
    stale: bool,
}

/// The queue of one kind.
#[derive(Debug, Default)]
pub struct Queue {
    reading: Option<Reading>,
    /// Who waits, and when each asked last.
    waiting: BTreeMap<Place, Mono>,
    /// Who was let through, by UID, and is perhaps not in the reading yet.
    granted: BTreeMap<String, Mono>,
    tried: Option<Mono>,
}

impl Queue {
    /// Whether the account is to be asked before the next answer.
    pub fn is_due(&self, now: Mono) -> bool {
        self.reading.is_none_or(|reading| {
            let holds = match reading.quota {
                None => FAILURE_HOLDS,
                Some(_) if reading.stale => STALE_HOLDS,
                Some(_) => READING_HOLDS,
            };
            now.since(reading.begun) >= holds
        })
    }

    /// Takes in what the account said; `None` when it said nothing.
    pub fn read(&mut self, begun: Mono, quota: Option<Quota>) {
        self.reading = Some(Reading { begun, quota, stale: false });
        self.granted.retain(|_, then| begun.since(*then) < GRANT_SHOWS);
    }

    /// Something was deleted: the reading is worth less than a new one.
    pub fn expire(&mut self) {
        if let Some(reading) = self.reading.as_mut().filter(|_| !self.waiting.is_empty()) {
            reading.stale = true;
        }
    }

    /// Asks for room for one more. `spare` of those that exist would be removed by the cloud to make room.
    pub fn ask(&mut self, place: &Place, spare: usize, now: Mono) -> Room {
        self.waiting.retain(|_, asked| now.since(*asked) < WAITER_LIFE);
        let Some(Quota { limit, used }) = self.reading.and_then(|reading| reading.quota) else {
            return Room::Unknown;
        };
        if self.granted.contains_key(&place.uid) {
            return Room::Free;
        }
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let free = limit
            .saturating_sub(used.max(0))
            .saturating_add(count(spare))
            .saturating_sub(count(self.granted.len()));
        let before = self.waiting.range(..place).count();
        let tries = before == 0 && self.waiting.contains_key(place) && {
            // The first answer is the account's word; only after some time is it put to the test.
            let since = *self.tried.get_or_insert(now);
            now.since(since) >= TRY_EVERY
        };
        if count(before) < free || tries {
            self.waiting.remove(place);
            if tries {
                self.tried = Some(now);
            }
            if self.granted.len() < QUEUE_LIMIT {
                self.granted.insert(place.uid.clone(), now);
            }
            return Room::Free;
        }
        if self.waiting.len() < QUEUE_LIMIT || self.waiting.contains_key(place) {
            self.waiting.insert(place.clone(), now);
        }
        Room::Full { limit, used, before }
    }
}

/// A number of people in a queue as it is told: exact where it matters, and else so coarse that a queue that moves does
/// not write the status of all who stand in it.
pub fn told(before: usize) -> String {
    let steps = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];
    match steps.into_iter().rev().find(|step| before >= *step) {
        None if before == 0 => "this one is next".to_owned(),
        None if before == 1 => "1 other is before this one".to_owned(),
        None => format!("{before} others are before this one"),
        Some(step) => format!("{step} or more others are before this one"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn place(n: i64) -> Place {
        Place { created: Timestamp::from_second(n).unwrap(), uid: format!("uid-{n}") }
    }

    fn queue(limit: i64, used: i64) -> Queue {
        let mut queue = Queue::default();
        queue.read(at(0), Some(Quota { limit, used }));
        queue
    }

    fn full(limit: i64, used: i64, before: usize) -> Room {
        Room::Full { limit, used, before }
    }

    #[test]
    fn without_a_reading_nobody_waits() {
        let mut queue = Queue::default();
        assert!(queue.is_due(at(0)));
        queue.read(at(0), None);
        assert_eq!(queue.ask(&place(1), 0, at(1)), Room::Unknown);
        assert!(!queue.is_due(at(59)), "an account that gives no answer is not asked all the time");
        assert!(queue.is_due(at(60)));
    }

    #[test]
    fn as_many_are_let_through_as_there_is_room_and_each_counts_once() {
        let mut queue = queue(3, 1);
        assert_eq!(queue.ask(&place(1), 0, at(1)), Room::Free);
        assert_eq!(queue.ask(&place(1), 0, at(2)), Room::Free, "asked again before the call");
        assert_eq!(queue.ask(&place(2), 0, at(2)), Room::Free);
        assert_eq!(queue.ask(&place(3), 0, at(3)), full(3, 1, 0));
        assert_eq!(queue.ask(&place(4), 0, at(4)), full(3, 1, 1));
        // What the cloud may remove makes room.
        assert_eq!(queue.ask(&place(3), 1, at(5)), Room::Free);
    }

    #[test]
    fn the_older_object_is_first_whoever_asks_first() {
        let mut queue = queue(1, 1);
        assert_eq!(queue.ask(&place(9), 0, at(1)), full(1, 1, 0));
        assert_eq!(queue.ask(&place(2), 0, at(2)), full(1, 1, 0));
        assert_eq!(queue.ask(&place(9), 0, at(3)), full(1, 1, 1));
        queue.read(at(31), Some(Quota { limit: 1, used: 0 }));
        assert_eq!(queue.ask(&place(9), 0, at(32)), full(1, 0, 1), "the free place is another's");
        assert_eq!(queue.ask(&place(2), 0, at(33)), Room::Free);
        assert_eq!(queue.ask(&place(9), 0, at(34)), full(1, 0, 0));
    }

    #[test]
    fn who_does_not_ask_any_more_holds_nobody_up() {
        let mut queue = queue(1, 1);
        queue.ask(&place(1), 0, at(1));
        queue.ask(&place(2), 0, at(90));
        queue.read(at(102), Some(Quota { limit: 1, used: 0 }));
        assert_eq!(queue.ask(&place(2), 0, at(102)), Room::Free);
    }

    #[test]
    fn a_grant_counts_until_a_reading_must_show_it() {
        let mut queue = queue(1, 0);
        assert_eq!(queue.ask(&place(1), 0, at(1)), Room::Free);
        // Begun too soon: what was granted may not be in it.
        queue.read(at(5), Some(Quota { limit: 1, used: 0 }));
        assert_eq!(queue.ask(&place(2), 0, at(6)), full(1, 0, 0));
        queue.read(at(35), Some(Quota { limit: 1, used: 0 }));
        assert_eq!(queue.ask(&place(2), 0, at(36)), Room::Free, "the first was refused, or is gone again");
    }

    #[test]
    fn the_first_of_the_queue_tries_every_ten_minutes_and_nobody_else() {
        let mut queue = queue(1, 1);
        let mut tries = Vec::new();
        for second in (1..=1_801).step_by(30) {
            queue.read(at(second), Some(Quota { limit: 1, used: 1 }));
            for n in [1, 2] {
                if queue.ask(&place(n), 0, at(second)) == Room::Free {
                    tries.push((n, second));
                }
            }
        }
        assert_eq!(tries.len(), 2, "{tries:?}");
        assert!(tries[1].1 - tries[0].1 >= 600, "{tries:?}");
        assert!(tries[0].1 >= 600, "{tries:?}");
    }

    #[test]
    fn a_deletion_makes_the_account_worth_asking_only_while_somebody_waits() {
        let mut queue = queue(1, 1);
        queue.expire();
        assert!(!queue.is_due(at(5)));
        queue.ask(&place(1), 0, at(1));
        queue.expire();
        assert!(!queue.is_due(at(4)), "not for each of many");
        assert!(queue.is_due(at(5)));
    }

    #[test]
    fn long_queues_are_told_coarsely() {
        for (before, expected) in [
            (0, "this one is next"),
            (1, "1 other is before this one"),
            (9, "9 others are before this one"),
            (10, "10 or more others are before this one"),
            (19, "10 or more others are before this one"),
            (1_234, "1000 or more others are before this one"),
        ] {
            assert_eq!(told(before), expected);
        }
    }

    proptest! {
        /// Whoever asks when, between two readings never more are let through than there is room for.
        #[test]
        fn never_more_than_there_is_room_for(
            limit in 0_i64..6, used in 0_i64..8, asks in prop::collection::vec((0_i64..8, 0_u64..29), 0..40)
        ) {
            let mut asks = asks;
            asks.sort_by_key(|(_, second)| *second);
            let mut queue = queue(limit, used);
            let mut through = std::collections::BTreeSet::new();
            for (n, second) in asks {
                if queue.ask(&place(n), 0, at(second)) == Room::Free {
                    through.insert(n);
                }
            }
            prop_assert!(i64::try_from(through.len()).unwrap() <= (limit - used).max(0));
        }
    }
}
