//! The world: virtual time, controllers, watches that lag and break, the vendor, and an operator that may be restarted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use eci_core::eviction::{Engine, Event, Phase, Report, Settings};

use super::objects::{Dice, Kind, SimPdb, SimPod, Workload};
use super::server::{Request, Said};

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Act {
    SyncRead(usize),
    SyncWrite(usize, Box<SimPdb>),
    Controller(usize),
    Ready(String, bool),
    Remove(String),
    Arrive(usize),
    Write(usize),
    Again(usize),
    Finish(usize),
    Answer(u64, u64, Box<Said>),
    Deliver(u64, bool, Vec<Event>),
    Spot(u64, String),
    List(u64, bool),
    Break(bool),
    Notice(String),
    Release(String),
    Vendor(String),
    Replay,
    Tick(u64, u64),
    Stop,
    Start,
    Edit(usize),
    /// The law of patience is looked at.
    Look,
}

/// What the engine is broken by, to see whether the laws notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// It sees no budget.
    Blind,
    /// It sees no pod that came after the start, and none that goes.
    Stale,
    /// Some notices are lost.
    Forgetful,
    /// Every order is sent twice.
    Twice,
}

/// How hostile the world is, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hostility {
    pub lost: i64,
    pub refused: i64,
    pub lag: i64,
    pub crash: i64,
    pub vendor: i64,
    pub breaks: i64,
    pub restarts: i64,
    pub edits: i64,
    pub replays: i64,
}

impl Hostility {
    pub const CALM: Self = Self {
        lost: 0,
        refused: 0,
        lag: 20,
        crash: 0,
        vendor: 0,
        breaks: 0,
        restarts: 0,
        edits: 0,
        replays: 0,
    };

    pub fn is_calm(&self) -> bool {
        (self.lost, self.refused, self.crash, self.vendor) == (0, 0, 0, 0)
            && (self.breaks, self.restarts, self.edits, self.replays) == (0, 0, 0, 0)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub requests: u32,
    pub granted: u32,
    pub exhausted: u32,
    pub burnt: u32,
    pub shortened: u32,
    pub faults: u32,
    pub versions: u32,
    pub graceful: u32,
    pub last_eviction: i64,
    pub noticed: u32,
    pub released: u32,
    pub listed: u32,
    pub unheard: u32,
    pub restarts: u32,
}

impl Stats {
    /// Sums up.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.granted += other.granted;
        self.exhausted += other.exhausted;
        self.burnt += other.burnt;
        self.shortened += other.shortened;
        self.faults += other.faults;
        self.versions += other.versions;
        self.graceful += other.graceful;
        self.noticed += other.noticed;
        self.released += other.released;
        self.listed += other.listed;
        self.restarts += other.restarts;
    }
}

pub struct World {
    pub now: i64,
    pub seq: u64,
    pub queue: BinaryHeap<Reverse<(i64, u64)>>,
    pub acts: BTreeMap<u64, Act>,
    pub dice: Dice,
    pub hostility: Hostility,
    pub sabotage: Sabotage,
    /// Faults end then.
    pub calm_from: i64,
    pub releases: bool,
    pub workloads: Vec<Workload>,
    pub pods: BTreeMap<String, SimPod>,
    pub names: BTreeMap<(String, String), String>,
    pub pdbs: BTreeMap<usize, SimPdb>,
    pub requests: Vec<Request>,
    pub rv: u64,
    pub uids: u64,
    pub syncing: BTreeSet<usize>,
    pub stats: Stats,
    /// Whether somebody was deleted against budgets, as was asked for.
    pub forced: bool,
    pub only_by_event: BTreeSet<String>,
    /// Whose instance went before anybody told them to end.
    pub lost: BTreeSet<String>,
    /// When whoever had a notice was told to end.
    pub told: BTreeMap<String, i64>,
    pub broken: Option<String>,
    // The operator.
    pub settings: Settings,
    pub engine: Option<Engine>,
    pub epoch: u64,
    pub began: i64,
    pub streams: [(u64, i64, bool); 2],
    pub ticks: u64,
    pub seen: BTreeMap<(String, String), (String, bool, u64)>,
    pub open: BTreeMap<u64, (String, Option<usize>)>,
    pub accepted: BTreeSet<String>,
    pub sent_at: Vec<i64>,
    pub per_pod: BTreeMap<String, Vec<i64>>,
    pub waiting: BTreeMap<String, i64>,
    pub reports: Vec<Report>,
    pub history: Vec<Event>,
}

pub const PODS: usize = 0;
pub const PDBS: usize = 1;

impl World {
    pub fn new(seed: u64, hostility: Hostility, settings: Settings) -> Self {
        Self {
            now: 0,
            seq: 0,
            queue: BinaryHeap::new(),
            acts: BTreeMap::new(),
            dice: Dice::new(seed),
            hostility,
            sabotage: Sabotage::None,
            calm_from: 150_000,
            releases: false,
            workloads: Vec::new(),
            pods: BTreeMap::new(),
            names: BTreeMap::new(),
            pdbs: BTreeMap::new(),
            requests: Vec::new(),
            rv: 0,
            uids: 0,
            syncing: BTreeSet::new(),
            stats: Stats::default(),
            forced: false,
            only_by_event: BTreeSet::new(),
            lost: BTreeSet::new(),
            told: BTreeMap::new(),
            broken: None,
            settings,
            engine: None,
            epoch: 0,
            began: 0,
            streams: [(0, 0, true), (0, 0, true)],
            ticks: 0,
            seen: BTreeMap::new(),
            open: BTreeMap::new(),
            accepted: BTreeSet::new(),
            sent_at: Vec::new(),
            per_pod: BTreeMap::new(),
            waiting: BTreeMap::new(),
            reports: Vec::new(),
            history: Vec::new(),
        }
    }

    pub fn at(&mut self, when: i64, act: Act) {
        self.seq += 1;
        self.queue.push(Reverse((when.max(self.now), self.seq)));
        self.acts.insert(self.seq, act);
    }

    pub fn after(&mut self, wait: i64, act: Act) {
        self.at(self.now + wait, act);
    }

    pub fn is_hostile(&self) -> bool {
        self.now < self.calm_from
    }

    pub fn roll(&mut self, percent: i64) -> bool {
        self.is_hostile() && percent > 0 && self.dice.chance(percent)
    }

    pub fn breaks_law(&mut self, law: &str) {
        if self.broken.is_none() {
            self.broken = Some(format!("at {} ms: {law}", self.now));
        }
    }

    /// Runs until then, or until a law is broken.
    pub fn run(&mut self, until: i64) {
        while let Some(Reverse((when, seq))) = self.queue.peek().copied() {
            if when > until || self.broken.is_some() {
                break;
            }
            self.queue.pop();
            self.now = when;
            if let Some(act) = self.acts.remove(&seq) {
                self.act(act);
            }
        }
        self.now = self.now.max(until);
    }

    pub fn act(&mut self, act: Act) {
        match act {
            Act::SyncRead(pdb) => {
                self.syncing.remove(&pdb);
                self.sync_read(pdb);
            }
            Act::SyncWrite(pdb, next) => self.sync_write(pdb, &next),
            Act::Controller(workload) => self.control(workload),
            Act::Ready(uid, ready) => self.set_ready(&uid, ready),
            Act::Remove(uid) => self.remove(&uid),
            Act::Arrive(id) => self.arrive(id),
            Act::Write(id) => self.write(id),
            Act::Again(id) => self.again(id),
            Act::Finish(id) => self.finish(id),
            Act::Answer(epoch, attempt, said) => self.answered(epoch, attempt, &said),
            Act::Deliver(session, pods, events) => self.deliver(session, pods, events),
            Act::Spot(epoch, uid) => self.spot(epoch, &uid),
            Act::List(session, pods) => self.list(session, pods),
            Act::Break(pods) => self.break_watch(pods),
            Act::Notice(uid) => self.notice(&uid),
            Act::Release(uid) => self.release(&uid),
            Act::Vendor(uid) => self.vendor(&uid),
            Act::Replay => self.replay(),
            Act::Tick(epoch, tick) if epoch == self.epoch && tick == self.ticks => {
                self.feed(vec![Event::Tick]);
            }
            Act::Tick(..) => {}
            Act::Stop => self.stop(),
            Act::Start => self.start(),
            Act::Edit(pdb) => self.edit(pdb),
            Act::Look => self.look(),
        }
    }

    // ---- objects -------------------------------------------------------------------------------------------------

    pub fn pod(&self, namespace: &str, name: &str) -> Option<&SimPod> {
        self.pods.get(self.names.get(&(namespace.to_owned(), name.to_owned()))?)
    }

    pub fn pdbs_of(&self, namespace: &str, workload: usize) -> Vec<usize> {
        let app = &self.workloads[workload].app;
        self.pdbs.iter().filter(|(_, p)| p.namespace == namespace && p.app == *app).map(|(i, _)| *i).collect()
    }

    pub fn version(&mut self) -> u64 {
        self.rv += 1;
        self.rv
    }

    pub fn pod_changed(&mut self, uid: &str) {
        let rv = self.version();
        let Some(pod) = self.pods.get_mut(uid) else { return };
        pod.rv = rv;
        let (namespace, workload) = (pod.namespace.clone(), pod.workload);
        let event = Event::Pod(Box::new(pod.seen(&self.workloads[workload])));
        self.tell(PODS, event);
        for pdb in self.pdbs_of(&namespace, workload) {
            self.sync_soon(pdb);
        }
    }

    pub fn pdb_changed(&mut self, pdb: usize) {
        let rv = self.version();
        let Some(budget) = self.pdbs.get_mut(&pdb) else { return };
        budget.rv = rv;
        self.stats.versions += 1;
        let event = Event::Budget(Box::new(budget.seen()));
        self.tell(PDBS, event);
    }

    pub fn sync_soon(&mut self, pdb: usize) {
        if self.syncing.insert(pdb) {
            let lag = self.dice.between(2, 2 + self.hostility.lag);
            self.after(lag, Act::SyncRead(pdb));
        }
    }

    pub fn add_pod(&mut self, workload: usize, name: &str, ready: bool) -> String {
        self.uids += 1;
        let uid = format!("uid-{}", self.uids);
        let of = &self.workloads[workload];
        let pod = SimPod {
            namespace: of.namespace.clone(),
            name: name.to_owned(),
            uid: uid.clone(),
            rv: 0,
            workload,
            phase: if ready { Phase::Running } else { Phase::Pending },
            ready,
            ready_at: ready.then_some(self.now),
            created: self.now,
            deletion: None,
            grace: of.grace,
            cost: 0,
            noticed: None,
            by_event: false,
            bid_failed: false,
        };
        let start = of.start;
        self.names.insert((pod.namespace.clone(), pod.name.clone()), uid.clone());
        self.pods.insert(uid.clone(), pod);
        if !ready {
            let wait = self.dice.between(start.0, start.1);
            self.after(wait, Act::Ready(uid.clone(), true));
        }
        self.pod_changed(&uid);
        uid
    }

    /// The controller of a workload.
    pub fn control(&mut self, workload: usize) {
        let of = self.workloads[workload].clone();
        let alive: Vec<SimPod> = self.pods.values().filter(|pod| pod.workload == workload).cloned().collect();
        match of.kind {
            Kind::Bare => {}
            Kind::ReplicaSet => {
                let active =
                    alive.iter().filter(|pod| pod.deletion.is_none() && !pod.phase.is_terminal()).count();
                for _ in i64::try_from(active).unwrap()..of.replicas {
                    self.workloads[workload].next += 1;
                    let name = format!("{}-r{}", of.app, self.workloads[workload].next);
                    self.add_pod(workload, &name, false);
                }
            }
            Kind::StatefulSet => {
                for ordinal in 0..of.replicas {
                    let name = format!("{}-{ordinal}", of.app);
                    match self.pod(&of.namespace, &name).cloned() {
                        None => drop(self.add_pod(workload, &name, false)),
                        Some(pod) if pod.phase.is_terminal() && pod.deletion.is_none() => {
                            self.begin_deletion(&pod.uid, 0, None);
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }

    pub fn set_ready(&mut self, uid: &str, ready: bool) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if pod.phase.is_terminal() || pod.ready == ready {
            return;
        }
        (pod.phase, pod.ready) = (Phase::Running, ready);
        pod.ready_at = ready.then_some(now).or(pod.ready_at);
        self.pod_changed(uid);
        if !ready {
            let wait = self.dice.between(1_000, 15_000);
            self.after(wait, Act::Ready(uid.to_owned(), true));
        }
    }

    /// Sets the deletion timestamp, or shortens one.
    pub fn begin_deletion(&mut self, uid: &str, grace: i64, by: Option<&Request>) {
        let now = self.now;
        let ours = by.is_some_and(|request| request.attempt.is_some());
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if let Some((begun, old)) = pod.deletion {
            if begun + old * 1_000 > now + grace * 1_000 && grace < old {
                pod.deletion = Some((begun, grace));
                self.stats.shortened += u32::from(ours);
                self.at(begun + grace * 1_000, Act::Remove(uid.to_owned()));
                self.pod_changed(uid);
            }
            return;
        }
        pod.deletion = Some((now, grace));
        let (noticed, own) = (pod.noticed, pod.grace);
        let (workload, namespace) = (pod.workload, pod.namespace.clone());
        let stop = if pod.phase.is_terminal() { 0 } else { self.dice.between(0, grace.max(0) * 1_000) };
        self.after(stop, Act::Remove(uid.to_owned()));
        self.forced |= by.is_some_and(|request| request.deletion);
        if let Some(at) = noticed {
            self.stats.granted += 1;
            self.told.insert(uid.to_owned(), now);
            self.stats.last_eviction = now;
            self.stats.graceful += u32::from(grace >= own && now + own * 1_000 <= at + 180_000);
        }
        self.pod_changed(uid);
        // The truth: an eviction that the budget paid leaves it intact, unless pods crash, are released or deleted, or somebody edits it.
        if by.is_some_and(|request| request.charged && !request.deletion)
            && self.hostility.crash == 0
            && self.hostility.edits == 0
            && !self.releases
            && !self.forced
        {
            for pdb in self.pdbs_of(&namespace, workload) {
                let budget = &self.pdbs[&pdb];
                let of = |pod: &&SimPod| {
                    pod.namespace == budget.namespace && self.workloads[pod.workload].app == budget.app
                };
                let healthy = self.pods.values().filter(of).filter(|pod| pod.healthy()).count();
                if i32::try_from(healthy).unwrap() < budget.desired {
                    self.breaks_law(&format!("{healthy} healthy pods, {} promised", self.pdbs[&pdb].desired));
                }
            }
        }
        let wait = self.dice.between(5, 60);
        self.after(wait, Act::Controller(workload));
    }

    pub fn remove(&mut self, uid: &str) {
        let Some(pod) = self.pods.get(uid) else { return };
        if pod.deletion.is_none() {
            return;
        }
        let Some(pod) = self.pods.remove(uid) else { return };
        let name = (pod.namespace.clone(), pod.name.clone());
        if self.names.get(&name).is_some_and(|known| known == uid) {
            self.names.remove(&name);
        }
        self.version();
        let id = eci_core::eviction::PodRef::new(&pod.namespace, &pod.name, uid);
        self.tell(PODS, Event::PodGone(id));
        for pdb in self.pdbs_of(&pod.namespace, pod.workload) {
            self.sync_soon(pdb);
        }
        let wait = self.dice.between(5, 60);
        self.after(wait, Act::Controller(pod.workload));
    }
}
