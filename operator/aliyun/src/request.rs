//! The calls of the port as parameters of the API.

mod data_cache;

use std::collections::BTreeMap;

use eci_api::image_cache::{EliminationStrategy, OsType};
use eci_core::cloud::{ClientToken, CloudId, CreateImageCache, PAGE_SIZE, PageToken, UpdateImageCache};

use crate::encode::Params;

pub use data_cache::{
    create_data_cache, delete_data_cache, describe_data_caches, find_data_caches, list_data_caches,
    update_data_cache,
};

/// Kind of resource in the tag actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceType {
    /// As the documentation of TagResources spells it.
    ImageCache,
    /// Spelled alike; the documentation of TagResources does not name it.
    DataCache,
}

impl ResourceType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ImageCache => "ImageCache",
            Self::DataCache => "DataCache",
        }
    }
}

/// Parameters of CreateImageCache.
pub fn create_image_cache(region: &str, call: &CreateImageCache) -> Params {
    let request = &call.request;
    let mut params = in_region(region);
    params
        .set("ClientToken", call.token.as_str())
        .set("ImageCacheName", &request.name)
        .list("Image", &request.images)
        .set("ImageCacheSize", request.size_gib)
        .set("RetentionDays", request.retention_days)
        .comma("VSwitchId", &request.v_switch_ids)
        .set("SecurityGroupId", request.security_group_id.as_ref())
        .set("EipInstanceId", request.eip_instance_id.as_ref())
        .set("ResourceGroupId", request.resource_group_id.as_ref())
        .objects("ImageRegistryCredential", &call.credentials, |params, login| {
            params
                .set("Server", &login.server)
                .set("UserName", &login.user_name)
                .secret("Password", &login.password);
        })
        .objects("AcrRegistryInfo", &request.acr_instances, |params, acr| {
            params
                .set("InstanceId", &acr.id)
                .set("InstanceName", acr.name.as_ref())
                .set("RegionId", acr.region_id.as_ref())
                .list("Domain", &acr.domains)
                .set("ArnService", acr.service_role_arn.as_ref())
                .set("ArnUser", acr.user_role_arn.as_ref());
        })
        .comma("PlainHttpRegistry", &request.plain_http_registries)
        .comma("InsecureRegistry", &request.insecure_registries)
        .set("Flash", request.flash)
        .set("AutoMatchImageCache", request.reuse_layers)
        .set("StandardCopyCount", request.standard_copies)
        .set("FlashCopyCount", request.flash_copies)
        .set("EliminationStrategy", request.elimination_strategy.and_then(elimination))
        .set("OsType", request.os_type.map(os));
    tags(&mut params, &call.tags);
    params
}

/// Parameters of DescribeImageCaches for one page of those that carry all tags.
pub fn list_image_caches(
    region: &str,
    tagged: &BTreeMap<String, String>,
    page: Option<&PageToken>,
) -> Params {
    let mut params = in_region(region);
    params.set("Limit", PAGE_SIZE).set("NextToken", page.map(|page| page.0.as_str()));
    tags(&mut params, tagged);
    params
}

/// Parameters of DescribeImageCaches for one.
pub fn describe_image_cache(region: &str, id: &CloudId) -> Params {
    let mut params = in_region(region);
    params.set("ImageCacheId", id.as_str()).set("Limit", PAGE_SIZE);
    params
}

/// Parameters of UpdateImageCache. An empty set of tags cannot be expressed and changes nothing: use UntagResources.
pub fn update_image_cache(region: &str, call: &UpdateImageCache) -> Params {
    let mut params = in_region(region);
    params
        .set("ImageCacheId", call.id.as_str())
        .set("ClientToken", call.token.as_str())
        .set("RetentionDays", call.retention_days)
        .set("EliminationStrategy", call.elimination_strategy.as_ref())
        .set("StandardCopyCount", call.standard_copies)
        .set("FlashCopyCount", call.flash_copies)
        .set("ResourceGroupId", call.resource_group_id.as_ref());
    if let Some(all) = &call.tags {
        tags(&mut params, all);
    }
    params
}

/// Parameters of DeleteImageCache.
pub fn delete_image_cache(region: &str, id: &CloudId, token: &ClientToken) -> Params {
    let mut params = in_region(region);
    params.set("ImageCacheId", id.as_str()).set("ClientToken", token.as_str());
    params
}

/// Parameters of TagResources.
pub fn tag(region: &str, type_: ResourceType, id: &CloudId, added: &BTreeMap<String, String>) -> Params {
    let mut params = resource(region, type_, id);
    tags(&mut params, added);
    params
}

/// Parameters of UntagResources.
pub fn untag(region: &str, type_: ResourceType, id: &CloudId, keys: &[String]) -> Params {
    let mut params = resource(region, type_, id);
    params.list("TagKey", keys);
    params
}

/// Parameters of ListUsage.
pub fn usage(region: &str) -> Params {
    in_region(region)
}

fn in_region(region: &str) -> Params {
    let mut params = Params::new();
    params.set("RegionId", region);
    params
}

fn resource(region: &str, type_: ResourceType, id: &CloudId) -> Params {
    let mut params = in_region(region);
    params.set("ResourceType", type_.as_str()).list("ResourceId", [id.as_str()]);
    params
}

fn tags(params: &mut Params, tags: &BTreeMap<String, String>) {
    params.objects("Tag", tags, |params, (key, value)| {
        params.set("Key", key).set("Value", value);
    });
}

/// The API has a word for one strategy only; keeping is what happens without.
fn elimination(strategy: EliminationStrategy) -> Option<&'static str> {
    match strategy {
        EliminationStrategy::Keep => None,
        EliminationStrategy::Lru => Some("LRU"),
    }
}

fn os(os: OsType) -> &'static str {
    match os {
        OsType::Linux => "Linux",
        OsType::Windows => "Windows",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(params: &Params) -> Vec<String> {
        params.sorted().into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn id() -> CloudId {
        CloudId::parse("imc-1").unwrap()
    }

    #[test]
    fn an_update_sends_only_what_changes_and_an_empty_strategy_as_empty() {
        let call = UpdateImageCache {
            id: id(),
            token: ClientToken::new("t").unwrap(),
            retention_days: Some(7),
            elimination_strategy: Some(String::new()),
            tags: Some([("k".to_owned(), "v".to_owned())].into()),
            standard_copies: None,
            flash_copies: None,
            resource_group_id: None,
        };
        assert_eq!(
            pairs(&update_image_cache("cn-hangzhou", &call)),
            [
                "ClientToken=t",
                "EliminationStrategy=",
                "ImageCacheId=imc-1",
                "RegionId=cn-hangzhou",
                "RetentionDays=7",
                "Tag.1.Key=k",
                "Tag.1.Value=v"
            ]
        );
    }

    #[test]
    fn a_page_is_asked_for_with_its_token() {
        assert_eq!(
            pairs(&list_image_caches("cn-hangzhou", &BTreeMap::new(), Some(&PageToken("AA==".into())))),
            ["Limit=20", "NextToken=AA==", "RegionId=cn-hangzhou"]
        );
    }

    #[test]
    fn tags_are_set_and_removed_by_resource() {
        assert_eq!(
            pairs(&tag(
                "cn-hangzhou",
                ResourceType::ImageCache,
                &id(),
                &[("k".to_owned(), "v".to_owned())].into()
            )),
            [
                "RegionId=cn-hangzhou",
                "ResourceId.1=imc-1",
                "ResourceType=ImageCache",
                "Tag.1.Key=k",
                "Tag.1.Value=v"
            ]
        );
        assert_eq!(
            pairs(&untag("cn-hangzhou", ResourceType::DataCache, &id(), &["a".into(), "b".into()])),
            [
                "RegionId=cn-hangzhou",
                "ResourceId.1=imc-1",
                "ResourceType=DataCache",
                "TagKey.1=a",
                "TagKey.2=b"
            ]
        );
    }
}
