//! Control plane, scenarios and end-to-end tests.

pub mod testbed;
