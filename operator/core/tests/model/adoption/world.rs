//! The objects, the processes and the cloud of the model.

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

use super::{Fault, SLOTS, Sabotage};
use crate::cloud::{Cloud, ModelKind, Request, Resource, Unknowns, error};

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) created: Timestamp,
    pub(super) version: u64,
    pub(super) deleting: bool,
    pub(super) finalizer: bool,
    pub(super) policy: DeletionPolicy,
    pub(super) record: Record<Request>,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) started: Timestamp,
    pub(super) cloud: Cloud,
    /// Tags as they were: they show late.
    pub(super) tags: Vec<(Timestamp, CloudId, BTreeMap<String, String>)>,
    pub(super) target: CloudId,
    pub(super) objects: [Option<Stored>; SLOTS],
    pub(super) count: u64,
    pub(super) memories: BTreeMap<String, Memory<ModelKind>>,
    pub(super) list: Option<(Mono, Vec<Resource>)>,
    /// The other objects as the watch has them, and as this process wrote them.
    pub(super) watched: Vec<Peer>,
    pub(super) wrote: BTreeMap<String, Peer>,
    pub(super) sabotage: Sabotage,
    pub(super) story: Vec<String>,
    pub(super) limits: Limits,
    /// A status was lost: who had confirmed what is known to nobody.
    pub(super) wiped: bool,
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
    pub(super) fn new(unknowns: Unknowns, sabotage: Sabotage) -> Self {
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

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.cloud.advance(self.now);
    }

    pub(super) fn mono(&self) -> Mono {
        Mono(Duration::try_from(self.now.duration_since(self.started)).unwrap_or_default())
    }

    pub(super) fn remember_tags(&mut self) {
        for resource in &self.cloud.resources {
            self.tags.push((self.now, resource.id.clone(), resource.tags.clone()));
        }
    }

    /// The resource with the tags that it had so long ago, or its first ones.
    pub(super) fn late(&self, resource: &Resource, lag: Duration) -> Resource {
        let of = |(_, id, _): &&(Timestamp, CloudId, _)| *id == resource.id;
        let old = self.tags.iter().rev().filter(of).find(|(at, ..)| *at + lag <= self.now);
        let tags = old.or_else(|| self.tags.iter().find(of)).map(|(_, _, tags)| tags.clone());
        Resource { tags: tags.unwrap_or_else(|| resource.tags.clone()), ..resource.clone() }
    }

    pub(super) fn poll(&mut self) {
        self.advance(Duration::from_millis(1));
        let lag = self.cloud.unknowns.list_lag;
        let items: Vec<_> = self.cloud.list().iter().map(|r| self.late(r, lag)).collect();
        let ours = items.into_iter().filter(|r| r.tags.get(TAG_CLUSTER).is_some_and(|c| c == "c"));
        self.list = Some((self.mono(), ours.collect()));
    }

    pub(super) fn sync(&mut self) {
        self.watched = self.objects.iter().flatten().map(|o| peer(o, &self.target)).collect();
        // The end of an object is an event of the watch.
        self.wrote.retain(|uid, _| self.objects.iter().flatten().any(|o| o.uid == *uid));
    }

    /// The next process: it reads all objects before it does anything.
    pub(super) fn crash(&mut self) {
        self.memories.clear();
        self.wrote.clear();
        self.list = None;
        self.started = self.now;
        self.sync();
    }

    pub(super) fn create(&mut self, slot: usize, retain: bool) {
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

    pub(super) fn delete(&mut self, slot: usize) {
        match &mut self.objects[slot] {
            Some(object) if object.finalizer => {
                self.count += 1;
                (object.deleting, object.version) = (true, self.count);
            }
            object => *object = None,
        }
    }

    pub(super) fn peers(&self) -> Peers {
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
    pub(super) fn work(
        &mut self,
        slot: usize,
        passes: usize,
        fault: Fault,
    ) -> Result<Option<Duration>, String> {
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
                status_set_by_others: None,
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

    pub(super) fn write(&mut self, slot: usize, record: &Record<Request>) -> String {
        self.count += 1;
        let Some(object) = &mut self.objects[slot] else { return String::new() };
        (object.record, object.version) = (record.clone(), self.count);
        if self.sabotage != Sabotage::NoMemoryOfWrites {
            self.wrote.insert(object.uid.clone(), peer(object, &self.target));
        }
        object.version.to_string()
    }

    pub(super) fn carry_out(
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
}
