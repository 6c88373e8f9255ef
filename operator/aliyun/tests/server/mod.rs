//! A web server on loopback with canned answers, which remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use eci_aliyun::sign::{self, ParameterNames};
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

/// Secret of the key that requests must be signed with.
pub(crate) const KEY_SECRET: &str = "hunter2-key-secret";

/// What the server does with a request.
pub(crate) enum Answer {
    /// Status, headers, body.
    Reply(u16, Vec<(&'static str, String)>, String),
    /// A body that breaks off.
    Truncated,
    /// Nothing, ever.
    Hang,
    /// The connection is closed.
    Close,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Reply(200, Vec::new(), body.into())
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"RequestId": "R-1", "HostId": "h", "Code": code, "Message": message});
        Self::Reply(status, Vec::new(), body.to_string())
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Reply(_, headers, _) = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Names of the signed headers, and whether the signature is right for the request as it came.
    pub(crate) fn signature(&self) -> (Vec<&str>, bool) {
        let authorization = self.header("authorization");
        let field = |name: &str| {
            authorization.split([' ', ',']).find_map(|part| part.strip_prefix(name)).unwrap_or_default()
        };
        let names: Vec<_> = field("SignedHeaders=").split(';').collect();
        let headers: Vec<_> = names.iter().map(|name| (*name, self.header(name))).collect();
        let request = sign::Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body_sha256: sign::EMPTY_SHA256,
        };
        let signed =
            sign::v3(&request, ParameterNames::Raw, field("Credential="), &KEY_SECRET.to_owned().into());
        (names, signed.authorization == authorization)
    }
}

/// The server; it stops with the runtime of the test.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Gives the answers one after the other; a request too many is hung up on.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let (seen_by_all, count) = (Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen_by_all));
                let service = service_fn(move |request: Request<Incoming>| {
                    seen.lock().unwrap().push(remember(&request));
                    let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Close);
                    respond(answer)
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, seen, connections }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn remember(request: &Request<Incoming>) -> Seen {
    let text = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
    let query = request.uri().query().unwrap_or_default();
    let query: BTreeMap<_, _> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    Seen {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: query.into_iter().collect(),
        headers: request.headers().clone(),
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

async fn respond(answer: Answer) -> Result<Response<Body>, std::io::Error> {
    let broken = || std::io::Error::other("as the script says");
    match answer {
        Answer::Reply(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
            Ok(response.body(body.boxed()).unwrap())
        }
        Answer::Truncated => {
            let start = Frame::data(Bytes::from_static(br#"{"RequestId":"R-1","ImageCacheId":"imc-1""#));
            let body = StreamBody::new(stream::iter([Ok(start), Err(broken())]));
            Ok(Response::builder().header("content-length", 1000).body(BoxBody::new(body)).unwrap())
        }
        Answer::Hang => std::future::pending().await,
        Answer::Close => Err(broken()),
    }
}
