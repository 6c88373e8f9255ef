//! What is done to the operator, the objects and the cloud, drawn from a seed: the same seed gives the same script.

use std::fmt;
use std::time::Duration;

use eci_sim::Random;
use eci_sim::faults::{Effect, Fault, Seen};
use serde_json::{Value, json};

/// Objects that things are done to; every second one is a DataCache.
pub(super) const OBJECTS: u64 = 6;
/// Those that are there, and Ready, before anything goes wrong.
pub(super) const EARLY: u64 = 4;
/// Most that an effect comes after its call was given up, and most that lists lag, milliseconds. Both together with
/// the time-out of a request are less than the window of looking, as the protocol needs it.
pub(super) const LATEST_EFFECT_MS: u64 = 3_000;
/// One death in so many is a process that is frozen, replaced and wakes up.
const FROZEN_EVERY: u64 = 10;

/// A whole episode.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// What the cloud is like: unknowns of the vendor's, one of their values each.
    pub(super) settings: Value,
    pub(super) rounds: Vec<Round>,
}

/// The life of one process.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// What goes wrong at the cloud, the first that fits first.
    pub(super) faults: Vec<Fault>,
    /// What people do, and how long they wait before it.
    pub(super) acts: Vec<(Duration, Act)>,
    pub(super) death: Death,
}

/// What people do to the object with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Other images or data; creates the object if there is none, with a new UID if there was one.
    Version(u64, u64),
    /// A change in place; creates the object as well.
    Retention(u64, u64),
    /// Deletes it.
    Delete(u64),
    /// Its status is lost, as after a restore without statuses.
    Wipe(u64),
    /// It gets an older status back, as after a restore; perhaps that of an earlier object of its name.
    Restore(u64),
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// kill -9, so long after the last act.
    After(Duration),
    /// kill -9 while a call of this action has reached the cloud and is not answered.
    During(&'static str, Effect),
    /// It stops for longer than its lease, another one takes over, and it wakes up.
    Frozen,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(time) => write!(f, "kill -9 after {time:?}"),
            Self::During(action, Effect::Now) => write!(f, "kill -9 during {action}, after its effect"),
            Self::During(action, Effect::Never) => write!(f, "kill -9 during {action}, which has no effect"),
            Self::During(action, Effect::Later(ms)) => {
                write!(f, "kill -9 during {action}, {ms} ms before its effect")
            }
            Self::Frozen => f.write_str("frozen until another one leads"),
        }
    }
}

impl Script {
    /// The script of a seed with so many deaths.
    pub(super) fn of(seed: u64, deaths: u32) -> Self {
        let mut random = Random::new(seed);
        let settings = settings(&mut random);
        let frozen = random.between(0, FROZEN_EVERY - 1);
        let rounds =
            (0..deaths).map(|nth| round(&mut random, u64::from(nth) % FROZEN_EVERY == frozen)).collect();
        Self { settings, rounds }
    }
}

fn settings(random: &mut Random) -> Value {
    let forever = random.chance(0.5);
    json!({
        "tokenLifeMs": if forever { Value::Null } else { json!(0) },
        "tokenMismatchCode": "IdempotentParameterMismatch",
        "listLag": { "minMs": 0, "maxMs": pick(random, &[0, 500, LATEST_EFFECT_MS]) },
        "lookupLag": { "minMs": 0, "maxMs": pick(random, &[0, 500, 1_500]) },
        "deleteUnknownFails": random.chance(0.5),
        "prepareMs": 600,
        "createMs": 400,
        "updateMs": pick(random, &[200, 1_500]),
    })
}

fn round(random: &mut Random, frozen: bool) -> Round {
    let mut acts: Vec<(Duration, Act)> =
        (0..random.between(1, 3)).map(|_| (pause(random), act(random))).collect();
    let death = if frozen {
        Death::Frozen
    } else if random.chance(0.5) {
        // Some live long enough to finish something.
        let longest = if random.chance(0.2) { 12_000 } else { 3_500 };
        Death::After(Duration::from_millis(random.between(100, longest)))
    } else {
        let calls = ["CreateImageCache", "CreateDataCache", "DeleteImageCache", "DeleteDataCache"];
        let action = pick(random, &[calls[0], calls[0], calls[1], calls[1], calls[2], calls[3]]);
        Death::During(action, effect(random))
    };
    let mut faults: Vec<Fault> = Vec::new();
    if let Death::During(action, effect) = death {
        // One that makes the call likely, and nothing else before it.
        let object = random.between(0, OBJECTS / 2 - 1) * 2 + u64::from(action.ends_with("DataCache"));
        let version = random.between(1, 9);
        let act =
            if action.starts_with("Delete") { Act::Delete(object) } else { Act::Version(object, version) };
        acts.push((pause(random), act));
        let unanswered = Fault { effect: Some(effect), answer: Seen::Silence(60_000), ..Fault::default() };
        faults.push(unanswered.on(action).times(1));
    }
    faults.extend((0..random.between(1, 4)).map(|_| fault(random)));
    Round { faults, acts, death }
}

fn act(random: &mut Random) -> Act {
    let object = random.between(0, OBJECTS - 1);
    match random.between(0, 11) {
        0..=4 => Act::Version(object, random.between(1, 9)),
        5..=6 => Act::Retention(object, random.between(1, 30)),
        7..=9 => Act::Delete(object),
        10 => Act::Wipe(object),
        _ => Act::Restore(object),
    }
}

fn effect(random: &mut Random) -> Effect {
    match random.between(0, 2) {
        0 => Effect::Now,
        1 => Effect::Later(random.between(500, LATEST_EFFECT_MS)),
        _ => Effect::Never,
    }
}

/// One that strikes by chance as long as the round lasts.
fn fault(random: &mut Random) -> Fault {
    let action = pick(
        random,
        &[
            "CreateImageCache",
            "CreateImageCache",
            "DeleteImageCache",
            "UpdateImageCache",
            "DescribeImageCaches",
            "DescribeImageCaches",
            "CreateDataCache",
            "CreateDataCache",
            "DeleteDataCache",
            "UpdateDataCache",
            "DescribeDataCaches",
            "DescribeDataCaches",
        ],
    );
    let fault = match random.between(0, 9) {
        0 => Fault::lost_before(),
        1 => Fault::lost_after(),
        2 => Fault::delayed(random.between(500, LATEST_EFFECT_MS)),
        3 => Fault { answer: Seen::Truncated, ..Fault::default() },
        4 => Fault { answer: Seen::NotJson(502), ..Fault::default() },
        5 => Fault::throttled(random.between(200, 1_500)),
        6 => Fault::refused("ServiceUnavailable"),
        7 => Fault::refused("OperationConflict"),
        8 if action.starts_with("Describe") => {
            Fault { lag_ms: random.between(100, LATEST_EFFECT_MS), ..Fault::default() }
        }
        // Longer than the operator waits for an answer, perhaps.
        _ => Fault { latency_ms: random.between(100, 2_600), ..Fault::default() },
    };
    Fault { probability: Some(pick(random, &[0.2, 0.5, 0.9])), ..fault }.on(action)
}

fn pause(random: &mut Random) -> Duration {
    Duration::from_millis(random.between(0, 600))
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    let last = from.len().saturating_sub(1);
    let at = random.between(0, u64::try_from(last).unwrap_or_default());
    from[usize::try_from(at).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_script_and_another_seed_another() {
        let text = |seed| format!("{:?}", Script::of(seed, 20));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn ten_deaths_have_one_that_freezes_and_many_seeds_have_everything() {
        let (mut during, mut after, mut acts) = (0, 0, String::new());
        for seed in 0..50 {
            let script = Script::of(seed, 10);
            let frozen = script.rounds.iter().filter(|round| round.death == Death::Frozen).count();
            assert_eq!(frozen, 1, "seed {seed}");
            for round in &script.rounds {
                acts.extend(round.acts.iter().map(|(_, act)| format!("{act:?} ")));
                match round.death {
                    Death::During(action, _) => {
                        during += 1;
                        let first = &round.faults[0];
                        assert!(first.action.as_deref() == Some(action) && first.next == Some(1));
                    }
                    Death::After(_) => after += 1,
                    Death::Frozen => {}
                }
                for fault in &round.faults {
                    assert!(fault.lag_ms <= LATEST_EFFECT_MS, "{fault:?}");
                    assert!(
                        !matches!(fault.effect, Some(Effect::Later(ms)) if ms > LATEST_EFFECT_MS),
                        "{fault:?}"
                    );
                }
            }
        }
        assert!(during > 100 && after > 100, "{during} {after}");
        for act in ["Version", "Retention", "Delete", "Wipe", "Restore"] {
            assert!(acts.contains(act), "no {act} in 50 seeds");
        }
    }

    #[test]
    fn the_cloud_takes_the_settings() {
        for seed in 0..20 {
            let settings = Script::of(seed, 1).settings;
            serde_json::from_value::<eci_sim::Settings>(settings).expect("settings of the simulator");
        }
    }
}
