//! One object, one process that reconciles it, and a cloud that does as the test says.
//!
//! The record goes through the status, as in production: what a status cannot say is forgotten between two passes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eci_api::image_cache::{DeletionPolicy, ImageCacheRequest, ImageCacheStatus, SecretVersion};
use eci_core::audit;
use eci_core::cloud::{CloudError, CloudId, ImageCacheView, Meaning};
use eci_core::cloud_resource::{
    Create, Desired, Effect, Limits, List, Memory, Next, Object, Observed, Outcome, Owner, Peers, Plan,
    Problem, Read, Record, User, plan,
};
use eci_core::image_cache::{self, ImageCacheKind};
use eci_core::quota::Room;
use eci_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};

use crate::said;

/// Most passes of one reconcile, as in production.
const PASS_LIMIT: usize = 16;

pub struct Scene {
    pub object: Object,
    pub status: Option<ImageCacheStatus>,
    pub desired: Desired<ImageCacheRequest>,
    pub memory: Memory<ImageCacheKind>,
    /// What the cloud has.
    pub cloud: Vec<ImageCacheView>,
    /// Of these, lists show nothing.
    pub unlisted: BTreeSet<String>,
    /// Of these, looking up by ID shows nothing.
    pub unknown: BTreeSet<String>,
    pub list: Option<List<ImageCacheKind>>,
    pub list_error: Option<CloudError>,
    /// Whether lists are marked as not to be believed.
    pub suspect: bool,
    /// The secrets as they are in the cluster.
    pub secrets: Result<Vec<SecretVersion>, Problem>,
    pub region: &'static str,
    pub lease_left: Option<Duration>,
    pub limits: Limits,
    pub now: Now,
    /// Whether the namespace has the label.
    pub privileged: bool,
    /// The other objects.
    pub peers: Peers,
    /// Who would start pods from the resource.
    pub users: Result<Vec<User>, Problem>,
    /// Whether the account has room.
    pub room: Room,
    /// Whether the two are known without being asked for.
    pub quiet: bool,
    /// The last plan.
    pub last: Plan<ImageCacheRequest>,
    read: Option<Result<Vec<SecretVersion>, Problem>>,
    labels_read: bool,
    peers_read: bool,
    users_read: bool,
    room_read: bool,
    looks: BTreeMap<CloudId, (Mono, ImageCacheView)>,
    /// How many resources create calls have made.
    pub made: usize,
    pub next_id: Option<String>,
}

pub fn owner(uid: &str) -> Owner {
    Owner { cluster: "c".into(), namespace: "ns".into(), name: "web".into(), uid: uid.into() }
}

pub fn id(text: &str) -> CloudId {
    CloudId::parse(text).unwrap()
}

pub fn request() -> ImageCacheRequest {
    ImageCacheRequest {
        name: "ns.web".into(),
        images: vec!["nginx:1".into()],
        size_gib: 20,
        v_switch_ids: vec!["vsw-1".into()],
        ..ImageCacheRequest::default()
    }
}

pub fn error(meaning: Meaning) -> CloudError {
    CloudError {
        action: "SomeCall",
        meaning,
        code: Some("Some.Code".into()),
        message: "the cloud's words".into(),
        request_id: Some("REQ-1".into()),
        retry_after: None,
    }
}

pub fn secret(version: &str) -> Vec<SecretVersion> {
    vec![SecretVersion { name: "login".into(), uid: "s".into(), resource_version: version.into() }]
}

pub fn minutes(n: u64) -> u64 {
    n * 60
}

impl Scene {
    /// An object that nobody has looked at yet.
    pub fn new() -> Self {
        let now = Now {
            wall: Timestamp::from_second(1_800_000_000).unwrap(),
            mono: Mono(Duration::from_secs(1_000)),
        };
        Self {
            object: Object {
                owner: owner("uid-1"),
                created: now.wall,
                generation: 1,
                resource_version: "1".into(),
                deleting: false,
                has_finalizer: false,
                status_set_by_others: None,
                live: false,
            },
            status: None,
            desired: Desired {
                request: Ok(request()),
                deletion_policy: DeletionPolicy::Delete,
                suspend: false,
                requested_at: None,
                force_delete: false,
                adopt: None,
                adopt_at: None,
                privileged: None,
            },
            memory: Memory::default(),
            cloud: Vec::new(),
            unlisted: BTreeSet::new(),
            unknown: BTreeSet::new(),
            list: None,
            list_error: None,
            suspect: false,
            secrets: Ok(secret("1")),
            region: "r",
            lease_left: None,
            limits: Limits::default(),
            now,
            last: Plan {
                awaits: None,
                next: Next::Rest,
                record: Record::default(),
                conditions: Vec::new(),
                wake: None,
                busy: false,
            },
            privileged: true,
            peers: Peers::default(),
            users: Ok(Vec::new()),
            room: Room::Unknown,
            quiet: true,
            users_read: true,
            room_read: true,
            read: None,
            labels_read: false,
            peers_read: false,
            looks: BTreeMap::new(),
            made: 0,
            next_id: None,
        }
    }

    /// An object whose request names a secret.
    pub fn with_secret() -> Self {
        let mut t = Self::new();
        t.wants(|r| r.pull_secrets = vec!["login".into()]);
        t
    }

    /// An object whose first create call is about to be sent.
    pub fn about_to_send() -> Self {
        let mut t = Self::new();
        assert_eq!(t.run(), "create 1/1");
        t
    }

    /// An object whose resource imc-1 is being built.
    pub fn building() -> Self {
        let mut t = Self::about_to_send();
        assert_eq!(t.ok(), "rest: !Ready(Building) Reconciling(Building); busy; InProgress");
        t
    }

    /// An object whose resource imc-1 is usable.
    pub fn usable() -> Self {
        Self::usable_with(|_| {})
    }

    /// The same, with another request.
    pub fn usable_with(change: impl FnOnce(&mut ImageCacheRequest)) -> Self {
        let mut t = Self::new();
        t.wants(change);
        assert_eq!(t.run(), "create 1/1");
        t.ok();
        t.becomes("imc-1", "Ready");
        t.wait(10);
        assert_eq!(t.run(), "rest: Ready(Available); Current");
        t
    }

    /// An object whose resource imc-1 is usable, while imc-2 is being built to replace it.
    pub fn replacing() -> Self {
        let mut t = Self::usable();
        t.edit(|r| r.images = vec!["nginx:2".into()]);
        assert_eq!(t.run(), "create 2/1");
        assert_eq!(
            t.ok(),
            "rest: Ready(Available) Reconciling(Replacing) Updating(Replacing); busy; InProgress"
        );
        t
    }

    // Time.

    /// Time passes, and the poller lists.
    pub fn wait(&mut self, seconds: u64) {
        self.sleep(seconds);
        self.poll();
    }

    /// Time passes, and nobody lists.
    pub fn sleep(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    fn advance(&mut self, by: Duration) {
        self.now.mono = self.now.mono.plus(by);
        self.now.wall += SignedDuration::try_from(by).unwrap();
    }

    pub fn poll(&mut self) {
        self.advance(Duration::from_millis(1));
        let listed = |v: &&ImageCacheView| !self.unlisted.contains(v.id.as_str());
        let items = self.cloud.iter().filter(listed).cloned().collect();
        self.list = Some(List { begun: self.now.mono, items, suspect: self.suspect });
    }

    /// Another process takes over: it knows nothing but the object.
    pub fn restart(&mut self) {
        self.memory = Memory::default();
        self.list = None;
        self.looks.clear();
        self.now.mono = Mono(Duration::from_secs(1));
    }

    // Reconciles.

    /// Decides from what is at hand, and does nothing.
    pub fn decide(&mut self) -> String {
        self.advance(Duration::from_millis(1));
        let record = self.record();
        let seen = Observed {
            object: self.object.clone(),
            record: record.clone(),
            list: self.list.as_ref(),
            list_error: self.list_error.as_ref(),
            secrets: self.read.clone(),
            privileged: self.labels_read.then_some(Ok(self.privileged)),
            peers: self.peers_read.then(|| self.peers.clone()),
            users: self.users_read.then(|| self.users.clone()),
            room: self.room_read.then_some(self.room),
            region: self.region,
            lease_left: self.lease_left,
        };
        self.last = plan(seen, &self.desired, &mut self.memory, &self.limits, self.now);
        audit::check::<ImageCacheKind>(&self.object, self.desired.adopt.as_ref(), &record, &self.last)
            .unwrap();
        if self.last.next == Next::Rest {
            let status = self.status_of(&self.last.record, true);
            said::check_status(&self.object, &status);
            self.check_remembered(&status);
            said::rest(&self.last, &self.object, &status)
        } else {
            said::step(&self.last.next)
        }
    }

    /// Reconciles from a watch copy until there is a call to the cloud to be made, the finalizer to be removed, or
    /// nothing to do; says that.
    pub fn run(&mut self) -> String {
        self.story().pop().unwrap()
    }

    /// The same, with every pass.
    pub fn story(&mut self) -> Vec<String> {
        self.object.live = false;
        self.labels_read = false;
        (self.read, self.peers_read) = (None, false);
        (self.users_read, self.room_read) = (self.quiet, self.quiet);
        self.go_on()
    }

    fn go_on(&mut self) -> Vec<String> {
        let mut story = Vec::new();
        for _ in 0..PASS_LIMIT {
            story.push(self.decide());
            let next = self.last.next.clone();
            match next {
                Next::Rest => {
                    self.write_at_rest();
                    return story;
                }
                Next::Read(read) => self.look(read),
                Next::Do(Effect::AddFinalizer) => {
                    self.object.has_finalizer = true;
                    self.written(&Effect::AddFinalizer);
                }
                Next::Do(Effect::Write(record)) => {
                    self.status = Some(self.status_of(&record, false));
                    self.written(&Effect::Write(record));
                }
                Next::Do(_) => return story,
            }
        }
        panic!("more passes than a reconcile has: {story:#?}");
    }

    fn look(&mut self, read: Read) {
        self.advance(Duration::from_millis(1));
        match read {
            Read::Object => self.object.live = true,
            Read::Place(place) => unreachable!("an image cache has no place: {place}"),
            Read::Namespace => self.labels_read = true,
            Read::Peers => self.peers_read = true,
            Read::Users => self.users_read = true,
            Read::Room => self.room_read = true,
            Read::Secrets(_) => self.read = Some(self.secrets.clone()),
            Read::List(since) => {
                assert!(since <= self.now.mono, "a list that is begun in the future");
                self.poll();
            }
            Read::Resource(id) => {
                let known = |v: &&ImageCacheView| v.id == id && !self.unknown.contains(id.as_str());
                let view = self.cloud.iter().find(known).cloned();
                if let Some(view) = &view {
                    self.looks.insert(id.clone(), (self.now.mono, view.clone()));
                }
                self.memory.looked(id, self.now.mono, view);
            }
        }
    }

    fn written(&mut self, effect: &Effect<ImageCacheRequest>) {
        self.new_version();
        self.object.live = true;
        (self.read, self.peers_read) = (None, false);
        let outcome = Outcome::Written(self.object.resource_version.clone());
        self.memory.fold(effect, outcome, &self.limits, self.now);
    }

    fn write_at_rest(&mut self) {
        let new = self.status_of(&self.last.record, true);
        if self.status.as_ref() != Some(&new) {
            self.status = Some(new);
            self.new_version();
        }
    }

    /// The effect of the last plan came to this.
    pub fn fold(&mut self, outcome: Outcome) {
        let Next::Do(effect) = self.last.next.clone() else { panic!("no effect: {:?}", self.last) };
        self.memory.fold(&effect, outcome, &self.limits, self.now);
        (self.read, self.peers_read) = (None, false);
    }

    /// The call of the last plan came to this; goes on.
    pub fn answer(&mut self, outcome: Outcome) -> Vec<String> {
        self.fold(outcome);
        self.go_on()
    }

    /// The call of the last plan succeeds; goes on.
    pub fn ok(&mut self) -> String {
        self.go_after_ok().pop().unwrap()
    }

    /// The same, with every pass.
    pub fn go_after_ok(&mut self) -> Vec<String> {
        let outcome = self.effect();
        self.answer(outcome)
    }

    /// The call of the last plan succeeds, and its answer is lost; goes on.
    pub fn lose_the_answer(&mut self) -> String {
        self.effect();
        self.fails(Meaning::Unknown)
    }

    /// The call of the last plan fails; goes on.
    pub fn fails(&mut self, meaning: Meaning) -> String {
        self.answer(Outcome::Failed(error(meaning))).pop().unwrap()
    }

    /// The create call of the last plan.
    pub fn call(&self) -> Create<ImageCacheRequest> {
        match &self.last.next {
            Next::Do(Effect::Create(call)) => (**call).clone(),
            next => panic!("no create call: {next:?}"),
        }
    }

    /// The message of a condition.
    pub fn message(&self, type_: &str) -> &str {
        let of_type = self.last.conditions.iter().find(|c| c.type_.as_str() == type_);
        &of_type.unwrap_or_else(|| panic!("no condition {type_}")).message
    }

    pub fn record(&self) -> Record<ImageCacheRequest> {
        image_cache::record(self.status.as_ref())
    }

    /// The status as the driver writes it: with the newest sighting of the current resource.
    fn status_of(&self, record: &Record<ImageCacheRequest>, at_rest: bool) -> ImageCacheStatus {
        let view = record.current.as_ref().and_then(|current| {
            let list = self.list.as_ref();
            let listed = list.and_then(|l| l.items.iter().find(|v| v.id == current.id).map(|v| (l.begun, v)));
            let looked = self.looks.get(&current.id).map(|(at, v)| (*at, v));
            listed.into_iter().chain(looked).max_by_key(|(at, _)| *at).map(|(_, v)| v)
        });
        let conditions = at_rest.then_some(&self.last.conditions[..]);
        image_cache::status(
            self.status.as_ref(),
            record,
            conditions,
            view,
            self.object.generation,
            self.now.wall,
        )
    }

    /// What is written at rest tells the next pass what this one knew.
    fn check_remembered(&self, status: &ImageCacheStatus) {
        let read = image_cache::record(Some(status));
        let known = &self.last.record;
        if !self.object.deleting {
            assert_eq!(read.usable, known.usable, "usable, from {status:#?}");
        }
        assert_eq!(said::remembered(&read), said::remembered(known));
        assert_eq!(read.last_attempt, known.last_attempt);
        assert_eq!(read.adopting, known.adopting);
        assert_eq!(read.handled_request, known.handled_request);
    }
}
