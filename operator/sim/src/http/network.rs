//! The action of VPC on the wire.

use serde_json::{Value, json};

use super::params::Params;
use crate::world::ApiError;
use crate::world::call::Call;
use crate::world::network::{VSwitch, VSwitchFilter};

pub(super) fn v_switches(p: &mut Params) -> Result<Call, ApiError> {
    Ok(Call::DescribeVSwitches(Box::new(VSwitchFilter {
        id: p.text("VSwitchId"),
        vpc: p.text("VpcId"),
        zone: p.text("ZoneId"),
        page: p.int("PageNumber")?,
        page_size: p.int("PageSize")?,
    })))
}

pub(super) fn list(region: &str, items: &[VSwitch], total: usize, page: i32, page_size: i32) -> Value {
    let items: Vec<Value> = items
        .iter()
        .map(|switch| {
            json!({
                "VSwitchId": switch.id,
                "ZoneId": format!("{region}-{}", switch.zone),
                "VpcId": switch.vpc,
                "AvailableIpAddressCount": switch.free,
                "Status": if switch.pending { "Pending" } else { "Available" },
            })
        })
        .collect();
    json!({ "TotalCount": total, "PageNumber": page, "PageSize": page_size, "VSwitches": { "VSwitch": items } })
}
