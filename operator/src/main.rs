//! The operator's process.

use std::process::ExitCode;

use eci_operator::config::{Command, ConfigError};
use eci_operator::{run, shutdown, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Command::read(std::env::args_os()) {
        Ok(Command::Run(config)) => config,
        Ok(Command::RamPolicy(policy)) => {
            println!("{}", policy.text());
            return ExitCode::SUCCESS;
        }
        Err(ConfigError::Flags(error)) => error.exit(),
        Err(ConfigError::Value(message)) => return stop(2, &message),
    };
    if let Err(error) = telemetry::start(&config) {
        return stop(2, &error);
    }
    // Fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run::run(*config, shutdown::signal()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stop(1, &error),
    }
}

fn stop(code: u8, why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("eci-operator: {why}");
    ExitCode::from(code)
}
