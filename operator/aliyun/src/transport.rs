//! Sends one request and says what is certain about it when it fails.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tower_service::Service;

use crate::endpoint::Endpoint;

/// Longest body that is read of a reply. A page of 20 caches with 100 images each has some 300 KiB.
pub(crate) const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// How long an idle connection is kept for the next read.
const IDLE: Duration = Duration::from_secs(20);

/// Most causes of an error that go into its message.
const CAUSE_LIMIT: usize = 6;

type Http = HyperClient<Timed<HttpsConnector<HttpConnector>>, Empty<Bytes>>;

/// A whole reply, whatever its status.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no whole reply. The texts name the host, never the URL.
pub(crate) enum SendError {
    /// No byte of the request was written.
    NotSent(String),
    /// It may have been.
    Unknown(String),
}

pub(crate) struct Transport {
    endpoint: Endpoint,
    connect_timeout: Duration,
    clients: OnceCell<Clients>,
}

struct Clients {
    /// Keeps connections.
    reads: Http,
    /// Opens one for each request: on a kept one that the server is just closing, nobody would know whether a create
    /// had its effect.
    writes: Http,
}

impl Transport {
    pub(crate) fn new(endpoint: Endpoint, connect_timeout: Duration) -> Self {
        Self { endpoint, connect_timeout, clients: OnceCell::new() }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request without body and reads the reply, both within `limit`. At most one request leaves.
    pub(crate) async fn send(
        &self,
        request: Request<Empty<Bytes>>,
        is_read: bool,
        limit: Duration,
    ) -> Result<Reply, SendError> {
        let clients = self.clients.get_or_try_init(|| self.connect()).await?;
        let http = if is_read { &clients.reads } else { &clients.writes };
        let exchange = async {
            let (head, body) = http.request(request).await.map_err(|e| self.failed(&e))?.into_parts();
            // From here on the cloud has seen the request, so nothing less than a whole reply says anything.
            let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|e| self.cut_off(&*e))?;
            Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            let host = self.endpoint.authority();
            Err(SendError::Unknown(format!("no whole answer from {host} within {limit:?}")))
        })
    }

    /// Loads the system's certificates, once and only when they are needed.
    async fn connect(&self) -> Result<Clients, SendError> {
        let https = self.endpoint.is_https();
        let connector = tokio::task::spawn_blocking(move || connector(https))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| {
                SendError::NotSent(format!("no TLS: {error}; check the system's certificates"))
            })?;
        let connector = Timed { inner: connector, limit: self.connect_timeout };
        let client = |idle: usize| {
            HyperClient::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle)
                // A repeated request would be a second one: repeating is decided in one place, by the client.
                .retry_canceled_requests(false)
                .build(connector.clone())
        };
        Ok(Clients { reads: client(4), writes: client(0) })
    }

    fn failed(&self, error: &hyper_util::client::legacy::Error) -> SendError {
        let host = self.endpoint.authority();
        if error.is_connect() {
            SendError::NotSent(format!("cannot connect to {host}: {}", causes(error)))
        } else {
            SendError::Unknown(format!("the connection to {host} broke: {}", causes(error)))
        }
    }

    fn cut_off(&self, error: &(dyn StdError + 'static)) -> SendError {
        let host = self.endpoint.authority();
        SendError::Unknown(format!("the answer of {host} broke off or is too long: {}", causes(error)))
    }
}

pub(crate) fn connector(https: bool) -> io::Result<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let builder = if https {
        HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider())?.https_only()
    } else {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http()
    };
    Ok(builder.enable_http1().wrap_connector(tcp))
}

/// An error and what it came from, outermost first.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next.filter(|_| texts.len() < CAUSE_LIMIT) {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// A connector with one time limit over name, connection and TLS together. hyper's own covers the connection only.
#[derive(Clone)]
struct Timed<C> {
    inner: C,
    limit: Duration,
}

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Error: Into<Box<dyn StdError + Send + Sync>>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = BoxFuture<'static, Result<C::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = self.limit;
        let connecting = self.inner.call(uri);
        async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(format!("no connection within {limit:?}").into()),
            }
        }
        .boxed()
    }
}
