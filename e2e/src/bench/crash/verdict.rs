//! What must hold, by the cloud's own records: nobody's account of what it did is believed.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::image_cache::ImageCache;
use eci_core::cloud_resource::identity::{TAG_ATTEMPT, TAG_UID};
use eci_sim::world::call::{Effect, LedgerEntry, Spec};
use eci_sim::world::image_cache::View;
use jiff::Timestamp;

use crate::stack::condition;

/// What is known at one moment.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The objects, from the API server.
    pub(super) objects: Vec<ImageCache>,
    /// What the cloud has, whatever it shows.
    pub(super) living: Vec<View>,
    /// What it was made to do.
    pub(super) ledger: Vec<LedgerEntry>,
    /// When objects were seen to be gone, by UID.
    pub(super) gone: BTreeMap<String, Timestamp>,
    /// Objects whose status somebody overwrote: their attempts may come twice.
    pub(super) overwritten: BTreeSet<String>,
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
        let mut missing = Vec::new();
        let mut known = BTreeSet::new();
        for object in &self.objects {
            let uid = object.metadata.uid.clone().unwrap_or_default();
            missing.extend(self.of_object(object, &uid).map(|what| format!("{}: {what}", name(object))));
            known.insert(uid);
        }
        for view in &self.living {
            let owner = view.tags.get(TAG_UID).cloned().unwrap_or_default();
            if !known.contains(&owner) {
                missing
                    .push(format!("{} ({}) belongs to no object: its UID is {owner:?}", view.id, view.name));
            }
        }
        missing
    }

    fn of_object(&self, object: &ImageCache, uid: &str) -> Option<String> {
        if object.metadata.deletion_timestamp.is_some() {
            return Some("it is being deleted".into());
        }
        let ours: Vec<&View> =
            self.living.iter().filter(|view| view.tags.get(TAG_UID).is_some_and(|of| of == uid)).collect();
        let [view] = ours.as_slice() else {
            let ids: Vec<&str> = ours.iter().map(|view| view.id.as_str()).collect();
            return Some(format!("the cloud has {} caches for it: {ids:?}", ours.len()));
        };
        let status = object.status.clone().unwrap_or_default();
        let ready = condition(object, "Ready");
        if ready.as_ref().is_none_or(|(status, _)| status != "True") {
            return Some(format!("Ready is {ready:?}"));
        }
        if status.observed_generation != object.metadata.generation {
            return Some(format!("generation {:?} was observed", status.observed_generation));
        }
        if status.operation.is_some() || status.successor.is_some() || !status.retiring.is_empty() {
            return Some("something is still under way".into());
        }
        if status.image_cache_id.as_deref() != Some(view.id.as_str()) {
            return Some(format!("its status says {:?}, the cloud has {}", status.image_cache_id, view.id));
        }
        if view.images != object.spec.images || view.status != "Ready" {
            return Some(format!("{} is {} with {:?}", view.id, view.status, view.images));
        }
        None
    }

    /// What may never be, at any time.
    pub(super) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut attempts: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for (entry, spec) in self.created() {
            let tag = |name: &str| spec.tags.get(name).map_or("", String::as_str);
            let (uid, attempt) = (tag(TAG_UID), tag(TAG_ATTEMPT));
            if uid.is_empty() || attempt.is_empty() {
                broken.push(format!("{} was made without the tags of an owner", entry.id));
            }
            if let Some(first) = attempts.insert((uid, attempt), &entry.id)
                && !self.overwritten.contains(uid)
            {
                broken.push(format!(
                    "{first} and {} were both made by attempt {attempt} of {} ({uid})",
                    entry.id, spec.name
                ));
            }
            if let Some(gone) = self.gone.get(uid).filter(|gone| **gone < entry.at) {
                broken.push(format!(
                    "{} was made at {} for {}, which was gone at {gone} ({uid})",
                    entry.id, entry.at, spec.name
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

    fn created(&self) -> impl Iterator<Item = (&LedgerEntry, &Spec)> {
        self.ledger.iter().filter_map(|entry| match &entry.effect {
            Effect::Created { spec, .. } => Some((entry, &**spec)),
            _ => None,
        })
    }
}

fn name(object: &ImageCache) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
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

    fn view(id: &str, uid: &str, images: &[&str]) -> View {
        serde_json::from_value(json!({
            "id": id, "name": "fire.web", "region": "cn-hangzhou", "resourceGroupId": null, "status": "Ready",
            "progress": "100%", "images": images, "sizeGib": 20, "created": at(0), "expires": null,
            "lastMatched": null, "containerGroupId": "eci-1", "snapshotId": "s-1", "flashSnapshotId": null,
            "eliminationStrategy": null, "tags": tags(uid, 1), "events": [],
        }))
        .unwrap()
    }

    fn object(uid: &str, status: &Value) -> ImageCache {
        let ready = json!([{ "type": "Ready", "status": "True", "reason": "Available", "message": "",
            "lastTransitionTime": at(0) }]);
        let mut whole = json!({ "observedGeneration": 1, "imageCacheID": "imc-1", "conditions": ready });
        whole.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "eci-operator.io/v1alpha1", "kind": "ImageCache",
            "metadata": { "name": "web", "namespace": "fire", "uid": uid, "generation": 1 },
            "spec": { "images": ["nginx"] }, "status": whole,
        }))
        .unwrap()
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
