//! The client of the API against the simulated cloud, over real HTTP with real signatures.
//!
//! Both were written from the vendor's documents and share no code. Nearly every call here is put to two equal worlds,
//! to one by the client and to the other in process, and what comes back must be the same: so a scenario that passes
//! on the port in process means what it says about the client as well.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy excepts only the functions marked #[test]"
)]

mod codes;
mod credentials;
mod data;
mod lost;
mod market;
mod network;
mod port;
mod roles;
mod switches;
mod twins;
