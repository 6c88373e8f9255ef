//! Data caches: calls of the port as calls of the world, and back.

use std::collections::BTreeMap;

use eci_api::eip::{ChargeType, Eip, Isp};
use eci_core::cloud::{
    CloudError, CreateDataCache, DataCacheState, DataCacheView, Page, PageToken, Place, UpdateDataCache,
};
use secrecy::ExposeSecret as _;

use super::{SimCloud, cloud_id, cut, event, unknown};
use crate::world::call::{Call, DataId, Reply};
use crate::world::data_cache::{DataChange, DataFilter, DataSpec, DataView, EipSpec, Source};

pub(super) fn spec(call: &CreateDataCache) -> DataSpec {
    let request = &call.request;
    let mut options = request.source_options.clone();
    options.extend(call.secret_options.iter().map(|(k, v)| (k.clone(), v.expose_secret().to_owned())));
    DataSpec {
        name: request.name.clone(),
        bucket: request.bucket.clone(),
        path: request.path.clone(),
        size_gib: request.size_gib,
        v_switch_ids: request.v_switch_ids.clone(),
        security_group_id: request.security_group_id.clone(),
        source: Source::new(request.source_type.clone(), options),
        retention_days: request.retention_days,
        resource_group_id: request.resource_group_id.clone(),
        eip_instance_id: request.eip_instance_id.clone(),
        eip: request.eip.as_ref().map(eip).filter(|eip| *eip != EipSpec::default()),
        tags: call.tags.clone(),
    }
}

fn eip(eip: &Eip) -> EipSpec {
    EipSpec {
        // The cloud makes an EIP for these parameters only; 5 Mbit/s is what it takes by itself (documented).
        bandwidth: Some(eip.bandwidth.unwrap_or(5)),
        common_bandwidth_package: eip.common_bandwidth_package_id.clone(),
        isp: eip.isp.map(|isp| match isp {
            Isp::Bgp => "BGP".to_owned(),
            Isp::BgpPro => "BGP_PRO".to_owned(),
        }),
        internet_charge_type: eip.charge_type.map(|charge| match charge {
            ChargeType::PayByBandwidth => "PayByBandwidth".to_owned(),
            ChargeType::PayByTraffic => "PayByTraffic".to_owned(),
        }),
        public_ip_address_pool_id: eip.address_pool_id.clone(),
    }
}

pub(super) fn update(call: &UpdateDataCache) -> Call {
    let change = DataChange {
        retention_days: call.retention_days,
        tags: call.tags.clone().filter(|tags| !tags.is_empty()),
        resource_group_id: call.resource_group_id.clone(),
        ..DataChange::default()
    };
    let token = Some(call.token.as_str().to_owned());
    Call::UpdateDataCache { id: call.id.to_string(), token, change: Box::new(change) }
}

pub(super) fn delete(id: &str, token: &str) -> Call {
    Call::DeleteDataCache { which: DataId::Id(id.to_owned()), token: Some(token.to_owned()) }
}

pub(super) fn tagged(tags: &BTreeMap<String, String>, page: Option<&PageToken>) -> DataFilter {
    DataFilter {
        tags: super::tag_filters(tags),
        next_token: page.map(|page| page.0.clone()),
        ..DataFilter::default()
    }
}

pub(super) fn at(place: &Place) -> DataFilter {
    DataFilter { bucket: Some(place.bucket.clone()), path: Some(place.path.clone()), ..DataFilter::default() }
}

impl SimCloud {
    pub(super) async fn describe_data(&self, filter: DataFilter) -> Result<Page<DataCacheView>, CloudError> {
        match self.call(Call::DescribeDataCaches(Box::new(filter))).await? {
            Reply::DataCaches { items, next_token, .. } => Ok(Page {
                items: items.into_iter().map(view).collect::<Result<_, _>>()?,
                next: next_token.map(PageToken),
            }),
            _ => Err(unknown("DescribeDataCaches", "the answer belongs to another call")),
        }
    }
}

fn view(view: DataView) -> Result<DataCacheView, CloudError> {
    Ok(DataCacheView {
        id: cloud_id("DescribeDataCaches", &view.id)?,
        name: cut(&view.name),
        place: Place::new(&view.bucket, &view.path),
        state: DataCacheState::parse(&view.status),
        progress_percent: view.progress.trim_end_matches('%').parse().ok(),
        size_gib: Some(view.size_gib),
        snapshot_id: view.snapshot_id,
        container_group_id: Some(view.container_group_id),
        creation_time: Some(view.created),
        expiration_time: view.expires,
        last_matched_time: view.last_matched,
        tags: view.tags,
        events: view.events.iter().map(event).collect(),
    })
}
