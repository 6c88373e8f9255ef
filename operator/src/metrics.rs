//! What the operator counts. Labels have few values, all of them ours.

mod board;
mod cloud;
mod pods;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eci_core::cloud::{CloudError, Meaning};
use eci_core::network::State;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::eviction::EvictionMetrics;
use crate::kind::Key;
use crate::lease::Leadership;
use crate::placement::PlacementMetrics;
use crate::webhook::AdmissionMetrics;
use board::Board;
use cloud::{Asked, Sources};
use pods::PodMetrics;

pub use cloud::ListFacts;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    action: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ActionLabels {
    action: &'static str,
}

/// The metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<KindLabels, Histogram, fn() -> Histogram>,
    running: Family<KindLabels, Gauge>,
    workers: Gauge,
    board: Board,
    sources: Arc<Sources>,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<ActionLabels, Histogram, fn() -> Histogram>,
    eviction: EvictionMetrics,
    placement: PlacementMetrics,
    admission: AdmissionMetrics,
    pods: PodMetrics,
}

fn seconds() -> Histogram {
    Histogram::new([0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// Whether this process leads at the moment of the scrape: a gauge that is set could be late.
impl Collector for Leadership {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new(i64::from(self.holds()));
        let help = "Whether this process leads (1), or stands by (0)";
        gauge.encode(encoder.encode_descriptor("leader", help, None, gauge.metric_type())?)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Leadership::default())
    }
}

impl Metrics {
    /// For a process that leads as `leadership` says.
    pub fn new(leadership: Leadership) -> Self {
        let mut registry = Registry::with_prefix("eci_operator");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the operator", build);
        registry.register_collector(Box::new(leadership));
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles by kind and outcome", reconciles.clone());
        let reconcile_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of reconciles",
            Unit::Seconds,
            reconcile_seconds.clone(),
        );
        let running = Family::default();
        registry.register("reconciles_running", "Reconciles under way", running.clone());
        let workers = Gauge::default();
        let help = "Reconciles that may be under way at once; when all are, objects queue";
        registry.register("reconcile_workers", help, workers.clone());
        let board = Board::default();
        registry.register_collector(Box::new(board.clone()));
        let sources = Arc::new(Sources::default());
        registry.register_collector(Box::new(Asked(Arc::clone(&sources))));
        let calls = Family::default();
        registry.register("cloud_calls", "Calls to the cloud by action and answer", calls.clone());
        let call_seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit(
            "cloud_call_duration",
            "Duration of calls to the cloud, waiting for their turn included",
            Unit::Seconds,
            call_seconds.clone(),
        );
        let eviction = EvictionMetrics::register(&mut registry);
        let placement = PlacementMetrics::register(&mut registry);
        let admission = AdmissionMetrics::register(&mut registry);
        let pods = PodMetrics::register(&mut registry);
        Self {
            registry,
            reconciles,
            reconcile_seconds,
            running,
            workers,
            board,
            sources,
            calls,
            call_seconds,
            eviction,
            placement,
            admission,
            pods,
        }
    }

    /// The vendor said of a pod whether it starts from an image cache.
    pub fn matched(&self, hit: bool) {
        self.pods.matched(hit);
    }

    /// Such a pod started.
    pub fn started(&self, hit: bool, took: Duration) {
        self.pods.started(hit, took);
    }

    /// The vSwitches that profiles and the operator's defaults name are so.
    pub fn v_switches(&self, states: impl IntoIterator<Item = State>) {
        self.pods.v_switches(states);
    }

    /// Those of evictions.
    pub fn eviction(&self) -> EvictionMetrics {
        self.eviction.clone()
    }

    /// Those of placement.
    pub fn placement(&self) -> PlacementMetrics {
        self.placement.clone()
    }

    /// Those of admission.
    pub fn admission(&self) -> AdmissionMetrics {
        self.admission.clone()
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str, duration: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).inc();
        self.reconcile_seconds.get_or_create(&KindLabels { kind }).observe(duration.as_secs_f64());
    }

    /// How many reconciles may be under way at once.
    pub fn workers(&self, count: u16) {
        self.workers.set(count.into());
    }

    /// A reconcile is under way until the guard is dropped.
    pub fn running(&self, kind: &'static str) -> Running {
        let gauge = self.running.get_or_create_owned(&KindLabels { kind });
        gauge.inc();
        Running(gauge)
    }

    /// An object has these conditions.
    pub fn stands(&self, kind: &'static str, key: &Key, conditions: &[Condition]) {
        self.board.stands(kind, key, conditions);
    }

    /// What the next step of an object waits for.
    pub fn waits(&self, kind: &'static str, key: &Key, waits_for: Option<&'static str>) {
        self.board.waits(kind, key, waits_for);
    }

    /// An object is gone.
    pub fn forget(&self, kind: &'static str, key: &Key) {
        self.board.forget(kind, key);
    }

    /// Forgets the objects for which `exists` is false.
    pub fn retain(&self, kind: &'static str, exists: impl Fn(&Key) -> bool) {
        self.board.retain(kind, exists);
    }

    /// Asks `look` for the newest list of a kind at every scrape.
    pub fn follow_list(
        &self,
        kind: &'static str,
        look: impl Fn() -> Option<ListFacts> + Send + Sync + 'static,
    ) {
        lock(&self.sources.lists).insert(kind, Box::new(look));
    }

    /// Asks `waits` for the time that calls of each action have waited for their turn, at every scrape.
    pub fn follow_waits(&self, waits: impl Fn() -> Vec<(&'static str, Duration)> + Send + Sync + 'static) {
        *lock(&self.sources.waits) = Some(Box::new(waits));
    }

    /// How many cloud resources belong to no object.
    pub fn orphans(&self, kind: &'static str, count: usize) {
        lock(&self.sources.orphans).insert(kind, count);
    }

    /// Whether the cloud allowed the newest call of an action; what it did before, when that is known.
    pub fn permission(&self, action: &'static str, granted: bool) -> Option<bool> {
        lock(&self.sources.permissions).insert(action, granted)
    }

    /// The actions that the cloud denies.
    pub fn denied(&self) -> Vec<&'static str> {
        let permissions = lock(&self.sources.permissions);
        permissions.iter().filter(|(_, granted)| !**granted).map(|(action, _)| *action).collect()
    }

    /// Counts a call to the cloud.
    pub fn called(&self, action: &'static str, error: Option<&CloudError>, duration: Duration) {
        let answer = error.map_or("Ok", |e| word(e.meaning));
        self.calls.get_or_create(&CallLabels { action, answer }).inc();
        self.call_seconds.get_or_create(&ActionLabels { action }).observe(duration.as_secs_f64());
    }

    /// All metrics in the text format of OpenMetrics.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// A reconcile that is under way.
#[derive(Debug)]
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A meaning as the value of a label.
const fn word(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::NotSent => "NotSent",
        Meaning::NoCredentials => "NoCredentials",
        Meaning::Unknown => "Unknown",
        Meaning::Throttled => "Throttled",
        Meaning::QuotaExceeded => "QuotaExceeded",
        Meaning::NoStock => "NoStock",
        Meaning::NoAddress => "NoAddress",
        Meaning::Arrears => "Arrears",
        Meaning::AccountRestricted => "AccountRestricted",
        Meaning::BadCredentials => "BadCredentials",
        Meaning::ClockSkew => "ClockSkew",
        Meaning::Denied => "Denied",
        Meaning::Busy => "Busy",
        Meaning::TokenMismatch => "TokenMismatch",
        Meaning::NotFound => "NotFound",
        Meaning::Invalid => "Invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_units_and_calls_are_told_apart_by_their_answer() {
        let metrics = Metrics::default();
        let throttled = CloudError {
            action: "CreateImageCache",
            meaning: Meaning::Throttled,
            code: None,
            message: String::new(),
            request_id: None,
            retry_after: None,
        };
        metrics.called("CreateImageCache", Some(&throttled), Duration::from_millis(10));
        metrics.called("CreateImageCache", None, Duration::from_millis(10));
        metrics.reconciled("image cache", "rested", Duration::from_millis(1));
        let page = metrics.encode().unwrap();
        for line in [
            r#"eci_operator_cloud_calls_total{action="CreateImageCache",answer="Throttled"} 1"#,
            r#"eci_operator_cloud_calls_total{action="CreateImageCache",answer="Ok"} 1"#,
            r#"eci_operator_reconciles_total{kind="image cache",outcome="rested"} 1"#,
            r#"eci_operator_cloud_call_duration_seconds_count{action="CreateImageCache"} 2"#,
            "eci_operator_leader 1",
            concat!(r#"eci_operator_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        ] {
            assert!(page.contains(line), "{line} is not in:\n{page}");
        }
    }
}
