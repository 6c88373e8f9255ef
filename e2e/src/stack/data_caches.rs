//! DataCaches of one namespace, as a test sees them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use eci_api::data_cache::DataCache;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{Caches, Stack};
use crate::eventually::eventually;

/// DataCaches of one namespace.
#[derive(Clone)]
pub struct DataCaches {
    api: Api<DataCache>,
    namespace: String,
}

impl DataCaches {
    /// Those of the same namespace.
    pub fn beside(caches: &Caches) -> Self {
        let namespace = caches.namespace().to_owned();
        Self { api: Api::namespaced(caches.client(), &namespace), namespace }
    }

    /// In a new namespace for one test.
    pub async fn in_namespace(stack: &Stack, name: &str) -> Result<Self> {
        Ok(Self::beside(&stack.namespace(name).await?))
    }

    /// Creates a DataCache with this spec.
    pub async fn create(&self, name: &str, spec: Value) -> Result<DataCache> {
        let object: DataCache = serde_json::from_value(json!({
            "apiVersion": "eci-operator.io/v1alpha1",
            "kind": "DataCache",
            "metadata": { "name": name },
            "spec": spec,
        }))?;
        Ok(self.api.create(&PostParams::default(), &object).await?)
    }

    /// Changes it by a merge patch.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<DataCache> {
        Ok(self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Asks for its deletion.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// As it is now.
    pub async fn get(&self, name: &str) -> Result<DataCache> {
        Ok(self.api.get(name).await?)
    }

    /// Waits until `Ready` has this status and reason for the current generation.
    pub async fn says(&self, name: &str, status: &str, reason: &str, limit: Duration) -> Result<DataCache> {
        self.until(name, &format!("Ready={status} {reason}"), limit, |cache| {
            let current =
                cache.status.as_ref().and_then(|s| s.observed_generation) == cache.metadata.generation;
            current && ready(cache).is_some_and(|(s, r, _)| s == status && r == reason)
        })
        .await
    }

    /// Waits until `fits` is true of it.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        fits: impl Fn(&DataCache) -> bool,
    ) -> Result<DataCache> {
        let (api, fits) = (&self.api, &fits);
        eventually(&format!("DataCache {}/{name}: {what}", self.namespace), limit, || async move {
            let cache = api.get(name).await.map_err(|error| error.to_string())?;
            if fits(&cache) { Ok(cache) } else { Err(format!("{:?}", cache.status)) }
        })
        .await
    }

    /// Waits until it does not exist.
    pub async fn is_gone(&self, name: &str, limit: Duration) -> Result<()> {
        let api = &self.api;
        eventually(&format!("DataCache {}/{name} is gone", self.namespace), limit, || async move {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(cache)) => Err(format!("{:?}", cache.status)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }
}

/// Status, reason and message of `Ready`.
fn ready(cache: &DataCache) -> Option<(&str, &str, &str)> {
    let conditions = &cache.status.as_ref()?.conditions;
    let found = conditions.iter().find(|c| c.type_ == "Ready")?;
    Some((&found.status, &found.reason, &found.message))
}

/// The message of `Ready`.
pub fn told(cache: &DataCache) -> Result<String> {
    ready(cache).map(|(_, _, message)| message.to_owned()).context("no condition Ready")
}

/// The ID of the cloud resource.
pub fn data_id(cache: &DataCache) -> Result<String> {
    cache.status.as_ref().and_then(|s| s.data_cache_id.clone()).context("no dataCacheID")
}
