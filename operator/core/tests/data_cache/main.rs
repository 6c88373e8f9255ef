//! What is particular to data caches: their requests, and that bucket and path have one of them.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod content;
mod place;
mod request;
mod scene;
