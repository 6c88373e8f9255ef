//! Which DataCaches the pods of a profile would mount: those of its names in the namespaces that it selects.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::eci_profile::{EciProfileSpec, LabelSelection, ProfileMode};

use crate::profile::selection;
use crate::profile::{INJECT_DISABLED, INJECT_LABEL, SYSTEM_NAMESPACES};

/// What is kept of a profile to tell whether pods would mount a DataCache because of it.
#[derive(Clone, Debug)]
pub struct Reach {
    names: BTreeSet<String>,
    namespaces: Option<LabelSelection>,
}

impl Reach {
    /// Of a profile; `None` of one that is disabled or mounts nothing.
    pub fn of(spec: &EciProfileSpec) -> Option<Self> {
        let names: BTreeSet<String> = spec.data_caches.iter().map(|mount| mount.name.clone()).collect();
        let some = !names.is_empty() && spec.mode != ProfileMode::Disabled;
        some.then(|| Self { names, namespaces: spec.selector.namespace_selector.clone() })
    }

    /// Whether it mounts DataCaches of this name.
    pub fn names(&self, cache: &str) -> bool {
        self.names.contains(cache)
    }

    /// Whether it can select pods of a namespace with these labels, whatever their own labels are.
    pub fn covers(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let outside = SYSTEM_NAMESPACES.contains(&namespace)
            || labels.get(INJECT_LABEL).is_some_and(|value| value == INJECT_DISABLED);
        let fits =
            |selector: &LabelSelection| selection::first_failed(selector, labels, &BTreeSet::new()).is_none();
        !outside && self.namespaces.as_ref().is_none_or(fits)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reach(mode: &str, selector: &Value, caches: &[&str]) -> Option<Reach> {
        let caches: Vec<_> =
            caches.iter().map(|name| json!({ "name": name, "mountPath": format!("/{name}") })).collect();
        let spec = json!({ "mode": mode, "selector": selector, "dataCaches": caches });
        Reach::of(&serde_json::from_value(spec).unwrap())
    }

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_profile_that_acts_reaches_the_caches_that_it_names_in_the_namespaces_that_it_selects() {
        let of_a = json!({ "namespaceSelector": { "matchLabels": { "team": "a" } } });
        let of_pods = json!({ "podSelector": { "matchLabels": { "app": "serve" } } });
        assert!(reach("Disabled", &of_a, &["model"]).is_none());
        assert!(reach("Enforce", &of_a, &[]).is_none());
        for mode in ["Enforce", "Audit"] {
            let reach = reach(mode, &of_a, &["model", "other"]).unwrap();
            assert!(reach.names("model") && reach.names("other") && !reach.names("third"));
        }
        let (a, pods) =
            (reach("Enforce", &of_a, &["model"]).unwrap(), reach("Enforce", &of_pods, &["model"]).unwrap());
        for (namespace, pairs, by_namespace, by_pods) in [
            ("shop", &[("team", "a")][..], true, true),
            ("shop", &[("team", "b")], false, true),
            ("shop", &[], false, true),
            ("kube-system", &[("team", "a")], false, false),
            ("shop", &[("team", "a"), ("eci-operator.io/inject", "disabled")], false, false),
        ] {
            let labels = labels(pairs);
            assert_eq!(a.covers(namespace, &labels), by_namespace, "{namespace} {labels:?}");
            assert_eq!(pods.covers(namespace, &labels), by_pods, "{namespace} {labels:?}");
        }
    }
}
