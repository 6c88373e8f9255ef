//! Keeps the webhook configurations as the profiles want them: only the process that leads does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use eci_core::admission::configuration::{Frame, Target, contains, mutating, validating};
use eci_core::admission::entries::{Reach, entries};
use eci_core::profile::Profiles;
use eci_core::profile::nodes::VirtualNodes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Standing;
use super::metrics::AdmissionMetrics;
use super::owner::{Owner, owner};
use crate::kubernetes::{FIELD_MANAGER, KubeError, call, with_causes};
use crate::lease::Leadership;

/// How long nothing is written after a write, so that what belongs together is written together,
const LEAST_PAUSE: Duration = Duration::from_millis(200);
/// and when somebody else writes something else, or a write fails, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often is looked whether the owner exists, while it does not.
const OWNER_EVERY: Duration = Duration::from_secs(10);

/// What keeping the configurations needs.
pub(super) struct Program {
    pub(super) client: Client,
    pub(super) name: String,
    /// The ClusterRole whose end is theirs.
    pub(super) owner: Option<String>,
    pub(super) target: Target,
    pub(super) reach: Reach,
    /// Where virtual nodes are.
    pub(super) nodes: VirtualNodes,
    pub(super) leadership: Leadership,
    pub(super) metrics: AdmissionMetrics,
    pub(super) profiles: watch::Receiver<Arc<Profiles>>,
    /// Whether the profiles were read once.
    pub(super) complete: watch::Receiver<bool>,
    /// What the API server is to trust.
    pub(super) bundle: watch::Receiver<Option<Arc<str>>>,
    /// What the configurations were last seen to trust.
    pub(super) programmed: watch::Sender<Option<Arc<str>>>,
    pub(super) standing: watch::Sender<Arc<Standing>>,
}

/// A configuration as it was last seen.
type Seen<K> = Option<Option<K>>;

/// The configurations as they were last seen.
#[derive(Default)]
struct Found {
    mutating: Seen<MutatingWebhookConfiguration>,
    validating: Seen<ValidatingWebhookConfiguration>,
}

/// What they should be, and what follows once they are.
struct Wanted {
    mutating: MutatingWebhookConfiguration,
    validating: ValidatingWebhookConfiguration,
    bundle: Arc<str>,
    standing: Standing,
}

impl Program {
    /// Keeps them. It never ends.
    pub(super) async fn run(mut self) {
        self.leadership.acquired().await;
        if self.complete.wait_for(|complete| *complete).await.is_err() {
            return;
        }
        let mut pods: BoxStream<'_, _> =
            watch_object(Api::all(self.client.clone()), &self.name).default_backoff().boxed();
        let mut checks: BoxStream<'_, _> =
            watch_object(Api::all(self.client.clone()), &self.name).default_backoff().boxed();
        let mut found = Found::default();
        let mut pause = LEAST_PAUSE;
        let mut trouble: Option<String> = None;
        loop {
            let sleep = match self.bring_about(&found).await {
                Ok(Next::Rest) => {
                    pause = LEAST_PAUSE;
                    trouble = None;
                    LONGEST_PAUSE
                }
                // The watch shows it soon. If it shows something else again and again, somebody else writes too.
                Ok(Next::Written) => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause / 2
                }
                Ok(Next::NoOwner) => OWNER_EVERY,
                Err(error) => {
                    let error = error.to_string();
                    if trouble.as_ref() != Some(&error) {
                        tracing::warn!(error, "the webhook configurations cannot be kept; trying again");
                        trouble = Some(error);
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause
                }
            };
            // What is due is done after what was just done has settled.
            tokio::time::sleep(LEAST_PAUSE.min(sleep)).await;
            let rested = tokio::time::sleep(sleep);
            tokio::pin!(rested);
            loop {
                tokio::select! {
                    seen = pods.next() => match take(seen) {
                        Some(seen) => found.mutating = seen,
                        None => continue,
                    },
                    seen = checks.next() => match take(seen) {
                        Some(seen) => found.validating = seen,
                        None => continue,
                    },
                    changed = self.profiles.changed() => if changed.is_err() { return },
                    changed = self.bundle.changed() => if changed.is_err() { return },
                    () = &mut rested => {}
                }
                break;
            }
        }
    }

    /// Writes what is not as it should be.
    async fn bring_about(&mut self, found: &Found) -> Result<Next, KubeError> {
        let (Some(pods), Some(checks)) = (&found.mutating, &found.validating) else { return Ok(Next::Rest) };
        let Some(bundle) = self.bundle.borrow_and_update().clone() else { return Ok(Next::Rest) };
        let profiles = Arc::clone(&self.profiles.borrow_and_update());
        if !self.leadership.holds() {
            return Ok(Next::Rest);
        }
        let owner = match owner(&self.client, self.owner.as_ref()).await? {
            Owner::None => None,
            Owner::Found(owner) => Some(owner),
            Owner::Gone => {
                self.stand(None);
                return Ok(Next::NoOwner);
            }
        };
        let wanted = self.wanted(&profiles, bundle, owner);
        let done = [
            bring("MutatingWebhookConfiguration", &self.client, pods.as_ref(), &wanted.mutating).await?,
            bring("ValidatingWebhookConfiguration", &self.client, checks.as_ref(), &wanted.validating)
                .await?,
        ];
        if done == [true, true] {
            self.stand(Some(wanted));
            return Ok(Next::Rest);
        }
        Ok(Next::Written)
    }

    fn wanted(&self, profiles: &Profiles, bundle: Arc<str>, owner: Option<OwnerReference>) -> Wanted {
        let entries = entries(profiles, &self.nodes, &self.reach);
        let frame = Frame {
            name: self.name.clone(),
            owner,
            target: self.target.clone(),
            ca_bundle: bundle.to_string(),
        };
        let generations: BTreeMap<_, _> =
            profiles.iter().map(|profile| (profile.name.clone(), profile.generation)).collect();
        Wanted {
            mutating: mutating(&frame, &entries),
            validating: validating(&frame, &self.reach),
            bundle,
            standing: Standing { programmed: generations, unguarded: entries.unguarded },
        }
    }

    /// Tells the process where the configurations stand; `None` when they are gone for good.
    fn stand(&self, wanted: Option<Wanted>) {
        self.metrics.programmed(wanted.is_some());
        let (bundle, standing) = match wanted {
            Some(wanted) => (Some(wanted.bundle), wanted.standing),
            None => (None, Standing::default()),
        };
        self.programmed.send_if_modified(|old| {
            let differs = *old != bundle;
            *old = bundle;
            differs
        });
        self.standing.send_if_modified(|old| {
            let differs = **old != standing;
            if differs {
                if old.unguarded != standing.unguarded && !standing.unguarded.is_empty() {
                    tracing::warn!(
                        profiles = standing.unguarded.len(), first = standing.unguarded.first(),
                        "too many profiles with data caches: while the operator is down, the pods of these start without"
                    );
                }
                *old = Arc::new(standing);
            }
            differs
        });
    }
}

/// What comes next.
enum Next {
    /// Everything is as it should be, as far as is known.
    Rest,
    /// Something was written.
    Written,
    /// The operator was uninstalled: nothing must be written.
    NoOwner,
}

fn take<K>(seen: Option<Result<Option<K>, watcher::Error>>) -> Option<Seen<K>> {
    match seen? {
        Ok(seen) => Some(Some(seen)),
        Err(error) => {
            let error = with_causes(&error);
            tracing::debug!(error, "cannot watch a webhook configuration");
            None
        }
    }
}

/// Makes `found` as `wanted`; true when it is already.
async fn bring<K>(
    kind: &'static str,
    client: &Client,
    found: Option<&K>,
    wanted: &K,
) -> Result<bool, KubeError>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let json = |object: &K| serde_json::to_value(object).unwrap_or_default();
    let name = wanted.name_any();
    let target = || format!("{kind} {name}");
    let api: Api<K> = Api::all(client.clone());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let Some(found) = found else {
        tracing::info!(kind, name, "creating a webhook configuration");
        return match call("create", target, api.create(&params, wanted)).await {
            // The watch shows what it is.
            Ok(_) | Err(KubeError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        };
    };
    if found.meta().deletion_timestamp.is_some() {
        return Ok(false);
    }
    if contains(&json(found), &json(wanted)) {
        return Ok(true);
    }
    tracing::info!(kind, name, "changing a webhook configuration");
    let mut new = wanted.clone();
    // What others have said of it stays.
    let mut meta = found.meta().clone();
    meta.owner_references.clone_from(&wanted.meta().owner_references);
    meta.labels.get_or_insert_default().extend(wanted.meta().labels.clone().unwrap_or_default());
    *new.meta_mut() = meta;
    match call("write", target, api.replace(&name, &params, &new)).await {
        Ok(_) | Err(KubeError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
