//! An ImageCache from nothing to Ready to deleted: the real operator with its chart's permissions, a real API server,
//! the simulated cloud over HTTP with real signatures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod adopt;
mod crash;
mod faults;
mod gitops;
mod in_use;
mod life;
mod matched;
mod told;

use std::time::Duration;

use eci_e2e::stack::{Stack, StackOptions};
use tokio::sync::OnceCell;

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_secs(30);
/// How long something may take that waits for a window of looking.
const WINDOW: Duration = Duration::from_mins(1);

/// One stack for all tests that neither kill the operator nor script faults of every call.
async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_init(|| async { Stack::start(StackOptions::default()).await.expect("the stack starts") })
        .await
}
