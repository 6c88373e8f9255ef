//! A client by hand: signs, sends bytes, reads bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use eci_sim::server::{self, ServerHandle};
use eci_sim::{Clock, Key, KeyState, Settings, Sim};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const KEY: &str = "FAKE-ACCESS-KEY-ID";
pub(crate) const SECRET: &str = "FAKE-ACCESS-KEY-SECRET";

pub(crate) fn start() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// A simulator at a standing clock, with one key.
pub(crate) async fn serve(settings: Settings) -> (ServerHandle, Sim) {
    let sim = Sim::new(1, settings, Clock::manual(start()));
    sim.add_key(Key { id: KEY.into(), secret: SECRET.into(), security_token: None, state: KeyState::Active });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (server::serve(listener, sim.clone()).unwrap(), sim)
}

/// What a test may change about a request; the rest is as a good client has it.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) date: String,
    pub(crate) nonce: String,
    pub(crate) method: String,
}

impl Signer {
    /// With a nonce of its own.
    pub(crate) fn new(nonce: &str) -> Self {
        Self {
            key: KEY.to_owned(),
            secret: SECRET.to_owned(),
            token: None,
            date: start().to_string(),
            nonce: nonce.to_owned(),
            method: "POST".to_owned(),
        }
    }

    /// A request with signature V3.
    pub(crate) fn v3(&self, host: SocketAddr, action: &str, parameters: &[(&str, &str)]) -> String {
        let query = canonical(parameters.iter().copied());
        let hash = hex::encode(sha2::Sha256::digest(b""));
        let mut headers = BTreeMap::from([
            ("host", host.to_string()),
            ("x-acs-action", action.to_owned()),
            ("x-acs-content-sha256", hash.clone()),
            ("x-acs-date", self.date.clone()),
            ("x-acs-signature-nonce", self.nonce.clone()),
            ("x-acs-version", "2018-08-08".to_owned()),
        ]);
        if let Some(token) = &self.token {
            headers.insert("x-acs-accesskey-id", self.key.clone());
            headers.insert("x-acs-security-token", token.clone());
        }
        let lines = joined(&headers, ":", "\n");
        let signed = headers.keys().copied().collect::<Vec<_>>().join(";");
        let canonical = format!("{}\n/\n{query}\n{lines}\n{signed}\n{hash}", self.method);
        let text = format!("ACS3-HMAC-SHA256\n{}", hex::encode(sha2::Sha256::digest(canonical)));
        let mac = Hmac::<sha2::Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        let signature = hex::encode(mac.chain_update(text).finalize().into_bytes());
        let sent = joined(&headers, ": ", "\r\n");
        format!(
            "{} /?{query} HTTP/1.1\r\n{sent}authorization: ACS3-HMAC-SHA256 Credential={},SignedHeaders={signed},\
             Signature={signature}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.method, self.key
        )
    }

    /// A request with signature V1.
    pub(crate) fn v1(&self, host: SocketAddr, action: &str, parameters: &[(&str, &str)]) -> String {
        use base64::Engine as _;
        let mut all = vec![
            ("Action", action),
            ("Version", "2018-08-08"),
            ("Format", "json"),
            ("AccessKeyId", &self.key),
            ("Timestamp", &self.date),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureNonce", &self.nonce),
        ];
        all.extend_from_slice(parameters);
        all.extend(self.token.as_deref().map(|token| ("SecurityToken", token)));
        let query = canonical(all.into_iter());
        let text = format!("{}&%2F&{}", self.method, encode(&query));
        let mac = Hmac::<sha1::Sha1>::new_from_slice(format!("{}&", self.secret).as_bytes()).unwrap();
        let signature =
            base64::engine::general_purpose::STANDARD.encode(mac.chain_update(text).finalize().into_bytes());
        format!(
            "{} /?{query}&Signature={} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n",
            self.method,
            encode(&signature)
        )
    }
}

fn joined(headers: &BTreeMap<&str, String>, between: &str, end: &str) -> String {
    headers.iter().flat_map(|(name, value)| [name, between, value.as_str(), end]).collect()
}

fn canonical<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<(&str, String)> = parameters.map(|(name, value)| (name, encode(value))).collect();
    pairs.sort();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An answer in pieces.
#[derive(Debug)]
pub(crate) struct Received {
    /// 0 when nothing came.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["Code"].as_str().unwrap_or("OK").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    }
}

/// Sends bytes and reads until the other side closes.
pub(crate) async fn send(address: SocketAddr, request: &str) -> Received {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset is one of the ways in which an answer is lost.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Received { status, head: head.to_owned(), body: body.to_owned() }
}
