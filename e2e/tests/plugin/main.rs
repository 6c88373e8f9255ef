//! `kubectl eci`: the plugin as people run it, by the test bed's kubectl, against the simulator and the API server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy excepts only the functions marked #[test]"
)]

mod advise;
mod checks;
mod cluster;
mod drill;
mod explain;
mod migrate;
mod status;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use eci_e2e::testbed::{Binaries, Tool};
use eci_sim::server::{self, ServerHandle};
use eci_sim::{Key, KeyState, Settings, Sim};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

const KEY: &str = "FAKE-ACCESS-KEY-ID";
const SECRET: &str = "FAKE-ACCESS-KEY-SECRET";

/// Longest that a command may take.
const LIMIT: Duration = Duration::from_mins(5);

/// What a command left behind.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    /// Its output, when it succeeded.
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// What it said, when it failed.
    fn failed(self) -> String {
        assert!(self.code.is_some_and(|code| code != 0) && self.out.is_empty(), "{self:?}");
        self.err
    }
}

/// kubectl with the plugin on its PATH, and nothing else in its environment.
struct Kubectl {
    dir: TempDir,
    environment: BTreeMap<&'static str, String>,
}

impl Kubectl {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // kubectl knows a plugin by the name of its file.
        symlink(env!("CARGO_BIN_EXE_kubectl-eci-under-test"), dir.path().join("kubectl-eci")).unwrap();
        Self { dir, environment: BTreeMap::new() }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.insert(name, value.to_owned());
        self
    }

    /// With the key that [`market`] knows.
    fn with_key(self) -> Self {
        self.with("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY).with("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    }

    async fn run(&self, args: &[&str]) -> Outcome {
        let kubectl = Binaries::ensure().await.unwrap().path(Tool::Kubectl);
        let mut command = Command::new(kubectl);
        command.args(args).env_clear().envs(&self.environment).env("PATH", self.dir.path());
        command.env("HOME", self.dir.path()).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await.unwrap().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A simulated market, with one key.
async fn market(settings: Settings) -> (ServerHandle, Sim) {
    let sim = Sim::new(7, settings, eci_sim::Clock::System);
    sim.add_key(Key { id: KEY.into(), secret: SECRET.into(), security_token: None, state: KeyState::Active });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (server::serve(listener, sim.clone()).unwrap(), sim)
}
