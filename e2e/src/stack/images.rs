//! The programs that stand in for container images.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The programs of the repository.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The operator.
    pub operator: PathBuf,
    /// The simulated cloud.
    pub sim: PathBuf,
}

impl Programs {
    /// Those that cargo built together with the running program, be that a test or a binary of this package.
    pub fn beside_this_one() -> Result<Self> {
        let this = std::env::current_exe().context("cannot tell where this program is")?;
        let dir = this.ancestors().skip(1).find(|dir| program(dir, "operator").is_file());
        let dir = dir.with_context(|| {
            format!(
                "{} has no operator beside it: run `cargo build --package eci-e2e --bins` first",
                this.display()
            )
        })?;
        let found = Self { operator: program(dir, "operator"), sim: program(dir, "sim") };
        ensure!(
            found.sim.is_file(),
            "{} is missing: run `cargo build --package eci-e2e --bins`",
            found.sim.display()
        );
        Ok(found)
    }

    /// The same, with the operator of a release build beside this one's.
    pub fn with_released_operator() -> Result<Self> {
        let found = Self::beside_this_one()?;
        let target = found.operator.ancestors().nth(2).context("the operator is in no target folder")?;
        let operator = target.join("release/eci-operator");
        ensure!(
            operator.is_file(),
            "{} is missing: run `cargo build --release --package eci-operator` first",
            operator.display()
        );
        Ok(Self { operator, ..found })
    }
}

fn program(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}-under-test"))
}
