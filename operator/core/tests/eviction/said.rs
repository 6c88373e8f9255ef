//! What people are told.

use std::time::Duration;

use eci_core::eviction::answer::Answer;
use eci_core::eviction::forecast::{Starts, saved};
use eci_core::eviction::why::Why;
use eci_core::eviction::{Event, Phase, Pod, Promise, Report};

use super::scene::*;

#[test]
fn a_blocked_pod_is_told_with_the_budget_its_numbers_and_the_culprits() {
    let mut all = pods(2);
    for (n, because) in [(2, Some("ImagePullBackOff")), (3, None), (4, None), (5, None)] {
        let not_ready_because = because.map(Into::into);
        all.push(Pod { ready: false, not_ready_because, ..pod(&format!("web-{n}")) });
    }
    let mut tight = budget(0, 2, 6);
    (tight.desired, tight.promise) = (3, Some(Promise::MinAvailable("50%".into())));
    let mut scene = Scene::with(&all, &[tight]);
    scene.notice(&all[..1], 0);
    scene.wait(200);
    assert_eq!(scene.said(), []);
    scene.wait(1_000);
    let [standing] = scene.standings()[..] else { panic!("{:?}", scene.reports) };
    assert_eq!(standing.why, Why::BudgetExhausted);
    let expected = "pod web-0 cannot be evicted yet: its budget allows none until more pods are ready \
        (PodDisruptionBudget web (minAvailable 50%) needs 3 healthy pods and has 2 of 6; not ready: \
        web-2 (ImagePullBackOff), web-3, web-4, 1 more); its instance is taken back at about";
    assert!(standing.message.starts_with(expected), "{}", standing.message);
    // Once, for as long as the reason stays, whatever the numbers do.
    let mut worse = budget(0, 1, 6);
    worse.desired = 3;
    scene.saw_budget(worse);
    scene.wait(30_000);
    assert_eq!(scene.standings().len(), 1);
    assert!(scene.engine.blocked(9)[0].message.contains("has 1 of 6"));
}

#[test]
fn a_budget_that_never_allows_and_two_budgets_are_told_as_such_and_cost_no_request() {
    let all = pods(3);
    let mut never = budget(0, 3, 3);
    never.desired = 3;
    let mut scene = Scene::with(&all, &[never.clone()]);
    scene.notice(&all, 0);
    assert_eq!(scene.wait(60_000), []);
    assert!(scene.said().iter().all(|(_, why)| *why == Why::BudgetNeverAllows));
    let mut second = budget(3, 3, 3);
    second.id.name = "second".into();
    assert_eq!(scene.saw_budget(second.clone()), []);
    assert_eq!(scene.wait(60_000), []);
    assert_eq!(scene.engine.blocked(1)[0].why, Why::SeveralBudgets);
    assert!(scene.engine.blocked(1)[0].message.contains("second, web"));
    // One goes: the other lets them.
    let effects = scene.step([Event::BudgetGone(never.id)]);
    assert_eq!(evictions(&effects).len(), 1);
}

#[test]
fn reasons_that_pass_at_once_are_not_told() {
    let all = pods(2);
    let mut scene = Scene::with(&all, &[budget(1, 3, 3)]);
    scene.notice(&all, 0);
    let effects = scene.wait(200);
    scene.answer(evictions(&effects)[0].attempt, Answer::BudgetNotProcessed);
    scene.ms += 450;
    let effects = scene.saw_budget(budget(2, 3, 3));
    scene.answer(evictions(&effects)[0].attempt, Answer::Accepted);
    assert_eq!(scene.said().iter().filter(|(_, why)| why.is_blocked()).count(), 0, "{:?}", scene.said());
}

#[test]
fn the_blocked_are_bounded_and_the_most_urgent_first() {
    let all = pods(30);
    let mut scene = Scene::with(&all, &[budget(0, 30, 31)]);
    scene.notice(&all[..20], 0);
    scene.notice(&all[20..], 60_000);
    scene.wait(1_200);
    let blocked = scene.engine.blocked(20);
    assert_eq!(blocked.len(), 20);
    assert!(blocked[..10].iter().all(|standing| standing.deadline < blocked[19].deadline));
    assert_eq!(scene.engine.counts().blocked, 30);
}

#[test]
fn hostile_words_are_cut() {
    let long: std::sync::Arc<str> = "x\n".repeat(50_000).into();
    let mut all = pods(1);
    for n in 1..4 {
        all.push(Pod { ready: false, not_ready_because: Some(long.clone()), ..pod(&format!("web-{n}")) });
    }
    let mut tight = budget(0, 1, 4);
    (tight.desired, tight.promise) = (3, Some(Promise::MaxUnavailable(long)));
    let mut scene = Scene::with(&all, &[tight]);
    scene.notice(&all[..1], 0);
    scene.wait(200);
    scene.wait(1_000);
    let message = &scene.standings()[0].message;
    assert!(message.chars().count() <= 1_024 && !message.contains('\n'), "{message}");
}

#[test]
fn a_forecast_is_told_a_second_after_the_last_notice_and_graded_at_the_end() {
    let mut all = pods(4);
    for (n, pod) in all.iter_mut().enumerate() {
        let started = 40_000 + 1_000 * i64::try_from(n).unwrap();
        pod.ready_since = pod.created.map(|at| at + jiff::SignedDuration::from_millis(started));
    }
    let mut scene = Scene::with(&all, &[budget(1, 4, 4)]);
    scene.notice(&all, 150_000);
    scene.wait(200);
    scene.wait(800);
    let forecasts: Vec<_> = scene
        .reports
        .iter()
        .filter_map(
            |report| if let Report::Forecast(forecast) = report { Some(forecast.clone()) } else { None },
        )
        .collect();
    let [forecast] = &forecasts[..] else { panic!("{:?}", scene.reports) };
    // 30 s are left: only the slot that is open now.
    assert_eq!((forecast.noticed, forecast.allowed, forecast.saved), (4, 1, Some(1)));
    assert_eq!(forecast.start, Some(Duration::from_millis(41_500)));
    for pod in &all {
        scene.step([Event::PodGone(pod.id.clone())]);
    }
    let graded = scene
        .reports
        .iter()
        .find_map(|report| if let Report::Graded(grade) = report { Some(grade) } else { None });
    let grade = graded.unwrap();
    assert_eq!((&grade.forecast, grade.saved, grade.error_permille()), (forecast, 0, Some(250)));
}

/// Two of six are not ready yet: those that start will be, and let others go; those that crash will not.
#[test]
fn a_forecast_counts_on_pods_that_start_and_not_on_those_that_crash() {
    for (because, allowed) in
        [("ContainerCreating", true), ("CrashLoopBackOff", false), ("ErrImagePull", false)]
    {
        let mut all = pods(6);
        for pod in &mut all[..4] {
            pod.ready_since = pod.created.map(|at| at + jiff::SignedDuration::from_secs(20));
        }
        for pod in &mut all[4..] {
            pod.ready = false;
            pod.phase = Phase::Running;
            pod.created = Some(wall(0));
            pod.not_ready_because = Some(because.into());
        }
        // One more has to be healthy than is.
        let mut short = budget(0, 4, 6);
        short.desired = 5;
        let mut scene = Scene::with(&all, &[short]);
        scene.notice(&all[..4], 0);
        scene.wait(1_000);
        let forecast = scene.reports.iter().find_map(|report| match report {
            Report::Forecast(forecast) => Some(forecast.saved),
            _ => None,
        });
        let saved = forecast.flatten();
        assert_eq!(saved.map(|saved| saved > 0), Some(allowed), "{because}: {saved:?}");
    }
}

#[test]
fn the_formula_of_the_forecast() {
    let seconds = Duration::from_secs;
    for (noticed, allowed, left, start, expected) in [
        (100, 2, 180, Some(10), Some(36)),
        (40, 4, 180, Some(5), Some(40)),
        (40, 1, 180, Some(13), Some(14)),
        (40, 1, 180, None, None),
        (4, 4, 180, None, Some(4)),
        (4, 0, 180, None, Some(0)),
        (4, 1, 4, Some(1), Some(1)),
        (4, 1, 180, Some(0), Some(4)),
        (0, 0, 180, None, Some(0)),
    ] {
        let told = saved(noticed, allowed, seconds(left), start.map(seconds));
        assert_eq!(told, expected, "{noticed} {allowed} {left} {start:?}");
    }
    assert_eq!(saved(usize::MAX, 1, Duration::MAX, Some(Duration::from_nanos(1))), Some(usize::MAX));
}

#[test]
fn start_times_are_the_last_twenty_and_their_p90() {
    let seconds = Duration::from_secs;
    assert_eq!([1, 2].map(seconds).into_iter().collect::<Starts>().p90(), None);
    assert_eq!([3, 1, 2].map(seconds).into_iter().collect::<Starts>().p90(), Some(seconds(3)));
    let starts: Starts = (1..=30).map(seconds).collect();
    assert_eq!((starts.len(), starts.p90()), (20, Some(seconds(28))));
    // A pod that was ready long after it was made became ready anew.
    assert_eq!([86_400, 1].map(seconds).into_iter().collect::<Starts>().len(), 1);
}

#[test]
fn a_restart_loses_nothing_and_evicts_nothing_twice() {
    let all = pods(3);
    let mut scene = Scene::with(&all, &[budget(1, 3, 3)]);
    scene.notice(&all, 20_000);
    let effects = scene.wait(200);
    let gone = evictions(&effects)[0].pod.clone();
    // The next process finds the world as it is: one is leaving, the budget has a slot.
    let since = Some(wall(-19_000));
    let mut world: Vec<Pod> = Vec::new();
    for pod in &all {
        let expired = Some(eci_core::eviction::Expired { status: true, since });
        let leaving = scene.leaving(pod, 30);
        world.push(Pod { expired, deletion: leaving.deletion.filter(|_| pod.id == gone), ..pod.clone() });
    }
    let mut next = Scene::new(eci_core::eviction::Settings::default());
    assert_eq!(next.list(&world, &[budget(1, 2, 3)]), []);
    let effects = next.wait(200);
    let [order] = evictions(&effects)[..] else { panic!("{effects:?}") };
    assert!(order.pod != gone);
    assert_eq!(next.engine.counts().noticed, 3);
    let deadlines: Vec<_> = next
        .reports
        .iter()
        .filter_map(
            |report| if let Report::Noticed { notice, .. } = report { Some(notice.deadline) } else { None },
        )
        .collect();
    assert_eq!(deadlines, [wall(161_000); 3], "the condition is the clock, not the restart");
}
