//! Health and metrics over HTTP.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// What has to be there before the operator is ready.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the objects of all kinds were read once.
    pub objects_read: watch::Receiver<bool>,
    /// Whether the cloud was asked once, with whatever answer.
    pub cloud_asked: watch::Receiver<bool>,
}

impl Admin {
    /// What is still missing.
    fn missing(&self) -> Vec<&'static str> {
        let steps = [
            (*self.objects_read.borrow(), "the objects have not been read from the API server"),
            (*self.cloud_asked.borrow(), "the cloud has not been asked"),
        ];
        steps.into_iter().filter(|(done, _)| !done).map(|(_, what)| what).collect()
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// Answers until `stop` says so.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) -> io::Result<()> {
        axum::serve(listener, self.router())
            .with_graceful_shutdown(async move {
                let _ = stop.wait_for(|stop| *stop).await;
            })
            .await
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    let missing = admin.missing();
    if missing.is_empty() {
        "ok\n".into_response()
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
