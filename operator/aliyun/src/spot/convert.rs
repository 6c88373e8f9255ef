//! From replies of the spot market to values of the port.

use eci_core::spot::Price;
use eci_core::spot::market::{Advice, AdviceQuery, HistoryPage, HistoryQuery, Name, PricePoint};

use super::wire;
use crate::convert::{clean, time};

/// Longest name of a currency, in characters.
const CURRENCY_LIMIT: usize = 8;

/// Longest range of interruptions, in characters.
const RANGE_LIMIT: usize = 32;

/// A page of prices; `None` without a list. Points without a zone, a time or a price, and those of other types, are
/// left out.
pub(super) fn history(
    reply: wire::PriceHistoryReply,
    query: &HistoryQuery,
    page: u32,
) -> Option<HistoryPage> {
    let points = reply.spot_prices.spot_price_type?;
    let count = points.len();
    let points: Vec<PricePoint> = points.iter().filter_map(|point| price_point(point, query)).collect();
    if points.len() < count {
        tracing::debug!(skipped = count - points.len(), "prices that cannot be read or were not asked for");
    }
    // What the last page says is documented nowhere; an offset that does not move on, or an empty page, is the end.
    let next = reply.next_offset.and_then(|next| u32::try_from(next).ok());
    let next = next.filter(|next| *next > page && count > 0);
    let currency = reply.currency.map(|text| clean(&text, CURRENCY_LIMIT)).filter(|text| !text.is_empty());
    Some(HistoryPage { currency, points, next })
}

fn price_point(point: &wire::SpotPriceType, query: &HistoryQuery) -> Option<PricePoint> {
    let zone = Name::parse(point.zone_id.as_deref()?)?;
    let other_type =
        point.instance_type.as_deref().is_some_and(|name| name.trim() != query.instance_type.as_str());
    if other_type || query.zone.as_ref().is_some_and(|wanted| *wanted != zone) {
        return None;
    }
    Some(PricePoint {
        zone,
        at: time(point.timestamp.as_deref()?)?,
        price: Price::parse(point.spot_price.as_deref()?)?,
        pay_as_you_go: point
            .origin_price
            .as_deref()
            .and_then(Price::parse)
            .filter(|price| price.micros() > 0),
    })
}

/// Advice; `None` without a list.
pub(super) fn advice(reply: wire::AdviceReply, query: &AdviceQuery) -> Option<Vec<Advice>> {
    let zones = reply.available_spot_zones.available_spot_zone?;
    let of_zone = |zone: wire::AvailableSpotZone| {
        let name = zone.zone_id.as_deref().and_then(Name::parse)?;
        let fits = query.zone.as_ref().is_none_or(|wanted| *wanted == name);
        let resources = zone.available_spot_resources.available_spot_resource.unwrap_or_default();
        fits.then(|| resources.into_iter().filter_map(move |resource| one(&name, resource)))
    };
    Some(zones.into_iter().filter_map(of_zone).flatten().collect())
}

fn one(zone: &Name, resource: wire::AvailableSpotResource) -> Option<Advice> {
    let range = resource.interrupt_rate_desc.map(|text| clean(&text, RANGE_LIMIT));
    Some(Advice {
        zone: zone.clone(),
        instance_type: Name::parse(resource.instance_type.as_deref()?)?,
        price_percent: resource
            .average_spot_discount
            .and_then(|percent| u8::try_from(percent).ok())
            .filter(|percent| *percent <= 100),
        interruption: resource.interruption_rate.as_deref().and_then(hundredths),
        interruption_range: range.filter(|text| !text.is_empty()),
    })
}

/// Hundredths of a percent from a percentage such as `1.25`.
fn hundredths(text: &str) -> Option<u16> {
    let micros = Price::parse(text.trim())?.micros();
    u16::try_from(micros / 10_000).ok().filter(|hundredths| *hundredths <= 10_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::wire::read;
    use eci_core::spot::market::Wanted;

    fn history_query() -> HistoryQuery {
        HistoryQuery {
            instance_type: Name::parse("ecs.c6.xlarge").unwrap(),
            zone: None,
            protection_hours: 1,
            from: "2026-01-02T00:00:00Z".parse().unwrap(),
            to: "2026-02-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn advice_query() -> AdviceQuery {
        AdviceQuery { wanted: Wanted::Size { vcpu: 4, memory_gib: 8 }, zone: None }
    }

    #[test]
    fn a_documented_history_becomes_a_page() {
        let body = br#"{"RequestId":"R","Currency":"CNY","NextOffset":1000,"SpotPrices":{"SpotPriceType":[
            {"InstanceType":"ecs.c6.xlarge","ZoneId":"cn-hangzhou-i","NetworkType":"vpc","IoOptimized":"optimized",
             "SpotPrice":0.085,"OriginPrice":0.79,"Timestamp":"2026-01-02T03:00:00Z"},
            {"InstanceType":"ecs.c6.xlarge","ZoneId":"cn-hangzhou-i","SpotPrice":"0.1","Timestamp":"2026-01-02T04:00Z"},
            {"InstanceType":"ecs.g6.xlarge","ZoneId":"cn-hangzhou-i","SpotPrice":9,"Timestamp":"2026-01-02T04:00:00Z"},
            {"ZoneId":"cn-hangzhou-i","SpotPrice":-1,"Timestamp":"2026-01-02T04:00:00Z"}, 7]}}"#;
        let page = history(read(body).unwrap(), &history_query(), 0).unwrap();
        let price = |text| Price::parse(text).unwrap();
        let point = |at: &str, spot, regular| PricePoint {
            zone: Name::parse("cn-hangzhou-i").unwrap(),
            at: at.parse().unwrap(),
            price: spot,
            pay_as_you_go: regular,
        };
        let expected = HistoryPage {
            currency: Some("CNY".into()),
            points: vec![
                point("2026-01-02T03:00:00Z", price("0.085"), Some(price("0.79"))),
                point("2026-01-02T04:00:00Z", price("0.1"), None),
            ],
            next: Some(1000),
        };
        assert_eq!(page, expected);
    }

    #[test]
    fn pages_end_whatever_the_last_one_says() {
        let full = r#"{"SpotPrices":{"SpotPriceType":[{}]},"NextOffset":NEXT}"#;
        for (next, page, expected) in [
            ("5", 0, Some(5)),
            ("5", 5, None),
            ("4", 5, None),
            ("0", 0, None),
            ("null", 0, None),
            ("-1", 0, None),
        ] {
            let reply = read(full.replace("NEXT", next).as_bytes()).unwrap();
            assert_eq!(history(reply, &history_query(), page).unwrap().next, expected, "{next} after {page}");
        }
        let empty = read(br#"{"SpotPrices":{"SpotPriceType":[]},"NextOffset":5}"#).unwrap();
        assert_eq!(history(empty, &history_query(), 0).unwrap().next, None);
        assert!(history(read(b"{}").unwrap(), &history_query(), 0).is_none(), "no list is no empty list");
    }

    #[test]
    fn a_documented_advice_becomes_one_for_each_zone_and_type() {
        let body = br#"{"RequestId":"R","RegionId":"cn-hangzhou","AvailableSpotZones":{"AvailableSpotZone":[
            {"ZoneId":"cn-hangzhou-i","AvailableSpotResources":{"AvailableSpotResource":[
              {"InstanceType":"ecs.c6.xlarge","AverageSpotDiscount":13,"InterruptionRate":1.25,"InterruptRateDesc":"0-3%"},
              {"InstanceType":"ecs.c7.xlarge","AverageSpotDiscount":130,"InterruptionRate":"many"}, {}]}},
            {"ZoneId":"cn-hangzhou-j"}, {}]}}"#;
        let found = advice(read(body).unwrap(), &advice_query()).unwrap();
        let one = |name, price_percent, interruption, range: Option<&str>| Advice {
            zone: Name::parse("cn-hangzhou-i").unwrap(),
            instance_type: Name::parse(name).unwrap(),
            price_percent,
            interruption,
            interruption_range: range.map(str::to_owned),
        };
        assert_eq!(
            found,
            [one("ecs.c6.xlarge", Some(13), Some(125), Some("0-3%")), one("ecs.c7.xlarge", None, None, None)]
        );
        assert!(advice(read(b"{}").unwrap(), &advice_query()).is_none(), "no list is no empty list");
    }

    #[test]
    fn other_zones_than_the_one_asked_for_are_left_out() {
        let zone = Name::parse("cn-hangzhou-j");
        let body = br#"{"AvailableSpotZones":{"AvailableSpotZone":[{"ZoneId":"cn-hangzhou-i","AvailableSpotResources":
            {"AvailableSpotResource":[{"InstanceType":"ecs.c6.xlarge"}]}}]}}"#;
        let query = AdviceQuery { zone: zone.clone(), ..advice_query() };
        assert_eq!(advice(read(body).unwrap(), &query), Some(Vec::new()));
        let body = br#"{"SpotPrices":{"SpotPriceType":[{"ZoneId":"cn-hangzhou-i","SpotPrice":1,
            "Timestamp":"2026-01-02T04:00:00Z"}]}}"#;
        let query = HistoryQuery { zone, ..history_query() };
        assert!(history(read(body).unwrap(), &query, 0).unwrap().points.is_empty());
    }

    /// JSON with the names of the API and values of any type.
    fn arbitrary_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(Value::from("2026-01-02T03:04:05Z")),
            Just(Value::from("cn-hangzhou-i")),
        ];
        let names = prop::sample::select(vec![
            "SpotPrices",
            "SpotPriceType",
            "ZoneId",
            "SpotPrice",
            "OriginPrice",
            "Timestamp",
            "InstanceType",
            "NextOffset",
            "Currency",
            "AvailableSpotZones",
            "AvailableSpotZone",
            "AvailableSpotResources",
            "AvailableSpotResource",
            "AverageSpotDiscount",
            "InterruptionRate",
            "InterruptRateDesc",
        ]);
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..8).prop_map(|pairs| pairs
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_can_be_read_and_converted(value in arbitrary_json(), page in any::<u32>()) {
            let body = serde_json::to_vec(&value).unwrap();
            if value.is_object() {
                if let Some(found) = history(read(&body).unwrap(), &history_query(), page) {
                    prop_assert!(found.next.is_none_or(|next| next > page));
                    prop_assert!(found.currency.is_none_or(|text| text.chars().count() <= CURRENCY_LIMIT));
                }
                for found in advice(read(&body).unwrap(), &advice_query()).into_iter().flatten() {
                    prop_assert!(found.interruption.is_none_or(|rate| rate <= 10_000));
                    prop_assert!(found.interruption_range.is_none_or(|text| text.chars().count() <= RANGE_LIMIT));
                }
            }
        }
    }
}
