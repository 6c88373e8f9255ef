//! The operator: a thin shell around `eci_core`, which decides.
//!
//! One shape for every controller: observe, plan, apply, report. [`driver`] runs it for any [`kind::Managed`];
//! [`observe`] looks at the cloud once for all objects; [`controllers`] watches the API server; [`run`] puts the parts
//! together.
#![warn(missing_docs)]

pub mod admin;
mod apply;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod controllers;
pub mod credentials;
mod data_cache;
pub mod driver;
mod dry_run;
pub mod eviction;
mod facts;
mod image_cache;
pub mod kind;
pub mod kubernetes;
pub mod lease;
mod matches;
pub mod metered;
pub mod metrics;
mod networkings;
pub mod nudge;
pub mod observe;
mod outlook;
pub mod patch;
mod peers;
pub mod placement;
mod profiles;
pub mod report;
mod room;
pub mod run;
pub mod shutdown;
mod sight;
mod slim;
pub mod snapshot;
pub mod sweep;
mod tasks;
pub mod telemetry;
mod users;
pub mod webhook;
