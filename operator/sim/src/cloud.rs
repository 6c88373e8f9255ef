//! The operator's port on the simulated world, in process: no HTTP, the same faults.

mod data_cache;

use std::collections::BTreeMap;
use std::time::Duration;

use eci_api::image_cache::EliminationStrategy;
use eci_core::cloud::{
    CacheState, ClientToken, Cloud, CloudError, CloudEventView, CloudId, CreateDataCache, CreateImageCache,
    CreatedImageCache, DataCacheView, ImageCacheView, Meaning, PAGE_SIZE, Page, PageToken, Place, TEXT_LIMIT,
    UpdateDataCache, UpdateImageCache, Usage,
};
use secrecy::ExposeSecret as _;

use crate::secret::Digest;
use crate::sim::{Answer, Sim};
use crate::world::ApiError;
use crate::world::call::{AcrInstance, Call, Change, Credential, Filter, Reply, Spec, TagFilter};
use crate::world::data_cache::DataFilter;
use crate::world::image_cache::{Event, View};

/// The port. Clones share the world.
#[derive(Clone, Debug)]
pub struct SimCloud {
    sim: Sim,
    patience: Duration,
}

impl SimCloud {
    /// The port on a world, for a caller that waits `patience` for each answer.
    pub fn new(sim: Sim, patience: Duration) -> Self {
        Self { sim, patience }
    }

    /// The world.
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    pub(crate) async fn call(&self, call: Call) -> Result<Reply, CloudError> {
        let action = call.action();
        let outcome = self.sim.perform(&call);
        if outcome.latency > self.patience {
            self.sim.clock().sleep(self.patience).await;
            return Err(unknown(action, "no answer in time"));
        }
        self.sim.clock().sleep(outcome.latency).await;
        match outcome.answer {
            Answer::Whole(Ok(reply)) => Ok(reply),
            Answer::Whole(Err(error)) => Err(refusal(action, error)),
            Answer::Half(_) => Err(unknown(action, "the answer ends in its middle")),
            Answer::NotJson(_) => Err(unknown(action, "the answer is no JSON")),
            Answer::Closed(after) => {
                self.sim.clock().sleep(after.min(self.patience)).await;
                Err(unknown(action, "the connection closed without an answer"))
            }
        }
    }
}

impl Cloud for SimCloud {
    async fn create_image_cache(&self, call: &CreateImageCache) -> Result<CreatedImageCache, CloudError> {
        let spec = Box::new(spec(call));
        let token = Some(call.token.as_str().to_owned());
        match self.call(Call::CreateImageCache { token, spec }).await? {
            Reply::Created { id, container_group_id } => Ok(CreatedImageCache {
                id: cloud_id("CreateImageCache", &id)?,
                container_group_id: Some(container_group_id),
            }),
            _ => Err(unknown("CreateImageCache", "the answer belongs to another call")),
        }
    }

    async fn list_image_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<ImageCacheView>, CloudError> {
        let filter = Filter {
            tags: tag_filters(tags),
            limit: i32::try_from(PAGE_SIZE).ok(),
            next_token: page.map(|page| page.0.clone()),
            ..Filter::default()
        };
        self.describe(filter).await
    }

    async fn describe_image_cache(&self, id: &CloudId) -> Result<Option<ImageCacheView>, CloudError> {
        let filter = Filter { id: Some(id.to_string()), ..Filter::default() };
        Ok(self.describe(filter).await?.items.pop())
    }

    async fn update_image_cache(&self, call: &UpdateImageCache) -> Result<(), CloudError> {
        let change = Box::new(Change {
            retention_days: call.retention_days,
            elimination_strategy: call.elimination_strategy.clone(),
            tags: call.tags.clone(),
            standard_copies: call.standard_copies,
            flash_copies: call.flash_copies,
            resource_group_id: call.resource_group_id.clone(),
            ..Change::default()
        });
        let token = Some(call.token.as_str().to_owned());
        match self.call(Call::UpdateImageCache { id: call.id.to_string(), token, change }).await {
            Err(error) if error.code.as_deref() == Some("NoNeedUpdate") => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn delete_image_cache(&self, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        let token = Some(token.as_str().to_owned());
        self.call(Call::DeleteImageCache { id: id.to_string(), token }).await.map(|_| ())
    }

    async fn tag_image_cache(&self, id: &CloudId, tags: &BTreeMap<String, String>) -> Result<(), CloudError> {
        self.call(Call::TagResources { ids: vec![id.to_string()], tags: tags.clone() }).await.map(|_| ())
    }

    async fn untag_image_cache(&self, id: &CloudId, keys: &[String]) -> Result<(), CloudError> {
        let call = Call::UntagResources { ids: vec![id.to_string()], keys: Some(keys.to_vec()) };
        self.call(call).await.map(|_| ())
    }

    async fn create_data_cache(&self, call: &CreateDataCache) -> Result<CloudId, CloudError> {
        let spec = Box::new(data_cache::spec(call));
        let token = Some(call.token.as_str().to_owned());
        match self.call(Call::CreateDataCache { token, spec }).await? {
            Reply::CreatedData { id } => cloud_id("CreateDataCache", &id),
            _ => Err(unknown("CreateDataCache", "the answer belongs to another call")),
        }
    }

    async fn list_data_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> Result<Page<DataCacheView>, CloudError> {
        self.describe_data(data_cache::tagged(tags, page)).await
    }

    async fn describe_data_cache(&self, id: &CloudId) -> Result<Option<DataCacheView>, CloudError> {
        let filter = DataFilter { ids: vec![id.to_string()], ..DataFilter::default() };
        Ok(self.describe_data(filter).await?.items.pop())
    }

    async fn find_data_caches(&self, place: &Place) -> Result<Vec<DataCacheView>, CloudError> {
        Ok(self.describe_data(data_cache::at(place)).await?.items)
    }

    async fn update_data_cache(&self, call: &UpdateDataCache) -> Result<(), CloudError> {
        match self.call(data_cache::update(call)).await {
            Err(error) if error.code.as_deref() == Some("NoNeedUpdate") => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn delete_data_cache(&self, id: &CloudId, token: &ClientToken) -> Result<(), CloudError> {
        self.call(data_cache::delete(id.as_str(), token.as_str())).await.map(|_| ())
    }

    async fn tag_data_cache(&self, id: &CloudId, tags: &BTreeMap<String, String>) -> Result<(), CloudError> {
        self.tag_image_cache(id, tags).await
    }

    async fn untag_data_cache(&self, id: &CloudId, keys: &[String]) -> Result<(), CloudError> {
        self.untag_image_cache(id, keys).await
    }

    async fn usage(&self) -> Result<Usage, CloudError> {
        match self.call(Call::ListUsage).await? {
            Reply::Usage { max_image_caches, used_image_caches, max_data_caches, used_data_caches } => {
                Ok(Usage {
                    max_image_caches: i64::try_from(max_image_caches).ok(),
                    used_image_caches: i64::try_from(used_image_caches).ok(),
                    max_data_caches: i64::try_from(max_data_caches).ok(),
                    used_data_caches: i64::try_from(used_data_caches).ok(),
                })
            }
            _ => Err(unknown("ListUsage", "the answer belongs to another call")),
        }
    }
}

impl SimCloud {
    async fn describe(&self, filter: Filter) -> Result<Page<ImageCacheView>, CloudError> {
        match self.call(Call::DescribeImageCaches(Box::new(filter))).await? {
            Reply::ImageCaches { items, next_token, .. } => Ok(Page {
                items: items.into_iter().map(view).collect::<Result<_, _>>()?,
                next: next_token.map(PageToken),
            }),
            _ => Err(unknown("DescribeImageCaches", "the answer belongs to another call")),
        }
    }
}

fn tag_filters(tags: &BTreeMap<String, String>) -> Vec<TagFilter> {
    tags.iter().map(|(key, value)| TagFilter { key: key.clone(), value: Some(value.clone()) }).collect()
}

fn spec(call: &CreateImageCache) -> Spec {
    let request = &call.request;
    Spec {
        name: request.name.clone(),
        images: request.images.clone(),
        size_gib: request.size_gib,
        retention_days: request.retention_days,
        v_switch_ids: request.v_switch_ids.clone(),
        security_group_id: request.security_group_id.clone(),
        zone_id: None,
        eip_instance_id: request.eip_instance_id.clone(),
        resource_group_id: request.resource_group_id.clone(),
        auto_match: request.reuse_layers.unwrap_or_default(),
        credentials: call
            .credentials
            .iter()
            .map(|login| Credential {
                server: login.server.clone(),
                user_name: login.user_name.clone(),
                password: Digest::of(login.password.expose_secret()),
            })
            .collect(),
        acr_instances: request
            .acr_instances
            .iter()
            .map(|acr| AcrInstance {
                instance_id: acr.id.clone(),
                instance_name: acr.name.clone(),
                region_id: acr.region_id.clone(),
                domains: acr.domains.clone(),
                arn_service: acr.service_role_arn.clone(),
                arn_user: acr.user_role_arn.clone(),
            })
            .collect(),
        tags: call.tags.clone(),
        flash: request.flash.unwrap_or_default(),
        plain_http_registries: request.plain_http_registries.clone(),
        insecure_registries: request.insecure_registries.clone(),
        standard_copies: request.standard_copies,
        flash_copies: request.flash_copies,
        elimination_strategy: match request.elimination_strategy {
            Some(EliminationStrategy::Lru) => Some("LRU".to_owned()),
            Some(EliminationStrategy::Keep) | None => None,
        },
        os_type: request.os_type.map(|os| format!("{os:?}")),
    }
}

fn view(view: View) -> Result<ImageCacheView, CloudError> {
    Ok(ImageCacheView {
        id: cloud_id("DescribeImageCaches", &view.id)?,
        name: cut(&view.name),
        state: CacheState::parse(&view.status),
        progress_percent: view.progress.trim_end_matches('%').parse().ok(),
        images: view.images.iter().map(|image| cut(image)).collect(),
        size_gib: Some(view.size_gib),
        snapshot_id: view.snapshot_id,
        flash_snapshot_id: view.flash_snapshot_id,
        container_group_id: Some(view.container_group_id),
        creation_time: Some(view.created),
        expiration_time: view.expires,
        last_matched_time: view.last_matched,
        elimination_strategy: view.elimination_strategy,
        tags: view.tags,
        events: view.events.iter().map(event).collect(),
    })
}

fn event(event: &Event) -> CloudEventView {
    CloudEventView {
        type_: event.type_.clone(),
        reason: cut(&event.reason),
        message: cut(&event.message),
        count: event.count,
        last_time: Some(event.last),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}

fn cloud_id(action: &'static str, id: &str) -> Result<CloudId, CloudError> {
    CloudId::parse(id).map_err(|error| unknown(action, &error.to_string()))
}

pub(crate) fn unknown(action: &'static str, message: &str) -> CloudError {
    CloudError {
        action,
        meaning: Meaning::Unknown,
        code: None,
        message: message.to_owned(),
        request_id: None,
        retry_after: None,
    }
}

fn refusal(action: &'static str, error: ApiError) -> CloudError {
    CloudError {
        action,
        meaning: meaning(action, &error.code, error.status),
        message: cut(&error.message),
        request_id: None,
        retry_after: error.retry_after_ms.map(Duration::from_millis),
        code: Some(error.code),
    }
}

/// What a refusal means. A code that no client can know, such as a mismatch under an unusual name, means what its
/// status says.
fn meaning(action: &str, code: &str, status: u16) -> Meaning {
    let market = action.starts_with("DescribeSpot");
    // What a create does not find is a vSwitch or a group, never the cache.
    let names_a_cache =
        !action.starts_with("Create") && action != "ListUsage" && action != "DescribeVSwitches" && !market;
    match code {
        "Forbedden.NotSupportRAM" | "Forbbiden.SubUser" if market => Meaning::Denied,
        "InvalidUserType.NotSupported" | "Abs.InvalidAccount.NotFound" if market => {
            Meaning::AccountRestricted
        }
        "OperationDenied.QueryFail" if market => Meaning::Unknown,
        "IdempotentParameterMismatch" => Meaning::TokenMismatch,
        "QuotaExceeded" | "Throttling.Vcpu.PerDay" => Meaning::QuotaExceeded,
        "OperationDenied.NoStock" => Meaning::NoStock,
        "InvalidVSwitchId.IpNotEnough" | "EipAddressPoolIpNotEnough" => Meaning::NoAddress,
        "Account.Arrearage" => Meaning::Arrears,
        "ServiceNotEnabled"
        | "ImageCacheNotSupport"
        | "SecurityRisk.3DVerification"
        | "Forbidden.RiskControl"
        | "Forbidden.OnlyForInvitedTest"
        | "Forbidden.UserBussinessStatus"
        | "Forbidden.UserNotRealNameAuthentication" => Meaning::AccountRestricted,
        "SignatureDoesNotMatch" | "IncompleteSignature" => Meaning::BadCredentials,
        "NoPermission"
        | "Forbidden.RAM"
        | "Forbidden.SubUser"
        | "InvalidUser.PassRoleForbidden"
        | "CreateServiceLinkedRole.Denied" => Meaning::Denied,
        "IncorrectStatus" | "ImageCache.IncorrectStatus" | "OperationConflict" => Meaning::Busy,
        "InvalidAction.NotFound" | "InvalidRegionId.NotFound" => Meaning::Invalid,
        _ if code.starts_with("Throttling") || status == 429 => Meaning::Throttled,
        _ if code.starts_with("InvalidAccessKeyId") || code.starts_with("InvalidSecurityToken") => {
            Meaning::BadCredentials
        }
        _ if code.starts_with("InvalidTimeStamp") => Meaning::ClockSkew,
        // An earlier copy of this very request arrived, and nobody saw its answer.
        "SignatureNonceUsed" => Meaning::Unknown,
        _ if status >= 500 => Meaning::Unknown,
        _ if names_a_cache && code.ends_with("NotFound") => Meaning::NotFound,
        _ => Meaning::Invalid,
    }
}
