//! The operator in one thread, on virtual time: the production decision, the production wiring of the kind and the
//! simulated cloud, with the objects in a map. Only what the shell does between them is done here: keep copies with a
//! version, poll the list, and carry effects out.

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eci_api::image_cache::ImageCache;
use eci_core::cloud::{CacheState, CloudError, CloudId, ImageCacheView};
use eci_core::cloud_resource::Memory;
use eci_core::image_cache::{Defaults, ImageCacheKind};
use eci_core::pace;
use eci_core::time::Mono;
use eci_operator::snapshot::Snapshot;
use eci_sim::{Clock, Settings, Sim, SimCloud};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

type K = ImageCacheKind;

/// The namespace of every object.
const NAMESPACE: &str = "specs";
/// Between two lists while something is under way, and while nothing is.
const BUSY: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(30);
/// Turns of the world before something that is waited for has not come: more than three hours of slow lists.
const TURNS: u32 = 600;

/// What a world has shown so far, over all of its objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// Reasons of conditions, and of how many of them an object was healed: usable for its own spec afterwards.
    pub(crate) reasons: BTreeSet<String>,
    pub(crate) healed: BTreeSet<String>,
    /// The cloud's words, likewise.
    pub(crate) states: BTreeSet<String>,
    pub(crate) left: BTreeSet<String>,
    /// Types of conditions.
    pub(crate) types: BTreeSet<String>,
}

impl Shown {
    pub(crate) fn add(&mut self, other: Self) {
        self.reasons.extend(other.reasons);
        self.healed.extend(other.healed);
        self.states.extend(other.states);
        self.left.extend(other.left);
        self.types.extend(other.types);
    }
}

/// A secret of the namespace.
#[derive(Clone)]
struct Stored {
    version: u64,
    json: String,
}

/// An object and what the process knows of it.
struct Entry {
    object: ImageCache,
    memory: Memory<K>,
    look: Option<(Mono, ImageCacheView)>,
    wake: Option<Timestamp>,
    busy: bool,
    /// The resource that every list should show.
    expects: Option<CloudId>,
    /// Writes of its status at rest.
    writes: usize,
    /// What it has said since it was last healed.
    said: BTreeSet<String>,
    states: BTreeSet<String>,
}

/// One operator, one cloud, some objects.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) shown: Shown,
    /// The operator's region.
    pub(crate) region: String,
    /// What a spec may leave out.
    pub(crate) defaults: Defaults,
    /// Whether the operator has credentials.
    pub(crate) credentials: bool,
    /// Whether the namespace is.
    pub(crate) privileged: bool,
    cloud: SimCloud,
    clock: Clock,
    start: Timestamp,
    entries: BTreeMap<String, Entry>,
    secrets: BTreeMap<String, Stored>,
    /// Whether a secret that nobody stored is there all the same.
    any_secret: bool,
    list: Option<(Snapshot<K>, bool)>,
    list_error: Option<CloudError>,
    list_failures: u32,
    listed: Timestamp,
    count: u64,
}

impl World {
    /// A world without objects.
    pub(crate) fn new() -> Self {
        let start: Timestamp = Timestamp::from_second(1_800_000_000).unwrap();
        let clock = Clock::manual(start);
        let sim = Sim::new(7, Settings::default(), clock.clone());
        Self {
            cloud: SimCloud::new(sim.clone(), Duration::from_secs(10)),
            sim,
            shown: Shown::default(),
            region: "cn-hangzhou".into(),
            defaults: Defaults {
                v_switch_ids: vec!["vsw-default".into()],
                security_group_id: Some("sg-default".into()),
            },
            credentials: true,
            privileged: true,
            clock,
            start,
            entries: BTreeMap::new(),
            secrets: BTreeMap::new(),
            any_secret: false,
            list: None,
            list_error: None,
            list_failures: 0,
            listed: Timestamp::MIN,
            count: 0,
        }
    }

    /// The same world, in which every secret exists.
    pub(crate) fn with_any_secret(self) -> Self {
        Self { any_secret: true, ..self }
    }

    /// Creates an object as the API server would store it.
    pub(crate) fn create(&mut self, name: &str, spec: &Value) -> Result<()> {
        self.count += 1;
        let object = read(&json!({
            "apiVersion": "eci-operator.io/v1alpha1",
            "kind": "ImageCache",
            "metadata": {
                "namespace": NAMESPACE, "name": name, "uid": format!("uid-{}", self.count),
                "generation": 1, "resourceVersion": self.count.to_string(),
            },
            "spec": without_nulls(spec),
            "status": { "observedGeneration": -1 },
        }))?;
        let entry = Entry {
            object,
            memory: Memory::default(),
            look: None,
            wake: None,
            busy: false,
            expects: None,
            writes: 0,
            said: BTreeSet::new(),
            states: BTreeSet::new(),
        };
        ensure!(self.entries.insert(name.to_owned(), entry).is_none(), "{name} exists");
        Ok(())
    }

    /// Replaces the spec of an object.
    pub(crate) fn edit(&mut self, name: &str, spec: &Value) -> Result<()> {
        let mut object = serde_json::to_value(&self.entry(name)?.object)?;
        object["spec"] = without_nulls(spec);
        let object = read(&object)?;
        self.store(name, |stored| {
            stored.spec = object.spec;
            stored.metadata.generation = stored.metadata.generation.map(|generation| generation + 1);
        })
    }

    /// Sets an annotation.
    pub(crate) fn annotate(&mut self, name: &str, key: &str, value: &str) -> Result<()> {
        self.store(name, |stored| {
            stored.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
        })
    }

    /// Asks for the end of an object.
    pub(crate) fn delete(&mut self, name: &str) -> Result<()> {
        let now = self.sim.now();
        self.store(name, |stored| stored.metadata.deletion_timestamp = Some(Time(now)))?;
        self.drop_if_ended(name);
        Ok(())
    }

    /// Stores a pull secret with this content.
    pub(crate) fn store_secret(&mut self, name: &str, content: &str) {
        self.count += 1;
        self.secrets.insert(name.to_owned(), Stored { version: self.count, json: content.to_owned() });
    }

    /// The object.
    pub(crate) fn object(&self, name: &str) -> Result<&ImageCache> {
        Ok(&self.entry(name)?.object)
    }

    /// How often its status was written when it came to rest.
    pub(crate) fn writes(&self, name: &str) -> Result<usize> {
        Ok(self.entry(name)?.writes)
    }

    /// Whether it exists.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Caches that the cloud has for an object.
    pub(crate) fn living(&self, name: &str) -> Vec<eci_sim::world::image_cache::View> {
        let mut views = self.sim.with_world(eci_sim::world::World::caches);
        views.retain(|view| view.name == format!("{NAMESPACE}.{name}"));
        views
    }

    /// Whether a condition of the object gives this reason for its current generation.
    pub(crate) fn says(&self, name: &str, reason: &str) -> bool {
        self.object(name).is_ok_and(|object| {
            let current = object.metadata.generation;
            let conditions = object.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|c| c.reason == reason && c.observed_generation == current)
        })
    }

    /// Whether the object is usable, nothing is under way, and the cloud has one cache for it.
    pub(crate) fn is_well(&self, name: &str) -> bool {
        let Ok(object) = self.object(name) else { return false };
        let Some(status) = &object.status else { return false };
        let said: Vec<_> = status.conditions.iter().map(|c| (c.type_.as_str(), c.reason.as_str())).collect();
        said == [("Ready", "Available")]
            && status.conditions[0].status == "True"
            && status.observed_generation == object.metadata.generation
            && status.operation.is_none()
            && self.living(name).len() == 1
    }

    /// Lives on until this is true.
    pub(crate) async fn until(&mut self, what: &str, fits: impl Fn(&Self) -> bool) -> Result<()> {
        for _ in 0..TURNS {
            if self.turn(Some(&fits)).await? {
                return Ok(());
            }
        }
        let objects: Vec<_> = self.entries.values().map(|entry| summary(&entry.object)).collect();
        bail!("{what}: it did not come. {objects:#?}, the cloud says {:?}", self.list_error)
    }

    /// Lives on until the object gives this reason.
    pub(crate) async fn until_says(&mut self, name: &str, reason: &str) -> Result<()> {
        self.until(&format!("{name} says {reason}"), |world| world.says(name, reason)).await
    }

    /// Lives on until the object is well, and takes note that all it has said before is healed.
    pub(crate) async fn until_well(&mut self, name: &str) -> Result<()> {
        // An object can say so for the moment between a change in place and the list that shows it under way.
        for _ in 0..TURNS {
            self.until(&format!("{name} is well"), |world| world.is_well(name)).await?;
            self.for_a_while(SLOW).await?;
            if self.is_well(name) {
                break;
            }
        }
        let entry = self.entries.get_mut(name).context("it exists")?;
        self.shown.healed.append(&mut entry.said);
        entry.states.remove("Ready");
        self.shown.left.append(&mut entry.states);
        Ok(())
    }

    /// Lives on for this long.
    pub(crate) async fn for_a_while(&mut self, time: Duration) -> Result<()> {
        let end = later(self.sim.now(), time);
        while self.sim.now() < end {
            self.turn(None::<&fn(&Self) -> bool>).await?;
        }
        Ok(())
    }

    /// A list if one is due, every reconcile that is due, and a step of time; whether `fits` was true on the way.
    async fn turn(&mut self, fits: Option<&impl Fn(&Self) -> bool>) -> Result<bool> {
        let busy = self.entries.values().any(|entry| entry.busy);
        let wait = match &self.list_error {
            // As the poller of the operator does.
            Some(error) => pace::back_off(error.meaning, self.list_failures)
                .min(SLOW)
                .max(error.retry_after.unwrap_or_default()),
            None if busy => BUSY,
            None => SLOW,
        };
        if later(self.listed, wait) <= self.sim.now() {
            self.poll().await;
        }
        let now = self.sim.now();
        let names: Vec<_> = self.entries.keys().cloned().collect();
        for name in names {
            if self.entry(&name)?.wake.is_none_or(|wake| wake <= now) {
                self.reconcile(&name).await.with_context(|| name.clone())?;
                if fits.is_some_and(|fits| fits(self)) {
                    return Ok(true);
                }
            }
        }
        let asked = self.listed == Timestamp::MIN || self.list_error.is_some();
        self.clock.advance(if busy || asked { BUSY / 5 } else { SLOW });
        Ok(false)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).with_context(|| format!("there is no {name}"))
    }

    /// A write of the object: a new version, and a reason to reconcile.
    fn store(&mut self, name: &str, change: impl FnOnce(&mut ImageCache)) -> Result<()> {
        self.count += 1;
        let version = self.count.to_string();
        let entry = self.entries.get_mut(name).with_context(|| format!("there is no {name}"))?;
        change(&mut entry.object);
        entry.object.metadata.resource_version = Some(version);
        entry.wake = None;
        Ok(())
    }

    fn drop_if_ended(&mut self, name: &str) {
        let ended = |entry: &Entry| {
            let metadata = &entry.object.metadata;
            metadata.deletion_timestamp.is_some() && metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
        };
        if self.entries.get(name).is_some_and(ended) {
            self.entries.remove(name);
        }
    }
}

fn read(object: &Value) -> Result<ImageCache> {
    serde_json::from_value(object.clone()).context("the type does not take it")
}

/// As the API server does before it stores an object.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn summary(object: &ImageCache) -> String {
    let status = object.status.clone().unwrap_or_default();
    let conditions: Vec<_> = status
        .conditions
        .iter()
        .map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message))
        .collect();
    format!(
        "{:?} generation {:?} observed {:?}, cloud {:?} {:?}, operation {:?}, {}",
        object.metadata.name,
        object.metadata.generation,
        status.observed_generation,
        status.image_cache_id,
        status.cloud_status,
        status.operation.map(|op| (op.attempt, op.sends)),
        conditions.join("; ")
    )
}

/// The words of [`CacheState`] that are declared.
pub(crate) fn declared_states() -> Vec<&'static str> {
    use CacheState::{Creating, Failed, Preparing, Ready, UpdateFailed, Updating};
    // Exhaustive on purpose: a state that is added has to be listed.
    let word = |state: CacheState| match state {
        Preparing => "Preparing",
        Creating => "Creating",
        Ready => "Ready",
        Failed => "Failed",
        Updating => "Updating",
        UpdateFailed => "UpdateFailed",
        CacheState::Other(_) => "",
    };
    [Preparing, Creating, Ready, Failed, Updating, UpdateFailed].map(word).to_vec()
}
