//! Admission webhooks of others: an HTTPS server on loopback that the API server asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{ControlPlane, Serving};

/// Largest review that is read.
const LARGEST: usize = 8 << 20;

/// What a webhook says of a request.
#[derive(Clone, Debug)]
pub enum Says {
    /// Let it pass.
    Allow,
    /// Let it pass with a JSON patch.
    Patch(Value),
    /// Refuse it.
    Deny {
        /// HTTP status.
        code: u16,
        /// Of the Status, such as `Forbidden`.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// A running webhook. Dropping it ends it: then the API server gets no answer.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    serving: Serving,
    asked: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Webhook {
    /// Starts a server that takes `delay` for each answer. `says` gets the `request` of the review.
    pub async fn start(
        plane: &ControlPlane,
        name: &str,
        delay: Duration,
        says: impl Fn(&Value) -> Says + Send + Sync + 'static,
    ) -> Result<Self> {
        let serving = plane.serving(name)?;
        let certificates = CertificateDer::pem_file_iter(&serving.certificate)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&serving.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut task = JoinSet::new();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let says = move |request: &Value| {
            count.fetch_add(1, Ordering::Relaxed);
            says(request)
        };
        task.spawn(serve(listener, acceptor, delay, Arc::new(says)));
        Ok(Self { address, serving, asked, _task: task })
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The `clientConfig` of a webhook configuration.
    pub fn client_config(&self) -> Value {
        json!({
            "url": format!("https://{}/", self.address),
            "caBundle": STANDARD.encode(&self.serving.ca),
        })
    }
}

async fn serve<F>(listener: TcpListener, acceptor: TlsAcceptor, delay: Duration, says: Arc<F>)
where
    F: Fn(&Value) -> Says + Send + Sync + 'static,
{
    // Ends with this task: nothing answers after a drop.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, acceptor.clone(), delay, Arc::clone(&says)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<F>(stream: TcpStream, acceptor: TlsAcceptor, delay: Duration, says: Arc<F>)
where
    F: Fn(&Value) -> Says + Send + Sync + 'static,
{
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| {
        let says = Arc::clone(&says);
        async move {
            let (status, body) = match review(request, delay, &*says).await {
                Ok(review) => (200, review.to_string()),
                Err(error) => (400, error.to_string()),
            };
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() =
                http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
            response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
            Ok::<_, Infallible>(response)
        }
    });
    // A connection that breaks is the API server's to repeat.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn review(
    request: Request<Incoming>,
    delay: Duration,
    says: &(impl Fn(&Value) -> Says + Send + Sync),
) -> Result<Value> {
    let body = Limited::new(request.into_body(), LARGEST).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let review: Value = serde_json::from_slice(&body).context("not a review")?;
    tokio::time::sleep(delay).await;
    let mut response = json!({ "uid": review["request"]["uid"], "allowed": true });
    match says(&review["request"]) {
        Says::Allow => {}
        Says::Patch(patch) => {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch.to_string()));
        }
        Says::Deny { code, reason, message } => {
            response["allowed"] = json!(false);
            response["status"] = json!({ "code": code, "reason": reason, "message": message });
        }
    }
    Ok(json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response }))
}
