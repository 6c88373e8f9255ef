//! `cargo xtask demo`: everything on this machine, seen at work.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use eci_e2e::demo;
use eci_e2e::testbed::beds;
use tokio::signal::unix::{SignalKind, signal};

// One definition of the arguments: xtask parses and explains them, this binary parses them again.
#[path = "../../../xtask/src/demo.rs"]
mod args;

/// How long an interrupted demo waits for others that start or stop a bed.
const TIDY_LIMIT: Duration = Duration::from_secs(3);

#[derive(clap::Parser)]
#[command(bin_name = "cargo xtask demo")]
struct Cli {
    #[command(flatten)]
    args: args::DemoArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { args } = Cli::parse();
    // Before anything is started. Whatever ends this process ends what it started, see `testbed::Process`.
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else {
        eprintln!("error: cannot listen for Ctrl-C");
        return ExitCode::FAILURE;
    };
    let ended = tokio::select! {
        checks = demo::run(&args.name, args.keep) => Some(checks),
        _ = interrupt.recv() => None,
    };
    match ended {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        None => {
            // The run was dropped, and its processes with it; this removes their directory. Not at any price: it would
            // be replaced at the next start.
            if let Ok(Err(error)) = tokio::time::timeout(TIDY_LIMIT, beds::clear(&args.name)).await {
                eprintln!("error: {error}");
            }
            println!("\ninterrupted: everything is stopped");
            ExitCode::from(130)
        }
    }
}
