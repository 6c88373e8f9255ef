//! What must hold, by the cloud's own records: nobody's account of what it did is believed.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::data_cache::{DataCache, DataSource};
use eci_api::image_cache::ImageCache;
use eci_core::cloud_resource::identity::{TAG_ATTEMPT, TAG_UID};
use eci_sim::world::call::{Effect, LedgerEntry};
use eci_sim::world::data_cache::DataView;
use eci_sim::world::image_cache::View;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

/// What is known at one moment.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The objects, from the API server.
    pub(super) objects: Vec<Object>,
    /// What the cloud has, whatever it shows.
    pub(super) living: Vec<Resource>,
    /// What it was made to do.
    pub(super) ledger: Vec<LedgerEntry>,
    /// When objects were seen to be gone, by UID.
    pub(super) gone: BTreeMap<String, Timestamp>,
    /// Objects whose status somebody overwrote: their attempts may come twice.
    pub(super) overwritten: BTreeSet<String>,
}

/// An object of either kind, as far as it is judged.
#[derive(Clone, Debug)]
pub(super) struct Object {
    kind: &'static str,
    name: String,
    uid: String,
    deleting: bool,
    /// Its newest generation, and the one that its status is about.
    generations: (Option<i64>, Option<i64>),
    /// Status and reason of its condition Ready.
    ready: Option<(String, String)>,
    /// Whether an operation, a successor or a deletion is recorded.
    under_way: bool,
    /// The resource, by its status.
    id: Option<String>,
    /// What its resource is to have.
    wants: String,
}

impl Object {
    fn new(kind: &'static str, meta: &ObjectMeta, conditions: &[Condition]) -> Self {
        let ready = conditions.iter().find(|c| c.type_ == "Ready");
        Self {
            kind,
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            generations: (meta.generation, None),
            ready: ready.map(|c| (c.status.clone(), c.reason.clone())),
            under_way: false,
            id: None,
            wants: String::new(),
        }
    }
}

impl From<&ImageCache> for Object {
    fn from(object: &ImageCache) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let new = Self::new("ImageCache", &object.metadata, &status.conditions);
        Self {
            generations: (object.metadata.generation, status.observed_generation),
            under_way: status.operation.is_some()
                || status.successor.is_some()
                || !status.retiring.is_empty(),
            id: status.image_cache_id,
            wants: object.spec.images.join(" "),
            ..new
        }
    }
}

impl From<&DataCache> for Object {
    fn from(object: &DataCache) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let new = Self::new("DataCache", &object.metadata, &status.conditions);
        let source: Option<&DataSource> = object.spec.source.as_ref();
        Self {
            generations: (object.metadata.generation, status.observed_generation),
            under_way: status.operation.is_some() || !status.retiring.is_empty(),
            id: status.data_cache_id,
            wants: source
                .and_then(|source| source.url.as_ref())
                .map(|url| url.url.clone())
                .unwrap_or_default(),
            ..new
        }
    }
}

/// A resource of either kind, as far as it is judged.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    id: String,
    name: String,
    /// UID of its owner, by its tags.
    owner: Option<String>,
    status: String,
    usable: bool,
    /// What it has: the images, or the source of the data.
    has: String,
}

impl From<View> for Resource {
    fn from(view: View) -> Self {
        let owner = view.tags.get(TAG_UID).cloned();
        let (usable, has) = (view.status == "Ready", view.images.join(" "));
        Self { id: view.id, name: view.name, owner, status: view.status, usable, has }
    }
}

impl From<DataView> for Resource {
    fn from(view: DataView) -> Self {
        let owner = view.tags.get(TAG_UID).cloned();
        let usable = view.status == "Available";
        Self { id: view.id, name: view.name, owner, status: view.status, usable, has: view.source_options }
    }
}

/// What the episode did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Objects that there ever were.
    pub(super) objects: usize,
    /// Caches that the cloud made.
    pub(super) made: usize,
    /// Caches that ended.
    pub(super) ended: usize,
}

impl Facts {
    /// What is not yet as it must be at the end.
    pub(super) fn unsettled(&self) -> Vec<String> {
        let of = |object: &Object| {
            let what = self.of_object(object)?;
            Some(format!("{} {}: {what}", object.kind, object.name))
        };
        let mut missing: Vec<_> = self.objects.iter().filter_map(of).collect();
        let known: BTreeSet<_> = self.objects.iter().map(|object| object.uid.as_str()).collect();
        for Resource { id, name, owner, .. } in &self.living {
            if owner.as_deref().is_none_or(|owner| !known.contains(owner)) {
                missing.push(format!("{id} ({name}) belongs to no object: its UID is {owner:?}"));
            }
        }
        missing
    }

    fn of_object(&self, object: &Object) -> Option<String> {
        if object.deleting {
            return Some("it is being deleted".into());
        }
        let ours: Vec<&Resource> =
            self.living.iter().filter(|r| r.owner.as_ref() == Some(&object.uid)).collect();
        let [resource] = ours.as_slice() else {
            let ids: Vec<&str> = ours.iter().map(|resource| resource.id.as_str()).collect();
            return Some(format!("the cloud has {} caches for it: {ids:?}", ours.len()));
        };
        let ready = &object.ready;
        if ready.as_ref().is_none_or(|(status, _)| status != "True") {
            return Some(format!("Ready is {ready:?}"));
        }
        let (newest, observed) = object.generations;
        if newest != observed {
            return Some(format!("generation {observed:?} was observed"));
        }
        if object.under_way {
            return Some("something is still under way".into());
        }
        if object.id.as_ref() != Some(&resource.id) {
            return Some(format!("its status says {:?}, the cloud has {}", object.id, resource.id));
        }
        let fits = resource.has.contains(&object.wants) && !object.wants.is_empty();
        if !fits || !resource.usable {
            return Some(format!("{} is {} with {:?}", resource.id, resource.status, resource.has));
        }
        None
    }

    /// What may never be, at any time.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut attempts: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for (entry, name, tags) in self.created() {
            let tag = |name: &str| tags.get(name).map_or("", String::as_str);
            let (uid, attempt) = (tag(TAG_UID), tag(TAG_ATTEMPT));
            if uid.is_empty() || attempt.is_empty() {
                broken.push(format!("{} was made without the tags of an owner", entry.id));
            }
            if let Some(first) = attempts.insert((uid, attempt), &entry.id)
                && !self.overwritten.contains(uid)
            {
                broken.push(format!(
                    "{first} and {} were both made by attempt {attempt} of {name} ({uid})",
                    entry.id
                ));
            }
            if let Some(gone) = self.gone.get(uid).filter(|gone| **gone < entry.at) {
                broken.push(format!(
                    "{} was made at {} for {name}, which was gone at {gone} ({uid})",
                    entry.id, entry.at
                ));
            }
        }
        broken
    }

    pub(super) fn count(&self) -> Count {
        let ended = |entry: &&LedgerEntry| matches!(entry.effect, Effect::Deleted { .. });
        Count {
            objects: self.objects.len() + self.gone.len(),
            made: self.created().count(),
            ended: self.ledger.iter().filter(ended).count(),
        }
    }

    /// What was made, with its name and tags.
    fn created(&self) -> impl Iterator<Item = (&LedgerEntry, &str, &BTreeMap<String, String>)> {
        self.ledger.iter().filter_map(|entry| match &entry.effect {
            Effect::Created { spec, .. } => Some((entry, spec.name.as_str(), &spec.tags)),
            Effect::CreatedData { spec, .. } => Some((entry, spec.name.as_str(), &spec.tags)),
            Effect::Updated | Effect::Deleted { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn tags(uid: &str, attempt: u32) -> Value {
        json!({ TAG_UID: uid, TAG_ATTEMPT: attempt.to_string() })
    }

    fn created(second: i64, id: &str, uid: &str, attempt: u32) -> LedgerEntry {
        serde_json::from_value(json!({
            "at": at(second), "id": id,
            "effect": { "created": { "token": "t", "spec": {
                "name": "fire.web", "images": ["nginx"], "sizeGib": 20, "autoMatch": false, "flash": false,
                "tags": tags(uid, attempt),
            } } },
        }))
        .unwrap()
    }

    fn view(id: &str, uid: &str, images: &[&str]) -> Resource {
        let view: View = serde_json::from_value(json!({
            "id": id, "name": "fire.web", "region": "cn-hangzhou", "resourceGroupId": null, "status": "Ready",
            "progress": "100%", "images": images, "sizeGib": 20, "created": at(0), "expires": null,
            "lastMatched": null, "containerGroupId": "eci-1", "snapshotId": "s-1", "flashSnapshotId": null,
            "eliminationStrategy": null, "tags": tags(uid, 1), "events": [],
        }))
        .unwrap();
        view.into()
    }

    fn object(uid: &str, status: &Value) -> Object {
        let ready = json!([{ "type": "Ready", "status": "True", "reason": "Available", "message": "",
            "lastTransitionTime": at(0) }]);
        let mut whole = json!({ "observedGeneration": 1, "imageCacheID": "imc-1", "conditions": ready });
        whole.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        let object: ImageCache = serde_json::from_value(json!({
            "apiVersion": "eci-operator.io/v1alpha1", "kind": "ImageCache",
            "metadata": { "name": "web", "namespace": "fire", "uid": uid, "generation": 1 },
            "spec": { "images": ["nginx"] }, "status": whole,
        }))
        .unwrap();
        Object::from(&object)
    }

    fn settled() -> Facts {
        Facts {
            objects: vec![object("u1", &json!({}))],
            living: vec![view("imc-1", "u1", &["nginx"])],
            ledger: vec![created(1, "imc-1", "u1", 1)],
            ..Facts::default()
        }
    }

    #[test]
    fn one_object_with_one_cache_is_settled() {
        assert_eq!(settled().unsettled(), Vec::<String>::new());
        assert_eq!(settled().broken(), Vec::<String>::new());
        assert_eq!(settled().count(), Count { objects: 1, made: 1, ended: 0 });
    }

    #[test]
    fn a_leak_a_duplicate_and_a_wrong_record_are_found() {
        let found = |facts: Facts, what: &str| {
            let missing = facts.unsettled();
            assert!(missing.len() == 1 && missing[0].contains(what), "{what}: {missing:?}");
        };
        let leaked = view("imc-2", "u0", &["nginx"]);
        found(
            Facts { living: vec![view("imc-1", "u1", &["nginx"]), leaked], ..settled() },
            "belongs to no object",
        );
        let second = view("imc-2", "u1", &["nginx"]);
        found(Facts { living: vec![view("imc-1", "u1", &["nginx"]), second], ..settled() }, "has 2 caches");
        found(Facts { living: Vec::new(), ..settled() }, "has 0 caches");
        found(Facts { living: vec![view("imc-1", "u1", &["other"])], ..settled() }, "other");
        found(
            Facts { objects: vec![object("u1", &json!({ "imageCacheID": "imc-9" }))], ..settled() },
            "imc-9",
        );
        found(
            Facts { objects: vec![object("u1", &json!({ "retiring": ["imc-0"] }))], ..settled() },
            "under way",
        );
        found(
            Facts { objects: vec![object("u1", &json!({ "observedGeneration": 0 }))], ..settled() },
            "generation",
        );
    }

    #[test]
    fn an_attempt_that_made_two_is_broken_unless_its_record_was_overwritten() {
        let ledger =
            vec![created(1, "imc-1", "u1", 1), created(2, "imc-2", "u1", 1), created(3, "imc-3", "u1", 2)];
        let facts = Facts { ledger: ledger.clone(), ..settled() };
        let broken = facts.broken();
        assert!(broken.len() == 1 && broken[0].contains("imc-1 and imc-2"), "{broken:?}");
        let overwritten = BTreeSet::from(["u1".to_owned()]);
        assert_eq!(Facts { ledger, overwritten, ..settled() }.broken(), Vec::<String>::new());
    }

    #[test]
    fn what_is_made_for_an_object_that_is_gone_is_broken() {
        let gone = |second| BTreeMap::from([("u1".to_owned(), at(second))]);
        let broken = Facts { gone: gone(0), ..settled() }.broken();
        assert!(broken.len() == 1 && broken[0].contains("which was gone"), "{broken:?}");
        assert_eq!(Facts { gone: gone(2), ..settled() }.broken(), Vec::<String>::new());
    }
}
