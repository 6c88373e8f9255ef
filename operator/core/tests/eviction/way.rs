//! The plain way: a notice, an eviction, the end.

use eci_core::eviction::answer::Answer;
use eci_core::eviction::outcome::{By, Outcome};
use eci_core::eviction::why::Why;
use eci_core::eviction::{Deletion, Event, Phase, Pod, SETTLE, Settings, UnhealthyPolicy};

use super::scene::*;

#[test]
fn a_pod_with_a_notice_is_evicted_with_its_uid_and_its_grace() {
    let one = pod("web-0");
    let mut scene = Scene::with(std::slice::from_ref(&one), &[]);
    let effects = scene.notice_and_gather(std::slice::from_ref(&one), 0);
    let [order] = evictions(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((&order.pod, order.grace), (&one.id, 30));
    scene.answer(order.attempt, Answer::Accepted);
    let leaving = scene.leaving(&one, 30);
    scene.saw(leaving.clone());
    assert_eq!(scene.said(), [("web-0", Why::Evicted)]);
    scene.ms += 30_000;
    // The last version: its node ends the deletion with a grace period of 0.
    scene.saw(Pod { deletion: Some(Deletion { at: wall(scene.ms), grace: 0 }), ..leaving });
    scene.step([Event::PodGone(one.id.clone())]);
    let [ended] = scene.ended()[..] else { panic!("{:?}", scene.reports) };
    assert_eq!((ended.outcome, ended.by, ended.attempts), (Outcome::Graceful, By::Us, 1));
    assert_eq!(ended.slack.unwrap().as_secs(), 180);
}

/// The status after an eviction was charged to it.
fn charged(scene: &Scene, name: &str) -> eci_core::eviction::Budget {
    let mut charged = budget(0, 4, 4);
    charged.desired = 3;
    charged.disrupted = std::sync::Arc::new([(name.to_owned(), wall(scene.ms))].into());
    charged
}

#[test]
fn a_budget_lets_as_many_go_as_it_allows_and_the_next_when_it_opens() {
    let all = pods(4);
    let mut scene = Scene::with(&all, &[budget(1, 4, 4)]);
    assert_eq!(scene.notice(&all, 0), []);
    let effects = scene.wait(200);
    let [first] = evictions(&effects)[..] else { panic!("{effects:?}") };
    // The status that contains it, before the answer.
    let mut charged = charged(&scene, &first.pod.name);
    assert_eq!(scene.saw_budget(charged.clone()), []);
    assert_eq!(scene.answer(first.attempt, Answer::Accepted), []);
    assert_eq!(scene.wait(10_000), []);
    charged.disrupted = std::sync::Arc::default();
    charged.allowed = 1;
    let effects = scene.saw_budget(charged);
    assert_eq!(evictions(&effects).len(), 1);
}

#[test]
fn a_booking_holds_until_it_is_seen_refused_listed_or_settled() {
    // With two slots and one sent, a newer version without the entry shows two: one is booked.
    let sent = |scene: &mut Scene| {
        let effects = scene.wait(200);
        let [first] = evictions(&effects)[..] else { panic!("{effects:?}") };
        let mut stale = budget(1, 4, 4);
        stale.expected = 4;
        assert_eq!(scene.saw_budget(stale), [], "it is the slot that is booked");
        first.clone()
    };
    let start = || {
        let mut scene = Scene::with(&pods(4), &[budget(1, 4, 4)]);
        scene.notice(&pods(4), 0);
        scene
    };
    let mut seen = start();
    let first = sent(&mut seen);
    let mut both = charged(&seen, &first.pod.name);
    both.allowed = 1;
    assert_eq!(evictions(&seen.saw_budget(both)).len(), 1, "seen in disruptedPods");

    let mut refused = start();
    let first = sent(&mut refused);
    let effects = refused.answer(first.attempt, Answer::BudgetExhausted(String::new()));
    assert_eq!(evictions(&effects).len(), 1, "a newer version was seen since it was sent");

    let mut settled = start();
    let first = sent(&mut settled);
    assert_eq!(settled.answer(first.attempt, Answer::Accepted), []);
    let settle = i64::try_from(SETTLE.as_millis()).unwrap();
    assert_eq!(settled.wait(settle - 1), []);
    assert_eq!(evictions(&settled.wait(1)).len(), 1, "nothing confirmed it");

    let mut listed = start();
    let first = sent(&mut listed);
    assert_eq!(listed.answer(first.attempt, Answer::Accepted), []);
    listed.ms += 1;
    assert_eq!(listed.step([Event::BudgetsListing]), []);
    let mut now = budget(1, 4, 4);
    now.version = 500;
    let effects = listed.step([Event::Budget(Box::new(now)), Event::BudgetsListed]);
    assert_eq!(evictions(&effects).len(), 1, "the list began after the answer");
}

#[test]
fn who_costs_no_budget_goes_first_and_at_once() {
    let pending = Pod { phase: Phase::Pending, ready: false, ..pod("pending") };
    let unready = Pod { ready: false, ..pod("unready") };
    for (unhealthy, healthy, expected) in [
        (UnhealthyPolicy::IfHealthyBudget, 3, vec!["pending", "unready"]),
        (UnhealthyPolicy::IfHealthyBudget, 2, vec!["pending"]),
        (UnhealthyPolicy::AlwaysAllow, 2, vec!["pending", "unready"]),
    ] {
        let mut budget = budget(0, healthy, 5);
        (budget.unhealthy, budget.desired) = (unhealthy, 3);
        let all = [pod("ready"), unready.clone(), pending.clone()];
        let mut scene = Scene::with(&all, &[budget]);
        let effects = scene.notice(&all, 0);
        assert_eq!(names(&evictions(&effects)), expected, "{unhealthy:?} {healthy}");
    }
}

#[test]
fn deletion_cost_then_age_order_what_is_equally_urgent() {
    let dear = Pod { deletion_cost: 5, ..pod("a-dear") };
    let old = Pod { created: Some(wall(-9_000_000)), ..pod("b-old") };
    let all = [dear, old, pod("c-young")];
    let mut scene = Scene::with(&all, &[budget(3, 3, 3)]);
    scene.notice(&all, 0);
    let mut order = Vec::new();
    let mut effects = scene.wait(200);
    while let [next] = evictions(&effects)[..] {
        order.push(next.pod.name.to_string());
        effects = scene.answer(next.attempt, Answer::Accepted);
    }
    assert_eq!(order, ["c-young", "b-old", "a-dear"]);
}

fn in_namespace(namespace: &str, count: usize) -> Vec<Pod> {
    let of = |n| {
        let mut pod = pod(&format!("{namespace}-{n:03}"));
        pod.id.namespace = namespace.into();
        pod
    };
    (0..count).map(of).collect()
}

#[test]
fn namespaces_take_turns() {
    let all = [in_namespace("big", 300), in_namespace("small", 20)].concat();
    let mut scene = Scene::new(Settings { per_second: 10, burst: 10, ..Settings::default() });
    scene.list(&all, &[]);
    let effects = scene.notice_and_gather(&all, 0);
    let small = evictions(&effects).iter().filter(|order| &*order.pod.namespace == "small").count();
    assert_eq!((evictions(&effects).len(), small), (10, 5));
    // Whoever has to start now does not wait for its turn.
    let mut urgent = in_namespace("big", 301).remove(300);
    urgent.grace = 170;
    scene.ms += 1_000;
    scene.notice(&[urgent.clone()], 0);
    assert_eq!(evictions(&scene.wait(200))[0].pod, urgent.id);
}

#[test]
fn a_namespace_has_at_most_half_of_what_is_under_way() {
    let all = [in_namespace("big", 300), in_namespace("small", 20)].concat();
    let mut scene = Scene::with(&all, &[]);
    scene.notice_and_gather(&all, 0);
    assert_eq!(scene.engine.counts().in_flight, 32 + 20);
}

#[test]
fn a_storm_never_exceeds_the_rate() {
    let all: Vec<Pod> = (0..1_000)
        .map(|n| {
            let mut pod = pod(&format!("web-{n:04}"));
            pod.id.namespace = format!("ns-{}", n % 50).into();
            pod
        })
        .collect();
    let mut scene = Scene::with(&all, &[]);
    let mut sent: Vec<i64> = Vec::new();
    let mut effects = scene.notice(&all, 0);
    while sent.len() < 1_000 {
        let mut events = Vec::new();
        for order in evictions(&effects) {
            sent.push(scene.ms);
            events.push(Event::Answered { attempt: order.attempt, answer: Answer::Accepted });
        }
        scene.ms += 10;
        effects = scene.step(events);
        assert!(scene.ms < 60_000, "{} sent", sent.len());
    }
    for start in (0..60_000).step_by(100) {
        let second = sent.iter().filter(|at| (start..start + 1_000).contains(*at)).count();
        assert!(second <= 300, "{second} in a second");
    }
    assert!(scene.ms < 10_000, "{}", scene.ms);
}
