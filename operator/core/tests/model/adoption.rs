//! Adoption, as a model: several objects that claim one resource, while tags show late, answers are lost, processes die,
//! and objects come and go. One process leads at a time, as the Lease has it; what it knows of the other objects may be
//! old, but for what it wrote itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eci_api::image_cache::DeletionPolicy;
use eci_core::audit;
use eci_core::cloud::{CloudId, Meaning};
use eci_core::cloud_resource::identity::{TAG_CLUSTER, TAG_RETAINED, TAG_UID};
use eci_core::cloud_resource::{
    Desired, Effect, Limits, List, Memory, Next, Object, Observed, Outcome, Owner, Peer, Peers, Phase, Read,
    Record, plan,
};
use eci_core::quota::Room;
use eci_core::time::{Mono, Now};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::cloud::{Cloud, ModelKind, Request, Resource, Unknowns, error};

/// How many objects there may be at once.
const SLOTS: usize = 3;
/// Bound of a settlement, in rounds of at least 5 s: a deletion's window, then the longest lag of a list, then a look.
const ROUNDS: usize = 600;
/// Bound of one reconcile.
const PASSES: usize = 60;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// A reconcile of an object, of at most so many passes; the first call to the cloud fares like this.
    Work(usize, u8, Fault),
    Poll,
    /// The watch catches up.
    Sync,
    Wait(u64),
    Create(usize, bool),
    Delete(usize),
    Crash,
    WipeStatus(usize),
    /// Somebody takes our tags off by hand.
    Untag,
    /// Another cluster's operator takes the resource, if nobody has it.
    TakenElsewhere,
    Vanish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    LostBefore,
    LostAfter,
    Refused,
}

/// A way to break the protocol on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    None,
    /// Nobody is asked about the others.
    NoPeers,
    /// What a process wrote is forgotten as soon as it is written, and the watch is old.
    NoMemoryOfWrites,
}

#[derive(Clone, Debug)]
struct Stored {
    uid: String,
    name: String,
    created: Timestamp,
    version: u64,
    deleting: bool,
    finalizer: bool,
    policy: DeletionPolicy,
    record: Record<Request>,
}

struct World {
    now: Timestamp,
    started: Timestamp,
    cloud: Cloud,
    /// Tags as they were: they show late.
    tags: Vec<(Timestamp, CloudId, BTreeMap<String, String>)>,
    target: CloudId,
    objects: [Option<Stored>; SLOTS],
    count: u64,
    memories: BTreeMap<String, Memory<ModelKind>>,
    list: Option<(Mono, Vec<Resource>)>,
    /// The other objects as the watch has them, and as this process wrote them.
    watched: Vec<Peer>,
    wrote: BTreeMap<String, Peer>,
    sabotage: Sabotage,
    story: Vec<String>,
    limits: Limits,
    /// A status was lost: who had confirmed what is known to nobody.
    wiped: bool,
}

fn request() -> Request {
    Request { image: 1, keep: 1, canon: 0, placed: false, secrets: Vec::new() }
}

fn peer(object: &Stored, target: &CloudId) -> Peer {
    let record = &object.record;
    Peer {
        namespace: "ns".into(),
        name: object.name.clone(),
        uid: object.uid.clone(),
        created: object.created,
        deleting: object.deleting,
        adopts: Some(target.clone()),
        adopting: record.adopting.clone(),
        owns: record
            .current
            .iter()
            .chain(&record.successor)
            .map(|o| o.id.clone())
            .chain(record.retiring.iter().cloned())
            .collect(),
        claim: None,
    }
}

impl World {
    fn new(unknowns: Unknowns, sabotage: Sabotage) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut cloud = Cloud::new(unknowns, now);
        let target = CloudId::parse("r-target").unwrap();
        let tags: BTreeMap<_, _> = [(TAG_RETAINED.to_owned(), "c/ns/old".to_owned())].into();
        cloud.resources.push(Resource {
            id: target.clone(),
            request: request(),
            request_made: request(),
            made_by: BTreeMap::new(),
            tags,
            phase: Phase::Usable,
            created: Timestamp::UNIX_EPOCH,
            shown: Timestamp::UNIX_EPOCH,
            ended: None,
        });
        let mut world = Self {
            now,
            started: now,
            cloud,
            tags: Vec::new(),
            target,
            objects: [const { None }; SLOTS],
            count: 0,
            memories: BTreeMap::new(),
            list: None,
            watched: Vec::new(),
            wrote: BTreeMap::new(),
            sabotage,
            story: Vec::new(),
            limits: Limits::default(),
            wiped: false,
        };
        world.remember_tags();
        world
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.cloud.advance(self.now);
    }

    fn mono(&self) -> Mono {
        Mono(Duration::try_from(self.now.duration_since(self.started)).unwrap_or_default())
    }

    fn remember_tags(&mut self) {
        for resource in &self.cloud.resources {
            self.tags.push((self.now, resource.id.clone(), resource.tags.clone()));
        }
    }

    /// The resource with the tags that it had so long ago.
    fn late(&self, resource: &Resource, lag: Duration) -> Resource {
        let of = |(at, id, _): &&(Timestamp, CloudId, _)| *id == resource.id && *at + lag <= self.now;
        let tags = self.tags.iter().rev().find(of).map(|(_, _, tags)| tags.clone());
        Resource { tags: tags.unwrap_or_else(|| resource.tags.clone()), ..resource.clone() }
    }

    fn poll(&mut self) {
        self.advance(Duration::from_millis(1));
        let lag = self.cloud.unknowns.list_lag;
        let items: Vec<_> = self.cloud.list().iter().map(|r| self.late(r, lag)).collect();
        let ours = items.into_iter().filter(|r| r.tags.get(TAG_CLUSTER).is_some_and(|c| c == "c"));
        self.list = Some((self.mono(), ours.collect()));
    }

    fn sync(&mut self) {
        self.watched = self.objects.iter().flatten().map(|o| peer(o, &self.target)).collect();
        // The end of an object is an event of the watch.
        self.wrote.retain(|uid, _| self.objects.iter().flatten().any(|o| o.uid == *uid));
    }

    /// The next process: it reads all objects before it does anything.
    fn crash(&mut self) {
        self.memories.clear();
        self.wrote.clear();
        self.list = None;
        self.started = self.now;
        self.sync();
    }

    fn create(&mut self, slot: usize, retain: bool) {
        if self.objects[slot].is_some() {
            return;
        }
        self.count += 1;
        self.objects[slot] = Some(Stored {
            // Not in the order of their creation.
            uid: format!("uid-{}-{}", (self.count * 7) % 10, self.count),
            name: format!("o{slot}"),
            created: Timestamp::from_second(self.now.as_second()).unwrap(),
            version: self.count,
            deleting: false,
            finalizer: false,
            policy: if retain { DeletionPolicy::Retain } else { DeletionPolicy::Delete },
            record: Record::default(),
        });
    }

    fn delete(&mut self, slot: usize) {
        match &mut self.objects[slot] {
            Some(object) if object.finalizer => {
                self.count += 1;
                (object.deleting, object.version) = (true, self.count);
            }
            object => *object = None,
        }
    }

    fn peers(&self) -> Peers {
        let all = self.watched.iter().map(|seen| match self.wrote.get(&seen.uid) {
            Some(wrote) => Peer {
                adopting: wrote.adopting.clone().or(seen.adopting.clone()),
                owns: seen.owns.union(&wrote.owns).cloned().collect(),
                ..seen.clone()
            },
            None => seen.clone(),
        });
        let mut all: Vec<_> = all.collect();
        let seen: BTreeSet<_> = all.iter().map(|peer| peer.uid.clone()).collect();
        all.extend(self.wrote.values().filter(|peer| !seen.contains(&peer.uid)).cloned());
        match self.sabotage {
            Sabotage::NoPeers => Peers::default(),
            _ => Peers { all, namespaces: None },
        }
    }

    /// A reconcile, or its beginning. `None` when it was interrupted, else when it wants to be called again.
    fn work(&mut self, slot: usize, passes: usize, fault: Fault) -> Result<Option<Duration>, String> {
        let mut fault = fault;
        let mut peers = None;
        for _ in 0..passes {
            self.advance(Duration::from_millis(1));
            let Some(stored) = self.objects[slot].clone() else { return Ok(Some(Duration::from_hours(1))) };
            let now = Now { wall: self.now, mono: self.mono() };
            let object = Object {
                owner: Owner {
                    cluster: "c".into(),
                    namespace: "ns".into(),
                    name: stored.name.clone(),
                    uid: stored.uid.clone(),
                },
                created: stored.created,
                generation: 1,
                resource_version: stored.version.to_string(),
                deleting: stored.deleting,
                has_finalizer: stored.finalizer,
                live: true,
            };
            let owner = object.owner.clone();
            let list = self.list.as_ref().map(|(begun, items)| List::<ModelKind> {
                begun: *begun,
                items: items
                    .iter()
                    .filter(|r| owner.owns(&r.tags) || owner.is_namesake(&r.tags))
                    .cloned()
                    .collect(),
                suspect: false,
            });
            let desired = Desired {
                request: Ok(request()),
                deletion_policy: stored.policy,
                suspend: false,
                requested_at: None,
                force_delete: false,
                adopt: Some(self.target.clone()),
                adopt_at: None,
                privileged: None,
            };
            let seen = Observed {
                object: object.clone(),
                record: stored.record.clone(),
                list: list.as_ref(),
                list_error: None,
                secrets: Some(Ok(Vec::new())),
                privileged: Some(Ok(true)),
                peers: peers.clone(),
                users: Some(Ok(Vec::new())),
                room: Some(Room::Unknown),
                region: "r",
                lease_left: None,
            };
            let memory = self.memories.entry(stored.uid.clone()).or_default();
            let decided = plan(seen, &desired, memory, &self.limits, now);
            audit::check::<ModelKind>(&object, desired.adopt.as_ref(), &stored.record, &decided)?;
            let told: String = format!("{:?}", decided.next).chars().take(160).collect();
            self.story.push(format!("{} {} {told}", self.now, stored.uid));
            match decided.next {
                Next::Rest => {
                    if decided.record != stored.record {
                        self.write(slot, &decided.record);
                    }
                    let quiet = Duration::from_secs(if decided.busy { 10 } else { 600 });
                    return Ok(Some(decided.wake.unwrap_or(quiet).min(quiet)));
                }
                Next::Read(Read::Peers) => peers = Some(self.peers()),
                Next::Read(Read::List(_)) => self.poll(),
                Next::Read(Read::Resource(id)) => {
                    let lag = self.cloud.unknowns.look_lag;
                    let view = self.cloud.look(&id).map(|r| self.late(&r, lag));
                    let mono = self.mono();
                    let memory = self.memories.entry(stored.uid.clone()).or_default();
                    memory.looked(id, mono, view);
                }
                Next::Read(_) => {}
                Next::Do(effect) => {
                    peers = None;
                    let outcome = self.carry_out(slot, &stored, &effect, fault)?;
                    if !matches!(effect, Effect::AddFinalizer | Effect::Write(_)) {
                        fault = Fault::None;
                    }
                    let now = Now { wall: self.now, mono: self.mono() };
                    let memory = self.memories.entry(stored.uid.clone()).or_default();
                    memory.fold(&effect, outcome, &self.limits, now);
                }
            }
        }
        Ok(None)
    }

    fn write(&mut self, slot: usize, record: &Record<Request>) -> String {
        self.count += 1;
        let Some(object) = &mut self.objects[slot] else { return String::new() };
        (object.record, object.version) = (record.clone(), self.count);
        if self.sabotage != Sabotage::NoMemoryOfWrites {
            self.wrote.insert(object.uid.clone(), peer(object, &self.target));
        }
        object.version.to_string()
    }

    fn carry_out(
        &mut self,
        slot: usize,
        stored: &Stored,
        effect: &Effect<Request>,
        fault: Fault,
    ) -> Result<Outcome, String> {
        let written = |version: u64| Outcome::Written(version.to_string());
        match effect {
            Effect::AddFinalizer => {
                self.count += 1;
                if let Some(object) = &mut self.objects[slot] {
                    (object.finalizer, object.version) = (true, self.count);
                }
                return Ok(written(self.count));
            }
            Effect::RemoveFinalizer => {
                self.objects[slot] = None;
                self.memories.remove(&stored.uid);
                self.wrote.remove(&stored.uid);
                return Ok(written(stored.version));
            }
            Effect::Write(record) => {
                let version = self.write(slot, record);
                self.always()?;
                return Ok(Outcome::Written(version));
            }
            Effect::TellOfStray(_) => return Ok(Outcome::Done),
            _ => {}
        }
        match fault {
            Fault::LostBefore => return Ok(Outcome::Failed(error(Meaning::Unknown))),
            Fault::Refused => return Ok(Outcome::Failed(error(Meaning::Throttled))),
            Fault::None | Fault::LostAfter => {}
        }
        let result = match effect {
            Effect::Create(call) => self.cloud.create(call).map(Outcome::Created),
            Effect::Update { id, request, .. } => self.cloud.update(id, request.keep).map(|()| Outcome::Done),
            Effect::Retag { id, set, remove } => {
                let released = !set.contains_key(TAG_UID);
                if released && *id == self.target {
                    self.may_release(stored)?;
                }
                self.cloud.retag(id, set, remove).map(|()| Outcome::Done)
            }
            Effect::Delete { id, .. } => {
                if *id == self.target {
                    self.may_delete(stored)?;
                }
                self.cloud.delete(id).map(|()| Outcome::Done)
            }
            _ => Ok(Outcome::Done),
        };
        self.remember_tags();
        if fault == Fault::LostAfter {
            return Ok(Outcome::Failed(error(Meaning::Unknown)));
        }
        Ok(result.unwrap_or_else(Outcome::Failed))
    }

    fn owners(&self) -> Vec<&Stored> {
        let owns = |o: &&Stored| o.record.current.as_ref().is_some_and(|c| c.id == self.target);
        self.objects.iter().flatten().filter(owns).collect()
    }

    /// What must hold at any time: nobody is the second owner.
    fn always(&self) -> Result<(), String> {
        let owners: Vec<_> = self.owners().iter().map(|o| o.uid.clone()).collect();
        if owners.len() > 1 { Err(format!("two owners: {owners:?}")) } else { Ok(()) }
    }

    /// Only who has confirmed that the resource is its own deletes it, and nobody else has.
    fn may_delete(&self, by: &Stored) -> Result<(), String> {
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
    fn may_release(&self, by: &Stored) -> Result<(), String> {
        let others: Vec<_> =
            self.owners().iter().filter(|o| o.uid != by.uid).map(|o| o.uid.clone()).collect();
        if others.is_empty() { Ok(()) } else { Err(format!("{} releases what {others:?} owns", by.uid)) }
    }

    fn happen(&mut self, event: &Event) -> Result<(), String> {
        self.story.push(format!("{} {event:?}", self.now));
        match *event {
            Event::Work(slot, passes, fault) => drop(self.work(slot, usize::from(passes), fault)?),
            Event::Poll => self.poll(),
            Event::Sync => self.sync(),
            Event::Wait(seconds) => self.advance(Duration::from_secs(seconds)),
            Event::Create(slot, retain) => self.create(slot, retain),
            Event::Delete(slot) => self.delete(slot),
            Event::Crash => self.crash(),
            Event::WipeStatus(slot) => {
                let owns = self.objects[slot].as_ref().is_some_and(|o| o.record != Record::default());
                self.wiped |= owns;
                self.write(slot, &Record::default());
            }
            Event::Untag => {
                if let Some(r) = self.cloud.resources.iter_mut().find(|r| r.id == self.target) {
                    r.tags.clear();
                }
                self.remember_tags();
            }
            Event::TakenElsewhere => {
                let owned = !self.owners().is_empty();
                if let Some(r) = self.cloud.resources.iter_mut().find(|r| r.id == self.target)
                    && !owned
                    && !r.tags.contains_key(TAG_UID)
                {
                    r.tags = [(TAG_CLUSTER.to_owned(), "d".to_owned()), (TAG_UID.to_owned(), "x".to_owned())]
                        .into();
                }
                self.remember_tags();
            }
            Event::Vanish => {
                let target = self.target.clone();
                let _ = self.cloud.delete(&target);
            }
        }
        self.always()
    }

    /// Faults end, and everybody works until nothing happens any more.
    fn settle(&mut self) -> Result<(), String> {
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

    fn verdict(&self) -> Result<(), String> {
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

fn events() -> impl Strategy<Value = Vec<Event>> {
    let slot = || 0..SLOTS;
    let fault = prop_oneof![
        5 => Just(Fault::None),
        1 => Just(Fault::LostBefore),
        2 => Just(Fault::LostAfter),
        1 => Just(Fault::Refused),
    ];
    let waits = prop::sample::select(vec![1_u64, 5, 9, 31, 61, 150, 301, 1_900]);
    let event = prop_oneof![
        16 => (slot(), 1..24_u8, fault).prop_map(|(slot, n, fault)| Event::Work(slot, n, fault)),
        4 => Just(Event::Poll),
        4 => Just(Event::Sync),
        6 => waits.prop_map(Event::Wait),
        4 => (slot(), any::<bool>()).prop_map(|(slot, retain)| Event::Create(slot, retain)),
        2 => slot().prop_map(Event::Delete),
        2 => Just(Event::Crash),
        1 => slot().prop_map(Event::WipeStatus),
        1 => Just(Event::Untag),
        1 => Just(Event::TakenElsewhere),
        1 => Just(Event::Vanish),
    ];
    prop::collection::vec(event, 1..80)
}

fn run(unknowns: &Unknowns, events: &[Event], sabotage: Sabotage) -> Result<(), String> {
    let mut world = World::new(unknowns.clone(), sabotage);
    let result = events.iter().try_for_each(|event| world.happen(event)).and_then(|()| world.settle());
    result.map_err(|why| format!("{why}\n{}", world.story.join("\n")))
}

fn explore(cases: u32, sabotage: Sabotage) -> Result<(), String> {
    let config = Config { cases, max_shrink_iters: 4_000, failure_persistence: None, ..Config::default() };
    let strategy = (crate::unknowns(false), events());
    match TestRunner::new(config).run(&strategy, |(unknowns, events)| {
        run(&unknowns, &events, sabotage).map_err(|_| TestCaseError::fail("see the story"))
    }) {
        Err(TestError::Fail(_, (unknowns, events))) => {
            let why = run(&unknowns, &events, sabotage).expect_err("the same story fails again");
            Err(format!("{why}\n{unknowns:?}\n{events:?}"))
        }
        other => other.map_err(|e| e.to_string()),
    }
}

#[test]
fn a_resource_that_several_objects_claim_has_one_owner_and_only_its_owner_deletes_it() {
    let cases = crate::seeds();
    if let Err(story) = explore(cases, Sabotage::None) {
        panic!("{story}");
    }
    println!("adoption: {cases} seeds, never two owners, nothing deleted that was not confirmed, 0 stuck");
}

#[test]
fn an_adoption_that_is_broken_on_purpose_is_caught() {
    for sabotage in [Sabotage::NoPeers, Sabotage::NoMemoryOfWrites] {
        let story = explore(20_000, sabotage).expect_err(&format!("{sabotage:?} was not noticed"));
        println!("{sabotage:?} caught: {}", story.lines().next().unwrap_or_default());
    }
}
