//! What holds at any time, and what holds at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use eci_core::cloud_resource::identity::{TAG_CLUSTER, TAG_RETAINED, TAG_UID};

use super::world::{Stored, World};
use super::{Fault, SLOTS};
use crate::cloud::Resource;

/// Bound of a settlement, in rounds of at least 5 s: a deletion's window, then the longest lag of a list, then a look.
const ROUNDS: usize = 600;
/// Bound of one reconcile.
const PASSES: usize = 60;

impl World {
    pub(super) fn owners(&self) -> Vec<&Stored> {
        let owns = |o: &&Stored| o.record.current.as_ref().is_some_and(|c| c.id == self.target);
        self.objects.iter().flatten().filter(owns).collect()
    }

    /// What must hold at any time: nobody is the second owner.
    pub(super) fn always(&self) -> Result<(), String> {
        let owners: Vec<_> = self.owners().iter().map(|o| o.uid.clone()).collect();
        if owners.len() > 1 { Err(format!("two owners: {owners:?}")) } else { Ok(()) }
    }

    /// Only who has confirmed that the resource is its own deletes it, and nobody else has.
    pub(super) fn may_delete(&self, by: &Stored) -> Result<(), String> {
        let owned = by.record.current.iter().map(|o| &o.id).chain(&by.record.retiring);
        let confirmed = owned.into_iter().any(|id| *id == self.target) || by.record.last_attempt > 0;
        let others: Vec<_> =
            self.owners().iter().filter(|o| o.uid != by.uid).map(|o| o.uid.clone()).collect();
        if (confirmed || self.wiped) && others.is_empty() {
            return Ok(());
        }
        Err(format!("{} deletes what it has not confirmed, or what {others:?} owns", by.uid))
    }

    /// Nobody takes the tags of another off.
    pub(super) fn may_release(&self, by: &Stored) -> Result<(), String> {
        let others: Vec<_> =
            self.owners().iter().filter(|o| o.uid != by.uid).map(|o| o.uid.clone()).collect();
        if others.is_empty() { Ok(()) } else { Err(format!("{} releases what {others:?} owns", by.uid)) }
    }

    /// Faults end, and everybody works until nothing happens any more.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let mut verdict = Err("the world does not come to rest".to_owned());
        for _ in 0..ROUNDS {
            let mut rest = Duration::from_mins(10);
            for slot in 0..SLOTS {
                self.sync();
                self.poll();
                match self.work(slot, PASSES, Fault::None)? {
                    Some(wake) => rest = rest.min(wake),
                    None => return Err("a reconcile does not come to rest".into()),
                }
                self.always()?;
            }
            verdict = self.verdict();
            if verdict.is_ok() {
                return Ok(());
            }
            self.advance(rest.clamp(Duration::from_secs(1), Duration::from_mins(10)));
        }
        verdict
    }

    pub(super) fn verdict(&self) -> Result<(), String> {
        if self.objects.iter().flatten().any(|o| o.deleting) {
            return Err("stuck in deletion".into());
        }
        let target = self.cloud.alive().find(|r| r.id == self.target);
        let elsewhere = target.is_some_and(|r| r.tags.get(TAG_CLUSTER).is_some_and(|c| c == "d"));
        let owners = self.owners();
        let living: BTreeSet<_> = self.objects.iter().flatten().map(|o| o.uid.as_str()).collect();
        match target {
            // Who had it before, by tags that showed late, leaves it alone.
            Some(_) if elsewhere => return Ok(()),
            Some(r) if !living.is_empty() => {
                let [owner] = owners[..] else { return Err(format!("{} owners", owners.len())) };
                if r.tags.get(TAG_UID) != Some(&owner.uid) || !owner.record.usable {
                    return Err(format!("the tags are {:?}, the owner is {}", r.tags, owner.uid));
                }
            }
            _ => {}
        }
        // What was built in the place of what vanished belongs to somebody who lives.
        let orphans = self.cloud.alive().filter(|r| r.id != self.target);
        let orphans: Vec<_> = orphans
            .filter(|r| r.tags.get(TAG_UID).is_none_or(|uid| !living.contains(uid.as_str())))
            .collect();
        let kept = |r: &&&Resource| !r.tags.contains_key(TAG_RETAINED);
        // As for what was built: lists that lag for longer than the window can hide a resource from a deletion.
        let unknowns = &self.cloud.unknowns;
        let hidden = unknowns.list_lag + unknowns.late_effect >= self.limits.resolve_window;
        if orphans.iter().any(|r| kept(&r)) && !self.wiped && !hidden {
            return Err(format!("orphans: {orphans:?}"));
        }
        Ok(())
    }
}
