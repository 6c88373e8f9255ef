//! The network: one reading action of VPC, whose list lies one wrapper deep.

use eci_core::cloud::{CloudError, CloudId, Meaning};
use eci_core::network::{Network, PAGE_SIZE, VSwitch, VSwitchPage};
use serde::Deserialize;

use crate::action::{Action, Service};
use crate::client::{Client, failure};
use crate::config::{Config, ConfigError};
use crate::encode::Params;
use crate::endpoint::Endpoint;
use crate::lenient;

/// Client of the network in one region. Makes no connection before the first call.
#[derive(Debug)]
pub struct NetworkClient(Client);

impl NetworkClient {
    /// Makes a client; an endpoint in the configuration is one of VPC.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Client::of(Service::Vpc, config).map(Self)
    }

    /// Where calls go.
    pub fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }
}

impl Network for NetworkClient {
    async fn v_switches(&self, page: u32) -> Result<VSwitchPage, CloudError> {
        let action = Action::DescribeVSwitches;
        let reply: Reply = self.0.call(action, &request(self.0.region(), page)).await?;
        convert(reply, page)
            .ok_or_else(|| failure(action, Meaning::Unknown, "the answer has no list of vSwitches"))
    }
}

fn request(region: &str, page: u32) -> Params {
    let mut params = Params::new();
    params.set("RegionId", region).set("PageNumber", page).set("PageSize", PAGE_SIZE);
    params
}

/// Reply to DescribeVSwitches, field for field as documented, every field optional.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reply {
    #[serde(deserialize_with = "lenient::integer")]
    total_count: Option<i64>,
    #[serde(rename = "VSwitches", deserialize_with = "lenient::object")]
    v_switches: Wrapper,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wrapper {
    /// `None` when the field is missing or no list.
    #[serde(rename = "VSwitch", deserialize_with = "lenient::objects")]
    v_switch: Option<Vec<One>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct One {
    #[serde(rename = "VSwitchId", deserialize_with = "lenient::text")]
    v_switch_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    zone_id: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    vpc_id: Option<String>,
    #[serde(deserialize_with = "lenient::integer")]
    available_ip_address_count: Option<i64>,
    /// `Pending` or `Available`.
    #[serde(deserialize_with = "lenient::text")]
    status: Option<String>,
}

/// A page; `None` without a list. vSwitches without an ID are left out.
fn convert(reply: Reply, page: u32) -> Option<VSwitchPage> {
    let items = reply.v_switches.v_switch?;
    let id = |text: Option<String>| text.and_then(|text| CloudId::parse(&text).ok());
    let seen = i64::from(page).saturating_mul(i64::from(PAGE_SIZE));
    // An empty page is the end, whatever the total says.
    let more = !items.is_empty() && reply.total_count.is_some_and(|total| total > seen);
    let items = items.into_iter().filter_map(|one| {
        Some(VSwitch {
            id: id(one.v_switch_id)?,
            zone: id(one.zone_id),
            vpc: id(one.vpc_id),
            free: one.available_ip_address_count.map(|free| free.max(0)),
            available: one.status.as_deref().is_none_or(|status| status != "Pending"),
        })
    });
    Some(VSwitchPage { items: items.collect(), next: if more { page.checked_add(1) } else { None } })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::read;

    #[test]
    fn vswitches_are_asked_for_page_by_page() {
        let params = request("cn-hangzhou", 2);
        let pairs: Vec<_> =
            params.sorted().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["PageNumber=2", "PageSize=50", "RegionId=cn-hangzhou"]);
    }

    #[test]
    fn a_documented_reply_becomes_a_page() {
        let body = br#"{"RequestId":"R","TotalCount":51,"PageNumber":1,"PageSize":50,"VSwitches":{"VSwitch":[
            {"VSwitchId":"vsw-1","ZoneId":"cn-hangzhou-i","VpcId":"vpc-1","AvailableIpAddressCount":250,
             "Status":"Available","CidrBlock":"192.168.0.0/24"},
            {"VSwitchId":"vsw-2","AvailableIpAddressCount":"-3","Status":"Pending"}, {"VSwitchId":"no id"}, 7]}}"#;
        let page = convert(read(body).unwrap(), 1).unwrap();
        let id = |text: &str| CloudId::parse(text).unwrap();
        let full = VSwitch {
            id: id("vsw-1"),
            zone: Some(id("cn-hangzhou-i")),
            vpc: Some(id("vpc-1")),
            free: Some(250),
            available: true,
        };
        let bare = VSwitch { id: id("vsw-2"), zone: None, vpc: None, free: Some(0), available: false };
        assert_eq!((page.items, page.next), (vec![full, bare], Some(2)));
    }

    #[test]
    fn pages_end_whatever_the_total_says() {
        let reply = |total: i64, items: &str| {
            let body = format!(r#"{{"TotalCount":{total},"VSwitches":{{"VSwitch":{items}}}}}"#);
            read::<Reply>(body.as_bytes()).unwrap()
        };
        assert_eq!(convert(reply(50, r#"[{"VSwitchId":"a"}]"#), 1).unwrap().next, None);
        assert_eq!(convert(reply(51, r#"[{"VSwitchId":"a"}]"#), 1).unwrap().next, Some(2));
        assert_eq!(convert(reply(51, "[]"), 1).unwrap().next, None);
        assert!(convert(read(b"{}").unwrap(), 1).is_none(), "no list is no empty list");
    }

    proptest! {
        #[test]
        fn no_total_and_no_page_goes_round_in_a_circle(total in any::<i64>(), page in any::<u32>()) {
            let body = format!(r#"{{"TotalCount":{total},"VSwitches":{{"VSwitch":[{{"VSwitchId":"a"}}]}}}}"#);
            let next = convert(read(body.as_bytes()).unwrap(), page).unwrap().next;
            prop_assert!(next.is_none_or(|next| next > page));
        }
    }
}
