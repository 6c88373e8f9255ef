//! Every decision of eci-operator.
//!
//! Nothing here does IO, starts a task, reads a clock, draws randomness, or knows `kube::Client` or HTTP. The only
//! inputs are arguments, so that every decision can be tested, printed and replayed.
#![warn(missing_docs)]

pub mod admission;
pub mod audit;
pub mod cloud;
pub mod cloud_resource;
pub mod data_cache;
pub mod eviction;
pub mod image_cache;
pub mod lease;
pub mod matches;
pub mod network;
pub mod pace;
pub mod placement;
pub mod profile;
pub mod pull_secret;
pub mod quota;
pub mod spot;
pub mod sweeper;
pub mod time;
