//! The small HTTP client of the services that give credentials.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::CredentialsError;
use crate::transport::{causes, connector};

/// Longest body that is read of a reply, bytes. Credentials have some 2 KiB.
const BODY_LIMIT: usize = 64 << 10;

/// Sends one request on a connection of its own: it happens a few times a day. `what` names the service in errors,
/// which never show URL, headers or body.
pub(super) async fn exchange(
    what: &str,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Result<(StatusCode, Bytes), CredentialsError> {
    let unavailable = |why: String| CredentialsError::Unavailable(format!("{what}: {why}"));
    let https = request.uri().scheme_str() == Some("https");
    let sending = async {
        let connector = tokio::task::spawn_blocking(move || connector(https))
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| unavailable(format!("no TLS: {error}")))?;
        let client: Client<_, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector);
        let (head, body) =
            client.request(request).await.map_err(|error| unavailable(causes(&error)))?.into_parts();
        let body = Limited::new(body, BODY_LIMIT).collect().await;
        let body = body.map_err(|_| unavailable("the answer broke off or is too long".to_owned()))?;
        Ok((head.status, body.to_bytes()))
    };
    let late = || Err(unavailable(format!("no answer within {limit:?}")));
    tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| late())
}

/// A request. `None` when some part of it cannot be written.
pub(super) fn request(
    method: Method,
    url: &str,
    headers: &[(&'static str, &str)],
    body: String,
) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        let mut value = http::HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    request.body(Full::new(Bytes::from(body))).ok()
}
