//! Near and past the deadline.

use eci_core::eviction::answer::Answer;
use eci_core::eviction::outcome::Outcome;
use eci_core::eviction::why::Why;
use eci_core::eviction::{OnDeadline, Pod};

use super::scene::*;

#[test]
fn who_is_too_late_for_all_of_its_grace_goes_after_those_who_are_not() {
    let (mut hopeless, mut long, short) = (pod("a"), pod("b"), pod("c"));
    (hopeless.grace, long.grace) = (600, 60);
    let all = [hopeless, long, short];
    let mut scene = Scene::with(&all, &[budget(2, 3, 3)]);
    scene.notice(&all, 0);
    let effects = scene.wait(200);
    let [first] = evictions(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!(names(&[first]), ["b"]);
    let effects = scene.answer(first.attempt, Answer::Accepted);
    assert_eq!(names(&evictions(&effects)), ["c"]);
}

#[test]
fn a_pod_that_its_budget_protects_is_deleted_in_time_only_if_its_profile_says_so() {
    let delete = Pod { on_deadline: OnDeadline::Delete, ..pod("delete") };
    let all = [delete.clone(), pod("wait")];
    let mut scene = Scene::with(&all, &[budget(0, 2, 2)]);
    assert_eq!(scene.notice(&all, 0), []);
    assert_eq!(scene.wait(144_999), []);
    let effects = scene.wait(1);
    let [order] = deletions(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((&order.pod, order.grace, effects.len()), (&delete.id, 30, 1));
    assert_eq!(scene.answer(order.attempt, Answer::Accepted), []);
    let leaving = scene.leaving(&delete, 30);
    scene.saw(leaving);
    assert!(scene.said().contains(&("delete", Why::DeletedAtDeadline)));
    scene.step([eci_core::eviction::Event::PodGone(delete.id)]);
    assert_eq!(scene.ended()[0].outcome, Outcome::Forced);
    assert_eq!(scene.wait(600_000), [], "the other one waits, whatever comes");
}
