//! What the webhook knows of the cluster: kept in memory by watches, so that an answer needs no request.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use eci_core::profile::decide::World;
use eci_core::profile::{Labels, Profiles};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::{Semaphore, watch};

/// Longest that a namespace is asked for that the watch has not shown yet.
const NAMESPACE_LIMIT: Duration = Duration::from_millis(500);
/// Most such questions at once.
const QUESTIONS: usize = 32;

/// What is known, shared by those who watch and those who answer.
pub struct Known {
    profiles: watch::Sender<Arc<Profiles>>,
    world: watch::Sender<Arc<World>>,
    namespaces: RwLock<BTreeMap<String, Arc<Labels>>>,
    complete: watch::Sender<bool>,
    client: Client,
    questions: Semaphore,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("complete", &*self.complete.borrow()).finish_non_exhaustive()
    }
}

/// Why the labels of a namespace are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum NamespaceError {
    /// It does not exist.
    #[error("the namespace {0} does not exist")]
    Missing(String),
    /// It cannot be asked for.
    #[error("the namespace {name} is newer than what the operator has seen, and cannot be read: {why}")]
    Unreadable {
        /// Which.
        name: String,
        /// Why not.
        why: String,
    },
}

impl Known {
    /// Nothing yet, but for what never changes.
    pub(super) fn new(client: Client, world: World) -> Self {
        Self {
            profiles: watch::channel(Arc::default()).0,
            world: watch::channel(Arc::new(world)).0,
            namespaces: RwLock::default(),
            complete: watch::channel(false).0,
            client,
            questions: Semaphore::new(QUESTIONS),
        }
    }

    /// The profiles, as of now.
    pub fn profiles(&self) -> Arc<Profiles> {
        Arc::clone(&self.profiles.borrow())
    }

    /// The profiles, and their changes.
    pub fn follow_profiles(&self) -> watch::Receiver<Arc<Profiles>> {
        self.profiles.subscribe()
    }

    /// The rest of the world, as of now.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// Turns true when everything was read once.
    pub fn complete(&self) -> watch::Receiver<bool> {
        self.complete.subscribe()
    }

    /// Whether everything was read once.
    pub(super) fn is_complete(&self) -> bool {
        *self.complete.borrow()
    }

    pub(super) fn set_profiles(&self, profiles: Profiles) {
        self.profiles.send_replace(Arc::new(profiles));
    }

    pub(super) fn set_world(&self, world: World) {
        self.world.send_replace(Arc::new(world));
    }

    pub(super) fn set_complete(&self) {
        self.complete.send_if_modified(|complete| !std::mem::replace(complete, true));
    }

    pub(super) fn set_namespace(&self, name: String, labels: Labels) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(name, Arc::new(labels));
    }

    pub(super) fn forget_namespace(&self, name: &str) {
        self.namespaces.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Forgets the namespaces for which `exists` is false.
    pub(super) fn retain_namespaces(&self, exists: impl Fn(&str) -> bool) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.retain(|name, _| exists(name));
    }

    /// The labels of a namespace: from memory, or by one request when it is newer than the watch.
    pub(super) async fn namespace(&self, name: &str) -> Result<Arc<Labels>, NamespaceError> {
        let seen = self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(labels) = seen {
            return Ok(labels);
        }
        let unreadable = |why: String| NamespaceError::Unreadable { name: name.to_owned(), why };
        let asked = async {
            // Never closed.
            let _place = self.questions.acquire().await;
            Api::<Namespace>::all(self.client.clone()).get_metadata_opt(name).await
        };
        let answer = tokio::time::timeout(NAMESPACE_LIMIT, asked).await;
        match answer.map_err(|_| unreadable(format!("no answer within {NAMESPACE_LIMIT:?}")))? {
            Ok(Some(namespace)) => Ok(Arc::new(namespace.metadata.labels.unwrap_or_default())),
            Ok(None) => Err(NamespaceError::Missing(name.to_owned())),
            Err(kube::Error::Api(status)) => Err(unreadable(status.message.chars().take(256).collect())),
            Err(_) => Err(unreadable("the API server cannot be reached".to_owned())),
        }
    }
}
