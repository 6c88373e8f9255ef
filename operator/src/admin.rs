//! Health and metrics over HTTP, for probes and scrapers: small answers, and no patience with anybody else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// Most connections at once. More wait in the system's queue until one ends.
pub const CONNECTION_LIMIT: usize = 64;
/// How long the head of a request may take, from connecting or from the end of the one before.
pub const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may last: a reader that does not read holds its place no longer. Scrapers connect anew.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes. Bodies are not read at all.
pub const HEAD_SIZE: usize = 16 * 1024;
/// Pause after a connection that could not be taken, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Something that has to have happened before the operator is ready.
#[derive(Clone, Debug)]
pub struct Step {
    /// Whether it has.
    pub done: watch::Receiver<bool>,
    /// What is said until it has.
    pub missing: &'static str,
}

/// The server of health and metrics.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What has to have happened before the operator is ready.
    pub steps: Vec<Step>,
}

impl Admin {
    /// What is still missing.
    fn missing(&self) -> Vec<&'static str> {
        self.steps.iter().filter(|step| !*step.done.borrow()).map(|step| step.missing).collect()
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// Answers until `stop` says so; what is being answered then is not waited for.
    pub async fn serve(self, listener: TcpListener, stop: watch::Receiver<bool>) -> io::Result<()> {
        let router = self.router();
        let places = Arc::new(Semaphore::new(CONNECTION_LIMIT));
        let mut connections = JoinSet::new();
        let mut stopping = stop.clone();
        let accepting = async {
            loop {
                // Never closed; without a place there would merely be one connection too many.
                let place = Arc::clone(&places).acquire_owned().await;
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let connection = converse(stream, router.clone(), stop.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot take a connection");
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
        Ok(())
    }
}

/// One connection, for as long as it may last.
async fn converse(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_SIZE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let ended = tokio::select! {
        ended = tokio::time::timeout(CONNECTION_LIFE, connection) => ended,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to health and metrics failed"),
        Err(_) => tracing::debug!("a connection to health and metrics lasted too long"),
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    let missing = admin.missing();
    if missing.is_empty() {
        let denied = admin.metrics.denied();
        let why = if denied.is_empty() {
            String::new()
        } else {
            format!("the cloud denies {}\n", denied.join(", "))
        };
        format!("ok\n{why}").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join("; "))).into_response()
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match admin.metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
