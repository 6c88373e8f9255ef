//! Admission: for which pods the API server asks, what it is told, and when certificates are replaced.
//!
//! The API server is told to ask only for pods that a profile selects ([`entries`]), so that nothing else in a cluster
//! depends on the operator. What it is told is [`decide`](crate::profile::decide::decide), as an answer ([`answer`]).

pub mod answer;
pub mod authorities;
pub mod configuration;
pub mod entries;
