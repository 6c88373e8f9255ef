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
        let dir = beside_this_one("operator")?;
        Ok(Self { operator: program(&dir, "operator"), sim: sim(&dir)? })
    }

    /// The simulated cloud as cargo built it together with the running program, and the operator of a release build.
    pub fn with_released_operator() -> Result<Self> {
        let dir = beside_this_one("sim")?;
        let target = dir.parent().context("this program is in no target folder")?;
        let operator = target.join("release/eci-operator");
        ensure!(
            operator.is_file(),
            "{} is missing: run `cargo build --release --package eci-operator` first",
            operator.display()
        );
        Ok(Self { operator, sim: sim(&dir)? })
    }
}

/// The folder of the running program, or the one above it for a test, that has the program of that name.
fn beside_this_one(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    let dir = this.ancestors().skip(1).find(|dir| program(dir, name).is_file());
    let dir = dir.with_context(|| {
        format!(
            "{} has no {name} beside it: run `cargo build --package eci-e2e --bins` first",
            this.display()
        )
    })?;
    Ok(dir.to_owned())
}

fn sim(dir: &Path) -> Result<PathBuf> {
    let sim = program(dir, "sim");
    ensure!(sim.is_file(), "{} is missing: run `cargo build --package eci-e2e --bins`", sim.display());
    Ok(sim)
}

fn program(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}-under-test"))
}
