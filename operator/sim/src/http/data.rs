//! The actions on data caches on the wire.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::actions::{event, tag_filters, tags, time};
use super::params::Params;
use crate::world::ApiError;
use crate::world::call::{Call, DataId};
use crate::world::data_cache::{DataChange, DataFilter, DataSpec, DataView, EipSpec, Source};
use crate::world::settings::OptionKeys;

/// Size of a cache when none is asked for, GiB (documented).
const DEFAULT_SIZE_GIB: i32 = 20;
/// Bucket of a cache when none is asked for (documented).
const DEFAULT_BUCKET: &str = "default";

pub(super) fn create(p: &mut Params) -> Result<Call, ApiError> {
    let spec = DataSpec {
        name: p.required("Name")?,
        bucket: p.text("Bucket").unwrap_or_else(|| DEFAULT_BUCKET.to_owned()),
        path: p.required("Path")?,
        size_gib: p.int("Size")?.unwrap_or(DEFAULT_SIZE_GIB),
        v_switch_ids: p.comma("VSwitchId").unwrap_or_default(),
        security_group_id: p.text("SecurityGroupId"),
        source: source(p)?.unwrap_or_default(),
        retention_days: p.int("RetentionDays")?,
        resource_group_id: p.text("ResourceGroupId"),
        eip_instance_id: p.text("EipInstanceId"),
        eip: eip(p)?,
        tags: tags(p)?,
    };
    Ok(Call::CreateDataCache { token: p.text("ClientToken"), spec: Box::new(spec) })
}

pub(super) fn update(p: &mut Params) -> Result<Call, ApiError> {
    let change = DataChange {
        bucket: p.text("Bucket"),
        name: p.text("Name"),
        size_gib: p.int("Size")?,
        v_switch_ids: p.comma("VSwitchId"),
        security_group_id: p.text("SecurityGroupId"),
        source: source(p)?,
        retention_days: p.int("RetentionDays")?,
        resource_group_id: p.text("ResourceGroupId"),
        eip_instance_id: p.text("EipInstanceId"),
        eip: eip(p)?,
        tags: Some(tags(p)?).filter(|tags| !tags.is_empty()),
    };
    let id = p.required("DataCacheId")?;
    Ok(Call::UpdateDataCache { id, token: p.text("ClientToken"), change: Box::new(change) })
}

pub(super) fn describe(p: &mut Params) -> Result<Call, ApiError> {
    Ok(Call::DescribeDataCaches(Box::new(DataFilter {
        ids: p.list("DataCacheId")?,
        bucket: p.text("Bucket"),
        path: p.text("Path"),
        resource_group_id: p.text("ResourceGroupId"),
        tags: tag_filters(p)?,
        limit: p.int("Limit")?,
        next_token: p.text("NextToken"),
    })))
}

pub(super) fn delete(p: &mut Params) -> Result<Call, ApiError> {
    let which = match p.text("DataCacheId") {
        Some(id) => DataId::Id(id),
        None => DataId::Place { bucket: p.required("Bucket")?, path: p.required("Path")? },
    };
    Ok(Call::DeleteDataCache { which, token: p.text("ClientToken") })
}

/// The source, if the call names one.
fn source(p: &mut Params) -> Result<Option<Source>, ApiError> {
    let type_ = p.text("DataSource.Type");
    let options = p.map("DataSource.Options");
    if type_.is_none() && options.is_empty() {
        return Ok(None);
    }
    let read: Result<BTreeMap<_, _>, ApiError> =
        options.into_iter().map(|(key, value)| Ok((read_key(&key, p.option_keys())?, value))).collect();
    Ok(Some(Source::new(type_.unwrap_or_default(), read?)))
}

/// The key of an option.
fn read_key(written: &str, keys: OptionKeys) -> Result<String, ApiError> {
    let name = format!("DataSource.Options.{written}");
    let prefixed = || {
        let (length, key) = written.strip_prefix('#')?.split_once('#')?;
        (length.parse() == Ok(key.len())).then(|| key.to_owned())
    };
    match keys {
        OptionKeys::LengthPrefixed => {
            prefixed().ok_or_else(|| ApiError::invalid(&name, "a key is written #<length>#<key>"))
        }
        OptionKeys::Plain if written.starts_with('#') => {
            Err(ApiError::invalid(&name, "no source has such an option"))
        }
        OptionKeys::Plain => Ok(written.to_owned()),
    }
}

fn eip(p: &mut Params) -> Result<Option<EipSpec>, ApiError> {
    let eip = EipSpec {
        bandwidth: p.int("EipCreateParam.Bandwidth")?,
        common_bandwidth_package: p.text("EipCreateParam.CommonBandwidthPackage"),
        isp: p.text("EipCreateParam.ISP"),
        internet_charge_type: p.text("EipCreateParam.InternetChargeType"),
        public_ip_address_pool_id: p.text("EipCreateParam.PublicIpAddressPoolId"),
    };
    Ok(Some(eip).filter(|eip| *eip != EipSpec::default()))
}

/// A data cache of a reply.
pub(super) fn data_cache(view: &DataView) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        // The cloud leaves out what it has no value for.
        if !value.is_null() {
            body.insert(name.to_owned(), value);
        }
    };
    put("DataCacheId", json!(view.id));
    put("Name", json!(view.name));
    put("Bucket", json!(view.bucket));
    put("Path", json!(view.path));
    put("RegionId", json!(view.region));
    put("ResourceGroupId", json!(view.resource_group_id));
    put("Status", json!(view.status));
    put("Progress", json!(view.progress));
    put("Size", json!(view.size_gib));
    put("CreationTime", json!(time(view.created)));
    put("ExpireDateTime", json!(view.expires.map(time)));
    put("LastMatchedTime", json!(view.last_matched.map(time)));
    put("ContainerGroupId", json!(view.container_group_id));
    put("SnapshotId", json!(view.snapshot_id));
    put("DataSource", json!({ "Type": view.source_type, "Options": view.source_options }));
    put("Tags", view.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect());
    put("Events", view.events.iter().map(event).collect());
    Value::Object(body)
}
