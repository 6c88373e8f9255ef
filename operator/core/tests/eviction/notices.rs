//! Which notices count.

use eci_core::eviction::notice::{
    About, NotEligible, Policy, SpotEvent, better, eligible, from_condition, from_event,
};
use eci_core::eviction::outcome::Outcome;
use eci_core::eviction::why::Why;
use eci_core::eviction::{Event, Expired, Owner, Phase, Pod, PodRef, Report};

use super::scene::*;

fn event(pod: &Pod) -> SpotEvent {
    SpotEvent {
        uid: format!("event-of-{}", pod.id.uid).into(),
        about: About::ToBeReleased,
        pod: pod.id.clone(),
        is_pod: true,
        component: "kubelet".into(),
        host: "eci".into(),
        time: Some(wall(0)),
    }
}

#[test]
fn an_event_counts_if_the_vendor_wrote_it_about_a_pod_a_moment_ago() {
    let good = event(&pod("web-0"));
    let with = |change: fn(&mut SpotEvent)| {
        let mut event = good.clone();
        change(&mut event);
        event
    };
    let deadline = |event: &SpotEvent, now| {
        from_event(event, &Policy::default(), wall(now)).map(|notice| {
            ((notice.deadline.as_millisecond() - wall(0).as_millisecond()) / 1_000, notice.skewed)
        })
    };
    for (event, now, expected) in [
        (good.clone(), 2_000, Ok((180, false))),
        (with(|e| (e.component, e.host) = ("kubelet, eci".into(), "".into())), 2_000, Ok((180, false))),
        (with(|e| (e.component, e.host) = ("kubelet/eci".into(), "x".into())), 2_000, Ok((180, false))),
        (with(|e| e.host = "virtual-kubelet-cn-beijing-a".into()), 2_000, Ok((180, false))),
        (with(|e| e.time = None), 2_000, Ok((182, false))),
        (good.clone(), 600_000, Ok((180, false))),
        (good.clone(), 600_001, Err(NotEligible::StaleEvent)),
        // Ahead of us: our own time counts; far ahead it is skew.
        (good.clone(), -59_000, Ok((121, false))),
        (good.clone(), -61_000, Ok((119, true))),
        (with(|e| e.component = "default-scheduler".into()), 2_000, Err(NotEligible::ForgedEvent)),
        (with(|e| e.host = "worker-1".into()), 2_000, Err(NotEligible::ForgedEvent)),
        (with(|e| e.component = "my-kubelet".into()), 2_000, Err(NotEligible::ForgedEvent)),
        (with(|e| e.is_pod = false), 2_000, Err(NotEligible::NotAPod)),
        (with(|e| e.pod.uid = "".into()), 2_000, Err(NotEligible::NotAPod)),
    ] {
        assert_eq!(deadline(&event, now), expected, "{event:?} at {now}");
    }
}

#[test]
fn a_condition_counts_however_old_it_is() {
    let policy = Policy::default();
    let old = from_condition(Some(wall(-3_600_000)), &policy, wall(0));
    assert_eq!((old.given, old.deadline), (wall(-3_600_000), wall(-3_420_000)));
    assert_eq!(from_condition(None, &policy, wall(7)).given, wall(7));
}

#[test]
fn the_condition_wins_over_the_event_and_else_the_earlier() {
    let policy = Policy::default();
    let event = from_event(&event(&pod("web-0")), &policy, wall(0)).unwrap();
    let later = from_condition(Some(wall(5_000)), &policy, wall(5_000));
    let earlier = from_condition(Some(wall(1_000)), &policy, wall(5_000));
    assert_eq!((better(event, later), better(later, event)), (later, later));
    assert_eq!((better(later, earlier), better(earlier, later)), (earlier, earlier));
}

#[test]
fn only_spot_pods_on_virtual_nodes_that_ask_are_eligible() {
    let with = |change: fn(&mut Pod)| {
        let mut pod = pod("web-0");
        change(&mut pod);
        pod
    };
    let owned = |kind: &str| {
        let mut pod = pod("web-0");
        pod.owner = Some(Owner { kind: kind.into(), name: "x".into() });
        pod
    };
    let vendor =
        |pod: &mut Pod| (pod.spot.release, pod.spot.vendor_release) = (None, Some("api-evict".into()));
    let leave = Policy { vendor_annotated: false, ..Policy::default() };
    for (pod, policy, expected) in [
        (with(|_| {}), Policy::default(), Ok(())),
        (with(|p| p.spot.strategy = Some("SpotWithPriceLimit".into())), Policy::default(), Ok(())),
        (with(|p| p.owner = None), Policy::default(), Ok(())),
        (with(vendor), Policy::default(), Ok(())),
        (with(vendor), leave, Err(NotEligible::LeftToVendor)),
        (with(|p| p.spot.vendor_release = Some("api-evict".into())), leave, Ok(())),
        (with(|p| p.on_virtual_node = false), leave, Err(NotEligible::NoVirtualNode)),
        (with(|p| p.spot.strategy = None), leave, Err(NotEligible::NoSpotStrategy)),
        (with(|p| p.spot.strategy = Some("NoSpot".into())), leave, Err(NotEligible::NoSpotStrategy)),
        (with(|p| p.spot.release = None), leave, Err(NotEligible::NotAsked)),
        (with(|p| p.spot.release = Some("none".into())), leave, Err(NotEligible::NotAsked)),
        (
            with(|p| {
                (p.spot.release, p.spot.vendor_release) = (Some("none".into()), Some("api-evict".into()));
            }),
            Policy::default(),
            Err(NotEligible::NotAsked),
        ),
        (with(|p| p.spot.release = Some("Evict".into())), leave, Err(NotEligible::WrongAnnotation)),
        (with(|p| p.spot.release = Some("".into())), leave, Err(NotEligible::WrongAnnotation)),
        (
            with(|p| (p.spot.release, p.spot.vendor_release) = (None, Some("evict".into()))),
            Policy::default(),
            Err(NotEligible::WrongAnnotation),
        ),
        (owned("Node"), leave, Err(NotEligible::StaticPod)),
        (owned("DaemonSet"), leave, Err(NotEligible::DaemonSetPod)),
        (owned("Job"), leave, Ok(())),
    ] {
        assert_eq!(eligible(&pod, &policy), expected, "{:?} {:?}", pod.spot, pod.owner);
    }
}

fn ignored(scene: &Scene) -> Vec<NotEligible> {
    let of = scene
        .reports
        .iter()
        .filter_map(|report| if let Report::Ignored { why, .. } = report { Some(*why) } else { None });
    of.collect()
}

fn spot(event: SpotEvent) -> [Event; 1] {
    [Event::Spot(Box::new(event))]
}

#[test]
fn an_event_may_come_before_its_pod_and_twice() {
    let one = pod("web-0");
    let mut scene = Scene::with(&[], &[]);
    assert_eq!(scene.step(spot(event(&one))), []);
    assert_eq!(scene.saw(one.clone()), []);
    assert_eq!(evictions(&scene.wait(200)).len(), 1);
    assert_eq!(scene.step(spot(event(&one))), []);
    let notices = scene.reports.iter().filter(|report| matches!(report, Report::Noticed { .. })).count();
    assert_eq!(notices, 1);
}

#[test]
fn an_event_about_an_earlier_pod_of_the_name_counts_for_nothing() {
    let mut earlier = event(&pod("web-0"));
    earlier.pod.uid = "web-0-0".into();
    let mut scene = Scene::with(&pods(1), &[]);
    assert_eq!(scene.step(spot(earlier)), []);
    assert_eq!(ignored(&scene), [NotEligible::AnotherPod]);
    // Nor does one with the UID of a pod and the name of another.
    let mut wrong = event(&pod("web-0"));
    (wrong.uid, wrong.pod.name) = ("another-event".into(), "web-9".into());
    assert_eq!(scene.step(spot(wrong)), []);
    assert_eq!(ignored(&scene), [NotEligible::AnotherPod; 2]);
}

#[test]
fn bad_notices_are_told_once_and_evict_nobody() {
    let regular = Pod { on_virtual_node: false, ..pod("web-0") };
    let mut scene = Scene::with(std::slice::from_ref(&regular), &[]);
    let mut forged = event(&regular);
    forged.component = "somebody".into();
    assert_eq!(scene.step(spot(forged)), []);
    for _ in 0..3 {
        assert_eq!(scene.notice(std::slice::from_ref(&regular), 0), []);
    }
    assert_eq!(ignored(&scene), [NotEligible::ForgedEvent, NotEligible::NoVirtualNode]);
    assert_eq!(scene.engine.counts().noticed, 0);
}

#[test]
fn pods_that_have_ended_or_are_leaving_are_not_evicted() {
    let succeeded = Pod { phase: Phase::Succeeded, ready: false, ..pod("succeeded") };
    let lost = Pod { phase: Phase::Failed, bid_failed: true, ready: false, ..pod("lost") };
    let mut scene = Scene::with(&[], &[]);
    let leaving = scene.leaving(&pod("leaving"), 30);
    let all = [succeeded, lost, leaving];
    scene.list(&all, &[]);
    assert_eq!(scene.notice(&all, 0), []);
    assert_eq!(scene.said(), [("leaving", Why::DeletedByOthers)]);
    let lost =
        scene.reports.iter().filter(|report| matches!(report, Report::Lost { fresh: true, .. })).count();
    assert_eq!((lost, scene.engine.counts().noticed), (1, 1));
}

#[test]
fn a_notice_that_is_taken_back_ends_the_case_and_a_new_one_begins_another() {
    let one = pod("web-0");
    let mut scene = Scene::with(std::slice::from_ref(&one), &[budget(0, 3, 3)]);
    scene.notice(std::slice::from_ref(&one), 0);
    let since = Some(wall(scene.ms));
    scene.saw(Pod { expired: Some(Expired { status: false, since }), ..one.clone() });
    assert_eq!(scene.ended()[0].outcome, Outcome::Withdrawn);
    assert_eq!(scene.engine.counts().noticed, 0);
    scene.ms += 5_000;
    scene.notice(std::slice::from_ref(&one), 0);
    assert_eq!(scene.engine.counts().noticed, 1);
    // A status that somebody overwrote, so that the condition is missing, takes nothing back.
    scene.saw(one);
    assert_eq!(scene.engine.counts().noticed, 1);
}

#[test]
fn a_pod_that_came_back_under_its_name_is_another_one() {
    let old = pod("db-0");
    let mut scene = Scene::with(std::slice::from_ref(&old), &[budget(0, 3, 3)]);
    scene.notice(std::slice::from_ref(&old), 0);
    let new = Pod { id: PodRef::new("shop", "db-0", "db-0-2"), ..old.clone() };
    scene.saw(new);
    assert_eq!(scene.ended()[0].outcome, Outcome::Vanished);
    // An old version of the old one, late, brings nothing back.
    let expired = Some(Expired { status: true, since: None });
    scene.step([Event::Pod(Box::new(Pod { version: 50, expired, ..old }))]);
    assert_eq!(scene.engine.counts().noticed, 0);
    assert_eq!(scene.saw_budget(budget(3, 3, 3)), []);
    assert_eq!(scene.wait(5_000), []);
}

#[test]
fn degraded_pods_are_told_by_the_vendors_event() {
    let mut scene = Scene::with(&pods(1), &[]);
    scene.step(spot(SpotEvent { about: About::Degraded, ..event(&pod("web-0")) }));
    let forged =
        SpotEvent { about: About::Degraded, component: "me".into(), uid: "f".into(), ..event(&pod("web-0")) };
    scene.step(spot(forged));
    let degraded = scene.reports.iter().filter(|report| matches!(report, Report::Degraded { .. })).count();
    assert_eq!(degraded, 1);
}

#[test]
fn nothing_is_sent_before_pods_and_budgets_are_listed() {
    let mut scene = Scene::new(eci_core::eviction::Settings::default());
    let expired = Some(Expired { status: true, since: None });
    let one = Pod { expired, ..pod("web-0") };
    assert_eq!(scene.step([Event::PodsListing, Event::Pod(Box::new(one)), Event::PodsListed]), []);
    assert_eq!(scene.wait(5_000), []);
    assert_eq!(scene.step([Event::BudgetsListing]), []);
    assert_eq!(evictions(&scene.step([Event::BudgetsListed])).len(), 1);
}
