//! The test bed's commands. `cargo xtask` hands them on to this binary, so that xtask itself stays quick to build.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use eci_e2e::testbed::beds::{self, Bed, Down};
use eci_e2e::testbed::{Binaries, ControlPlane, Peer, Tool};
use eci_e2e::up::Up;
use tokio::signal::unix::{Signal, SignalKind, signal};

// One definition of the arguments: xtask parses and explains them, this binary parses them again.
#[path = "../../../xtask/src/bed.rs"]
mod bed;

use bed::{BedTask, DownArgs, ToolsArgs, UpArgs};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The test bed's tasks")]
struct Cli {
    #[command(subcommand)]
    task: BedTask,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().task {
        BedTask::Up(args) => up(&args).await,
        BedTask::Down(args) => down(&args).await,
        BedTask::Tools(args) => tools(&args).await,
    };
    if let Err(error) = result {
        // Not by returning it: the message says what to do, and our stack adds nothing.
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn up(args: &UpArgs) -> anyhow::Result<()> {
    let name = &args.name;
    let (owned, stack) = match eci_e2e::up::up(name).await? {
        Up::Running(bed) if args.foreground => {
            anyhow::bail!("test bed `{name}` is already running: KUBECONFIG={}", bed.kubeconfig.display());
        }
        Up::Running(bed) => {
            println!("test bed `{name}` is already running");
            show(&bed);
            return Ok(());
        }
        Up::Started(owned, stack) => (owned, *stack),
    };
    let bed = owned.bed.clone();
    if args.foreground {
        // Before anybody is told that Ctrl-C is the way out.
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        println!("test bed `{name}` is up until Ctrl-C");
        show(&bed);
        let result = run_until_stopped(stack.plane(), interrupt).await;
        drop(stack);
        owned.remove().await?;
        return result;
    }
    println!("test bed `{name}` is up");
    show(&bed);
    println!("  cloud         {} (simulated; admin API under /_sim/)", stack.sim_url());
    println!("  stop it with  cargo xtask down --name {name}");
    let (plane, others) = stack.into_parts();
    owned.keep(plane, &others)?;
    Ok(())
}

/// Until Ctrl-C, or an error when a process of the bed ends by itself.
async fn run_until_stopped(plane: &ControlPlane, mut interrupt: Signal) -> anyhow::Result<()> {
    let watch = async {
        loop {
            plane.check_alive()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        result = watch => result,
    }
}

fn show(bed: &Bed) {
    println!("  kubeconfig    {}", bed.kubeconfig.display());
    println!("  logs          {}", bed.logs.display());
}

async fn down(args: &DownArgs) -> anyhow::Result<()> {
    let names = if args.all { beds::names()? } else { vec![args.name.clone()] };
    if names.is_empty() {
        println!("no test bed to stop");
    }
    for name in names {
        match beds::down(&name).await? {
            Down::Stopped(count) => {
                println!("test bed `{name}`: {count} processes stopped, directory removed");
            }
            Down::Unknown => println!("no test bed `{name}` to stop"),
        }
    }
    Ok(())
}

async fn tools(args: &ToolsArgs) -> anyhow::Result<()> {
    let binaries = Binaries::ensure().await?;
    for tool in Tool::ALL {
        println!("{:<24} {}", tool.name(), binaries.path(tool).display());
    }
    if args.peers {
        for peer in Peer::ALL {
            println!("{:<24} {}", format!("peer {}", peer.name()), peer.ensure().await?.display());
        }
    }
    Ok(())
}
