//! Adoption, as a model: several objects that claim one resource, while tags show late, answers are lost, processes die,
//! and objects come and go. One process leads at a time, as the Lease has it; what it knows of the other objects may be
//! old, but for what it wrote itself.

mod laws;
mod world;

use std::time::Duration;

use eci_core::cloud_resource::Record;
use eci_core::cloud_resource::identity::{TAG_CLUSTER, TAG_UID};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use crate::cloud::Unknowns;
use world::World;

/// How many objects there may be at once.
const SLOTS: usize = 3;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    /// A reconcile of an object, of at most so many passes; the first call to the cloud fares like this.
    Work(usize, u8, Fault),
    Poll,
    /// The watch catches up.
    Sync,
    Wait(u64),
    Create(usize, bool),
    Delete(usize),
    Crash,
    WipeStatus(usize),
    /// Somebody takes our tags off by hand.
    Untag,
    /// Another cluster's operator takes the resource, if nobody has it.
    TakenElsewhere,
    Vanish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    LostBefore,
    LostAfter,
    Refused,
}

/// A way to break the protocol on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    None,
    /// Nobody is asked about the others.
    NoPeers,
    /// What a process wrote is forgotten as soon as it is written, and the watch is old.
    NoMemoryOfWrites,
}

impl World {
    fn happen(&mut self, event: &Event) -> Result<(), String> {
        self.story.push(format!("{} {event:?}", self.now));
        match *event {
            Event::Work(slot, passes, fault) => drop(self.work(slot, usize::from(passes), fault)?),
            Event::Poll => self.poll(),
            Event::Sync => self.sync(),
            Event::Wait(seconds) => self.advance(Duration::from_secs(seconds)),
            Event::Create(slot, retain) => self.create(slot, retain),
            Event::Delete(slot) => self.delete(slot),
            Event::Crash => self.crash(),
            Event::WipeStatus(slot) => {
                let owns = self.objects[slot].as_ref().is_some_and(|o| o.record != Record::default());
                self.wiped |= owns;
                self.write(slot, &Record::default());
            }
            Event::Untag => {
                if let Some(r) = self.cloud.resources.iter_mut().find(|r| r.id == self.target) {
                    r.tags.clear();
                }
                self.remember_tags();
            }
            Event::TakenElsewhere => {
                let owned = !self.owners().is_empty();
                if let Some(r) = self.cloud.resources.iter_mut().find(|r| r.id == self.target)
                    && !owned
                    && !r.tags.contains_key(TAG_UID)
                {
                    r.tags = [(TAG_CLUSTER.to_owned(), "d".to_owned()), (TAG_UID.to_owned(), "x".to_owned())]
                        .into();
                }
                self.remember_tags();
            }
            Event::Vanish => {
                let target = self.target.clone();
                let _ = self.cloud.delete(&target);
            }
        }
        self.always()
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let slot = || 0..SLOTS;
    let fault = prop_oneof![
        5 => Just(Fault::None),
        1 => Just(Fault::LostBefore),
        2 => Just(Fault::LostAfter),
        1 => Just(Fault::Refused),
    ];
    let waits = prop::sample::select(vec![1_u64, 5, 9, 31, 61, 150, 301, 1_900]);
    let event = prop_oneof![
        16 => (slot(), 1..24_u8, fault).prop_map(|(slot, n, fault)| Event::Work(slot, n, fault)),
        4 => Just(Event::Poll),
        4 => Just(Event::Sync),
        6 => waits.prop_map(Event::Wait),
        4 => (slot(), any::<bool>()).prop_map(|(slot, retain)| Event::Create(slot, retain)),
        2 => slot().prop_map(Event::Delete),
        2 => Just(Event::Crash),
        1 => slot().prop_map(Event::WipeStatus),
        1 => Just(Event::Untag),
        1 => Just(Event::TakenElsewhere),
        1 => Just(Event::Vanish),
    ];
    prop::collection::vec(event, 1..80)
}

fn run(unknowns: &Unknowns, events: &[Event], sabotage: Sabotage) -> Result<(), String> {
    let mut world = World::new(unknowns.clone(), sabotage);
    let result = events.iter().try_for_each(|event| world.happen(event)).and_then(|()| world.settle());
    result.map_err(|why| format!("{why}\n{}", world.story.join("\n")))
}

/// An object that loses its status while it is deleted sends once more what gives the resource back; the tags are another's
/// by then.
#[test]
fn what_gives_a_resource_back_is_not_sent_again_on_an_old_look() {
    let unknowns = Unknowns {
        token_life: Duration::ZERO,
        mismatch_is_error: false,
        list_lag: Duration::ZERO,
        look_lag: Duration::ZERO,
        delete_unknown_is_error: false,
        late_effect: Duration::from_secs(15),
        placed: false,
        place_is_guarded: false,
    };
    let events = [
        Event::Create(2, false),
        Event::Work(2, 8, Fault::LostAfter),
        Event::Create(0, false),
        Event::Delete(2),
        Event::WipeStatus(2),
        Event::Wait(1),
        Event::Work(2, 3, Fault::LostBefore),
        Event::Untag,
    ];
    for delete_unknown_is_error in [false, true] {
        let unknowns = Unknowns { delete_unknown_is_error, ..unknowns.clone() };
        if let Err(story) = run(&unknowns, &events, Sabotage::None) {
            panic!("{story}");
        }
    }
}

fn explore(cases: u32, sabotage: Sabotage) -> Result<(), String> {
    let config = Config { cases, max_shrink_iters: 4_000, failure_persistence: None, ..Config::default() };
    let strategy = (crate::unknowns(false), events());
    match TestRunner::new(config).run(&strategy, |(unknowns, events)| {
        run(&unknowns, &events, sabotage).map_err(|_| TestCaseError::fail("see the story"))
    }) {
        Err(TestError::Fail(_, (unknowns, events))) => {
            let why = run(&unknowns, &events, sabotage).expect_err("the same story fails again");
            Err(format!("{why}\n{unknowns:?}\n{events:?}"))
        }
        other => other.map_err(|e| e.to_string()),
    }
}

#[test]
fn a_resource_that_several_objects_claim_has_one_owner_and_only_its_owner_deletes_it() {
    let cases = crate::seeds();
    if let Err(story) = explore(cases, Sabotage::None) {
        panic!("{story}");
    }
    println!("adoption: {cases} seeds, never two owners, nothing deleted that was not confirmed, 0 stuck");
}

#[test]
fn an_adoption_that_is_broken_on_purpose_is_caught() {
    for sabotage in [Sabotage::NoPeers, Sabotage::NoMemoryOfWrites] {
        let story = explore(20_000, sabotage).expect_err(&format!("{sabotage:?} was not noticed"));
        println!("{sabotage:?} caught: {}", story.lines().next().unwrap_or_default());
    }
}
