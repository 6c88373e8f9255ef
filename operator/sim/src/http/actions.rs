//! Actions on the wire: parameters to calls, replies to JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::params::Params;
use super::{data, market, network};
use crate::secret::Digest;
use crate::world::ApiError;
use crate::world::call::{AcrInstance, Call, Change, Credential, Filter, Reply, Spec, TagFilter};
use crate::world::image_cache::{Event, View};
use crate::world::settings::Settings;

/// Size of a cache when none is asked for, GiB (documented).
const DEFAULT_SIZE_GIB: i32 = 20;

/// The resource types that can be tagged, as the documentation of TagResources spells the first, and how their IDs begin.
const RESOURCE_TYPES: [(&str, &str); 2] = [("ImageCache", "imc-"), ("DataCache", "edc-")];

/// Version of the API of ECI.
const ECI: &str = "2018-08-08";

/// Version of the API of ECS.
const ECS: &str = "2014-05-26";

/// Version of the API of VPC.
const VPC: &str = "2016-04-28";

/// Every action that is answered, and the version of its API.
pub(crate) const KNOWN: [(&str, &str); 16] = [
    ("CreateImageCache", ECI),
    ("DescribeImageCaches", ECI),
    ("UpdateImageCache", ECI),
    ("DeleteImageCache", ECI),
    ("CreateDataCache", ECI),
    ("DescribeDataCaches", ECI),
    ("UpdateDataCache", ECI),
    ("DeleteDataCache", ECI),
    ("ListUsage", ECI),
    ("TagResources", ECI),
    ("UntagResources", ECI),
    ("ListTagResources", ECI),
    ("DescribeRegions", ECI),
    ("DescribeSpotPriceHistory", ECS),
    ("DescribeSpotAdvice", ECS),
    ("DescribeVSwitches", VPC),
];

/// Reads a call.
pub(crate) fn decode(
    action: &str,
    version: &str,
    parameters: BTreeMap<String, String>,
    settings: &Settings,
) -> Result<Call, ApiError> {
    let region = settings.region.as_str();
    let mut p = Params::new(parameters).with_option_keys(settings.option_keys);
    let is_known = KNOWN.contains(&(action, version));
    let read = match action {
        _ if !is_known => {
            return Err(ApiError::new(
                "InvalidAction.NotFound",
                "The specified action or version is not found.",
            ));
        }
        "CreateImageCache" => create,
        "DescribeImageCaches" => describe,
        "UpdateImageCache" => update,
        "DeleteImageCache" => delete,
        "CreateDataCache" => data::create,
        "DescribeDataCaches" => data::describe,
        "UpdateDataCache" => data::update,
        "DeleteDataCache" => data::delete,
        "ListUsage" => |_: &mut Params| Ok(Call::ListUsage),
        "TagResources" => tag,
        "UntagResources" => untag,
        "ListTagResources" => list_tags,
        "DescribeSpotPriceHistory" => market::history,
        "DescribeSpotAdvice" => market::advice,
        "DescribeVSwitches" => network::v_switches,
        _ => |_: &mut Params| Ok(Call::DescribeRegions),
    };
    match p.text("RegionId") {
        Some(given) if given == region => {}
        Some(_) => {
            return Err(ApiError::new(
                "InvalidRegionId.NotFound",
                format!("This is the endpoint of {region}."),
            ));
        }
        None if action == "DescribeRegions" => {}
        None => return Err(ApiError::missing("RegionId")),
    }
    let call = read(&mut p)?;
    p.end()?;
    Ok(call)
}

fn create(p: &mut Params) -> Result<Call, ApiError> {
    let spec = Spec {
        name: p.required("ImageCacheName")?,
        images: p.list("Image")?,
        size_gib: p.int("ImageCacheSize")?.unwrap_or(DEFAULT_SIZE_GIB),
        retention_days: p.int("RetentionDays")?,
        v_switch_ids: p.comma("VSwitchId").unwrap_or_default(),
        security_group_id: p.text("SecurityGroupId"),
        zone_id: p.text("ZoneId"),
        eip_instance_id: p.text("EipInstanceId"),
        resource_group_id: p.text("ResourceGroupId"),
        auto_match: p.boolean("AutoMatchImageCache")?.unwrap_or_default(),
        credentials: credentials(p)?,
        acr_instances: acr_instances(p)?,
        tags: tags(p)?,
        flash: p.boolean("Flash")?.unwrap_or_default(),
        plain_http_registries: p.comma("PlainHttpRegistry").unwrap_or_default(),
        insecure_registries: p.comma("InsecureRegistry").unwrap_or_default(),
        standard_copies: p.int("StandardCopyCount")?,
        flash_copies: p.int("FlashCopyCount")?,
        elimination_strategy: p.text("EliminationStrategy"),
        os_type: p.text("OsType"),
    };
    Ok(Call::CreateImageCache { token: p.text("ClientToken"), spec: Box::new(spec) })
}

fn update(p: &mut Params) -> Result<Call, ApiError> {
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let change = Change {
        name: p.text("ImageCacheName"),
        images: some(p.list("Image")?),
        size_gib: p.int("ImageCacheSize")?,
        retention_days: p.int("RetentionDays")?,
        v_switch_ids: p.comma("VSwitchId"),
        security_group_id: p.text("SecurityGroupId"),
        eip_instance_id: p.text("EipInstanceId"),
        resource_group_id: p.text("ResourceGroupId"),
        auto_match: p.boolean("AutoMatchImageCache")?,
        credentials: Some(credentials(p)?).filter(|list| !list.is_empty()),
        acr_instances: Some(acr_instances(p)?).filter(|list| !list.is_empty()),
        tags: Some(tags(p)?).filter(|tags| !tags.is_empty()),
        flash: p.boolean("Flash")?,
        standard_copies: p.int("StandardCopyCount")?,
        flash_copies: p.int("FlashCopyCount")?,
        elimination_strategy: p.raw("EliminationStrategy"),
    };
    let id = p.required("ImageCacheId")?;
    Ok(Call::UpdateImageCache { id, token: p.text("ClientToken"), change: Box::new(change) })
}

fn describe(p: &mut Params) -> Result<Call, ApiError> {
    Ok(Call::DescribeImageCaches(Box::new(Filter {
        id: p.text("ImageCacheId"),
        name: p.text("ImageCacheName"),
        snapshot_id: p.text("SnapshotId"),
        image: p.text("Image"),
        resource_group_id: p.text("ResourceGroupId"),
        tags: tag_filters(p)?,
        match_images: p.list("MatchImage")?,
        full_match: p.boolean("ImageFullMatch")?.unwrap_or_default(),
        match_count: p.int("ImageMatchCountRequest")?,
        limit: p.int("Limit")?,
        next_token: p.text("NextToken"),
    })))
}

fn delete(p: &mut Params) -> Result<Call, ApiError> {
    Ok(Call::DeleteImageCache { id: p.required("ImageCacheId")?, token: p.text("ClientToken") })
}

fn tag(p: &mut Params) -> Result<Call, ApiError> {
    Ok(Call::TagResources { ids: resources(p)?, tags: tags(p)? })
}

fn untag(p: &mut Params) -> Result<Call, ApiError> {
    // The SDK knows a token here, and an untag repeats without harm.
    p.text("ClientToken");
    let ids = resources(p)?;
    let keys = p.list("TagKey")?;
    let keys = match p.boolean("All")? {
        Some(true) if keys.is_empty() => None,
        _ if keys.is_empty() => return Err(ApiError::missing("TagKey.1")),
        _ => Some(keys),
    };
    Ok(Call::UntagResources { ids, keys })
}

fn list_tags(p: &mut Params) -> Result<Call, ApiError> {
    // A page always ends between two resources, so its size is ours.
    p.int("Limit")?;
    let ids = resources(p)?;
    Ok(Call::ListTagResources { ids, tags: tag_filters(p)?, next_token: p.text("NextToken") })
}

/// The resources of a call: all of the type that it names.
fn resources(p: &mut Params) -> Result<Vec<String>, ApiError> {
    let type_ = p.required("ResourceType")?;
    let Some((_, start)) = RESOURCE_TYPES.iter().find(|(known, _)| *known == type_) else {
        return Err(ApiError::invalid("ResourceType", "only ImageCache and DataCache are known here"));
    };
    let ids = p.list("ResourceId")?;
    let others = RESOURCE_TYPES.iter().filter(|(_, other)| other != start);
    let is_other = |id: &String| others.clone().any(|(_, other)| id.starts_with(other));
    match ids.iter().find(|id| is_other(id)) {
        Some(id) => Err(ApiError::invalid("ResourceId", &format!("{id} is no {type_}"))),
        None => Ok(ids),
    }
}

fn type_of(id: &str) -> &'static str {
    RESOURCE_TYPES.iter().find(|(_, start)| id.starts_with(start)).map_or("ImageCache", |(type_, _)| type_)
}

pub(super) fn tags(p: &mut Params) -> Result<BTreeMap<String, String>, ApiError> {
    let pairs = p.objects("Tag", |tag| Ok((tag.required("Key")?, tag.raw("Value").unwrap_or_default())))?;
    let count = pairs.len();
    let tags: BTreeMap<String, String> = pairs.into_iter().collect();
    if tags.len() == count { Ok(tags) } else { Err(ApiError::invalid("Tag.N.Key", "a key is there twice")) }
}

pub(super) fn tag_filters(p: &mut Params) -> Result<Vec<TagFilter>, ApiError> {
    p.objects("Tag", |tag| Ok(TagFilter { key: tag.required("Key")?, value: tag.text("Value") }))
}

fn credentials(p: &mut Params) -> Result<Vec<Credential>, ApiError> {
    p.objects("ImageRegistryCredential", |login| {
        Ok(Credential {
            server: login.required("Server")?,
            user_name: login.required("UserName")?,
            password: Digest::of(&login.required("Password")?),
        })
    })
}

fn acr_instances(p: &mut Params) -> Result<Vec<AcrInstance>, ApiError> {
    p.objects("AcrRegistryInfo", |acr| {
        Ok(AcrInstance {
            instance_id: acr.required("InstanceId")?,
            instance_name: acr.text("InstanceName"),
            region_id: acr.text("RegionId"),
            domains: acr.list("Domain")?,
            arn_service: acr.text("ArnService"),
            arn_user: acr.text("ArnUser"),
        })
    })
}

/// Writes a reply.
pub(crate) fn encode(reply: Reply, request_id: &str) -> Value {
    let mut body = match reply {
        Reply::Created { id, container_group_id } => {
            json!({ "ImageCacheId": id, "ContainerGroupId": container_group_id })
        }
        Reply::ImageCaches { items, next_token, total } => json!({
            "ImageCaches": items.iter().map(image_cache).collect::<Vec<_>>(),
            "NextToken": next_token.unwrap_or_default(),
            "TotalCount": total,
        }),
        Reply::CreatedData { id } => json!({ "DataCacheId": id }),
        Reply::DataCaches { items, next_token, total } => json!({
            "DataCaches": items.iter().map(data::data_cache).collect::<Vec<_>>(),
            "NextToken": next_token.unwrap_or_default(),
            "TotalCount": total,
        }),
        Reply::Done => json!({}),
        Reply::Usage { max_image_caches, used_image_caches, max_data_caches, used_data_caches } => json!({
            "Attributes": {
                "MaxImageCacheCount": max_image_caches,
                "UsedImageCacheCount": used_image_caches,
                "MaxDataCacheCount": max_data_caches,
                "UsedDataCacheCount": used_data_caches,
            }
        }),
        Reply::Tags { items, next_token } => json!({
            "NextToken": next_token.unwrap_or_default(),
            "TagResources": items
                .iter()
                .map(|(id, key, value)| json!({
                    "ResourceId": id,
                    "ResourceType": type_of(id),
                    "TagKey": key,
                    "TagValue": value,
                }))
                .collect::<Vec<_>>(),
        }),
        Reply::SpotPrices { currency, items, next_offset } => market::prices(&currency, &items, next_offset),
        Reply::SpotAdvice { region, items } => market::advices(&region, &items),
        Reply::VSwitches { region, items, total, page, page_size } => {
            network::list(&region, &items, total, page, page_size)
        }
        Reply::Regions { region } => {
            let zone = format!("{region}-a");
            json!({
                "Regions": [{
                    "RegionId": region,
                    "RegionEndpoint": format!("eci.{region}.aliyuncs.com"),
                    "Zones": [zone],
                    "RecommendZones": [zone],
                }]
            })
        }
    };
    body["RequestId"] = json!(request_id);
    body
}

fn image_cache(view: &View) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        // The cloud leaves out what it has no value for.
        if !value.is_null() {
            body.insert(name.to_owned(), value);
        }
    };
    put("ImageCacheId", json!(view.id));
    put("ImageCacheName", json!(view.name));
    put("RegionId", json!(view.region));
    put("ResourceGroupId", json!(view.resource_group_id));
    put("Status", json!(view.status));
    put("Progress", json!(view.progress));
    put("Images", json!(view.images));
    put("ImageCacheSize", json!(view.size_gib));
    put("CreationTime", json!(time(view.created)));
    put("ExpireDateTime", json!(view.expires.map(time)));
    put("LastMatchedTime", json!(view.last_matched.map(time)));
    put("ContainerGroupId", json!(view.container_group_id));
    put("SnapshotId", json!(view.snapshot_id));
    put("FlashSnapshotId", json!(view.flash_snapshot_id));
    put("EliminationStrategy", json!(view.elimination_strategy));
    put("Tags", view.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect());
    put("Events", view.events.iter().map(event).collect());
    Value::Object(body)
}

pub(super) fn event(event: &Event) -> Value {
    json!({
        "Type": event.type_,
        "Reason": event.reason,
        "Message": event.message,
        "Name": event.name,
        "Count": event.count,
        "FirstTimestamp": time(event.first),
        "LastTimestamp": time(event.last),
    })
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
