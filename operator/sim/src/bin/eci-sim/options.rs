//! Command line of the simulator.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use eci_sim::faults::Fault;
use eci_sim::{Clock, Key, KeyState, Settings, Sim};
use jiff::SignedDuration;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Alibaba Cloud ECI: the image cache API with signatures verified, and an admin API under /_sim/.
#[derive(clap::Parser)]
#[command(
    version,
    after_help = "Logs go to the standard error stream; RUST_LOG=eci_sim=debug shows each call."
)]
pub(crate) struct Options {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Allow --listen to be an address that other machines reach
    #[arg(long)]
    allow_remote: bool,
    /// Write the port to this file once it is listening
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Region of the endpoint [default: cn-hangzhou]
    #[arg(long)]
    region: Option<String>,
    /// Time that a build takes, such as 3s or 2m [default: 90s]
    #[arg(long, value_name = "DURATION")]
    build_time: Option<SignedDuration>,
    /// JSON file with settings, as the admin API takes them
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// JSON file with a list of faults, as the admin API takes them
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Access key that is accepted; the default is made up
    #[arg(long, default_value = "FAKE-ACCESS-KEY-ID")]
    access_key_id: String,
    /// Its secret; the default is made up
    #[arg(long, default_value = "FAKE-ACCESS-KEY-SECRET")]
    access_key_secret: String,
    /// Makes the access key a temporary one with this token
    #[arg(long)]
    security_token: Option<String>,
}

impl Options {
    /// The world they describe.
    pub(crate) fn sim(&self) -> anyhow::Result<Sim> {
        let mut settings: Settings = match &self.settings {
            Some(path) => read_json(path)?,
            None => Settings::default(),
        };
        if let Some(region) = &self.region {
            settings.region.clone_from(region);
        }
        if let Some(time) = self.build_time {
            settings.set_build_time_ms(
                u64::try_from(time.as_millis()).context("--build-time must not be negative")?,
            );
        }
        let sim = Sim::new(self.seed, settings, Clock::System);
        let faults: Vec<Fault> = self.faults.as_deref().map(read_json).transpose()?.unwrap_or_default();
        for fault in faults {
            sim.add_fault(fault);
        }
        sim.add_key(Key {
            id: self.access_key_id.clone(),
            secret: SecretString::from(self.access_key_secret.as_str()),
            security_token: self.security_token.as_deref().map(SecretString::from),
            state: KeyState::Active,
        });
        Ok(sim)
    }

    /// Where to listen.
    pub(crate) fn listen(&self) -> anyhow::Result<SocketAddr> {
        if !self.listen.ip().is_loopback() && !self.allow_remote {
            bail!(
                "--listen {} can be reached from other machines; the simulator's keys are made up, so give \
                 --allow-remote if that is what you want",
                self.listen
            );
        }
        Ok(self.listen)
    }

    /// Says where it listens.
    pub(crate) fn announce(&self, address: SocketAddr) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        writeln!(out, "listening on http://{address}")?;
        out.flush()?;
        if let Some(path) = &self.port_file {
            // Whoever waits for the file must never read half of it.
            let partial = path.with_extension("partial");
            fs::write(&partial, address.port().to_string())
                .and_then(|()| fs::rename(&partial, path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Returns on SIGTERM or SIGINT.
pub(crate) async fn asked_to_stop() -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what was expected", path.display()))
}
