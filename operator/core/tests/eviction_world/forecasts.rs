//! What was told at the notices, against what came of them.

use eci_core::eviction::forecast::Forecast;
use eci_core::eviction::{OnDeadline, Report, Settings, UnhealthyPolicy};

use super::budget;
use super::objects::{Dice, Kind, Rule, Workload};
use super::world::{Act, Hostility, World};

/// When the first notices come: whole seconds, as conditions have them.
const NOTICES: i64 = 10_000;
/// From a notice to what counts as in time.
const IN_TIME: i64 = 175_000;

/// One workload behind one budget.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    pods: i64,
    rule: Rule,
    policy: UnhealthyPolicy,
    start: (i64, i64),
    grace: i64,
    /// Of the pods, how many crash and stay so.
    crashing: i64,
    /// How many have no notice.
    spared: i64,
    /// When the second half gets its notices, after the first.
    second: i64,
}

/// The last forecast, and how many came with so much less or more time. That of the first half does not know of the second.
fn run(case: &Case, seed: u64, tolerance: i64) -> (Forecast, [usize; 3]) {
    let mut world = World::new(seed, Hostility { lag: 5, ..Hostility::CALM }, Settings::default());
    world.calm_from = 0;
    world.workloads.push(Workload {
        namespace: "shop".to_owned(),
        app: "app".to_owned(),
        kind: case.kind,
        replicas: case.pods,
        start: case.start,
        grace: case.grace,
        on_deadline: OnDeadline::Wait,
        next: 0,
    });
    world.pdbs.insert(0, budget("shop", "pdb", "app", case.rule, case.policy));
    let mut batches = [Vec::new(), Vec::new()];
    for n in 0..case.pods {
        let uid = world.add_pod(0, &format!("app-{n}"), true);
        let took = world.dice.between(case.start.0, case.start.1);
        let pod = world.pods.get_mut(&uid).unwrap();
        // Long ago, at any part of a second.
        pod.created = -3_600_000 + 137 * n;
        pod.ready_at = Some(pod.created + took);
        // Crashing ones are spread over both.
        pod.ready = n % case.pods.max(1) >= case.crashing;
        if n < case.pods - case.spared {
            let late = case.second > 0 && n % 2 == 1;
            world.at(NOTICES + if late { case.second } else { 0 }, Act::Notice(uid.clone()));
            batches[usize::from(late)].push(uid);
        }
    }
    world.pdb_changed(0);
    world.sync_soon(0);
    world.at(1_000, Act::Start);
    world.run(300_000);
    assert_eq!(world.broken, None, "{case:?}");
    let told = world.reports.iter().filter_map(|report| {
        if let Report::Forecast(forecast) = report { Some(forecast.clone()) } else { None }
    });
    let gone = |batch: &[String], by: i64| {
        batch.iter().filter(|uid| world.told.get(*uid).is_some_and(|at| *at <= by)).count()
    };
    let begins = [NOTICES, NOTICES + case.second];
    let truth = batches.iter().zip(begins).filter(|(batch, _)| !batch.is_empty());
    let truth =
        truth.map(|(batch, at)| [-tolerance, 0, tolerance].map(|off| gone(batch, at + IN_TIME + off)));
    let told: Vec<Forecast> = told.collect();
    let truth: Vec<[usize; 3]> = truth.collect();
    assert_eq!(told.len(), truth.len(), "{case:?}: {told:?}");
    told.into_iter().zip(truth).next_back().unwrap()
}

fn case(dice: &mut Dice) -> Case {
    let pods = dice.between(3, 60);
    let rule = match dice.below(4) {
        0 => Rule::MinAvailable(dice.between(0, pods)),
        1 => Rule::MinAvailablePercent(dice.between(0, 100)),
        2 => Rule::MaxUnavailable(dice.between(0, 6)),
        _ => Rule::MaxUnavailablePercent(dice.between(0, 40)),
    };
    let policy = [UnhealthyPolicy::IfHealthyBudget, UnhealthyPolicy::AlwaysAllow];
    let start = dice.between(3, 70) * 1_000;
    Case {
        kind: Kind::ReplicaSet,
        pods,
        rule,
        policy: policy[usize::from(dice.chance(50))],
        start: (start, start),
        grace: [1, 5, 30][usize::try_from(dice.below(3)).unwrap()],
        crashing: if dice.chance(50) { dice.between(0, pods / 4) } else { 0 },
        spared: if dice.chance(50) { dice.between(0, pods / 2) } else { 0 },
        second: if dice.chance(40) { dice.between(5, 90) * 1_000 } else { 0 },
    }
}

#[test]
fn with_equal_start_times_a_forecast_is_what_comes() {
    let mut dice = Dice::new(21);
    let (mut some, mut none, mut crashed) = (0, 0, 0);
    for seed in 0..400 {
        let case = case(&mut dice);
        // What a round needs beyond the start is not known, and there are many rounds; and starts are whole seconds.
        let (forecast, [least, _, most]) = run(&case, seed, 4_000);
        let saved = forecast.saved.unwrap();
        assert!((least..=most).contains(&saved), "{least} to {most} come: {forecast:?} of {case:?}");
        some += usize::from(0 < most && least < forecast.noticed);
        none += usize::from(most == 0);
        crashed += usize::from(case.crashing > 0 && forecast.allowed == 0 && least > 0);
    }
    println!(
        "{some} of which some are lost, {none} of which all are, {crashed} opened by pods that are not ready"
    );
    assert!(some > 40 && none > 10 && crashed > 10, "{some} {none} {crashed}");
}

#[test]
fn with_random_start_times_forecasts_are_off_by_a_twentieth_at_most() {
    let mut dice = Dice::new(22);
    let (mut noticed, mut off) = (0, 0);
    for seed in 0..300 {
        let mut case = case(&mut dice);
        let longest = dice.between(2, 40) * 1_000;
        case.start = (longest / 2, longest);
        let (forecast, [_, truth, _]) = run(&case, seed, 0);
        noticed += forecast.noticed;
        off += forecast.saved.unwrap().abs_diff(truth);
    }
    println!("off by {off} of {noticed}");
    assert!(off * 20 <= noticed, "{off} of {noticed}");
}

/// Its names are free again when its pods are gone; nobody knows how much of their grace periods they take.
#[test]
fn of_a_stateful_set_no_fewer_come_than_were_forecast() {
    let mut dice = Dice::new(23);
    for seed in 0..150 {
        let case = Case { kind: Kind::StatefulSet, second: 0, ..case(&mut dice) };
        let (forecast, [_, _, most]) = run(&case, seed, 3_000);
        assert!(forecast.saved.unwrap() <= most, "{most} come: {forecast:?} of {case:?}");
    }
}
