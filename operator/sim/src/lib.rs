//! The simulated cloud: Alibaba Cloud ECI as far as the operator uses it.
//!
//! - [`world`] is a pure state machine with virtual time: no IO, no clock, every random choice from a seed.
//! - [`Sim`] shares one world between callers, puts [`faults`] between them and it, and keeps a log of the calls.
//! - [`SimCloud`] is the port of the operator on top of it, in process.
//! - [`server`] speaks the vendor's wire protocol over HTTP with signatures verified, and an admin API under `/_sim/`
//!   that [`admin::Client`] calls.
//!
//! | admin call | does |
//! | --- | --- |
//! | `GET /_sim/healthz` | says the world's time |
//! | `GET /_sim/ledger` | every effect that cost money or ended it: create, update, end and its cause |
//! | `GET /_sim/caches`, `/datacaches` | what exists, whatever lists may show |
//! | `GET /_sim/calls` | counts by action and answer, and the newest calls |
//! | `GET /_sim/requests` | decoded parameters of the newest requests by action, passwords as digests |
//! | `GET`, `POST`, `DELETE /_sim/faults` | [`faults::Fault`], one or a list |
//! | `POST /_sim/settings` | some fields of [`Settings`] |
//! | `POST /_sim/keys` | `{id, secret?, securityToken?, state?}`: adds a key, or without a secret changes its [`KeyState`] |
//! | `POST /_sim/roles` | [`RoleSettings`]: who gets temporary keys of STS or the metadata service |
//! | `POST /_sim/roles/revoke` | ends all temporary keys before their time |
//! | `POST /_sim/snapshots/{id}/delete` | deletes a snapshot by hand |
//! | `POST /_sim/caches/{id}/vanish`, `/match` | removes a cache by hand; marks it as just used |
//! | `POST /_sim/advance` | `{seconds}`: moves the world's time forward |
//! | `POST /_sim/reset` | begins anew; keys stay |
//!
//! The two reading actions of ECS that show the spot market are answered at the same address; they have another version.
//!
//! STS AssumeRoleWithOIDC and the metadata service of an instance (`/latest/`) are answered there, too: both give keys
//! that expire.
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
mod network;
mod random;
mod roles;
mod secret;
pub mod server;
mod sim;
mod spot;
pub mod world;

pub use clock::Clock;
pub use cloud::SimCloud;
pub use keys::{Key, KeyState, Keys};
pub use random::Random;
pub use roles::RoleSettings;
pub use secret::Digest;
pub use sim::{Answer, Outcome, Sim};
pub use world::settings::Settings;
