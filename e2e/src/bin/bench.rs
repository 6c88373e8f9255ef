//! `cargo xtask bench`, the measurements that need everything together.

use std::process::ExitCode;

use clap::Parser as _;
use eci_e2e::bench;

// One definition of the arguments: xtask parses and explains them, this binary parses them again.
#[path = "../../../xtask/src/reconcile.rs"]
mod args;

#[path = "../../../xtask/src/admission.rs"]
mod admission;

#[path = "../../../xtask/src/memory.rs"]
mod memory;

#[path = "../../../xtask/src/crash.rs"]
mod crash;

#[path = "../../../xtask/src/eviction.rs"]
mod eviction;

#[derive(clap::Parser)]
#[command(bin_name = "cargo xtask bench")]
enum Cli {
    Admission(admission::AdmissionArgs),
    Crash(crash::CrashArgs),
    Memory(memory::MemoryArgs),
    Reconcile(args::ReconcileArgs),
    Eviction(eviction::EvictionArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse() {
        Cli::Admission(args) => {
            bench::admission(bench::Admission { pods: args.pods, release: args.release }).await
        }
        // The models have run already.
        Cli::Crash(crash::CrashArgs { kills, seed, seeds, story }) => {
            bench::crash::run(bench::crash::Crash { deaths: kills, seeds: u64::from(seeds), seed, story })
                .await
        }
        Cli::Memory(args) => {
            let memory::MemoryArgs { pods, caches, profiles, release } = args;
            bench::memory(bench::Memory { pods, caches, profiles, release }).await
        }
        Cli::Reconcile(args) => {
            let what = bench::Reconcile {
                caches: args.caches,
                data_caches: args.data_caches,
                cloud_writes_per_second: args.cloud_writes_per_second,
                release: args.release,
            };
            bench::reconcile(what).await
        }
        Cli::Eviction(args) => bench::eviction::run(&args.into()).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl From<eviction::EvictionArgs> for bench::eviction::Options {
    fn from(args: eviction::EvictionArgs) -> Self {
        use eviction::ControllerManager;
        Self {
            scenarios: args.scenarios,
            contenders: args.contenders,
            at_default: args.controller_manager != ControllerManager::Raised,
            at_raised: args.controller_manager != ControllerManager::Default,
            runs: args.runs,
            limit: args.limit,
            release: args.release,
            strict: args.strict,
            add: args.add,
            at_once: usize::from(args.at_once),
        }
    }
}
