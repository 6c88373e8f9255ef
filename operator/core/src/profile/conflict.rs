//! Profiles that say different things with the same priority, for a pod that exists.
//!
//! The order of the names decides between them, which nobody means who gives two profiles one priority.

use std::collections::BTreeMap;

use eci_api::condition::ProfileReason;
use eci_api::eci_profile::EciProfileSpec;
use k8s_openapi::api::core::v1::Pod;

use super::decide::{Field, Namespace, applied, is_of_a_daemon_set};
use super::unit::Unit;
use super::{Labels, Profile, Profiles, Subject};

/// Most conflicts that are kept of a cluster.
pub const CONFLICT_LIMIT: usize = 1_000;
/// Most conflicts that one message names.
const NAMED: usize = 5;

/// Two profiles and what they disagree about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The profile that wins, by its name alone.
    pub wins: String,
    /// The profile that loses.
    pub loses: String,
    /// The field.
    pub field: Field,
}

/// What the profiles that apply to a pod disagree about. A field that the pod sets itself, to something that neither
/// says, is none: there is nothing to disagree about. Neither is one that a profile of higher priority decides.
pub fn of_pod(profiles: &Profiles, namespace: Namespace<'_>, pod: &Pod) -> Vec<Conflict> {
    let none = Labels::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    let subject = Subject { namespace: namespace.name, namespace_labels: namespace.labels, labels };
    if is_of_a_daemon_set(pod) {
        return Vec::new();
    }
    let applied = applied(profiles, subject);
    let mut first: BTreeMap<Field, (&Profile, Said)> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for profile in applied {
        for (field, said) in says(&profile.spec) {
            match first.get(&field) {
                None => {
                    first.insert(field, (profile, said));
                }
                Some((other, theirs))
                    if other.spec.priority == profile.spec.priority
                        && *theirs != said
                        && !is_pods_own(pod, &field, theirs, &said) =>
                {
                    let (wins, loses) = (other.name.clone(), profile.name.clone());
                    conflicts.push(Conflict { wins, loses, field });
                }
                Some(_) => {}
            }
        }
    }
    conflicts
}

/// What a profile says of a field, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// As it stands.
    Text(String),
    /// Annotations.
    Annotations(BTreeMap<&'static str, String>),
}

fn says(spec: &EciProfileSpec) -> Vec<(Field, Said)> {
    let mut all = Vec::new();
    // Limits and times of one placement are as much its meaning as its policy.
    all.extend(
        spec.placement.iter().map(|placement| (Field::Placement, Said::Text(format!("{placement:?}")))),
    );
    for unit in Unit::ALL.into_iter().filter(|unit| unit.is_set(spec)) {
        let said = match (unit, &spec.image_cache) {
            (Unit::ImageCache, Some(usage)) => {
                let mut usage = usage.clone();
                usage.refs.sort();
                Said::Text(format!("{usage:?}"))
            }
            _ => Said::Annotations(unit.render(spec).into_iter().collect()),
        };
        all.push((Field::Unit(unit), said));
    }
    for (key, value) in spec.effects.iter().flat_map(|effects| &effects.annotations) {
        all.push((Field::Annotation(key.clone()), Said::Text(value.0.clone())));
    }
    for (key, value) in spec.effects.iter().flat_map(|effects| &effects.labels) {
        all.push((Field::Label(key.clone()), Said::Text(value.0.clone())));
    }
    for mount in &spec.data_caches {
        all.push((Field::DataCache(mount.mount_path.clone()), Said::Text(mount.name.clone())));
    }
    all
}

/// Whether the pod says something of its own. What it got from one of the two when it was created is not.
fn is_pods_own(pod: &Pod, field: &Field, one: &Said, other: &Said) -> bool {
    let is = |map: Option<&BTreeMap<String, String>>, key: &str| {
        let found = map.and_then(|map| map.get(key)).cloned().map(Said::Text);
        found.is_some_and(|found| found != *one && found != *other)
    };
    let annotations = pod.metadata.annotations.as_ref();
    match field {
        Field::Annotation(key) => is(annotations, key),
        Field::Label(key) => is(pod.metadata.labels.as_ref(), key),
        Field::Unit(unit) => {
            let has = |name: &&'static str| Some((*name, annotations?.get(*name)?.clone()));
            let carried: BTreeMap<_, _> = unit.annotations().iter().filter_map(has).collect();
            let ours =
                *unit == Unit::ImageCache || [one, other].contains(&&Said::Annotations(carried.clone()));
            !carried.is_empty() && !ours
        }
        Field::Placement | Field::DataCache(_) => false,
    }
}

/// The conflicts of a cluster, each with the first pod that shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts(BTreeMap<Conflict, (String, String)>);

impl Conflicts {
    /// Adds those of one pod. The pod that is first by namespace and name shows a conflict, whatever the order.
    pub fn add(&mut self, profiles: &Profiles, namespace: Namespace<'_>, pod: &Pod) {
        self.add_as(profiles, namespace, pod, pod.metadata.name.as_deref().unwrap_or_default());
    }

    /// Adds those of a pod that stands for others which are the same but for their names; `name` is the first of these.
    pub fn add_as(&mut self, profiles: &Profiles, namespace: Namespace<'_>, pod: &Pod, name: &str) {
        for conflict in of_pod(profiles, namespace, pod) {
            let shown = (namespace.name.to_owned(), name.to_owned());
            if self.0.len() < CONFLICT_LIMIT || self.0.contains_key(&conflict) {
                let known = self.0.entry(conflict).or_insert_with(|| shown.clone());
                *known = shown.min(known.clone());
            }
        }
    }

    /// Whether a profile is in none, the reason and the message of its condition Conflicted.
    pub fn of(&self, profile: &str) -> (bool, ProfileReason, String) {
        let concerned = |conflict: &&Conflict| conflict.wins == profile || conflict.loses == profile;
        let mut said = Vec::new();
        let all = self.0.iter().filter(|(conflict, _)| concerned(conflict));
        for (conflict, (namespace, pod)) in all.clone().take(NAMED) {
            let (other, wins) = if conflict.wins == profile {
                (&conflict.loses, "this one wins by its name")
            } else {
                (&conflict.wins, "that one wins by its name")
            };
            said.push(format!(
                "profile {other} of equal priority says otherwise of {} for pod {namespace}/{pod}, and {wins}",
                conflict.field
            ));
        }
        let count = all.count();
        if count == 0 {
            let message = "No profile of equal priority says otherwise.".to_owned();
            return (false, ProfileReason::NoConflict, message);
        }
        let more = if count > NAMED { format!("; and {} more", count - NAMED) } else { String::new() };
        let message = format!("{}{more}: give one of them another priority", said.join("; "));
        (true, ProfileReason::EqualPriority, message)
    }
}
