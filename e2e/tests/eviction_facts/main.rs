//! What a real API server does with evictions: each fact that the engine relies on, and what its answers are told
//! apart by. Every answer goes through the classification that the operator uses.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy excepts only the functions marked #[test]"
)]

mod answers;
mod budget;
mod client;
mod controllers;
mod free;
mod world;

use std::time::Duration;

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(1);
