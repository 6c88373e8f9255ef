//! Random clusters, run in virtual time against a faithful model of the API server and its controllers.
//! `ECI_MODEL_SEEDS` sets how many worlds are run.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cloud;
mod forecasts;
mod objects;
mod operator;
mod optimum;
mod scenarios;
mod server;
mod watch;
mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use eci_core::eviction::outcome::Outcome;
use eci_core::eviction::{OnDeadline, Report, Settings, UnhealthyPolicy};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use objects::{Kind, Rule, SimPdb, Workload};
use world::{Act, Hostility, Sabotage, Stats, World};

/// A workload and its budgets.
#[derive(Clone, Debug)]
struct Group {
    namespace: u8,
    kind: Kind,
    replicas: i64,
    start: (i64, i64),
    grace: i64,
    delete: bool,
    rules: Vec<(Rule, UnhealthyPolicy)>,
    crashing: i64,
}

#[derive(Clone, Debug)]
struct Story {
    seed: u64,
    groups: Vec<Group>,
    hostility: Hostility,
    releases: bool,
    spread: i64,
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        (0..6_i64).prop_map(Rule::MinAvailable),
        (0..=100_i64).prop_map(Rule::MinAvailablePercent),
        (0..5_i64).prop_map(Rule::MaxUnavailable),
        (0..=60_i64).prop_map(Rule::MaxUnavailablePercent),
    ]
}

fn group() -> impl Strategy<Value = Group> {
    let kind = prop_oneof![6 => Just(Kind::ReplicaSet), 3 => Just(Kind::StatefulSet), 1 => Just(Kind::Bare)];
    let policy =
        prop_oneof![3 => Just(UnhealthyPolicy::IfHealthyBudget), 1 => Just(UnhealthyPolicy::AlwaysAllow)];
    let rules = prop_oneof![
        2 => Just(0..1_usize),
        9 => Just(1..2_usize),
        1 => Just(2..3_usize),
    ]
    .prop_flat_map(move |count| prop::collection::vec((rule(), policy.clone()), count));
    let start = prop_oneof![Just((1_000, 1_000)), Just((5_000, 5_000)), Just((500, 20_000))];
    let grace = prop::sample::select(vec![0_i64, 1, 5, 30, 60, 170, 600]);
    (0..3_u8, kind, 1..12_i64, start, grace, prop::bool::weighted(0.15), rules, 0..3_i64).prop_map(
        |(namespace, kind, replicas, start, grace, delete, rules, crashing)| {
            // The disruption controller cannot compute anything else for pods without a controller.
            let rules = if kind == Kind::Bare { vec![] } else { rules };
            Group { namespace, kind, replicas, start, grace, delete, rules, crashing }
        },
    )
}

fn hostility() -> impl Strategy<Value = Hostility> {
    let often = |most: i64| prop_oneof![2 => Just(0), 1 => 1..=most];
    let lag = prop::sample::select(vec![5_i64, 50, 500]);
    let wild = (often(20), often(20), lag, often(100), often(100), often(1), often(1), often(1), often(1))
        .prop_map(|(lost, refused, lag, crash, vendor, breaks, restarts, edits, replays)| Hostility {
            lost,
            refused,
            lag,
            crash,
            vendor,
            breaks,
            restarts,
            edits,
            replays,
        });
    prop_oneof![1 => Just(Hostility::CALM), 5 => wild]
}

fn story() -> impl Strategy<Value = Story> {
    (
        any::<u64>(),
        prop::collection::vec(group(), 1..5),
        hostility(),
        any::<bool>(),
        prop::sample::select(vec![0_i64, 0, 3_000, 60_000]),
    )
        .prop_map(|(seed, groups, hostility, releases, spread)| Story {
            seed,
            groups,
            hostility,
            releases,
            spread,
        })
}

/// When the notices begin.
const NOTICES: i64 = 20_000;

fn build(story: &Story, sabotage: Sabotage) -> World {
    let mut world = World::new(story.seed, story.hostility, Settings::default());
    (world.sabotage, world.releases) = (sabotage, story.releases);
    if story.hostility.is_calm() {
        world.calm_from = 0;
    }
    let mut doomed = Vec::new();
    let mut pdb = 0;
    for (n, group) in story.groups.iter().enumerate() {
        let namespace = format!("ns-{}", group.namespace);
        world.workloads.push(Workload {
            namespace: namespace.clone(),
            app: format!("app-{n}"),
            kind: group.kind,
            replicas: group.replicas,
            start: group.start,
            grace: group.grace,
            on_deadline: if group.delete { OnDeadline::Delete } else { OnDeadline::Wait },
            next: 0,
        });
        for (rule, unhealthy) in &group.rules {
            pdb += 1;
            world.pdbs.insert(
                pdb,
                budget(&namespace, &format!("pdb-{pdb}"), &format!("app-{n}"), *rule, *unhealthy),
            );
            world.pdb_changed(pdb);
        }
        for ordinal in 0..group.replicas {
            let spot = world.dice.chance(80);
            let uid = world.add_pod(n, &format!("app-{n}-{ordinal}"), true);
            if spot {
                doomed.push(uid.clone());
            }
            if story.hostility.crash > 0 && ordinal < group.crashing {
                let when = world.dice.between(NOTICES - 5_000, NOTICES + 60_000);
                world.at(when, Act::Ready(uid, false));
            }
        }
    }
    for uid in doomed {
        let when = NOTICES + world.dice.between(0, story.spread);
        world.at(when, Act::Notice(uid));
    }
    let pdbs: Vec<usize> = world.pdbs.keys().copied().collect();
    for pdb in pdbs {
        world.sync_soon(pdb);
        if story.hostility.edits > 0 {
            world.at(NOTICES + 1_000, Act::Edit(pdb));
        }
    }
    world.at(1_000, Act::Start);
    for (chosen, act) in [
        (story.hostility.breaks, Act::Break(true)),
        (story.hostility.breaks, Act::Break(false)),
        (story.hostility.restarts, Act::Stop),
        (story.hostility.replays, Act::Replay),
    ] {
        if chosen > 0 {
            let when = world.dice.between(NOTICES - 3_000, NOTICES + 10_000);
            world.at(when, act);
        }
    }
    world.at(NOTICES, Act::Look);
    world
}

fn budget(namespace: &str, name: &str, app: &str, rule: Rule, unhealthy: UnhealthyPolicy) -> SimPdb {
    SimPdb {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        rv: 0,
        app: app.to_owned(),
        rule,
        unhealthy,
        generation: 1,
        observed: 0,
        allowed: 0,
        healthy: 0,
        desired: 0,
        expected: 0,
        disrupted: std::collections::BTreeMap::new(),
    }
}

fn run(story: &Story, sabotage: Sabotage) -> Result<World, String> {
    let mut world = build(story, sabotage);
    world.run(450_000);
    if let Some(law) = world.broken.take() {
        return Err(law);
    }
    let stats = &world.stats;
    // Each pod once, each fault a few times, and each version of a budget at most once for each slot that it opens.
    let most = stats.noticed + 3 * stats.faults + 2 * stats.versions + 40;
    if stats.requests > most {
        return Err(format!("{} requests, at most {most}: {stats:?}", stats.requests));
    }
    // Whoever evicts beside us, or did before us, may be met by a request that was under way.
    let alone = story.hostility.vendor == 0 && story.hostility.restarts == 0;
    if alone && stats.shortened > 0 {
        return Err(format!("{} grace periods were shortened", stats.shortened));
    }
    if story.hostility.is_calm() && (stats.exhausted > 0 || stats.burnt > 0) {
        return Err(format!("refusals in a calm world: {stats:?}"));
    }
    // Nothing is left over in the engine that is not so in the world.
    let truth = world.pods.values().filter(|pod| pod.noticed.is_some() && !pod.phase.is_terminal()).count();
    let counts = world.engine.as_ref().map(eci_core::eviction::Engine::counts).unwrap_or_default();
    if counts.noticed != truth {
        return Err(format!("{} pods have a notice, the engine knows of {}", truth, counts.noticed));
    }
    truthful(&world, story)?;
    if counts.in_flight > 0 {
        return Err(format!("{} requests are still under way", counts.in_flight));
    }
    Ok(world)
}

/// The outcomes that were told are those of the world, if one process saw all of it.
fn truthful(world: &World, story: &Story) -> Result<(), String> {
    if story.hostility.restarts > 0 || story.hostility.breaks > 0 {
        return Ok(());
    }
    let mut told = BTreeMap::new();
    for report in &world.reports {
        if let Report::Ended(ended) = report
            && told.insert(ended.pod.uid.to_string(), ended.outcome).is_some()
        {
            return Err(format!("{} ended twice", ended.pod.uid));
        }
    }
    let alive = world.pods.values().filter(|pod| pod.noticed.is_some() && !pod.phase.is_terminal()).count();
    if told.len() + alive != usize::try_from(world.stats.noticed - world.stats.unheard).unwrap() {
        return Err(format!("{} of {} pods ended, {alive} live", told.len(), world.stats.noticed));
    }
    let lost = told.iter().filter(|(_, outcome)| **outcome == Outcome::HardKilled);
    let lost: BTreeSet<String> = lost.map(|(uid, _)| uid.clone()).collect();
    if lost != world.lost {
        return Err(format!("told as lost: {lost:?}, lost: {:?}", world.lost));
    }
    let vanished =
        told.values().filter(|outcome| matches!(outcome, Outcome::Vanished | Outcome::Withdrawn)).count();
    if vanished > 0 {
        return Err(format!("{vanished} pods vanished, though all was seen"));
    }
    Ok(())
}

fn explore(cases: u32, sabotage: Sabotage, persist: bool) -> Result<Stats, String> {
    let shrinks = if persist { 600 } else { 50 };
    let mut config =
        Config { cases, max_shrink_iters: shrinks, failure_persistence: None, ..Config::default() };
    if persist {
        config.failure_persistence =
            Some(Box::new(proptest::test_runner::FileFailurePersistence::WithSource("proptest-regressions")));
        config.source_file = Some(file!());
    }
    let sum = RefCell::new(Stats::default());
    let told = TestRunner::new(config).run(&story(), |story| {
        let world = run(&story, sabotage).map_err(TestCaseError::fail)?;
        sum.borrow_mut().add(&world.stats);
        Ok(())
    });
    match told {
        Err(TestError::Fail(why, story)) => Err(format!("{why}\n{story:?}")),
        other => other.map(|()| sum.into_inner()).map_err(|e| e.to_string()),
    }
}

fn seeds() -> u32 {
    std::env::var("ECI_MODEL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

#[test]
fn no_budget_is_broken_no_pod_forgotten_and_no_slot_burnt() {
    let cases = seeds();
    let sum = explore(cases, Sabotage::None, true).unwrap_or_else(|story| panic!("{story}"));
    println!("eviction: {cases} worlds, no law broken; {sum:?}");
    // The worlds are not so kind that nothing happens in them.
    let happened = [sum.granted, sum.exhausted, sum.faults, sum.listed, sum.restarts, sum.released];
    assert!(happened.iter().all(|count| *count > cases / 10), "{sum:?}");
}

#[test]
fn an_engine_that_is_broken_on_purpose_is_caught() {
    for sabotage in [Sabotage::Blind, Sabotage::Stale, Sabotage::Forgetful, Sabotage::Twice] {
        let story = explore(300, sabotage, false).expect_err(&format!("{sabotage:?} was not noticed"));
        println!("{sabotage:?} caught: {}", story.lines().next().unwrap_or_default());
    }
}
