//! The objects of an episode: of both kinds, in one namespace, told apart by their numbers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use eci_api::data_cache::DataCache;
use eci_api::image_cache::ImageCache;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::verdict::Object;
use crate::testbed::wall_clock;

/// Whether the object with this number is a DataCache.
pub(super) fn is_data(number: u64) -> bool {
    number % 2 == 1
}

/// Its name.
pub(super) fn name(number: u64) -> String {
    format!("cache-{number}")
}

/// Its spec, or the part of it that changes: another version needs another resource.
pub(super) fn spec(number: u64, version: u64) -> Value {
    let name = name(number);
    if !is_data(number) {
        return json!({ "images": [format!("registry.example.com/shop/{name}:{version}")] });
    }
    let url = format!("https://files.example.com/{name}/v{version}.tar");
    let source = json!({ "type": "URL", "url": { "url": url } });
    json!({ "bucket": "models", "path": format!("/fire/{name}"), "source": source })
}

/// All of them.
pub(super) struct Objects {
    images: Api<DynamicObject>,
    data: Api<DynamicObject>,
    /// When objects went away, from watches.
    gone: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    _watches: JoinSet<()>,
}

impl Objects {
    /// Of this namespace.
    pub(super) fn new(client: &Client, namespace: &str) -> Self {
        let api = |resource| Api::namespaced_with(client.clone(), namespace, &resource);
        let images: Api<DynamicObject> = api(ApiResource::erase::<ImageCache>(&()));
        let data: Api<DynamicObject> = api(ApiResource::erase::<DataCache>(&()));
        let gone = Arc::default();
        let mut watches = JoinSet::new();
        for api in [&images, &data] {
            watches.spawn(note(api.clone(), Arc::clone(&gone)));
        }
        Self { images, data, gone, _watches: watches }
    }

    /// Of the kind of this number.
    pub(super) fn api(&self, number: u64) -> &Api<DynamicObject> {
        if is_data(number) { &self.data } else { &self.images }
    }

    /// Creates the object with this number.
    pub(super) async fn create(&self, number: u64, spec: Value) -> Result<DynamicObject> {
        let kind = if is_data(number) { "DataCache" } else { "ImageCache" };
        let object = serde_json::from_value(json!({
            "apiVersion": "eci-operator.io/v1alpha1", "kind": kind,
            "metadata": { "name": name(number) }, "spec": spec,
        }))?;
        Ok(self.api(number).create(&PostParams::default(), &object).await?)
    }

    /// All that exist, to be judged.
    pub(super) async fn all(&self) -> Result<Vec<Object>> {
        let mut all = Vec::new();
        for object in self.images.list(&ListParams::default()).await? {
            all.push(Object::from(&object.try_parse::<ImageCache>().context("an ImageCache")?));
        }
        for object in self.data.list(&ListParams::default()).await? {
            all.push(Object::from(&object.try_parse::<DataCache>().context("a DataCache")?));
        }
        Ok(all)
    }

    /// When objects went away, by UID.
    pub(super) fn gone(&self) -> BTreeMap<String, Timestamp> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn note(api: Api<DynamicObject>, gone: Arc<Mutex<BTreeMap<String, Timestamp>>>) {
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(watcher::Event::Delete(object)) = event {
            let uid = object.uid().unwrap_or_default();
            gone.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, wall_clock());
        }
    }
}
