//! What the engine is told about pods and PodDisruptionBudgets: the few fields that decisions need.
//!
//! The shell fills these from its watches. Strings are shared (`Arc`), because thousands of pods have the same
//! namespace, labels and owner; pass the same `Arc` where the content is the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::Selector;

/// Labels of an object, shared between the pods of one workload.
pub type Labels = Arc<BTreeMap<String, String>>;

/// Which pod: the UID says which one of those that had the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// UID, unique in space and time.
    pub uid: Arc<str>,
}

impl PodRef {
    /// A reference from its parts.
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into(), uid: uid.into() }
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which PodDisruptionBudget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetRef {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl BudgetRef {
    /// A reference from its parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for BudgetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not all containers have run yet. The API server evicts such a pod whatever its budget says.
    Pending,
    /// At least one container runs.
    #[default]
    Running,
    /// All containers ended well; it will not run again.
    Succeeded,
    /// A container ended badly, or the instance was taken back; it will not run again.
    Failed,
    /// The node does not answer.
    Unknown,
}

impl Phase {
    /// The phase of that word; a word that nobody knows is [`Unknown`](Self::Unknown).
    pub fn of(word: &str) -> Self {
        match word {
            "Pending" | "" => Self::Pending,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// Whether the pod has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What makes a new pod when this one is gone: the controller of `ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its kind, such as `ReplicaSet`, `StatefulSet`, `Job`, `DaemonSet`, or `Node` for a static pod.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// The workload that people know: the Deployment behind a ReplicaSet that carries its template's hash, else the owner.
pub fn workload_of(owner: Option<&Owner>, labels: &BTreeMap<String, String>) -> Option<Owner> {
    let owner = owner?;
    let deployment = (&*owner.kind == "ReplicaSet")
        .then(|| labels.get("pod-template-hash"))
        .flatten()
        .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'))
        .filter(|name| !name.is_empty());
    Some(
        deployment
            .map_or_else(|| owner.clone(), |name| Owner { kind: "Deployment".into(), name: name.into() }),
    )
}

/// A deletion that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// `deletionTimestamp`: when the grace period ends.
    pub at: Timestamp,
    /// `deletionGracePeriodSeconds`.
    pub grace: i64,
}

impl Deletion {
    /// When the pod was told to end.
    pub fn begun(self) -> Timestamp {
        let grace = jiff::SignedDuration::from_secs(self.grace);
        self.at.checked_sub(grace).unwrap_or(self.at)
    }
}

/// The vendor's pod condition `ContainerInstanceExpired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its status: `True` is the notice. `False` takes a notice back.
    pub status: bool,
    /// Its lastTransitionTime.
    pub since: Option<Timestamp>,
}

/// What the annotations of a pod say about spot instances, each as it stands (`None` when absent).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpotAnnotations {
    /// [`super::notice::STRATEGY`].
    pub strategy: Option<Arc<str>>,
    /// [`super::notice::RELEASE`], ours.
    pub release: Option<Arc<str>>,
    /// [`super::notice::VENDOR_RELEASE`].
    pub vendor_release: Option<Arc<str>>,
}

/// What happens to a pod that its budgets still protect when its deadline comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadline {
    /// It is lost with its instance.
    #[default]
    Wait,
    /// It is deleted in time for its grace period, against its budgets.
    Delete,
}

/// A pod, as far as evictions are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Which one.
    pub id: PodRef,
    /// `metadata.resourceVersion` as a number, 0 when it is none. An older version than the known one is passed over.
    pub version: u64,
    /// Labels, for the selectors of budgets.
    pub labels: Labels,
    /// Its controller, if it has one.
    pub owner: Option<Owner>,
    /// The controller behind the owner: the Deployment for a pod of a ReplicaSet; see [`super::workload_of`].
    pub workload: Option<Owner>,
    /// Whether it is bound to a virtual node.
    pub on_virtual_node: bool,
    /// Phase.
    pub phase: Phase,
    /// Whether `status.reason` is `BidFailed`: the instance was taken back.
    pub bid_failed: bool,
    /// Whether its condition Ready is True.
    pub ready: bool,
    /// Since when Ready has the value it has.
    pub ready_since: Option<Timestamp>,
    /// Why it is not ready, in few words (a waiting reason such as `ImagePullBackOff`, or `Unschedulable`). Any text:
    /// it is cut before it is shown.
    pub not_ready_because: Option<Arc<str>>,
    /// Its deletion, if that has begun.
    pub deletion: Option<Deletion>,
    /// `spec.terminationGracePeriodSeconds`; 30 when absent.
    pub grace: i64,
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`, 0 when absent or no number.
    pub deletion_cost: i32,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// Annotations about spot instances.
    pub spot: SpotAnnotations,
    /// The images of its containers, if it has a spot strategy; else empty. No part in decisions.
    pub images: Arc<[Arc<str>]>,
    /// Whether it started from an image cache, by the vendor's annotation ([`crate::matches::MATCHED`]). No part in
    /// decisions.
    pub from_cache: bool,
    /// The vendor's condition, if it is there.
    pub expired: Option<Expired>,
    /// What the profile of the pod says about its deadline.
    pub on_deadline: OnDeadline,
    /// The profile that the pod belongs to: carried into reports, no part in decisions.
    pub profile: Option<Arc<str>>,
}

impl Pod {
    /// A running, ready pod without anything else, for callers to fill.
    pub fn new(id: PodRef) -> Self {
        Self {
            id,
            version: 0,
            labels: Labels::default(),
            owner: None,
            workload: None,
            on_virtual_node: false,
            phase: Phase::Running,
            bid_failed: false,
            ready: true,
            ready_since: None,
            not_ready_because: None,
            deletion: None,
            grace: 30,
            deletion_cost: 0,
            created: None,
            spot: SpotAnnotations::default(),
            images: Arc::default(),
            from_cache: false,
            expired: None,
            on_deadline: OnDeadline::Wait,
            profile: None,
        }
    }

    /// Whether the API server evicts it without asking any budget: it has not run yet, or has ended.
    pub fn is_outside_budgets(&self) -> bool {
        self.phase == Phase::Pending || self.phase.is_terminal() || self.deletion.is_some()
    }

    /// Whether it is not ready for a reason that time alone does not cure: a container that fails, or cannot be made. The
    /// words are those of the kubelet.
    pub fn is_stuck(&self) -> bool {
        let stuck = |because: &str| {
            matches!(
                because,
                "CrashLoopBackOff"
                    | "Error"
                    | "OOMKilled"
                    | "StartError"
                    | "ContainerCannotRun"
                    | "RunContainerError"
                    | "CreateContainerError"
                    | "CreateContainerConfigError"
                    | "ErrImagePull"
                    | "ImagePullBackOff"
                    | "ErrImageNeverPull"
                    | "InvalidImageName"
            )
        };
        !self.ready && self.not_ready_because.as_deref().is_some_and(stuck)
    }
}

/// `spec.unhealthyPodEvictionPolicy` of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnhealthyPolicy {
    /// A pod that is not ready goes without cost while `currentHealthy >= desiredHealthy > 0`. The default.
    #[default]
    IfHealthyBudget,
    /// A pod that is not ready always goes without cost.
    AlwaysAllow,
}

/// What a budget promises: `spec.minAvailable` or `spec.maxUnavailable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// So many pods stay, a number or a percentage as text.
    MinAvailable(Arc<str>),
    /// So many pods may be missing, a number or a percentage as text.
    MaxUnavailable(Arc<str>),
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinAvailable(value) => write!(f, "minAvailable {value}"),
            Self::MaxUnavailable(value) => write!(f, "maxUnavailable {value}"),
        }
    }
}

/// A PodDisruptionBudget, as far as evictions are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Which one.
    pub id: BudgetRef,
    /// UID.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion` as a number, 0 when it is none. An older version than the known one is passed over.
    pub version: u64,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `spec.selector`.
    pub selector: Selector,
    /// What it promises, for messages.
    pub promise: Option<Promise>,
    /// `spec.unhealthyPodEvictionPolicy`.
    pub unhealthy: UnhealthyPolicy,
    /// `status.disruptionsAllowed`.
    pub allowed: i32,
    /// `status.currentHealthy`.
    pub healthy: i32,
    /// `status.desiredHealthy`.
    pub desired: i32,
    /// `status.expectedPods`.
    pub expected: i32,
    /// `status.disruptedPods`: by pod name, when its eviction was granted.
    pub disrupted: Arc<BTreeMap<String, Timestamp>>,
    /// The message of condition `DisruptionAllowed` when its reason is `SyncFailed`. Any text: it is cut.
    pub sync_failed: Option<Arc<str>>,
}

impl Budget {
    /// A budget that selects nothing and allows nothing, for callers to fill.
    pub fn new(id: BudgetRef) -> Self {
        Self {
            id,
            uid: "".into(),
            version: 0,
            generation: 1,
            observed_generation: 1,
            selector: Selector::nothing(),
            promise: None,
            unhealthy: UnhealthyPolicy::IfHealthyBudget,
            allowed: 0,
            healthy: 0,
            desired: 0,
            expected: 0,
            disrupted: Arc::default(),
            sync_failed: None,
        }
    }

    /// Whether its controller has seen its newest spec. Until then the API server refuses every eviction.
    pub fn is_processed(&self) -> bool {
        self.observed_generation >= self.generation
    }

    /// Whether a pod that is not ready may go without cost now.
    pub fn lets_unready_go(&self) -> bool {
        match self.unhealthy {
            UnhealthyPolicy::AlwaysAllow => true,
            UnhealthyPolicy::IfHealthyBudget => self.desired > 0 && self.healthy >= self.desired,
        }
    }

    /// Whether it allows nothing even when every pod is healthy.
    pub fn never_allows(&self) -> bool {
        self.is_processed()
            && self.sync_failed.is_none()
            && self.expected > 0
            && self.desired >= self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_of_a_deployments_pod_is_the_deployment() {
        let labels: BTreeMap<String, String> = [("pod-template-hash".to_owned(), "7d9".to_owned())].into();
        for (kind, name, expected) in [
            ("ReplicaSet", "web-7d9", ("Deployment", "web")),
            ("ReplicaSet", "web-abc", ("ReplicaSet", "web-abc")),
            ("ReplicaSet", "-7d9", ("ReplicaSet", "-7d9")),
            ("StatefulSet", "db-7d9", ("StatefulSet", "db-7d9")),
        ] {
            let owner = Owner { kind: kind.into(), name: name.into() };
            let workload = workload_of(Some(&owner), &labels).unwrap();
            assert_eq!((&*workload.kind, &*workload.name), expected);
        }
        assert_eq!(workload_of(None, &labels), None);
    }

    #[test]
    fn a_budget_that_needs_all_of_its_pods_never_allows_any() {
        let mut budget = Budget::new(BudgetRef::new("a", "b"));
        (budget.expected, budget.desired) = (3, 3);
        assert!(budget.never_allows());
        budget.desired = 2;
        assert!(!budget.never_allows());
        (budget.expected, budget.desired) = (0, 0);
        assert!(!budget.never_allows());
    }

    #[test]
    fn unready_pods_go_as_the_policy_says() {
        use UnhealthyPolicy::{AlwaysAllow, IfHealthyBudget};
        for (unhealthy, healthy, desired, expected) in [
            (IfHealthyBudget, 2, 2, true),
            (IfHealthyBudget, 1, 2, false),
            (IfHealthyBudget, 0, 0, false),
            (IfHealthyBudget, 3, 0, false),
            (AlwaysAllow, 0, 2, true),
        ] {
            let budget = Budget { unhealthy, healthy, desired, ..Budget::new(BudgetRef::new("a", "b")) };
            assert_eq!(budget.lets_unready_go(), expected, "{unhealthy:?} {healthy}/{desired}");
        }
    }
}
