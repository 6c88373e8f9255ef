//! A pod, as far as it is kept: little of most, and more of those that are on no node.

use std::collections::BTreeMap;
use std::sync::Arc;

use eci_core::eviction::PodRef;
use eci_core::placement::amount::Amount;
use eci_core::placement::gate::is_gated;
use eci_core::placement::spill::Stand;
use eci_core::placement::{DELETION_COST, mark};
use eci_core::profile::PROFILES_ANNOTATION;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};

/// Labels, shared by pods that have the same.
pub(super) type Labels = Arc<BTreeMap<String, String>>;

/// A pod that is watched.
#[derive(Debug)]
pub(super) struct Known {
    /// Which.
    pub(super) id: PodRef,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// When it was created.
    pub(super) created: Timestamp,
    /// Its labels.
    pub(super) labels: Labels,
    /// The node that it is bound to.
    pub(super) node: Option<Arc<str>>,
    /// What it asks for.
    pub(super) amount: Amount,
    /// It, without what decisions do not read, while it is on no node.
    pub(super) unbound: Option<Box<Pod>>,
    /// When its last scheduling gate was seen to go.
    pub(super) free_since: Option<Timestamp>,
    /// The annotation that says which profiles it was made with.
    pub(super) mark: Option<String>,
    /// Whether it says itself when it goes as its workload shrinks.
    pub(super) has_cost: bool,
    /// Whether it is being deleted.
    pub(super) leaves: bool,
    /// Whether no profile is ever put into it: of a DaemonSet, or made by a kubelet.
    pub(super) exempt: bool,
    /// Whether it waits for one of the operator's gates.
    pub(super) gated: bool,
    /// The watch that shows it, and the list in which it was last seen.
    pub(super) seen: (usize, u64),
    /// The profile whose placement counts.
    pub(super) placing: Option<Arc<str>>,
    /// Where it stands.
    pub(super) stand: Stand,
    /// Profiles that were not put into it.
    pub(super) missed: Vec<Arc<str>>,
}

impl Known {
    /// Of a pod that has not ended. What depends on others is still to be judged.
    pub(super) fn of(mut pod: Pod, seen: (usize, u64)) -> Option<Self> {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let meta = &mut pod.metadata;
        meta.managed_fields = None;
        let id = PodRef::new(meta.namespace.as_deref()?, meta.name.as_deref()?, meta.uid.as_deref()?);
        let annotations = meta.annotations.as_ref();
        let annotation = |key: &str| annotations.and_then(|all| all.get(key));
        let spec = pod.spec.as_ref()?;
        let node = spec.node_name.as_deref().filter(|name| !name.is_empty()).map(Arc::from);
        let mut owners = meta.owner_references.iter().flatten();
        let daemon = owners.any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet");
        Some(Self {
            version: meta.resource_version.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
            labels: Arc::new(meta.labels.clone().unwrap_or_default()),
            amount: Amount::of(spec),
            free_since: None,
            mark: annotation(PROFILES_ANNOTATION).cloned(),
            has_cost: annotation(DELETION_COST).is_some(),
            leaves: meta.deletion_timestamp.is_some(),
            exempt: daemon || annotation("kubernetes.io/config.mirror").is_some(),
            gated: is_gated(&pod),
            unbound: node.is_none().then(|| Box::new(lean(pod))),
            id,
            node,
            seen,
            placing: None,
            stand: Stand::Settled,
            missed: Vec::new(),
        })
    }

    /// Whether it has any scheduling gate.
    pub(super) fn has_gates(&self) -> bool {
        let spec = self.unbound.as_ref().and_then(|pod| pod.spec.as_ref());
        spec.is_some_and(|spec| spec.scheduling_gates.iter().flatten().next().is_some())
    }

    /// Whether it was made without that profile, whose spec is as old as `changed`.
    pub(super) fn misses(&self, profile: &str, changed: Timestamp) -> bool {
        !self.exempt && mark::misses(self.mark.as_deref(), self.created, profile, changed)
    }

    /// Whether it is newer than a version. Versions of one cluster can be compared.
    pub(super) fn is_newer_than(&self, version: &str) -> bool {
        match (self.version.parse::<u64>(), version.parse::<u64>()) {
            (Ok(ours), Ok(theirs)) => ours > theirs,
            _ => self.version != version,
        }
    }
}

/// Takes out what no decision reads, and may be much.
fn lean(mut pod: Pod) -> Pod {
    if let Some(spec) = &mut pod.spec {
        spec.init_containers.iter_mut().flatten().for_each(trim);
        spec.containers.iter_mut().for_each(trim);
    }
    pod.status = pod.status.map(|status| PodStatus {
        phase: status.phase,
        conditions: status.conditions,
        nominated_node_name: status.nominated_node_name,
        ..PodStatus::default()
    });
    pod
}

fn trim(container: &mut Container) {
    (container.env, container.env_from, container.command, container.args) = (None, None, None, None);
    (container.liveness_probe, container.readiness_probe, container.startup_probe) = (None, None, None);
    container.lifecycle = None;
}
