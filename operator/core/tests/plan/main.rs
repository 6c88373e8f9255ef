//! Single decisions, one sentence each: what a pass does next, what it says, and when it comes back.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod actors;
mod adopt;
mod broken;
mod change;
mod creation;
mod deletion;
mod failed;
mod in_use;
mod refusal;
mod resolve;
mod room;
mod said;
mod scene;
mod standing;
mod vanished;
