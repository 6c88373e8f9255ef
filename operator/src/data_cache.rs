//! `DataCache`: wiring only.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::condition::Wanted;
use eci_api::data_cache::{DataCache, DataCacheRequest, DataCacheStatus};
use eci_core::cloud::{
    ClientToken, Cloud, CloudError, CloudId, CreateDataCache, DataCacheView, Page, PageToken, Place, Usage,
};
use eci_core::cloud_resource::{Create, Desired, Mark, Peer, Record, marks_of_data_cache};
use eci_core::data_cache::{self, DataCacheKind, OptionError};
use eci_core::image_cache::Defaults;
use eci_core::pull_secret::PullSecret;
use eci_core::quota::Quota;
use eci_core::sweeper::Orphan;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use secrecy::SecretString;

use crate::kind::{Key, Managed};
use crate::sweep::WayOut;

impl Managed for DataCacheKind {
    type Object = DataCache;
    type Status = DataCacheStatus;
    type Credentials = BTreeMap<String, SecretString>;
    type CredentialsError = OptionError;

    fn desired(object: &DataCache, defaults: &Defaults) -> Desired<DataCacheRequest> {
        data_cache::desired(object, defaults)
    }

    fn peer(object: &DataCache) -> Peer {
        data_cache::peer(object)
    }

    fn status_of(object: &DataCache) -> Option<&DataCacheStatus> {
        object.status.as_ref()
    }

    fn conditions(status: &DataCacheStatus) -> &[Condition] {
        &status.conditions
    }

    fn marks(object: &DataCache, _: &Record<DataCacheRequest>) -> BTreeSet<Mark> {
        let Key { namespace, name } = Key::of(object);
        marks_of_data_cache(&namespace, &name, &object.spec.bucket, &object.spec.path)
    }

    fn quota(usage: &Usage) -> Option<Quota> {
        let (limit, used) = usage.max_data_caches.zip(usage.used_data_caches)?;
        Some(Quota { limit, used })
    }

    fn gives_way(_: &DataCacheView) -> bool {
        false
    }

    fn record(status: Option<&DataCacheStatus>) -> Record<DataCacheRequest> {
        data_cache::record(status)
    }

    fn status(
        old: Option<&DataCacheStatus>,
        record: &Record<DataCacheRequest>,
        conditions: Option<&[Wanted]>,
        view: Option<&DataCacheView>,
        generation: i64,
        now: Timestamp,
    ) -> DataCacheStatus {
        data_cache::status(old, record, conditions, view, generation, now)
    }

    fn credentials(
        request: &DataCacheRequest,
        secrets: &[PullSecret],
    ) -> Result<BTreeMap<String, SecretString>, OptionError> {
        data_cache::secret_options(request, secrets)
    }

    fn way_out(view: &DataCacheView, orphan: &Orphan, region: &str) -> WayOut {
        WayOut {
            delete: format!("aliyun eci DeleteDataCache --RegionId {region} --DataCacheId {}", view.id),
            take_over: data_cache::take_over(view, orphan).map(|manifest| manifest.to_string()),
        }
    }

    async fn list<C: Cloud>(
        cloud: &C,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<DataCacheView>, CloudError> {
        cloud.list_data_caches(tags, page).await
    }

    async fn describe<C: Cloud>(cloud: &C, id: &CloudId) -> Result<Option<DataCacheView>, CloudError> {
        cloud.describe_data_cache(id).await
    }

    async fn find<C: Cloud>(cloud: &C, place: &Place) -> Result<Vec<DataCacheView>, CloudError> {
        cloud.find_data_caches(place).await
    }

    async fn create<C: Cloud>(
        cloud: &C,
        call: &Create<DataCacheRequest>,
        secret_options: BTreeMap<String, SecretString>,
    ) -> Result<CloudId, CloudError> {
        let call = CreateDataCache {
            token: call.token.clone(),
            request: call.request.clone(),
            secret_options,
            tags: data_cache::all_tags(&call.request, &call.tags),
        };
        cloud.create_data_cache(&call).await
    }

    async fn update<C: Cloud>(
        cloud: &C,
        id: &CloudId,
        token: ClientToken,
        request: &DataCacheRequest,
        ours: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        cloud.update_data_cache(&data_cache::update_call(id.clone(), token, request, ours)).await
    }

    async fn delete<C: Cloud>(cloud: &C, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        cloud.delete_data_cache(id, token).await
    }

    async fn retag<C: Cloud>(
        cloud: &C,
        id: &CloudId,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<(), CloudError> {
        if !set.is_empty() {
            cloud.tag_data_cache(id, set).await?;
        }
        // What marks a resource as kept is there before what marks it as ours goes.
        if remove.is_empty() { Ok(()) } else { cloud.untag_data_cache(id, remove).await }
    }
}
