//! An independent witness: watches pods and budgets by a client of its own, and reads the API server's audit log. It
//! believes nobody's account of what was evicted.

pub mod audit;
mod ledger;
#[cfg(test)]
mod tests;
mod verdict;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use backon::ExponentialBuilder;
use futures::{Stream, StreamExt as _, future};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::eventually::eventually;
use crate::testbed::{ControlPlane, Stopwatch};
use crate::vendor::PodRef;

pub use ledger::{Breach, BudgetRef, Floor, Ledger, Seen};
pub use verdict::{Figures, Verdict, percentile};

/// Who the observer is to the API server.
pub const USER: &str = "eci-testbed:observer";

/// When a watch that was lost is tried again: first, and at the latest.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_millis(200);
/// How long the first lists may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running observer. Dropping it ends it.
#[derive(Debug)]
pub struct Observer {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    clock: Stopwatch,
    ledger: Mutex<Ledger>,
    /// Which of the two first lists have been read.
    listed: Mutex<[bool; 2]>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A poisoned ledger is one whose reader panicked: a test that has failed already.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self, which: usize) {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)[which] = true;
    }
}

impl Observer {
    /// Starts it for one namespace, or for all, and waits until it has seen everything that is there.
    pub async fn start(plane: &ControlPlane, namespace: Option<&str>) -> Result<Self> {
        let client = plane.client_for_user(USER).await?;
        let shared = Arc::new(Shared {
            clock: Stopwatch::start(),
            ledger: Mutex::default(),
            listed: Mutex::new([false; 2]),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_budgets(scoped(&client, namespace), Arc::clone(&shared)));
        tasks.spawn(watch_pods(scoped(&client, namespace), Arc::clone(&shared)));
        eventually("the observer has seen what is there", START_LIMIT, || {
            let listed = *shared.listed.lock().unwrap_or_else(PoisonError::into_inner);
            future::ready(if listed == [true; 2] { Ok(()) } else { Err(format!("{listed:?}")) })
        })
        .await?;
        Ok(Self { shared, _tasks: tasks })
    }

    /// Now, since its start.
    pub fn elapsed(&self) -> Duration {
        self.shared.clock.elapsed()
    }

    /// From here on minima and breaches count; pods that are announced hereafter have their times since now.
    pub fn begin(&self) {
        let at = self.elapsed();
        self.shared.ledger().begin(at);
    }

    /// What was seen so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger().clone()
    }

    /// What became of these pods so far.
    pub fn verdict(&self, doomed: &[PodRef]) -> Verdict {
        Verdict::of(&self.shared.ledger(), doomed)
    }

    /// Waits until none of these pods is untouched.
    pub async fn settled(&self, doomed: &[PodRef], limit: Duration) -> Result<Verdict> {
        eventually("every doomed pod was evicted or released", limit, || {
            let verdict = self.verdict(doomed);
            let left = verdict.untouched.len();
            future::ready(if left == 0 { Ok(verdict) } else { Err(format!("{left} are neither")) })
        })
        .await
    }
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A watch that is back soon when the API server is: what happens meanwhile is seen without its order.
fn watch<K>(api: Api<K>) -> impl Stream<Item = watcher::Result<watcher::Event<K>>>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let retries = ExponentialBuilder::default()
        .with_min_delay(RETRY_FIRST)
        .with_max_delay(RETRY_LAST)
        .without_max_times();
    watcher(api, watcher::Config::default()).backoff(watcher::ExponentialBackoff::from(retries))
}

async fn watch_pods(api: Api<Pod>, shared: Arc<Shared>) {
    let mut events = std::pin::pin!(watch(api));
    let mut list = Vec::new();
    while let Some(event) = events.next().await {
        let at = shared.clock.elapsed();
        match event {
            Ok(watcher::Event::Init) => list.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                list.push(pod);
            }
            Ok(watcher::Event::InitDone) => {
                shared.ledger().list(at, &list);
                list.clear();
                shared.listed(0);
            }
            Ok(watcher::Event::Apply(pod)) => shared.ledger().pod(at, &pod),
            Ok(watcher::Event::Delete(pod)) => shared.ledger().pod_gone(at, &pod),
            // It tries again by itself.
            Err(_) => {}
        }
    }
}

async fn watch_budgets(api: Api<PodDisruptionBudget>, shared: Arc<Shared>) {
    let mut events = std::pin::pin!(watch(api));
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::InitApply(budget) | watcher::Event::Apply(budget)) => {
                shared.ledger().budget(&budget);
            }
            Ok(watcher::Event::Delete(budget)) => shared.ledger().budget_gone(&budget),
            Ok(watcher::Event::InitDone) => shared.listed(1),
            Ok(watcher::Event::Init) | Err(_) => {}
        }
    }
}
