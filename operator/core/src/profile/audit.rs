//! What a profile in mode Audit would change of the pods that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eci_api::eci_profile::{AuditImpact, ProfileMode};
use k8s_openapi::api::core::v1::Pod;

use super::decide::{Change, Decision, Moment, Namespace, World, applied, decide};
use super::unit::Unit;
use super::{Labels, PROFILES_ANNOTATION, Profiles, Subject, caches};

/// Most workloads that a status names.
pub const WORKLOAD_LIMIT: usize = 20;
/// Most changes that are told of a workload.
const CHANGE_LIMIT: usize = 10;
/// Most workloads that are counted; of more, those that come first by namespace, kind and name stand for the rest.
const COUNTED_LIMIT: usize = 10_000;
/// Longest change, in characters.
const CHANGE_CHARS: usize = 200;

/// Counts for one profile.
#[derive(Clone, Debug)]
pub struct Audit {
    now: Profiles,
    enforced: Profiles,
    selected: u64,
    changed: u64,
    workloads: BTreeMap<(String, String, String), (i64, BTreeSet<String>)>,
}

impl Audit {
    /// For the profile of that name, beside all others; `None` when it is not in mode Audit.
    pub fn of(profiles: &Profiles, name: &str, own_namespace: &str) -> Option<Self> {
        let mut all: Vec<_> = profiles.iter().cloned().collect();
        let profile = all.iter_mut().find(|profile| profile.name == name)?;
        if profile.spec.mode != ProfileMode::Audit {
            return None;
        }
        let mut spec = (*profile.spec).clone();
        spec.mode = ProfileMode::Enforce;
        profile.spec = Arc::new(spec);
        let enforced = Profiles::new(all, own_namespace);
        let (selected, changed, workloads) = (0, 0, BTreeMap::new());
        Some(Self { now: profiles.clone(), enforced, selected, changed, workloads })
    }

    /// Counts a pod, as it would be if it were created now.
    pub fn add(&mut self, world: &World, namespace: Namespace<'_>, pod: &Pod) {
        self.add_many(world, namespace, pod, 1);
    }

    /// Counts that many pods, which are all like this one.
    pub fn add_many(&mut self, world: &World, namespace: Namespace<'_>, pod: &Pod, number: u32) {
        let none = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
        let subject = Subject { namespace: namespace.name, namespace_labels: namespace.labels, labels };
        let before = applied(&self.now, subject);
        if applied(&self.enforced, subject).len() == before.len() {
            return;
        }
        self.selected += u64::from(number);
        let new = as_new(pod, &self.now, world, subject);
        let decided = |profiles| decide(profiles, world, namespace, &new, Moment::Creation);
        let differences = differences(&decided(&self.now), &decided(&self.enforced));
        if differences.is_empty() {
            return;
        }
        self.changed += u64::from(number);
        let key = workload(namespace.name, pod);
        if self.workloads.len() < COUNTED_LIMIT || self.workloads.contains_key(&key) {
            let (pods, changes) = self.workloads.entry(key).or_default();
            *pods += i64::from(number);
            changes.extend(differences);
        }
    }

    /// In a sentence.
    pub fn message(&self) -> String {
        format!(
            "spec.mode is Audit: nothing is changed. Of {} pods that it selects, {} would be made otherwise.",
            self.selected, self.changed
        )
    }

    /// The workloads with the most pods that would change, at most [`WORKLOAD_LIMIT`].
    pub fn impact(&self) -> Vec<AuditImpact> {
        let mut all: Vec<_> = self.workloads.iter().collect();
        all.sort_by(|(a, (more, _)), (b, (less, _))| less.cmp(more).then_with(|| a.cmp(b)));
        let impact = |((namespace, kind, name), (pods, changes)): (&(String, String, String), &(i64, _))| {
            let changes: &BTreeSet<String> = changes;
            AuditImpact {
                namespace: namespace.clone(),
                kind: kind.clone(),
                name: name.clone(),
                pods: *pods,
                changes: changes.iter().take(CHANGE_LIMIT).cloned().collect(),
            }
        };
        all.into_iter().take(WORKLOAD_LIMIT).map(impact).collect()
    }
}

/// The workload of a pod: its controller, and of a ReplicaSet the Deployment that made it, which has named it by the
/// hash of its template. A pod without one stands for itself.
fn workload(namespace: &str, pod: &Pod) -> (String, String, String) {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let (kind, name) = match owners.find(|owner| owner.controller == Some(true)) {
        Some(owner) => {
            let labels = pod.metadata.labels.as_ref();
            let hash = labels.and_then(|labels| labels.get("pod-template-hash"));
            let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
            match deployment {
                Some(name) if owner.kind == "ReplicaSet" => ("Deployment", name.to_owned()),
                _ => (owner.kind.as_str(), owner.name.clone()),
            }
        }
        None => ("Pod", pod.metadata.name.clone().unwrap_or_default()),
    };
    (namespace.to_owned(), kind.to_owned(), name)
}

/// The pod without its node, and without what looks as if the profiles of now had put it there: a value that is theirs
/// to the letter. Volumes of data caches stay.
fn as_new(pod: &Pod, profiles: &Profiles, world: &World, subject: Subject<'_>) -> Pod {
    let mut new = pod.clone();
    let applied = applied(profiles, subject);
    let spec = new.spec.get_or_insert_default();
    spec.node_name = None;
    if applied.iter().any(|profile| profile.spec.placement.is_some()) {
        let ours: Vec<_> = world.nodes.tolerations().collect();
        spec.tolerations.iter_mut().for_each(|all| all.retain(|toleration| !ours.contains(toleration)));
        let affinity = spec.affinity.as_mut().and_then(|affinity| affinity.node_affinity.as_mut());
        if let Some(affinity) = affinity
            && let Some(required) = &mut affinity.required_during_scheduling_ignored_during_execution
        {
            required.node_selector_terms = world.nodes.without(&required.node_selector_terms);
            if required.node_selector_terms.is_empty() {
                affinity.required_during_scheduling_ignored_during_execution = None;
            }
        }
    }
    let Some(annotations) = new.metadata.annotations.as_mut() else { return new };
    annotations.remove(PROFILES_ANNOTATION);
    for profile in applied {
        for unit in Unit::ALL {
            let rendered = match (unit, &profile.spec.image_cache) {
                (Unit::ImageCache, Some(usage)) => caches::choose(usage, &world.caches, spec).annotations,
                _ => unit.render(&profile.spec),
            };
            let carried = unit.annotations().iter().filter(|name| annotations.contains_key(**name)).count();
            if carried == rendered.len()
                && rendered.iter().all(|(name, value)| annotations.get(*name) == Some(value))
            {
                annotations.retain(|name, _| !unit.annotations().contains(&name.as_str()));
            }
        }
        for (key, value) in profile.spec.effects.iter().flat_map(|effects| &effects.annotations) {
            if annotations.get(key) == Some(&value.0) {
                annotations.remove(key);
            }
        }
    }
    new
}

fn differences(now: &Decision, then: &Decision) -> BTreeSet<String> {
    let told = |decision: &Decision| -> BTreeSet<String> {
        let mut told: BTreeSet<_> = decision.changes.iter().filter_map(tell).collect();
        if decision.deferred {
            told.insert("goes to virtual nodes only later (spec.placement.policy, limits)".to_owned());
        }
        told.extend(decision.denial.iter().map(|denial| format!("is refused: {denial}")));
        told
    };
    let (now, then) = (told(now), told(then));
    let cut = |text: String| text.chars().take(CHANGE_CHARS).collect::<String>();
    let gained = then.difference(&now).map(|change| cut(format!("+ {change}")));
    let lost = now.difference(&then).map(|change| cut(format!("- {change}")));
    gained.chain(lost).collect()
}

/// A change in words; `None` for the mark of the profiles.
fn tell(change: &Change) -> Option<String> {
    Some(match change {
        Change::Annotation(key, _) if key == PROFILES_ANNOTATION => return None,
        Change::Annotation(key, value) => format!("annotation {key}: {value}"),
        Change::Label(key, value) => format!("label {key}: {value}"),
        Change::Toleration(toleration) => {
            format!("toleration of {}", toleration.key.as_deref().unwrap_or("every taint"))
        }
        Change::NodeTerms(terms) => {
            let expressions = terms.iter().flat_map(|term| term.match_expressions.iter().flatten());
            let never = expressions.into_iter().any(|expression| expression.operator == "NotIn");
            if never { "runs on regular nodes only" } else { "runs on virtual nodes only" }.to_owned()
        }
        Change::Gate(name) => format!("scheduling gate {name}"),
        Change::Volume(volume) => {
            let path = volume.host_path.as_ref().map(|host| host.path.as_str()).unwrap_or_default();
            format!("volume of the data cache at {path}")
        }
        Change::Mount(_, mount) => format!("data cache mounted at {}", mount.mount_path),
    })
}
