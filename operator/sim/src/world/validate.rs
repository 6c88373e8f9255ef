//! What the API refuses before it looks at anything.

use std::collections::BTreeMap;

use super::ApiError;
use super::call::{Call, Change, Spec};
use super::data_cache::{DataChange, DataSpec};
use super::settings::Settings;

/// Longest client token, ASCII characters (documented).
const MAX_TOKEN: usize = 64;
/// Most images, and most images to match (schema; another page of the documentation says 20).
const MAX_IMAGES: usize = 100;
/// Most registry logins (documented).
const MAX_CREDENTIALS: usize = 10;
/// Most tags (documented).
const MAX_TAGS: usize = 20;
/// Longest key or value of a tag, characters (documented).
const MAX_TAG_TEXT: usize = 128;
/// Most vSwitches (documented).
const MAX_V_SWITCHES: usize = 10;

pub(super) fn call(call: &Call, settings: &Settings) -> Result<(), ApiError> {
    if let Some(token) = call.token()
        && !(token.is_ascii() && (1..=MAX_TOKEN).contains(&token.len()))
    {
        return Err(ApiError::invalid("ClientToken", "1 to 64 ASCII characters"));
    }
    match call {
        Call::CreateImageCache { spec, .. } => create(spec, settings),
        Call::UpdateImageCache { change, .. } => update(change),
        Call::DescribeImageCaches(filter) => {
            if filter.limit.is_some_and(|limit| limit < 1) {
                return Err(ApiError::invalid("Limit", "at least 1"));
            }
            at_most("MatchImage", filter.match_images.len(), MAX_IMAGES)
        }
        Call::CreateDataCache { spec, .. } => create_data(spec, settings),
        Call::UpdateDataCache { change, .. } => update_data(change),
        Call::DescribeDataCaches(filter) => {
            if filter.limit.is_some_and(|limit| !(1..=20).contains(&limit)) {
                return Err(ApiError::invalid("Limit", "1 to 20"));
            }
            at_most("DataCacheId", filter.ids.len(), MAX_IMAGES)
        }
        Call::TagResources { ids, tags: given } => {
            if given.is_empty() {
                return Err(ApiError::missing("Tag.1.Key"));
            }
            some_ids(ids)?;
            tags(given)
        }
        Call::UntagResources { ids, .. } => some_ids(ids),
        Call::ListTagResources { ids, tags, .. } if ids.is_empty() && tags.is_empty() => {
            Err(ApiError::missing("ResourceId.1"))
        }
        _ => Ok(()),
    }
}

fn create(spec: &Spec, settings: &Settings) -> Result<(), ApiError> {
    if settings.require_network {
        if spec.v_switch_ids.is_empty() {
            return Err(ApiError::missing("VSwitchId"));
        }
        if spec.security_group_id.is_none() {
            return Err(ApiError::missing("SecurityGroupId"));
        }
    }
    images(&spec.images)?;
    size(spec.size_gib)?;
    spec.retention_days.map_or(Ok(()), retention)?;
    at_most("VSwitchId", spec.v_switch_ids.len(), MAX_V_SWITCHES)?;
    at_most("ImageRegistryCredential", spec.credentials.len(), MAX_CREDENTIALS)?;
    elimination(spec.elimination_strategy.as_deref())?;
    tags(&spec.tags)
}

fn update(change: &Change) -> Result<(), ApiError> {
    change.images.as_deref().map_or(Ok(()), images)?;
    change.size_gib.map_or(Ok(()), size)?;
    change.retention_days.map_or(Ok(()), retention)?;
    at_most("ImageRegistryCredential", change.credentials.as_ref().map_or(0, Vec::len), MAX_CREDENTIALS)?;
    elimination(change.elimination_strategy.as_deref())?;
    change.tags.as_ref().map_or(Ok(()), tags)
}

/// The bucket that the cloud keeps for itself.
const RESERVED_BUCKET: &str = "eci-system";

fn create_data(spec: &DataSpec, settings: &Settings) -> Result<(), ApiError> {
    if settings.require_network {
        if spec.v_switch_ids.is_empty() {
            return Err(ApiError::missing("VSwitchId"));
        }
        if spec.security_group_id.is_none() {
            return Err(ApiError::missing("SecurityGroupId"));
        }
    }
    bucket(&spec.bucket)?;
    if !spec.path.starts_with('/') || spec.path.len() < 2 {
        return Err(ApiError::invalid("Path", "an absolute path"));
    }
    if spec.source.type_.is_empty() {
        return Err(ApiError::missing("DataSource.Type"));
    }
    if spec.eip.is_some() && spec.eip_instance_id.is_some() {
        return Err(ApiError::invalid("EipCreateParam", "EipInstanceId names one already"));
    }
    data_size(spec.size_gib)?;
    spec.retention_days.map_or(Ok(()), retention)?;
    at_most("VSwitchId", spec.v_switch_ids.len(), MAX_V_SWITCHES)?;
    tags(&spec.tags)
}

fn update_data(change: &DataChange) -> Result<(), ApiError> {
    change.bucket.as_deref().map_or(Ok(()), bucket)?;
    change.size_gib.map_or(Ok(()), data_size)?;
    change.retention_days.map_or(Ok(()), retention)?;
    change.tags.as_ref().map_or(Ok(()), tags)
}

fn bucket(name: &str) -> Result<(), ApiError> {
    if name == RESERVED_BUCKET { Err(ApiError::invalid("Bucket", "it is reserved")) } else { Ok(()) }
}

fn data_size(gib: i32) -> Result<(), ApiError> {
    if (20..=32_768).contains(&gib) { Ok(()) } else { Err(ApiError::invalid("Size", "20 to 32768 GiB")) }
}

fn images(images: &[String]) -> Result<(), ApiError> {
    if images.is_empty() {
        return Err(ApiError::missing("Image.1"));
    }
    at_most("Image", images.len(), MAX_IMAGES)
}

fn size(gib: i32) -> Result<(), ApiError> {
    if (20..=32_768).contains(&gib) {
        Ok(())
    } else {
        Err(ApiError::invalid("ImageCacheSize", "20 to 32768 GiB"))
    }
}

fn retention(days: i32) -> Result<(), ApiError> {
    if days >= 1 { Ok(()) } else { Err(ApiError::invalid("RetentionDays", "at least 1")) }
}

fn elimination(strategy: Option<&str>) -> Result<(), ApiError> {
    match strategy {
        None | Some("" | "LRU") => Ok(()),
        Some(_) => Err(ApiError::invalid("EliminationStrategy", "LRU or nothing")),
    }
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    at_most("Tag", tags.len(), MAX_TAGS)?;
    for (key, value) in tags {
        let reserved = |text: &str| text.starts_with("aliyun") || text.starts_with("acs:");
        let address = |text: &str| text.contains("http://") || text.contains("https://");
        let long = |text: &str| text.chars().count() > MAX_TAG_TEXT;
        if key.is_empty() || reserved(key) || [key, value].into_iter().any(|t| address(t) || long(t)) {
            return Err(ApiError::invalid(
                "Tag",
                &format!("the tag with the key {key:?} breaks the rules for tags"),
            ));
        }
    }
    Ok(())
}

fn some_ids(ids: &[String]) -> Result<(), ApiError> {
    if ids.is_empty() { Err(ApiError::missing("ResourceId.1")) } else { Ok(()) }
}

fn at_most(parameter: &str, count: usize, most: usize) -> Result<(), ApiError> {
    if count <= most {
        Ok(())
    } else {
        Err(ApiError::invalid(parameter, &format!("at most {most}, and there are {count}")))
    }
}
