//! The plain way: a notice, an eviction, the end.

use eci_core::eviction::answer::Answer;
use eci_core::eviction::outcome::{By, Outcome};
use eci_core::eviction::why::Why;

use super::scene::*;

#[test]
fn a_pod_with_a_notice_is_evicted_with_its_uid_and_its_grace() {
    let one = pod("web-0");
    let mut scene = Scene::with(std::slice::from_ref(&one), &[]);
    let effects = scene.notice(std::slice::from_ref(&one), 0);
    let [order] = evictions(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((&order.pod, order.grace), (&one.id, 30));
    scene.answer(order.attempt, Answer::Accepted);
    let leaving = scene.leaving(&one, 30);
    scene.saw(leaving);
    assert_eq!(scene.said(), [("web-0", Why::Evicted)]);
    scene.ms += 30_000;
    scene.step([eci_core::eviction::Event::PodGone(one.id.clone())]);
    let [ended] = scene.ended()[..] else { panic!("{:?}", scene.reports) };
    assert_eq!((ended.outcome, ended.by, ended.attempts), (Outcome::Graceful, By::Us, 1));
    assert_eq!(ended.slack.unwrap().as_secs(), 180);
}

#[test]
fn a_budget_lets_as_many_go_as_it_allows_and_the_next_when_it_opens() {
    let all = pods(4);
    let mut scene = Scene::with(&all, &[budget(1, 4, 4)]);
    assert_eq!(scene.notice(&all, 0), []);
    let effects = scene.wait(200);
    let [first] = evictions(&effects)[..] else { panic!("{effects:?}") };
    // The status that contains it, before the answer.
    let mut charged = budget(0, 4, 4);
    charged.desired = 3;
    charged.disrupted = std::sync::Arc::new([(first.pod.name.to_string(), wall(scene.ms))].into());
    assert_eq!(scene.saw_budget(charged.clone()), []);
    assert_eq!(scene.answer(first.attempt, Answer::Accepted), []);
    assert_eq!(scene.wait(10_000), []);
    charged.disrupted = std::sync::Arc::default();
    charged.allowed = 1;
    let effects = scene.saw_budget(charged);
    assert_eq!(evictions(&effects).len(), 1);
}
