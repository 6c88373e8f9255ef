//! The world as the vendor's API over HTTP.

mod actions;
mod admin_api;
mod body;
mod data;
mod market;
mod network;
mod params;
mod roles;
mod sign;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::keys::{Key, KeyState};
use crate::secret::Digest;
use crate::sim::{Answer, Sim};
use crate::world::ApiError;
use crate::world::call::Reply;
use crate::world::data_cache::shown_option;
use body::{Dropped, Payload};
use sign::{Claim, Received};

/// Largest body of a request, bytes.
const MAX_BODY: usize = 1 << 20;

/// Most that the time of a request and ours may differ.
const MAX_SKEW: Duration = Duration::from_mins(15);

/// Answers one request. An error closes the connection without an answer.
pub(crate) async fn handle(
    sim: Sim,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|_| Dropped)?.to_bytes();
    if parts.uri.path().starts_with("/_sim/") {
        return Ok(admin_api::handle(&sim, peer, &parts.method, parts.uri.path(), &body));
    }
    let request_id = sim.request_id();
    let headers: BTreeMap<String, String> = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let target = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    if let Some(response) = roles::handle(&sim, &parts.method, target, &headers, &body, &request_id) {
        return Ok(response);
    }
    let received = Received {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let answer = answer(&sim, &parts.method, &received);
    let host = headers.get("host").map_or("", String::as_str);
    match answer {
        Ok((latency, answer)) => {
            sim.clock().sleep(latency).await;
            match answer {
                Answer::Whole(result) => Ok(respond(result, &request_id, host, false)),
                Answer::Half(result) => Ok(respond(result, &request_id, host, true)),
                Answer::NotJson(status) => Ok(page(status)),
                Answer::Closed(after) => {
                    sim.clock().sleep(after).await;
                    Err(Dropped)
                }
            }
        }
        Err(error) => Ok(respond(Err(error), &request_id, host, false)),
    }
}

/// Checks who calls, reads what, and performs it.
fn answer(sim: &Sim, method: &Method, received: &Received<'_>) -> Result<(Duration, Answer), ApiError> {
    let mut action = "unknown".to_owned();
    let call = (|| {
        if method != Method::GET && method != Method::POST {
            return Err(ApiError::new("UnsupportedHTTPMethod", "GET and POST are supported."));
        }
        if received.path != "/" {
            return Err(ApiError::new("InvalidAction.NotFound", "The path of this API is /."));
        }
        if !received.body.is_empty() {
            return Err(ApiError::new(
                "InvalidParameter",
                "Parameters belong in the query, and the body stays empty.",
            ));
        }
        let settings = sim.with_world(|world, _| world.settings.clone());
        let claim = Claim::read(received, settings.canonical_names)?;
        action.clone_from(&claim.action);
        authenticate(sim, &claim)?;
        let call = actions::decode(&claim.action, &claim.version, claim.parameters.clone(), &settings)?;
        sim.log_request(&claim.action, without_secrets(claim.parameters));
        Ok(call)
    })();
    match call {
        Ok(call) => {
            let outcome = sim.perform(&call);
            tracing::debug!(action, "call");
            Ok((outcome.latency, outcome.answer))
        }
        Err(error) => {
            let action = known_action(&action);
            tracing::debug!(action, code = error.code, "refused");
            sim.log_refusal(action, &error.code);
            Err(error)
        }
    }
}

/// Bounds the log's keys: callers choose the names of actions.
fn known_action(action: &str) -> &str {
    if actions::KNOWN.iter().any(|(known, _)| *known == action) { action } else { "unknown" }
}

fn authenticate(sim: &Sim, claim: &Claim) -> Result<(), ApiError> {
    let keys = sim.keys();
    let key = keys.find(&claim.key_id, sim.clock().now())?;
    if !claim.is_signed_with(key.secret.expose_secret()) {
        return Err(sign::does_not_match());
    }
    let skew = claim.time.duration_since(sim.clock().now()).unsigned_abs();
    if skew > MAX_SKEW {
        return Err(ApiError::new("InvalidTimeStamp.Expired", "The time stamp is more than 15 minutes off."));
    }
    check_token(key, claim)?;
    if key.state == KeyState::Denied {
        return Err(ApiError::new("NoPermission", "You are not authorized to perform this operation."));
    }
    if sim.use_nonce(&claim.nonce) {
        Ok(())
    } else {
        Err(ApiError::new("SignatureNonceUsed", "The signature nonce was used before."))
    }
}

fn check_token(key: &Key, claim: &Claim) -> Result<(), ApiError> {
    let expected = key.security_token.as_ref().map(|token| Digest::of(token.expose_secret()));
    let given = claim.security_token.as_deref().map(Digest::of);
    if expected == given {
        Ok(())
    } else {
        Err(ApiError::new(
            "InvalidSecurityToken.Malformed",
            "The security token does not belong to the access key.",
        ))
    }
}

/// For the log: passwords become digests.
fn without_secrets(parameters: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |name: &str, value: String| {
        if name.ends_with("Password") {
            Digest::of(&value).short()
        } else if let Some(key) = name.strip_prefix("DataSource.Options.") {
            // With or without its length before it.
            shown_option(key.rsplit('#').next().unwrap_or_default(), value)
        } else {
            value
        }
    };
    parameters.into_iter().map(|(name, value)| (name.clone(), shown(&name, value))).collect()
}

fn respond(result: Result<Reply, ApiError>, request_id: &str, host: &str, cut: bool) -> Response<Payload> {
    match result {
        Ok(reply) => json_response(200, &actions::encode(reply, request_id), request_id, cut),
        Err(error) => {
            let body = json!({
                "RequestId": request_id,
                "HostId": host,
                "Code": error.code,
                "Message": error.message,
                "Recommend": format!("https://error-center.example.com/status/product/Eci?q={}", error.code),
            });
            let mut response = json_response(error.status, &body, request_id, cut);
            if let Some(ms) = error.retry_after_ms {
                response.headers_mut().insert("x-acs-retry-after", HeaderValue::from(ms));
            }
            response
        }
    }
}

fn json_response(status: u16, body: &Value, request_id: &str, cut: bool) -> Response<Payload> {
    let bytes = Bytes::from(body.to_string());
    let payload = if cut { Payload::half(&bytes) } else { Payload::whole(bytes) };
    let mut response = Response::new(payload);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json;charset=utf-8"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-acs-request-id", id);
    }
    response
}

/// What a proxy on the way might say.
fn page(status: u16) -> Response<Payload> {
    let text = "<html><body><h1>Bad Gateway</h1></body></html>";
    let mut response = Response::new(Payload::whole(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
    response
}
