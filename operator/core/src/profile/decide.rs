//! What profiles make of a pod.
//!
//! [`decide`] is the one answer: admission, previews and explanations all come from it. Deciding for a pod that has
//! already been changed changes nothing more, so that it does not matter how often the API server asks.

use std::collections::BTreeMap;

use eci_api::annotations;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::caches::{self, Caches, IMAGE_CACHE_GATE};
use super::claims::Claims;
use super::data_caches::{self, BUCKET_ANNOTATION, Choosing, DataCaches, Refusal};
pub use super::decision::{Change, ContainerAt, Decision, Denial, Field, Tried, Warning, Winner};
use super::networking::{self, PodNetworking};
use super::nodes::VirtualNodes;
use super::place::{self, Place};
use super::rules::{self, Facts, Mode, RuleSettings};
use super::unit::Unit;
use super::{Labels, PROFILES_ANNOTATION, Profile, Profiles, Subject};

/// Label of a pod or namespace by which the vendor's component sends pods to virtual nodes itself.
pub const VENDOR_LABEL: &str = "alibabacloud.com/eci";

/// Label of a namespace with the Pod Security level that the API server enforces in it.
const POD_SECURITY_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// What a decision needs to know beside profiles and the pod.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Where virtual nodes are.
    pub nodes: VirtualNodes,
    /// Image caches.
    pub caches: Caches,
    /// Data caches.
    pub data_caches: DataCaches,
    /// Claims that pods mount volumes by, as far as they are known.
    pub claims: Claims,
    /// PodNetworkings of the vendor's network plugin, if the cluster has it.
    pub networkings: Vec<PodNetworking>,
    /// What is done about pods that virtual nodes cannot run.
    pub rules: RuleSettings,
    /// Region of the virtual nodes; no matter when not known.
    pub region: Option<String>,
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

/// Decides. Profiles act in mode Enforce; to see what one in mode Audit would do, decide with its mode changed.
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
    let mut decision = Decision::default();
    // Who opted out, has, of this too. A pod of the past has what it was made with.
    let now = moment == Moment::Creation && profiles.outside(&subject).is_none();
    let asks = now && data_caches::asked(pod).is_some();
    if is_of_a_daemon_set(pod) {
        decision.denial = asks.then_some(Denial::DataCaches(Refusal::DaemonSet));
        return decision;
    }
    let (applied, more_labels) = closure(profiles, subject);
    let goes = || {
        let mentions = pod.spec.as_ref().is_some_and(|spec| world.nodes.mentioned(spec));
        mentions || place::by_label(pod, namespace)
    };
    if applied.is_empty() && !asks && !(now && goes()) {
        return decision;
    }
    Deciding { world, namespace, pod, moment, applied: &applied }.fill(&mut decision, more_labels);
    decision
}

/// Decides, and says of every profile why it does not apply to the pod as it ends up, with the labels that other
/// profiles give. The cost of it grows with the number of profiles.
pub fn explain(
    profiles: &Profiles,
    world: &World,
    namespace: Namespace<'_>,
    pod: &Pod,
    moment: Moment,
) -> Decision {
    let none = Labels::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    let subject = Subject { namespace: namespace.name, namespace_labels: namespace.labels, labels };
    let mut labels = labels.clone();
    labels.extend(closure(profiles, subject).1.into_iter().map(|(key, (value, _))| (key, value)));
    let subject = Subject { labels: &labels, ..subject };
    let tried = profiles.tried(subject).map(|(profile, mismatch)| Tried {
        profile: profile.name.clone(),
        generation: profile.generation,
        mode: profile.spec.mode,
        mismatch,
    });
    Decision { tried: tried.collect(), ..decide(profiles, world, namespace, pod, moment) }
}

/// Pods of DaemonSets run where their DaemonSet puts them: a toleration would bring it to virtual nodes, which cannot
/// run it, and anything about nodes would leave its pods Pending.
pub(super) fn is_of_a_daemon_set(pod: &Pod) -> bool {
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

/// The profiles in mode Enforce that apply to a pod, in order, with those that apply by labels which others add.
pub fn applied<'a>(profiles: &'a Profiles, subject: Subject<'_>) -> Vec<&'a Profile> {
    closure(profiles, subject).0
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
        let none = PodSpec::default();
        let spec = self.pod.spec.as_ref().unwrap_or(&none);
        let mut placement = Place {
            nodes: &self.world.nodes,
            namespace: self.namespace,
            pod: self.pod,
            spec,
            moment: self.moment,
            applied: self.applied,
        }
        .choose();
        decision.winners.extend(placement.winner.clone().map(|winner| (Field::Placement, winner)));
        self.labels(decision, more_labels);
        let mut added = BTreeMap::new();
        self.effects(decision, &mut added);
        // What tells virtual nodes how to run a pod waits until it may go there, and never comes when it may not.
        if placement.may_be_virtual {
            self.units(decision, &mut added);
        }
        if self.moment == Moment::Creation {
            let choosing = Choosing {
                pod: self.pod,
                spec,
                namespace: self.namespace.name,
                caches: &self.world.data_caches,
                profiles: self.applied,
                kept_away: placement.kept_away.as_deref(),
            };
            self.data_caches(&choosing, decision, &mut placement.needs_virtual, &mut added);
        }
        decision.deferred = placement.deferred;
        decision.changes.extend(placement.changes(&self.world.nodes, spec));
        let mut ends_with = self.annotations().clone();
        ends_with.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
        decision.findings = annotations::check(&ends_with);
        if (placement.goes || placement.needs_virtual) && self.moment == Moment::Creation {
            let region = self.world.region.as_deref();
            let facts = Facts {
                spec,
                namespace: self.namespace.name,
                annotations: &ends_with,
                by_label: placement.by_label,
                claims: &self.world.claims,
                region,
            };
            decision.rules = rules::pod(facts, &self.world.rules);
            let denied: Vec<_> =
                decision.rules.iter().filter(|finding| finding.mode == Mode::Deny).cloned().collect();
            if !denied.is_empty() {
                decision.deny(Denial::Rules(denied));
            }
        }
        decision.changes.extend(added.into_iter().map(|(key, value)| Change::Annotation(key, value)));
        self.mark(decision);
    }

    /// Volumes for data caches, which bind a pod to virtual nodes: no other mounts them.
    fn data_caches(
        &self,
        choosing: &Choosing<'_>,
        decision: &mut Decision,
        needs_virtual: &mut bool,
        added: &mut BTreeMap<String, String>,
    ) {
        match choosing.choose() {
            Err(refusal) => decision.deny(Denial::DataCaches(refusal)),
            Ok(outcome) => {
                decision.warnings.extend(outcome.dropped.into_iter().map(Warning::DataCaches));
                decision.winners.extend(outcome.winners);
                decision.changes.extend(outcome.changes);
                added.extend(outcome.bucket.map(|bucket| (BUCKET_ANNOTATION.to_owned(), bucket)));
                *needs_virtual = outcome.any;
                if outcome.any {
                    decision.warnings.extend(pod_security(self.namespace.labels));
                }
            }
        }
    }

    fn annotations(&self) -> &Labels {
        static NONE: Labels = Labels::new();
        self.pod.metadata.annotations.as_ref().unwrap_or(&NONE)
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
            if let (Unit::Network, Some(first)) = (unit, self.networking()) {
                decision.winners.insert(Field::Unit(unit), Winner::PodNetworking(first.name.clone()));
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

    fn networking(&self) -> Option<&PodNetworking> {
        networking::of_pod(&self.world.networkings, self.pod, self.namespace.labels)
    }

    fn image_cache(&self, profile: &Profile, decision: &mut Decision) -> super::unit::Rendered {
        let (Some(usage), Some(spec)) = (&profile.spec.image_cache, &self.pod.spec) else {
            return Vec::new();
        };
        let mut choice = caches::choose(usage, &self.world.caches, spec);
        if choice.wait && self.moment == Moment::Creation {
            if spec.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
                decision.deny(Denial::GateWithNode { profile: profile.name.clone() });
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
        if self.applied.is_empty() {
            return;
        }
        let names = self.applied.iter().map(|profile| format!("{}@{}", profile.name, profile.generation));
        let mark = names.collect::<Vec<_>>().join(",");
        let present = self.annotations().get(PROFILES_ANNOTATION);
        if present.is_none() || (!decision.changes.is_empty() && present != Some(&mark)) {
            decision.changes.push(Change::Annotation(PROFILES_ANNOTATION.to_owned(), mark));
        }
    }
}

/// A warning if the namespace has a level of Pod Security that refuses hostPath volumes.
fn pod_security(namespace: &Labels) -> Option<Warning> {
    let level = namespace.get(POD_SECURITY_LABEL)?;
    matches!(level.as_str(), "baseline" | "restricted").then(|| Warning::PodSecurity { level: level.clone() })
}
