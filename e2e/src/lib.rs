//! Control plane, scenarios and end-to-end tests.

pub mod admission;
pub mod bench;
pub mod demo;
pub mod eventually;
pub mod observer;
pub mod stack;
pub mod storm;
pub mod testbed;
pub mod up;
pub mod vendor;
pub mod workload;
