//! One life of an object: created, edited, deleted, with one crash.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use eci_core::cloud_resource::Limits;
use eci_core::image_cache::Defaults;
use eci_operator::clock::Clock;
use eci_operator::driver::{Driver, Failure, Gate, Moment, Settings, Verdict};
use eci_operator::kind::{Key, Managed};
use eci_operator::kubernetes::Objects;
use eci_operator::metrics::Metrics;
use eci_operator::observe::{Intervals, Observer};
use eci_operator::report::Reporter;
use eci_sim::world::call::Effect;
use eci_sim::world::settings::Lag;
use eci_sim::{Sim, SimCloud};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _};
use serde_json::Value;

/// A kind, with an object to live through.
pub(crate) trait Life: Managed<Object: serde::Serialize> {
    /// An object to create.
    fn manifest(name: &str) -> Value;
    /// A change that needs another resource.
    fn edit() -> Value;
}

/// What is wrong all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chaos {
    None,
    /// Triggers are dropped, doubled and late; copies of the object are old; lists of the cloud lag.
    Everything,
}

impl Chaos {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "calm",
            Self::Everything => "chaos",
        }
    }
}

/// Where the crash came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    At(String),
    Never,
}

/// What became of a life.
pub(crate) struct Told {
    pub(crate) ended: Ended,
    /// Places where it could have been stopped, and how often it came by.
    pub(crate) places: BTreeMap<String, usize>,
}

/// Stops when a life comes by a place for the nth time. Not at the nth step of all: how many status writes there are
/// depends on time.
pub(crate) type Stop = (String, usize);

/// The gate.
#[derive(Default)]
struct StopAt {
    stop: Option<Stop>,
    passed: Mutex<BTreeMap<String, usize>>,
    stopped: Mutex<Option<String>>,
}

impl Gate for StopAt {
    fn check(&self, _: &Key, moment: Moment, step: &'static str) -> ControlFlow<()> {
        let moment = if moment == Moment::Before { "before" } else { "after" };
        let place = format!("{moment} {step}");
        let mut passed = self.passed.lock().unwrap();
        let times = passed.entry(place.clone()).or_insert(0);
        let here = self.stop.as_ref().is_some_and(|(at, nth)| *at == place && nth == times);
        *times += 1;
        if here {
            *self.stopped.lock().unwrap() = Some(place);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

const BUILD: Duration = Duration::from_millis(200);
/// Bound of a life, in looks.
const LOOKS: usize = 1_500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

pub(crate) struct Story<K: Life> {
    client: Client,
    name: String,
    chaos: Chaos,
    gate: Arc<StopAt>,
    cloud: Arc<SimCloud>,
    api: Api<K::Object>,
}

/// A process: what a crash takes with it.
struct Process<K: Life> {
    driver: Driver<K, SimCloud>,
    observer: Arc<Observer<K>>,
}

impl<K: Life> Story<K> {
    pub(crate) fn new(client: Client, name: String, chaos: Chaos, stop: Option<Stop>) -> Self {
        let build = u64::try_from(BUILD.as_millis()).unwrap();
        let mut settings =
            eci_sim::Settings { prepare_ms: build / 2, create_ms: build / 2, ..Default::default() };
        if chaos == Chaos::Everything {
            // Less than the window, as the protocol needs it.
            settings.list_lag = Lag { min_ms: 0, max_ms: 250 };
            // Nothing but the window protects from a second resource.
            settings.token_life_ms = Some(0);
        }
        let sim = Sim::new(7, settings, eci_sim::Clock::System);
        let cloud = Arc::new(SimCloud::new(sim, Duration::from_secs(2)));
        let api = Api::namespaced(client.clone(), "default");
        Self { client, name, chaos, gate: Arc::new(StopAt { stop, ..StopAt::default() }), cloud, api }
    }

    fn process(&self) -> Process<K> {
        let clock = Clock::start();
        let observer = Arc::new(Observer::new("prefix".into(), clock, Vec::new()));
        let millis = Duration::from_millis;
        let settings = Settings {
            cluster: "prefix".into(),
            region: "cn-hangzhou".into(),
            defaults: Defaults { v_switch_ids: vec!["vsw-1".into()], security_group_id: None },
            limits: Limits {
                resolve_window: millis(600),
                send_within: millis(300),
                request_timeout: millis(300),
                vanish_gap: millis(600),
                stray_gap: millis(300),
                look_gap: millis(50),
                ..Limits::default()
            },
            dry_run: false,
        };
        let driver = Driver::new(
            Arc::clone(&self.cloud),
            Objects::new(self.client.clone()),
            Arc::clone(&observer),
            Reporter::new(self.client.clone(), None),
            Arc::new(Metrics::default()),
            clock,
            settings,
        );
        let gate: Arc<dyn Gate> = self.gate.clone();
        Process { driver: driver.with_gate(gate), observer }
    }

    /// From nothing to Ready to edited to deleted to gone.
    pub(crate) async fn live(self) -> Result<Told> {
        let object: K::Object = serde_json::from_value(K::manifest(&self.name))?;
        self.api.create(&PostParams::default(), &object).await?;
        let (mut process, mut copies, mut edited, mut deleted) = (self.process(), Vec::new(), false, false);
        let intervals = Intervals { busy: BETWEEN_LOOKS, slow: BETWEEN_LOOKS, page: Duration::from_secs(1) };
        for look in 0..LOOKS {
            let Some(object) = self.api.get_opt(&self.name).await? else {
                ensure!(deleted, "the object went before it was deleted");
                self.nothing_is_left()?;
                let ended = self.gate.stopped.lock().unwrap().clone().map_or(Ended::Never, Ended::At);
                let places = self.gate.passed.lock().unwrap().clone();
                return Ok(Told { ended, places });
            };
            if !deleted && is_settled::<K>(&object) && self.living() == 1 {
                let wanted = if edited { 2 } else { 1 };
                ensure!(self.billed() == wanted, "{} resources were billed, not {wanted}", self.billed());
                if edited {
                    self.api.delete(&self.name, &DeleteParams::default()).await?;
                    deleted = true;
                } else {
                    self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(K::edit())).await?;
                    edited = true;
                }
                continue;
            }
            copies.push(object);
            process.observer.list_once(&*self.cloud, &intervals).await;
            for copy in self.triggers(look, &copies) {
                match process.driver.reconcile(&copy).await {
                    Ok(Verdict::AwaitsList) => process.observer.list_once(&*self.cloud, &intervals).await,
                    Ok(_) => {}
                    Err(error) if matches!(error.failure, Failure::Stopped) => process = self.process(),
                    Err(error) => bail!("{error}"),
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        let last = copies.last().map(|c| serde_json::to_string(c).unwrap_or_default()).unwrap_or_default();
        bail!("{}: not over after {LOOKS} looks; {} live; last seen: {last}", self.name, self.living())
    }

    /// The copies of the object that come to the controller at this look.
    fn triggers(&self, look: usize, copies: &[K::Object]) -> Vec<K::Object> {
        let back = |n: usize| copies.iter().rev().nth(n.min(copies.len().saturating_sub(1))).cloned();
        let ages: &[usize] = match (self.chaos, look % 5) {
            // Dropped, doubled, late, old then new.
            (Chaos::Everything, 0) => &[],
            (Chaos::Everything, 1) => &[0, 0],
            (Chaos::Everything, 2) => &[3],
            (Chaos::Everything, 3) => &[1, 0],
            _ => &[0],
        };
        ages.iter().filter_map(|age| back(*age)).collect()
    }

    fn billed(&self) -> usize {
        let made = |world: &mut eci_sim::world::World| {
            world.ledger().iter().filter(|entry| matches!(entry.effect, Effect::Created { .. })).count()
        };
        self.cloud.sim().with_world(|world, _| made(world))
    }

    fn living(&self) -> usize {
        self.cloud.sim().with_world(|world, now| world.caches(now).len())
    }

    fn nothing_is_left(&self) -> Result<()> {
        let left: BTreeMap<_, _> = self
            .cloud
            .sim()
            .with_world(eci_sim::world::World::caches)
            .into_iter()
            .map(|view| (view.id, view.status))
            .collect();
        ensure!(left.is_empty(), "{}: left behind: {left:?}", self.name);
        ensure!(self.billed() == 2, "{}: {} resources were billed, not 2", self.name, self.billed());
        Ok(())
    }
}

/// Ready for the current generation, and nothing under way.
fn is_settled<K: Life>(object: &K::Object) -> bool {
    let generation = object.meta().generation;
    let conditions = K::status_of(object).map(K::conditions).unwrap_or_default();
    let ready = conditions
        .iter()
        .any(|c| c.type_ == "Ready" && c.status == "True" && c.observed_generation == generation);
    ready && !conditions.iter().any(|c| matches!(c.type_.as_str(), "Reconciling" | "Updating" | "Stalled"))
}
