//! Typed client of the Alibaba Cloud ECI OpenAPI, version 2018-08-08: the implementation of the port
//! [`eci_core::cloud::Cloud`] that talks to the vendor.
//!
//! A call goes through pure steps with one impure one in the middle: [`request`] turns it into parameters, [`encode`]
//! flattens them, [`sign`] signs; the transport sends; [`wire`] reads the reply, [`convert`] makes values of the port,
//! and [`meaning`] says what an error means. The vendor's codes stop here.
//!
//! [`spot`] does the same with two actions of ECS, for the port [`eci_core::spot::SpotMarket`].
#![warn(missing_docs)]

pub mod action;
pub mod client;
pub mod clock;
pub mod config;
pub mod convert;
pub mod credentials;
pub mod encode;
pub mod endpoint;
mod lenient;
pub mod meaning;
pub mod network;
pub mod pace;
pub mod ram;
pub mod request;
mod scrub;
pub mod sign;
pub mod spot;
mod transport;
pub mod wire;

pub use action::{ACTIONS, Action, SPOT_ACTIONS, Service};
pub use client::Client;
pub use config::{Config, ConfigError};
pub use network::NetworkClient;
pub use spot::SpotClient;
