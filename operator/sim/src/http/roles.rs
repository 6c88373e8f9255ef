//! STS and the metadata service over HTTP. Neither is signed.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::Value;

use super::body::Payload;
use super::{json_response, respond};
use crate::sim::Sim;
use crate::world::ApiError;

/// The action of STS that is answered.
const ASSUME: &str = "AssumeRoleWithOIDC";
/// How calls of the metadata service are logged.
const METADATA: &str = "InstanceMetadata";
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";

/// Answers what is for these services; `None` for everything else.
pub(super) fn handle(
    sim: &Sim,
    method: &Method,
    (path, query): (&str, &str),
    headers: &BTreeMap<String, String>,
    body: &Bytes,
    request_id: &str,
) -> Option<Response<Payload>> {
    if path.starts_with("/latest/") {
        return Some(metadata(sim, method, path, headers));
    }
    let parameters = form(query);
    if path != "/" || parameters.get("Action").map(String::as_str) != Some(ASSUME) {
        return None;
    }
    let result = assume(sim, method, &parameters, body);
    let code = result.as_ref().map_or_else(|error| error.code.as_str(), |_| "OK");
    sim.log_refusal(ASSUME, code);
    Some(match result {
        Ok(mut answer) => {
            answer["RequestId"] = Value::from(request_id);
            json_response(200, &answer, request_id, false)
        }
        Err(error) => respond(Err(error), request_id, "sts.example.com", false),
    })
}

/// The token belongs in the body: URLs end up in logs.
fn assume(
    sim: &Sim,
    method: &Method,
    parameters: &BTreeMap<String, String>,
    body: &Bytes,
) -> Result<Value, ApiError> {
    if method != Method::POST {
        return Err(ApiError::new("UnsupportedHTTPMethod", "Only POST is simulated."));
    }
    if parameters.get("Version").map(String::as_str) != Some("2015-04-01") {
        return Err(ApiError::new("InvalidVersion", "The version of STS is 2015-04-01."));
    }
    if let Some(name) =
        parameters.keys().find(|name| !["Action", "Version", "Format"].contains(&name.as_str()))
    {
        return Err(ApiError::invalid(name, "it belongs in the body"));
    }
    sim.assume_role(&form(&String::from_utf8_lossy(body)))
}

fn metadata(sim: &Sim, method: &Method, path: &str, headers: &BTreeMap<String, String>) -> Response<Payload> {
    let header = |name: &str| headers.get(name).map(String::as_str);
    let answer = if path == "/latest/api/token" && method == Method::PUT {
        sim.metadata_token(header("x-aliyun-ecs-metadata-token-ttl-seconds")).ok_or(StatusCode::BAD_REQUEST)
    } else if !sim.knows_metadata_token(header("x-aliyun-ecs-metadata-token")) {
        Err(StatusCode::FORBIDDEN)
    } else if let Some(role) = path.strip_prefix(ROLES).filter(|_| method == Method::GET) {
        let found = if role.is_empty() { sim.node_role() } else { sim.node_credentials(role) };
        found.ok_or(StatusCode::NOT_FOUND)
    } else {
        Err(StatusCode::NOT_FOUND)
    };
    let (status, text) = answer.map_or_else(|status| (status, String::new()), |text| (StatusCode::OK, text));
    sim.log_refusal(METADATA, if status == StatusCode::OK { "OK" } else { status.as_str() });
    let mut response = Response::new(Payload::whole(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
    response
}

/// Decodes a form or a query.
fn form(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(n, v)| (decode(n), decode(v)))
        .collect()
}
