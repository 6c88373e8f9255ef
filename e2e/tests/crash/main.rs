//! The operator under fire: killed again and again, and everything else that takes away what it knew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod credentials;
mod lost;

use anyhow::{Result, ensure};
use eci_e2e::bench::crash::episode;

/// One whose deaths come in the middle of calls, with a status that is lost. Others: `cargo xtask bench crash`.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_deaths_of_the_operator_leak_nothing_and_make_nothing_twice() -> Result<()> {
    let done = Box::pin(episode(SEED, 10)).await?;
    println!("{}", done.story);
    ensure!(done.kills == 9 && done.frozen == 1, "{done:?}");
    ensure!(done.objects > 0 && done.made > 0, "{done:?}");
    Ok(())
}
