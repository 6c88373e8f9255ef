//! What people and the cloud do in a scene.

use std::collections::BTreeMap;

use eci_api::image_cache::{EliminationStrategy, ImageCacheRequest};
use eci_core::cloud::{CacheState, CloudEventView, CloudId, ImageCacheView};
use eci_core::cloud_resource::{Effect, Next, Outcome, Problem};
use eci_core::image_cache::all_tags;

use crate::scene::{Scene, owner, request};

impl Scene {
    // What people do.

    pub fn wants(&mut self, change: impl FnOnce(&mut ImageCacheRequest)) {
        if let Ok(request) = &mut self.desired.request {
            change(request);
        }
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut ImageCacheRequest)) {
        self.wants(change);
        self.new_generation();
    }

    pub fn new_generation(&mut self) {
        self.object.generation += 1;
        self.new_version();
    }

    pub fn ask_again(&mut self, value: &str) {
        self.desired.requested_at = Some(value.into());
        self.new_version();
    }

    pub fn delete(&mut self) {
        self.object.deleting = true;
        self.new_version();
    }

    pub fn new_version(&mut self) {
        let version: u64 = self.object.resource_version.parse().unwrap();
        self.object.resource_version = (version + 1).to_string();
    }

    /// The spec amounts to no request.
    pub fn break_spec(&mut self) {
        self.desired.request = Err(Problem {
            reason: eci_api::condition::Reason::InvalidSpec,
            message: "ImageCache ns/web: spec.size: correct it.".into(),
        });
        self.new_generation();
    }

    // What the cloud does.

    pub fn view(uid: &str, id: &str, attempt: i64, state: &str) -> ImageCacheView {
        ImageCacheView {
            id: CloudId::parse(id).unwrap(),
            name: "ns.web".into(),
            state: CacheState::parse(state),
            progress_percent: None,
            images: request().images,
            size_gib: Some(20),
            snapshot_id: None,
            flash_snapshot_id: None,
            container_group_id: None,
            creation_time: None,
            expiration_time: None,
            last_matched_time: None,
            elimination_strategy: None,
            tags: owner(uid).tags(attempt),
            events: Vec::new(),
        }
    }

    /// The cloud has a resource of the object with this UID.
    pub fn has(&mut self, uid: &str, id: &str, attempt: i64, state: &str) {
        self.cloud.push(Self::view(uid, id, attempt, state));
    }

    pub fn at(&mut self, id: &str) -> &mut ImageCacheView {
        self.cloud.iter_mut().find(|v| v.id.as_str() == id).unwrap()
    }

    pub fn becomes(&mut self, id: &str, state: &str) {
        self.at(id).state = CacheState::parse(state);
    }

    pub fn fail(&mut self, id: &str) {
        self.becomes(id, "Failed");
        self.at(id).events = vec![CloudEventView {
            type_: "Warning".into(),
            reason: "PullFailed".into(),
            message: "manifest unknown".into(),
            count: 1,
            last_time: None,
        }];
    }

    /// The ID of the next resource that a create call makes.
    pub fn made_next(&mut self, id: &str) {
        self.next_id = Some(id.into());
    }

    pub fn vanish(&mut self, id: &str) {
        self.cloud.retain(|v| v.id.as_str() != id);
    }

    /// What the call of the last plan does in the cloud.
    pub fn effect(&mut self) -> Outcome {
        match self.last.next.clone() {
            Next::Do(Effect::Create(call)) => {
                self.made += 1;
                let id = self.next_id.take().unwrap_or_else(|| format!("imc-{}", self.made));
                let mut view = Self::view("", &id, call.turn.attempt, "Preparing");
                view.images.clone_from(&call.request.images);
                view.size_gib = Some(call.request.size_gib);
                change_in_place(&mut view, &call.request, &call.tags);
                self.cloud.push(view);
                return Outcome::Created(CloudId::parse(&id).unwrap());
            }
            Next::Do(Effect::Delete { id, .. }) => self.vanish(id.as_str()),
            Next::Do(Effect::Update { id, request, tags }) => {
                change_in_place(self.at(id.as_str()), &request, &tags);
            }
            Next::Do(Effect::Retag { id, set, remove }) => {
                let tags = &mut self.at(id.as_str()).tags;
                tags.retain(|key, _| !remove.contains(key));
                tags.extend(set);
            }
            next => panic!("no call to the cloud: {next:?}"),
        }
        Outcome::Done
    }
}

/// What the cloud shows of the fields that can be changed in place.
fn change_in_place(view: &mut ImageCacheView, request: &ImageCacheRequest, tags: &BTreeMap<String, String>) {
    view.tags = all_tags(request, tags);
    let strategy = request.elimination_strategy;
    view.elimination_strategy = strategy.filter(|s| *s == EliminationStrategy::Lru).map(|_| "LRU".into());
}
