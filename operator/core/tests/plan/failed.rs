//! Builds that fail in the cloud: tried again after 5, 30 and 120 minutes, then a person is needed.

use std::time::Duration;

use crate::said::remembered;
use crate::scene::{Scene, minutes};

/// An object whose first build failed just now.
fn failed_once() -> Scene {
    let mut t = Scene::building();
    t.fail("imc-1");
    t.wait(10);
    assert_eq!(
        t.story(),
        [
            "write [current imc-1, failed 1]",
            "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 300s; InProgress"
        ]
    );
    t
}

/// Waits, deletes the failed build, begins the next and lets it fail.
fn fail_again(t: &mut Scene, wait: u64, id: &str) -> String {
    t.wait(wait);
    let line = t.run();
    assert!(line.starts_with("delete imc-") && line.ends_with(" BuildFailed"), "{line}");
    assert!(t.ok().starts_with("create "));
    t.ok();
    t.fail(id);
    t.wait(10);
    t.run()
}

/// An object that was given up: four builds failed.
fn given_up() -> Scene {
    let mut t = failed_once();
    for (wait, id, next) in [
        (minutes(5), "imc-2", "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 1800s; InProgress"),
        (minutes(30), "imc-3", "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 7200s; InProgress"),
        (
            minutes(120),
            "imc-4",
            "rest: !Ready(BuildFailedPermanently) Stalled(BuildFailedPermanently); Failed",
        ),
    ] {
        assert_eq!(fail_again(&mut t, wait, id), next);
    }
    t
}

#[test]
fn a_failed_build_says_why_and_when_it_is_tried_again() {
    let t = failed_once();
    let message = t.message("Ready");
    assert!(message.contains("PullFailed: manifest unknown"), "{message}");
    assert!(message.contains("again 5 minutes after the failure"), "{message}");
}

#[test]
fn a_build_that_cannot_reach_the_internet_says_what_it_needs() {
    let mut t = Scene::building();
    t.fail("imc-1");
    t.at("imc-1").events[0].message = "dial tcp 1.2.3.4:443: i/o timeout".into();
    t.wait(10);
    t.run();
    assert!(t.message("Ready").contains("needs a NAT gateway or an EIP"), "{}", t.message("Ready"));
}

#[test]
fn failed_builds_are_tried_again_after_5_30_and_120_minutes_and_then_given_up() {
    let t = given_up();
    assert!(t.message("Stalled").contains("4 builds of this generation failed"));
    assert!(t.message("Stalled").contains("requested-at"));
    assert_eq!(t.last.wake, None);
}

#[test]
fn a_failed_build_is_not_tried_again_before_its_time() {
    let mut t = failed_once();
    t.wait(298);
    assert_eq!(t.run(), "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 2s; InProgress");
}

#[test]
fn the_failed_resource_is_deleted_and_confirmed_gone_before_the_next_build() {
    let mut t = failed_once();
    t.wait(301);
    assert_eq!(t.run(), "delete imc-1 BuildFailed");
    let passes = t.go_after_ok();
    assert_eq!(passes[0], "look at imc-1");
    assert_eq!(passes.last().unwrap(), "create 2/1");
    // Its events outlive it.
    assert_eq!(t.status.unwrap().events[0].reason, "PullFailed");
}

#[test]
fn a_failed_resource_whose_deletion_takes_time_is_waited_for() {
    let mut t = failed_once();
    t.wait(301);
    t.run();
    t.fold(eci_core::cloud_resource::Outcome::Done);
    assert_eq!(t.run(), "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 5s; busy; InProgress");
}

#[test]
fn a_new_generation_starts_anew_at_once() {
    for mut t in [failed_once(), given_up()] {
        let last = t.record().current.unwrap().id;
        t.edit(|r| r.images = vec!["nginx:2".into()]);
        t.wait(1);
        assert_eq!(t.run(), format!("delete {last} BuildFailed"));
        t.ok();
        t.made_next("imc-9");
        t.ok();
        t.fail("imc-9");
        t.wait(10);
        assert_eq!(t.run(), "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 300s; InProgress");
        assert_eq!(t.record().failed.unwrap().count, 1);
    }
}

#[test]
fn a_request_starts_the_count_of_failed_builds_again() {
    let mut t = given_up();
    t.ask_again("today");
    t.wait(1);
    assert_eq!(t.run(), "delete imc-4 BuildFailed");
    assert_eq!(t.ok(), "create 5/1");
    t.ok();
    t.fail("imc-5");
    t.wait(10);
    assert_eq!(t.run(), "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 300s; InProgress");
    assert_eq!(t.record().failed.unwrap().count, 1);
}

#[test]
fn a_failed_resource_that_vanishes_after_a_day_is_no_news() {
    let mut t = given_up();
    t.wait(86_400);
    t.vanish("imc-4");
    for _ in 0..3 {
        t.wait(61);
        t.run();
    }
    assert_eq!(t.run(), "rest: !Ready(BuildFailedPermanently) Stalled(BuildFailedPermanently); Failed");
    assert_eq!(remembered(&t.record()), "failed 4");
    assert_eq!(t.record().last_rebuild, None);
}

#[test]
fn a_failed_resource_that_vanishes_early_does_not_shorten_the_wait() {
    let mut t = failed_once();
    t.vanish("imc-1");
    t.wait(61);
    t.run();
    t.wait(61);
    let line = t.run();
    assert!(line.starts_with("rest: !Ready(BuildFailed) Reconciling(BuildFailed)"), "{line}");
    assert!(t.last.wake.unwrap() <= Duration::from_mins(3));
}

#[test]
fn a_failed_build_with_an_invalid_spec_is_kept_as_evidence() {
    let mut t = failed_once();
    t.break_spec();
    t.wait(301);
    assert_eq!(t.run(), "rest: !Ready(InvalidSpec) Stalled(InvalidSpec); Failed");
    assert_eq!(remembered(&t.record()), "current imc-1, failed 1");
}

#[test]
fn a_success_forgets_the_failures() {
    let mut t = failed_once();
    t.wait(301);
    t.run();
    t.ok();
    t.ok();
    assert_eq!(t.record().failed.map(|f| f.count), Some(1));
    t.becomes("imc-2", "Ready");
    t.wait(10);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
    assert_eq!(t.record().failed, None);
}
