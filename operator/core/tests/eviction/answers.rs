//! Each answer of the API server has its own rule.

use eci_core::eviction::answer::Answer;
use eci_core::eviction::outcome::Outcome;
use eci_core::eviction::why::Why;
use eci_core::eviction::{Effect, Event, Order, Pod, SAFETY, Settings, UnhealthyPolicy};
use std::time::Duration;

use super::scene::*;

/// One pod behind a budget with two slots, its eviction sent.
fn sent() -> (Scene, Order) {
    let all = pods(1);
    let mut scene = Scene::with(&all, &[budget(2, 4, 4)]);
    scene.notice(&all, 0);
    let effects = scene.wait(200);
    let order = evictions(&effects)[0].clone();
    (scene, order)
}

/// When the next request goes out without anything but time, in milliseconds; at most a minute is waited.
fn again(scene: &mut Scene) -> Option<(i64, Effect)> {
    let began = scene.ms;
    while scene.ms < began + 60_000 {
        let wake = scene.wake?;
        scene.ms = i64::try_from(wake.0.as_millis()).unwrap().max(scene.ms + 1);
        let effects = scene.step([Event::Tick]);
        if let Some(effect) = effects.into_iter().next() {
            return Some((scene.ms - began, effect));
        }
    }
    None
}

#[test]
fn each_refusal_waits_as_long_as_it_makes_sense_and_says_why() {
    let words = || "no".to_owned();
    for (answer, first, why) in [
        (Answer::BudgetExhausted(words()), 200, Some(Why::BudgetExhausted)),
        (Answer::BudgetNotProcessed, 200, Some(Why::BudgetNotProcessed)),
        (Answer::BudgetContended, 200, Some(Why::BudgetContended)),
        (Answer::BudgetFull, 200, Some(Why::BudgetOverrun)),
        (Answer::BudgetNegative, 200, Some(Why::BudgetOverrun)),
        (Answer::Overloaded(Duration::from_secs(3)), 3_000, Some(Why::ServerOverloaded)),
        (Answer::PodChanged, 500, None),
        (Answer::NotSent, 500, Some(Why::ServerUnavailable)),
        (Answer::Unknown, 2_000, Some(Why::ServerUnavailable)),
        (Answer::ServerFailed(words()), 200, Some(Why::ServerUnavailable)),
        (Answer::NotPermitted(words()), 2_000, Some(Why::NotPermitted)),
        (Answer::WebhookRefused(words()), 5_000, Some(Why::WebhookRefused)),
        (Answer::SeveralBudgets, 5_000, Some(Why::SeveralBudgets)),
        (Answer::NamespaceTerminating, 5_000, Some(Why::NamespaceTerminating)),
        (Answer::Invalid(words()), 5_000, Some(Why::RequestRefused)),
    ] {
        let (mut scene, order) = sent();
        assert_eq!(scene.answer(order.attempt, answer.clone()), [], "{answer:?}");
        let blocked: Vec<Why> = scene.engine.blocked(9).iter().map(|standing| standing.why).collect();
        let expected: Vec<Why> = why.into_iter().filter(|why| why.is_blocked()).collect();
        if why.is_some() {
            assert_eq!(blocked, expected, "{answer:?}");
        }
        let Some((after, Effect::Evict(next))) = again(&mut scene) else { panic!("{answer:?}: never again") };
        assert_eq!((after, &next.pod), (first, &order.pod), "{answer:?}");
    }
}

#[test]
fn a_slot_that_a_failure_may_have_used_up_is_tried_again_soon_and_then_less_and_less_often() {
    let all = pods(20);
    let mut scene = Scene::with(&all, &[budget(1, 20, 20)]);
    scene.notice(&all, 0);
    let mut waits = Vec::new();
    let mut effects = scene.wait(200);
    for _ in 0..6 {
        let attempt = evictions(&effects)[0].attempt;
        assert_eq!(scene.answer(attempt, Answer::ServerFailed("no".to_owned())), []);
        let (after, next) = again(&mut scene).unwrap();
        waits.push(after);
        effects = vec![next];
    }
    assert_eq!(waits, [150, 300, 600, 1_200, 2_000, 2_000]);
    // The server took one: the next failure is a first one.
    scene.answer(evictions(&effects)[0].attempt, Answer::Accepted);
    let (_, next) = again(&mut scene).unwrap();
    scene.answer(evictions(&[next])[0].attempt, Answer::ServerFailed("no".to_owned()));
    assert_eq!(again(&mut scene).map(|(after, _)| after), Some(150));
}

#[test]
fn done_is_done() {
    for answer in [Answer::Accepted, Answer::Gone, Answer::StaleUid] {
        let (mut scene, order) = sent();
        assert_eq!(scene.answer(order.attempt, answer.clone()), []);
        assert_eq!(again(&mut scene), None, "{answer:?}");
        assert_eq!(scene.wait(600_000), [], "{answer:?}");
    }
}

#[test]
fn what_was_done_is_doubted_only_by_a_list_that_began_after_the_answer() {
    let (mut scene, order) = sent();
    scene.answer(order.attempt, Answer::Accepted);
    let all = pods(1);
    scene.ms += 3_000;
    scene.version += 1;
    let pod = Pod { version: scene.version, expired: Some(noticed(&scene)), ..all[0].clone() };
    assert_eq!(scene.step([Event::Pod(Box::new(pod.clone()))]), [], "a watch may lag");
    let effects = scene.step([Event::PodsListing, Event::Pod(Box::new(pod)), Event::PodsListed]);
    assert_eq!(evictions(&effects).len(), 1);
}

fn noticed(scene: &Scene) -> eci_core::eviction::Expired {
    eci_core::eviction::Expired { status: true, since: Some(wall(scene.ms)) }
}

#[test]
fn a_refusal_at_the_known_version_waits_for_a_newer_one_at_most_two_seconds() {
    let all = pods(3);
    let mut scene = Scene::with(&all, &[budget(2, 4, 4)]);
    scene.notice(&all, 0);
    let effects = scene.wait(200);
    let mut order = evictions(&effects)[0].clone();
    let mut waits = Vec::new();
    for _ in 0..5 {
        assert_eq!(scene.answer(order.attempt, Answer::BudgetExhausted("needs 3".into())), []);
        let Some((after, Effect::Evict(next))) = again(&mut scene) else { panic!() };
        waits.push(after);
        order = next;
    }
    assert_eq!(waits, [200, 400, 800, 1_600, i64::try_from(SAFETY.as_millis()).unwrap()]);
    assert_eq!(scene.answer(order.attempt, Answer::BudgetExhausted(String::new())), []);
    assert_eq!(evictions(&scene.saw_budget(budget(2, 4, 4))).len(), 1, "a newer version opens it at once");
}

#[test]
fn after_a_lost_answer_the_same_grace_is_asked_for_so_that_nothing_is_shortened() {
    let all = [Pod { grace: 170, ..pod("web-0") }];
    let mut scene = Scene::with(&all, &[]);
    let effects = scene.notice_and_gather(&all, 0);
    let order = evictions(&effects)[0].clone();
    assert_eq!(order.grace, 170);
    scene.ms += 7_800;
    scene.answer(order.attempt, Answer::Unknown);
    let Some((_, Effect::Evict(next))) = again(&mut scene) else { panic!() };
    // 170 s are left, and the margin would leave 165.
    assert_eq!(next.grace, 170);
    scene.ms += 5_000;
    scene.answer(next.attempt, Answer::Unknown);
    let Some((_, Effect::Evict(next))) = again(&mut scene) else { panic!() };
    assert!(next.grace < 165, "{}", next.grace);
}

#[test]
fn a_stale_uid_is_named_while_it_holds_the_slot() {
    let all = pods(2);
    let mut scene = Scene::with(&all, &[budget(1, 4, 4)]);
    scene.notice(&all, 0);
    let effects = scene.wait(200);
    let order = evictions(&effects)[0].clone();
    scene.answer(order.attempt, Answer::StaleUid);
    let mut burnt = budget(0, 4, 4);
    (burnt.desired, burnt.disrupted) =
        (3, std::sync::Arc::new([(order.pod.name.to_string(), wall(scene.ms))].into()));
    assert_eq!(scene.saw_budget(burnt), []);
    scene.wait(1_000);
    let whys: Vec<Why> = scene.engine.blocked(9).iter().map(|standing| standing.why).collect();
    assert_eq!(whys, [Why::BudgetHeldByStaleEviction, Why::BudgetHeldByStaleEviction]);
    assert!(scene.standings().iter().all(|standing| standing.message.contains("two minutes")));
}

#[test]
fn one_namespace_without_permission_is_tried_by_one_and_holds_up_no_other() {
    let mut all = pods(10);
    let mut other = pod("other");
    other.id.namespace = "free".into();
    all.push(other);
    let mut scene = Scene::with(&all, &[]);
    let effects = scene.notice_and_gather(&all, 0);
    let orders: Vec<Order> = evictions(&effects).into_iter().cloned().collect();
    assert_eq!(orders.len(), 11);
    let events = orders.iter().map(|order| {
        let free = &*order.pod.namespace == "free";
        let answer = if free { Answer::Accepted } else { Answer::NotPermitted("pods is forbidden".into()) };
        Event::Answered { attempt: order.attempt, answer }
    });
    assert_eq!(scene.step(events), []);
    let Some((2_000, Effect::Evict(_))) = again(&mut scene) else { panic!() };
    assert_eq!(scene.engine.counts().in_flight, 1, "one tries for all");
    let whys: Vec<_> = scene.engine.blocked(20).iter().map(|standing| standing.why).collect();
    assert!(whys.iter().all(|why| *why == Why::NotPermitted) && whys.len() >= 9, "{whys:?}");
}

#[test]
fn an_order_without_an_answer_counts_as_lost_and_a_late_answer_still_counts() {
    let all = pods(1);
    let mut scene = Scene::new(Settings { answer_limit: Duration::from_secs(20), ..Settings::default() });
    scene.list(&all, &[]);
    let effects = scene.notice_and_gather(&all, 0);
    let order = evictions(&effects)[0].clone();
    assert_eq!(scene.wait(19_999), []);
    assert_eq!(scene.wait(1), []);
    assert_eq!(scene.engine.counts().in_flight, 0);
    assert_eq!(scene.answer(order.attempt, Answer::Accepted), []);
    assert_eq!(scene.wait(60_000), [], "it was done after all");
    // Twice, or never asked: nothing.
    assert_eq!(scene.answer(order.attempt, Answer::NotSent), []);
    assert_eq!(scene.answer(eci_core::eviction::Attempt(999), Answer::NotSent), []);
}

#[test]
fn a_free_pod_that_became_ready_while_it_was_judged_is_judged_anew_when_it_is_seen() {
    let unready = Pod { ready: false, ..pod("web-0") };
    let mut always = budget(0, 2, 3);
    (always.unhealthy, always.desired) = (UnhealthyPolicy::AlwaysAllow, 2);
    let mut scene = Scene::with(std::slice::from_ref(&unready), &[always]);
    let effects = scene.notice(std::slice::from_ref(&unready), 0);
    let order = evictions(&effects)[0].clone();
    assert_eq!(scene.answer(order.attempt, Answer::BudgetNotProcessed), []);
    let ready = Pod { ready: true, expired: Some(noticed(&scene)), ..unready };
    assert_eq!(scene.saw(ready), [], "now it costs budget, and there is none");
    scene.wait(200);
    scene.wait(1_000);
    assert_eq!(scene.said(), [("web-0", Why::BudgetExhausted)]);
}

#[test]
fn hard_kills_and_cut_graces_are_told_apart() {
    for (evicted, bid_failed, grace, expected) in [
        (false, true, 30, Outcome::HardKilled),
        (true, true, 30, Outcome::Late),
        (true, false, 12, Outcome::Late),
        (true, false, 30, Outcome::Graceful),
        (false, false, 30, Outcome::Ended),
    ] {
        let (mut scene, order) = sent();
        let mut last = pods(1).remove(0);
        if evicted {
            scene.answer(order.attempt, Answer::Unknown);
            last = scene.leaving(&last, grace);
            scene.saw(last.clone());
        }
        last.expired = Some(noticed(&scene));
        (last.phase, last.bid_failed, last.ready) = (eci_core::eviction::Phase::Failed, bid_failed, false);
        scene.saw(last);
        let outcomes: Vec<Outcome> = scene.ended().iter().map(|ended| ended.outcome).collect();
        assert_eq!(outcomes, [expected], "{evicted} {bid_failed} {grace}");
    }
}
