//! The model's world: one object, an API server for it, up to two operators, and the cloud.

use std::time::Duration;

use eci_api::image_cache::{DeletionPolicy, SecretVersion};
use eci_core::audit;
use eci_core::cloud::{CloudError, CloudId, Meaning};
use eci_core::cloud_resource::identity::TAG_CONTENT;
use eci_core::cloud_resource::{
    Create, Desired, Effect, Kind, Limits, List, Memory, Next, Object, Observed, Outcome, Owner, Peers,
    Phase, Plan, Read, Record, plan,
};
use eci_core::quota::Room;
use eci_core::time::{Mono, Now};
use jiff::Timestamp;

use crate::cloud::{Cloud, ModelKind, Request, Resource, Unknowns, error};

pub const UID_BASE: &str = "uid-";

/// A way to break the protocol on purpose, to see that the model notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// Operations are kept in memory only: sent, then recorded.
    SendThenRecord,
    /// An unresolved operation is not looked for.
    NoWindow,
    /// Every send has a token of its own.
    FreshTokens,
    /// The finalizer goes without waiting for what is under way.
    HastyFinalizer,
    /// What a resource was asked to hold is in the status alone.
    NoContentTag,
    /// Nobody asks the API server who else set something in the status.
    BlindToOthers,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    LostBefore,
    LostAfter,
    Late,
    Refused(u8),
    NotSent,
}

/// The object as the API server has it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub uid: String,
    pub generation: i64,
    pub version: u64,
    pub deleting: bool,
    pub finalizer: bool,
    pub request: Request,
    pub suspend: bool,
    pub requested_at: Option<String>,
    pub record: Record<Request>,
    /// When a backup was restored, until an operator writes: then it may have set every field anew.
    pub restored: Option<Timestamp>,
}

/// One operator process.
pub struct Process {
    started: Timestamp,
    memory: Memory<ModelKind>,
    memory_of: Option<String>,
    list: Option<List<ModelKind>>,
    copy: Option<(Stored, bool)>,
    secrets: Option<Vec<SecretVersion>>,
    pending: Option<Effect<Request>>,
    /// Version of the operator: writes requests in its own way.
    canon: u8,
    /// The secret as it was when its value was read.
    unsaved: Option<Record<Request>>,
}

pub struct World {
    pub now: Timestamp,
    pub cloud: Cloud,
    pub stored: Option<Stored>,
    pub history: Vec<Stored>,
    pub processes: Vec<Process>,
    pub sabotage: Sabotage,
    pub limits: Limits,
    secret: u64,
    objects: u64,
    pub story: Vec<String>,
}

impl World {
    pub fn new(unknowns: Unknowns, sabotage: Sabotage) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut limits = Limits::default();
        if sabotage == Sabotage::NoWindow {
            limits.resolve_window = Duration::ZERO;
        }
        let mut world = Self {
            now,
            cloud: Cloud::new(unknowns, now),
            stored: None,
            history: Vec::new(),
            processes: Vec::new(),
            sabotage,
            limits,
            secret: 1,
            objects: 0,
            story: Vec::new(),
        };
        world.processes = (0..2).map(|_| world.new_process(0)).collect();
        world.create_object();
        world
    }

    fn new_process(&self, canon: u8) -> Process {
        Process {
            started: self.now,
            memory: Memory::default(),
            memory_of: None,
            list: None,
            copy: None,
            secrets: None,
            pending: None,
            canon,
            unsaved: None,
        }
    }

    pub fn create_object(&mut self) {
        if self.stored.is_none() {
            self.objects += 1;
            self.stored = Some(Stored {
                uid: format!("{UID_BASE}{}", self.objects),
                generation: 1,
                version: self.history.len() as u64 + 1,
                deleting: false,
                finalizer: false,
                request: Request {
                    image: 1,
                    keep: 1,
                    canon: 0,
                    placed: self.cloud.unknowns.placed,
                    secrets: vec!["login".into()],
                },
                suspend: false,
                requested_at: None,
                record: Record::default(),
                restored: None,
            });
            self.remember();
        }
    }

    /// Every state of the object, so that watches can be old.
    fn remember(&mut self) {
        if let Some(stored) = &self.stored {
            self.history.push(stored.clone());
        }
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Stored)) {
        if let Some(stored) = &mut self.stored {
            change(stored);
            stored.version = self.history.len() as u64 + 1;
            self.remember();
        }
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut Stored)) {
        self.change(|stored| {
            change(stored);
            stored.generation += 1;
        });
    }

    pub fn delete_object(&mut self) {
        if self.stored.as_ref().is_some_and(|s| !s.finalizer) {
            self.stored = None;
        } else {
            self.change(|stored| stored.deleting = true);
        }
    }

    /// A backup is restored: an old status comes back, perhaps that of an earlier object.
    pub fn restore(&mut self, choice: usize) {
        let old = match self.history.len() {
            0 => return,
            n => self.history[choice % n].record.clone(),
        };
        // The API server tells whole seconds.
        let restored = Timestamp::from_second(self.now.as_second()).ok();
        self.change(|stored| (stored.record, stored.restored) = (old, restored));
    }

    pub fn wipe(&mut self) {
        // It tells who set a field, not who took one away.
        self.change(|stored| (stored.record, stored.restored) = (Record::default(), None));
    }

    pub fn rotate_secret(&mut self) {
        self.secret += 1;
    }

    pub fn crash(&mut self, p: usize, canon: u8) {
        self.processes[p] = self.new_process(canon);
    }

    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        self.cloud.advance(self.now);
    }

    /// No two things happen at the same instant.
    pub fn tick(&mut self) {
        self.advance(Duration::from_millis(1));
    }

    fn mono(&self, p: usize) -> Mono {
        Mono(Duration::try_from(self.now.duration_since(self.processes[p].started)).unwrap_or_default())
    }

    fn clock(&self, p: usize) -> Now {
        Now { wall: self.now, mono: self.mono(p) }
    }

    fn secret_version(&self) -> Vec<SecretVersion> {
        vec![SecretVersion {
            name: "login".into(),
            uid: "s".into(),
            resource_version: self.secret.to_string(),
        }]
    }

    pub fn poll(&mut self, p: usize) {
        self.tick();
        let begun = self.mono(p);
        let items = self.cloud.list();
        self.processes[p].list = Some(List { begun, items, suspect: false });
    }

    /// The process gets a copy from its watch, perhaps an old one.
    pub fn watch(&mut self, p: usize, age: usize) {
        if self.processes[p].pending.is_some() {
            // A reconcile keeps its copy until it is over.
            return;
        }
        let Some(stored) = &self.stored else {
            self.processes[p].copy = None;
            return;
        };
        let copies: Vec<&Stored> = self.history.iter().filter(|s| s.uid == stored.uid).collect();
        let at = copies.len().saturating_sub(1 + age);
        let copy = copies.get(at).map(|s| ((*s).clone(), false));
        self.hold(p, copy);
        self.processes[p].secrets = None;
    }

    fn get(&mut self, p: usize) {
        let copy = self.stored.clone().map(|s| (s, true));
        self.hold(p, copy);
    }

    /// The process holds this copy from now on; what it knew of another object is forgotten.
    fn hold(&mut self, p: usize, copy: Option<(Stored, bool)>) {
        let process = &mut self.processes[p];
        let uid = |copy: &Option<(Stored, bool)>| copy.as_ref().map(|(s, _)| s.uid.clone());
        if uid(&copy).is_some() && uid(&copy) != process.memory_of {
            process.memory = Memory::default();
            process.memory_of = uid(&copy);
        }
        process.copy = copy;
    }

    pub fn owner(stored: &Stored) -> Owner {
        Owner { cluster: "c".into(), namespace: "ns".into(), name: "a".into(), uid: stored.uid.clone() }
    }

    /// One half of a pass: decide, or do what was decided. Returns the wake-up when the process rests.
    pub fn step(&mut self, p: usize, fault: Fault) -> Result<Option<Duration>, String> {
        self.tick();
        if let Some(effect) = self.processes[p].pending.take() {
            self.carry_out(p, &effect, fault);
            return Ok(None);
        }
        let Some((copy, live)) = self.processes[p].copy.clone() else {
            return Ok(Some(Duration::from_hours(1)));
        };
        let decided = self.decide(p, &copy, live)?;
        match decided.next {
            Next::Rest => {
                let unsaved = self.sabotage == Sabotage::SendThenRecord && decided.record.operation.is_some();
                if decided.record != copy.record && !unsaved {
                    self.write(p, &decided.record, fault);
                    return Ok(None);
                }
                self.processes[p].secrets = None;
                // While something is busy lists come fast, and each is a reason to plan again.
                let quiet = Duration::from_secs(if decided.busy { 10 } else { 600 });
                Ok(Some(decided.wake.unwrap_or(quiet).min(quiet)))
            }
            Next::Read(read) => {
                self.read(p, read, fault);
                Ok(None)
            }
            Next::Do(effect) => {
                self.processes[p].pending = Some(effect);
                Ok(None)
            }
        }
    }

    fn decide(&mut self, p: usize, copy: &Stored, live: bool) -> Result<Plan<Request>, String> {
        let now = self.clock(p);
        let object = Object {
            owner: Self::owner(copy),
            created: self.now,
            generation: copy.generation,
            resource_version: copy.version.to_string(),
            deleting: copy.deleting,
            has_finalizer: copy.finalizer,
            status_set_by_others: copy.restored.filter(|_| self.sabotage != Sabotage::BlindToOthers),
            live,
        };
        let process = &mut self.processes[p];
        let record = match &process.unsaved {
            Some(record) if self.sabotage == Sabotage::SendThenRecord => record.clone(),
            _ => copy.record.clone(),
        };
        let desired = Desired {
            request: Ok(Request { canon: process.canon, ..copy.request.clone() }),
            deletion_policy: DeletionPolicy::Delete,
            suspend: copy.suspend,
            requested_at: copy.requested_at.clone(),
            force_delete: false,
            adopt: None,
            adopt_at: None,
            privileged: None,
        };
        let seen = Observed {
            object: object.clone(),
            record: record.clone(),
            list: process.list.as_ref(),
            list_error: None,
            privileged: None,
            // There is no other object.
            peers: Some(Peers::default()),
            secrets: process.secrets.clone().map(Ok),
            users: Some(Ok(Vec::new())),
            room: Some(Room::Unknown),
            region: "r",
            lease_left: None,
        };
        let mut decided = plan(seen, &desired, &mut process.memory, &self.limits, now);
        audit::check::<ModelKind>(&object, None, &record, &decided)?;
        if self.sabotage == Sabotage::HastyFinalizer && copy.deleting && decided.next == Next::Rest {
            decided.next = Next::Do(Effect::RemoveFinalizer);
        }
        let next: String = format!("{:?}", decided.next).chars().take(200).collect();
        self.story.push(format!("{} p{p} v{} {next}", self.now, copy.version));
        Ok(decided)
    }

    fn read(&mut self, p: usize, read: Read, fault: Fault) {
        match read {
            Read::Namespace | Read::Peers | Read::Users | Read::Room => {
                unreachable!("nothing is adopted, and there are no others")
            }
            Read::Object => self.get(p),
            Read::Secrets(_) => self.processes[p].secrets = Some(self.secret_version()),
            Read::List(_) => self.poll(p),
            Read::Place(place) => {
                let now = self.clock(p);
                let views = self.cloud.at_place();
                let memory = &mut self.processes[p].memory;
                match fault {
                    Fault::LostBefore => memory.look_failed(error(Meaning::Unknown), &self.limits, now),
                    _ => memory.looked_at(place, now.mono, views),
                }
            }
            Read::Resource(id) => {
                let now = self.clock(p);
                let view = self.cloud.look(&id);
                let memory = &mut self.processes[p].memory;
                match fault {
                    Fault::LostBefore => memory.look_failed(error(Meaning::Unknown), &self.limits, now),
                    _ => memory.looked(id, now.mono, view),
                }
            }
        }
    }

    fn carry_out(&mut self, p: usize, effect: &Effect<Request>, fault: Fault) {
        let outcome = match effect {
            Effect::AddFinalizer => self.patch(p, |s| s.finalizer = true),
            Effect::RemoveFinalizer => {
                let outcome = self.patch(p, |s| s.finalizer = false);
                if self.stored.as_ref().is_some_and(|s| s.deleting && !s.finalizer) {
                    self.stored = None;
                }
                outcome
            }
            Effect::Write(record) => {
                self.write(p, record, fault);
                return;
            }
            Effect::Create(call) => self.call_create(p, call, fault),
            Effect::TellOfStray(_) => Outcome::Done,
            Effect::Update { id, request, .. } => self.call(fault, |c| c.update(id, request.keep)),
            Effect::Delete { id, .. } => self.call(fault, |c| c.delete(id)),
            Effect::Retag { id, set, remove } => self.call(fault, |c| c.retag(id, set, remove)),
        };
        if matches!(outcome, Outcome::Withheld) {
            // The secrets that this reconcile read are not those of the record.
            self.processes[p].secrets = None;
        }
        let now = self.clock(p);
        self.processes[p].memory.fold(effect, outcome, &self.limits, now);
    }

    fn call(&mut self, fault: Fault, call: impl FnOnce(&mut Cloud) -> Result<(), CloudError>) -> Outcome {
        let result = match refused(fault) {
            Some(e) => Err(e),
            None => call(&mut self.cloud),
        };
        match result {
            _ if matches!(fault, Fault::LostAfter | Fault::Late) => Outcome::Failed(error(Meaning::Unknown)),
            Ok(()) => Outcome::Done,
            Err(e) => Outcome::Failed(e),
        }
    }

    fn call_create(&mut self, p: usize, call: &Create<Request>, fault: Fault) -> Outcome {
        if call.secrets != self.secret_version() || self.mono(p) > call.not_after {
            return Outcome::Withheld;
        }
        let mut call = call.clone();
        if self.sabotage == Sabotage::FreshTokens {
            call.token = eci_core::cloud::ClientToken::new(format!("t{}", self.story.len())).unwrap();
        }
        if self.sabotage == Sabotage::NoContentTag {
            call.tags.remove(TAG_CONTENT);
        }
        if let Some(e) = refused(fault) {
            return Outcome::Failed(e);
        }
        if fault == Fault::Late {
            self.cloud.under_way.push((self.now + self.cloud.unknowns.late_effect, call));
            return Outcome::Failed(error(Meaning::Unknown));
        }
        match self.cloud.create(&call) {
            _ if fault == Fault::LostAfter => Outcome::Failed(error(Meaning::Unknown)),
            Ok(id) => Outcome::Created(id),
            Err(e) => Outcome::Failed(e),
        }
    }

    /// A write of the status, refused when the copy is old.
    fn write(&mut self, p: usize, record: &Record<Request>, fault: Fault) {
        let effect = Effect::Write(Box::new(record.clone()));
        if self.sabotage == Sabotage::SendThenRecord && record.operation.is_some() {
            self.processes[p].unsaved = Some(record.clone());
            let version =
                self.processes[p].copy.as_ref().map(|(s, _)| s.version.to_string()).unwrap_or_default();
            if let Some((_, live)) = &mut self.processes[p].copy {
                *live = true;
            }
            let now = self.clock(p);
            self.processes[p].memory.fold(&effect, Outcome::Written(version), &self.limits, now);
            return;
        }
        self.processes[p].unsaved = None;
        let record = record.clone();
        let outcome = if fault == Fault::LostBefore {
            self.lose(p)
        } else {
            self.patch(p, |s| (s.record, s.restored) = (record, None))
        };
        let outcome = if fault == Fault::LostAfter { self.lose(p) } else { outcome };
        let now = self.clock(p);
        self.processes[p].memory.fold(&effect, outcome, &self.limits, now);
    }

    fn lose(&mut self, p: usize) -> Outcome {
        self.get(p);
        Outcome::Conflict
    }

    fn patch(&mut self, p: usize, change: impl FnOnce(&mut Stored)) -> Outcome {
        let held = self.processes[p].copy.as_ref().map(|(s, _)| (s.uid.clone(), s.version));
        let there = self.stored.as_ref().map(|s| (s.uid.clone(), s.version));
        if held.is_none() || held != there {
            return self.lose(p);
        }
        self.change(change);
        self.get(p);
        Outcome::Written(self.stored.as_ref().map(|s| s.version.to_string()).unwrap_or_default())
    }

    /// Faults end, and everybody works until nothing happens any more.
    pub fn settle(&mut self) -> Result<(), String> {
        self.cloud.failing_builds = 0;
        self.cloud.unsquat();
        self.change(|s| {
            s.suspend = false;
            s.requested_at = Some("now".into());
        });
        let mut verdict = Err("the world does not come to rest".to_owned());
        for _ in 0..ROUNDS {
            let mut rest = Duration::from_hours(1);
            let mut idle = true;
            for p in 0..self.processes.len() {
                self.watch(p, 0);
                self.poll(p);
                let mut steps = 0;
                loop {
                    if let Some(wake) = self.step(p, Fault::None)? {
                        rest = rest.min(wake);
                        break;
                    }
                    steps += 1;
                    idle = false;
                    if steps > STEPS {
                        return Err("a reconcile does not come to rest".into());
                    }
                }
            }
            let shown =
                |r: &Resource| r.shown <= self.now && r.ended.is_none_or(|(_, hidden)| hidden <= self.now);
            let quiet = idle && rest >= Duration::from_mins(10) && self.cloud.under_way.is_empty();
            if quiet && self.cloud.resources.iter().all(shown) {
                verdict = self.verdict();
                // A failed build that is tried again in half an hour is quiet too.
                if verdict.is_ok() {
                    return Ok(());
                }
            }
            self.advance(rest.clamp(Duration::from_secs(1), Duration::from_mins(10)));
        }
        verdict
    }

    /// What must hold at the end.
    fn verdict(&self) -> Result<(), String> {
        let alive: Vec<&Resource> = self.cloud.alive().filter(|r| !r.tags.is_empty()).collect();
        let Some(stored) = &self.stored else {
            let late = self.cloud.unknowns.list_lag + self.cloud.unknowns.late_effect
                >= Limits::default().resolve_window;
            // Lists that lag for longer than the window can hide a resource from a deletion: the sweeper reports it.
            return if alive.is_empty() || late { Ok(()) } else { Err(format!("orphans: {alive:?}")) };
        };
        if stored.deleting {
            return Err("stuck in deletion".into());
        }
        let uid = &stored.uid;
        let ours: Vec<_> = alive.iter().filter(|r| World::owner(stored).owns(&r.tags)).collect();
        let record = &stored.record;
        if ours.len() != 1 || alive.len() != 1 {
            let late = self.cloud.unknowns.list_lag + self.cloud.unknowns.late_effect
                >= Limits::default().resolve_window;
            let foreign = ours.len() == 1 && late;
            if !foreign {
                return Err(format!("{} resources for {uid}, {} in all", ours.len(), alive.len()));
            }
        }
        let current = record.current.as_ref().ok_or("no current resource in the record")?;
        let resource = ours[0];
        if resource.id != current.id || resource.phase != Phase::Usable || !record.usable {
            return Err(format!(
                "the record says {}, the cloud has {} {:?}",
                current.id, resource.id, resource.phase
            ));
        }
        if ModelKind::replaces(&stored.request, &resource.request)
            || ModelKind::updates(&stored.request, &resource.request)
        {
            return Err("the resource is not what the spec asks for".into());
        }
        if record.operation.is_some() || record.successor.is_some() {
            return Err("something is still under way".into());
        }
        Ok(())
    }

    /// What must hold at any time: while the cloud remembers tokens, no attempt makes the same thing twice.
    pub fn always(&self) -> Result<(), String> {
        if self.cloud.unknowns.token_life < Duration::from_hours(24) {
            return Ok(());
        }
        let mut seen = std::collections::BTreeMap::new();
        for r in self.cloud.resources.iter().filter(|r| !r.is_by_hand()) {
            if let Some(first) = seen.insert((&r.made_by, format!("{:?}", r.request_made)), &r.id) {
                return Err(format!("{first} and {} were made by the same attempt", r.id));
            }
        }
        Ok(())
    }

    pub fn vanish(&mut self) {
        let id: Option<CloudId> = self.cloud.alive().last().map(|r| r.id.clone());
        if let Some(resource) = self.cloud.resources.iter_mut().find(|r| Some(&r.id) == id.as_ref()) {
            resource.ended = Some((self.now, self.now + self.cloud.unknowns.list_lag));
        }
    }
}

fn refused(fault: Fault) -> Option<CloudError> {
    let meaning = match fault {
        Fault::LostBefore => Meaning::Unknown,
        Fault::NotSent => Meaning::NotSent,
        Fault::Refused(n) => {
            [Meaning::Throttled, Meaning::QuotaExceeded, Meaning::Busy, Meaning::Denied, Meaning::Invalid]
                [usize::from(n) % 5]
        }
        Fault::None | Fault::LostAfter | Fault::Late => return None,
    };
    Some(error(meaning))
}

/// Bound of a settlement, in rounds.
const ROUNDS: usize = 400;
/// Bound of one reconcile, in half passes.
const STEPS: usize = 100;
