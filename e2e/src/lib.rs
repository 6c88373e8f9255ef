//! Control plane, scenarios and end-to-end tests.

pub mod bench;
pub mod demo;
pub mod eventually;
pub mod stack;
pub mod testbed;
pub mod up;
