//! Exactly once, as a model: the production decision, run by up to two operators against a cloud that loses answers,
//! lags and forgets, while people edit, rotate, restore and delete. `ECI_MODEL_SEEDS` sets how many seeds are run.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod adoption;
mod cloud;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use cloud::Unknowns;
use world::{Fault, Sabotage, World};

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Step(usize, Fault),
    Work(usize, u8, Fault),
    Watch(usize, usize),
    Poll(usize),
    Wait(u64),
    EditImage(u8),
    EditInPlace(u8),
    RotateSecret,
    Suspend(bool),
    Ask(u8),
    Crash(usize, u8),
    Restore(usize),
    Wipe,
    FailBuilds(u8),
    Vanish,
    Break,
    Delete,
    Create,
    Squat,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        5 => Just(Fault::None),
        1 => Just(Fault::LostBefore),
        2 => Just(Fault::LostAfter),
        1 => Just(Fault::Late),
        1 => (0..5_u8).prop_map(Fault::Refused),
        1 => Just(Fault::NotSent),
    ]
}

fn unknowns(placed: bool) -> impl Strategy<Value = Unknowns> {
    let seconds = Duration::from_secs;
    let lives = prop::sample::select(vec![seconds(0), seconds(120), seconds(7 * 86_400)]);
    let lags = prop::sample::select(vec![seconds(0), seconds(20), seconds(200), seconds(900)]);
    let looks = prop::sample::select(vec![seconds(0), seconds(10), seconds(45)]);
    let guards = if placed { any::<bool>().boxed() } else { Just(false).boxed() };
    (lives, lags, looks, any::<bool>(), any::<bool>(), guards).prop_map(
        move |(token_life, list_lag, look_lag, a, b, place_is_guarded)| Unknowns {
            token_life,
            mismatch_is_error: a,
            list_lag,
            look_lag,
            delete_unknown_is_error: b,
            late_effect: Duration::from_secs(15),
            placed,
            place_is_guarded,
        },
    )
}

/// What can happen does not depend on what did: the reference has no state but the count. Of a kind with a place, or not.
struct Story<const PLACED: bool>;

impl<const PLACED: bool> ReferenceStateMachine for Story<PLACED> {
    type State = Unknowns;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Unknowns> {
        unknowns(PLACED).boxed()
    }

    fn transitions(_: &Unknowns) -> BoxedStrategy<Event> {
        let process = || 0..2_usize;
        let waits = prop::sample::select(vec![1_u64, 5, 9, 31, 61, 150, 301, 1_900]);
        prop_oneof![
            12 => (process(), fault()).prop_map(|(p, f)| Event::Step(p, f)),
            10 => (process(), 1..8_u8, fault()).prop_map(|(p, n, f)| Event::Work(p, n, f)),
            4 => (process(), 0..4_usize).prop_map(|(p, age)| Event::Watch(p, age)),
            4 => process().prop_map(Event::Poll),
            8 => waits.prop_map(Event::Wait),
            2 => (1..3_u8).prop_map(Event::EditImage),
            1 => (1..3_u8).prop_map(Event::EditInPlace),
            1 => Just(Event::RotateSecret),
            1 => any::<bool>().prop_map(Event::Suspend),
            1 => any::<u8>().prop_map(Event::Ask),
            3 => (process(), 0..2_u8).prop_map(|(p, canon)| Event::Crash(p, canon)),
            1 => any::<usize>().prop_map(Event::Restore),
            1 => Just(Event::Wipe),
            1 => (1..3_u8).prop_map(Event::FailBuilds),
            1 => Just(Event::Vanish),
            1 => Just(Event::Break),
            2 => Just(Event::Delete),
            2 => Just(Event::Create),
            1 => Just(if PLACED { Event::Squat } else { Event::Wait(2) }),
        ]
        .boxed()
    }

    fn apply(state: Unknowns, _: &Event) -> Unknowns {
        state
    }
}

fn happen(world: &mut World, event: &Event) -> Result<(), String> {
    world.story.push(format!("{} {event:?}", world.now));
    match *event {
        Event::Step(p, fault) => drop(world.step(p, fault)?),
        Event::Work(p, steps, fault) => {
            world.watch(p, 0);
            for _ in 0..steps * 2 {
                if world.step(p, fault)?.is_some() {
                    break;
                }
            }
        }
        Event::Watch(p, age) => world.watch(p, age),
        Event::Poll(p) => world.poll(p),
        Event::Wait(seconds) => world.advance(Duration::from_secs(seconds)),
        Event::EditImage(image) => world.edit(|s| s.request.image = image),
        Event::EditInPlace(keep) => world.edit(|s| s.request.keep = keep),
        Event::RotateSecret => world.rotate_secret(),
        Event::Suspend(suspend) => world.edit(|s| s.suspend = suspend),
        Event::Ask(n) => world.change(|s| s.requested_at = Some(n.to_string())),
        Event::Crash(p, canon) => world.crash(p, canon),
        Event::Restore(choice) => world.restore(choice),
        Event::Wipe => world.wipe(),
        Event::FailBuilds(n) => world.cloud.failing_builds = n,
        Event::Vanish => world.vanish(),
        Event::Break => world.cloud.break_one(),
        Event::Delete => world.delete_object(),
        Event::Create => world.create_object(),
        Event::Squat => world.cloud.squat(),
    }
    world.always()
}

fn run(unknowns: &Unknowns, events: &[Event], sabotage: Sabotage) -> Result<(), String> {
    let mut world = World::new(unknowns.clone(), sabotage);
    let result = events
        .iter()
        .try_for_each(|event| happen(&mut world, event))
        .and_then(|()| world.settle())
        .and_then(|()| world.always());
    result.map_err(|why| format!("{why}\n{}", world.story.join("\n")))
}

fn explore<const PLACED: bool>(cases: u32, sabotage: Sabotage, persist: bool) -> Result<(), String> {
    let mut config =
        Config { cases, max_shrink_iters: 4_000, failure_persistence: None, ..Config::default() };
    if persist {
        config.failure_persistence =
            Some(Box::new(proptest::test_runner::FileFailurePersistence::WithSource("proptest-regressions")));
        config.source_file = Some(file!());
    }
    let told = TestRunner::new(config).run(
        &Story::<PLACED>::sequential_strategy(1..80),
        |(unknowns, events, told)| {
            // The shrinker drops what was never told.
            let tell = |n| told.iter().for_each(|c| c.store(n, std::sync::atomic::Ordering::SeqCst));
            tell(events.len());
            run(&unknowns, &events, sabotage).map_err(|_| TestCaseError::fail("see the story"))
        },
    );
    match told {
        // The smallest story that fails, told from its beginning.
        Err(TestError::Fail(_, (unknowns, events, _))) => {
            let why = run(&unknowns, &events, sabotage).expect_err("the same story fails again");
            Err(format!("{why}\n{unknowns:?}\n{events:?}"))
        }
        other => other.map_err(|e| e.to_string()),
    }
}

fn seeds() -> u32 {
    std::env::var("ECI_MODEL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

#[test]
fn one_object_has_one_resource_after_quiescence_and_none_after_its_deletion() {
    let cases = seeds();
    if let Err(story) = explore::<false>(cases, Sabotage::None, true) {
        panic!("{story}");
    }
    println!("model: {cases} seeds, 0 duplicates that stay, 0 orphans, 0 stuck");
}

#[test]
fn a_kind_with_a_place_has_one_resource_too_and_touches_nobody_elses() {
    let cases = seeds();
    if let Err(story) = explore::<true>(cases, Sabotage::None, false) {
        panic!("{story}");
    }
    println!(
        "model of a place: {cases} seeds, 0 duplicates that stay, 0 orphans, 0 stuck, 0 of others deleted"
    );
}

/// A cloud that remembers no token, and does all else at once.
fn forgetful() -> Unknowns {
    Unknowns {
        token_life: Duration::ZERO,
        mismatch_is_error: false,
        list_lag: Duration::ZERO,
        look_lag: Duration::ZERO,
        delete_unknown_is_error: false,
        late_effect: Duration::from_secs(15),
        placed: false,
        place_is_guarded: false,
    }
}

/// The status is lost while lists do not show what was built, and the object is deleted before they do.
#[test]
fn what_lists_hide_is_not_left_behind_after_a_lost_status() {
    let events = [
        Event::Work(0, 4, Fault::None),
        Event::Work(0, 4, Fault::None),
        Event::Wipe,
        Event::Work(0, 7, Fault::None),
        Event::Work(0, 7, Fault::None),
        Event::Wait(31),
        Event::Work(0, 7, Fault::None),
        Event::Delete,
    ];
    for placed in [false, true] {
        let unknowns = Unknowns { list_lag: Duration::from_secs(200), placed, ..forgetful() };
        run(&unknowns, &events, Sabotage::None).unwrap_or_else(|story| panic!("{story}"));
    }
}

/// As above, where lists still show what was replaced and is known to be gone: its number is no record.
#[test]
fn what_lists_still_show_is_no_record_after_a_lost_status() {
    let events = [
        Event::Work(0, 9, Fault::None),
        Event::Work(0, 9, Fault::None),
        Event::Wait(210),
        Event::Work(0, 9, Fault::None),
        Event::EditImage(2),
        Event::Work(0, 9, Fault::None),
        Event::Wait(2),
        Event::Work(0, 9, Fault::None),
        Event::Wait(61),
        Event::Work(0, 9, Fault::None),
        Event::Wipe,
        Event::Work(0, 9, Fault::None),
        Event::Work(0, 9, Fault::None),
        Event::Crash(0, 0),
        Event::Delete,
    ];
    for placed in [false, true] {
        let unknowns = Unknowns { list_lag: Duration::from_secs(200), placed, ..forgetful() };
        run(&unknowns, &events, Sabotage::None).unwrap_or_else(|story| panic!("{story}"));
    }
}

/// An older status is put back while lists do not show what was built since, everybody restarts, and the object is deleted.
#[test]
fn what_lists_hide_is_not_left_behind_after_a_restored_status() {
    let story = |old| {
        [
            Event::Work(0, 4, Fault::None),
            Event::Work(0, 4, Fault::None),
            Event::Wait(210),
            Event::Work(0, 4, Fault::None),
            Event::EditImage(2),
            Event::Work(0, 7, Fault::None),
            Event::Work(0, 7, Fault::None),
            Event::Restore(old),
            Event::Crash(0, 0),
            Event::Crash(1, 0),
            Event::Delete,
        ]
    };
    let unknowns = Unknowns { list_lag: Duration::from_secs(200), ..forgetful() };
    for old in 0..8 {
        run(&unknowns, &story(old), Sabotage::None).unwrap_or_else(|story| panic!("{story}"));
    }
    let blind = (0..8).filter(|old| run(&unknowns, &story(*old), Sabotage::BlindToOthers).is_err());
    assert!(blind.count() > 0, "this history hides nothing");
}

/// The status is lost, the first attempt comes again from another process and takes effect late, and this one still has
/// a list that shows what the first attempt made before.
#[test]
fn an_old_list_answers_no_operation() {
    let events = [
        Event::Work(0, 4, Fault::None),
        Event::Work(0, 2, Fault::LostAfter),
        Event::Step(0, Fault::None),
        Event::Vanish,
        Event::Step(0, Fault::None),
        Event::Step(0, Fault::None),
        Event::Wipe,
        Event::Watch(0, 0),
        Event::Wait(1),
        Event::Work(1, 3, Fault::Late),
        Event::Work(0, 1, Fault::None),
        Event::Delete,
    ];
    run(&forgetful(), &events, Sabotage::None).unwrap_or_else(|story| panic!("{story}"));
}

#[test]
fn a_protocol_that_is_broken_on_purpose_is_caught() {
    for sabotage in
        [Sabotage::SendThenRecord, Sabotage::NoWindow, Sabotage::FreshTokens, Sabotage::HastyFinalizer]
    {
        let story =
            explore::<false>(20_000, sabotage, false).expect_err(&format!("{sabotage:?} was not noticed"));
        println!("{sabotage:?} caught: {}", story.lines().next().unwrap_or_default());
    }
    // A matter of kinds whose content the cloud does not show.
    let story = explore::<true>(20_000, Sabotage::NoContentTag, false).expect_err("it was not noticed");
    println!("NoContentTag caught: {}", story.lines().next().unwrap_or_default());
}
