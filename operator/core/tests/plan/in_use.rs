//! A resource from which pods would start is not deleted with its object.

use eci_api::condition::Reason;
use eci_api::image_cache::DeletionPolicy;
use eci_core::cloud_resource::{Outcome, Problem, User};

use crate::scene::Scene;

const BLOCKED: &str = "rest: Ready(Available) DeletionBlocked(InUse); wake 15s; Terminating";

fn user(kind: &'static str, name: &str) -> User {
    User { kind, namespace: Some("shop".into()), name: name.into() }
}

fn used() -> Scene {
    let mut t = Scene::usable();
    (t.quiet, t.users) = (false, Ok(vec![user("Deployment", "web"), user("CronJob", "nightly")]));
    t.delete();
    t
}

#[test]
fn a_deletion_waits_for_those_who_would_start_pods_and_ends_when_they_are_gone() {
    let mut t = used();
    assert_eq!(t.story(), ["list", "look who uses it", BLOCKED]);
    let message = t.message("DeletionBlocked");
    for words in ["CronJob shop/nightly, Deployment shop/web", "eci-operator.io/force-delete=true"] {
        assert!(message.contains(words), "{words:?} is not in {message:?}");
    }
    let before = t.status.clone();
    t.wait(15);
    assert_eq!(t.run(), BLOCKED);
    assert_eq!(t.status, before, "waiting writes nothing");
    t.users = Ok(Vec::new());
    t.wait(15);
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
    assert_eq!(t.ok(), "remove finalizer");
}

#[test]
fn a_person_may_force_it() {
    let mut t = used();
    t.run();
    t.desired.force_delete = true;
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
}

#[test]
fn what_is_kept_in_the_cloud_is_not_held_up() {
    let mut t = used();
    t.desired.deletion_policy = DeletionPolicy::Retain;
    assert_eq!(t.run(), "release imc-1");
}

#[test]
fn what_nobody_could_start_from_is_not_held_up() {
    // It failed.
    let mut t = used();
    t.becomes("imc-1", "Failed");
    t.poll();
    assert_eq!(t.run(), "delete imc-1 ObjectDeleted");
    // It is gone already.
    let mut t = used();
    t.vanish("imc-1");
    t.poll();
    let story = t.story();
    assert!(!story.contains(&"look who uses it".to_owned()), "{story:?}");
    // It was never made.
    let mut t = Scene::about_to_send();
    (t.quiet, t.users) = (false, Ok(vec![user("Pod", "web-1")]));
    t.delete();
    assert_eq!(t.run(), "remove finalizer");
}

#[test]
fn an_end_that_was_begun_is_not_held_up() {
    let mut t = used();
    t.users = Ok(Vec::new());
    t.run();
    t.fold(Outcome::Done);
    t.users = Ok(vec![user("Pod", "late")]);
    let story = t.story();
    assert_eq!(story.first().unwrap(), "look at imc-1", "{story:?}");
}

#[test]
fn many_users_are_told_in_few_words() {
    let mut t = used();
    t.users = Ok((0..200).map(|n| user("Job", &format!("{n:03}{}", "x".repeat(300)))).collect());
    t.run();
    let message = t.message("DeletionBlocked");
    assert!(message.contains("and 195 more") && message.chars().count() < 1_024, "{message}");
}

#[test]
fn who_may_not_look_says_what_is_missing() {
    let mut t = used();
    let message = "may not list deployments.".to_owned();
    t.users = Err(Problem { reason: Reason::UsersUnknown, message });
    assert_eq!(t.run(), "rest: Ready(Available) DeletionBlocked(UsersUnknown); wake 15s; Terminating");
}
