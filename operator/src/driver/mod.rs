//! One controller for every kind: observe, plan, apply, report.
//!
//! A reconcile is a short series of passes. Each pass asks the core what to do next, does that one thing, and asks
//! again, until there is nothing to do but wait.

mod entry;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eci_core::cloud::{Cloud, Meaning};
use eci_core::cloud_resource::{
    Desired, Effect, Kind, Limits, List, Next, Object, Observed, Operation, Owner, Plan, Read, Record, plan,
    queued,
};
use eci_core::image_cache::Defaults;
use eci_core::quota::Place;
use eci_core::time::Mono;
use eci_core::{audit, pace};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::reflector::Store;
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tracing::Instrument as _;

pub(crate) use self::entry::{Entry, ObjectCopy};
pub use self::verdict::{Failure, Gate, Moment, Open, ReconcileError, Verdict};
use crate::clock::Clock;
use crate::controllers::Guarded;
use crate::dry_run::Rehearsal;
use crate::kind::{Key, Managed, status_set_by_others, uid_of};
use crate::kubernetes::{KubeError, Objects};
use crate::lease::Leadership;
use crate::matches::MatchBook;
use crate::metrics::Metrics;
use crate::observe::Observer;
use crate::peers::Registry;
use crate::report::{InWords, Reporter};
use crate::room::RoomKeeper;
use crate::users::UserSurvey;

/// Most passes of one reconcile. A creation takes about eight.
pub const PASS_LIMIT: u32 = 16;
/// Most objects whose memory is kept. Beyond it one is forgotten, which costs time but is always safe.
pub const MEMORY_LIMIT: usize = 20_000;
/// Create calls under way at once, and other calls that change something. The rest queues here, before anything is
/// recorded, and not in the client, which refuses calls that would wait too long there.
const CALLS_AT_ONCE: usize = 3;

/// What a driver has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// ID of the cluster.
    pub cluster: String,
    /// Region.
    pub region: String,
    /// What a spec may leave to the operator.
    pub defaults: Defaults,
    /// Durations of the protocol.
    pub limits: Limits,
    /// Plans are printed, and nothing is done.
    pub dry_run: bool,
}

/// The turns that a reconcile holds.
#[derive(Default)]
struct Turns<'a> {
    create: Option<SemaphorePermit<'a>>,
    change: Option<SemaphorePermit<'a>>,
    adoption: Option<SemaphorePermit<'a>>,
}

/// The controller of a kind.
pub struct Driver<K: Managed, C> {
    pub(crate) cloud: Arc<C>,
    pub(crate) objects: Objects,
    pub(crate) observer: Arc<Observer<K>>,
    pub(crate) reporter: Reporter,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leadership: Leadership,
    gate: Arc<dyn Gate>,
    known: Mutex<BTreeMap<Key, Entry<K>>>,
    creates: Semaphore,
    changes: Semaphore,
    pub(crate) peers: Registry<K>,
    users: UserSurvey,
    pub(crate) room: RoomKeeper,
    pub(crate) matches: Arc<MatchBook>,
}

impl<K: Managed, C: Cloud> Driver<K, C> {
    /// A driver that knows of no object yet.
    pub fn new(
        cloud: Arc<C>,
        objects: Objects,
        observer: Arc<Observer<K>>,
        reporter: Reporter,
        metrics: Arc<Metrics>,
        clock: Clock,
        settings: Settings,
    ) -> Self {
        let users = UserSurvey::new(objects.client(), None);
        Self {
            cloud,
            objects,
            observer,
            reporter,
            clock,
            settings,
            metrics,
            leadership: Leadership::default(),
            gate: Arc::new(Open),
            known: Mutex::default(),
            creates: Semaphore::new(CALLS_AT_ONCE),
            changes: Semaphore::new(CALLS_AT_ONCE),
            peers: Registry::new(None),
            users,
            room: RoomKeeper::default(),
            matches: Arc::default(),
        }
    }

    /// The same driver with a gate before and after each of its effects.
    #[must_use]
    pub fn with_gate(self, gate: Arc<dyn Gate>) -> Self {
        Self { gate, ..self }
    }

    /// The same driver for objects of these namespaces, each with a watch of its own; `None` is all of them, with one.
    #[must_use]
    pub fn with_namespaces(self, namespaces: Option<BTreeSet<String>>) -> Self {
        let users = self.users.within(namespaces.clone());
        Self { peers: Registry::new(namespaces), users, ..self }
    }

    /// The same driver, which finds the other objects of the kind in this store as soon as the receiver says that it has all.
    #[must_use]
    pub fn with_objects(self, store: Store<Guarded<K>>, filled: watch::Receiver<bool>) -> Self {
        self.peers.watch(store, filled);
        self
    }

    /// The same driver, which acts only while this process leads.
    #[must_use]
    pub fn with_leadership(self, leadership: Leadership) -> Self {
        Self { leadership, ..self }
    }

    /// What pods start from, which somebody else counts.
    pub(crate) fn matches(&self) -> Arc<MatchBook> {
        Arc::clone(&self.matches)
    }

    /// Reconciles an object, of which `object` is any copy. Never to be called twice at once for one object.
    pub async fn reconcile(&self, object: &K::Object) -> Result<Verdict, ReconcileError> {
        if !self.leadership.holds() {
            return Ok(Verdict::Standby);
        }
        let copy = ObjectCopy {
            key: Key::of(object),
            object: object.clone(),
            live: false,
            rehearsed_finalizer: false,
        };
        let (key, uid) = (copy.key.clone(), uid_of(object));
        let span =
            tracing::info_span!("reconcile", kind = K::NOUN, namespace = key.namespace, name = key.name, uid);
        // Taken out for the time of the reconcile: one that is dropped in its middle loses it, which is always safe.
        let mut entry = self.take(&key, uid);
        let start = self.clock.now().mono;
        let _running = self.metrics.running(K::NOUN);
        self.metrics.stands(K::NOUN, &key, K::status_of(object).map_or(&[], K::conditions));
        let result = self.passes(copy, &mut entry).instrument(span.clone()).await;
        let outcome = result.as_ref().map_or("failed", |verdict| verdict.word());
        let waits_for = result.as_ref().map_or(Some("retry"), |verdict| verdict.waits_for());
        self.metrics.waits(K::NOUN, &key, waits_for);
        self.metrics.reconciled(K::NOUN, outcome, self.clock.now().mono.since(start));
        match result {
            Ok(Verdict::Gone) => {
                self.forget(&key);
                Ok(Verdict::Gone)
            }
            Ok(verdict) => {
                entry.failures = 0;
                self.put(key, entry);
                Ok(verdict)
            }
            Err(failure) => {
                entry.failures = entry.failures.saturating_add(1);
                let wait = pace::back_off(Meaning::Unknown, entry.failures);
                let retry_in = pace::spread(wait, &entry.uid);
                span.in_scope(|| tracing::warn!(error = %failure, ?retry_in, "reconcile failed"));
                if !matches!(failure, Failure::Stopped) {
                    self.put(key, entry);
                }
                Err(ReconcileError { failure, retry_in })
            }
        }
    }

    /// Forgets an object that does not exist any more.
    pub fn forget(&self, key: &Key) {
        self.known().remove(key);
        self.metrics.forget(K::NOUN, key);
        self.peers.forget(key);
        self.observer.forget(key);
    }

    /// Forgets the objects for which `exists` is false.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.known().retain(|key, _| exists(key));
        self.metrics.retain(K::NOUN, &exists);
        self.peers.retain(&exists);
        self.observer.retain(exists);
    }

    async fn passes(&self, mut copy: ObjectCopy<K>, entry: &mut Entry<K>) -> Result<Verdict, Failure> {
        let (mut secrets, mut privileged, mut peers) = (None, None, None);
        let (mut users, mut room) = (None, None);
        // Kept until the end: from the record of a create call to its answer.
        let mut turns = Turns::default();
        let mut rehearsal = Rehearsal::default();
        if (entry.failures > 0 || entry.outdates(&copy)) && !self.refresh(&mut copy, &entry.uid).await? {
            return Ok(Verdict::Gone);
        }
        for pass in 1..=PASS_LIMIT {
            let lease_left = self.leadership.left();
            if lease_left == Some(Duration::ZERO) {
                return Ok(Verdict::Standby);
            }
            let now = self.clock.now();
            let desired = K::desired(&copy.object, &self.settings.defaults);
            let record = K::record(K::status_of(&copy.object));
            let object = self.object(&copy);
            let (list, list_error) = self.observer.look(&object.owner);
            let seen = Observed {
                object: object.clone(),
                record: record.clone(),
                list: list.as_ref(),
                list_error: list_error.as_deref(),
                secrets: secrets.clone(),
                privileged: privileged.clone(),
                peers: peers.clone(),
                users: users.clone(),
                room,
                region: &self.settings.region,
                lease_left,
            };
            let plan = plan(seen, &desired, &mut entry.memory, &self.settings.limits, now);
            tracing::debug!(
                pass,
                live = copy.live,
                version = copy.version(),
                wake = ?plan.wake,
                busy = plan.busy,
                "plan: {}",
                InWords(&plan)
            );
            if !self.take_turn(&plan.next, &record, &mut turns) {
                if is_new::<K>(&copy) {
                    let waiting = queued::<K>(&object, &record, &self.settings.region);
                    self.rest(&waiting, None, &mut copy, entry).await?;
                }
                return Ok(Verdict::AwaitsTurn);
            }
            let adopts = desired.adopts(&record);
            audit::check::<K>(&object, adopts.as_ref(), &record, &plan).map_err(Failure::Unlawful)?;
            if self.settings.dry_run {
                let view = newest_view(&plan, list.as_ref(), entry.look.as_ref());
                if let Some(verdict) = self.rehearse(&mut rehearsal, &plan, view.as_ref(), &mut copy, entry) {
                    return Ok(verdict);
                }
            }
            match &plan.next {
                Next::Read(Read::Object) => {
                    if !self.refresh(&mut copy, &entry.uid).await? {
                        return Ok(Verdict::Gone);
                    }
                }
                Next::Read(Read::Secrets(names)) => {
                    let request = request_of::<K>(names, &record, &desired);
                    secrets = Some(self.secret_versions(&copy.key, names, request).await?);
                }
                Next::Read(Read::Namespace) => privileged = Some(self.is_privileged(&copy.key).await?),
                Next::Read(Read::Peers) => {
                    turns.adoption = turns.adoption.take().or_else(|| self.peers.turn());
                    peers = self.peers.all().filter(|_| turns.adoption.is_some());
                    if peers.is_none() {
                        return Ok(Verdict::AwaitsTurn);
                    }
                }
                Next::Read(Read::Users) => {
                    let marks = K::marks(&copy.object, &record);
                    users = Some(self.users.of(&marks, self.clock).await?);
                }
                Next::Read(Read::Room) => {
                    let place = Place { created: object.created, uid: entry.uid.clone() };
                    let spare = || self.observer.count(K::gives_way);
                    room = self.room.ask::<K, C>(&self.cloud, &place, spare, self.clock).await;
                    if room.is_none() {
                        return Ok(Verdict::AwaitsTurn);
                    }
                }
                Next::Read(Read::List(since)) => {
                    if self.observer.await_list(&copy.key, &entry.uid, *since) {
                        return Ok(Verdict::AwaitsList);
                    }
                }
                Next::Read(Read::Resource(id)) => self.look_up(id, entry).await,
                Next::Read(Read::Place(place)) => self.look_at(place, entry).await,
                // It was on the copy alone.
                Next::Do(_) if self.settings.dry_run => {}
                Next::Do(effect) => {
                    // The next pass may ask for the secrets of another request, and others go on meanwhile.
                    (secrets, peers, users) = (None, None, None);
                    let view = newest_view(&plan, list.as_ref(), entry.look.as_ref());
                    if !self.apply(effect, view.as_ref(), &mut copy, entry).await? {
                        return Ok(Verdict::Gone);
                    }
                }
                Next::Rest => {
                    let view = newest_view(&plan, list.as_ref(), entry.look.as_ref());
                    if self.rest(&plan, view.as_ref(), &mut copy, entry).await? {
                        let counts = self.counts_due(&plan.record, &copy);
                        let wake = plan.wake.into_iter().chain(counts).min();
                        return Ok(Verdict::Rested(wake));
                    }
                    if !self.refresh(&mut copy, &entry.uid).await? {
                        return Ok(Verdict::Gone);
                    }
                }
            }
        }
        Ok(Verdict::Unfinished)
    }

    /// Whether the step may be taken now, as far as the number of calls under way goes.
    fn take_turn<'a>(
        &'a self,
        next: &Next<K::Request>,
        record: &Record<K::Request>,
        turns: &mut Turns<'a>,
    ) -> bool {
        let turn = |record: &Record<K::Request>| record.operation.as_ref().map(Operation::turn);
        let (queue, held) = match next {
            Next::Do(Effect::Write(new)) if new.operation.is_some() && turn(new) != turn(record) => {
                (&self.creates, &mut turns.create)
            }
            Next::Do(Effect::Create(_)) => (&self.creates, &mut turns.create),
            Next::Do(Effect::Update { .. } | Effect::Delete { .. } | Effect::Retag { .. }) => {
                (&self.changes, &mut turns.change)
            }
            _ => return true,
        };
        if held.is_none() {
            *held = queue.try_acquire().ok();
        }
        held.is_some()
    }

    /// Replaces the copy by a live one; `false` when the object is gone (an object of the same name is another).
    pub(crate) async fn refresh(&self, copy: &mut ObjectCopy<K>, uid: &str) -> Result<bool, KubeError> {
        match self.objects.get::<K>(&copy.key).await? {
            Some(object) if uid_of(&object) == uid => {
                copy.object = object;
                copy.live = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(crate) fn gate(&self, key: &Key, moment: Moment, step: &'static str) -> Result<(), Failure> {
        match self.gate.check(key, moment, step) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::Stopped),
        }
    }

    fn object(&self, copy: &ObjectCopy<K>) -> Object {
        Object {
            owner: Owner {
                cluster: self.settings.cluster.clone(),
                namespace: copy.key.namespace.clone(),
                name: copy.key.name.clone(),
                uid: uid_of(&copy.object),
            },
            created: copy.object.creation_timestamp().map_or(Timestamp::MIN, |t| t.0),
            generation: copy.generation(),
            resource_version: copy.version(),
            deleting: copy.is_deleting(),
            has_finalizer: copy.has_finalizer(),
            status_set_by_others: status_set_by_others(copy.object.meta()),
            live: copy.live,
        }
    }

    fn take(&self, key: &Key, uid: String) -> Entry<K> {
        self.known().remove(key).filter(|e| e.uid == uid).unwrap_or_else(|| Entry::new(uid))
    }

    fn put(&self, key: Key, entry: Entry<K>) {
        let mut known = self.known();
        if known.len() >= MEMORY_LIMIT {
            known.pop_first();
        }
        known.insert(key, entry);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Entry<K>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether people were told nothing of this generation yet.
fn is_new<K: Managed>(copy: &ObjectCopy<K>) -> bool {
    let conditions = K::status_of(&copy.object).map_or(&[][..], K::conditions);
    let told = |c: &Condition| c.type_ == "Ready" && c.observed_generation == Some(copy.generation());
    !copy.is_deleting() && !conditions.iter().any(told)
}

/// The request whose secrets these are.
fn request_of<'a, K: Managed>(
    names: &[String],
    record: &'a Record<K::Request>,
    desired: &'a Desired<K::Request>,
) -> Option<&'a K::Request> {
    let recorded = record.operation.as_ref().map(|op| &op.request);
    recorded.into_iter().chain(desired.request.as_ref().ok()).find(|request| K::secrets(request) == names)
}

/// The newest sighting of the current resource, by list or by ID. What was seen before a list that does not show it any
/// more is none: the status has it already, and has perhaps newer things since.
pub fn newest_view<K: Kind>(
    plan: &Plan<K::Request>,
    list: Option<&List<K>>,
    look: Option<&(Mono, K::View)>,
) -> Option<K::View> {
    let record = match &plan.next {
        Next::Do(Effect::Write(record)) => record,
        _ => &plan.record,
    };
    let id = &record.current.as_ref()?.id;
    let listed = list.and_then(|l| l.items.iter().find(|v| K::id(v) == id).map(|v| (l.begun, v)));
    let news = |at: &Mono| list.is_none_or(|l| *at >= l.begun);
    let looked = look.filter(|(at, v)| K::id(v) == id && news(at)).map(|(at, v)| (*at, v));
    listed.into_iter().chain(looked).max_by_key(|(at, _)| *at).map(|(_, view)| view.clone())
}
