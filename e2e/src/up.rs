//! `cargo xtask up`: a bed with everything in it.

use anyhow::Result;

use crate::stack::{Programs, Stack, StackOptions};
use crate::testbed::beds::{self, Bed, Claim, Owned};

/// What `up` found or made.
#[derive(Debug)]
pub enum Up {
    /// It runs since now, and ends with this process unless it is kept.
    Started(Owned, Box<Stack>),
    /// It was there, and whole.
    Running(Bed),
}

/// Starts a bed: control plane, nodes, charts, simulated cloud, operator.
pub async fn up(name: &str) -> Result<Up> {
    let programs = Programs::beside_this_one()?;
    let (owned, plane) = match beds::claim(name).await? {
        Claim::Running(bed) => return Ok(Up::Running(bed)),
        Claim::Mine(owned, plane) => (owned, *plane),
    };
    let options = StackOptions { build_time: "20s", log_level: "info", ..StackOptions::default() };
    let mut stack = Stack::around(plane, programs, &options).await?;
    stack.start_operator().await?;
    owned.record(stack.plane(), &stack.others())?;
    Ok(Up::Started(owned, Box::new(stack)))
}
