//! The watch of a kind, and the queue in front of its driver.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use eci_core::cloud::Cloud;
use futures::{StreamExt as _, stream};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{Semaphore, watch};

use crate::driver::{Driver, ReconcileError, Verdict};
use crate::kind::{Key, Managed, forget_fields};
use crate::kubernetes::{PAGE, with_causes};
use crate::nudge::Nudges;

/// Most malformed objects of which the version that was complained about is kept.
const COMPLAINT_LIMIT: usize = 1_000;

/// The objects of a watch: those that cannot be read do not stop the others.
pub type Guarded<K> = DeserializeGuard<<K as Managed>::Object>;

/// A driver with what all controllers of its kind share.
pub struct Shared<K: Managed, C> {
    driver: Driver<K, C>,
    /// Reconciles at once, over all namespaces.
    workers: Semaphore,
    /// resourceVersions of malformed objects that were complained about.
    complaints: Mutex<BTreeMap<Key, String>>,
}

impl<K: Managed, C: Cloud> Shared<K, C> {
    /// At most `workers` reconciles at once.
    pub fn new(driver: Driver<K, C>, workers: u16) -> Self {
        Self { driver, workers: Semaphore::new(usize::from(workers)), complaints: Mutex::default() }
    }

    async fn reconcile(&self, object: &Guarded<K>) -> Result<Verdict, ReconcileError> {
        // The semaphore is never closed; without a permit the reconcile would merely be one too many.
        let _permit = self.workers.acquire().await;
        match &object.0 {
            Ok(object) => self.driver.reconcile(object).await,
            Err(invalid) => {
                self.complain(&Key::of(object), object.resource_version(), &invalid.error);
                Ok(Verdict::Rested(None))
            }
        }
    }

    fn complain(&self, key: &Key, version: Option<String>, error: &str) {
        let version = version.unwrap_or_default();
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.get(key) == Some(&version) {
            return;
        }
        if complaints.len() >= COMPLAINT_LIMIT {
            complaints.pop_first();
        }
        complaints.insert(key.clone(), version);
        let error: String = error.chars().take(512).collect();
        tracing::warn!(
            kind = K::NOUN,
            object = %key,
            error,
            "this object cannot be read and is left alone; correct it, or install the CRD of this version of the operator"
        );
    }
}

/// The controller of one namespace, or of all: whether its objects were read once, the objects, and the task that runs
/// until `stop` says so.
pub fn controller<K: Managed, C: Cloud>(
    shared: Arc<Shared<K, C>>,
    client: Client,
    namespace: Option<String>,
    nudges: Arc<Nudges>,
    workers: u16,
    mut stop: watch::Receiver<bool>,
) -> (watch::Receiver<bool>, Store<Guarded<K>>, impl Future<Output = ()> + Send) {
    let api: Api<Guarded<K>> = match &namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let (filled, objects_read) = watch::channel(false);
    let (store, writer) = reflector::store();
    shared.driver.peers.watch(store.clone(), objects_read.clone());
    let watched = (Arc::clone(&shared), store.clone());
    let objects = store.clone();
    let lean = watch_objects(api, watcher::Config::default().page_size(PAGE))
        .modify(|object| forget_fields(object.managed_fields_mut()));
    let events = reflector::reflector(writer, lean).inspect(move |event| {
        let (shared, store) = &watched;
        match event {
            Ok(Event::Delete(object)) => shared.driver.forget(&Key::of(object)),
            Ok(Event::InitDone) => {
                // What was deleted while nothing was watched has no event.
                shared.driver.retain(|key| {
                    namespace.as_ref().is_some_and(|ns| *ns != key.namespace)
                        || store.get(&ObjectRef::new(&key.name).within(&key.namespace)).is_some()
                });
                filled.send_replace(true);
            }
            _ => {}
        }
    });
    let triggers = nudges.stream().map(|key| ObjectRef::new(&key.name).within(&key.namespace));
    // What a standby saw is still to be reconciled.
    let leadership = shared.driver.leadership.clone();
    let acquired = stream::once(async move { leadership.acquired().await });
    let controller = Controller::for_stream(events.applied_objects(), store)
        // Zero would mean no limit.
        .with_config(Config::default().concurrency(workers.max(1)))
        .reconcile_on(triggers)
        .reconcile_all_on(acquired)
        .graceful_shutdown_on(async move {
            let _ = stop.wait_for(|stop| *stop).await;
        });
    let ended = Arc::clone(&shared);
    let results = controller.run(
        |object, shared| async move {
            let verdict = shared.reconcile(&object).await?;
            Ok(verdict.wait().map_or_else(Action::await_change, Action::requeue))
        },
        |_, error: &ReconcileError, _| Action::requeue(error.retry_in),
        shared,
    );
    let task = results.for_each(move |result| {
        match result {
            // The driver has logged its own failures.
            Ok(_) | Err(Error::ReconcilerFailed(..)) => {}
            Err(Error::ObjectNotFound(object)) => {
                let key = Key {
                    namespace: object.namespace.clone().unwrap_or_default(),
                    name: object.name.clone(),
                };
                ended.driver.forget(&key);
            }
            Err(error) => {
                tracing::warn!(kind = K::NOUN, error = with_causes(&error), "the watch fails; trying again");
            }
        }
        std::future::ready(())
    });
    (objects_read, objects, task)
}
