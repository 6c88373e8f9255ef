//! The end of an object: nothing is made any more, everything is deleted and confirmed, then the finalizer goes.

use eci_api::image_cache::DeletionPolicy;
use eci_core::cloud::Meaning;
use eci_core::cloud_resource::{Effect, Next, Outcome};
use jiff::Timestamp;

use crate::scene::{Scene, owner};

const WAITING: &str = "rest: !Ready(Deleting) Reconciling(Deleting); wake 5s; busy; Terminating";
const WINDOW: &str = "rest: !Ready(Deleting) Reconciling(Deleting); wake 300s; busy; Terminating";

#[test]
fn a_deletion_looks_deletes_confirms_and_lets_the_object_go() {
    let mut t = Scene::usable();
    t.delete();
    assert_eq!(t.story(), ["list", "delete imc-1 ObjectDeleted"]);
    assert_eq!(t.go_after_ok(), ["look at imc-1", "remove finalizer"]);
}

#[test]
fn a_deletion_without_our_finalizer_is_not_our_affair() {
    let mut t = Scene::new();
    t.delete();
    assert_eq!(t.story(), ["rest: !Ready(Deleting) Reconciling(Deleting); Terminating"]);
}

#[test]
fn everything_of_ours_is_deleted_also_what_the_record_does_not_know() {
    let mut t = Scene::replacing();
    t.has("uid-1", "imc-7", 1, "Ready");
    t.has("uid-0", "imc-8", 1, "Ready");
    t.delete();
    for id in ["imc-1", "imc-2", "imc-7"] {
        assert_eq!(t.run(), format!("delete {id} ObjectDeleted"));
        t.ok();
    }
    assert_eq!(t.run(), "remove finalizer");
    assert_eq!(t.cloud.len(), 1, "the namesake's is not ours");
}

#[test]
fn a_resource_that_is_still_there_is_looked_at_every_5_seconds_and_deleted_again_after_a_minute() {
    let mut t = Scene::usable();
    t.delete();
    t.run();
    t.fold(Outcome::Done);
    assert_eq!(t.story(), ["look at imc-1", WAITING]);
    t.wait(3);
    assert_eq!(t.story(), [WAITING]);
    t.wait(5);
    assert_eq!(t.story(), ["look at imc-1", WAITING]);
    t.wait(61);
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
}

#[test]
fn a_list_that_still_shows_what_is_gone_holds_nothing_up() {
    let mut t = Scene::usable();
    t.delete();
    t.run();
    t.unknown.insert("imc-1".into());
    t.fold(Outcome::Done);
    assert_eq!(t.run(), "remove finalizer");
}

#[test]
fn deleting_what_is_not_known_counts_as_deleted_once_a_look_confirms_it() {
    let mut t = Scene::usable();
    t.delete();
    t.run();
    t.vanish("imc-1");
    let passes = t.answer(Outcome::Failed(crate::scene::error(Meaning::NotFound)));
    assert_eq!(passes, ["look at imc-1", "remove finalizer"]);
}

#[test]
fn a_refused_delete_says_why_and_is_tried_again() {
    let mut t = Scene::usable();
    t.delete();
    t.run();
    assert_eq!(
        t.fails(Meaning::Denied),
        "rest: !Ready(PermissionDenied) Stalled(PermissionDenied); wake 15s; Terminating"
    );
    t.wait(16);
    assert_eq!(t.story(), ["look at imc-1", "delete imc-1 ObjectDeleted"]);
}

#[test]
fn a_delete_that_hits_a_quota_says_so_and_is_tried_until_it_succeeds() {
    let mut t = Scene::usable();
    t.delete();
    t.run();
    for wait in [60, 120, 240] {
        assert_eq!(
            t.fails(Meaning::QuotaExceeded),
            format!("rest: !Ready(QuotaExceeded) Reconciling(QuotaExceeded); wake {wait}s; Terminating")
        );
        t.wait(wait + 1);
        assert_eq!(t.story(), ["look at imc-1", "delete imc-1 ObjectDeleted"]);
    }
    assert_eq!(t.ok(), "remove finalizer");
}

#[test]
fn a_refused_delete_of_what_is_gone_ends_when_looks_a_minute_apart_show_nothing() {
    let mut t = Scene::usable();
    t.delete();
    t.run();
    t.fails(Meaning::Denied);
    t.vanish("imc-1");
    t.wait(16);
    assert_eq!(t.story(), ["look at imc-1", "delete imc-1 ObjectDeleted"]);
    t.fails(Meaning::Denied);
    t.wait(61);
    assert_eq!(t.story(), ["look at imc-1", "remove finalizer"]);
}

#[test]
fn an_object_that_is_being_deleted_sends_no_create_call() {
    let mut t = Scene::about_to_send();
    t.delete();
    assert_eq!(t.run(), "remove finalizer", "what this process recorded and never sent is not waited for");

    let mut t = Scene::new();
    t.object.has_finalizer = true;
    t.delete();
    assert!(!t.run().starts_with("create"));
}

#[test]
fn an_unresolved_call_is_waited_for_during_a_window() {
    let mut t = Scene::about_to_send();
    t.fails(Meaning::Unknown);
    t.delete();
    assert_eq!(t.run(), WINDOW);
    assert!(t.message("Ready").contains("A create call got no clear answer"));
    t.wait(299);
    assert_eq!(t.run(), "rest: !Ready(Deleting) Reconciling(Deleting); wake 1s; busy; Terminating");
    t.wait(2);
    assert_eq!(t.run(), "remove finalizer");
}

#[test]
fn what_an_unresolved_call_made_is_deleted_when_it_shows() {
    let mut t = Scene::about_to_send();
    t.unlisted.insert("imc-1".into());
    t.lose_the_answer();
    t.delete();
    t.run();
    t.unlisted.clear();
    t.wait(100);
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
    // Another send of it may still be on its way.
    assert!(t.ok().starts_with("rest: !Ready(Deleting) Reconciling(Deleting); wake 2"));
    t.wait(300);
    assert_eq!(t.run(), "remove finalizer");
}

#[test]
fn a_call_that_another_process_recorded_is_waited_for() {
    let mut t = Scene::about_to_send();
    t.restart();
    t.delete();
    assert_eq!(t.run(), WINDOW);
}

#[test]
fn an_answer_that_is_not_yet_recorded_is_known() {
    let mut t = Scene::about_to_send();
    t.delete();
    let passes = t.go_after_ok();
    assert_eq!(passes.last().unwrap(), "delete imc-1 ObjectDeleted");
    assert_eq!(t.ok(), "remove finalizer");
}

#[test]
fn a_lost_record_is_waited_for_during_a_window() {
    let mut t = Scene::new();
    t.object.has_finalizer = true;
    t.delete();
    assert_eq!(t.story(), ["list", WINDOW]);
    t.has("uid-1", "imc-7", 1, "Creating");
    t.wait(100);
    assert_eq!(t.run(), "delete imc-7 ObjectDeleted");
    t.ok();
    t.wait(201);
    assert_eq!(t.run(), "remove finalizer");
}

#[test]
fn what_is_hidden_is_waited_for_when_something_older_was_taken_for_a_lost_record() {
    for restart in [false, true] {
        let mut t = Scene::usable();
        t.has("uid-1", "imc-2", 2, "Creating");
        t.unlisted.insert("imc-2".into());
        t.status = None;
        t.new_version();
        t.restart();
        assert!(t.story().contains(&"write [current imc-1]".to_owned()));
        if restart {
            t.restart();
        }
        t.wait(10);
        t.delete();
        assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
        t.ok();
        t.wait(100);
        let waits = "rest: Ready(Deleting) Reconciling(Deleting); wake 200s; busy; Terminating";
        assert_eq!(t.run(), waits);
        t.unlisted.clear();
        t.wait(100);
        assert_eq!(t.run(), "delete imc-2 ObjectDeleted");
    }
}

#[test]
fn what_is_hidden_is_waited_for_when_somebody_else_set_the_status() {
    for restart in [false, true] {
        let mut t = Scene::usable();
        t.has("uid-1", "imc-2", 2, "Creating");
        t.unlisted.insert("imc-2".into());
        t.object.status_set_by_others = Some(t.now.wall);
        t.new_version();
        if restart {
            t.restart();
        }
        t.delete();
        assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
        t.ok();
        t.wait(100);
        assert!(t.run().starts_with("rest: Ready(Deleting) Reconciling(Deleting); wake 200s; busy"));
        t.unlisted.clear();
        t.wait(100);
        assert_eq!(t.run(), "delete imc-2 ObjectDeleted");
    }
}

#[test]
fn that_somebody_else_set_the_status_is_written_down_once() {
    let mut t = Scene::usable();
    // The API server tells whole seconds.
    let then = Timestamp::from_second(t.now.wall.as_second()).unwrap();
    t.object.status_set_by_others = Some(then);
    t.new_version();
    t.run();
    assert_eq!(t.last.record.lost, Some(then));
    // Every field was written anew since.
    t.object.status_set_by_others = None;
    t.wait(10);
    t.run();
    assert_eq!(t.last.record.lost, Some(then));
}

#[test]
fn a_record_that_was_made_up_long_ago_is_believed() {
    let mut t = Scene::usable();
    t.status = None;
    t.new_version();
    t.restart();
    assert!(t.story().contains(&"write [current imc-1]".to_owned()));
    t.wait(310);
    t.delete();
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
    let passes = t.go_after_ok();
    assert_eq!(passes.last().unwrap(), "remove finalizer");
}

#[test]
fn nothing_is_decided_on_a_list_that_is_older_than_the_deletion() {
    let mut t = Scene::usable();
    t.poll();
    t.delete();
    assert_eq!(t.decide(), "list");
    t.list_error = Some(crate::scene::error(Meaning::Denied));
    assert_eq!(
        t.decide(),
        "rest: !Ready(PermissionDenied) Stalled(PermissionDenied); wake 60s; busy; Terminating"
    );
}

#[test]
fn retain_takes_our_tags_away_and_deletes_nothing() {
    let mut t = Scene::replacing();
    t.desired.deletion_policy = DeletionPolicy::Retain;
    t.delete();
    assert_eq!(t.run(), "release imc-1");
    assert!(matches!(&t.last.next, Next::Do(Effect::Retag { set, remove, .. })
        if set["eci-operator.io/retained"] == "c/ns/web" && remove.len() == 5));
    assert_eq!(t.ok(), "release imc-2");
    assert_eq!(t.ok(), "remove finalizer");
    assert!(t.cloud.iter().all(|v| !owner("uid-1").owns(&v.tags) && !owner("uid-1").is_namesake(&v.tags)));
}

#[test]
fn a_release_that_fails_says_why_and_one_of_what_is_gone_is_done() {
    let mut t = Scene::usable();
    t.desired.deletion_policy = DeletionPolicy::Retain;
    t.delete();
    t.run();
    assert_eq!(
        t.fails(Meaning::Throttled),
        "rest: !Ready(Throttled) Reconciling(Throttled); wake 1s; Terminating"
    );
    t.wait(2);
    assert_eq!(t.run(), "release imc-1");
    assert_eq!(t.fails(Meaning::NotFound), "remove finalizer");
}

#[test]
fn the_status_of_another_object_is_a_lost_record() {
    let mut t = Scene::usable();
    t.restart();
    t.object.owner.uid = "uid-2".into();
    t.delete();
    assert_eq!(t.run(), WINDOW);
    assert_eq!(t.cloud.len(), 1, "and what it names is not touched");
}
