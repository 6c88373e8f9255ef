//! `kubectl eci`: how our objects are, what the market of the cloud advises, and what would become of spot pods.
//!
//! A thin shell: it asks the cloud or the API server, lets `eci-core` decide, and prints. Every command has a table for people and JSON
//! for programs.
#![warn(missing_docs)]

pub mod args;
mod claims;
mod cloud;
mod doctor;
mod drill;
mod error;
mod explain;
mod findings;
mod kubernetes;
mod manifest;
mod migrate;
mod size;
mod spot;
mod status;
mod table;
mod uninstall;

use std::io::Write;

use clap::CommandFactory as _;

pub use error::Error;

use args::{Args, Command, SpotCommand};

/// Name of the program, and so of the plugin: kubectl finds `eci` by it.
const PROGRAM: &str = "kubectl-eci";

/// Carries out a command and writes its result. Some commands fail after that, by what they found.
pub async fn run(args: Args, out: &mut impl Write) -> Result<(), Error> {
    let mut result = Ok(());
    let text = match args.command {
        Command::Spot(SpotCommand::Advise(args)) => spot::advise(&args).await?,
        Command::Status(args) => status::status(&args).await?,
        Command::Explain(args) => explain::explain(&args).await?,
        Command::Migrate(args) => {
            let text;
            (text, result) = migrate::migrate(&args).await?;
            text
        }
        Command::Doctor(args) => {
            let text;
            (text, result) = doctor::doctor(&args).await?;
            text
        }
        Command::UninstallCheck(args) => {
            let text;
            (text, result) = uninstall::check(&args).await?;
            text
        }
        Command::Drill(args) => drill::drill(&args).await?,
        Command::Completion { shell } => completion(shell),
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    result
}

/// The script that completes commands in a shell.
fn completion(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), PROGRAM, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
