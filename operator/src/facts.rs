//! What is kept of objects that pods depend on.

use eci_api::condition::ConditionType;
use eci_api::data_cache::DataCache;
use eci_api::image_cache::ImageCache;
use eci_core::profile::caches::CacheFacts;
use eci_core::profile::data_caches::DataCacheFacts;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

/// What pods need to know of an image cache.
pub(crate) fn facts(cache: &ImageCache) -> CacheFacts {
    let status = cache.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let usable = is_ready(conditions, &cache.metadata);
    CacheFacts {
        usable: status.and_then(|status| status.image_cache_id.clone()).filter(|_| usable),
        images: cache.spec.images.clone(),
    }
}

/// What pods need to know of a data cache.
pub(crate) fn data_facts(cache: &DataCache) -> DataCacheFacts {
    let conditions = cache.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    DataCacheFacts {
        bucket: cache.spec.bucket.clone(),
        path: cache.spec.path.clone(),
        available: is_ready(conditions, &cache.metadata),
        reason: ready.map(|condition| condition.reason.clone()).unwrap_or_default(),
    }
}

/// Whether a cache can be used now, and will be when the pod starts.
fn is_ready(conditions: &[Condition], metadata: &ObjectMeta) -> bool {
    let ready = ConditionType::Ready.as_str();
    metadata.deletion_timestamp.is_none() && conditions.iter().any(|c| c.type_ == ready && c.status == "True")
}
