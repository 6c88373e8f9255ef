//! ImageCaches of one namespace, as a test sees them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use eci_api::image_cache::{ImageCache, ImageCacheStatus};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::eventually::eventually;

/// ImageCaches of one namespace.
#[derive(Clone)]
pub struct Caches {
    api: Api<ImageCache>,
    client: Client,
    namespace: String,
}

/// A condition as a test compares it: status and reason.
pub(crate) type Said = (String, String);

impl Caches {
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
    pub fn api(&self) -> &Api<ImageCache> {
        &self.api
    }

    /// A client of the API server.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Creates an ImageCache with this spec.
    pub async fn create(&self, name: &str, spec: Value) -> Result<ImageCache> {
        let object = json!({ "metadata": { "name": name }, "spec": spec });
        let object: ImageCache = serde_json::from_value(json!({
            "apiVersion": "eci-operator.io/v1alpha1",
            "kind": "ImageCache",
            "metadata": object["metadata"],
            "spec": object["spec"],
        }))?;
        Ok(self.api.create(&PostParams::default(), &object).await?)
    }

    /// Changes it by a merge patch.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<ImageCache> {
        Ok(self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Asks for its deletion.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// As it is now.
    pub async fn get(&self, name: &str) -> Result<ImageCache> {
        Ok(self.api.get(name).await?)
    }

    /// Waits until `Ready` has this status and reason for the current generation.
    pub async fn says(&self, name: &str, status: &str, reason: &str, limit: Duration) -> Result<ImageCache> {
        self.until(name, &format!("Ready={status} {reason}"), limit, |cache| {
            let seen = condition(cache, "Ready");
            let current =
                cache.status.as_ref().and_then(|s| s.observed_generation) == cache.metadata.generation;
            current && seen.as_ref().is_some_and(|(s, r)| s == status && r == reason)
        })
        .await
    }

    /// Waits until `fits` is true of it.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        fits: impl Fn(&ImageCache) -> bool,
    ) -> Result<ImageCache> {
        let (api, fits) = (&self.api, &fits);
        eventually(&format!("ImageCache {}/{name}: {what}", self.namespace), limit, || async move {
            let cache = api.get(name).await.map_err(|error| error.to_string())?;
            if fits(&cache) { Ok(cache) } else { Err(summary(&cache)) }
        })
        .await
    }

    /// Waits until it does not exist.
    pub async fn is_gone(&self, name: &str, limit: Duration) -> Result<()> {
        let api = &self.api;
        eventually(&format!("ImageCache {}/{name} is gone", self.namespace), limit, || async move {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(cache)) => Err(summary(&cache)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }
}

/// Status and reason of a condition.
pub fn condition(cache: &ImageCache, type_: &str) -> Option<Said> {
    let conditions = &cache.status.as_ref()?.conditions;
    conditions.iter().find(|c| c.type_ == type_).map(|c| (c.status.clone(), c.reason.clone()))
}

/// Message of a condition.
pub fn message(cache: &ImageCache, type_: &str) -> Result<String> {
    let status: &ImageCacheStatus = cache.status.as_ref().context("no status")?;
    let found = status.conditions.iter().find(|c| c.type_ == type_);
    found.map(|c| c.message.clone()).with_context(|| format!("no condition {type_}"))
}

fn summary(cache: &ImageCache) -> String {
    let status = cache.status.clone().unwrap_or_default();
    let conditions: Vec<_> = status
        .conditions
        .iter()
        .map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message))
        .collect();
    format!(
        "generation {:?} observed {:?}, cloud {:?} {:?}, operation {:?}, {}",
        cache.metadata.generation,
        status.observed_generation,
        status.image_cache_id,
        status.cloud_status,
        status.operation.map(|op| (op.attempt, op.sends)),
        conditions.join("; ")
    )
}
