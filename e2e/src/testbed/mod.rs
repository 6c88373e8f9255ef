//! A real Kubernetes control plane on loopback, without a container engine.
//!
//! [`ControlPlane::start`] runs etcd, kube-apiserver and, as asked, kube-controller-manager, kube-scheduler and kwok
//! as plain processes on free ports of 127.0.0.1. Their versions are pinned by the Go modules in `e2e/testbed`;
//! [`Binaries::ensure`] builds them once into a cache outside the checkout. Every process is tethered to the one that
//! started it (see [`Process`]), so nothing survives a crashed or killed test. [`beds`] keeps planes that outlive
//! their command, for `cargo xtask up` and `down`.
//!
//! Linux only: processes are identified by what `/proc` says.

pub mod beds;
mod binaries;
mod build;
mod certs;
mod clock;
mod command;
mod components;
mod control_plane;
mod error;
mod faults;
mod fence;
mod identity;
mod kubeconfig;
mod lock;
pub mod nodes;
mod peers;
mod process;
mod provision;
mod users;
pub mod webhook;

pub use binaries::{Binaries, Tool, cache_dir};
pub use clock::{Stopwatch, wall_clock};
pub use command::Output;
pub use control_plane::{ControlPlane, StartOptions};
pub use error::Error;
pub use faults::Link;
pub use identity::Identity;
pub use peers::Peer;
pub use process::Process;
pub use users::Serving;

/// Result of everything in the test bed.
pub type Result<T, E = Error> = std::result::Result<T, E>;
