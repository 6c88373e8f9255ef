//! An API server as it is in trouble: requests pass through here, and some evictions are answered as an overloaded or
//! broken one answers them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::reaction::Pause;
use crate::testbed::{ControlPlane, wall_clock};

/// Largest request that is passed on.
const LARGEST: usize = 8 << 20;

type Answer = Response<UnsyncBoxBody<Bytes, anyhow::Error>>;

/// What is done to an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The answer of priority and fairness: plain text.
    Overload,
    /// An internal error.
    Broken,
    /// The budget's status was written by too many at once.
    Conflict,
    /// The eviction is done, and its answer lost with the connection.
    Lost,
}

impl Fault {
    /// Every second eviction, each fault in its turn.
    fn of(number: usize) -> Option<Self> {
        let faults = [Self::Overload, Self::Broken, Self::Conflict, Self::Lost];
        (number % 2 == 1).then(|| faults[number / 2 % faults.len()])
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Broken => "broken",
            Self::Conflict => "conflict",
            Self::Lost => "lost",
        }
    }
}

/// How long whoever is told of an overload is to wait: its Retry-After.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    evictions: AtomicUsize,
    /// When it said that it is overloaded.
    overloads: Mutex<Vec<Timestamp>>,
    done: Mutex<BTreeMap<&'static str, usize>>,
}

impl Proxy {
    /// Starts it in front of a control plane. Whoever asks logs in as it would there, or is `user`, if that is given.
    pub(super) async fn start(plane: &ControlPlane, user: Option<&str>) -> Result<Self> {
        let mut config: Config = if let Some(user) = user {
            plane.config_for_user(user, Some("system:masters")).await?
        } else {
            let mut nobody = plane.config_for_user("eci-bench:proxy", None).await?;
            nobody.auth_info = AuthInfo::default();
            nobody
        };
        // A watch lasts as long as the server wants.
        config.read_timeout = None;
        config.default_retry = false;
        let client = Client::try_from(config).context("cannot make the proxy's client")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let mut task = JoinSet::new();
        task.spawn(serve(listener, client, Arc::clone(&shared)));
        Ok(Self { address, shared, _task: task })
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The times in which it had asked for no requests.
    pub(super) fn pauses(&self) -> Vec<Pause> {
        let overloads = self.shared.overloads.lock().unwrap_or_else(PoisonError::into_inner);
        overloads.iter().map(|from| Pause { from: *from, to: *from + RETRY_AFTER }).collect()
    }

    /// How often it did what.
    pub(super) fn faults(&self) -> BTreeMap<String, usize> {
        let done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.iter().map(|(fault, count)| ((*fault).to_owned(), *count)).collect()
    }
}

async fn serve(listener: TcpListener, client: Client, shared: Arc<Shared>) {
    // Ends with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, client.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, client: Client, shared: Arc<Shared>) {
    let service = service_fn(|request| handle(request, client.clone(), Arc::clone(&shared)));
    // What fails here the other side sees as a lost connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn handle(request: Request<Incoming>, client: Client, shared: Arc<Shared>) -> Result<Answer> {
    let evicts = request.method() == Method::POST && request.uri().path().ends_with("/eviction");
    let fault = evicts.then(|| Fault::of(shared.evictions.fetch_add(1, Ordering::Relaxed))).flatten();
    if let Some(fault) = fault {
        *shared.done.lock().unwrap_or_else(PoisonError::into_inner).entry(fault.name()).or_default() += 1;
    }
    match fault {
        Some(Fault::Overload) => {
            let now = wall_clock();
            shared.overloads.lock().unwrap_or_else(PoisonError::into_inner).push(now);
            let text = "Too many requests, please try again later.\n";
            let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, text.to_owned())?;
            answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.as_secs().into());
            Ok(answer)
        }
        Some(Fault::Broken) => status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &json!({})),
        Some(Fault::Conflict) => status(
            StatusCode::CONFLICT,
            "Conflict",
            &json!({ "name": "web", "group": "policy", "kind": "poddisruptionbudgets" }),
        ),
        Some(Fault::Lost) => {
            pass(request, &client).await?;
            anyhow::bail!("the connection is lost")
        }
        None => pass(request, &client).await,
    }
}

/// Asks the API server.
async fn pass(request: Request<Incoming>, client: &Client) -> Result<Answer> {
    let (mut parts, body) = request.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let answer = client.send(Request::from_parts(parts, Body::from(body.to_vec()))).await?;
    let (mut parts, body) = answer.into_parts();
    for name in [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    parts.version = http::Version::HTTP_11;
    Ok(Response::from_parts(parts, body.map_err(anyhow::Error::from).boxed_unsync()))
}

fn status(code: StatusCode, reason: &str, details: &Value) -> Result<Answer> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "as the proxy wants it", "reason": reason, "details": details, "code": code.as_u16(),
    });
    let mut answer = plain(code, status.to_string())?;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(answer)
}

fn plain(code: StatusCode, text: String) -> Result<Answer> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    Ok(Response::builder().status(code).body(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_eviction_fails_each_time_in_another_way() {
        let faults: Vec<Option<&str>> = (0..10).map(|n| Fault::of(n).map(Fault::name)).collect();
        let expected = ["overload", "broken", "conflict", "lost", "overload"];
        assert_eq!(faults, expected.map(|fault| [None, Some(fault)]).concat());
    }
}
