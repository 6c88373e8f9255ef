//! Profiles, a pod, and what becomes of it.

use std::sync::Arc;

use eci_core::profile::caches::{CacheFacts, Caches};
use eci_core::profile::data_caches::DataCacheFacts;
use eci_core::profile::decide::{Decision, Moment, Namespace, World, explain};
use eci_core::profile::patch::patch;
use eci_core::profile::{Labels, Profile, Profiles};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) profiles: Vec<Profile>,
    pub(crate) world: World,
    pub(crate) namespace_labels: Labels,
    pub(crate) pod: Pod,
    pub(crate) moment: Moment,
}

/// A pod with one container, which the profile `p` selects.
pub(crate) fn scene(spec: &Value) -> Scene {
    Scene {
        profiles: vec![],
        world: World::default(),
        namespace_labels: Labels::new(),
        pod: pod(&json!({})),
        moment: Moment::Creation,
    }
    .profile("p", spec)
}

/// A pod with one container and what `more` says of it.
pub(crate) fn pod(more: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/web:1"}]},
    });
    merge(&mut pod, more);
    serde_json::from_value(pod).unwrap()
}

/// Puts `more` into `value`, objects into objects.
fn merge(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            for (key, more) in more {
                merge(value.entry(key).or_insert(Value::Null), more);
            }
        }
        (value, more) => *value = more.clone(),
    }
}

impl Scene {
    /// One more profile, generation 3, that selects all pods unless it says otherwise.
    pub(crate) fn profile(mut self, name: &str, spec: &Value) -> Self {
        let mut whole = json!({"selector": {"podSelector": {"matchLabels": {"app": "web"}}}});
        merge(&mut whole, spec);
        let spec = Arc::new(serde_json::from_value(whole).unwrap());
        self.profiles.push(Profile { name: name.to_owned(), generation: 3, spec });
        self
    }

    pub(crate) fn pod(mut self, more: &Value) -> Self {
        self.pod = pod(more);
        self
    }

    pub(crate) fn spilling(mut self) -> Self {
        self.moment = Moment::Spill;
        self
    }

    /// An ImageCache `default/NAME`.
    pub(crate) fn cache(mut self, name: &str, usable: Option<&str>, images: &[&str]) -> Self {
        let reference = serde_json::from_value(json!({"namespace": "default", "name": name})).unwrap();
        let facts = CacheFacts {
            usable: usable.map(str::to_owned),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
        };
        let caches: &mut Caches = &mut self.world.caches;
        caches.insert(reference, facts);
        self
    }

    /// A DataCache `shop/NAME`.
    pub(crate) fn data_cache(mut self, name: &str, bucket: &str, path: &str, available: bool) -> Self {
        let facts = DataCacheFacts {
            bucket: bucket.to_owned(),
            path: path.to_owned(),
            available,
            reason: if available { "Available" } else { "Building" }.to_owned(),
        };
        self.world.data_caches.insert(("shop".to_owned(), name.to_owned()), facts);
        self
    }

    pub(crate) fn decision(&self) -> Decision {
        self.decision_for(&self.pod)
    }

    fn decision_for(&self, pod: &Pod) -> Decision {
        let profiles = Profiles::new(self.profiles.clone(), "eci-system");
        let namespace = Namespace { name: "shop", labels: &self.namespace_labels };
        explain(&profiles, &self.world, namespace, pod, self.moment)
    }

    /// The pod after its patch, as the API server would have it.
    pub(crate) fn result(&self) -> Pod {
        apply(&self.pod, &self.decision())
    }

    /// What a second decision would still change.
    pub(crate) fn second(&self) -> Decision {
        self.decision_for(&self.result())
    }

    /// Annotations of the result that the pod did not have, without the mark.
    pub(crate) fn added(&self) -> Vec<(String, String)> {
        let had = self.pod.metadata.annotations.clone().unwrap_or_default();
        let has = self.result().metadata.annotations.unwrap_or_default();
        let new = has.into_iter().filter(|(key, _)| !had.contains_key(key));
        new.filter(|(key, _)| key != "eci-operator.io/profiles")
            .map(|(key, value)| (key.replace("k8s.aliyun.com/", ""), value))
            .collect()
    }

    pub(crate) fn mark(&self) -> Option<String> {
        self.result().metadata.annotations?.remove("eci-operator.io/profiles")
    }
}

pub(crate) fn apply(pod: &Pod, decision: &Decision) -> Pod {
    let mut value = serde_json::to_value(pod).unwrap();
    let operations = serde_json::to_value(patch(pod, &decision.changes)).unwrap();
    let operations: json_patch::Patch = serde_json::from_value(operations).unwrap();
    json_patch::patch(&mut value, &operations).unwrap();
    serde_json::from_value(value).unwrap()
}

pub(crate) fn owned(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
