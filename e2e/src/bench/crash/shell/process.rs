//! A process of the operator for one kind: its own driver, poller and memory, and in front of them what the watch and the
//! queue of a controller do.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eci_core::cloud_resource::Limits;
use eci_core::image_cache::Defaults;
use eci_operator::clock::Clock;
use eci_operator::driver::{Driver, Failure, Gate, Moment, ReconcileError, Settings, Verdict};
use eci_operator::kind::Key;
use eci_operator::kubernetes::Objects;
use eci_operator::metrics::Metrics;
use eci_operator::nudge::Nudges;
use eci_operator::observe::{Intervals, Observer};
use eci_operator::report::Reporter;
use eci_sim::SimCloud;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::Event;
use serde::Deserialize as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::api::{Change, Server};
use super::kinds::Burning;
use super::script::Life;
use super::{CLUSTER, NAMESPACE};

/// Reconciles at once.
const WORKERS: usize = 3;
/// Longer than the operator's: most of what a seed costs are lists.
const INTERVALS: Intervals =
    Intervals { busy: Duration::from_secs(10), slow: Duration::from_mins(1), page: Duration::from_secs(10) };

/// Stops at the nth place.
struct StopAt {
    stop: Option<u64>,
    passed: AtomicU64,
}

impl Gate for StopAt {
    fn check(&self, _: &Key, _: Moment, _: &'static str) -> ControlFlow<()> {
        let nth = self.passed.fetch_add(1, Ordering::Relaxed);
        if self.stop == Some(nth) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// How a process ended by itself.
#[derive(Debug)]
pub(super) enum Ended {
    /// At its place.
    Stopped,
    /// With something that must not be.
    Broken(String),
}

/// Lives until it stops; dropped, it is killed at that moment.
pub(super) async fn live<K: Burning>(
    server: Server,
    cloud: Arc<SimCloud>,
    start: (Timestamp, Instant),
    life: Life,
) -> Ended {
    let clock = Clock::start_in_runtime(start.0, start.1);
    let nudges = Arc::new(Nudges::default());
    let observer = Arc::new(Observer::new(CLUSTER.into(), clock, vec![(None, Arc::clone(&nudges))]));
    let (store, writer) = kube::runtime::reflector::store();
    let (filled, has_all) = watch::channel(false);
    let client = server.client();
    let settings = Settings {
        cluster: CLUSTER.into(),
        region: eci_sim::Settings::default().region,
        defaults: Defaults { v_switch_ids: vec!["vsw-1".into()], security_group_id: None },
        limits: Limits::default(),
        dry_run: false,
    };
    let gate = Arc::new(StopAt { stop: life.stops, passed: AtomicU64::new(0) });
    let driver = Driver::<K, SimCloud>::new(
        Arc::clone(&cloud),
        Objects::new(client.clone()),
        Arc::clone(&observer),
        Reporter::new(client, None),
        Arc::new(Metrics::default()),
        clock,
        settings,
    )
    .with_gate(gate)
    .with_objects(store.clone(), has_all);
    let (_running, stop) = watch::channel(false);
    let mut queue = Queue {
        server,
        driver: &driver,
        writer,
        filled,
        watch_lag: life.watch_lag,
        seen: 0,
        due: BTreeMap::new(),
    };
    tokio::select! {
        biased;
        ended = queue.work(start, &nudges) => ended,
        () = observer.poll(&*cloud, INTERVALS, stop) => Ended::Broken("the poller ended".into()),
    }
}

struct Queue<'a, K: Burning> {
    server: Server,
    driver: &'a Driver<K, SimCloud>,
    writer: Writer<DeserializeGuard<K::Object>>,
    filled: watch::Sender<bool>,
    watch_lag: Duration,
    /// Changes that the watch has told of.
    seen: usize,
    due: BTreeMap<Key, Instant>,
}

impl<K: Burning> Queue<'_, K> {
    async fn work(&mut self, start: (Timestamp, Instant), nudges: &Arc<Nudges>) -> Ended {
        let mut copies: BTreeMap<Key, K::Object> = BTreeMap::new();
        let mut triggers = Box::pin(Arc::clone(nudges).stream());
        let mut running = FuturesUnordered::new();
        let mut busy = BTreeSet::new();
        let driver = self.driver;
        // The first list has no lag: it is what the API server has.
        let mut lag = Duration::ZERO;
        loop {
            let next_event = match self.watch(start, lag, &mut copies) {
                Ok(next) => next,
                Err(error) => return Ended::Broken(error),
            };
            lag = self.watch_lag;
            self.filled.send_replace(true);
            let now = Instant::now();
            while running.len() < WORKERS {
                let ready = self.due.iter().find(|(key, at)| **at <= now && !busy.contains(*key));
                let Some(key) = ready.map(|(key, _)| key.clone()) else { break };
                self.due.remove(&key);
                // One that is gone is no more in the store.
                let Some(copy) = copies.get(&key).cloned() else { continue };
                busy.insert(key.clone());
                running.push(async move { (key, driver.reconcile(&copy).await) });
            }
            let free = running.len() < WORKERS;
            let next_due = self.due.iter().filter(|(key, _)| free && !busy.contains(*key)).map(|(_, at)| *at);
            let wake = next_due.chain(next_event).min();
            let timer = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some((key, result)) = running.next(), if !running.is_empty() => {
                    busy.remove(&key);
                    if let Some(ended) = self.took(key, result) {
                        return ended;
                    }
                }
                Some(key) = triggers.next() => self.trigger(key, Instant::now()),
                () = self.server.changed() => {}
                () = timer => {}
            }
        }
    }

    /// Takes in what the watch tells by now; when it has more to tell.
    fn watch(
        &mut self,
        (then, at): (Timestamp, Instant),
        lag: Duration,
        copies: &mut BTreeMap<Key, K::Object>,
    ) -> Result<Option<Instant>, String> {
        while let Some(Change { at: changed, place, object, gone }) = self.server.nth_change(self.seen) {
            let since = Duration::try_from(changed.duration_since(then)).unwrap_or_default();
            let told = at + since + lag;
            if told > Instant::now() {
                return Ok(Some(told));
            }
            self.seen += 1;
            if place.0 != K::PLURAL {
                continue;
            }
            let key = Key { namespace: NAMESPACE.into(), name: place.2 };
            let read = |error: serde_json::Error| format!("an object cannot be read: {error}");
            let typed = K::Object::deserialize(&*object).map_err(read)?;
            let guarded = DeserializeGuard(Ok(typed.clone()));
            if gone {
                copies.remove(&key);
                self.due.remove(&key);
                self.driver.forget(&key);
                self.writer.apply_watcher_event(&Event::Delete(guarded));
            } else {
                copies.insert(key.clone(), typed);
                self.writer.apply_watcher_event(&Event::Apply(guarded));
                self.trigger(key, Instant::now());
            }
        }
        Ok(None)
    }

    fn trigger(&mut self, key: Key, at: Instant) {
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// Takes in the end of a reconcile.
    fn took(&mut self, key: Key, result: Result<Verdict, ReconcileError>) -> Option<Ended> {
        let wait = match result {
            Ok(verdict) => verdict.wait(),
            Err(ReconcileError { failure: Failure::Stopped, .. }) => return Some(Ended::Stopped),
            Err(ReconcileError { failure: failure @ Failure::Unlawful(_), .. }) => {
                return Some(Ended::Broken(failure.to_string()));
            }
            Err(ReconcileError { failure: Failure::Kubernetes(_), retry_in }) => Some(retry_in),
        };
        if let Some(wait) = wait {
            self.trigger(key, Instant::now() + wait);
        }
        None
    }
}
