//! The calls of the spot market as parameters.

use eci_core::spot::market::{AdviceQuery, HistoryQuery, Name, Wanted};

use crate::encode::Params;

/// Parameters of DescribeSpotPriceHistory for one page.
pub fn price_history(region: &str, query: &HistoryQuery, page: u32) -> Params {
    let mut params = Params::new();
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    params
        .set("RegionId", region)
        // ECI instances are in a VPC; pods of Windows are not made here.
        .set("NetworkType", "vpc")
        .set("OSType", "linux")
        .set("InstanceType", query.instance_type.as_str())
        .set("ZoneId", query.zone.as_ref().map(Name::as_str))
        .set("SpotDuration", query.protection_hours)
        .set("StartTime", &time(query.from))
        .set("EndTime", &time(query.to))
        .set("Offset", page);
    params
}

/// Parameters of DescribeSpotAdvice.
pub fn advice(region: &str, query: &AdviceQuery) -> Params {
    let mut params = Params::new();
    params.set("RegionId", region).set("ZoneId", query.zone.as_ref().map(Name::as_str));
    match &query.wanted {
        Wanted::Size { vcpu, memory_gib } => params.set("Cores", *vcpu).set("Memory", *memory_gib),
        Wanted::Types(types) => params.list("InstanceTypes", types.iter().map(Name::as_str)),
    };
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(params: &Params) -> Vec<String> {
        params.sorted().into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn prices_are_asked_for_by_type_and_time() {
        let query = HistoryQuery {
            instance_type: Name::parse("ecs.c6.xlarge").unwrap(),
            zone: Name::parse("cn-hangzhou-i"),
            protection_hours: 0,
            from: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            to: "2026-02-01T03:04:05Z".parse().unwrap(),
        };
        assert_eq!(
            pairs(&price_history("cn-hangzhou", &query, 1000)),
            [
                "EndTime=2026-02-01T03:04:05Z",
                "InstanceType=ecs.c6.xlarge",
                "NetworkType=vpc",
                "OSType=linux",
                "Offset=1000",
                "RegionId=cn-hangzhou",
                "SpotDuration=0",
                "StartTime=2026-01-02T03:04:05Z",
                "ZoneId=cn-hangzhou-i",
            ]
        );
    }

    #[test]
    fn advice_is_asked_for_by_size_or_by_types() {
        let query = |wanted| AdviceQuery { wanted, zone: None };
        assert_eq!(
            pairs(&advice("cn-hangzhou", &query(Wanted::Size { vcpu: 4, memory_gib: 8 }))),
            ["Cores=4", "Memory=8", "RegionId=cn-hangzhou"]
        );
        let types = ["ecs.c6.xlarge", "ecs.c7.xlarge"].into_iter().filter_map(Name::parse).collect();
        assert_eq!(
            pairs(&advice("cn-hangzhou", &query(Wanted::Types(types)))),
            ["InstanceTypes.1=ecs.c6.xlarge", "InstanceTypes.2=ecs.c7.xlarge", "RegionId=cn-hangzhou"]
        );
    }
}
