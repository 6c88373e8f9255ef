//! An elastic IP address that the cloud makes for an instance and releases with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An EIP that is made for an instance and released with it. The cloud bills it while it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Eip {
    /// Bandwidth in Mbit/s, 1 to 1000; the cloud takes 5 when absent, and may allow less than 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub bandwidth: Option<i32>,
    /// Line: BGP (also when absent) or BGP_PRO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isp: Option<Isp>,
    /// What is billed: PayByBandwidth or PayByTraffic; the cloud's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge_type: Option<ChargeType>,
    /// An existing common bandwidth package that the EIP joins, `cbwp-…`.
    #[serde(rename = "commonBandwidthPackageID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 6, max = 64), regex(pattern = r"^cbwp-[a-z0-9-]+$"))]
    pub common_bandwidth_package_id: Option<String>,
    /// An existing address pool to take the EIP from, `pippool-…`. The account must be allowed to use pools.
    #[serde(rename = "addressPoolID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 64), regex(pattern = r"^pippool-[a-z0-9-]+$"))]
    pub address_pool_id: Option<String>,
}

/// Line of an EIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isp {
    /// The common line.
    #[serde(rename = "BGP")]
    Bgp,
    /// The line with less latency to mainland China.
    #[serde(rename = "BGP_PRO")]
    BgpPro,
}

/// What is billed of an EIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChargeType {
    /// The bandwidth, used or not.
    PayByBandwidth,
    /// The traffic.
    PayByTraffic,
}
