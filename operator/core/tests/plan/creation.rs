//! The way to a resource: look, take over or record, send.

use std::time::Duration;

use eci_api::condition::Reason;
use eci_core::cloud::Meaning;
use eci_core::cloud_resource::{Outcome, Problem};

use crate::said::remembered;
use crate::scene::{Scene, error, owner, request, secret};

const LOOKING: &str = "rest: !Ready(Resolving) Reconciling(Resolving); wake 300s; busy; InProgress";

#[test]
fn a_creation_looks_then_takes_the_finalizer_then_records_then_sends() {
    let mut t = Scene::new();
    assert_eq!(t.story(), ["list", "add finalizer", "write [op 1/1]", "create 1/1"]);
    let call = t.call();
    assert_eq!(call.request, request());
    assert_eq!(call.tags, owner("uid-1").tags(1));
    assert_eq!(Some(&call.token), t.record().operation.as_ref().map(|op| &op.token));
    assert_eq!(t.ok(), "rest: !Ready(Building) Reconciling(Building); busy; InProgress");
    t.becomes("imc-1", "Ready");
    t.wait(10);
    assert_eq!(t.story(), ["rest: Ready(Available); Current"]);
}

#[test]
fn an_answer_is_recorded_before_anything_else() {
    let mut t = Scene::about_to_send();
    let passes = t.answer(Outcome::Created(crate::scene::id("imc-9")));
    assert_eq!(passes[0], "write [current imc-9]");
}

#[test]
fn an_object_that_owns_nothing_gets_no_finalizer() {
    let mut t = Scene::new();
    t.break_spec();
    assert_eq!(t.story(), ["rest: !Ready(InvalidSpec) Stalled(InvalidSpec); Failed"]);
    assert!(!t.object.has_finalizer);

    let mut t = Scene::new();
    t.desired.suspend = true;
    assert_eq!(t.story(), ["rest: !Ready(Suspended) Paused(Suspended); InProgress"]);
    assert!(!t.object.has_finalizer);
}

#[test]
fn a_missing_secret_is_named_and_read_again_in_15_seconds() {
    let mut t = Scene::with_secret();
    t.secrets = Err(Problem {
        reason: Reason::SecretNotFound,
        message: "secret ns/login of spec.imagePullSecrets does not exist; create it.".into(),
    });
    assert_eq!(
        t.story(),
        [
            "list",
            "read secrets login",
            "rest: !Ready(SecretNotFound) Stalled(SecretNotFound); wake 15s; Failed"
        ]
    );
    assert!(t.message("Stalled").contains("ns/login"));
    assert!(!t.object.has_finalizer);
    t.secrets = Ok(secret("1"));
    t.wait(15);
    assert_eq!(t.run(), "create 1/1");
    assert_eq!(t.call().secrets, secret("1"));
}

#[test]
fn a_list_that_is_older_than_the_object_is_no_first_look() {
    let mut t = Scene::new();
    t.poll();
    t.sleep(1);
    assert_eq!(t.decide(), "list");
    t.poll();
    assert_eq!(t.decide(), "add finalizer");
}

#[test]
fn without_a_first_look_nothing_is_made_and_the_reason_is_said() {
    for (meaning, line) in [
        (
            Meaning::NotSent,
            "rest: !Ready(CloudUnavailable) Reconciling(CloudUnavailable); wake 60s; busy; InProgress",
        ),
        (Meaning::Denied, "rest: !Ready(PermissionDenied) Stalled(PermissionDenied); wake 60s; busy; Failed"),
    ] {
        let mut t = Scene::new();
        t.list_error = Some(error(meaning));
        assert_eq!(t.story(), [line]);
    }
}

#[test]
fn a_resource_of_ours_is_taken_over_after_the_status_was_lost() {
    for (state, line) in [
        ("Ready", "rest: Ready(Available); Current"),
        ("Creating", "rest: !Ready(Building) Reconciling(Building); busy; InProgress"),
        ("SomeNewWord", "rest: !Ready(Building) Reconciling(Building); busy; InProgress"),
    ] {
        let mut t = Scene::new();
        t.has("uid-1", "imc-7", 3, state);
        let story = t.story();
        assert_eq!(
            story[..4],
            ["list", "get the object", "add finalizer", "write [current imc-7]"],
            "{state}"
        );
        assert_eq!(story[4..], [line], "{state}");
        // The next build takes a number of its own.
        assert_eq!(t.record().last_attempt, 3, "{state}");
    }
}

#[test]
fn a_failed_resource_of_ours_is_taken_over_and_counted() {
    let mut t = Scene::new();
    t.has("uid-1", "imc-7", 1, "Failed");
    let story = t.story();
    assert_eq!(story[3..5], ["write [current imc-7]", "write [current imc-7, failed 1]"]);
    assert_eq!(story[5], "rest: !Ready(BuildFailed) Reconciling(BuildFailed); wake 300s; InProgress");
}

#[test]
fn of_several_resources_of_ours_the_usable_one_is_taken_over_and_the_others_are_strays() {
    let mut t = Scene::new();
    t.has("uid-1", "imc-1", 1, "Failed");
    t.has("uid-1", "imc-2", 2, "Ready");
    t.has("uid-1", "imc-3", 3, "Creating");
    assert_eq!(t.run(), "rest: Ready(Available); wake 30s; busy; Current");
    assert_eq!(remembered(&t.record()), "current imc-2");
    assert_eq!(t.record().last_attempt, 3);
    t.wait(31);
    assert_eq!(t.run(), "delete imc-1 Superseded");
}

#[test]
fn a_dead_namesakes_resource_is_taken_over_only_after_a_look_by_id() {
    let mut t = Scene::new();
    t.has("uid-0", "imc-7", 4, "Ready");
    assert_eq!(
        t.story(),
        [
            "list",
            "get the object",
            "look at imc-7",
            "add finalizer",
            "write [current imc-7]",
            "look at the others",
            "tag imc-7"
        ]
    );
    assert_eq!(t.ok(), "rest: Ready(Available); Current");
    assert!(owner("uid-1").owns(&t.at("imc-7").tags));
}

#[test]
fn a_dead_namesakes_resource_that_is_on_its_way_out_is_not_taken_over() {
    let mut t = Scene::new();
    t.has("uid-0", "imc-7", 4, "Ready");
    t.unknown.insert("imc-7".into());
    assert_eq!(t.run(), "create 1/1");
}

#[test]
fn a_failed_resource_of_a_dead_namesake_is_never_taken_over() {
    let mut t = Scene::new();
    t.has("uid-0", "imc-7", 4, "Failed");
    assert_eq!(t.story(), ["list", "add finalizer", "write [op 1/1]", "create 1/1"]);
}

#[test]
fn a_resource_of_another_cluster_or_name_is_nobody_we_know() {
    for key in ["eci-operator.io/cluster", "eci-operator.io/namespace", "eci-operator.io/name"] {
        let mut t = Scene::new();
        t.has("uid-0", "imc-7", 4, "Ready");
        t.at("imc-7").tags.insert(key.into(), "another".into());
        assert_eq!(t.run(), "create 1/1", "{key}");
    }
}

#[test]
fn a_taken_over_resource_with_other_images_is_replaced() {
    let mut t = Scene::new();
    t.has("uid-1", "imc-7", 1, "Ready");
    t.at("imc-7").images = vec!["redis:7".into()];
    assert_eq!(t.run(), "create 2/1");
    t.made_next("imc-8");
    assert_eq!(t.ok(), "rest: Ready(Available) Reconciling(Replacing) Updating(Replacing); busy; InProgress");
}

#[test]
fn a_higher_attempt_than_the_record_knows_is_taken_over_as_the_successor() {
    // The record is from a backup.
    let mut t = Scene::usable();
    t.has("uid-1", "imc-5", 5, "Ready");
    t.wait(10);
    let story = t.story();
    assert_eq!(story[..2], ["get the object", "write [current imc-1, successor imc-5]"]);
    assert_eq!(story[2], "write [current imc-5, retiring imc-1]");
    assert_eq!(t.record().last_attempt, 5);
}

#[test]
fn an_operation_of_another_object_is_not_waited_for() {
    let mut t = Scene::about_to_send();
    t.restart();
    t.object.owner.uid = "uid-2".into();
    // It has a finalizer and no record of its own, so that it may have lost one.
    assert_eq!(t.story(), ["list", LOOKING]);
    t.wait(301);
    assert_eq!(t.story(), ["list", "write [op 1/1]", "create 1/1"]);
    assert_eq!(t.call().tags, owner("uid-2").tags(1));
}

#[test]
fn before_a_lost_status_is_made_up_for_a_whole_window_is_looked_for_what_it_knew_of() {
    for restart in [false, true] {
        let mut t = Scene::usable();
        t.unlisted.insert("imc-1".into());
        t.status = None;
        t.new_version();
        if restart {
            t.restart();
        }
        t.poll();
        assert_eq!(t.run(), LOOKING);
        assert!(t.message("Ready").contains("The status of this object was lost"));
        t.wait(200);
        assert!(t.run().starts_with("rest: !Ready(Resolving)"));
        t.unlisted.clear();
        t.wait(10);
        assert!(t.story().contains(&"write [current imc-1]".to_owned()));
    }
}

#[test]
fn what_a_lost_status_knew_of_goes_with_an_object_that_is_deleted_meanwhile() {
    let mut t = Scene::usable();
    t.unlisted.insert("imc-1".into());
    t.status = None;
    t.new_version();
    t.restart();
    assert_eq!(t.run(), LOOKING);
    t.wait(100);
    t.delete();
    assert_eq!(t.run(), "rest: !Ready(Deleting) Reconciling(Deleting); wake 300s; busy; Terminating");
    t.unlisted.clear();
    t.wait(100);
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
}

#[test]
fn a_status_of_another_object_counts_as_none() {
    let mut t = Scene::usable();
    t.object.owner.uid = "uid-2".into();
    t.memory = eci_core::cloud_resource::Memory::default();
    t.has("uid-2", "imc-9", 1, "Ready");
    let story = t.story();
    assert_eq!(story[..3], ["list", "get the object", "write [current imc-9]"]);
    assert_eq!(t.status.unwrap().owner_uid.as_deref(), Some("uid-2"));
}

// Record, then send.

#[test]
fn a_recorded_call_is_sent_by_the_copy_that_the_recording_returned_only() {
    let line = "rest: !Ready(Resolving) Reconciling(Resolving); wake 300s; busy; InProgress";
    // From a watch, though of the same version.
    let mut t = Scene::about_to_send();
    t.object.live = false;
    t.poll();
    assert_eq!(t.decide(), line);
    // Of another version.
    let mut t = Scene::about_to_send();
    t.new_version();
    t.poll();
    assert_eq!(t.decide(), line);
    // By another process.
    let mut t = Scene::about_to_send();
    t.restart();
    assert_eq!(t.story(), ["list", line]);
}

#[test]
fn a_recorded_call_is_sent_within_10_seconds_or_looked_for() {
    let mut t = Scene::about_to_send();
    t.sleep(9);
    assert_eq!(t.decide(), "create 1/1");
    let left = t.call().not_after.since(t.now.mono);
    assert!(left <= Duration::from_secs(1), "it must not be sent later, either: {left:?}");
    t.sleep(2);
    t.poll();
    assert_eq!(t.decide(), "rest: !Ready(Resolving) Reconciling(Resolving); wake 300s; busy; InProgress");
}

#[test]
fn a_call_is_not_sent_when_the_lease_might_end_before_it() {
    let mut t = Scene::about_to_send();
    t.lease_left = Some(Duration::from_secs(10));
    assert_eq!(t.decide(), "rest: !Ready(Resolving) Reconciling(Resolving); wake 1s; busy; InProgress");
    t.lease_left = Some(Duration::from_secs(11));
    assert_eq!(t.decide(), "create 1/1");
}

#[test]
fn a_call_that_was_withheld_is_recorded_anew_with_the_secrets_as_they_are() {
    let mut t = Scene::with_secret();
    assert_eq!(t.run(), "create 1/1");
    t.secrets = Ok(secret("2"));
    let story = t.answer(Outcome::Withheld);
    assert_eq!(
        story,
        ["write []", "read secrets login", "write [op 2/1]", "read secrets login", "create 2/1"]
    );
    assert_eq!(t.call().secrets, secret("2"));
}

#[test]
fn a_recording_that_met_a_conflict_recorded_nothing_and_sends_nothing() {
    let mut t = Scene::new();
    t.object.has_finalizer = true;
    t.decide();
    t.poll();
    assert_eq!(t.decide(), LOOKING);
    t.wait(301);
    assert_eq!(t.decide(), "write [op 1/1]");
    t.fold(Outcome::Conflict);
    // What was in the way shows with the live copy: here, somebody's edit.
    t.new_version();
    t.object.live = true;
    assert_eq!(t.decide(), "list");
    t.poll();
    assert_eq!(t.decide(), "write [op 1/1]");
}
