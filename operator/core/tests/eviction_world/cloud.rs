//! The cloud, the vendor, and people who change budgets.

use std::collections::BTreeMap;

use eci_core::eviction::{Event, Phase};

use super::objects::{Rule, SimPdb};
use super::server::Request;
use super::world::{Act, PDBS, World};

impl World {
    pub fn notice(&mut self, uid: &str) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if pod.noticed.is_some() || pod.deletion.is_some() {
            return;
        }
        pod.noticed = Some(now);
        pod.by_event = !self.hostility.is_calm() && self.dice.chance(30);
        let only = pod.by_event;
        self.stats.noticed += 1;
        self.pod_changed(uid);
        if only {
            self.only_by_event.insert(uid.to_owned());
        }
        // The Event comes in any case, by a watch of its own.
        let (epoch, wait) = (self.epoch, self.dice.between(0, 300));
        self.after(wait, Act::Spot(epoch, uid.to_owned()));
        if self.releases {
            self.at(now + 180_000, Act::Release(uid.to_owned()));
        }
        if self.hostility.vendor > 0 && self.dice.chance(self.hostility.vendor) {
            let wait = self.dice.between(0, 5_000);
            self.after(wait, Act::Vendor(uid.to_owned()));
        }
    }

    pub fn release(&mut self, uid: &str) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if pod.phase.is_terminal() {
            return;
        }
        self.stats.released += 1;
        if pod.deletion.is_none() {
            self.lost.insert(uid.to_owned());
        }
        (pod.phase, pod.ready, pod.bid_failed) = (Phase::Failed, false, true);
        let workload = pod.workload;
        self.pod_changed(uid);
        self.after(10, Act::Controller(workload));
    }

    /// The vendor evicts with retries of its own, by name and UID.
    pub fn vendor(&mut self, uid: &str) {
        let Some(pod) = self.pods.get(uid).filter(|pod| pod.deletion.is_none()).cloned() else { return };
        if !self.is_hostile() {
            return;
        }
        self.send(Request {
            attempt: None,
            namespace: pod.namespace,
            name: pod.name,
            uid: Some(uid.to_owned()),
            grace: None,
            deletion: false,
            tries: 0,
            read: None,
            pod_rv: None,
            charged: false,
            answer_lost: false,
        });
        self.after(5_000, Act::Vendor(uid.to_owned()));
    }

    pub fn send(&mut self, request: Request) {
        self.requests.push(request);
        let (id, wait) = (self.requests.len() - 1, self.dice.between(1, 4));
        self.after(wait, Act::Arrive(id));
    }

    /// Somebody changes a budget, or deletes it and makes it anew.
    pub fn edit(&mut self, pdb: usize) {
        if !self.is_hostile() {
            return;
        }
        let again = self.dice.between(2_000, 40_000);
        self.after(again, Act::Edit(pdb));
        let (anew, more) = (self.dice.chance(30), self.dice.between(0, 3));
        let Some(budget) = self.pdbs.get_mut(&pdb) else { return };
        if anew {
            self.uids += 1;
            let fresh = SimPdb {
                uid: format!("uid-{}", self.uids),
                generation: 1,
                observed: 0,
                allowed: 0,
                healthy: 0,
                desired: 0,
                expected: 0,
                disrupted: BTreeMap::new(),
                ..budget.clone()
            };
            let gone = budget.seen().id;
            *budget = fresh;
            self.version();
            self.tell(PDBS, Event::BudgetGone(gone));
        } else {
            budget.rule = Rule::MaxUnavailable(more);
            budget.generation += 1;
        }
        self.pdb_changed(pdb);
        self.sync_soon(pdb);
    }
}
