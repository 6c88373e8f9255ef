//! `cargo xtask bench`, the measurements that need everything together.

use std::process::ExitCode;

use clap::Parser as _;
use eci_e2e::bench;

// One definition of the arguments: xtask parses and explains them, this binary parses them again.
#[path = "../../../xtask/src/reconcile.rs"]
mod args;

#[derive(clap::Parser)]
#[command(bin_name = "cargo xtask bench")]
enum Cli {
    Reconcile(args::ReconcileArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli::Reconcile(args) = Cli::parse();
    match bench::reconcile(args.caches).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
