//! More than one operator.

use anyhow::{Context as _, Result};

use super::{STOP_LIMIT, Stack, free_port, get, wait_ready};
use crate::testbed::Process;

/// An operator beside the stack's own. Dropping it ends it.
#[derive(Debug)]
pub struct Replica {
    process: Process,
    health: String,
    webhook: String,
}

impl Replica {
    /// Where it serves health and metrics: host and port.
    pub fn health(&self) -> &str {
        &self.health
    }

    /// Where it serves its webhook: host and port. The API server does not ask there.
    pub fn webhook(&self) -> &str {
        &self.webhook
    }

    /// kill -9.
    pub async fn kill(self) -> Result<()> {
        self.process.kill9();
        self.process.wait(STOP_LIMIT).await.context("the operator survived kill -9")?;
        Ok(())
    }
}

impl Stack {
    /// Starts another operator, as the pod `pod`, and waits until it is ready.
    pub async fn start_replica(&self, pod: &str) -> Result<Replica> {
        let health = format!("127.0.0.1:{}", free_port()?);
        let webhook = format!("127.0.0.1:{}", free_port()?);
        let process = self.launch(pod, pod, &health, &webhook).await?;
        wait_ready(&process, &health).await?;
        Ok(Replica { process, health, webhook })
    }

    /// Makes another operator the stack's own; the one before ends if it still runs.
    pub fn replace_operator(&mut self, replica: Replica) {
        self.operator = Some(replica.process);
        self.health = replica.health;
    }
}

/// Whether the operator that serves there says that it leads.
pub async fn leads(health: &str) -> Result<bool> {
    let (_, page) = get(health, "/metrics").await?;
    let gauge = page.lines().find_map(|line| line.strip_prefix("eci_operator_leader "));
    Ok(gauge.context("no metric eci_operator_leader")? == "1")
}
