//! Asks the account for room: one call for all objects that want to build, and not one for each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eci_core::cloud::Cloud;
use eci_core::quota::{Place, Queue, Room};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::kind::Managed;

/// How long the account may take to answer; beyond it, it has said nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The queue of one kind, and the right to ask the account.
#[derive(Debug)]
pub(crate) struct RoomKeeper {
    queue: Mutex<Queue>,
    turn: Semaphore,
}

impl Default for RoomKeeper {
    fn default() -> Self {
        Self { queue: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl RoomKeeper {
    /// Whether there is room for the object at `place`; `None` while another one asks the account. `spare` counts what
    /// the cloud would remove to make room.
    pub(crate) async fn ask<K: Managed, C: Cloud>(
        &self,
        cloud: &C,
        place: &Place,
        spare: impl Fn() -> usize,
        clock: Clock,
    ) -> Option<Room> {
        let now = clock.now().mono;
        if self.queue().is_due(now) {
            let _turn = self.turn.try_acquire().ok()?;
            let answer = tokio::time::timeout(ANSWER_LIMIT, cloud.usage()).await;
            let quota = match answer {
                Ok(Ok(usage)) => K::quota(&usage),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the account does not say what room it has; creates go out all the same");
                    None
                }
                Err(_) => None,
            };
            self.queue().read(now, quota);
        }
        Some(self.queue().ask(place, spare(), clock.now().mono))
    }

    /// A resource was deleted.
    pub(crate) fn freed(&self) {
        self.queue().expire();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
