//! One DataCache, one process that reconciles it through its status, and a cloud that carries out what it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use eci_api::data_cache::{DataCache, DataCacheRequest, DataCacheStatus};
use eci_core::audit;
use eci_core::cloud::{CloudError, CloudEventView, CloudId, DataCacheState, DataCacheView, Meaning, Place};
use eci_core::cloud_resource::{
    Claim, Desired, Effect, Limits, List, Memory, Next, Object, Observed, Outcome, Owner, Peer, Peers, Plan,
    Read, Record, plan,
};
use eci_core::data_cache::{self, DataCacheKind};
use eci_core::image_cache::Defaults;
use eci_core::quota::Room;
use eci_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub struct Scene {
    pub object: Object,
    pub spec: Value,
    pub status: Option<DataCacheStatus>,
    pub memory: Memory<DataCacheKind>,
    pub cloud: Vec<DataCacheView>,
    /// Lists show nothing that is new.
    pub lists_lag: bool,
    pub peers: Vec<Peer>,
    pub privileged: bool,
    pub now: Now,
    /// Create calls whose answer is lost.
    pub lost: usize,
    /// What was done to the cloud, in order.
    pub done: Vec<String>,
    list: Option<List<DataCacheKind>>,
    made: usize,
}

pub fn owner() -> Owner {
    Owner { cluster: "c".into(), namespace: "ns".into(), name: "model".into(), uid: "uid-1".into() }
}

pub fn id(text: &str) -> CloudId {
    CloudId::parse(text).unwrap()
}

pub fn spec() -> Value {
    json!({
        "bucket": "models",
        "path": "/a",
        "source": { "type": "URL", "url": { "url": "https://example.com/a" } },
    })
}

/// A DataCache with this spec.
pub fn object(spec: &Value) -> DataCache {
    serde_json::from_value(json!({
        "apiVersion": "eci-operator.io/v1alpha1",
        "kind": "DataCache",
        "metadata": { "namespace": "ns", "name": "model", "uid": "uid-1", "generation": 1 },
        "spec": spec,
    }))
    .unwrap()
}

pub fn defaults() -> Defaults {
    Defaults { v_switch_ids: vec!["vsw-1".into()], security_group_id: Some("sg-1".into()) }
}

pub fn view(name: &str, path: &str, tags: BTreeMap<String, String>) -> DataCacheView {
    DataCacheView {
        id: id(name),
        name: String::new(),
        place: Place::new("models", path),
        state: DataCacheState::Available,
        progress_percent: Some(100),
        size_gib: Some(20),
        snapshot_id: Some("s-1".into()),
        container_group_id: None,
        creation_time: None,
        expiration_time: None,
        last_matched_time: None,
        tags,
        events: Vec::new(),
    }
}

/// Another object over the same place, created so many seconds before ours.
pub fn peer(uid: &str, older_by: i64, holds: bool) -> Peer {
    Peer {
        namespace: "other".into(),
        name: format!("of-{uid}"),
        uid: uid.into(),
        created: Scene::new().object.created - SignedDuration::from_secs(older_by),
        deleting: false,
        adopts: None,
        adopting: None,
        owns: [].into(),
        claim: Some(Claim { place: Place::new("models", "/a"), holds }),
    }
}

impl Scene {
    pub fn new() -> Self {
        let wall = Timestamp::from_second(1_800_000_000).unwrap();
        Self {
            object: Object {
                owner: owner(),
                created: wall,
                generation: 1,
                resource_version: "1".into(),
                deleting: false,
                has_finalizer: false,
                status_set_by_others: None,
                live: false,
            },
            spec: spec(),
            status: None,
            memory: Memory::default(),
            cloud: Vec::new(),
            lists_lag: false,
            peers: Vec::new(),
            privileged: true,
            now: Now { wall, mono: Mono(Duration::from_secs(1_000)) },
            lost: 0,
            done: Vec::new(),
            list: None,
            made: 0,
        }
    }

    /// One whose cache edc-1 is usable.
    pub fn usable() -> Self {
        let mut t = Self::new();
        assert_eq!(t.run(), "Building");
        t.becomes("edc-1", DataCacheState::Available);
        assert_eq!(t.later(10), "Available");
        t.done.clear();
        t
    }

    pub fn becomes(&mut self, name: &str, state: DataCacheState) {
        let view = self.cloud.iter_mut().find(|v| v.id == id(name)).unwrap();
        if state == DataCacheState::Failed {
            view.events.push(CloudEventView {
                type_: "Warning".into(),
                reason: "Failed".into(),
                message: "dial tcp: i/o timeout".into(),
                count: 1,
                last_time: None,
            });
        }
        view.snapshot_id = (state == DataCacheState::Available).then(|| "s-1".into());
        view.state = state;
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.spec);
        self.object.generation += 1;
        self.new_version();
    }

    pub fn delete(&mut self) {
        self.object.deleting = true;
        self.new_version();
    }

    fn new_version(&mut self) {
        let version: u64 = self.object.resource_version.parse().unwrap();
        self.object.resource_version = (version + 1).to_string();
    }

    fn advance(&mut self, by: Duration) {
        self.now.mono = self.now.mono.plus(by);
        self.now.wall += SignedDuration::try_from(by).unwrap();
    }

    /// Time passes, lists come, and the object is reconciled: the reason of its Ready condition.
    pub fn later(&mut self, seconds: u64) -> String {
        self.advance(Duration::from_secs(seconds));
        self.poll();
        self.run()
    }

    /// The same again and again, until `reason`.
    pub fn until(&mut self, reason: &str, every: u64) {
        let mut seen = Vec::new();
        for _ in 0..100 {
            let said = self.later(every);
            if said == reason {
                return;
            }
            seen.push(said);
        }
        panic!("never {reason}: {seen:?}\n{:#?}", self.done);
    }

    pub fn restart(&mut self) {
        self.memory = Memory::default();
        self.list = None;
    }

    fn poll(&mut self) {
        self.advance(Duration::from_millis(1));
        let mine = |v: &&DataCacheView| owner().owns(&v.tags) || owner().is_namesake(&v.tags);
        let items = self.cloud.iter().filter(mine).filter(|_| !self.lists_lag).cloned().collect();
        self.list = Some(List { begun: self.now.mono, items, suspect: false });
    }

    pub fn desired(&self) -> Desired<DataCacheRequest> {
        data_cache::desired(&object(&self.spec), &defaults())
    }

    pub fn record(&self) -> Record<DataCacheRequest> {
        data_cache::record(self.status.as_ref())
    }

    /// Reconciles until it rests: the reason of its Ready condition, or `gone`.
    pub fn run(&mut self) -> String {
        self.object.live = false;
        let (mut labels, mut peers) = (false, false);
        for _ in 0..40 {
            self.advance(Duration::from_millis(1));
            let (desired, record) = (self.desired(), self.record());
            let seen = Observed {
                object: self.object.clone(),
                record: record.clone(),
                list: self.list.as_ref(),
                list_error: None,
                secrets: Some(Ok(Vec::new())),
                privileged: labels.then_some(Ok(self.privileged)),
                peers: peers.then(|| Peers { all: self.peers.clone(), namespaces: None }),
                region: "r",
                lease_left: None,
                users: Some(Ok(Vec::new())),
                room: Some(Room::Unknown),
            };
            let decided = plan(seen, &desired, &mut self.memory, &Limits::default(), self.now);
            audit::check::<DataCacheKind>(&self.object, desired.adopts(&record).as_ref(), &record, &decided)
                .unwrap();
            match decided.next.clone() {
                Next::Read(Read::Object) => self.object.live = true,
                Next::Read(Read::Namespace) => labels = true,
                Next::Read(Read::Peers) => peers = true,
                Next::Read(Read::Secrets(_) | Read::Users | Read::Room) => unreachable!("it was given"),
                Next::Read(Read::List(_)) => self.poll(),
                Next::Read(Read::Resource(id)) => {
                    let view = self.cloud.iter().find(|v| v.id == id).cloned();
                    self.memory.looked(id, self.now.mono, view);
                }
                Next::Read(Read::Place(place)) => {
                    let views = self.cloud.iter().filter(|v| v.place == place).cloned().collect();
                    self.memory.looked_at(place, self.now.mono, views);
                }
                Next::Do(effect) => {
                    let outcome = self.carry_out(&effect, &decided);
                    if matches!(effect, Effect::RemoveFinalizer) {
                        return "gone".into();
                    }
                    peers = false;
                    self.memory.fold(&effect, outcome, &Limits::default(), self.now);
                }
                Next::Rest => {
                    let new = self.status_of(&decided, true);
                    if self.status.as_ref() != Some(&new) {
                        self.status = Some(new);
                        self.new_version();
                    }
                    return decided.conditions[0].reason.as_str().to_owned();
                }
            }
        }
        panic!("does not come to rest: {:#?}", self.done);
    }

    fn status_of(&self, decided: &Plan<DataCacheRequest>, at_rest: bool) -> DataCacheStatus {
        let record = match &decided.next {
            Next::Do(Effect::Write(record)) => record,
            _ => &decided.record,
        };
        let current = record.current.as_ref();
        let view = self.cloud.iter().find(|v| current.is_some_and(|c| c.id == v.id));
        let conditions = at_rest.then_some(&decided.conditions[..]);
        let generation = self.object.generation;
        data_cache::status(self.status.as_ref(), record, conditions, view, generation, self.now.wall)
    }

    fn carry_out(&mut self, effect: &Effect<DataCacheRequest>, decided: &Plan<DataCacheRequest>) -> Outcome {
        self.advance(Duration::from_millis(1));
        match effect {
            Effect::AddFinalizer => self.object.has_finalizer = true,
            Effect::RemoveFinalizer => self.object.has_finalizer = false,
            Effect::Write(_) => self.status = Some(self.status_of(decided, false)),
            Effect::Create(call) => {
                let request = &call.request;
                let place = Place::new(&request.bucket, &request.path);
                assert!(!self.cloud.iter().any(|v| v.place == place), "side by side: {:#?}", self.done);
                self.made += 1;
                let name = format!("edc-{}", self.made);
                self.done.push(format!("create {name}"));
                let mut made = view(&name, &request.path, call.tags.clone());
                made.size_gib = Some(request.size_gib);
                made.state = DataCacheState::Loading;
                made.snapshot_id = None;
                self.cloud.push(made);
                if self.lost > 0 {
                    self.lost -= 1;
                    return Outcome::Failed(error(Meaning::Unknown));
                }
                return Outcome::Created(id(&name));
            }
            Effect::Delete { id, .. } => {
                self.done.push(format!("delete {id}"));
                self.cloud.retain(|v| v.id != *id);
                return Outcome::Done;
            }
            Effect::Update { id, request, tags } => {
                self.done.push(format!("update {id}"));
                let view = self.cloud.iter_mut().find(|v| v.id == *id).unwrap();
                view.tags = data_cache::all_tags(request, tags);
                return Outcome::Done;
            }
            Effect::Retag { id, set, remove } => {
                self.done.push(format!("retag {id}"));
                let view = self.cloud.iter_mut().find(|v| v.id == *id).unwrap();
                view.tags.extend(set.clone());
                view.tags.retain(|key, _| !remove.contains(key));
                return Outcome::Done;
            }
            Effect::TellOfStray(id) => {
                self.done.push(format!("tell of {id}"));
                return Outcome::Done;
            }
        }
        self.new_version();
        self.object.live = true;
        Outcome::Written(self.object.resource_version.clone())
    }

    /// The message of the Ready condition.
    pub fn message(&self) -> String {
        let conditions = &self.status.as_ref().unwrap().conditions;
        conditions.iter().find(|c| c.type_ == "Ready").unwrap().message.clone()
    }
}

fn error(meaning: Meaning) -> CloudError {
    CloudError {
        action: "CreateDataCache",
        meaning,
        code: None,
        message: String::new(),
        request_id: None,
        retry_after: None,
    }
}
