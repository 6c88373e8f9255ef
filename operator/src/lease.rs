//! Leader election: the Lease at the API server, and what this process may do by it. [`eci_core::lease`] decides.
//!
//! A process that loses the lease ends. Whatever it remembers may be wrong by the time that it holds the lease again,
//! and nothing forgets as surely as a new process. A standby keeps the objects in its store, reconciles none, and does
//! not call the cloud.

use std::future::Future;
use std::time::Duration;

use eci_core::lease::{Claim, Decision, LeaseRecord, Observation, REQUEST_LIMIT, decide};
use eci_core::time::Mono;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::kubernetes::{FIELD_MANAGER, KubeError, call};

/// Name of the Lease, in the operator's namespace.
pub const NAME: &str = "eci-operator";
/// Longest part of a holder's name that is kept, in characters.
const HOLDER_LIMIT: usize = 320;
/// Longest part of the pod's name in ours, in characters.
const POD_LIMIT: usize = 253;

/// The lease was held, and is not any more.
#[derive(Debug, thiserror::Error)]
#[error("lost the lease {lease}: {why}; the process ends, so that it starts anew without what it remembers")]
pub struct LeaseLost {
    lease: String,
    why: String,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Who leads is not known yet.
    Unknown,
    /// Another process leads.
    Standby,
    /// This process leads, until then.
    Leads(Mono),
}

/// Whether this process may act, and how long still. Copies agree.
#[derive(Clone, Debug, Default)]
pub struct Leadership(Option<(watch::Receiver<Standing>, Clock)>);

impl Leadership {
    /// How long the lease still lasts, zero when it is not held; `None` without leader election.
    pub fn left(&self) -> Option<Duration> {
        let (standing, clock) = self.0.as_ref()?;
        Some(match *standing.borrow() {
            Standing::Leads(until) => until.since(clock.now().mono),
            Standing::Unknown | Standing::Standby => Duration::ZERO,
        })
    }

    /// Whether this process may act now.
    pub fn holds(&self) -> bool {
        self.left().is_none_or(|left| !left.is_zero())
    }

    /// Resolves when this process leads.
    pub async fn acquired(&self) {
        if self.0.is_some() {
            self.reach(|standing| matches!(standing, Standing::Leads(_))).await;
        }
    }

    /// Resolves when another process leads.
    pub async fn stands_by(&self) {
        self.reach(|standing| *standing == Standing::Standby).await;
    }

    async fn reach(&self, place: impl FnMut(&Standing) -> bool) {
        if let Some((standing, _)) = &self.0
            && standing.clone().wait_for(place).await.is_ok()
        {
            return;
        }
        // Without leader election, or when the elector ended: it will not come to this any more.
        std::future::pending::<()>().await;
    }
}

/// A name that no other process has: the pod's, and something random.
pub fn identity(pod: Option<&str>) -> Result<String, getrandom::Error> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random)?;
    let pod: String = pod.unwrap_or("eci-operator").chars().take(POD_LIMIT).collect();
    Ok(format!("{pod}_{}", hex::encode(random)))
}

/// Seeks the lease and keeps it.
pub struct Elector {
    api: Api<Lease>,
    /// Namespace and name of the Lease.
    lease: String,
    me: String,
    duration: Duration,
    clock: Clock,
    seen: Observation,
    standing: watch::Sender<Standing>,
    /// Why the newest request failed, when it did.
    trouble: Option<String>,
    /// Who was last said to lead.
    told: Option<String>,
}

impl Elector {
    /// For the process `me`, whose lease lasts `duration` (whole seconds).
    pub fn new(
        client: Client,
        namespace: &str,
        me: String,
        duration: Duration,
        clock: Clock,
    ) -> (Self, Leadership) {
        let (standing, follow) = watch::channel(Standing::Unknown);
        let elector = Self {
            api: Api::namespaced(client, namespace),
            lease: format!("{namespace}/{NAME}"),
            me,
            duration,
            clock,
            seen: Observation::new(duration),
            standing,
            trouble: None,
            told: None,
        };
        (elector, Leadership(Some((follow, clock))))
    }

    /// Seeks the lease and keeps it; returns only when it was held and is lost. May be dropped at any time and called
    /// again.
    pub async fn lead(&mut self) -> LeaseLost {
        loop {
            let now = self.clock.now().mono;
            match decide(&self.seen, &self.me, now) {
                Decision::Look => self.look().await,
                Decision::Acquire(claim) => self.claim(&claim, true).await,
                Decision::Renew(claim) => self.claim(&claim, false).await,
                Decision::Wait(until) => tokio::time::sleep(until.since(now)).await,
                Decision::Lost => return self.lost(),
            }
        }
    }

    /// Gives the lease up if it is held, so that a successor need not wait for its end. To be called when all work has
    /// ended.
    pub async fn release(&mut self) {
        if self.seen.trusted().is_none() {
            return;
        }
        if self.seen.certain().is_none() {
            self.look().await;
        }
        let held = self.seen.certain().filter(|record| record.holder.as_ref() == Some(&self.me));
        let Some(version) = held.map(|record| record.version.clone()) else { return };
        self.seen.resigns();
        self.standing.send_replace(Standing::Unknown);
        let spec = json!({ "holderIdentity": null, "renewTime": MicroTime(self.clock.now().wall) });
        match self.patch(&version, &spec).await {
            Ok(_) => tracing::info!(lease = self.lease, "released the lease"),
            Err(error) => tracing::warn!(%error, "the lease is not released; a successor waits for its end"),
        }
    }

    fn lost(&mut self) -> LeaseLost {
        self.standing.send_replace(Standing::Unknown);
        let why = match (self.seen.holder(), &self.trouble) {
            _ if self.seen.certain().is_none() => {
                let trouble = self.trouble.as_deref().unwrap_or("the process was held up");
                format!("it could not be renewed in time ({trouble})")
            }
            (Some(holder), _) if holder != self.me => format!("{holder} has it"),
            (Some(_), _) => "it was not renewed in time (the process was held up)".to_owned(),
            (None, _) => "somebody deleted or released it".to_owned(),
        };
        LeaseLost { lease: self.lease.clone(), why }
    }

    async fn look(&mut self) {
        let api = self.api.clone();
        match self.request("get", api.get(NAME)).await {
            Ok(lease) => {
                let record = lease.map(|lease| record(&lease, self.duration));
                self.seen.saw(record, self.clock.now().mono);
                self.stand();
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Makes this process the holder, or keeps it so.
    async fn claim(&mut self, claim: &Claim, anew: bool) {
        let (sent, wall) = (self.clock.now().mono, MicroTime(self.clock.now().wall));
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            lease_transitions: Some(claim.transitions),
            acquire_time: anew.then(|| wall.clone()),
            renew_time: Some(wall),
            ..LeaseSpec::default()
        };
        let written = match &claim.version {
            Some(version) => self.patch(version, &json!(spec)).await,
            None => self.create(spec).await,
        };
        match written {
            Ok(Some(lease)) => {
                self.seen.claimed(record(&lease, self.duration), sent, self.clock.now().mono);
                if anew {
                    tracing::info!(
                        lease = self.lease,
                        me = self.me,
                        "acquired the lease: this process leads"
                    );
                }
                self.stand();
            }
            // It is looked at before the next try.
            Ok(None) => tracing::debug!(lease = self.lease, "the Lease or its namespace is gone"),
            Err(KubeError::Conflict { .. }) => {
                tracing::debug!(lease = self.lease, "somebody else was faster");
            }
            Err(error) => self.failed(&error),
        }
    }

    async fn create(&mut self, spec: LeaseSpec) -> Result<Option<Lease>, KubeError> {
        let metadata = ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
        let (api, lease) = (self.api.clone(), Lease { metadata, spec: Some(spec) });
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.request("create", api.create(&params, &lease)).await
    }

    async fn patch(&mut self, version: &str, spec: &serde_json::Value) -> Result<Option<Lease>, KubeError> {
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": version }, "spec": spec }));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let api = self.api.clone();
        self.request("write", api.patch(NAME, &params, &patch)).await
    }

    /// One request, never longer than the lease is held.
    async fn request<T>(
        &mut self,
        action: &'static str,
        sent: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, KubeError> {
        let now = self.clock.now().mono;
        let limit = self.seen.trusted().map_or(REQUEST_LIMIT, |until| until.since(now).min(REQUEST_LIMIT));
        self.seen.asks(now);
        let target = || format!("Lease {}", self.lease);
        let answer = tokio::time::timeout(limit, call(action, target, sent)).await;
        answer.unwrap_or_else(|_| {
            let message = format!("no answer within {limit:?}");
            Err(KubeError::Failed { action, target: target(), message })
        })
    }

    fn failed(&mut self, error: &KubeError) {
        // Once for a row of failures.
        if self.trouble.replace(error.to_string()).is_none() {
            tracing::warn!(%error, "the leader election has trouble; trying again");
        }
    }

    /// Tells the others in this process where it stands.
    fn stand(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!(lease = self.lease, "the lease can be read and written again");
        }
        let standing = match (self.seen.trusted(), self.seen.holder()) {
            (Some(until), _) => Standing::Leads(until),
            (None, Some(_)) => Standing::Standby,
            (None, None) => return,
        };
        let holder = self.seen.holder().map(str::to_owned);
        if standing == Standing::Standby && self.told != holder {
            tracing::info!(lease = self.lease, holder, "another process leads; this one stands by");
        }
        self.told = holder;
        self.standing.send_replace(standing);
    }
}

/// What matters of a Lease; `duration` stands in for one that says none.
fn record(lease: &Lease, duration: Duration) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    LeaseRecord {
        version: lease.resource_version().unwrap_or_default(),
        holder: holder.map(|holder| holder.chars().take(HOLDER_LIMIT).collect()),
        duration: seconds.map_or(duration, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use eci_core::lease::SHORTEST;
    use serde_json::Value;

    use super::*;

    fn read(spec: &Value) -> LeaseRecord {
        let lease = json!({ "metadata": { "name": NAME, "resourceVersion": "7" }, "spec": spec });
        record(&serde_json::from_value(lease).unwrap(), SHORTEST)
    }

    #[test]
    fn any_lease_that_the_server_can_have_is_read() {
        let ours = json!({ "holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 2 });
        let duration = Duration::from_secs(15);
        let holder = Some("a".to_owned());
        assert_eq!(read(&ours), LeaseRecord { version: "7".into(), holder, duration, transitions: 2 });
        let nobodys = LeaseRecord { version: "7".into(), holder: None, duration: SHORTEST, transitions: 0 };
        for spec in [json!(null), json!({}), json!({ "holderIdentity": "", "leaseDurationSeconds": -1 })] {
            assert_eq!(read(&spec), nobodys);
        }
        let long = read(&json!({ "holderIdentity": "ä".repeat(100_000) })).holder.unwrap();
        assert_eq!(long.chars().count(), HOLDER_LIMIT);
    }

    #[test]
    fn two_processes_of_one_pod_have_two_names_that_are_kept_whole() {
        let pod = "p".repeat(10_000);
        let (one, other) = (identity(Some(&pod)).unwrap(), identity(Some(&pod)).unwrap());
        assert_ne!(one, other);
        assert_eq!(read(&json!({ "holderIdentity": one })).holder, Some(one));
        assert!(identity(None).unwrap().starts_with("eci-operator_"));
    }

    #[test]
    fn a_copy_of_the_leadership_says_how_long_it_lasts() {
        let clock = Clock::start();
        let (standing, follow) = watch::channel(Standing::Unknown);
        let leadership = Leadership(Some((follow, clock)));
        assert_eq!((leadership.left(), leadership.holds()), (Some(Duration::ZERO), false));
        standing.send_replace(Standing::Leads(clock.now().mono.plus(SHORTEST)));
        let left = leadership.clone().left().unwrap();
        assert!(leadership.holds() && left > SHORTEST / 2 && left <= SHORTEST, "{left:?}");
        standing.send_replace(Standing::Leads(Mono::default()));
        assert_eq!((leadership.left(), leadership.holds()), (Some(Duration::ZERO), false));
        let alone = Leadership::default();
        assert_eq!((alone.left(), alone.holds()), (None, true));
    }
}
