//! Tables over the engine: one situation each, event by event.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod answers;
mod classify;
mod deadline;
mod levers;
mod lint;
mod notices;
mod remarks;
mod said;
mod scale;
mod scene;
mod way;
