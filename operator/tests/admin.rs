//! Health and metrics over real HTTP.
#![expect(clippy::unwrap_used, reason = "tests, with helpers that clippy does not know as such")]

use std::sync::Arc;
use std::time::Duration;

use eci_operator::admin::{Admin, CONNECTION_LIMIT, HEAD_LIMIT, HEAD_SIZE, Step};
use eci_operator::metrics::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Status line and body of a GET.
async fn get(address: std::net::SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_operator_is_healthy_at_once_and_ready_when_it_has_read_the_objects_and_asked_the_cloud() {
    let metrics = Arc::new(Metrics::default());
    let (read, objects_read) = watch::channel(false);
    let (asked, cloud_asked) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let steps = vec![
        Step { done: objects_read, missing: "the API server" },
        Step { done: cloud_asked, missing: "the cloud" },
    ];
    let admin = Admin { metrics: Arc::clone(&metrics), steps };
    let server = tokio::spawn(admin.serve(listener, stopped));

    assert_eq!(get(address, "/healthz").await.0, "HTTP/1.1 200 OK");
    let (status, body) = get(address, "/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(body.contains("API server") && body.contains("cloud"), "{body}");
    read.send_replace(true);
    let (status, body) = get(address, "/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(!body.contains("API server") && body.contains("cloud"), "{body}");
    asked.send_replace(true);
    assert_eq!(get(address, "/readyz").await.0, "HTTP/1.1 200 OK");

    metrics.called("CreateImageCache", None, Duration::from_millis(3));
    let (status, page) = get(address, "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(page.contains("eci_operator_cloud_calls_total") && page.trim_end().ends_with("# EOF"), "{page}");

    stop.send_replace(true);
    server.await.unwrap().unwrap();
}

/// Serves health without steps.
async fn server() -> (std::net::SocketAddr, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let admin = Admin { metrics: Arc::new(Metrics::default()), steps: Vec::new() };
    tokio::spawn(admin.serve(listener, stopped));
    (address, stop)
}

/// Everything that the server sends on this connection until it closes it.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(HEAD_LIMIT * 6, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn whoever_is_slow_loses_the_connection_and_holds_up_nobody_else() {
    let (address, _stop) = server().await;
    let mut idle = Vec::new();
    // As many as there are places: the next one waits until the first of them is thrown out.
    for _ in 0..CONNECTION_LIMIT {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTT").await.unwrap();
        idle.push(stream);
    }
    let probe = tokio::time::timeout(HEAD_LIMIT * 6, get(address, "/healthz")).await;
    assert_eq!(probe.unwrap().0, "HTTP/1.1 200 OK");
    for stream in &mut idle {
        let answer = rest(stream).await;
        assert!(!answer.contains("200 OK"), "half a request was answered: {answer}");
    }
}

#[tokio::test]
async fn a_body_is_not_read_and_a_long_head_is_refused() {
    let (address, _stop) = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK"), "the answer does not wait for the body");

    let mut stream = TcpStream::connect(address).await.unwrap();
    let long = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(HEAD_SIZE * 2));
    // The server may close before it has taken all of it.
    let _ = stream.write_all(long.as_bytes()).await;
    assert!(!rest(&mut stream).await.contains("200 OK"));
    assert_eq!(get(address, "/healthz").await.0, "HTTP/1.1 200 OK");
}
