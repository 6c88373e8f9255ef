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

#[test]
fn a_deletion_that_is_not_permitted_is_told_and_tried_now_and_then() {
    let all: Vec<Pod> =
        pods(3).into_iter().map(|pod| Pod { on_deadline: OnDeadline::Delete, ..pod }).collect();
    let mut scene = Scene::with(&all, &[budget(0, 3, 4)]);
    scene.notice(&all, 0);
    let effects = scene.wait(145_000);
    assert_eq!(deletions(&effects).len(), 3);
    for order in deletions(&effects) {
        scene.answer(order.attempt, Answer::NotPermitted("pods is forbidden".into()));
    }
    // Others change meanwhile: nothing is sent for that.
    for _ in 0..5 {
        scene.ms += 100;
        assert_eq!(scene.saw_budget(budget(0, 3, 4)), []);
    }
    assert_eq!(deletions(&scene.wait(1_500)).len(), 1, "one tries for all");
    assert!(scene.said().contains(&("web-1", Why::DeleteNotPermitted)), "{:?}", scene.said());
}

#[test]
fn a_deletion_that_is_refused_waits_before_it_is_tried_again() {
    let one = [Pod { on_deadline: OnDeadline::Delete, ..pod("web-0") }];
    let mut scene = Scene::with(&one, &[budget(0, 3, 4)]);
    scene.notice(&one, 0);
    let effects = scene.wait(145_000);
    scene.answer(deletions(&effects)[0].attempt, Answer::WebhookRefused("no".into()));
    for _ in 0..49 {
        scene.ms += 100;
        assert_eq!(scene.saw_budget(budget(0, 3, 4)), []);
    }
    assert_eq!(deletions(&scene.wait(100)).len(), 1);
}

#[test]
fn a_deletion_does_not_wait_for_a_webhook_that_refuses_the_eviction() {
    let one = [Pod { on_deadline: OnDeadline::Delete, ..pod("web-0") }];
    let mut scene = Scene::with(&one, &[]);
    let mut effects = scene.notice(&one, 30_000);
    while scene.ms < 1_000 + 114_900 {
        if let [order] = evictions(&effects)[..] {
            scene.answer(order.attempt, Answer::WebhookRefused("no".into()));
        }
        effects = scene.wait(100);
    }
    let effects = [effects, scene.wait(100)].concat();
    assert_eq!(deletions(&effects).len(), 1, "{effects:?}");
}

#[test]
fn a_pod_that_nothing_replaces_runs_as_long_as_it_can() {
    let bare = Pod { owner: None, workload: None, ..pod("bare") };
    let mut scene = Scene::with(std::slice::from_ref(&bare), &[]);
    assert_eq!(scene.notice(std::slice::from_ref(&bare), 0), []);
    assert_eq!(scene.said(), [("bare", Why::NothingReplacesIt)]);
    assert_eq!(scene.wait(139_999), []);
    let effects = scene.wait(1);
    assert_eq!(evictions(&effects)[0].grace, 30);
}

#[test]
fn past_the_deadline_work_goes_on_with_a_short_grace() {
    let one = [Pod { grace: 600, ..pod("web-0") }];
    let mut scene = Scene::with(&one, &[budget(0, 3, 4)]);
    scene.notice(&one, 0);
    assert_eq!(scene.wait(200_000), []);
    let effects = scene.saw_budget(budget(1, 4, 4));
    assert_eq!(evictions(&effects)[0].grace, 30);
}

#[test]
fn the_condition_corrects_the_deadline_of_the_event() {
    let one = pod("web-0");
    let mut scene = Scene::with(std::slice::from_ref(&one), &[budget(0, 3, 4)]);
    let event = eci_core::eviction::notice::SpotEvent {
        uid: "e".into(),
        about: eci_core::eviction::notice::About::ToBeReleased,
        pod: one.id.clone(),
        is_pod: true,
        component: "kubelet".into(),
        host: "eci".into(),
        time: Some(wall(-500_000)),
    };
    scene.step([eci_core::eviction::Event::Spot(Box::new(event))]);
    scene.notice(std::slice::from_ref(&one), 0);
    let effects = scene.saw_budget(budget(1, 4, 4));
    let effects = [effects, scene.wait(200)].concat();
    assert_eq!(evictions(&effects)[0].grace, 30);
    assert_eq!(scene.engine.counts().noticed, 1);
    let since = eci_core::eviction::Expired { status: true, since: Some(wall(1_000)) };
    scene.saw(Pod { expired: Some(since), deletion: scene.leaving(&one, 30).deletion, ..one });
    assert_eq!(scene.standings().last().unwrap().deadline, wall(181_000));
}
