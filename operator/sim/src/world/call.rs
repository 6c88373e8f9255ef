//! Calls of the API and their answers, as the world sees them: decoded, without signatures and without secrets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::data_cache::{DataChange, DataFilter, DataSpec, DataView};
use super::image_cache::View;
use super::market::{AdviceFilter, AdviceView, HistoryFilter, PriceView};
use super::network::{VSwitch, VSwitchFilter};
use crate::secret::Digest;

/// A call.
#[derive(Clone, Debug)]
pub enum Call {
    /// `CreateImageCache`
    CreateImageCache {
        /// `ClientToken`
        token: Option<String>,
        /// Everything else.
        spec: Box<Spec>,
    },
    /// `DescribeImageCaches`
    DescribeImageCaches(Box<Filter>),
    /// `UpdateImageCache`
    UpdateImageCache {
        /// `ImageCacheId`
        id: String,
        /// `ClientToken`
        token: Option<String>,
        /// What is to change.
        change: Box<Change>,
    },
    /// `DeleteImageCache`
    DeleteImageCache {
        /// `ImageCacheId`
        id: String,
        /// `ClientToken`
        token: Option<String>,
    },
    /// `CreateDataCache`
    CreateDataCache {
        /// `ClientToken`
        token: Option<String>,
        /// Everything else.
        spec: Box<DataSpec>,
    },
    /// `DescribeDataCaches`
    DescribeDataCaches(Box<DataFilter>),
    /// `UpdateDataCache`
    UpdateDataCache {
        /// `DataCacheId`
        id: String,
        /// `ClientToken`
        token: Option<String>,
        /// What is to change.
        change: Box<DataChange>,
    },
    /// `DeleteDataCache`
    DeleteDataCache {
        /// Which.
        which: DataId,
        /// `ClientToken`
        token: Option<String>,
    },
    /// `ListUsage`
    ListUsage,
    /// `TagResources`
    TagResources {
        /// `ResourceId.N`
        ids: Vec<String>,
        /// `Tag.N`
        tags: BTreeMap<String, String>,
    },
    /// `UntagResources`
    UntagResources {
        /// `ResourceId.N`
        ids: Vec<String>,
        /// `TagKey.N`; `None` is `All=true`.
        keys: Option<Vec<String>>,
    },
    /// `ListTagResources`
    ListTagResources {
        /// `ResourceId.N`
        ids: Vec<String>,
        /// `Tag.N`
        tags: Vec<TagFilter>,
        /// `NextToken`
        next_token: Option<String>,
    },
    /// `DescribeRegions`
    DescribeRegions,
    /// `DescribeSpotPriceHistory` (ECS)
    DescribeSpotPriceHistory(Box<HistoryFilter>),
    /// `DescribeSpotAdvice` (ECS)
    DescribeSpotAdvice(Box<AdviceFilter>),
    /// `DescribeVSwitches` (VPC)
    DescribeVSwitches(Box<VSwitchFilter>),
}

impl Call {
    /// The name of the action.
    pub fn action(&self) -> &'static str {
        match self {
            Self::CreateImageCache { .. } => "CreateImageCache",
            Self::DescribeImageCaches(_) => "DescribeImageCaches",
            Self::UpdateImageCache { .. } => "UpdateImageCache",
            Self::DeleteImageCache { .. } => "DeleteImageCache",
            Self::CreateDataCache { .. } => "CreateDataCache",
            Self::DescribeDataCaches(_) => "DescribeDataCaches",
            Self::UpdateDataCache { .. } => "UpdateDataCache",
            Self::DeleteDataCache { .. } => "DeleteDataCache",
            Self::ListUsage => "ListUsage",
            Self::TagResources { .. } => "TagResources",
            Self::UntagResources { .. } => "UntagResources",
            Self::ListTagResources { .. } => "ListTagResources",
            Self::DescribeRegions => "DescribeRegions",
            Self::DescribeSpotPriceHistory(_) => "DescribeSpotPriceHistory",
            Self::DescribeSpotAdvice(_) => "DescribeSpotAdvice",
            Self::DescribeVSwitches(_) => "DescribeVSwitches",
        }
    }

    /// Its client token.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::CreateImageCache { token, .. }
            | Self::UpdateImageCache { token, .. }
            | Self::DeleteImageCache { token, .. }
            | Self::CreateDataCache { token, .. }
            | Self::UpdateDataCache { token, .. }
            | Self::DeleteDataCache { token, .. } => token.as_deref(),
            _ => None,
        }
    }
}

/// Which data cache a delete call means.
#[derive(Clone, Debug, Serialize)]
pub enum DataId {
    /// `DataCacheId`
    Id(String),
    /// The one at a place.
    Place {
        /// `Bucket`
        bucket: String,
        /// `Path`
        path: String,
    },
}

/// An answer to a call that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `CreateImageCache`
    Created {
        /// `ImageCacheId`
        id: String,
        /// `ContainerGroupId`
        container_group_id: String,
    },
    /// `DescribeImageCaches`
    ImageCaches {
        /// `ImageCaches`
        items: Vec<View>,
        /// `NextToken`; absent at the end.
        next_token: Option<String>,
        /// `TotalCount`
        total: usize,
    },
    /// `CreateDataCache`
    CreatedData {
        /// `DataCacheId`
        id: String,
    },
    /// `DescribeDataCaches`
    DataCaches {
        /// `DataCaches`
        items: Vec<DataView>,
        /// `NextToken`; absent at the end.
        next_token: Option<String>,
        /// `TotalCount`
        total: usize,
    },
    /// Nothing to say.
    Done,
    /// `ListUsage`
    Usage {
        /// `MaxImageCacheCount`
        max_image_caches: usize,
        /// `UsedImageCacheCount`
        used_image_caches: usize,
        /// `MaxDataCacheCount`
        max_data_caches: usize,
        /// `UsedDataCacheCount`
        used_data_caches: usize,
    },
    /// `ListTagResources`
    Tags {
        /// ID, key and value.
        items: Vec<(String, String, String)>,
        /// `NextToken`; absent at the end.
        next_token: Option<String>,
    },
    /// `DescribeRegions`
    Regions {
        /// The only one.
        region: String,
    },
    /// `DescribeVSwitches`
    VSwitches {
        /// The region, which begins the IDs of its zones.
        region: String,
        /// `VSwitches.VSwitch`
        items: Vec<VSwitch>,
        /// `TotalCount`
        total: usize,
        /// `PageNumber`
        page: i32,
        /// `PageSize`
        page_size: i32,
    },
    /// `DescribeSpotPriceHistory`
    SpotPrices {
        /// `Currency`
        currency: String,
        /// `SpotPrices.SpotPriceType`
        items: Vec<PriceView>,
        /// `NextOffset`
        next_offset: Option<usize>,
    },
    /// `DescribeSpotAdvice`
    SpotAdvice {
        /// `RegionId`
        region: String,
        /// `AvailableSpotZones`, zone by zone.
        items: Vec<AdviceView>,
    },
}

/// What an image cache is to be: the parameters of `CreateImageCache`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// `ImageCacheName`
    pub name: String,
    /// `Image.N`
    pub images: Vec<String>,
    /// `ImageCacheSize`, GiB
    pub size_gib: i32,
    /// `RetentionDays`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
    /// `VSwitchId`, split
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub v_switch_ids: Vec<String>,
    /// `SecurityGroupId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_group_id: Option<String>,
    /// `ZoneId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// `EipInstanceId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eip_instance_id: Option<String>,
    /// `ResourceGroupId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_group_id: Option<String>,
    /// `AutoMatchImageCache`
    pub auto_match: bool,
    /// `ImageRegistryCredential.N`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// `AcrRegistryInfo.N`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acr_instances: Vec<AcrInstance>,
    /// `Tag.N`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// `Flash`
    pub flash: bool,
    /// `PlainHttpRegistry`, split
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plain_http_registries: Vec<String>,
    /// `InsecureRegistry`, split
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub insecure_registries: Vec<String>,
    /// `StandardCopyCount`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_copies: Option<i32>,
    /// `FlashCopyCount`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash_copies: Option<i32>,
    /// `EliminationStrategy`; absent is keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elimination_strategy: Option<String>,
    /// `OsType`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_type: Option<String>,
}

/// A login of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// `Server`
    pub server: String,
    /// `UserName`
    pub user_name: String,
    /// `Password`, as a digest
    pub password: Digest,
}

/// An instance of the vendor's own registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AcrInstance {
    /// `InstanceId`
    pub instance_id: String,
    /// `InstanceName`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// `RegionId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// `Domain.N`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// `ArnService`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn_service: Option<String>,
    /// `ArnUser`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn_user: Option<String>,
}

/// What `UpdateImageCache` is to change; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Change {
    /// `ImageCacheName`
    pub name: Option<String>,
    /// `Image.N`
    pub images: Option<Vec<String>>,
    /// `ImageCacheSize`, GiB
    pub size_gib: Option<i32>,
    /// `RetentionDays`
    pub retention_days: Option<i32>,
    /// `VSwitchId`, split
    pub v_switch_ids: Option<Vec<String>>,
    /// `SecurityGroupId`
    pub security_group_id: Option<String>,
    /// `EipInstanceId`
    pub eip_instance_id: Option<String>,
    /// `ResourceGroupId`
    pub resource_group_id: Option<String>,
    /// `AutoMatchImageCache`
    pub auto_match: Option<bool>,
    /// `ImageRegistryCredential.N`
    pub credentials: Option<Vec<Credential>>,
    /// `AcrRegistryInfo.N`
    pub acr_instances: Option<Vec<AcrInstance>>,
    /// `Tag.N`; replaces all.
    pub tags: Option<BTreeMap<String, String>>,
    /// `Flash`
    pub flash: Option<bool>,
    /// `StandardCopyCount`
    pub standard_copies: Option<i32>,
    /// `FlashCopyCount`
    pub flash_copies: Option<i32>,
    /// `EliminationStrategy`; the empty text is keep.
    pub elimination_strategy: Option<String>,
}

impl Change {
    /// The spec after the change.
    pub(crate) fn applied_to(&self, spec: &Spec) -> Spec {
        let mut new = spec.clone();
        set(&mut new.name, self.name.as_ref());
        set(&mut new.images, self.images.as_ref());
        set(&mut new.size_gib, self.size_gib.as_ref());
        set(&mut new.v_switch_ids, self.v_switch_ids.as_ref());
        set(&mut new.auto_match, self.auto_match.as_ref());
        set(&mut new.credentials, self.credentials.as_ref());
        set(&mut new.acr_instances, self.acr_instances.as_ref());
        set(&mut new.tags, self.tags.as_ref());
        set(&mut new.flash, self.flash.as_ref());
        set_option(&mut new.retention_days, self.retention_days.as_ref());
        set_option(&mut new.security_group_id, self.security_group_id.as_ref());
        set_option(&mut new.eip_instance_id, self.eip_instance_id.as_ref());
        set_option(&mut new.resource_group_id, self.resource_group_id.as_ref());
        set_option(&mut new.standard_copies, self.standard_copies.as_ref());
        set_option(&mut new.flash_copies, self.flash_copies.as_ref());
        if let Some(strategy) = &self.elimination_strategy {
            new.elimination_strategy = Some(strategy.clone()).filter(|s| !s.is_empty());
        }
        new
    }
}

fn set<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn set_option<T: Clone>(place: &mut Option<T>, value: Option<&T>) {
    if value.is_some() {
        *place = value.cloned();
    }
}

/// The filters of `DescribeImageCaches`; all must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// `ImageCacheId`
    pub id: Option<String>,
    /// `ImageCacheName`
    pub name: Option<String>,
    /// `SnapshotId`
    pub snapshot_id: Option<String>,
    /// `Image`
    pub image: Option<String>,
    /// `ResourceGroupId`
    pub resource_group_id: Option<String>,
    /// `Tag.N`
    pub tags: Vec<TagFilter>,
    /// `MatchImage.N`
    pub match_images: Vec<String>,
    /// `ImageFullMatch`
    pub full_match: bool,
    /// `ImageMatchCountRequest`
    pub match_count: Option<i32>,
    /// `Limit`
    #[serde(skip)]
    pub limit: Option<i32>,
    /// `NextToken`
    #[serde(skip)]
    pub next_token: Option<String>,
}

/// A tag to look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagFilter {
    /// Its key.
    pub key: String,
    /// Its value; any when absent.
    pub value: Option<String>,
}

impl TagFilter {
    pub(crate) fn fits(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.get(&self.key).is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found))
    }
}

/// What the world remembers for tests: every effect that costs money or ends it, in the order it happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// When, in the world's time.
    pub at: Timestamp,
    /// The cache.
    pub id: String,
    /// What happened to it.
    pub effect: Effect,
}

/// An effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// A create call made it.
    Created {
        /// Token of the call.
        token: Option<String>,
        /// The request, tags included.
        spec: Box<Spec>,
    },
    /// A create call made it, a data cache.
    CreatedData {
        /// Token of the call.
        token: Option<String>,
        /// The request, tags included; secrets as digests.
        spec: Box<DataSpec>,
    },
    /// An update call changed it.
    Updated,
    /// It is gone.
    Deleted {
        /// Why.
        cause: Cause,
    },
}

/// Why a cache is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// A delete call.
    Call,
    /// Its retention is over.
    Expired,
    /// Removed for lack of quota (`LRU`).
    Eliminated,
    /// It was Failed for a day.
    FailedTooLong,
    /// By hand, behind everybody's back.
    ByHand,
}
