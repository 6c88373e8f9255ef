//! Waiting for room in a full account.

use eci_api::condition::Reason;
use eci_api::image_cache::SecretVersion;

use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::steady::SLOW_STALLS_AFTER;
use super::{Kind, Read, Refusal};
use crate::quota::{self, Room};
use crate::time::ago;

impl<K: Kind> Pass<'_, K> {
    /// Waits while the account is full, unless a person asks for a try.
    pub(super) fn wait_for_room(
        &mut self,
        progress: &Progress,
        usable: bool,
        secrets: &[SecretVersion],
    ) -> Option<Decision<K>> {
        let (limit, used, before) = match self.seen.room {
            _ if self.asked_again() => return None,
            None => return Some(self.read(Read::Room)),
            Some(Room::Unknown | Room::Free) => return None,
            Some(Room::Full { limit, used, before }) => (limit, used, before),
        };
        let message = format!(
            "The account has {used} of at most {limit} {}s, and none of this cluster's may be removed to make room; {}. Raise the quota or delete {}s that nobody uses.",
            K::NOUN,
            quota::told(before),
            K::NOUN
        );
        let reason = Reason::QuotaExceeded;
        let generation = self.seen.object.generation;
        let before = self.record.refusal.take().filter(|r| r.reason == reason && r.generation == generation);
        let first = before.as_ref().map_or(self.now.wall, |r| r.first);
        self.record.refusal = Some(Refusal {
            reason,
            message: message.clone(),
            count: before.as_ref().map_or(0, |r| r.count),
            first,
            last: before.as_ref().map_or(self.now.wall, |r| r.last),
            not_before: before.and_then(|r| r.not_before),
            generation,
            secrets: secrets.to_vec(),
        });
        self.wake_in(quota::ROOM_RECHECK);
        let stalled = ago(first, self.now.wall) >= SLOW_STALLS_AFTER;
        let progress = if stalled { Progress::Stalled } else { progress.clone() };
        Some(self.rest(&Situation::new(usable, reason, progress, message)))
    }
}
