//! Control plane, scenarios and end-to-end tests.
