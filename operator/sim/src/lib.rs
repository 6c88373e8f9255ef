//! The simulated cloud: Alibaba Cloud ECI as far as the operator uses it.
//!
//! - [`world`] is a pure state machine with virtual time: no IO, no clock, every random choice from a seed.
//! - [`Sim`] shares one world between callers, puts [`faults`] between them and it, and keeps a log of the calls.
//! - [`SimCloud`] is the port of the operator on top of it, in process.
//! - [`server`] speaks the vendor's wire protocol over HTTP with signatures verified, and an admin API under `/_sim/`
//!   that [`admin::Client`] calls.
//!
//! What the vendor documents nowhere is a named switch in [`Settings`], never a habit of the code. Nothing is shared
//! with the client crate: two implementations of the signature check each other.

pub mod admin;
mod clock;
mod cloud;
pub mod faults;
mod http;
mod keys;
pub mod log;
mod random;
mod secret;
pub mod server;
mod sim;
pub mod world;

pub use clock::Clock;
pub use cloud::SimCloud;
pub use keys::{Key, KeyState, Keys};
pub use secret::Digest;
pub use sim::{Answer, Outcome, Sim};
pub use world::settings::Settings;
