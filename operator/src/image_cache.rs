//! `ImageCache`: wiring only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eci_api::condition::Wanted;
use eci_api::image_cache::{ImageCache, ImageCacheRequest, ImageCacheStatus};
use eci_core::cloud::{
    CacheState, ClientToken, Cloud, CloudError, CloudId, CreateImageCache, ImageCacheView, Page, PageToken,
    RegistryCredential, Usage,
};
use eci_core::cloud_resource::{Create, Desired, Mark, Peer, Record, marks_of_image_cache};
use eci_core::image_cache::{self, Defaults, ImageCacheKind};
use eci_core::matches::{self, Candidate, Pending};
use eci_core::pull_secret::{self, PullSecret, PullSecretError};
use eci_core::quota::Quota;
use eci_core::sweeper::Orphan;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::kind::{Key, Managed};
use crate::sweep::WayOut;

impl Managed for ImageCacheKind {
    type Object = ImageCache;
    type Status = ImageCacheStatus;
    type Credentials = Vec<RegistryCredential>;
    type CredentialsError = PullSecretError;

    fn desired(object: &ImageCache, defaults: &Defaults) -> Desired<ImageCacheRequest> {
        image_cache::desired(object, defaults)
    }

    fn peer(object: &ImageCache) -> Peer {
        image_cache::peer(object)
    }

    fn status_of(object: &ImageCache) -> Option<&ImageCacheStatus> {
        object.status.as_ref()
    }

    fn conditions(status: &ImageCacheStatus) -> &[Condition] {
        &status.conditions
    }

    fn marks(object: &ImageCache, record: &Record<ImageCacheRequest>) -> BTreeSet<Mark> {
        let Key { namespace, name } = Key::of(object);
        let owned = record.current.iter().chain(&record.successor).map(|owned| &owned.id);
        marks_of_image_cache(&namespace, &name, owned.chain(&record.retiring))
    }

    fn quota(usage: &Usage) -> Option<Quota> {
        let (limit, used) = usage.max_image_caches.zip(usage.used_image_caches)?;
        Some(Quota { limit, used })
    }

    fn gives_way(view: &ImageCacheView) -> bool {
        view.elimination_strategy.as_deref() == Some("LRU")
    }

    fn record(status: Option<&ImageCacheStatus>) -> Record<ImageCacheRequest> {
        image_cache::record(status)
    }

    fn status(
        old: Option<&ImageCacheStatus>,
        record: &Record<ImageCacheRequest>,
        conditions: Option<&[Wanted]>,
        view: Option<&ImageCacheView>,
        generation: i64,
        now: Timestamp,
    ) -> ImageCacheStatus {
        image_cache::status(old, record, conditions, view, generation, now)
    }

    const COUNTED: bool = true;

    fn candidate(view: &ImageCacheView) -> Option<Candidate> {
        let usable = view.state == CacheState::Ready;
        Some(Candidate { id: view.id.clone(), images: view.images.clone(), usable })
    }

    fn matched(
        status: &ImageCacheStatus,
        pending: &Pending,
        generation: i64,
        now: Timestamp,
    ) -> Option<ImageCacheStatus> {
        image_cache::matched(status, pending, generation, now)
    }

    fn counts_due(status: &ImageCacheStatus, now: Timestamp) -> Option<Duration> {
        // What is due and was not written has nothing new in it.
        Some(matches::due_in(status.matches.as_ref(), now)).filter(|wait| !wait.is_zero())
    }

    fn credentials(
        request: &ImageCacheRequest,
        secrets: &[PullSecret],
    ) -> Result<Vec<RegistryCredential>, PullSecretError> {
        pull_secret::logins(secrets, &request.images)
    }

    fn way_out(view: &ImageCacheView, orphan: &Orphan, region: &str) -> WayOut {
        WayOut {
            delete: format!("aliyun eci DeleteImageCache --RegionId {region} --ImageCacheId {}", view.id),
            take_over: image_cache::take_over(view, orphan).map(|manifest| manifest.to_string()),
        }
    }

    async fn list<C: Cloud>(
        cloud: &C,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<ImageCacheView>, CloudError> {
        cloud.list_image_caches(tags, page).await
    }

    async fn describe<C: Cloud>(cloud: &C, id: &CloudId) -> Result<Option<ImageCacheView>, CloudError> {
        cloud.describe_image_cache(id).await
    }

    async fn create<C: Cloud>(
        cloud: &C,
        call: &Create<ImageCacheRequest>,
        credentials: Vec<RegistryCredential>,
    ) -> Result<CloudId, CloudError> {
        let call = CreateImageCache {
            token: call.token.clone(),
            request: call.request.clone(),
            credentials,
            tags: image_cache::all_tags(&call.request, &call.tags),
        };
        cloud.create_image_cache(&call).await.map(|created| created.id)
    }

    async fn update<C: Cloud>(
        cloud: &C,
        id: &CloudId,
        token: ClientToken,
        request: &ImageCacheRequest,
        ours: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        cloud.update_image_cache(&image_cache::update_call(id.clone(), token, request, ours)).await
    }

    async fn delete<C: Cloud>(cloud: &C, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        cloud.delete_image_cache(id, token).await
    }

    async fn retag<C: Cloud>(
        cloud: &C,
        id: &CloudId,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<(), CloudError> {
        if !set.is_empty() {
            cloud.tag_image_cache(id, set).await?;
        }
        // What marks a resource as kept is there before what marks it as ours goes.
        if remove.is_empty() { Ok(()) } else { cloud.untag_image_cache(id, remove).await }
    }
}
