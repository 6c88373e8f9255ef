//! What a pod said before profiles were applied to it.
//!
//! A pod that profiles have made carries what they gave it, and asked again, they would find that it speaks for itself.
//! So the pod is guessed as its owner wrote it: everything that profiles give is taken off, and what they do not give
//! again is put back, until deciding for the guess makes the very pod. It then is the pod that was decided for, or one
//! that is decided for alike.

use std::collections::BTreeMap;

use eci_core::profile::data_caches::is_ours;
use eci_core::profile::decide::{Change, Decision, Moment, Namespace, World, decide};
use eci_core::profile::unit::Unit;
use eci_core::profile::{PROFILES_ANNOTATION, Profiles, patch};
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, PodSpec};

use crate::error::Error;

/// Rounds of putting back. Each puts back something or is the last.
const MAX_ROUNDS: usize = 64;

/// A pod as it was before.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The pod.
    pub(super) pod: Pod,
    /// Whether the profiles, as they are now, make the pod of it that exists.
    pub(super) exact: bool,
}

/// The profiles that the pod says it was made with.
pub(super) fn made_with(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(PROFILES_ANNOTATION).map(String::as_str)
}

/// The pod before profiles; as it is when none has touched it.
pub(super) fn origin(
    profiles: &Profiles,
    world: &World,
    namespace: Namespace<'_>,
    pod: &Pod,
) -> Result<Origin, Error> {
    let mut now = pod.clone();
    now.status = None;
    if made_with(pod).is_none() {
        return Ok(Origin { pod: now, exact: true });
    }
    if let Some(spec) = now.spec.as_mut() {
        // The scheduler's answer, not the pod's wish. A gate of ours is gone by then.
        spec.node_name = None;
        spec.scheduling_gates = None;
        without_data_caches(spec);
    }
    let mut guess = bare(&now, |pod| {
        let decide = |moment| decide(profiles, world, namespace, pod, moment);
        let Decision { mut changes, deferred, .. } = decide(Moment::Creation);
        if deferred {
            changes.extend(decide(Moment::Spill).changes);
        }
        changes
    });
    without_labels(&mut guess, profiles);
    for _ in 0..MAX_ROUNDS {
        let made = made(profiles, world, namespace, &guess)?;
        if !put_back(&mut guess, &now, &made) {
            let exact = same(&now, &made);
            return Ok(Origin { pod: guess, exact });
        }
    }
    Ok(Origin { pod: now, exact: false })
}

/// Without anything that profiles might have given.
fn bare(now: &Pod, changes: impl Fn(&Pod) -> Vec<Change>) -> Pod {
    let mut bare = now.clone();
    let annotations = bare.metadata.annotations.take().unwrap_or_default();
    if let Some(spec) = bare.spec.as_mut() {
        spec.tolerations = None;
        spec.affinity = None;
    }
    let given = changes(&bare);
    bare.metadata.annotations = Some(annotations);
    let annotations = bare.metadata.annotations.get_or_insert_default();
    annotations.remove(PROFILES_ANNOTATION);
    for change in &given {
        if let Change::Annotation(key, _) = change {
            annotations.remove(key);
        }
    }
    if let (Some(spec), Some(before)) = (bare.spec.as_mut(), now.spec.as_ref()) {
        spec.affinity.clone_from(&before.affinity);
        let added: Vec<_> = given
            .iter()
            .filter_map(|change| match change {
                Change::Toleration(toleration) => Some(toleration),
                _ => None,
            })
            .collect();
        spec.tolerations.clone_from(&before.tolerations);
        if let Some(own) = spec.tolerations.as_mut() {
            own.retain(|toleration| !added.contains(&toleration));
        }
        let keys: Vec<_> = given
            .iter()
            .filter_map(|change| match change {
                Change::NodeTerms(terms) => Some(terms),
                _ => None,
            })
            .flatten()
            .flat_map(|term| term.match_expressions.iter().flatten())
            .map(|expression| expression.key.clone())
            .collect();
        without_terms(spec, &keys);
    }
    bare
}

/// Takes off the data caches, which come back if they are asked for.
fn without_data_caches(spec: &mut PodSpec) {
    let ours: Vec<String> =
        spec.volumes.iter().flatten().filter(|v| is_ours(v)).map(|v| v.name.clone()).collect();
    if let Some(volumes) = spec.volumes.as_mut() {
        volumes.retain(|volume| !ours.contains(&volume.name));
    }
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        if let Some(mounts) = container.volume_mounts.as_mut() {
            mounts.retain(|mount| !ours.contains(&mount.name));
        }
    }
}

/// Takes off the labels that profiles give. Those that the pod needs to be matched at all are put back first.
fn without_labels(pod: &mut Pod, profiles: &Profiles) {
    let Some(labels) = pod.metadata.labels.as_mut() else { return };
    let acting = profiles.acting();
    for (key, value) in acting.flat_map(|profile| &profile.spec.effects).flat_map(|effects| &effects.labels) {
        if labels.get(key) == Some(&value.0) {
            labels.remove(key);
        }
    }
}

/// Takes expressions over these labels out of the required node terms.
fn without_terms(spec: &mut PodSpec, keys: &[String]) {
    let Some(affinity) = spec.affinity.as_mut() else { return };
    let Some(node) = affinity.node_affinity.as_mut() else { return };
    let Some(required) = node.required_during_scheduling_ignored_during_execution.as_mut() else { return };
    let mut terms: Vec<NodeSelectorTerm> = Vec::new();
    for mut term in std::mem::take(&mut required.node_selector_terms) {
        if let Some(expressions) = term.match_expressions.as_mut() {
            expressions.retain(|expression| !keys.contains(&expression.key));
        }
        term.match_expressions = term.match_expressions.filter(|all| !all.is_empty());
        // One of its own becomes one for each kind of virtual node.
        if term != NodeSelectorTerm::default() && !terms.contains(&term) {
            terms.push(term);
        }
    }
    required.node_selector_terms = terms;
    if required.node_selector_terms.is_empty() {
        node.required_during_scheduling_ignored_during_execution = None;
    }
    if node.preferred_during_scheduling_ignored_during_execution.is_none()
        && node.required_during_scheduling_ignored_during_execution.is_none()
    {
        affinity.node_affinity = None;
    }
    if affinity.node_affinity.is_none()
        && affinity.pod_affinity.is_none()
        && affinity.pod_anti_affinity.is_none()
    {
        spec.affinity = None;
    }
}

/// What the profiles make of a guess, at its creation, and later when it may go to virtual nodes later only.
struct Made {
    created: Pod,
    spilled: Option<Pod>,
}

fn made(profiles: &Profiles, world: &World, namespace: Namespace<'_>, guess: &Pod) -> Result<Made, Error> {
    let decision = decide(profiles, world, namespace, guess, Moment::Creation);
    let created = apply(guess, &decision.changes)?;
    let spilled = if decision.deferred {
        let later = decide(profiles, world, namespace, &created, Moment::Spill);
        Some(apply(&created, &later.changes)?)
    } else {
        None
    };
    Ok(Made { created, spilled })
}

/// The pod with changes, as the API server makes them.
pub(super) fn apply(pod: &Pod, changes: &[Change]) -> Result<Pod, Error> {
    let mut value = serde_json::to_value(pod)?;
    let operations = serde_json::to_value(patch::patch(pod, changes))?;
    let operations: json_patch::Patch = serde_json::from_value(operations)?;
    json_patch::patch(&mut value, &operations).map_err(|error| Error::Patch(error.to_string()))?;
    Ok(serde_json::from_value(value)?)
}

/// Puts back what the pod has otherwise than the profiles would make it; whether there was anything.
fn put_back(guess: &mut Pod, now: &Pod, made: &Made) -> bool {
    let none = BTreeMap::new();
    let candidates: Vec<&Pod> = std::iter::once(&made.created).chain(&made.spilled).collect();
    if candidates.iter().any(|made| agrees(now, made)) {
        return false;
    }
    let made = candidates.last().copied().unwrap_or(now);
    let labels = |pod: &Pod| pod.metadata.labels.clone().unwrap_or_default();
    let (actual, got) = (labels(now), labels(made));
    let lost = actual.into_iter().filter(|(key, value)| got.get(key) != Some(value));
    let before = labels(guess).len();
    guess.metadata.labels.get_or_insert_default().extend(lost);
    if labels(guess).len() > before {
        return true;
    }
    let mut found = false;
    let actual = now.metadata.annotations.as_ref().unwrap_or(&none);
    let got = made.metadata.annotations.as_ref().unwrap_or(&none);
    for (key, value) in actual.iter().filter(|(key, _)| *key != PROFILES_ANNOTATION) {
        let own = guess.metadata.annotations.get_or_insert_default();
        if got.get(key) != Some(value) && own.get(key) != Some(value) {
            own.insert(key.clone(), value.clone());
            found = true;
        }
    }
    // A unit of which the pod lacks a part was not given: what it has of it is its own.
    for unit in Unit::ALL {
        let lacks = |name: &&str| got.contains_key(*name) && !actual.contains_key(*name);
        if !unit.annotations().iter().any(lacks) {
            continue;
        }
        let own = guess.metadata.annotations.get_or_insert_default();
        for (key, value) in actual.iter().filter(|(key, _)| unit.annotations().contains(&key.as_str())) {
            found |= own.insert(key.clone(), value.clone()).as_ref() != Some(value);
        }
    }
    let (Some(spec), Some(before), Some(made)) = (guess.spec.as_mut(), &now.spec, &made.spec) else {
        return found;
    };
    for toleration in before.tolerations.iter().flatten() {
        let own = spec.tolerations.get_or_insert_default();
        if !made.tolerations.iter().flatten().any(|other| other == toleration) && !own.contains(toleration) {
            own.push(toleration.clone());
            found = true;
        }
    }
    if made.affinity != before.affinity && spec.affinity != before.affinity {
        spec.affinity.clone_from(&before.affinity);
        found = true;
    }
    found
}

fn same(now: &Pod, made: &Made) -> bool {
    std::iter::once(&made.created).chain(&made.spilled).any(|made| agrees(now, made))
}

/// Whether two pods are alike in all that profiles change, but for the mark and gates.
fn agrees(one: &Pod, other: &Pod) -> bool {
    let annotations = |pod: &Pod| {
        let mut all = pod.metadata.annotations.clone().unwrap_or_default();
        all.remove(PROFILES_ANNOTATION);
        all
    };
    let spec = |pod: &Pod| pod.spec.clone().unwrap_or_default();
    let (a, b) = (spec(one), spec(other));
    let tolerations = |spec: &PodSpec| spec.tolerations.clone().unwrap_or_default();
    let (tolerated, other_tolerated) = (tolerations(&a), tolerations(&b));
    annotations(one) == annotations(other)
        && one.metadata.labels.as_ref().unwrap_or(&BTreeMap::new())
            == other.metadata.labels.as_ref().unwrap_or(&BTreeMap::new())
        && tolerated.iter().all(|toleration| other_tolerated.contains(toleration))
        && other_tolerated.iter().all(|toleration| tolerated.contains(toleration))
        && a.affinity == b.affinity
}
