//! What a step costs when thousands of pods wait: not how many they are.

use std::sync::Arc;

use eci_core::eviction::answer::Answer;
use eci_core::eviction::{Budget, Event, Labels, Pod, Selector, Settings};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::scene::*;

const PODS: usize = 10_000;

/// So many pods behind so many budgets that each allow one.
fn storm(budgets: usize) -> (Scene, Vec<Budget>) {
    let labels = |which: usize| [("app".to_owned(), format!("web-{which}"))].into();
    let guards: Vec<Budget> = (0..budgets)
        .map(|which| {
            let mut guard = budget(1, 10, 10);
            guard.id.name = format!("web-{which}").into();
            let selector = LabelSelector { match_labels: Some(labels(which)), match_expressions: None };
            guard.selector = Selector::of(Some(&selector));
            guard
        })
        .collect();
    let pods: Vec<Pod> = (0..PODS)
        .map(|n| {
            let labels: Labels = Arc::new(labels(n % budgets));
            Pod { labels, ..pod(&format!("web-{n}")) }
        })
        .collect();
    let settings = Settings { per_second: 10_000, burst: 10_000, in_flight: 4_096, ..Settings::default() };
    let mut scene = Scene::new(settings);
    scene.list(&pods, &guards);
    scene.notice(&pods, 0);
    (scene, guards)
}

#[test]
fn who_waits_for_a_budget_sleeps_until_that_budget_changes() {
    for budgets in [1, 1_000] {
        let (mut scene, guards) = storm(budgets);
        let orders = scene.wait(300);
        let sent: Vec<_> = evictions(&orders).into_iter().cloned().collect();
        assert_eq!(sent.len(), budgets, "each budget allows one");
        for order in &sent {
            scene.answer(order.attempt, Answer::Accepted);
        }
        // Whoever was sent, and nobody else, was judged once more.
        scene.step([Event::Tick]);
        assert_eq!(scene.engine.awake(), 0);
        assert_eq!(scene.engine.counts().noticed, PODS);

        // A budget has used up what it had, and then allows one more: that concerns its own pods.
        let mut guard = guards[0].clone();
        (guard.allowed, guard.healthy) = (0, 9);
        guard.disrupted = Arc::new([(sent[0].pod.name.to_string(), wall(scene.ms))].into());
        assert_eq!(scene.saw_budget(guard.clone()), []);
        (guard.allowed, guard.healthy) = (1, 10);
        guard.disrupted = Arc::default();
        let orders = scene.saw_budget(guard);
        assert_eq!(evictions(&orders).len(), 1);
        assert!(scene.engine.awake() <= PODS / budgets, "{} are awake", scene.engine.awake());
        scene.step([Event::Tick]);
        assert!(scene.engine.awake() <= 1, "{} are awake", scene.engine.awake());
    }
}

#[test]
fn who_could_go_and_has_to_wait_for_the_rate_sleeps_and_goes_in_order() {
    let budgets = 1_000;
    let (_, guards) = storm(budgets);
    // As the storm, but with ten requests at a time, and ten a second.
    let settings = Settings { per_second: 10, burst: 10, ..Settings::default() };
    let pods: Vec<Pod> = (0..PODS)
        .map(|n| {
            let labels: Labels = Arc::new([("app".to_owned(), format!("web-{}", n % budgets))].into());
            Pod { labels, deletion_cost: i32::try_from(PODS - n).unwrap(), ..pod(&format!("web-{n}")) }
        })
        .collect();
    let mut scene = Scene::new(settings);
    scene.list(&pods, &guards);
    scene.notice(&pods, 0);
    let mut sent: Vec<String> = Vec::new();
    for wait in [300, 1_000, 1_000] {
        let orders = scene.wait(wait);
        assert_eq!(evictions(&orders).len(), 10);
        for order in evictions(&orders) {
            sent.push(order.pod.name.to_string());
            scene.answer(order.attempt, Answer::Accepted);
        }
        scene.step([Event::Tick]);
        assert_eq!(scene.engine.awake(), 0, "thousands could go, and are not judged again until they do");
    }
    // The cheapest of all go first, each behind a budget of its own.
    let expected: Vec<String> = (0..30).map(|n| format!("web-{}", PODS - 1 - n)).collect();
    assert_eq!(sent, expected);
}
