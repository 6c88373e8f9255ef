//! The process that people operate: what it says, and what it leaves alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod dry_run;
mod metrics;
#[path = "../../../operator/tests/openmetrics/mod.rs"]
mod openmetrics;
mod orphans;

use std::time::Duration;

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_secs(30);
/// How long something may take that waits for a clock of the operator.
const LATER: Duration = Duration::from_mins(2);
