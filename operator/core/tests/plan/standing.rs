//! What keeps an object from being reconciled, and what is nobody's.

use eci_api::image_cache::DeletionPolicy;

use crate::said::remembered;
use crate::scene::Scene;

// Suspend.

#[test]
fn a_suspended_object_keeps_its_readiness_and_nothing_of_it_is_touched() {
    let mut t = Scene::usable();
    t.desired.suspend = true;
    t.edit(|r| r.images = vec!["nginx:2".into()]);
    t.has("uid-1", "imc-8", 1, "Ready");
    t.at("imc-1").tags.clear();
    for _ in 0..3 {
        t.wait(100);
        assert_eq!(t.story(), ["rest: Ready(Available) Paused(Suspended); Current"]);
    }
    assert!(t.message("Paused").contains("spec.suspend"));
    t.desired.suspend = false;
    t.new_generation();
    t.wait(1);
    assert_eq!(t.run(), "tag imc-1");
}

#[test]
fn a_suspended_object_whose_resource_is_being_built_is_not_ready() {
    let mut t = Scene::building();
    t.desired.suspend = true;
    t.new_generation();
    t.becomes("imc-1", "Ready");
    t.wait(10);
    assert_eq!(t.story(), ["rest: !Ready(Suspended) Paused(Suspended); InProgress"]);
}

#[test]
fn a_suspended_object_still_records_the_answer_to_its_call_and_sends_no_other() {
    let mut t = Scene::about_to_send();
    t.desired.suspend = true;
    let passes = t.go_after_ok();
    assert_eq!(passes, ["write [current imc-1]", "rest: !Ready(Suspended) Paused(Suspended); InProgress"]);

    let mut t = Scene::about_to_send();
    t.desired.suspend = true;
    t.fails(eci_core::cloud::Meaning::Unknown);
    t.wait(1_000);
    assert_eq!(t.story(), ["rest: !Ready(Suspended) Paused(Suspended); InProgress"]);
    assert_eq!(remembered(&t.record()), "op 1/1");
}

#[test]
fn a_suspended_object_is_deleted() {
    let mut t = Scene::usable();
    t.desired.suspend = true;
    t.delete();
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
}

// Region.

#[test]
fn a_resource_of_another_region_is_neither_touched_nor_forgotten() {
    let mut t = Scene::usable();
    t.region = "elsewhere";
    t.vanish("imc-1");
    t.edit(|r| r.images = vec!["nginx:2".into()]);
    for _ in 0..3 {
        t.wait(100);
        assert_eq!(t.story(), ["rest: Ready(Available) Stalled(RegionChanged); Failed"]);
    }
    let message = t.message("Stalled");
    assert!(message.contains("region r,") && message.contains("works in elsewhere"), "{message}");
    assert!(message.contains("Run an operator for r"), "{message}");
    t.delete();
    t.wait(1_000);
    assert_eq!(t.story(), ["rest: !Ready(RegionChanged) Stalled(RegionChanged); Terminating"]);
    assert_eq!(remembered(&t.record()), "current imc-1");
    assert_eq!(t.status.unwrap().region_id.as_deref(), Some("r"));
}

#[test]
fn an_object_that_never_owned_anything_belongs_to_no_region() {
    let mut t = Scene::new();
    t.break_spec();
    assert_eq!(t.run(), "rest: !Ready(InvalidSpec) Stalled(InvalidSpec); Failed");
    assert_eq!(t.status.as_ref().unwrap().region_id.as_deref(), Some("r"));
    t.region = "elsewhere";
    t.wait(10);
    assert_eq!(t.run(), "rest: !Ready(InvalidSpec) Stalled(InvalidSpec); Failed");
    assert_eq!(t.status.as_ref().unwrap().region_id.as_deref(), Some("elsewhere"));
    t.desired.request = Ok(crate::scene::request());
    t.new_generation();
    assert_eq!(t.run(), "create 1/1");
    // From here on there may be something.
    t.region = "r";
    t.wait(10);
    assert_eq!(t.run(), "rest: !Ready(RegionChanged) Stalled(RegionChanged); Failed");
}

// An invalid spec.

#[test]
fn an_invalid_spec_keeps_a_usable_resource_ready() {
    let mut t = Scene::usable();
    t.break_spec();
    t.wait(10);
    assert_eq!(t.story(), ["rest: Ready(Available) Stalled(InvalidSpec); Failed"]);
    assert!(t.message("Stalled").contains("correct it"));
}

#[test]
fn an_invalid_spec_rebuilds_nothing_that_vanished() {
    let mut t = Scene::usable();
    t.break_spec();
    t.vanish("imc-1");
    t.wait(10);
    t.run();
    t.wait(61);
    let line = t.run();
    assert!(line.starts_with("rest: !Ready(InvalidSpec) Stalled(InvalidSpec)"), "{line}");
}

#[test]
fn an_unresolved_call_is_resolved_under_an_invalid_spec() {
    let mut t = Scene::about_to_send();
    t.unlisted.insert("imc-1".into());
    t.lose_the_answer();
    t.break_spec();
    t.unlisted.clear();
    t.wait(10);
    assert_eq!(
        t.story(),
        ["write [current imc-1]", "rest: !Ready(InvalidSpec) Stalled(InvalidSpec); Failed"]
    );
}

// Strays.

#[test]
fn a_stray_is_deleted_when_two_lists_half_a_minute_apart_show_it() {
    let mut t = Scene::usable();
    t.has("uid-1", "imc-8", 1, "Ready");
    t.wait(10);
    assert_eq!(t.story(), ["rest: Ready(Available); wake 30s; busy; Current"]);
    t.sleep(60);
    assert_eq!(t.story(), ["rest: Ready(Available); wake 30s; busy; Current"], "the same list is one list");
    t.poll();
    assert_eq!(t.story(), ["get the object", "delete imc-8 Superseded"]);
    assert_eq!(t.ok(), "rest: Ready(Available); wake 0s; busy; Current");
    t.wait(5);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
}

#[test]
fn a_stray_that_a_list_does_not_show_is_new_when_the_next_one_does() {
    let mut t = Scene::usable();
    t.has("uid-1", "imc-8", 1, "Ready");
    t.wait(10);
    t.run();
    t.unlisted.insert("imc-8".into());
    t.wait(20);
    t.run();
    t.unlisted.clear();
    t.wait(20);
    assert_eq!(t.run(), "rest: Ready(Available); wake 30s; busy; Current");
}

#[test]
fn a_stray_stays_under_retain_and_is_told_of_once() {
    let mut t = Scene::usable();
    t.desired.deletion_policy = DeletionPolicy::Retain;
    t.has("uid-1", "imc-8", 1, "Ready");
    t.wait(10);
    assert_eq!(t.run(), "rest: Ready(Available); wake 30s; busy; Current");
    t.wait(31);
    assert_eq!(t.story(), ["get the object", "tell of imc-8"]);
    assert_eq!(t.answer(eci_core::cloud_resource::Outcome::Done), ["rest: Ready(Available); Current"]);
    for _ in 0..3 {
        t.wait(100);
        assert_eq!(t.story(), ["rest: Ready(Available); Current"]);
    }
    t.desired.deletion_policy = DeletionPolicy::Delete;
    assert_eq!(t.run(), "delete imc-8 Superseded", "the policy is another now");
}

#[test]
fn a_namesakes_resource_is_no_stray() {
    let mut t = Scene::usable();
    t.has("uid-0", "imc-8", 1, "Ready");
    for _ in 0..3 {
        t.wait(100);
        assert_eq!(t.run(), "rest: Ready(Available); Current");
    }
}

#[test]
fn what_an_unresolved_call_may_have_made_is_no_stray() {
    let mut t = Scene::usable();
    t.edit(|r| r.images = vec!["nginx:2".into()]);
    t.run();
    t.unlisted.insert("imc-2".into());
    t.lose_the_answer();
    t.wait(100);
    assert!(t.run().starts_with("rest: Ready(Available) Reconciling(Resolving)"));
    t.unlisted.clear();
    t.wait(100);
    assert_eq!(t.story()[0], "write [current imc-1, successor imc-2]");
}
