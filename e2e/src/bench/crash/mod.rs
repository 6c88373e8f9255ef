//! The operator under fire, as a process: killed at moments that a seed chooses, while the cloud loses answers, lags and
//! throttles, and people create, edit, delete and restore. The simulated cloud's own records judge.
//!
//! A seed gives one [script](script), so it replays as far as processes on a machine do.

mod episode;
mod objects;
mod script;
pub mod shell;
mod verdict;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use crate::testbed::Stopwatch;

pub use episode::{Episode, episode};

/// Deaths in one episode, each with a control plane of its own.
const DEATHS: u32 = 10;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// Deaths of the operator, in episodes of ten.
    pub deaths: u32,
    /// Seeds of the [shell] in virtual time.
    pub seeds: u64,
    /// Seed of the first episode, and the first of the shell; each further one has the next.
    pub seed: u64,
    /// Only print what happens in the first seed of the shell.
    pub story: bool,
}

/// Runs the seeds of the shell, on two threads: no runtime may be on theirs.
fn in_virtual_time(first: u64, seeds: u64) -> Result<bool> {
    let start = Stopwatch::start();
    let half = seeds / 2;
    let runs = std::thread::scope(|scope| {
        let parts = [(first, half), (first.wrapping_add(half), seeds - half)];
        let threads = parts.map(|(first, seeds)| scope.spawn(move || shell::run(first, seeds)));
        threads.map(std::thread::ScopedJoinHandle::join)
    });
    let mut all = shell::Tally::default();
    for run in runs {
        match run.map_err(|_| anyhow!("the shell panicked"))? {
            Ok(tally) => all += tally,
            Err(story) => {
                println!("shell: FAILED: {story}");
                return Ok(false);
            }
        }
    }
    println!(
        "shell: {seeds} seeds of each kind in {:.0} s: {} processes stopped before or after an effect, {} killed, {} leaders overlapped; {} objects, {} caches made; 0 leaked, 0 duplicated, 0 stuck",
        start.elapsed().as_secs_f64(),
        all.stopped,
        all.killed,
        all.overlapping,
        all.objects,
        all.made
    );
    Ok(true)
}

/// Runs seeds and episodes, prints a line for each and writes `target/bench/crash.json`; whether every invariant held.
pub async fn run(what: Crash) -> Result<bool> {
    if what.story {
        let story = std::thread::spawn(move || shell::story(what.seed)).join();
        println!("{}", story.map_err(|_| anyhow!("the shell panicked"))?);
        return Ok(true);
    }
    if what.seeds > 0 && !in_virtual_time(what.seed, what.seeds)? {
        return Ok(false);
    }
    if what.deaths == 0 {
        return Ok(true);
    }
    let (mut left, mut seed, mut failed) = (what.deaths, what.seed, Vec::new());
    let (mut kills, mut frozen, mut during, mut objects, mut made) = (0, 0, 0, 0, 0);
    while left > 0 {
        let deaths = left.min(DEATHS);
        // A step of its own, so that its future does not live in ours.
        match Box::pin(episode(seed, deaths)).await {
            Ok(done) => {
                println!(
                    "seed {seed}: {} kills ({} in the middle of a call), {} frozen; {} objects, {} caches made; at rest after {:.0} s",
                    done.kills, done.during_calls, done.frozen, done.objects, done.made, done.rest_seconds
                );
                kills += done.kills;
                frozen += done.frozen;
                during += done.during_calls;
                objects += done.objects;
                made += done.made;
            }
            Err(error) => {
                println!("seed {seed}: FAILED: {error:#}");
                failed.push(seed);
            }
        }
        left -= deaths;
        seed = seed.wrapping_add(1);
    }
    println!(
        "crash: {kills} kills ({during} in the middle of a call) and {frozen} frozen leaders, {objects} objects, {made} caches made; {} failed: {failed:?}",
        failed.len()
    );
    if failed.is_empty() {
        println!("0 leaked, 0 duplicated, 0 made for objects that were gone");
    }
    let report = json!({
        "kills": kills, "duringCalls": during, "frozen": frozen, "objects": objects, "made": made,
        "firstSeed": what.seed, "failedSeeds": failed,
    });
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    fs::write(dir.join("crash.json"), format!("{report:#}"))
        .context("cannot write target/bench/crash.json")?;
    println!("written to target/bench/crash.json");
    Ok(failed.is_empty())
}
