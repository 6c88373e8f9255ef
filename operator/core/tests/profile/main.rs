//! What profiles make of pods: single decisions as tables, and what must hold for every pod as properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cluster;
mod data_caches;
mod extremes;
mod properties;
mod rules;
mod scene;
mod tables;
