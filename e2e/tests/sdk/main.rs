//! The vendor's official SDK against the simulator, then our client against the SDK.
//!
//! A program of its own, since it needs Python, and the network the first time: `cargo xtask test sdk`. First the SDK
//! drives every action (`e2e/sdk/conformance.py`); then our client sends the same calls, and both must have been
//! decoded to the same requests.

mod same_request;
mod simulator;
mod venv;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use simulator::Simulator;

/// Longest that the SDK's checks take; they take a few seconds.
const CONFORMANCE_LIMIT: Duration = Duration::from_mins(3);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let python = venv::ensure()?;
    let simulator = Simulator::start().await?;
    let script = venv::sources().join("conformance.py");
    let mut conformance = Command::new(python);
    conformance.arg(script).args(["--endpoint", simulator.url()]).kill_on_drop(true);
    let status = tokio::time::timeout(CONFORMANCE_LIMIT, conformance.status())
        .await
        .with_context(|| format!("the SDK's checks were not done after {} s", CONFORMANCE_LIMIT.as_secs()))?
        .context("cannot run the SDK's checks")?;
    if !status.success() {
        bail!("the SDK and the simulator disagree, see above");
    }
    let compared = same_request::compare(simulator.url()).await?;
    println!("same-request: {compared}");
    simulator.stop().await
}
