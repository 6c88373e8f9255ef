//! An account that is full: who waits is told so and sends nothing, and what is deleted is deleted all the same.

use eci_core::cloud::Meaning;
use eci_core::quota::Room;

use crate::scene::{Scene, minutes};

const FULL: Room = Room::Full { limit: 500, used: 500, before: 2 };
const WAITS: &str = "rest: !Ready(QuotaExceeded) Reconciling(QuotaExceeded); wake 30s; InProgress";

fn in_a_full_account() -> Scene {
    let mut t = Scene::new();
    (t.quiet, t.room) = (false, FULL);
    t
}

#[test]
fn before_a_call_is_recorded_the_account_is_asked_for_room() {
    let mut t = Scene::new();
    (t.quiet, t.room) = (false, Room::Free);
    let story = t.story();
    let (asked, recorded) = (
        story.iter().position(|step| step == "ask for room").unwrap(),
        story.iter().position(|step| step == "write [op 1/1]").unwrap(),
    );
    assert!(asked < recorded, "{story:?}");
    assert_eq!(story.last().unwrap(), "create 1/1");
}

#[test]
fn a_full_account_is_a_condition_with_a_position_and_no_call() {
    let mut t = in_a_full_account();
    assert_eq!(t.run(), WAITS);
    let message = t.message("Ready");
    for words in ["500 of at most 500 image caches", "2 others are before this one", "Raise the quota"] {
        assert!(message.contains(words), "{words:?} is not in {message:?}");
    }
    assert_eq!(t.record().last_attempt, 0, "no attempt is used up by waiting");
    let before = t.status.clone();
    t.wait(30);
    assert_eq!(t.run(), WAITS);
    assert_eq!(t.status, before, "waiting writes nothing");
    t.room = Room::Free;
    t.wait(30);
    assert_eq!(t.run(), "create 1/1");
}

#[test]
fn after_half_an_hour_a_full_account_needs_a_person_also_across_a_restart() {
    let mut t = in_a_full_account();
    t.run();
    t.wait(minutes(20));
    t.restart();
    assert_eq!(t.run(), WAITS);
    t.wait(minutes(10));
    assert_eq!(t.run(), "rest: !Ready(QuotaExceeded) Stalled(QuotaExceeded); wake 30s; Failed");
    t.desired.requested_at = Some("now".into());
    assert_eq!(t.run(), "create 1/1", "a person may insist");
}

#[test]
fn a_refusal_by_the_cloud_has_its_own_patience_whatever_room_there_is() {
    let mut t = Scene::about_to_send();
    (t.quiet, t.room) = (false, Room::Free);
    let refused = t.fails(Meaning::QuotaExceeded);
    assert!(
        refused.starts_with("rest: !Ready(QuotaExceeded) Reconciling(QuotaExceeded); wake "),
        "{refused}"
    );
    t.wait(1);
    let story = t.story();
    assert!(!story.contains(&"ask for room".to_owned()), "it is not its turn: {story:?}");
    t.room = FULL;
    t.wait(minutes(5));
    assert_eq!(t.run(), WAITS);
}

#[test]
fn a_usable_cache_serves_while_its_replacement_waits_for_room() {
    let mut t = Scene::usable();
    (t.quiet, t.room) = (false, FULL);
    t.edit(|request| request.images = vec!["nginx:2".into()]);
    assert_eq!(
        t.run(),
        "rest: Ready(Available) Reconciling(QuotaExceeded) Updating(QuotaExceeded); wake 30s; InProgress"
    );
}

#[test]
fn a_deletion_does_not_ask_for_room() {
    let mut t = Scene::usable();
    (t.quiet, t.room) = (false, FULL);
    t.delete();
    assert_eq!(t.story(), ["list", "look who uses it", "delete imc-1 ObjectDeleted"]);
    assert_eq!(t.go_after_ok(), ["look at imc-1", "remove finalizer"]);
}
