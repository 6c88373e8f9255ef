//! The scenarios of the benchmark, in virtual time: how close to the lower bound.

use eci_core::eviction::{OnDeadline, Settings, UnhealthyPolicy};

use super::budget;
use super::objects::{Kind, Rule, Workload};
use super::world::{Act, Hostility, World};

/// `groups` workloads of `pods` pods behind budgets that let `k` go, with replacements that take `start` ms.
fn storm(groups: usize, pods: i64, k: i64, start: i64) -> World {
    let mut world = World::new(7, Hostility { lag: 5, ..Hostility::CALM }, Settings::default());
    world.calm_from = 0;
    for n in 0..groups {
        world.workloads.push(Workload {
            namespace: "shop".to_owned(),
            app: format!("app-{n}"),
            kind: Kind::ReplicaSet,
            replicas: pods,
            start: (start, start),
            grace: 1,
            on_deadline: OnDeadline::Wait,
            next: 0,
        });
        let rule = Rule::MaxUnavailable(k);
        let pdb =
            budget("shop", &format!("pdb-{n}"), &format!("app-{n}"), rule, UnhealthyPolicy::IfHealthyBudget);
        world.pdbs.insert(n, pdb);
        world.pdb_changed(n);
        for ordinal in 0..pods {
            let uid = world.add_pod(n, &format!("app-{n}-{ordinal}"), true);
            world.at(10_000, Act::Notice(uid));
        }
        world.sync_soon(n);
    }
    world.at(1_000, Act::Start);
    world
}

#[test]
fn the_time_to_the_last_eviction_is_near_the_bound() {
    for (name, groups, pods, k, start, most) in [
        ("B1 rolling", 1, 40, 4, 5_000, 1.05),
        ("B2 near the deadline", 1, 60, 5, 12_000, 1.05),
        ("B6 many small", 20, 10, 1, 10_000, 1.05),
        ("B5 storm", 50, 20, 5, 5_000, 1.25),
    ] {
        let mut world = storm(groups, pods, k, start);
        world.run(190_000);
        assert_eq!(world.broken, None, "{name}");
        let all = u32::try_from(pods).unwrap() * u32::try_from(groups).unwrap();
        let bound = ((pods + k - 1) / k - 1) * start;
        let took = world.stats.last_eviction - 10_000;
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let (ratio, each) = (took as f64 / bound as f64, f64::from(world.stats.requests) / f64::from(all));
        println!("{name}: {took} ms, {ratio:.3} x the bound, {each:.2} requests a pod");
        assert_eq!((world.stats.granted, world.stats.exhausted), (all, 0), "{name}");
        assert!(ratio <= most && each <= 1.2, "{name}: {ratio} {each}");
    }
}

#[test]
fn many_slots_of_one_budget_are_used_faster_than_one_after_the_other_with_lost_compare_and_swaps() {
    let mut world = storm(1, 200, 200, 1_000);
    world.run(60_000);
    let took = world.stats.last_eviction - 10_000;
    println!("B4 contention: 200 pods in {took} ms, {} requests", world.stats.requests);
    assert_eq!((world.broken.clone(), world.stats.granted, world.stats.requests), (None, 200, 200));
    assert!(took < 10_000, "{took}");
}

#[test]
fn when_not_all_can_be_saved_as_many_are_as_the_budget_has_time_for() {
    let mut world = storm(1, 100, 2, 10_000);
    world.run(10_000 + 175_000);
    // 2 × (1 + floor(175 / 10)).
    assert_eq!((world.broken.clone(), world.stats.granted), (None, 36));
    let forecasts = world.reports.iter().filter_map(|report| {
        if let eci_core::eviction::Report::Forecast(forecast) = report { Some(forecast) } else { None }
    });
    let told: Vec<_> = forecasts.map(|forecast| (forecast.noticed, forecast.allowed)).collect();
    assert_eq!(told, [(100, 2)]);
}
