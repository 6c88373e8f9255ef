//! The admin API under `/_sim/`: what tests and the demo do to the world. For callers on this machine only.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::body::Payload;
use crate::admin::{Advance, KeyChange};
use crate::faults::Fault;
use crate::keys::Key;
use crate::sim::Sim;
use crate::world::settings::Settings;

/// Why an admin call failed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the admin API answers callers on the same machine only")]
    Remote,
    #[error("the admin API knows no {0}; the crate's documentation lists its calls")]
    NoSuchPath(String),
    #[error("there is no {0}")]
    NotFound(String),
    #[error("the body cannot be read: {0}")]
    Body(#[from] serde_json::Error),
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Remote => StatusCode::FORBIDDEN,
            Self::NoSuchPath(_) | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Body(_) => StatusCode::BAD_REQUEST,
        }
    }
}

pub(super) fn handle(
    sim: &Sim,
    peer: SocketAddr,
    method: &Method,
    path: &str,
    body: &Bytes,
) -> Response<Payload> {
    let result =
        if peer.ip().is_loopback() { perform(sim, method, path, body) } else { Err(Refused::Remote) };
    let (status, value) = match result {
        Ok(value) => (StatusCode::OK, value),
        Err(refused) => (refused.status(), json!({ "error": refused.to_string() })),
    };
    let mut response = Response::new(Payload::whole(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

fn perform(sim: &Sim, method: &Method, path: &str, body: &Bytes) -> Result<Value, Refused> {
    let path = path.trim_start_matches("/_sim/");
    let segments: Vec<&str> = path.split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["healthz"]) => Ok(json!({ "now": sim.now() })),
        ("GET", ["ledger"]) => Ok(sim.with_world(|world, _| serde_json::to_value(world.ledger()))?),
        ("GET", ["caches"]) => Ok(sim.with_world(|world, now| serde_json::to_value(world.caches(now)))?),
        ("GET", ["datacaches"]) => {
            Ok(sim.with_world(|world, now| serde_json::to_value(world.data_caches(now)))?)
        }
        ("GET", ["calls"]) => Ok(serde_json::to_value(sim.calls())?),
        ("GET", ["requests"]) => Ok(serde_json::to_value(sim.requests())?),
        ("GET", ["faults"]) => Ok(serde_json::to_value(sim.faults())?),
        ("POST", ["faults"]) => {
            for fault in one_or_many::<Fault>(body)? {
                sim.add_fault(fault);
            }
            Ok(json!({}))
        }
        ("DELETE", ["faults"]) => {
            sim.clear_faults();
            Ok(json!({}))
        }
        ("POST", ["settings"]) => settings(sim, &serde_json::from_slice(body)?),
        ("POST", ["keys"]) => key(sim, serde_json::from_slice(body)?),
        ("POST", ["roles"]) => {
            sim.set_roles(serde_json::from_slice(body)?);
            Ok(json!({}))
        }
        ("POST", ["roles", "revoke"]) => {
            sim.revoke_temporary_keys();
            Ok(json!({}))
        }
        ("POST", ["advance"]) => {
            let Advance { seconds } = serde_json::from_slice(body)?;
            sim.advance(Duration::from_secs(seconds));
            Ok(json!({ "now": sim.now() }))
        }
        ("POST", ["reset"]) => {
            sim.reset();
            Ok(json!({}))
        }
        ("POST", ["snapshots", id, "delete"]) => {
            found(sim.with_world(|world, now| world.delete_snapshot(now, id)), "snapshot", id)
        }
        ("POST", ["caches", id, "vanish"]) => {
            found(sim.with_world(|world, now| world.vanish(now, id)), "cache", id)
        }
        ("POST", ["caches", id, "match"]) => {
            found(sim.with_world(|world, now| world.matched(now, id)), "cache", id)
        }
        _ => {
            Err(Refused::NoSuchPath(format!("{method} /_sim/{}", path.chars().take(100).collect::<String>())))
        }
    }
}

fn found(found: bool, what: &str, id: &str) -> Result<Value, Refused> {
    if found { Ok(json!({})) } else { Err(Refused::NotFound(format!("{what} {id}"))) }
}

fn one_or_many<T: DeserializeOwned>(body: &Bytes) -> Result<Vec<T>, serde_json::Error> {
    let value: Value = serde_json::from_slice(body)?;
    if value.is_array() { serde_json::from_value(value) } else { Ok(vec![serde_json::from_value(value)?]) }
}

/// Fields that are not mentioned stay as they are.
fn settings(sim: &Sim, patch: &Value) -> Result<Value, Refused> {
    sim.with_world(|world, _| {
        let mut merged = serde_json::to_value(&world.settings)?;
        if let (Some(merged), Some(patch)) = (merged.as_object_mut(), patch.as_object()) {
            merged.extend(patch.clone());
        }
        world.settings = serde_json::from_value::<Settings>(merged)?;
        Ok(json!({}))
    })
}

/// With a secret a key is added or replaced, without one only its state changes.
fn key(sim: &Sim, change: KeyChange) -> Result<Value, Refused> {
    let Some(secret) = change.secret else {
        return found(sim.set_key_state(&change.id, change.state), "access key", &change.id);
    };
    sim.add_key(Key {
        id: change.id,
        secret: SecretString::from(secret),
        security_token: change.security_token.map(SecretString::from),
        state: change.state,
    });
    Ok(json!({}))
}
