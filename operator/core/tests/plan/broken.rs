//! A resource that was usable and is not any more, though it is there.

use crate::scene::{Scene, minutes};

/// A usable resource whose snapshot the cloud has shown.
fn with_snapshot() -> Scene {
    let mut t = Scene::usable();
    t.at("imc-1").snapshot_id = Some("s-1".into());
    t.wait(10);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
    t
}

const BROKEN: &str = "rest: !Ready(Broken) Reconciling(Broken); wake 0s; InProgress";

#[test]
fn what_was_usable_and_fails_is_told_so_and_replaced_at_once() {
    let mut t = Scene::usable();
    t.fail("imc-1");
    t.wait(10);
    assert_eq!(t.story(), [BROKEN]);
    let message = t.message("Ready");
    assert!(message.contains("imc-1 was usable") && message.contains("manifest unknown"), "{message}");
    t.restart();
    t.wait(1);
    let story = t.story();
    assert_eq!(story[story.len() - 2..], ["write [op 2/1, retiring imc-1]", "create 2/1"]);
    assert_eq!(t.ok(), "delete imc-1 Superseded");
    assert_eq!(t.record().failed, None, "it was no build that failed");
}

#[test]
fn a_usable_resource_without_its_snapshot_is_looked_at_and_replaced() {
    let mut t = with_snapshot();
    t.at("imc-1").snapshot_id = None;
    t.wait(10);
    assert_eq!(t.story(), ["look at imc-1", BROKEN]);
    assert!(t.message("Ready").contains("snapshot of imc-1 is gone"), "{}", t.message("Ready"));
    t.wait(1);
    assert_eq!(t.run(), "create 2/1");
}

#[test]
fn a_list_that_shows_no_snapshot_while_the_look_does_proves_nothing() {
    let mut t = with_snapshot();
    t.at("imc-1").snapshot_id = None;
    t.wait(10);
    t.at("imc-1").snapshot_id = Some("s-1".into());
    assert_eq!(t.story(), ["look at imc-1", "rest: Ready(Available); Current"]);
}

#[test]
fn a_cloud_that_never_shows_a_snapshot_has_usable_resources_all_the_same() {
    let mut t = Scene::usable();
    for _ in 0..3 {
        t.wait(600);
        assert_eq!(t.story(), ["rest: Ready(Available); Current"]);
    }
}

#[test]
fn what_breaks_again_is_replaced_once_an_hour_unless_a_person_asks() {
    let mut t = Scene::usable();
    t.fail("imc-1");
    t.wait(10);
    t.run();
    t.wait(1);
    assert_eq!(t.run(), "create 2/1");
    t.ok();
    t.ok();
    t.becomes("imc-2", "Ready");
    t.wait(10);
    assert_eq!(t.run(), "rest: Ready(Available); Current");
    t.fail("imc-2");
    t.wait(10);
    assert_eq!(t.run(), BROKEN);
    t.wait(1);
    let line = t.run();
    assert!(line.starts_with("rest: !Ready(Broken) Reconciling(Broken); wake 35"), "{line}");
    assert!(t.message("Ready").contains("within an hour of the last rebuild"));
    // Even if the cloud calls it usable again.
    t.becomes("imc-2", "Ready");
    t.wait(minutes(30));
    assert!(t.run().starts_with("rest: !Ready(Broken)"));
    t.ask_again("now");
    t.wait(1);
    assert_eq!(t.run(), "create 3/1");
}

#[test]
fn a_successor_that_is_under_way_takes_the_place_of_what_broke() {
    let mut t = Scene::replacing();
    t.fail("imc-1");
    t.wait(10);
    assert_eq!(t.run(), BROKEN);
    t.wait(1);
    assert!(t.story().contains(&"write [current imc-2, retiring imc-1]".into()));
}
