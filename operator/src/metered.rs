//! The cloud, with a time limit on every call, counted.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use eci_core::cloud::{
    ClientToken, Cloud, CloudError, CloudId, CreateDataCache, CreateImageCache, CreatedImageCache,
    DataCacheView, ImageCacheView, Meaning, Page, PageToken, Place, UpdateDataCache, UpdateImageCache, Usage,
};

use crate::clock::Clock;
use crate::metrics::Metrics;

/// Limits on whole calls, waiting for their turn included. Longer than the implementation's own, so that they only catch
/// what it forgets.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// On a call that reads, with its repetitions.
    pub reads: Duration,
    /// On a call that writes.
    pub writes: Duration,
}

/// Counts the calls to another implementation of the port and gives up on those that take too long: nobody knows
/// what became of them.
#[derive(Debug)]
pub struct Metered<C> {
    cloud: C,
    limits: CallLimits,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl<C: Cloud> Metered<C> {
    /// Around `cloud`.
    pub fn new(cloud: C, limits: CallLimits, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self { cloud, limits, clock, metrics }
    }

    async fn read<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, CloudError>> + Send,
    ) -> Result<T, CloudError> {
        self.metered(action, self.limits.reads, call).await
    }

    async fn write<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, CloudError>> + Send,
    ) -> Result<T, CloudError> {
        self.metered(action, self.limits.writes, call).await
    }

    async fn metered<T>(
        &self,
        action: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, CloudError>> + Send,
    ) -> Result<T, CloudError> {
        let start = self.clock.now().mono;
        let result = tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            Err(CloudError {
                action,
                meaning: Meaning::Unknown,
                code: None,
                message: format!("no answer within {limit:?}"),
                request_id: None,
                retry_after: None,
            })
        });
        self.metrics.called(action, result.as_ref().err(), self.clock.now().mono.since(start));
        self.permission(action, result.as_ref().err());
        result
    }
}

impl<C> Metered<C> {
    /// Notes whether the identity may call the action: only an answer that it was carried out, or that it is denied,
    /// says so.
    fn permission(&self, call: &'static str, error: Option<&CloudError>) {
        // Several calls of the port are one action of the cloud.
        let action = match call {
            "ListImageCaches" | "DescribeImageCache" => "DescribeImageCaches",
            "ListDataCaches" | "DescribeDataCache" | "FindDataCaches" => "DescribeDataCaches",
            call => call,
        };
        match error {
            None => {
                if self.metrics.permission(action, true) == Some(false) {
                    tracing::info!(action, "the cloud allows this action again");
                }
            }
            Some(error) if error.meaning == Meaning::Denied => {
                if self.metrics.permission(action, false) != Some(false) {
                    tracing::warn!(
                        action,
                        %error,
                        "the cloud denies this action: grant it to the operator's RAM identity; `eci-operator ram-policy` prints what the operator needs"
                    );
                }
            }
            Some(_) => {}
        }
    }
}

impl<C: Cloud> Cloud for Metered<C> {
    async fn create_image_cache(&self, call: &CreateImageCache) -> Result<CreatedImageCache, CloudError> {
        self.write("CreateImageCache", self.cloud.create_image_cache(call)).await
    }

    async fn list_image_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<ImageCacheView>, CloudError> {
        self.read("ListImageCaches", self.cloud.list_image_caches(tags, page)).await
    }

    async fn describe_image_cache(&self, id: &CloudId) -> Result<Option<ImageCacheView>, CloudError> {
        self.read("DescribeImageCache", self.cloud.describe_image_cache(id)).await
    }

    async fn update_image_cache(&self, call: &UpdateImageCache) -> Result<(), CloudError> {
        self.write("UpdateImageCache", self.cloud.update_image_cache(call)).await
    }

    async fn delete_image_cache(&self, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        self.write("DeleteImageCache", self.cloud.delete_image_cache(id, token)).await
    }

    async fn tag_image_cache(&self, id: &CloudId, tags: &BTreeMap<String, String>) -> Result<(), CloudError> {
        self.write("TagResources", self.cloud.tag_image_cache(id, tags)).await
    }

    async fn untag_image_cache(&self, id: &CloudId, keys: &[String]) -> Result<(), CloudError> {
        self.write("UntagResources", self.cloud.untag_image_cache(id, keys)).await
    }

    async fn create_data_cache(&self, call: &CreateDataCache) -> Result<CloudId, CloudError> {
        self.write("CreateDataCache", self.cloud.create_data_cache(call)).await
    }

    async fn list_data_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<DataCacheView>, CloudError> {
        self.read("ListDataCaches", self.cloud.list_data_caches(tags, page)).await
    }

    async fn describe_data_cache(&self, id: &CloudId) -> Result<Option<DataCacheView>, CloudError> {
        self.read("DescribeDataCache", self.cloud.describe_data_cache(id)).await
    }

    async fn find_data_caches(&self, place: &Place) -> Result<Vec<DataCacheView>, CloudError> {
        self.read("FindDataCaches", self.cloud.find_data_caches(place)).await
    }

    async fn update_data_cache(&self, call: &UpdateDataCache) -> Result<(), CloudError> {
        self.write("UpdateDataCache", self.cloud.update_data_cache(call)).await
    }

    async fn delete_data_cache(&self, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        self.write("DeleteDataCache", self.cloud.delete_data_cache(id, token)).await
    }

    async fn tag_data_cache(&self, id: &CloudId, tags: &BTreeMap<String, String>) -> Result<(), CloudError> {
        self.write("TagResources", self.cloud.tag_data_cache(id, tags)).await
    }

    async fn untag_data_cache(&self, id: &CloudId, keys: &[String]) -> Result<(), CloudError> {
        self.write("UntagResources", self.cloud.untag_data_cache(id, keys)).await
    }

    async fn usage(&self) -> Result<Usage, CloudError> {
        self.read("ListUsage", self.cloud.usage()).await
    }
}
