//! Health and metrics over real HTTP.
#![expect(clippy::unwrap_used, reason = "tests, with helpers that clippy does not know as such")]

use std::sync::Arc;
use std::time::Duration;

use eci_operator::admin::Admin;
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
    let admin = Admin { metrics: Arc::clone(&metrics), objects_read, cloud_asked };
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
