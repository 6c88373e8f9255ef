//! ImageCaches and DataCaches of one namespace, as a test sees them.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result};
use eci_api::data_cache::DataCache;
use eci_api::image_cache::ImageCache;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Stack;
use crate::eventually::eventually;

/// A kind whose objects own a cloud resource.
pub trait Cache:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// `status.conditions`
    fn conditions(&self) -> &[Condition];
    /// `status.observedGeneration`
    fn observed_generation(&self) -> Option<i64>;
    /// The ID of the cloud resource.
    fn cloud_id(&self) -> Option<&str>;
}

impl Cache for ImageCache {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref()?.observed_generation
    }

    fn cloud_id(&self) -> Option<&str> {
        self.status.as_ref()?.image_cache_id.as_deref()
    }
}

impl Cache for DataCache {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn observed_generation(&self) -> Option<i64> {
        self.status.as_ref()?.observed_generation
    }

    fn cloud_id(&self) -> Option<&str> {
        self.status.as_ref()?.data_cache_id.as_deref()
    }
}

/// Caches of one kind and one namespace.
#[derive(Clone)]
pub struct Objects<K> {
    api: Api<K>,
    client: Client,
    namespace: String,
}

/// ImageCaches of one namespace.
pub type Caches = Objects<ImageCache>;

/// DataCaches of one namespace.
pub type DataCaches = Objects<DataCache>;

/// A condition as a test compares it: status and reason.
pub(crate) type Said = (String, String);

impl DataCaches {
    /// Those of the same namespace.
    pub fn beside(caches: &Caches) -> Self {
        Self::new(caches.client(), caches.namespace())
    }

    /// In a new namespace for one test.
    pub async fn in_namespace(stack: &Stack, name: &str) -> Result<Self> {
        Ok(Self::beside(&stack.namespace(name).await?))
    }
}

impl<K: Cache> Objects<K> {
    /// Those of `namespace`.
    pub fn new(client: Client, namespace: &str) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        Self { api, client, namespace: namespace.to_owned() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API of the kind.
    pub fn api(&self) -> &Api<K> {
        &self.api
    }

    /// A client of the API server.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Creates an object with this spec.
    pub async fn create(&self, name: &str, spec: Value) -> Result<K> {
        let object: K = serde_json::from_value(json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": { "name": name },
            "spec": spec,
        }))?;
        Ok(self.api.create(&PostParams::default(), &object).await?)
    }

    /// Changes it by a merge patch.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<K> {
        Ok(self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Asks for its deletion.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// As it is now.
    pub async fn get(&self, name: &str) -> Result<K> {
        Ok(self.api.get(name).await?)
    }

    /// Waits until `Ready` has this status and reason for the current generation.
    pub async fn says(&self, name: &str, status: &str, reason: &str, limit: Duration) -> Result<K> {
        self.until(name, &format!("Ready={status} {reason}"), limit, |cache| {
            let current = cache.observed_generation() == cache.meta().generation;
            current && condition(cache, "Ready").is_some_and(|(s, r)| s == status && r == reason)
        })
        .await
    }

    /// Waits until `fits` is true of it.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        fits: impl Fn(&K) -> bool,
    ) -> Result<K> {
        let (api, fits) = (&self.api, &fits);
        eventually(&format!("{}: {what}", self.called(name)), limit, || async move {
            let cache = api.get(name).await.map_err(|error| error.to_string())?;
            if fits(&cache) { Ok(cache) } else { Err(summary(&cache)) }
        })
        .await
    }

    /// Waits until it does not exist.
    pub async fn is_gone(&self, name: &str, limit: Duration) -> Result<()> {
        let api = &self.api;
        eventually(&format!("{} is gone", self.called(name)), limit, || async move {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(cache)) => Err(summary(&cache)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    fn called(&self, name: &str) -> String {
        format!("{} {}/{name}", K::kind(&()), self.namespace)
    }
}

/// Status and reason of a condition.
pub fn condition(cache: &impl Cache, type_: &str) -> Option<Said> {
    find(cache, type_).map(|c| (c.status.clone(), c.reason.clone()))
}

/// Message of a condition.
pub fn message(cache: &impl Cache, type_: &str) -> Result<String> {
    find(cache, type_).map(|c| c.message.clone()).with_context(|| format!("no condition {type_}"))
}

/// The message of `Ready`.
pub fn told(cache: &impl Cache) -> Result<String> {
    message(cache, "Ready")
}

/// The ID of the cloud resource of a DataCache.
pub fn data_id(cache: &DataCache) -> Result<String> {
    cache.cloud_id().map(str::to_owned).context("no dataCacheID")
}

fn find<'a>(cache: &'a impl Cache, type_: &str) -> Option<&'a Condition> {
    cache.conditions().iter().find(|c| c.type_ == type_)
}

/// What a test that waits in vain shows.
fn summary(cache: &impl Cache) -> String {
    let conditions: Vec<_> = cache
        .conditions()
        .iter()
        .map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message))
        .collect();
    let object = serde_json::to_value(cache).unwrap_or_default();
    let status = &object["status"];
    format!(
        "generation {:?} observed {:?}, cloud {:?} {}, operation {}, {}",
        cache.meta().generation,
        cache.observed_generation(),
        cache.cloud_id(),
        status["cloudStatus"],
        status["operation"],
        conditions.join("; ")
    )
}
