//! Whoever else connects: malformed reviews, wrong paths, slow and silent clients get a clear answer or are sent away,
//! and the API server goes on getting its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::NAMESPACE;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{PATIENCE, annotates, marked, namespace, pod, profile, shared, tried};

/// A client that trusts the operator's authorities.
async fn connector(client: &Client) -> Result<TlsConnector> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let data = secrets.get("eci-operator-webhook").await?.data.context("no data")?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&data["ca.crt"].0) {
        roots.add(root?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(connector: &TlsConnector, address: &str) -> Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1")?;
    Ok(connector.connect(name, TcpStream::connect(address).await?).await?)
}

/// Sends a request, and gives the status and body of the answer.
async fn ask(
    connector: &TlsConnector,
    address: &str,
    (method, path, kind): (&str, &str, &str),
    body: &[u8],
) -> Result<(u16, String)> {
    let mut stream = connect(connector, address).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: hook\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    // The server may answer before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

fn review(request: Value) -> Vec<u8> {
    let mut request = request;
    request["uid"] = json!("u-1");
    let review =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
    review.to_string().into_bytes()
}

#[tokio::test]
async fn whatever_is_sent_gets_a_clear_answer() -> Result<()> {
    let stack = shared().await;
    let client = stack.client()?;
    let connector = connector(&client).await?;
    let json = "application/json";
    let pods = json!({ "group": "", "version": "v1", "resource": "pods" });
    let broken = review(json!({ "resource": pods, "operation": "CREATE", "namespace": "default",
        "object": { "spec": { "containers": "hunter2" } } }));
    let table = [
        (("GET", "/pods", json), vec![], 405, ""),
        (("POST", "/", json), vec![], 404, ""),
        (("POST", "/pods", "text/plain"), b"{}".to_vec(), 415, "application/json"),
        (("POST", "/pods", json), vec![], 400, "no AdmissionReview"),
        (("POST", "/pods", json), b"[1, 2".to_vec(), 400, "no AdmissionReview"),
        (("POST", "/pods", json), vec![b'['; 100_000], 400, "no AdmissionReview"),
        (
            ("POST", "/pods", json),
            b"{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}".to_vec(),
            400,
            "no AdmissionReview",
        ),
        (("POST", "/pods", json), broken, 400, "data error"),
        (("POST", "/pods", json), vec![b' '; 4 << 20], 413, "bytes"),
        (("POST", "/checks", json), b"nonsense".to_vec(), 400, "no AdmissionReview"),
    ];
    for (request, body, status, words) in table {
        let (found, text) = ask(&connector, stack.webhook(), request, &body).await?;
        ensure!(found == status && text.contains(words), "{request:?}: {found} {text}");
        ensure!(!text.contains("hunter2"), "{text}");
    }
    // What is not ours to change passes as it is.
    for request in [
        json!({ "resource": pods, "operation": "UPDATE", "namespace": "default", "object": pod("a", "b") }),
        json!({ "resource": pods, "operation": "DELETE", "namespace": "default", "object": null }),
        json!({ "resource": pods, "operation": "CREATE", "subResource": "binding", "namespace": "default",
            "object": {} }),
        json!({ "resource": { "group": "apps", "version": "v1", "resource": "deployments" },
            "operation": "CREATE", "namespace": "default", "object": {} }),
        json!({ "resource": pods, "operation": "CREATE", "namespace": "kube-system", "object": pod("a", "b") }),
    ] {
        let (status, text) =
            ask(&connector, stack.webhook(), ("POST", "/pods", json), &review(request)).await?;
        ensure!(status == 200, "{status} {text}");
        let answer: Value = serde_json::from_str(&text)?;
        ensure!(answer["response"] == json!({ "uid": "u-1", "allowed": true }), "{answer}");
    }
    let nowhere = json!({ "resource": pods, "operation": "CREATE", "namespace": "nowhere",
        "object": pod("a", "b") });
    let (status, text) = ask(&connector, stack.webhook(), ("POST", "/pods", json), &review(nowhere)).await?;
    ensure!(status == 503 && text.contains("the namespace nowhere does not exist"), "{status} {text}");
    Ok(())
}

#[tokio::test]
async fn silent_and_slow_clients_are_sent_away_and_nobody_waits_for_them() -> Result<()> {
    let stack = shared().await;
    let client = stack.client()?;
    let pods = namespace(&client, "slow", json!({})).await?;
    profile(&client, "slow", annotates("slow", "example.com/note", "x")).await?;
    marked(&pods, &pod("a", "slow"), Some("slow@1")).await?;
    let connector = connector(&client).await?;
    // Some say nothing at all, some nothing over TLS, some never end their body.
    let mut plain = Vec::new();
    let mut silent = Vec::new();
    let mut endless = Vec::new();
    for _ in 0..20 {
        plain.push(TcpStream::connect(stack.webhook()).await?);
        silent.push(connect(&connector, stack.webhook()).await?);
        let mut stream = connect(&connector, stack.webhook()).await?;
        let head = "POST /pods HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await?;
        endless.push(stream);
    }
    for _ in 0..10 {
        ensure!(super::mark(&tried(&pods, &pod("a", "slow")).await?).as_deref() == Some("slow@1"));
    }
    let mut rest = Vec::new();
    for mut stream in plain {
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        read.context("a client that says nothing keeps its place")?.ok();
    }
    for mut stream in silent {
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        read.context("a client that asks nothing keeps its place")?.ok();
    }
    for mut stream in endless {
        let mut answer = vec![0; 512];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await;
        let read = read.context("a body without an end keeps its place")??;
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_standby_answers_as_the_leader_does() -> Result<()> {
    let stack = shared().await;
    let client = stack.client()?;
    let pods = namespace(&client, "standby", json!({})).await?;
    profile(&client, "standby", annotates("standby", "example.com/note", "x")).await?;
    marked(&pods, &pod("a", "standby"), Some("standby@1")).await?;
    let standby = stack.start_replica("eci-operator-1").await?;
    let request = review(json!({
        "resource": { "group": "", "version": "v1", "resource": "pods" },
        "operation": "CREATE", "namespace": "standby", "object": pod("a", "standby"),
    }));
    let connector = connector(&client).await?;
    let path = ("POST", "/pods", "application/json");
    let mut answers = Vec::new();
    for address in [stack.webhook(), standby.webhook()] {
        let (status, text) = ask(&connector, address, path, &request).await?;
        ensure!(status == 200, "{status} {text}");
        answers.push(serde_json::from_str::<Value>(&text)?);
    }
    ensure!(answers[0] == answers[1] && answers[0]["response"]["patch"].is_string(), "{answers:?}");
    tokio::time::timeout(Duration::from_secs(30), standby.kill()).await??;
    Ok(())
}
