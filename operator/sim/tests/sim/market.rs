//! The spot market of the world: what it costs, and what it refuses.

use eci_sim::Settings;
use eci_sim::world::call::{Call, Reply};
use eci_sim::world::market::{AdviceFilter, AdviceView, HistoryFilter, LastOffset, PriceRule, PriceView};
use eci_sim::world::{ApiError, World};
use jiff::{SignedDuration, Timestamp};

fn now() -> Timestamp {
    "2026-02-01T12:30:00Z".parse().unwrap()
}

fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn world(seed: u64, change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = Settings::default();
    change(&mut settings);
    World::new(seed, settings)
}

fn of(kind: &str) -> HistoryFilter {
    HistoryFilter {
        network_type: "vpc".to_owned(),
        instance_type: kind.to_owned(),
        zone: Some("cn-hangzhou-a".to_owned()),
        from: Some(ago(30 * 24)),
        to: Some(now()),
        ..HistoryFilter::default()
    }
}

fn page(world: &mut World, filter: HistoryFilter) -> Result<(Vec<PriceView>, Option<usize>), ApiError> {
    match world.call(now(), &Call::DescribeSpotPriceHistory(Box::new(filter)))? {
        Reply::SpotPrices { items, next_offset, .. } => Ok((items, next_offset)),
        other => panic!("{other:?}"),
    }
}

fn advice(world: &mut World, filter: AdviceFilter) -> Result<Vec<AdviceView>, ApiError> {
    match world.call(now(), &Call::DescribeSpotAdvice(Box::new(filter)))? {
        Reply::SpotAdvice { items, .. } => Ok(items),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_price_for_each_hour_comes_from_the_seed_and_never_exceeds_the_regular_one() {
    let (prices, next) = page(&mut world(1, |_| ()), of("ecs.c6.xlarge")).unwrap();
    assert_eq!((prices.len(), next), (720, Some(0)));
    assert_eq!(prices[0].at, "2026-02-01T12:00:00Z".parse().unwrap(), "the newest first");
    for price in &prices {
        assert!((1..=price.regular).contains(&price.spot), "{price:?}");
        assert_eq!(price.spot % 1_000, 0, "whole thousandths");
    }
    let spots = |seed| page(&mut world(seed, |_| ()), of("ecs.c6.xlarge")).unwrap().0;
    assert_eq!(spots(1), prices);
    assert_ne!(spots(2), prices);
    let distinct: std::collections::BTreeSet<i64> = prices.iter().map(|price| price.spot).collect();
    assert!(distinct.len() > 5, "it moves: {distinct:?}");
}

#[test]
fn what_the_last_page_says_and_the_order_are_switches() {
    for (last_offset, at_end) in
        [(LastOffset::Zero, Some(0)), (LastOffset::Missing, None), (LastOffset::Count, Some(720))]
    {
        let mut world = world(1, |settings| {
            settings.market.last_offset = last_offset;
            settings.market.page_size = 500;
            settings.market.newest_first = false;
        });
        let (first, next) = page(&mut world, of("ecs.c6.xlarge")).unwrap();
        assert_eq!((first.len(), next), (500, Some(500)));
        assert!(first.is_sorted_by_key(|price| price.at));
        let (second, next) =
            page(&mut world, HistoryFilter { offset: Some(500), ..of("ecs.c6.xlarge") }).unwrap();
        assert_eq!((second.len(), next), (220, at_end));
        let behind = HistoryFilter { offset: Some(720), ..of("ecs.c6.xlarge") };
        assert!(page(&mut world, behind).unwrap().0.is_empty());
    }
}

#[test]
fn a_rule_sets_a_price_for_a_type_a_zone_and_a_time() {
    let rule = PriceRule {
        instance_type: Some("ecs.c6.xlarge".into()),
        zone: None,
        since: Some(ago(2)),
        percent: 90,
    };
    let mut world = world(1, |settings| settings.market.prices = vec![rule]);
    let (prices, _) = page(&mut world, of("ecs.c6.xlarge")).unwrap();
    let set = prices.iter().filter(|price| price.spot == price.regular * 9 / 10).count();
    assert_eq!(set, 2, "12:00 and 11:00");
    let (others, _) = page(&mut world, of("ecs.c7.xlarge")).unwrap();
    assert!(others.iter().all(|price| price.spot < price.regular * 9 / 10));
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_documented_code_and_status() {
    let mut world = world(1, |_| ());
    let base = || of("ecs.c6.xlarge");
    for (filter, code) in [
        (HistoryFilter { network_type: "x".into(), ..base() }, "InvalidParams.NetworkType"),
        (HistoryFilter { os_type: Some("x".into()), ..base() }, "InvalidParams.OSType"),
        (HistoryFilter { io_optimized: Some("x".into()), ..base() }, "InvalidParams.IoOptimized"),
        (HistoryFilter { spot_duration: Some(2), ..base() }, "InvalidSpotDuration"),
        (HistoryFilter { offset: Some(-1), ..base() }, "InvalidParams.Offset"),
        (HistoryFilter { from: Some(ago(30 * 24 + 1)), ..base() }, "InvalidParams.StartTime"),
        (HistoryFilter { from: Some(ago(-1)), ..base() }, "InvalidParams.StartTime"),
        (HistoryFilter { zone: Some("cn-hangzhou-z".into()), ..base() }, "InvalidZoneId.NotFound"),
        (of("ecs.none.large"), "InvalidInstanceType.ValueNotSupported"),
    ] {
        let error = page(&mut world, filter).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), (code, 400));
    }
    let types = |count| vec!["ecs.c6.large".to_owned(); count];
    for (filter, code, status) in [
        (AdviceFilter::default(), "Invalid.Param", 400),
        (AdviceFilter { instance_types: types(11), ..AdviceFilter::default() }, "Invalid.Param", 400),
        (AdviceFilter { cores: Some(4), ..AdviceFilter::default() }, "InvalidParam.Memory", 403),
        (AdviceFilter { min_memory: Some(4), ..AdviceFilter::default() }, "InvalidParam.Cores", 403),
        (
            AdviceFilter { cores: Some(4), instance_types: types(1), ..AdviceFilter::default() },
            "InvalidParam.TypeAndCpuMem.Conflict",
            403,
        ),
    ] {
        let error = advice(&mut world, filter).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), (code, status));
    }
}

#[test]
fn every_size_of_the_vendors_table_up_to_a_ratio_of_eight_has_advice_in_each_zone() {
    let mut world = world(1, |_| ());
    let sized = AdviceFilter { cores: Some(4), memory: Some(8), ..AdviceFilter::default() };
    let found = advice(&mut world, sized).unwrap();
    let names: Vec<_> = found.iter().map(|a| (a.zone.as_str(), a.instance_type.as_str())).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(found.chunk_by(|a, b| a.zone == b.zone).all(|zone| zone.is_sorted_by_key(|a| a.percent)));
    for view in &found {
        assert!((1..=100).contains(&view.percent) && (0..10_000).contains(&view.interruption), "{view:?}");
    }
    let at_least = AdviceFilter { min_cores: Some(64), min_memory: Some(512), ..AdviceFilter::default() };
    let found = advice(&mut world, at_least).unwrap();
    assert!(found.iter().all(|a| a.instance_type == "ecs.r6.16xlarge") && found.len() == 3, "{found:?}");
}
