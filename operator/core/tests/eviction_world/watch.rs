//! Watches that lag, break, are listed anew and repeat themselves.

use eci_core::eviction::Event;

use super::objects::SimPod;
use super::world::{Act, PDBS, PODS, World};

impl World {
    pub fn tell(&mut self, stream: usize, event: Event) {
        let (session, last, broken) = self.streams[stream];
        if broken || self.engine.is_none() {
            return;
        }
        let most = 2 + self.hostility.lag;
        let lag = if self.roll(2) { self.dice.between(0, most * 20) } else { self.dice.between(1, most) };
        let when = (self.now + lag).max(last);
        self.streams[stream].1 = when;
        self.at(when, Act::Deliver(session, stream == PODS, vec![event]));
    }

    pub fn deliver(&mut self, session: u64, pods: bool, events: Vec<Event>) {
        let stream = if pods { PODS } else { PDBS };
        if self.engine.is_none() || self.streams[stream].0 != session {
            return;
        }
        if events.last() == Some(&Event::PodsListed) {
            self.seen.clear();
        }
        for event in &events {
            match event {
                Event::Pod(pod) => {
                    let name = (pod.id.namespace.to_string(), pod.id.name.to_string());
                    let known = self.seen.get(&name).map_or(0, |known| known.2);
                    if pod.version >= known {
                        let gone = pod.deletion.is_some() || pod.phase.is_terminal();
                        self.seen.insert(name, (pod.id.uid.to_string(), gone, pod.version));
                    }
                }
                Event::PodGone(id) => {
                    let name = (id.namespace.to_string(), id.name.to_string());
                    if self.seen.get(&name).is_some_and(|known| known.0 == *id.uid) {
                        self.seen.remove(&name);
                    }
                }
                _ => {}
            }
            if self.hostility.replays > 0 && self.history.len() < 400 {
                self.history.push(event.clone());
            }
        }
        self.feed(events);
    }

    /// The Event of a notice, to the operator that was there.
    pub fn spot(&mut self, epoch: u64, uid: &str) {
        if epoch != self.epoch {
            return;
        }
        let Some(pod) = self.pods.get(uid) else {
            // It was gone before anybody could hear of its notice.
            self.stats.unheard += u32::from(self.only_by_event.contains(uid));
            return;
        };
        let event = Event::Spot(Box::new(pod.event()));
        self.feed(vec![event]);
    }

    pub fn break_watch(&mut self, pods: bool) {
        if !self.is_hostile() || self.engine.is_none() {
            return;
        }
        let stream = if pods { PODS } else { PDBS };
        if !self.streams[stream].2 {
            self.streams[stream].0 += 1;
            self.streams[stream].2 = true;
            let wait = self.dice.between(10, 4_000);
            let session = self.streams[stream].0;
            self.after(wait, Act::List(session, pods));
        }
        let again = self.dice.between(3_000, 60_000);
        self.after(again, Act::Break(pods));
    }

    /// A list: it begins now, is read at once, and arrives a little later.
    pub fn list(&mut self, session: u64, pods: bool) {
        let stream = if pods { PODS } else { PDBS };
        if self.engine.is_none() || self.streams[stream].0 != session {
            return;
        }
        self.feed(vec![if pods { Event::PodsListing } else { Event::BudgetsListing }]);
        self.stats.listed += 1;
        let mut events: Vec<Event> = Vec::new();
        if pods {
            for pod in self.pods.values() {
                events.push(Event::Pod(Box::new(pod.seen(&self.workloads[pod.workload]))));
            }
            // Events are listed, too; here with the pods.
            let young = |pod: &&SimPod| pod.noticed.is_some_and(|at| self.now - at < 600_000);
            events.extend(self.pods.values().filter(young).map(|pod| Event::Spot(Box::new(pod.event()))));
            events.push(Event::PodsListed);
        } else {
            events.extend(self.pdbs.values().map(|pdb| Event::Budget(Box::new(pdb.seen()))));
            events.push(Event::BudgetsListed);
        }
        let when = self.now + self.dice.between(1, 30);
        self.streams[stream].1 = when;
        self.streams[stream].2 = false;
        self.at(when, Act::Deliver(session, pods, events));
    }

    /// Something is delivered once more, long after.
    pub fn replay(&mut self) {
        if !self.is_hostile() {
            return;
        }
        if !self.history.is_empty() && self.engine.is_some() {
            let most = i64::try_from(self.history.len()).unwrap();
            let which = usize::try_from(self.dice.below(most)).unwrap();
            let event = self.history[which].clone();
            // A watch never says twice that something is gone, nor ends a list without beginning it.
            if matches!(event, Event::Pod(_) | Event::Budget(_)) {
                self.feed(vec![event]);
            }
        }
        let again = self.dice.between(100, 5_000);
        self.after(again, Act::Replay);
    }
}
