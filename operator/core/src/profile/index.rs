//! Which profiles can match at all, found by one label instead of by looking at each profile.

use std::collections::BTreeMap;

use eci_api::eci_profile::{LabelOperator, LabelSelection};

use super::{Labels, Profile, Subject};

/// Positions of profiles by the value that they want of a label.
type ByLabel = BTreeMap<String, BTreeMap<String, Vec<usize>>>;

/// Every profile is in one place of it: with a label that it cannot do without, or with those that have none.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_namespace: ByLabel,
    by_pod: ByLabel,
    /// Profiles that want no particular value of any label.
    others: Vec<usize>,
}

impl Index {
    /// Of profiles, by their position.
    pub(super) fn of(profiles: &[Profile]) -> Self {
        let mut index = Self::default();
        for (position, profile) in profiles.iter().enumerate() {
            let selector = &profile.spec.selector;
            let of_namespace = selector.namespace_selector.as_ref().and_then(wanted);
            let of_pod = selector.pod_selector.as_ref().and_then(wanted);
            // A pod's labels tell more profiles apart than those of its namespace, which many share.
            let (place, (key, values)) = match (of_pod, of_namespace) {
                (Some(wanted), _) => (&mut index.by_pod, wanted),
                (None, Some(wanted)) => (&mut index.by_namespace, wanted),
                (None, None) => {
                    index.others.push(position);
                    continue;
                }
            };
            let place = place.entry(key.to_owned()).or_default();
            for value in values {
                let positions = place.entry(value.to_owned()).or_default();
                // A value that is listed twice is one value.
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
            }
        }
        index
    }

    /// The profiles that can match, in order; all others do not.
    pub(super) fn candidates(&self, of: Subject<'_>) -> Vec<usize> {
        let mut found = self.others.clone();
        found.extend(at(&self.by_pod, of.labels));
        found.extend(at(&self.by_namespace, of.namespace_labels));
        found.sort_unstable();
        found
    }
}

fn at<'a>(place: &'a ByLabel, labels: &'a Labels) -> impl Iterator<Item = usize> + 'a {
    labels.iter().filter_map(|(key, value)| place.get(key)?.get(value)).flatten().copied()
}

/// A label without one of these values the selector does not match.
fn wanted(selector: &LabelSelection) -> Option<(&str, Vec<&str>)> {
    if let Some((key, value)) = selector.match_labels.iter().next() {
        return Some((key, vec![&value.0]));
    }
    let expression = selector.match_expressions.iter().find(|e| e.operator == LabelOperator::In)?;
    Some((&expression.key, expression.values.iter().map(|value| value.0.as_str()).collect()))
}
