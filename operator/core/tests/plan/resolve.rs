//! A create call of which nobody knows what became: a window of looking, then the same call, or the next attempt.

use eci_api::condition::Reason;
use eci_core::cloud::Meaning;
use eci_core::cloud_resource::Problem;

use crate::said::remembered;
use crate::scene::{Scene, minutes, secret};

const LOOKING: &str = "rest: !Ready(Resolving) Reconciling(Resolving); wake 300s; busy; InProgress";

/// A create call that got no answer, and was not made.
fn unanswered() -> Scene {
    let mut t = Scene::about_to_send();
    assert_eq!(t.fails(Meaning::Unknown), LOOKING);
    t
}

#[test]
fn an_unanswered_call_is_looked_for_during_a_window_and_then_sent_again_with_the_same_token() {
    let mut t = Scene::about_to_send();
    let first = t.call();
    assert_eq!(t.fails(Meaning::Unknown), LOOKING);
    assert!(t.message("Ready").contains("looks for its resource"));
    t.wait(200);
    assert_eq!(t.run(), "rest: !Ready(Resolving) Reconciling(Resolving); wake 100s; busy; InProgress");
    t.wait(100);
    assert_eq!(t.story(), ["get the object", "write [op 1/2]", "create 1/2"]);
    let second = t.call();
    assert_eq!((&first.token, &first.request), (&second.token, &second.request));
}

#[test]
fn a_window_ends_only_with_a_list_that_was_begun_after_its_end() {
    let mut t = unanswered();
    t.wait(299);
    t.sleep(2);
    assert_eq!(t.decide(), "list");
    t.has("uid-1", "imc-4", 1, "Preparing");
    assert_eq!(
        t.story(),
        ["list", "write [current imc-4]", "rest: !Ready(Building) Reconciling(Building); busy; InProgress"]
    );
}

#[test]
fn a_resource_that_shows_within_the_window_settles_the_call() {
    let mut t = Scene::about_to_send();
    t.unlisted.insert("imc-1".into());
    assert_eq!(t.lose_the_answer(), LOOKING);
    t.unlisted.clear();
    t.wait(20);
    assert_eq!(
        t.story(),
        ["write [current imc-1]", "rest: !Ready(Building) Reconciling(Building); busy; InProgress"]
    );
}

#[test]
fn a_record_that_was_overwritten_has_a_window_of_its_own() {
    let mut t = unanswered();
    t.wait(200);
    t.object.status_set_by_others = Some(t.now.wall);
    t.new_version();
    assert_eq!(t.run(), LOOKING);
    t.wait(299);
    assert_eq!(t.run(), "rest: !Ready(Resolving) Reconciling(Resolving); wake 1s; busy; InProgress");
    t.wait(2);
    assert_eq!(t.run(), "create 1/2");
}

#[test]
fn every_repetition_has_a_window_of_its_own() {
    let mut t = unanswered();
    t.wait(301);
    assert_eq!(t.run(), "create 1/2");
    assert_eq!(t.fails(Meaning::Unknown), LOOKING);
    t.wait(299);
    assert_eq!(t.run(), "rest: !Ready(Resolving) Reconciling(Resolving); wake 1s; busy; InProgress");
    t.wait(2);
    assert_eq!(t.run(), "create 1/3");
}

#[test]
fn a_new_process_begins_the_window_anew() {
    let mut t = unanswered();
    t.wait(200);
    t.restart();
    assert_eq!(t.story(), ["list", LOOKING]);
}

#[test]
fn an_operation_of_another_process_that_sent_again_begins_the_window_anew() {
    let mut t = unanswered();
    t.wait(200);
    t.status.as_mut().unwrap().operation.as_mut().unwrap().sends = 2;
    t.new_version();
    t.wait(101);
    assert_eq!(t.story(), ["list", LOOKING]);
}

#[test]
fn edits_wait_while_a_call_is_unresolved() {
    let mut t = unanswered();
    t.edit(|r| r.images = vec!["nginx:2".into()]);
    t.wait(10);
    assert!(t.run().starts_with("rest: !Ready(Resolving)"));
    t.wait(291);
    assert_eq!(t.run(), "create 1/2");
    assert_eq!(t.call().request.images, ["nginx:1"]);
}

#[test]
fn after_the_window_a_changed_or_missing_secret_means_the_next_attempt() {
    let missing = Problem {
        reason: Reason::SecretNotFound,
        message: "secret ns/login does not exist; create it.".into(),
    };
    for (secrets, last) in [
        (Ok(secret("2")), "create 2/1"),
        (Err(missing), "rest: !Ready(SecretNotFound) Stalled(SecretNotFound); wake 15s; Failed"),
    ] {
        let mut t = Scene::with_secret();
        t.run();
        let first = t.call().token;
        t.fails(Meaning::Unknown);
        t.secrets = secrets;
        t.wait(301);
        let story = t.story();
        assert_eq!(story[..3], ["get the object", "read secrets login", "write []"]);
        assert_eq!(story.last().unwrap(), last);
        if last == "create 2/1" {
            assert_ne!(t.call().token, first);
        }
    }
}

#[test]
fn a_token_older_than_its_life_is_not_sent_again() {
    let mut t = unanswered();
    t.wait(minutes(29));
    assert_eq!(t.run(), "create 1/2");
    let mut t = unanswered();
    t.wait(minutes(31));
    let story = t.story();
    assert_eq!(story[..2], ["get the object", "write []"]);
    assert_eq!(story.last().unwrap(), "create 2/1");
}

#[test]
fn a_token_that_the_cloud_calls_spent_is_never_sent_again() {
    let mut t = unanswered();
    t.wait(301);
    assert_eq!(t.run(), "create 1/2");
    let spent = t.call().token;
    assert_eq!(t.fails(Meaning::TokenMismatch), LOOKING);
    t.wait(301);
    assert_eq!(t.run(), "create 2/1");
    assert_ne!(t.call().token, spent);
}

#[test]
fn what_a_spent_token_made_is_found_in_the_window() {
    let mut t = Scene::about_to_send();
    assert_eq!(t.fails(Meaning::TokenMismatch), LOOKING);
    t.has("uid-1", "imc-4", 1, "Creating");
    t.wait(30);
    assert_eq!(t.story()[0], "write [current imc-4]");
}

#[test]
fn a_found_resource_of_another_request_is_known_for_what_it_is() {
    // A restored backup: the same attempt number was used before, for another image.
    let mut t = unanswered();
    t.has("uid-1", "imc-4", 1, "Ready");
    t.at("imc-4").images = vec!["redis:7".into()];
    t.wait(10);
    let story = t.story();
    assert_eq!(story[0], "write [current imc-4]");
    assert_eq!(story.last().unwrap(), "create 2/1");
    assert_eq!(t.record().current.unwrap().request.images, ["redis:7"]);
}

#[test]
fn a_call_that_never_left_is_recorded_anew_and_not_looked_for() {
    let mut t = Scene::about_to_send();
    assert_eq!(
        t.fails(Meaning::NotSent),
        "rest: !Ready(CloudUnavailable) Reconciling(CloudUnavailable); wake 1s; InProgress"
    );
    assert_eq!(remembered(&t.record()), "refused 1");
    t.wait(2);
    assert_eq!(t.run(), "create 2/1");
}

#[test]
fn lists_that_fail_during_the_window_are_the_reason_that_is_said() {
    let mut t = unanswered();
    t.sleep(301);
    t.list_error = Some(crate::scene::error(Meaning::Throttled));
    assert_eq!(t.run(), "rest: !Ready(Throttled) Reconciling(Throttled); wake 60s; busy; InProgress");
}
