//! What profiles make of a pod.
//!
//! [`decide`] is the one answer: admission, previews and explanations all come from it. Deciding for a pod that has
//! already been changed changes nothing more, so that it does not matter how often the API server asks.

use std::collections::BTreeMap;
use std::fmt;

use eci_api::annotations::{self, Finding};
use eci_api::eci_profile::{EciProfileSpec, PlacementPolicy, ProfileMode};
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, Toleration};

use super::caches::{self, Caches, IMAGE_CACHE_GATE};
use super::nodes::{OwnWords, VirtualNodes, required_terms};
use super::unit::Unit;
use super::{Labels, Mismatch, PROFILES_ANNOTATION, Profile, Profiles, Subject};

/// Label of a pod or namespace by which the vendor's component sends pods to virtual nodes itself.
pub const VENDOR_LABEL: &str = "alibabacloud.com/eci";

/// What a decision needs to know beside profiles and the pod.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Where virtual nodes are.
    pub nodes: VirtualNodes,
    /// Image caches.
    pub caches: Caches,
}

/// The namespace of a pod.
#[derive(Clone, Copy, Debug)]
pub struct Namespace<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
}

/// At which point of a pod's life is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is being created: everything can be changed.
    Creation,
    /// It waits for a node and may now go to virtual ones: only tolerations and annotations can be added.
    Spill,
}

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
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placement => f.write_str("spec.placement"),
            Self::Unit(unit) => f.write_str(unit.field()),
            Self::Annotation(key) => write!(f, "spec.effects.annotations[{key:?}]"),
            Self::Label(key) => write!(f, "spec.effects.labels[{key:?}]"),
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
    /// Why the pod must be refused.
    pub denial: Option<Denial>,
    /// Every profile, in order.
    pub tried: Vec<Tried>,
    /// Whether the pod may go to virtual nodes only later: after `spillAfter`, or when its limits are granted.
    pub deferred: bool,
}

/// Decides. `profiles` act in mode Enforce; to see what one in mode Audit would do, decide with its mode changed.
pub fn decide(
    profiles: &Profiles,
    world: &World,
    namespace: Namespace<'_>,
    pod: &Pod,
    moment: Moment,
) -> Decision {
    let none = Labels::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    let subject = Subject { namespace: namespace.name, namespace_labels: namespace.labels, labels };
    let mut decision = Decision {
        tried: profiles
            .tried(subject)
            .map(|(profile, mismatch)| Tried {
                profile: profile.name.clone(),
                generation: profile.generation,
                mode: profile.spec.mode,
                mismatch,
            })
            .collect(),
        ..Decision::default()
    };
    if is_of_a_daemon_set(pod) {
        return decision;
    }
    let (applied, more_labels) = closure(profiles, subject);
    if applied.is_empty() {
        return decision;
    }
    Deciding { world, namespace, pod, moment, applied: &applied }.fill(&mut decision, more_labels);
    decision
}

/// Pods of DaemonSets run where their DaemonSet puts them: a toleration would bring it to virtual nodes, which cannot
/// run it, and anything about nodes would leave its pods Pending.
fn is_of_a_daemon_set(pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true) && owner.kind == "DaemonSet")
}

/// A value that a profile gives, with the profile's name.
type Given = (String, String);

/// The profiles that apply, in order, with the labels that they add. A label of one may be what another selects, so
/// this goes on until no profile comes to them. Profiles and labels only become more, so it ends, and a pod that has
/// the labels gets the same profiles.
fn closure<'a>(profiles: &'a Profiles, subject: Subject<'_>) -> (Vec<&'a Profile>, BTreeMap<String, Given>) {
    let mut added: BTreeMap<String, Given> = BTreeMap::new();
    let mut labels = subject.labels.clone();
    loop {
        let now = Subject { labels: &labels, ..subject };
        let applied: Vec<&Profile> = profiles.enforced(now).collect();
        let before = added.len();
        for profile in &applied {
            for (key, value) in profile.spec.effects.iter().flat_map(|effects| &effects.labels) {
                if !subject.labels.contains_key(key) && !added.contains_key(key) {
                    added.insert(key.clone(), (value.0.clone(), profile.name.clone()));
                }
            }
        }
        if added.len() == before {
            return (applied, added);
        }
        labels.extend(added.iter().map(|(key, (value, _))| (key.clone(), value.clone())));
    }
}

struct Deciding<'a> {
    world: &'a World,
    namespace: Namespace<'a>,
    pod: &'a Pod,
    moment: Moment,
    applied: &'a [&'a Profile],
}

impl Deciding<'_> {
    fn fill(&self, decision: &mut Decision, more_labels: BTreeMap<String, Given>) {
        let placement = self.placement(decision);
        self.labels(decision, more_labels);
        let mut added = BTreeMap::new();
        self.effects(decision, &mut added);
        // What tells virtual nodes how to run a pod waits until it may go there, and never comes when it may not.
        if placement.may_be_virtual {
            self.units(decision, &mut added);
        }
        decision.deferred = placement.deferred;
        decision.changes.extend(placement.changes);
        let mut ends_with = self.annotations().clone();
        ends_with.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
        decision.findings = annotations::check(&ends_with);
        decision.changes.extend(added.into_iter().map(|(key, value)| Change::Annotation(key, value)));
        self.mark(decision);
    }

    fn annotations(&self) -> &Labels {
        static NONE: Labels = Labels::new();
        self.pod.metadata.annotations.as_ref().unwrap_or(&NONE)
    }

    /// The first profile in order that sets something.
    fn first<T>(&self, set: impl Fn(&EciProfileSpec) -> Option<T>) -> Option<(String, T)> {
        self.applied.iter().find_map(|profile| Some((profile.name.clone(), set(&profile.spec)?)))
    }

    fn placement(&self, decision: &mut Decision) -> PlacementChoice {
        let vendors = |labels: Option<&Labels>| {
            labels.and_then(|labels| labels.get(VENDOR_LABEL)).is_some_and(|value| value == "true")
        };
        let Some(spec) = &self.pod.spec else { return PlacementChoice::default() };
        let own = self.world.nodes.own_words(spec);
        let sent = vendors(self.pod.metadata.labels.as_ref()) || vendors(Some(self.namespace.labels));
        if sent || own != OwnWords::None {
            decision.winners.insert(Field::Placement, Winner::Pod);
            return PlacementChoice { may_be_virtual: sent || own == OwnWords::Other, ..Default::default() };
        }
        let Some((profile, placement)) = self.first(|spec| spec.placement.clone()) else {
            // Nobody sends it there: what is said for virtual nodes can do no harm on others.
            return PlacementChoice { may_be_virtual: true, ..Default::default() };
        };
        decision.winners.insert(Field::Placement, Winner::Profile(profile));
        let nodes = &self.world.nodes;
        let tolerations = || nodes.tolerations().map(Change::Toleration).collect::<Vec<_>>();
        let later = placement.policy == PlacementPolicy::PreferRegularNodes || placement.limits.is_some();
        match placement.policy {
            // A pod that waits for a node can get no terms for nodes: where it may go was settled when it was created.
            PlacementPolicy::VirtualNodesOnly | PlacementPolicy::RegularNodesOnly
                if self.moment == Moment::Spill =>
            {
                PlacementChoice::default()
            }
            _ if later && self.moment == Moment::Creation => {
                PlacementChoice { deferred: true, ..Default::default() }
            }
            PlacementPolicy::Fair | PlacementPolicy::PreferRegularNodes => {
                PlacementChoice { may_be_virtual: true, changes: tolerations(), deferred: false }
            }
            PlacementPolicy::VirtualNodesOnly => {
                let mut changes = tolerations();
                changes.push(Change::NodeTerms(nodes.only(required_terms(spec))));
                PlacementChoice { may_be_virtual: true, changes, deferred: false }
            }
            PlacementPolicy::RegularNodesOnly => PlacementChoice {
                changes: vec![Change::NodeTerms(nodes.never(required_terms(spec)))],
                ..Default::default()
            },
        }
    }

    fn labels(&self, decision: &mut Decision, more: BTreeMap<String, Given>) {
        for profile in self.applied {
            for key in profile.spec.effects.iter().flat_map(|effects| effects.labels.keys()) {
                if !more.contains_key(key) {
                    decision.winners.insert(Field::Label(key.clone()), Winner::Pod);
                }
            }
        }
        // A pod that exists keeps its labels: its controller and its services go by them.
        let changes = self.moment == Moment::Creation;
        for (key, (value, profile)) in more {
            decision.winners.insert(Field::Label(key.clone()), Winner::Profile(profile));
            if changes {
                decision.changes.push(Change::Label(key, value));
            }
        }
    }

    fn effects(&self, decision: &mut Decision, added: &mut BTreeMap<String, String>) {
        for profile in self.applied {
            for (key, value) in profile.spec.effects.iter().flat_map(|effects| &effects.annotations) {
                let field = Field::Annotation(key.clone());
                if self.annotations().contains_key(key) {
                    decision.winners.insert(field, Winner::Pod);
                } else if !added.contains_key(key) {
                    decision.winners.insert(field, Winner::Profile(profile.name.clone()));
                    added.insert(key.clone(), value.0.clone());
                }
            }
        }
    }

    fn units(&self, decision: &mut Decision, added: &mut BTreeMap<String, String>) {
        for unit in Unit::ALL {
            let Some(profile) = self.applied.iter().find(|profile| unit.is_set(&profile.spec)) else {
                continue;
            };
            if unit.annotations().iter().any(|name| self.annotations().contains_key(*name)) {
                decision.winners.insert(Field::Unit(unit), Winner::Pod);
                continue;
            }
            decision.winners.insert(Field::Unit(unit), Winner::Profile(profile.name.clone()));
            let rendered = if unit == Unit::ImageCache {
                self.image_cache(profile, decision)
            } else {
                unit.render(&profile.spec)
            };
            added.extend(rendered.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
    }

    fn image_cache(&self, profile: &Profile, decision: &mut Decision) -> super::unit::Rendered {
        let (Some(usage), Some(spec)) = (&profile.spec.image_cache, &self.pod.spec) else {
            return Vec::new();
        };
        let mut choice = caches::choose(usage, &self.world.caches, spec);
        if choice.wait && self.moment == Moment::Creation {
            if spec.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
                decision.denial = Some(Denial::GateWithNode { profile: profile.name.clone() });
            } else if !spec.scheduling_gates.iter().flatten().any(|gate| gate.name == IMAGE_CACHE_GATE) {
                decision.changes.push(Change::Gate(IMAGE_CACHE_GATE.to_owned()));
            }
        } else if choice.wait {
            // A pod that exists can get no gate: it goes without.
            choice = caches::Choice::without();
        }
        choice.annotations
    }

    /// Says which profiles the pod was made with, when they change it or it does not say so yet.
    fn mark(&self, decision: &mut Decision) {
        let names = self.applied.iter().map(|profile| format!("{}@{}", profile.name, profile.generation));
        let mark = names.collect::<Vec<_>>().join(",");
        let present = self.annotations().get(PROFILES_ANNOTATION);
        if present.is_none() || (!decision.changes.is_empty() && present != Some(&mark)) {
            decision.changes.push(Change::Annotation(PROFILES_ANNOTATION.to_owned(), mark));
        }
    }
}

#[derive(Default)]
struct PlacementChoice {
    may_be_virtual: bool,
    deferred: bool,
    changes: Vec<Change>,
}
