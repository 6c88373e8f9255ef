//! The calls about data caches as parameters of the API.

use std::collections::BTreeMap;

use eci_api::eip::{ChargeType, Eip, Isp};
use eci_core::cloud::{ClientToken, CloudId, CreateDataCache, PAGE_SIZE, PageToken, Place, UpdateDataCache};

use super::{in_region, tags};
use crate::encode::{MapKeys, Params};

/// Bandwidth of an EIP that nobody gave one, Mbit/s: what the cloud takes by itself (vendor's documentation). Sent all the
/// same, for an EIP is made only when some parameter of it is there.
const EIP_BANDWIDTH: i32 = 5;

/// Parameters of CreateDataCache.
pub fn create_data_cache(region: &str, call: &CreateDataCache, keys: MapKeys) -> Params {
    let request = &call.request;
    let mut params = in_region(region);
    params
        .set("ClientToken", call.token.as_str())
        .set("Name", &request.name)
        .set("Bucket", &request.bucket)
        .set("Path", &request.path)
        .set("Size", request.size_gib)
        .set("RetentionDays", request.retention_days)
        .comma("VSwitchId", &request.v_switch_ids)
        .set("SecurityGroupId", request.security_group_id.as_ref())
        .set("EipInstanceId", request.eip_instance_id.as_ref())
        .set("ResourceGroupId", request.resource_group_id.as_ref())
        .object("DataSource", |source| {
            source.set("Type", &request.source_type).map("Options", &request.source_options, keys);
            source.secret_map("Options", &call.secret_options, keys);
        });
    if let Some(eip) = &request.eip {
        eip_to_make(&mut params, eip);
    }
    tags(&mut params, &call.tags);
    params
}

fn eip_to_make(params: &mut Params, eip: &Eip) {
    let isp = eip.isp.map(|isp| match isp {
        Isp::Bgp => "BGP",
        Isp::BgpPro => "BGP_PRO",
    });
    let charge = eip.charge_type.map(|charge| match charge {
        ChargeType::PayByBandwidth => "PayByBandwidth",
        ChargeType::PayByTraffic => "PayByTraffic",
    });
    params.object("EipCreateParam", |params| {
        params
            .set("Bandwidth", eip.bandwidth.unwrap_or(EIP_BANDWIDTH))
            .set("CommonBandwidthPackage", eip.common_bandwidth_package_id.as_ref())
            .set("ISP", isp)
            .set("InternetChargeType", charge)
            .set("PublicIpAddressPoolId", eip.address_pool_id.as_ref());
    });
}

/// Parameters of DescribeDataCaches for one page of those that carry all tags.
pub fn list_data_caches(region: &str, tagged: &BTreeMap<String, String>, page: Option<&PageToken>) -> Params {
    let mut params = in_region(region);
    params.set("Limit", PAGE_SIZE).set("NextToken", page.map(|page| page.0.as_str()));
    tags(&mut params, tagged);
    params
}

/// Parameters of DescribeDataCaches for some by ID.
pub fn describe_data_caches<'a>(region: &str, ids: impl IntoIterator<Item = &'a CloudId>) -> Params {
    let mut params = in_region(region);
    params.list("DataCacheId", ids.into_iter().map(CloudId::as_str)).set("Limit", PAGE_SIZE);
    params
}

/// Parameters of DescribeDataCaches for what is at a place.
pub fn find_data_caches(region: &str, place: &Place) -> Params {
    let mut params = in_region(region);
    params.set("Bucket", &place.bucket).set("Path", &place.path).set("Limit", PAGE_SIZE);
    params
}

/// Parameters of UpdateDataCache. An empty set of tags cannot be expressed and changes nothing: use UntagResources.
pub fn update_data_cache(region: &str, call: &UpdateDataCache) -> Params {
    let mut params = in_region(region);
    params
        .set("DataCacheId", call.id.as_str())
        .set("ClientToken", call.token.as_str())
        .set("RetentionDays", call.retention_days)
        .set("ResourceGroupId", call.resource_group_id.as_ref());
    if let Some(all) = &call.tags {
        tags(&mut params, all);
    }
    params
}

/// Parameters of DeleteDataCache, by ID: what is at a place may be another's by now.
pub fn delete_data_cache(region: &str, id: &CloudId, token: &ClientToken) -> Params {
    let mut params = in_region(region);
    params.set("DataCacheId", id.as_str()).set("ClientToken", token.as_str());
    params
}
