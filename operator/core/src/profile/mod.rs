//! Which profiles apply to a pod, in which order, and what they make of it.
//!
//! All profiles that match a pod apply. For each field the first of them wins that sets it, in the order of priority
//! (highest first) and then of name. [`Profiles::tried`] is the one answer to "why does this pod get this": for every
//! profile it has the first clause that failed, or that all held.

pub mod audit;
pub mod caches;
pub mod check;
pub mod claims;
pub mod conflict;
pub mod data_caches;
pub mod decide;
mod decision;
mod index;
pub mod networking;
pub mod nodes;
pub mod outlook;
pub mod patch;
mod place;
pub mod rules;
mod selection;
pub mod status;
pub mod survey;
pub mod unit;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use eci_api::condition::ProfileReason;
use eci_api::eci_profile::{EciProfile, EciProfileSpec, ProfileMode, Spot};

use index::Index;
pub use selection::{Clause, Requirement};

/// Label of a pod or a namespace that keeps every profile away.
pub const INJECT_LABEL: &str = "eci-operator.io/inject";
/// Its value that does so.
pub const INJECT_DISABLED: &str = "disabled";
/// Annotation of a pod with the profiles that it was made with, as `base@3,spot@7` (name@generation). It is for people,
/// counts and status; nothing that changes a pod reads it.
pub const PROFILES_ANNOTATION: &str = "eci-operator.io/profiles";

/// Namespaces of Kubernetes itself, which no profile selects.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-node-lease", "kube-public", "kube-system"];

/// Labels, as the API server has them.
pub type Labels = BTreeMap<String, String>;

/// A profile, ready to be matched.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// `metadata.generation`; 0 for one that the API server has not seen.
    pub generation: i64,
    /// What it says.
    pub spec: Arc<EciProfileSpec>,
}

impl Profile {
    /// Of an object. `None` for one without a name, which the API server does not have.
    pub fn of(object: &EciProfile) -> Option<Self> {
        Some(Self {
            name: object.metadata.name.clone()?,
            generation: object.metadata.generation.unwrap_or_default(),
            spec: Arc::new(object.spec.clone()),
        })
    }

    /// Why it does not apply to a pod, in the order in which a person would ask; `None` when it does.
    fn mismatch(&self, of: &Subject<'_>, given: &BTreeSet<(String, String)>) -> Option<Mismatch> {
        if self.spec.mode == ProfileMode::Disabled {
            return Some(Mismatch::Disabled);
        }
        let selector = &self.spec.selector;
        if let Some(namespace) = &selector.namespace_selector
            && let Some(clause) = selection::first_failed(namespace, of.namespace_labels, &BTreeSet::new())
        {
            return Some(Mismatch::Namespace(clause));
        }
        if let Some(pod) = &selector.pod_selector
            && let Some(clause) = selection::first_failed(pod, of.labels, given)
        {
            return Some(Mismatch::Pod(clause));
        }
        None
    }
}

/// What is matched: a pod in its namespace.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the namespace.
    pub namespace: &'a str,
    /// Labels of the namespace.
    pub namespace_labels: &'a Labels,
    /// Labels of the pod.
    pub labels: &'a Labels,
}

/// Why a profile does not apply to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The namespace is one of Kubernetes or the operator's own.
    SystemNamespace,
    /// The pod opted out.
    PodOptedOut,
    /// The namespace opted out.
    NamespaceOptedOut,
    /// The profile is not valid; what is wrong with it.
    Invalid(String),
    /// The profile's mode is Disabled.
    Disabled,
    /// The namespace's labels fail a clause of the namespaceSelector.
    Namespace(Clause),
    /// The pod's labels fail a clause of the podSelector.
    Pod(Clause),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemNamespace => {
                f.write_str("the namespace is one of Kubernetes or of the operator, which no profile selects")
            }
            Self::PodOptedOut => {
                write!(f, "the pod opted out by the label {INJECT_LABEL}={INJECT_DISABLED}")
            }
            Self::NamespaceOptedOut => {
                write!(f, "the namespace opted out by the label {INJECT_LABEL}={INJECT_DISABLED}")
            }
            Self::Invalid(why) => write!(f, "the profile is not valid: {why}"),
            Self::Disabled => f.write_str("spec.mode is Disabled"),
            Self::Namespace(clause) => {
                write!(f, "spec.selector.namespaceSelector: the namespace's label {clause}")
            }
            Self::Pod(clause) => write!(f, "spec.selector.podSelector: the pod's label {clause}"),
        }
    }
}

/// All profiles of a cluster, in the order in which they count.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    ordered: Vec<Profile>,
    own_namespace: String,
    index: Index,
    /// Those that are not valid, and so have no effect, by name: reason and message.
    refused: BTreeMap<String, (ProfileReason, String)>,
    /// The labels that profiles in mode Enforce give to pods.
    given: BTreeSet<(String, String)>,
}

impl Profiles {
    /// Of these, for an operator that runs in `own_namespace`.
    pub fn new(profiles: impl IntoIterator<Item = Profile>, own_namespace: &str) -> Self {
        let mut ordered: Vec<_> = profiles.into_iter().collect();
        ordered.sort_by(|a, b| (Reverse(a.spec.priority), &a.name).cmp(&(Reverse(b.spec.priority), &b.name)));
        let refused: BTreeMap<_, _> = ordered
            .iter()
            .filter_map(|profile| {
                let refusal = check::refusal(&check::check(&profile.spec, own_namespace))?;
                Some((profile.name.clone(), refusal))
            })
            .collect();
        let index = Index::of(&ordered);
        let own_namespace = own_namespace.to_owned();
        let mut all = Self { ordered, own_namespace, index, refused, given: BTreeSet::new() };
        let labels = all.acting().flat_map(|p| &p.spec.effects).flat_map(|effects| &effects.labels);
        all.given = labels.map(|(key, value)| (key.clone(), value.0.clone())).collect();
        all
    }

    /// Reason and message of what is wrong with the profile of that name; `None` when it is valid.
    pub fn refusal(&self, name: &str) -> Option<&(ProfileReason, String)> {
        self.refused.get(name)
    }

    /// Those that may change something, in order: the valid ones in mode Enforce.
    pub fn acting(&self) -> impl Iterator<Item = &Profile> {
        let enforced = self.ordered.iter().filter(|profile| profile.spec.mode == ProfileMode::Enforce);
        enforced.filter(|profile| !self.refused.contains_key(&profile.name))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.ordered.iter()
    }

    /// The labels that profiles in mode Enforce give to pods.
    pub fn given(&self) -> &BTreeSet<(String, String)> {
        &self.given
    }

    /// Every profile with why it does not apply to a pod, in order.
    pub fn tried<'a>(&'a self, of: Subject<'_>) -> impl Iterator<Item = (&'a Profile, Option<Mismatch>)> {
        let outside = self.outside(&of);
        self.ordered.iter().map(move |profile| {
            let invalid = || Some(Mismatch::Invalid(self.refused.get(&profile.name)?.1.clone()));
            let mismatch = outside.clone().or_else(invalid).or_else(|| profile.mismatch(&of, &self.given));
            (profile, mismatch)
        })
    }

    /// The profiles in mode Enforce that apply to a pod, in order: those that may change something.
    pub fn enforced<'a>(&'a self, of: Subject<'_>) -> impl Iterator<Item = &'a Profile> {
        self.matching(of).filter(|profile| profile.spec.mode == ProfileMode::Enforce)
    }

    /// The profile whose settings of spot instances count for a pod, which are taken as a whole: the first in mode
    /// Enforce that has any.
    pub fn spot<'a>(&'a self, of: Subject<'a>) -> Option<(&'a Profile, &'a Spot)> {
        self.enforced(of).find_map(|profile| profile.spec.spot.as_ref().map(|spot| (profile, spot)))
    }

    /// The profiles that select a pod, in order, those in mode Audit too.
    pub fn matching<'a>(&'a self, of: Subject<'_>) -> impl Iterator<Item = &'a Profile> {
        let candidates = if self.outside(&of).is_none() { self.index.candidates(of) } else { Vec::new() };
        let candidates = candidates.into_iter().filter_map(|position| self.ordered.get(position));
        candidates.filter(move |profile| {
            !self.refused.contains_key(&profile.name) && profile.mismatch(&of, &self.given).is_none()
        })
    }

    /// The profiles in mode Enforce that may apply to a pod which has these labels and perhaps others, in order.
    pub(super) fn may_match<'a>(&'a self, of: Subject<'a>) -> impl Iterator<Item = &'a Profile> {
        let inside = self.outside(&of).is_none();
        let none = BTreeSet::new();
        self.acting().filter(move |profile| {
            let selector = &profile.spec.selector;
            let in_namespace =
                |namespace| selection::first_failed(namespace, of.namespace_labels, &none).is_none();
            inside
                && selector.namespace_selector.as_ref().is_none_or(in_namespace)
                && selector.pod_selector.as_ref().is_none_or(|pod| selection::may_hold(pod, of.labels))
        })
    }

    /// Why no profile at all applies, nor anything else that the operator does to pods.
    pub(super) fn outside(&self, of: &Subject<'_>) -> Option<Mismatch> {
        let opted_out = |labels: &Labels| labels.get(INJECT_LABEL).is_some_and(|v| v == INJECT_DISABLED);
        if SYSTEM_NAMESPACES.contains(&of.namespace) || of.namespace == self.own_namespace {
            Some(Mismatch::SystemNamespace)
        } else if opted_out(of.labels) {
            Some(Mismatch::PodOptedOut)
        } else if opted_out(of.namespace_labels) {
            Some(Mismatch::NamespaceOptedOut)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
