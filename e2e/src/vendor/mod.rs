//! The vendor's virtual node as one that does not know of us: beside kwok, which plays its kubelet, it announces
//! reclaims and carries them out, and when hostile it overwrites pod status blindly and evicts pods itself.
//!
//! It is a user of its own ([`USER`]), so that the audit log tells its requests from others.

mod evict;
mod matched;
pub mod networking;
mod overwrite;
mod reclaim;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::testbed::ControlPlane;
use crate::testbed::nodes::{ACK_LABEL, VNODE};
use crate::testbed::webhook::Webhook;

pub use overwrite::OWNED;
pub use reclaim::{EXPIRED, Notice, RELEASED};
pub use webhook::{CONFIGURATION, ROUTED};

/// Who the vendor is to the API server.
pub const USER: &str = "eci-testbed:virtual-kubelet";

/// How long its first list may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What the vendor does beside announcing and reclaiming.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Overwrites the status of pods on virtual nodes, so that conditions of others are lost.
    pub overwrites_status: bool,
    /// Evicts pods with its own annotation at a notice, and tries again until they are gone.
    pub evicts: bool,
    /// Runs its webhook.
    pub has_webhook: bool,
    /// Says of each pod that starts on a virtual node whether it starts from an image cache: from the one that it names, or
    /// from none.
    pub tells_matches: bool,
    /// Whether the condition Ready of a released pod stays as it was. kubectl shows READY 1/1 for such pods; whether
    /// the condition goes with it is not documented.
    pub released_stay_ready: bool,
}

impl Behaviour {
    /// It announces and reclaims, and nothing else.
    pub const QUIET: Self = Self {
        overwrites_status: false,
        evicts: false,
        has_webhook: false,
        tells_matches: false,
        released_stay_ready: true,
    };
    /// It does everything that is in our way.
    pub const HOSTILE: Self = Self {
        overwrites_status: true,
        evicts: true,
        has_webhook: true,
        tells_matches: true,
        released_stay_ready: true,
    };
}

/// One pod among all that ever have its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl PodRef {
    /// Of a pod that the API server gave.
    pub fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
        }
    }
}

/// A running vendor. Dropping it ends it.
#[derive(Debug)]
pub struct Vendor {
    shared: Shared,
    tasks: JoinSet<()>,
    _webhook: Option<Webhook>,
}

/// What all of its tasks have.
#[derive(Clone)]
struct Shared {
    client: Client,
    behaviour: Behaviour,
    /// Announced pods by UID, and when: the vendor asserts the condition for as long as it has the instance.
    announced: Arc<Mutex<BTreeMap<String, Timestamp>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("behaviour", &self.behaviour).finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether that node is a virtual one; false when it is not there.
    async fn is_virtual(&self, known: &mut BTreeMap<String, bool>, node: &str) -> bool {
        if let Some(known) = known.get(node) {
            return *known;
        }
        let api: Api<Node> = Api::all(self.client.clone());
        let Ok(Some(found)) = api.get_opt(node).await else { return false };
        let labels = found.labels();
        let has = |(key, value): (&str, &str)| labels.get(key).is_some_and(|found| found == value);
        let answer = has(ACK_LABEL) || has(VNODE);
        known.insert(node.to_owned(), answer);
        answer
    }

    fn announced(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        // Nothing that is done under the lock can leave the map half written.
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vendor {
    /// Starts it for all virtual nodes of a control plane.
    pub async fn start(plane: &ControlPlane, behaviour: Behaviour) -> Result<Self> {
        let client = plane.client_for_user(USER).await?;
        let webhook = if behaviour.has_webhook { Some(webhook::start(plane, &client).await?) } else { None };
        let shared = Shared { client, behaviour, announced: Arc::default() };
        let mut tasks = JoinSet::new();
        if behaviour.overwrites_status {
            tasks.spawn(overwrite::run(shared.clone()));
        }
        if behaviour.tells_matches {
            let (listed, seen) = oneshot::channel();
            tasks.spawn(matched::run(shared.clone(), listed));
            tokio::time::timeout(START_LIMIT, seen).await.context("the vendor cannot list pods")??;
        }
        Ok(Self { shared, tasks, _webhook: webhook })
    }

    /// Announces that pods will be released: to all of them at once, some requests at a time. Pods that are gone are
    /// left out; their number is given.
    pub async fn announce(&mut self, pods: &[PodRef], notice: Notice) -> Result<usize> {
        let gone = reclaim::announce(&self.shared, pods, notice).await?;
        if self.shared.behaviour.evicts {
            for pod in pods {
                self.tasks.spawn(evict::run(self.shared.clone(), pod.clone()));
            }
        }
        Ok(gone)
    }

    /// Says of a pod that it starts from the image cache of this ID, or from none.
    pub async fn matched(&self, pod: &PodRef, cache: Option<&str>) -> Result<()> {
        matched::say(&self.shared, pod, cache).await
    }

    /// Releases the instances of pods: those that still run fail with the reason BidFailed. Gives the pods that did.
    pub async fn release(&self, pods: &[PodRef]) -> Result<Vec<PodRef>> {
        reclaim::release(&self.shared, pods).await
    }
}
