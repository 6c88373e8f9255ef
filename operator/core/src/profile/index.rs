//! Which profiles are worth a look for a pod, of many.
//!
//! Each profile in mode Enforce is found by one label that a pod or namespace must have for it to apply, so that the cost
//! of a decision is a matter of the profiles that share a label with the pod, and not of all there are.

use std::collections::BTreeMap;

use eci_api::eci_profile::{LabelOperator, LabelSelection, ProfileMode};

use super::{Labels, Profile, Subject};

/// Places of profiles in their order, by key and value of a label.
type Keyed = BTreeMap<String, BTreeMap<String, Vec<usize>>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_pod: Keyed,
    by_namespace: Keyed,
    /// Those that need no particular label.
    rest: Vec<usize>,
}

impl Index {
    pub(super) fn of(ordered: &[Profile]) -> Self {
        let mut index = Self::default();
        for (place, profile) in ordered.iter().enumerate() {
            if profile.spec.mode != ProfileMode::Enforce {
                continue;
            }
            let selector = &profile.spec.selector;
            let (keyed, (key, values)) = if let Some(needed) = selector.pod_selector.as_ref().and_then(needed)
            {
                (&mut index.by_pod, needed)
            } else if let Some(needed) = selector.namespace_selector.as_ref().and_then(needed) {
                (&mut index.by_namespace, needed)
            } else {
                index.rest.push(place);
                continue;
            };
            let of_key = keyed.entry(key.to_owned()).or_default();
            for value in values {
                of_key.entry(value.to_owned()).or_default().push(place);
            }
        }
        index
    }

    /// The places of all profiles that may apply, in order.
    pub(super) fn candidates(&self, of: Subject<'_>) -> Vec<usize> {
        let mut places = self.rest.clone();
        let mut add = |keyed: &Keyed, labels: &Labels| {
            for (key, value) in labels {
                places.extend(keyed.get(key).and_then(|values| values.get(value)).into_iter().flatten());
            }
        };
        add(&self.by_pod, of.labels);
        add(&self.by_namespace, of.namespace_labels);
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// A label that must be there, with the values of which it must have one.
fn needed(selection: &LabelSelection) -> Option<(&str, Vec<&str>)> {
    let by_label = selection.match_labels.iter().next();
    by_label.map(|(key, value)| (key.as_str(), vec![value.0.as_str()])).or_else(|| {
        let mut expressions = selection.match_expressions.iter();
        let one_of = expressions.find(|expression| expression.operator == LabelOperator::In)?;
        Some((one_of.key.as_str(), one_of.values.iter().map(|value| value.0.as_str()).collect()))
    })
}
