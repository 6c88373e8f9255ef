//! The program `kubectl-eci`, which kubectl runs as `kubectl eci` when it is on the PATH.

use std::process::ExitCode;

use clap::Parser as _;
use kubectl_eci::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match kubectl_eci::run(args, &mut std::io::stdout().lock()).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output may stop in its middle, as `head` does.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
