//! The simulator as the program that people run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use eci_e2e::testbed::Process;
use tempfile::TempDir;

/// Cargo builds it with this test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_sim-under-test");

/// Longest until it listens, and until it has ended.
const LIMIT: Duration = Duration::from_secs(10);

/// How often its port is looked for.
const POLL: Duration = Duration::from_millis(20);

/// A running simulator; dropping it kills it.
pub(crate) struct Simulator {
    process: Process,
    url: String,
    /// With its log.
    _dir: TempDir,
}

impl Simulator {
    /// Starts it on a free port of 127.0.0.1.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("cannot create a directory for the simulator's log")?;
        let port_file = dir.path().join("port");
        let args = ["--port-file".as_ref(), port_file.as_os_str()];
        let process =
            Process::spawn("eci-sim", Path::new(PROGRAM), args, [("RUST_LOG", "warn")], dir.path())?;
        let port = async {
            loop {
                process.check_alive()?;
                if let Ok(port) = fs::read_to_string(&port_file) {
                    return anyhow::Ok(port);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let port = tokio::time::timeout(LIMIT, port)
            .await
            .with_context(|| format!("the simulator did not listen after {} s", LIMIT.as_secs()))??;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), process, _dir: dir })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Asks it to end, which it must do by itself and without an error.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        match self.process.terminate(LIMIT).await {
            Some(status) if status.success() => Ok(()),
            ended => bail!("the simulator did not end well ({ended:?}):\n{}", self.process.log_tail(20)),
        }
    }
}
