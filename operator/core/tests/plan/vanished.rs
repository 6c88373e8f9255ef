//! A resource that is no longer there.

use eci_api::image_cache::EliminationStrategy;
use eci_core::cloud::Meaning;
use jiff::SignedDuration;

use crate::said::remembered;
use crate::scene::{Scene, minutes};

const SUSPECTED: &str = "rest: Ready(Available) Reconciling(Vanished); wake 5s; busy; InProgress";

/// Two looks, a minute apart, that show nothing of imc-1; says what comes then.
fn vanish(t: &mut Scene, id: &str) -> String {
    t.vanish(id);
    t.wait(10);
    assert_eq!(t.run(), SUSPECTED);
    t.wait(61);
    t.run()
}

#[test]
fn a_resource_is_gone_when_two_looks_a_minute_apart_show_nothing() {
    let mut t = Scene::usable();
    t.vanish("imc-1");
    t.wait(10);
    assert_eq!(t.story(), ["look at imc-1", SUSPECTED]);
    for _ in 0..5 {
        t.wait(10);
        assert_eq!(t.run(), SUSPECTED);
    }
    t.wait(11);
    let story = t.story();
    assert_eq!(story[0], "look at imc-1");
    assert_eq!(story[story.len() - 2..], ["write [op 2/1, retiring imc-1]", "create 2/1"]);
}

#[test]
fn a_resource_that_only_the_list_does_not_show_is_there() {
    let mut t = Scene::usable();
    t.unlisted.insert("imc-1".into());
    t.wait(10);
    assert_eq!(t.story(), ["look at imc-1", "rest: Ready(Available); wake 15s; Current"]);
    t.wait(600);
    assert_eq!(t.story(), ["look at imc-1", "rest: Ready(Available); wake 15s; Current"]);
}

#[test]
fn a_resource_that_only_the_look_does_not_show_is_there() {
    let mut t = Scene::usable();
    t.unknown.insert("imc-1".into());
    t.wait(600);
    assert_eq!(t.story(), ["rest: Ready(Available); Current"]);
}

#[test]
fn a_look_that_fails_proves_nothing() {
    let mut t = Scene::usable();
    t.vanish("imc-1");
    t.wait(10);
    t.object.live = false;
    assert_eq!(t.decide(), "look at imc-1");
    t.memory.look_failed(crate::scene::error(Meaning::Denied), &t.limits, t.now);
    assert_eq!(t.run(), "rest: Ready(Available) Stalled(PermissionDenied); wake 15s; Failed");
}

#[test]
fn a_new_resource_may_be_slow_to_show() {
    let mut t = Scene::about_to_send();
    t.unlisted.insert("imc-1".into());
    t.unknown.insert("imc-1".into());
    assert_eq!(t.ok(), "rest: !Ready(Building) Reconciling(Building); wake 5s; busy; InProgress");
    for _ in 0..4 {
        t.wait(61);
        assert_eq!(t.run(), "rest: !Ready(Building) Reconciling(Building); wake 5s; busy; InProgress");
    }
    t.wait(61);
    assert_eq!(t.run(), "create 2/1");
}

#[test]
fn while_a_vanished_resource_is_rebuilt_it_is_not_ready() {
    let mut t = Scene::usable();
    assert_eq!(vanish(&mut t, "imc-1"), "create 2/1");
    assert_eq!(
        t.fails(Meaning::Unknown),
        "rest: !Ready(Resolving) Reconciling(Resolving); wake 300s; busy; InProgress"
    );

    let mut t = Scene::usable();
    vanish(&mut t, "imc-1");
    t.unlisted.insert("imc-2".into());
    t.unknown.insert("imc-2".into());
    t.made_next("imc-2");
    assert_eq!(t.ok(), "rest: !Ready(Building) Reconciling(Building); wake 5s; busy; InProgress");
}

#[test]
fn a_vanished_resource_is_rebuilt_at_most_once_an_hour() {
    let mut t = Scene::usable();
    assert_eq!(vanish(&mut t, "imc-1"), "create 2/1");
    t.ok();
    t.becomes("imc-2", "Ready");
    t.wait(300);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
    let line = vanish(&mut t, "imc-2");
    assert!(line.starts_with("rest: !Ready(Vanished) Reconciling(Vanished); wake 32"), "{line}");
    assert!(t.message("Ready").contains("built again when the hour is over"));
    t.wait(minutes(55));
    assert_eq!(t.run(), "create 3/1");
}

#[test]
fn a_request_rebuilds_within_the_hour() {
    let mut t = Scene::usable();
    vanish(&mut t, "imc-1");
    t.ok();
    t.becomes("imc-2", "Ready");
    t.wait(300);
    t.run();
    assert!(vanish(&mut t, "imc-2").starts_with("rest: !Ready(Vanished)"));
    t.ask_again("now");
    t.wait(1);
    assert_eq!(t.run(), "create 3/1");
}

#[test]
fn when_too_much_vanishes_at_once_nothing_is_rebuilt() {
    let mut t = Scene::usable();
    t.suspect = true;
    assert_eq!(vanish(&mut t, "imc-1"), "rest: Ready(Available) Reconciling(CloudViewSuspect); InProgress");
    assert_eq!(remembered(&t.record()), "current imc-1");
    t.suspect = false;
    t.wait(10);
    assert_eq!(t.run(), "create 2/1");
}

#[test]
fn a_request_rebuilds_although_too_much_vanished_at_once() {
    let mut t = Scene::usable();
    t.suspect = true;
    assert!(vanish(&mut t, "imc-1").contains("CloudViewSuspect"));
    assert!(t.message("Reconciling").contains("requested-at"));
    t.ask_again("now");
    t.wait(1);
    assert_eq!(t.run(), "create 2/1");
}

#[test]
fn an_expired_resource_is_not_rebuilt_without_a_request() {
    let mut t = Scene::usable_with(|r| r.retention_days = Some(1));
    t.at("imc-1").expiration_time = Some(t.now.wall + SignedDuration::from_secs(100));
    t.wait(10);
    t.run();
    t.wait(100);
    assert_eq!(vanish(&mut t, "imc-1"), "rest: !Ready(Expired) Stalled(Expired); Failed");
    assert!(t.message("Stalled").contains("requested-at"));
    t.wait(86_400);
    assert_eq!(t.run(), "rest: !Ready(Expired) Stalled(Expired); Failed");
    t.ask_again("now");
    t.wait(1);
    assert_eq!(t.run(), "create 2/1");
}

#[test]
fn a_resource_that_vanishes_before_its_time_is_not_expired() {
    let mut t = Scene::usable_with(|r| r.retention_days = Some(1));
    t.at("imc-1").expiration_time = Some(t.now.wall + SignedDuration::from_hours(1));
    t.wait(10);
    t.run();
    assert_eq!(vanish(&mut t, "imc-1"), "create 2/1");
}

#[test]
fn a_resource_that_vanishes_when_the_clouds_clock_may_say_so_is_expired() {
    let mut t = Scene::usable_with(|r| r.retention_days = Some(1));
    t.at("imc-1").expiration_time = Some(t.now.wall + SignedDuration::from_mins(14));
    t.wait(10);
    t.run();
    assert_eq!(vanish(&mut t, "imc-1"), "rest: !Ready(Expired) Stalled(Expired); Failed");
}

#[test]
fn an_eliminated_resource_is_not_rebuilt_without_a_request() {
    let mut t = Scene::usable_with(|r| r.elimination_strategy = Some(EliminationStrategy::Lru));
    assert_eq!(vanish(&mut t, "imc-1"), "rest: !Ready(Eliminated) Stalled(Eliminated); Failed");
    assert!(t.message("Stalled").contains("requested-at"));
    t.ask_again("now");
    t.wait(1);
    assert_eq!(t.run(), "create 2/1");
}

#[test]
fn a_request_from_when_the_resource_was_usable_is_not_kept_for_its_end() {
    let mut t = Scene::usable_with(|r| r.elimination_strategy = Some(EliminationStrategy::Lru));
    t.ask_again("long ago");
    t.wait(10);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
    t.wait(86_400);
    assert_eq!(vanish(&mut t, "imc-1"), "rest: !Ready(Eliminated) Stalled(Eliminated); Failed");
}
