//! What happens in the world of a seed: the same seed gives the same script, to the millisecond.

use std::time::Duration;

use eci_sim::faults::{Fault, Seen};
use eci_sim::world::settings::{BuildOutcome, BuildRule, Lag, LoadRule};
use eci_sim::{Random, Settings};

/// Objects that things are done to.
pub(super) const OBJECTS: u64 = 4;
/// Version of a spec whose first build fails.
const BAD: u64 = 7;
/// Most that an effect comes after its call was given up, and most that lists lag: both together with the time-out of a
/// request are less than the window of looking, as the protocol needs it.
const LATEST_EFFECT_MS: u64 = 15_000;
const LONGEST_LAG_MS: u64 = 200_000;

/// The whole of it.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) settings: Settings,
    pub(super) rounds: Vec<Round>,
}

/// The life of one process.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// What goes wrong at the cloud, the first that fits first.
    pub(super) faults: Vec<Fault>,
    /// How many answers of the API server get lost.
    pub(super) loses: f64,
    pub(super) process: Life,
    /// What people do, and how long they wait before it.
    pub(super) acts: Vec<(Duration, Act)>,
    /// How long it goes on after that, unless the process dies before.
    pub(super) after: Duration,
    /// Whether the process goes on beside the next one, as a leader does that was held up.
    pub(super) overlaps: bool,
}

/// What a process is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// How old what its watch tells is.
    pub(super) watch_lag: Duration,
    /// It stops as in a crash before or after the nth of its effects, counted from 0.
    pub(super) stops: Option<u64>,
    /// How long it then takes until it is started anew.
    pub(super) pause: Duration,
}

/// What people do to the object with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Another version of what it holds; creates the object if there is none, with a new UID if there was one.
    Version(u64, u64),
    /// A change in place.
    Retention(u64, u64),
    /// Deletes it.
    Delete(u64),
    /// Its status is lost, as after a restore without statuses.
    Wipe(u64),
    /// It gets an older status back; perhaps that of an earlier object of its name.
    Restore(u64),
    /// The secrets get another version.
    Rotate,
    /// All objects are deleted, and the secrets are gone at once, as with a namespace.
    Purge,
}

impl Script {
    /// The script of a seed, for a kind with these calls.
    pub(super) fn of(seed: u64, actions: [&'static str; 4]) -> Self {
        let mut random = Random::new(seed);
        let settings = settings(&mut random);
        let rounds = (0..random.between(2, 6)).map(|_| round(&mut random, actions)).collect();
        Self { settings, rounds }
    }
}

fn settings(random: &mut Random) -> Settings {
    let lag = |random: &mut Random, from: &[u64]| Lag { min_ms: 0, max_ms: pick(random, from) };
    let fails = || BuildOutcome::Fails { reason: "Failed".into(), message: "not found".into() };
    let builds = vec![BuildRule { image_contains: format!(":{BAD}"), times: Some(1), outcome: fails() }];
    let loads = vec![LoadRule { source_contains: format!("/v{BAD}."), times: Some(1), outcome: fails() }];
    Settings {
        token_life_ms: pick(random, &[Some(0), Some(0), Some(120_000), None]),
        list_lag: lag(random, &[0, 20_000, LONGEST_LAG_MS]),
        lookup_lag: lag(random, &[0, 10_000, 45_000]),
        delete_unknown_fails: random.chance(0.5),
        update_ms: pick(random, &[200, 30_000]),
        builds,
        loads,
        ..Settings::default()
    }
}

fn round(random: &mut Random, actions: [&'static str; 4]) -> Round {
    let acts = (0..random.between(1, 5)).map(|_| (pause(random), act(random))).collect();
    let process = Life {
        watch_lag: Duration::from_millis(pick(random, &[0, 50, 1_000, 10_000])),
        stops: random.chance(0.7).then(|| random.between(0, 40)),
        pause: pause(random),
    };
    Round {
        faults: (0..random.between(0, 3)).map(|_| fault(random, actions)).collect(),
        loses: pick(random, &[0.0, 0.0, 0.05, 0.3]),
        process,
        acts,
        after: pause(random),
        overlaps: random.chance(0.25),
    }
}

fn act(random: &mut Random) -> Act {
    let object = random.between(0, OBJECTS - 1);
    match random.between(0, 23) {
        0..=9 => Act::Version(object, random.between(1, 9)),
        10..=12 => Act::Retention(object, random.between(1, 30)),
        13..=17 => Act::Delete(object),
        18..=19 => Act::Wipe(object),
        20..=21 => Act::Restore(object),
        22 => Act::Rotate,
        _ => Act::Purge,
    }
}

fn fault(random: &mut Random, [create, update, delete, list]: [&'static str; 4]) -> Fault {
    let action = pick(random, &[create, create, create, update, delete, list, list]);
    let fault = match random.between(0, 9) {
        0 => Fault::lost_before(),
        1 | 2 => Fault::lost_after(),
        3 => Fault::delayed(random.between(500, LATEST_EFFECT_MS)),
        4 => Fault { answer: Seen::NotJson(502), ..Fault::default() },
        5 => Fault::throttled(random.between(200, 20_000)),
        6 => Fault::refused(pick(random, &["ServiceUnavailable", "OperationConflict", "QuotaExceeded"])),
        7 => Fault { answer: Seen::Truncated, ..Fault::default() },
        // Longer than the operator waits for an answer, perhaps.
        _ => Fault { latency_ms: random.between(100, 12_000), ..Fault::default() },
    };
    Fault { probability: Some(pick(random, &[0.2, 0.5, 0.9])), ..fault }.on(action)
}

/// Often just long enough for the next call, sometimes for a whole build and more.
fn pause(random: &mut Random) -> Duration {
    let longest = pick(random, &[50, 500, 3_000, 30_000, 400_000]);
    Duration::from_millis(random.between(0, longest))
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    let last = from.len().saturating_sub(1);
    let at = random.between(0, u64::try_from(last).unwrap_or_default());
    from[usize::try_from(at).unwrap_or_default()]
}
