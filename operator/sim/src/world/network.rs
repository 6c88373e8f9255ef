//! The network of the account: its vSwitches.

use serde::{Deserialize, Serialize};

use super::call::Reply;
use super::error::ApiError;

/// vSwitches on a page when none is asked for (documented).
const USUAL_PAGE: i32 = 10;
/// Most vSwitches on a page (documented).
const LARGEST_PAGE: i32 = 50;

/// A vSwitch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VSwitch {
    /// `VSwitchId`
    pub id: String,
    /// The end of its zone's ID: `a` is the zone `<region>-a`.
    pub zone: String,
    /// `VpcId`
    pub vpc: String,
    /// `AvailableIpAddressCount`
    pub free: i64,
    /// `Pending` instead of `Available`.
    #[serde(default)]
    pub pending: bool,
}

impl VSwitch {
    /// What a new account has: two vSwitches of one VPC, in two zones.
    pub(super) fn usual() -> Vec<Self> {
        let one = |id: &str, zone: &str| Self {
            id: id.to_owned(),
            zone: zone.to_owned(),
            vpc: "vpc-example".to_owned(),
            free: 250,
            pending: false,
        };
        vec![one("vsw-example", "a"), one("vsw-other", "b")]
    }
}

/// Parameters of `DescribeVSwitches`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VSwitchFilter {
    /// `VSwitchId`
    pub id: Option<String>,
    /// `VpcId`
    pub vpc: Option<String>,
    /// `ZoneId`
    pub zone: Option<String>,
    /// `PageNumber`
    pub page: Option<i32>,
    /// `PageSize`
    pub page_size: Option<i32>,
}

/// Answers a question about vSwitches.
pub(super) fn describe(all: &[VSwitch], region: &str, filter: &VSwitchFilter) -> Result<Reply, ApiError> {
    let page = filter.page.unwrap_or(1);
    let size = filter.page_size.unwrap_or(USUAL_PAGE);
    if page < 1 {
        return Err(ApiError::invalid("PageNumber", "at least 1"));
    }
    if !(1..=LARGEST_PAGE).contains(&size) {
        return Err(ApiError::invalid("PageSize", "1 to 50"));
    }
    let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
    let fits = |switch: &&VSwitch| {
        is(&filter.id, &switch.id)
            && is(&filter.vpc, &switch.vpc)
            && is(&filter.zone, &format!("{region}-{}", switch.zone))
    };
    let found: Vec<&VSwitch> = all.iter().filter(fits).collect();
    let number = |n: i32| usize::try_from(n).unwrap_or_default();
    let items = found.iter().skip(number(page - 1) * number(size)).take(number(size));
    Ok(Reply::VSwitches {
        region: region.to_owned(),
        items: items.map(|switch| (*switch).clone()).collect(),
        total: found.len(),
        page,
        page_size: size,
    })
}
