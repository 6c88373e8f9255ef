//! The shell of the operator in one process, in virtual time: drivers and pollers as they are shipped, against the
//! simulated cloud and an API server in memory, stopped at places and killed at moments that a seed chooses.
//!
//! All that is random comes from the seed and nothing waits for the machine, so that a seed replays exactly.

mod api;
mod kinds;
mod process;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use eci_core::data_cache::DataCacheKind;
use eci_core::image_cache::ImageCacheKind;
use eci_sim::world::settings::Lag;
use eci_sim::{Sim, SimCloud};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::verdict::Facts;
use kinds::Burning;
use process::{Ended, live};
use script::{Act, Life, Round, Script};

pub use api::{Place, Server};

const CLUSTER: &str = "fire";
const NAMESPACE: &str = "fire";
/// The secrets of both kinds.
const LOGIN: &str = "login";
const TOKEN: &str = "hub";
/// How long a caller of the cloud waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long everything may take to come to rest, in virtual time. A build that failed is tried again after 5, 30 and 120
/// minutes, and what was lost is made again once an hour.
const REST_LIMIT: Duration = Duration::from_hours(6);
/// How often it is looked whether it has.
const REST_LOOK: Duration = Duration::from_mins(1);

/// What seeds did together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Worlds: one for each seed and kind.
    pub worlds: u64,
    /// Processes that were stopped before or after an effect.
    pub stopped: u64,
    /// Processes that were killed at some moment.
    pub killed: u64,
    /// Of these, such that another one had taken over from some time before.
    pub overlapping: u64,
    /// Objects that there ever were.
    pub objects: usize,
    /// Caches that the cloud made.
    pub made: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.worlds += more.worlds;
        self.stopped += more.stopped;
        self.killed += more.killed;
        self.overlapping += more.overlapping;
        self.objects += more.objects;
        self.made += more.made;
    }
}

/// Runs the worlds of so many seeds for both kinds. An error is the story of the first that broke a law.
pub fn run(first: u64, seeds: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for seed in first..first.saturating_add(seeds) {
        play::<ImageCacheKind>(seed, &mut tally).map_err(|story| told("ImageCache", seed, &story))?;
        play::<DataCacheKind>(seed, &mut tally).map_err(|story| told("DataCache", seed, &story))?;
    }
    Ok(tally)
}

/// The story of one seed, whatever it comes to.
pub fn story(seed: u64) -> String {
    let mut tally = Tally::default();
    let mut stories = [String::new(), String::new()];
    let ended = [
        tell::<ImageCacheKind>(seed, &mut tally, &mut stories[0]),
        tell::<DataCacheKind>(seed, &mut tally, &mut stories[1]),
    ];
    format!("ImageCache\n{}{:?}\nDataCache\n{}{:?}\n{tally:?}", stories[0], ended[0], stories[1], ended[1])
}

fn told(kind: &str, seed: u64, story: &str) -> String {
    format!(
        "{kind}, seed {seed}:\n{story}\nreplay: cargo xtask bench crash --kills 0 --seeds 1 --seed {seed}"
    )
}

fn play<K: Burning>(seed: u64, tally: &mut Tally) -> Result<(), String> {
    let mut story = String::new();
    tell::<K>(seed, tally, &mut story).map_err(|error| format!("{story}{error}"))
}

fn tell<K: Burning>(seed: u64, tally: &mut Tally, story: &mut String) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(async {
        let mut world = World::<K>::new(seed);
        let result = world.play().await;
        story.push_str(&world.story);
        *tally += Tally { worlds: 1, ..world.tally };
        result
    })
}

struct World<K: Burning> {
    start: (Timestamp, Instant),
    script: Script,
    server: Server,
    cloud: Arc<SimCloud>,
    /// Statuses as they once were, by number of the object.
    backups: BTreeMap<u64, Vec<Value>>,
    overwritten: BTreeSet<String>,
    story: String,
    tally: Tally,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K: Burning> World<K> {
    fn new(seed: u64) -> Self {
        let start = (Timestamp::from_second(1_800_000_000).unwrap_or_default(), Instant::now());
        let script = Script::of(seed, K::ACTIONS);
        let clock = eci_sim::Clock::Runtime(start.0, start.1);
        let sim = Sim::new(seed, script.settings.clone(), clock);
        Self {
            start,
            server: Server::new(seed, start),
            cloud: Arc::new(SimCloud::new(sim, PATIENCE)),
            script,
            backups: BTreeMap::new(),
            overwritten: BTreeSet::new(),
            story: String::new(),
            tally: Tally::default(),
            kind: std::marker::PhantomData,
        }
    }

    fn say(&mut self, what: impl std::fmt::Display) {
        let at = self.start.1.elapsed().as_secs_f64();
        let _ = writeln!(self.story, "{at:>10.3} s  {what}");
    }

    async fn play(&mut self) -> Result<(), String> {
        let Script { settings, rounds } = self.script.clone();
        self.say(format_args!("the cloud: {}", json!(settings)));
        self.secrets();
        let mut held_up: Option<JoinHandle<Ended>> = None;
        for round in &rounds {
            let process = self.round(round).await?;
            if let Some(old) = held_up.take() {
                self.kill(old).await?;
                self.tally.overlapping += 1;
            }
            if round.overlaps {
                self.say("it goes on beside the next one");
                held_up = Some(process);
            } else {
                self.kill(process).await?;
            }
        }
        if let Some(old) = held_up {
            self.kill(old).await?;
        }
        self.rest().await?;
        let facts = self.facts()?;
        let broken = facts.broken();
        if !broken.is_empty() {
            return Err(format!("laws are broken: {broken:#?}"));
        }
        (self.tally.objects, self.tally.made) = (facts.count().objects, facts.count().made);
        Ok(())
    }

    async fn round(&mut self, round: &Round) -> Result<JoinHandle<Ended>, String> {
        self.cloud.sim().clear_faults();
        for fault in &round.faults {
            self.say(format_args!("fault {}", json!(fault)));
            self.cloud.sim().add_fault(fault.clone());
        }
        self.server.loses(round.loses);
        self.say(format_args!(
            "a process starts: {:?}; answers of the API server lost: {}",
            round.process, round.loses
        ));
        let mut process = self.start(round.process);
        for (pause, act) in &round.acts {
            process = self.go_on(process, round.process, *pause).await?;
            let said = self.act(*act);
            self.say(format_args!("{act:?}: {said}"));
        }
        self.go_on(process, round.process, round.after).await
    }

    fn start(&self, life: Life) -> JoinHandle<Ended> {
        tokio::spawn(live::<K>(self.server.clone(), Arc::clone(&self.cloud), self.start, life))
    }

    /// Lets time go by; a process that stops is started anew, and does not stop any more.
    async fn go_on(
        &mut self,
        mut process: JoinHandle<Ended>,
        life: Life,
        time: Duration,
    ) -> Result<JoinHandle<Ended>, String> {
        let end = Instant::now() + time;
        loop {
            tokio::select! {
                biased;
                ended = &mut process => {
                    match ended {
                        Ok(Ended::Stopped) => self.tally.stopped += 1,
                        Ok(Ended::Broken(what)) => return Err(what),
                        Err(error) => return Err(format!("a process ended: {error}")),
                    }
                    self.say("it stopped; another one starts");
                    sleep(life.pause).await;
                    process = self.start(Life { stops: None, ..life });
                }
                () = tokio::time::sleep_until(end) => return Ok(process),
            }
        }
    }

    async fn kill(&mut self, process: JoinHandle<Ended>) -> Result<(), String> {
        process.abort();
        match process.await {
            Ok(Ended::Broken(what)) => return Err(what),
            Ok(Ended::Stopped) => self.tally.stopped += 1,
            Err(error) if error.is_cancelled() => self.tally.killed += 1,
            Err(error) => return Err(format!("a process ended: {error}")),
        }
        self.say("a process is killed");
        Ok(())
    }

    fn secrets(&self) {
        let login = json!({ "auths": { "private.example.com": { "username": "robot", "password": "made-up-password" } } });
        let secrets = [
            (LOGIN, "kubernetes.io/dockerconfigjson", ".dockerconfigjson", login.to_string()),
            (TOKEN, "Opaque", "token", "made-up-token".to_owned()),
        ];
        for (name, type_, key, value) in secrets {
            use base64::Engine as _;
            let value = base64::engine::general_purpose::STANDARD.encode(value);
            let secret =
                json!({ "apiVersion": "v1", "kind": "Secret", "type": type_, "data": { key: value } });
            self.server.create(&secret_place(name), secret);
        }
    }

    /// Does it if it can be done, and says what was done.
    fn act(&mut self, act: Act) -> String {
        let number = match act {
            Act::Rotate => {
                let stamp = json!({ "rotated": self.start.1.elapsed().as_millis().to_string() });
                for name in [LOGIN, TOKEN] {
                    self.server.change(&secret_place(name), |secret| {
                        secret["metadata"]["annotations"] = stamp.clone();
                    });
                }
                return "done".into();
            }
            Act::Purge => {
                for number in 0..script::OBJECTS {
                    self.server.delete(&place::<K>(number));
                }
                for name in [LOGIN, TOKEN] {
                    self.server.delete(&secret_place(name));
                }
                return "done".into();
            }
            Act::Version(n, _) | Act::Retention(n, _) | Act::Delete(n) | Act::Wipe(n) | Act::Restore(n) => n,
        };
        let place = place::<K>(number);
        let Some(found) = self.server.get(&place) else {
            let (Act::Version(_, version) | Act::Retention(_, version)) = act else {
                return "there is none".into();
            };
            self.secrets();
            let object = json!({ "apiVersion": "eci-operator.io/v1alpha1", "kind": K::KIND,
                "metadata": { "name": place.2 }, "spec": K::spec(number, version) });
            // As the API server would complete it.
            let Ok(whole) = serde_json::from_value::<K::Object>(object) else {
                return "it is not valid".into();
            };
            let code = self.server.create(&place, json!(whole));
            return format!("created ({code})");
        };
        if found["metadata"].get("deletionTimestamp").is_some() {
            return "it is being deleted".into();
        }
        let status = found.get("status").cloned().unwrap_or_default();
        if status.is_object() {
            self.backups.entry(number).or_default().push(status.clone());
        }
        match act {
            Act::Version(_, version) => {
                let spec = K::spec(number, version);
                self.server.change(&place, |object| {
                    for (field, value) in spec.as_object().into_iter().flatten() {
                        object["spec"][field] = value.clone();
                    }
                });
            }
            Act::Retention(_, days) => {
                self.server.change(&place, |object| object["spec"]["retentionDays"] = json!(days));
            }
            Act::Delete(_) => self.server.delete(&place),
            Act::Wipe(_) | Act::Restore(_) => {
                let old = self.backups.get(&number).and_then(|all| all.first()).cloned();
                let new = old.filter(|_| matches!(act, Act::Restore(_)));
                match new {
                    Some(status) => self.server.restore(&place, status),
                    None => self.server.change(&place, |object| {
                        if let Some(fields) = object.as_object_mut() {
                            fields.remove("status");
                        }
                    }),
                }
                self.overwritten.insert(found["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
            }
            Act::Rotate | Act::Purge => {}
        }
        "done".into()
    }

    /// Faults end, a process runs, and everything becomes as it must be.
    async fn rest(&mut self) -> Result<(), String> {
        let sim = self.cloud.sim();
        sim.clear_faults();
        sim.with_world(|world, _| {
            world.settings.list_lag = Lag::default();
            world.settings.lookup_lag = Lag::default();
        });
        self.server.loses(0.0);
        self.secrets();
        self.say("the faults end");
        let life = Life { watch_lag: Duration::ZERO, stops: None, pause: Duration::ZERO };
        let mut process = self.start(life);
        let begun = Instant::now();
        let mut missing = Vec::new();
        while begun.elapsed() < REST_LIMIT {
            process = self.go_on(process, life, REST_LOOK).await?;
            missing = self.standing()?.unsettled();
            if missing.is_empty() {
                self.say("everything is at rest");
                process.abort();
                return Ok(());
            }
        }
        let objects: Vec<_> = self.server.all(K::PLURAL).iter().map(ToString::to_string).collect();
        Err(format!("not at rest after {REST_LIMIT:?}: {missing:#?}\n{}", objects.join("\n")))
    }

    /// What is there now.
    fn standing(&self) -> Result<Facts, String> {
        let mut objects = Vec::new();
        for object in self.server.all(K::PLURAL) {
            let object = K::Object::deserialize(&*object).map_err(|error| error.to_string())?;
            objects.push(K::judged(&object));
        }
        Ok(Facts {
            objects,
            living: K::living(self.cloud.sim()),
            overwritten: self.overwritten.clone(),
            ..Facts::default()
        })
    }

    /// The same, with all that ever happened.
    fn facts(&self) -> Result<Facts, String> {
        Ok(Facts {
            ledger: self.cloud.sim().with_world(|world, _| world.ledger().to_vec()),
            gone: self.server.gone(K::PLURAL),
            ..self.standing()?
        })
    }
}

fn place<K: Burning>(number: u64) -> Place {
    (K::PLURAL.to_owned(), NAMESPACE.to_owned(), format!("cache-{number}"))
}

fn secret_place(name: &str) -> Place {
    ("secrets".to_owned(), NAMESPACE.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds of a test run; more by `cargo xtask bench crash --seeds`.
    const SEEDS: u64 = 40;

    #[test]
    fn the_shell_survives_its_seeds() {
        let tally = run(1, SEEDS).unwrap_or_else(|story| panic!("{story}"));
        println!("{tally:?}");
        assert!(
            tally.stopped > 0 && tally.killed > 0 && tally.overlapping > 0 && tally.made > 0,
            "{tally:?}"
        );
    }

    #[test]
    fn a_seed_replays_exactly() {
        for seed in [3, 4] {
            assert_eq!(story(seed), story(seed));
        }
    }
}
