//! What a decision is made of.

use std::collections::BTreeMap;
use std::fmt;

use eci_api::annotations::Finding;
use eci_api::eci_profile::ProfileMode;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Toleration, Volume, VolumeMount};

use super::Mismatch;
use super::data_caches::{Dropped, Refusal};
use super::rules;
use super::unit::Unit;

/// Something about the pod that changes. Nothing that the pod has is taken away.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An annotation that it does not have, or the mark of the profiles.
    Annotation(String, String),
    /// A label that it does not have.
    Label(String, String),
    /// A toleration more.
    Toleration(Toleration),
    /// Its required terms for nodes, each with what it asked for and more.
    NodeTerms(Vec<NodeSelectorTerm>),
    /// A scheduling gate more.
    Gate(String),
    /// A volume more.
    Volume(Box<Volume>),
    /// A mount more in a container.
    Mount(ContainerAt, VolumeMount),
}

/// A container of a pod, by its place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerAt {
    /// In `spec.initContainers`.
    Init(usize),
    /// In `spec.containers`.
    Main(usize),
}

/// A field of profiles, or a key of one of their maps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `spec.placement`.
    Placement,
    /// A unit.
    Unit(Unit),
    /// A key of `spec.effects.annotations`.
    Annotation(String),
    /// A key of `spec.effects.labels`.
    Label(String),
    /// A mount path of `spec.dataCaches`.
    DataCache(String),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placement => f.write_str("spec.placement"),
            Self::Unit(unit) => f.write_str(unit.field()),
            Self::Annotation(key) => write!(f, "spec.effects.annotations[{key:?}]"),
            Self::Label(key) => write!(f, "spec.effects.labels[{key:?}]"),
            Self::DataCache(path) => write!(f, "spec.dataCaches[{path:?}]"),
        }
    }
}

/// Who decided a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Winner {
    /// The pod, by its own words.
    Pod,
    /// The profile of that name.
    Profile(String),
    /// The PodNetworking of that name, which the vendor's component reads itself.
    PodNetworking(String),
}

/// Why a pod cannot be made as the profiles want it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The API server refuses gates together with a node.
    #[error(
        "profile {profile} lets this pod wait for its image cache, but spec.nodeName binds it to a node already; remove spec.nodeName, or set the annotation k8s.aliyun.com/eci-auto-imc on the pod, which takes spec.imageCache out of the profile's hands"
    )]
    GateWithNode {
        /// The profile that sets the gate.
        profile: String,
    },
    /// Rules are set to deny.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules(Vec<rules::Finding>),
    /// It cannot have its data caches.
    #[error(transparent)]
    DataCaches(#[from] Refusal),
}

/// What of a profile a pod does not get, though it is admitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Data caches of a profile.
    #[error(transparent)]
    DataCaches(#[from] Dropped),
    /// Pod Security will refuse the volumes of data caches, unless an exemption holds.
    #[error(
        "the namespace enforces the Pod Security level {level:?}, which refuses hostPath volumes, and data caches are mounted by these: set the namespace's label pod-security.kubernetes.io/enforce to privileged, or exempt the namespace in the API server's configuration"
    )]
    PodSecurity {
        /// The level.
        level: String,
    },
}

/// A profile that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its name.
    pub profile: String,
    /// Its generation.
    pub generation: i64,
    /// Whether it acts or only says what it would do.
    pub mode: ProfileMode,
    /// Why it does not apply; `None` when it does.
    pub mismatch: Option<Mismatch>,
}

/// What profiles make of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What changes, in an order that is always the same.
    pub changes: Vec<Change>,
    /// Who decided each field that somebody decided.
    pub winners: BTreeMap<Field, Winner>,
    /// What will not work as it was meant, of the annotations that the pod ends up with.
    pub findings: Vec<Finding>,
    /// What virtual nodes cannot do of the pod, if it may go there: what is denied is in `denial` too.
    pub rules: Vec<rules::Finding>,
    /// What of the profiles the pod does not get.
    pub warnings: Vec<Warning>,
    /// Why the pod must be refused.
    pub denial: Option<Denial>,
    /// Every profile, in order. Only [`explain`](super::decide::explain) says it.
    pub tried: Vec<Tried>,
    /// Whether the pod may go to virtual nodes only later: after `spillAfter`, or when its limits are granted.
    pub deferred: bool,
}

impl Decision {
    /// Refuses the pod. The first reason stands.
    pub(super) fn deny(&mut self, denial: Denial) {
        self.denial.get_or_insert(denial);
    }
}
