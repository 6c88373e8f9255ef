//! The server that the API server asks: TLS, small patience, and an answer to whatever comes.
//!
//! A connection that is closed under a question is a pod without its effects, so connections of the API server, which
//! keeps idle ones for 90 s, are kept longer than that. Who never asks anything is sent away soon.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use eci_core::admission::answer::{self, Answer};
use eci_core::admission::configuration::{CHECKS_PATH, PODS_PATH};
use eci_core::profile::decide::Namespace;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Pod;
use rustls::ServerConfig;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::certificate::{Wardrobe, provider};
use super::known::Known;
use super::metrics::{AdmissionMetrics, Outcome};
use super::review::{self, Malformed};
use crate::clock::Clock;

/// Most connections at once, each with one question at a time. More wait in the system's queue.
pub const CONNECTION_LIMIT: usize = 512;
/// How long it may take from connecting to the end of the first question's head.
pub const FIRST_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may be idle after that; longer than the 90 s of the API server's client.
pub const IDLE_LIMIT: Duration = Duration::from_secs(150);
/// How long the body of a question may take.
pub const BODY_LIMIT: Duration = Duration::from_secs(5);
/// Largest body, in bytes: an object of the API server has at most 1.5 MiB, and an update is sent with the old one.
pub const BODY_SIZE: usize = 3 << 20;
/// Longest head of a request, in bytes.
const HEAD_SIZE: usize = 16 * 1024;
/// Pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long questions under way may take when the process ends.
const GOODBYE: Duration = Duration::from_secs(5);

/// What answers need.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) known: Arc<Known>,
    pub(super) metrics: AdmissionMetrics,
    pub(super) clock: Clock,
}

/// Something that is no answer to a question.
struct Refusal {
    status: StatusCode,
    outcome: Outcome,
    message: String,
}

impl Refusal {
    fn of(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, outcome: Outcome::Malformed, message: message.into() }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, outcome: Outcome::Failed, message: message.into() }
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Self::of(StatusCode::BAD_REQUEST, error.to_string())
    }
}

/// How TLS is spoken.
pub(super) fn tls(wardrobe: Arc<Wardrobe>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(wardrobe);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Answers until `stop` says so, and then what is under way.
pub(super) async fn serve(
    desk: Desk,
    listener: TcpListener,
    config: ServerConfig,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let router = Router::new().route(PODS_PATH, post(pods)).route(CHECKS_PATH, post(checks)).with_state(desk);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    let accepting = async {
        loop {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = converse(stream, acceptor.clone(), router.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot take a connection of the webhook");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GOODBYE, ended).await.is_err() {
        tracing::debug!("some connections of the webhook did not end in time");
    }
    Ok(())
}

/// One connection.
async fn converse(stream: TcpStream, acceptor: TlsAcceptor, router: Router, mut stop: watch::Receiver<bool>) {
    // Answers are small, and the next question waits for them.
    let _ = stream.set_nodelay(true);
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let router =
        router.layer(axum::middleware::from_fn(move |request: Request, next: axum::middleware::Next| {
            seen.store(true, Ordering::Relaxed);
            next.run(request)
        }));
    let conversation = async {
        let stream = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_LIMIT)
            .max_buf_size(HEAD_SIZE)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut connection = std::pin::pin!(connection);
        let stopping = async { drop(stop.wait_for(|stop| *stop).await) };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopping => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(|error| error.to_string())
    };
    let nobody = async {
        tokio::time::sleep(FIRST_LIMIT).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = conversation => if let Err(error) = ended {
            tracing::debug!(error, "a connection of the webhook failed");
        },
        () = nobody => tracing::debug!("somebody connected to the webhook and asked nothing"),
    }
}

async fn pods(State(desk): State<Desk>, request: Request) -> Response {
    let answered = async {
        let body = body(request).await?;
        let start = desk.clock.now().mono;
        Ok::<_, Refusal>((about_pod(&desk, &body).await, start))
    };
    finish(&desk, "pods", answered.await)
}

async fn checks(State(desk): State<Desk>, request: Request) -> Response {
    let answered = async {
        let body = body(request).await?;
        let start = desk.clock.now().mono;
        Ok::<_, Refusal>((about_others(&desk, &body).await, start))
    };
    finish(&desk, "checks", answered.await)
}

type Answered = Result<(String, Answer), Refusal>;

/// The response, counted.
fn finish(
    desk: &Desk,
    resource: &'static str,
    answered: Result<(Answered, eci_core::time::Mono), Refusal>,
) -> Response {
    let now = desk.clock.now().mono;
    let (answered, took) = match answered {
        Ok((answered, start)) => (answered, now.since(start)),
        Err(refusal) => (Err(refusal), Duration::ZERO),
    };
    let (outcome, response) = match answered {
        Ok((uid, answer)) => {
            let outcome = match &answer {
                Answer { denial: Some(_), .. } => Outcome::Denied,
                Answer { patch, .. } if patch.is_empty() => Outcome::Unchanged,
                _ => Outcome::Changed,
            };
            match review::write(&uid, answer) {
                Ok(body) => (outcome, ([(header::CONTENT_TYPE, "application/json")], body).into_response()),
                Err(error) => {
                    let text = format!("the answer cannot be written: {error}\n");
                    (Outcome::Failed, (StatusCode::INTERNAL_SERVER_ERROR, text).into_response())
                }
            }
        }
        Err(Refusal { status, outcome, message }) => {
            tracing::debug!(resource, %status, message, "a question to the webhook was not answered");
            (outcome, (status, format!("eci-operator: {message}\n")).into_response())
        }
    };
    desk.metrics.answered(resource, outcome, took);
    response
}

/// The body of a request that can be a question.
async fn body(request: Request) -> Result<Vec<u8>, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::of(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this is an admission webhook: send an AdmissionReview as application/json",
        ));
    }
    let read = to_bytes(request.into_body(), BODY_SIZE);
    match tokio::time::timeout(BODY_LIMIT, read).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(_)) => Err(Refusal::of(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body ended early or has more than {BODY_SIZE} bytes"),
        )),
        Err(_) => {
            Err(Refusal::of(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {BODY_LIMIT:?}")))
        }
    }
}

async fn about_pod(desk: &Desk, body: &[u8]) -> Answered {
    let question = review::read::<Pod>(body)?;
    let uid = question.uid;
    let of_pods = question.resource.group.is_empty() && question.resource.resource == "pods";
    let pod = match question.object {
        Some(pod) if of_pods && question.sub_resource.is_empty() && question.operation == "CREATE" => pod,
        // Only pods that are being created are ours to change.
        _ => return Ok((uid, Answer::default())),
    };
    if !desk.known.is_complete() {
        return Err(Refusal::failed("the operator has not yet read the profiles; try again"));
    }
    let labels = desk.known.namespace(&question.namespace).await;
    let labels = labels.map_err(|error| Refusal::failed(error.to_string()))?;
    let namespace = Namespace { name: &question.namespace, labels: &labels };
    let (profiles, world) = (desk.known.profiles(), desk.known.world());
    Ok((uid, answer::pod(&profiles, &world, namespace, &pod)))
}

async fn about_others(desk: &Desk, body: &[u8]) -> Answered {
    // The kind is known only after a first look.
    let question = review::read::<Value>(body)?;
    let uid = question.uid;
    let kind = (question.resource.group.as_str(), question.resource.resource.as_str());
    let object = question.object.filter(|_| question.sub_resource.is_empty());
    let Some(object) = object.filter(|_| matches!(question.operation.as_str(), "CREATE" | "UPDATE")) else {
        return Ok((uid, Answer::default()));
    };
    if !desk.known.is_complete() {
        return Err(Refusal::failed("the operator has not yet read the profiles; try again"));
    }
    let world = desk.known.world();
    let answer = match kind {
        ("apps", "daemonsets") => {
            answer::daemon_set(&world, &serde_json::from_value(object).map_err(|_| unreadable(kind.1))?)
        }
        ("", "services") => {
            let service = serde_json::from_value(object).map_err(|_| unreadable(kind.1))?;
            let labels = desk.known.namespace(&question.namespace).await;
            let labels = labels.map_err(|error| Refusal::failed(error.to_string()))?;
            let namespace = Namespace { name: &question.namespace, labels: &labels };
            answer::service(&desk.known.profiles(), &world, namespace, &service)
        }
        _ => Answer::default(),
    };
    Ok((uid, answer))
}

/// The object is not of its kind. The error is not quoted: it may have a secret of somebody in it.
fn unreadable(kind: &str) -> Refusal {
    Refusal::of(StatusCode::BAD_REQUEST, format!("the object is none of {kind}"))
}
