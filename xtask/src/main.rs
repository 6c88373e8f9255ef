//! The one entry for every task of the repository.

mod admission;
#[cfg(test)]
mod arrows;
mod bed;
mod bench;
mod crash;
mod demo;
mod eviction;
mod memory;
mod reconcile;
mod tiers;

use std::env;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use bed::BedTask;
use bench::Bench;
use tiers::{Readiness, TIERS, Tier};

#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "The tasks of this repository",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the operator at work on this machine: an ImageCache from nothing to Ready to deleted
    ///
    /// Builds and starts a real control plane, the simulated cloud and the operator with its charts, applies examples/,
    /// kills the operator in the middle of a create call, and ends with a count of its checks. Ctrl-C leaves nothing
    /// behind.
    Demo(demo::DemoArgs),

    #[command(flatten)]
    Bed(BedTask),

    /// Run the test tiers, all or the named ones, and stop at the first that fails
    #[command(after_long_help = tier_table())]
    Test(TestArgs),

    /// Check format, clippy and, where cargo-deny is installed, licenses and sources
    ///
    /// The tier `lint` of `test`, then `cargo deny check bans licenses sources`.
    Lint,

    /// Write the generated manifests and the reference of the API
    ///
    /// They are made from the types in api/; a test fails when they are stale.
    Crds,

    /// Measure something and print the result
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Tiers to run, in this order
    #[arg(value_parser = PossibleValuesParser::new(TIERS.iter().map(|tier| tier.name)), hide_possible_values = true)]
    tiers: Vec<String>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        // Already checked: handed on as typed.
        Task::Demo(_) => e2e("demo", true, 2),
        Task::Bed(task) => e2e("testbed", matches!(task, BedTask::Up(_)), 1),
        Task::Test(args) => test(&args.tiers),
        Task::Lint => lint(),
        Task::Crds => run(&["cargo", "run", "--quiet", "--package", "eci-crds"]).map(|()| ExitCode::SUCCESS),
        Task::Bench(bench) => bench::run(&bench),
    };
    result.unwrap_or_else(|error| {
        // Not by returning it: a person who failed a tier has no use for our stack.
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Becomes a binary of e2e, with our own arguments. One that runs the operator finds it beside itself.
///
/// Becomes, not starts: at Ctrl-C the shell then waits for what the binary still has to stop and to say.
fn e2e(binary: &str, with_operator: bool, args: usize) -> anyhow::Result<ExitCode> {
    if with_operator {
        run(&["cargo", "build", "--package", "eci-e2e", "--bins"])?;
    }
    become_e2e(&["--package", "eci-e2e", "--bin", binary], args)
}

/// The same with everything built as for a release, for a measurement that its own observer must not disturb.
fn e2e_released(binary: &str, args: usize) -> anyhow::Result<ExitCode> {
    run(&["cargo", "build", "--release", "--package", "eci-operator"])?;
    run(&[
        "cargo",
        "build",
        "--release",
        "--package",
        "eci-e2e",
        "--bin",
        binary,
        "--bin",
        "sim-under-test",
    ])?;
    become_e2e(&["--release", "--package", "eci-e2e", "--bin", binary], args)
}

fn become_e2e(which: &[&str], args: usize) -> anyhow::Result<ExitCode> {
    let mut command = cargo();
    command.args(["run", "--quiet"]).args(which).arg("--").args(env::args_os().skip(args));
    Err(anyhow::Error::new(command.exec()).context("cannot run cargo"))
}

fn test(names: &[String]) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&Tier> = if names.is_empty() {
        TIERS.iter().collect()
    } else {
        names.iter().filter_map(|name| TIERS.iter().find(|tier| tier.name == name)).collect()
    };
    let all = now();
    let (mut passed, mut skipped) = (0, 0);
    for tier in &chosen {
        println!("== {}: {}", tier.name, tier.proves);
        let start = now();
        match run_tier(tier) {
            Ok(Readiness::Ready) => {
                passed += 1;
                println!("== {}: passed in {} s", tier.name, start.elapsed().as_secs());
            }
            Ok(Readiness::Skip(why)) => {
                skipped += 1;
                println!("== {}: skipped: {why}", tier.name);
            }
            Err(error) => {
                let seconds = start.elapsed().as_secs();
                bail!(
                    "tier {} failed after {seconds} s ({passed} of {} passed): {error}",
                    tier.name,
                    chosen.len()
                );
            }
        }
    }
    let seconds = all.elapsed().as_secs();
    let note = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    println!("{passed} of {} tiers passed{note} in {seconds} s", chosen.len());
    Ok(ExitCode::SUCCESS)
}

fn lint() -> anyhow::Result<ExitCode> {
    for tier in TIERS.iter().filter(|tier| tier.name == "lint") {
        run_all(tier.commands)?;
    }
    let installed =
        cargo().args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success();
    if installed {
        run(&["cargo", "deny", "check", "bans", "licenses", "sources"])?;
    } else {
        println!("cargo deny: skipped, not installed (cargo install cargo-deny)");
    }
    println!("lint passed");
    Ok(ExitCode::SUCCESS)
}

fn run_tier(tier: &Tier) -> anyhow::Result<Readiness> {
    let readiness = (tier.readiness)()?;
    if readiness == Readiness::Ready {
        run_all(tier.commands)?;
    }
    Ok(readiness)
}

fn run_all(commands: &[&[&str]]) -> anyhow::Result<()> {
    commands.iter().try_for_each(|command| run(command))
}

/// What the property tests draw their cases from; plain `cargo test` draws fresh ones every time.
const SEED_VARIABLE: &str = "PROPTEST_RNG_SEED";
/// The tiers give one verdict on one commit. `cargo xtask bench crash` is for the search.
const SEED: &str = "20261123";

fn run(command: &[&str]) -> anyhow::Result<()> {
    let shown = command.join(" ");
    let (program, args) = command.split_first().context("a tier has an empty command")?;
    let mut process = if *program == "cargo" { cargo() } else { in_root(program) };
    if env::var_os(SEED_VARIABLE).is_none() {
        process.env(SEED_VARIABLE, SEED);
    }
    let status = process.args(args).status().with_context(|| format!("cannot run `{program}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// The cargo that runs us, without what it told us about this package: build scripts that watch those variables
/// (ring's does) would run again, and what depends on them be built again, at each change between `cargo xtask` and
/// plain `cargo`.
fn cargo() -> Command {
    let mut command = in_root(env::var_os("CARGO").as_deref().unwrap_or(OsStr::new("cargo")));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

fn in_root(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

fn tier_table() -> String {
    let width = TIERS.iter().map(|tier| tier.name.len()).max().unwrap_or_default();
    let rows = TIERS.iter().map(|tier| format!("\n  {:width$}  {}", tier.name, tier.proves));
    std::iter::once("Tiers:".to_owned()).chain(rows).collect()
}

#[expect(clippy::disallowed_methods, reason = "elapsed time shown to a person is about real time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_task_has_one_line_in_the_list() {
        for task in Cli::command().get_subcommands() {
            let about = task.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('\n'), "{}: {about:?}", task.get_name());
        }
    }

    #[test]
    fn every_tier_runs_something_and_has_a_name_of_its_own() {
        for (index, tier) in TIERS.iter().enumerate() {
            assert!(!tier.commands.is_empty() && tier.commands.iter().all(|command| !command.is_empty()));
            assert!(TIERS[..index].iter().all(|other| other.name != tier.name), "{}", tier.name);
        }
    }
}
