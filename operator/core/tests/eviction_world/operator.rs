//! The operator around the engine, and the laws that its requests keep.

use std::collections::BTreeMap;
use std::time::Duration;

use eci_core::eviction::{Attempt, Effect, Engine, Event, OnDeadline, Order};
use eci_core::time::{Mono, Now};

use super::objects::{Kind, wall};
use super::server::{Request, Said};
use super::world::{Act, PDBS, PODS, Sabotage, World};

impl World {
    pub fn start(&mut self) {
        self.epoch += 1;
        self.began = self.now;
        self.engine = Some(Engine::new(self.settings));
        self.seen.clear();
        self.open.clear();
        self.accepted.clear();
        self.history.clear();
        for (stream, pods) in [(PODS, true), (PDBS, false)] {
            self.streams[stream].0 += 1;
            self.streams[stream].2 = true;
            let (session, wait) = (self.streams[stream].0, self.dice.between(5, 300));
            self.after(wait, Act::List(session, pods));
        }
    }

    pub fn stop(&mut self) {
        if !self.is_hostile() {
            return;
        }
        self.engine = None;
        self.stats.restarts += 1;
        let wait = self.dice.between(500, 12_000);
        self.after(wait, Act::Start);
        let again = self.dice.between(10_000, 60_000);
        self.after(wait + again, Act::Stop);
    }

    pub fn answered(&mut self, epoch: u64, attempt: u64, said: &Said) {
        if epoch != self.epoch || self.engine.is_none() {
            return;
        }
        let Some((uid, _)) = self.open.remove(&attempt) else { return };
        if *said == Said::Success {
            self.accepted.insert(uid);
        }
        let answer = said.classified();
        self.feed(vec![Event::Answered { attempt: Attempt(attempt), answer }]);
    }

    pub fn reply(&mut self, id: usize, said: Said) {
        let request = &self.requests[id];
        let Some((epoch, attempt)) = request.attempt else { return };
        let (lost, wait) = (request.answer_lost, self.dice.between(1, 4));
        let (said, wait) = if lost { (Said::Lost, 15_000) } else { (said, wait) };
        self.after(wait, Act::Answer(epoch, attempt, Box::new(said)));
    }

    pub fn sabotaged(&self, event: &mut Event) -> bool {
        match (self.sabotage, event) {
            (Sabotage::Blind, Event::Budget(_))
            | (Sabotage::Stale, Event::PodGone(_))
            | (Sabotage::Forgetful, Event::Spot(_)) => false,
            (Sabotage::Stale, Event::Pod(pod)) => pod.id.uid.len() < 6 && pod.deletion.is_none(),
            (Sabotage::Forgetful, Event::Pod(pod)) => {
                if pod.id.uid.ends_with('3') || pod.id.uid.ends_with('7') {
                    pod.expired = None;
                }
                true
            }
            _ => true,
        }
    }

    pub fn feed(&mut self, mut events: Vec<Event>) {
        let mut kept = Vec::new();
        for mut event in events.drain(..) {
            if self.sabotaged(&mut event) {
                kept.push(event);
            }
        }
        let mono = Mono(Duration::from_millis(u64::try_from(self.now - self.began).unwrap()));
        let now = Now { wall: wall(self.now), mono };
        let Some(engine) = self.engine.as_mut() else { return };
        // Who sleeps through a step would have done nothing in it.
        let mut sleepless = engine.clone();
        sleepless.rouse();
        let all = sleepless.step(kept.clone(), now);
        let step = engine.step(kept, now);
        assert_eq!(all, step, "a pod sleeps that has something to do");
        for effect in step.effects {
            match effect {
                Effect::Report(report) => self.reports.push(report),
                Effect::Evict(order) => {
                    self.order(&order, false);
                    if self.sabotage == Sabotage::Twice {
                        self.order(&order, false);
                    }
                }
                Effect::Delete(order) => self.order(&order, true),
            }
        }
        if let Some(when) = step.wake {
            let when = self.began + i64::try_from(when.0.as_micros().div_ceil(1_000)).unwrap();
            if when <= self.now {
                self.breaks_law("a wake-up that is not in the future");
            }
            self.ticks += 1;
            self.at(when, Act::Tick(self.epoch, self.ticks));
        }
    }

    /// A request leaves the engine: the laws about requests.
    pub fn order(&mut self, order: &Order, deletion: bool) {
        let (uid, name) = (order.pod.uid.to_string(), order.pod.name.to_string());
        let namespace = order.pod.namespace.to_string();
        match self.seen.get(&(namespace.clone(), name.clone())) {
            Some((known, gone, _)) if *known == uid && !gone => {}
            other => self.breaks_law(&format!("a request for {name} {uid}, of which was known {other:?}")),
        }
        if self.accepted.contains(&uid) {
            self.breaks_law(&format!("{name} {uid} is evicted twice"));
        }
        if self.open.values().any(|(open, _)| *open == uid) {
            self.breaks_law(&format!("two requests at once for {name} {uid}"));
        }
        let workload = self.pods.get(&uid).map(|pod| pod.workload);
        let may_delete = workload.is_some_and(|w| self.workloads[w].on_deadline == OnDeadline::Delete);
        if deletion && workload.is_some() && !may_delete {
            self.breaks_law(&format!("{name} is deleted, and nobody asked for it"));
        }
        if let Some(pod) = self.pods.get(&uid).cloned() {
            let deadline = pod.noticed.unwrap_or(self.now).div_euclid(1_000) * 1_000 + 180_000;
            let own = pod.grace.max(1);
            let most = if deadline > self.now { (deadline - self.now) / 1_000 + 1 } else { 30 };
            let grace = i64::from(order.grace);
            if grace < 1 || grace > own || grace > most.max(1) {
                self.breaks_law(&format!("a grace period of {grace} s, own {own} s, left {most} s"));
            }
            if pod.noticed.is_none() {
                self.breaks_law(&format!("{name} has no notice"));
            }
        }
        self.sent_at.push(self.now);
        self.stats.requests += 1;
        let recent = self.sent_at.iter().rev().take_while(|at| **at > self.now - 1_000).count();
        if recent > usize::try_from(self.settings.per_second + self.settings.burst).unwrap() {
            self.breaks_law(&format!("{recent} requests in a second"));
        }
        let own = self.per_pod.entry(uid.clone()).or_default();
        own.push(self.now);
        let own = own.iter().rev().take_while(|at| **at > self.now - 10_000).count();
        if own > 40 {
            self.breaks_law(&format!("{own} requests for {name} in 10 s"));
        }
        let paid = self.pods.get(&uid).filter(|pod| pod.ready && !deletion).and_then(|pod| {
            if let [pdb] = self.pdbs_of(&namespace, pod.workload)[..] { Some(pdb) } else { None }
        });
        self.open.insert(order.attempt.0, (uid.clone(), paid));
        if let Some(pdb) = paid {
            // What the budget has been charged for is over, as far as the budget is concerned.
            let charged = |attempt: u64| {
                let mut recent = self.requests.iter().rev().take(300);
                recent.any(|request| request.attempt == Some((self.epoch, attempt)) && request.charged)
            };
            let open = self.open.iter().filter(|(_, (_, of))| *of == Some(pdb));
            let under_way = open.filter(|(attempt, _)| !charged(**attempt)).count();
            // A budget that was made a moment ago is not known yet.
            if under_way > self.settings.per_budget && self.hostility.edits == 0 {
                self.breaks_law(&format!("{under_way} requests under way on one budget"));
            }
        }
        let mut request = Request {
            attempt: Some((self.epoch, order.attempt.0)),
            namespace,
            name,
            uid: Some(uid),
            grace: Some(i64::from(order.grace)),
            deletion,
            tries: 0,
            read: None,
            pod_rv: None,
            charged: false,
            answer_lost: false,
        };
        let (epoch, attempt) = (self.epoch, order.attempt.0);
        if self.roll(self.hostility.lost) {
            self.stats.faults += 1;
            let (said, wait) = match self.dice.below(3) {
                0 => (Said::NotSent, 5),
                1 => (Said::Lost, 15_000),
                _ => {
                    request.answer_lost = true;
                    return self.send(request);
                }
            };
            return self.after(wait, Act::Answer(epoch, attempt, Box::new(said)));
        }
        if self.roll(self.hostility.refused) {
            self.stats.faults += 1;
            let said = match self.dice.below(6) {
                0 => Said::Refused {
                    code: 429,
                    message: "Too many requests, please try again later.".to_owned(),
                    kind: "",
                    cause: None,
                    after: Some(1),
                },
                1 => Said::refused(500, "", "etcdserver: request timed out"),
                2 => Said::refused(503, "", "apiserver is shutting down"),
                3 => {
                    Said::refused(403, "pods", "pods is forbidden: User cannot create resource pods/eviction")
                }
                4 => Said::refused(409, "poddisruptionbudgets", "the object has been modified"),
                _ => Said::refused(400, "", "admission webhook \"x\" denied the request: no"),
            };
            return self.after(3, Act::Answer(epoch, attempt, Box::new(said)));
        }
        self.send(request);
    }

    /// Whoever could go, by the truth, does not wait long once the world is calm.
    pub fn look(&mut self) {
        self.after(500, Act::Look);
        if self.is_hostile() || self.engine.is_none() {
            self.waiting.clear();
            return;
        }
        let mut waiting = BTreeMap::new();
        for (uid, pod) in &self.pods {
            let bare = self.workloads[pod.workload].kind == Kind::Bare;
            let due = pod.noticed.map(|at| if bare { at + 180_000 - pod.grace * 1_000 - 10_000 } else { at });
            let could = due.is_some_and(|due| due <= self.now)
                && pod.deletion.is_none()
                && !pod.phase.is_terminal()
                && self.would_grant(uid);
            if could {
                waiting.insert(uid.clone(), self.waiting.get(uid).copied().unwrap_or(self.now));
            }
        }
        self.waiting = waiting;
        // The longest wait of the engine after a refusal is 30 s, and then there is a queue.
        let oldest = self.waiting.iter().min_by_key(|(_, since)| **since);
        let Some((uid, since)) = oldest.filter(|(_, since)| self.now - **since > 35_000) else { return };
        let blocked = self.engine.as_ref().map(|engine| engine.blocked(50));
        self.breaks_law(&format!("{uid} could go since {since} and is forgotten; {blocked:?}"));
    }
}
