//! A client of the admin API, for end-to-end tests and the demo.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::keys::KeyState;
use crate::log::{Calls, Requests};
use crate::roles::RoleSettings;
use crate::world::call::LedgerEntry;
use crate::world::data_cache::DataView;
use crate::world::image_cache::View;

/// Largest answer that is read, bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The simulator cannot be reached.
    #[error("{call}: the simulator cannot be reached; is it running at this address?")]
    Unreachable {
        /// Method and path.
        call: String,
        /// What the transport said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The simulator said no.
    #[error("{call}: the simulator refused with status {status}: {message}")]
    Refused {
        /// Method and path.
        call: String,
        /// HTTP status.
        status: u16,
        /// Why.
        message: String,
    },
    /// The answer is not what the call answers.
    #[error("{call}: the answer cannot be read")]
    Answer {
        /// Method and path.
        call: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Body of `POST /_sim/advance`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Advance {
    pub(crate) seconds: u64,
}

/// Body of `POST /_sim/keys`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeyChange {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
    pub(crate) security_token: Option<String>,
    #[serde(default)]
    pub(crate) state: KeyState,
}

/// Answer of `GET /_sim/healthz` and `POST /_sim/advance`.
#[derive(Deserialize)]
struct Now {
    now: Timestamp,
}

/// The client.
#[derive(Clone, Debug)]
pub struct Client {
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Client {
    /// A client for the simulator at `http://127.0.0.1:PORT`.
    pub fn new(base: &str) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { http, base: base.trim_end_matches('/').to_owned() }
    }

    /// The world's time; an answer means that the simulator serves.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        self.call::<Now>(Method::GET, "healthz", None).await.map(|answer| answer.now)
    }

    /// Every effect that cost money or ended it.
    pub async fn ledger(&self) -> Result<Vec<LedgerEntry>, Error> {
        self.call(Method::GET, "ledger", None).await
    }

    /// The data caches that exist, whatever lists may show.
    pub async fn data_caches(&self) -> Result<Vec<DataView>, Error> {
        self.call(Method::GET, "datacaches", None).await
    }

    /// The image caches that exist, whatever lists may show.
    pub async fn caches(&self) -> Result<Vec<View>, Error> {
        self.call(Method::GET, "caches", None).await
    }

    /// The calls so far.
    pub async fn calls(&self) -> Result<Calls, Error> {
        self.call(Method::GET, "calls", None).await
    }

    /// The newest requests, decoded, passwords as digests.
    pub async fn requests(&self) -> Result<Requests, Error> {
        self.call(Method::GET, "requests", None).await
    }

    /// The faults in force.
    pub async fn faults(&self) -> Result<Vec<Fault>, Error> {
        self.call(Method::GET, "faults", None).await
    }

    /// Adds a fault.
    pub async fn add_fault(&self, fault: &Fault) -> Result<(), Error> {
        self.done(Method::POST, "faults", Some(json!(fault))).await
    }

    /// Ends all faults.
    pub async fn clear_faults(&self) -> Result<(), Error> {
        self.done(Method::DELETE, "faults", None).await
    }

    /// Changes some fields of the [`Settings`](crate::Settings), by their JSON names.
    pub async fn settings(&self, patch: Value) -> Result<(), Error> {
        self.done(Method::POST, "settings", Some(patch)).await
    }

    /// Deletes a snapshot by hand.
    pub async fn delete_snapshot(&self, id: &str) -> Result<(), Error> {
        self.done(Method::POST, &format!("snapshots/{id}/delete"), None).await
    }

    /// Removes a cache behind everybody's back.
    pub async fn vanish(&self, id: &str) -> Result<(), Error> {
        self.done(Method::POST, &format!("caches/{id}/vanish"), None).await
    }

    /// Marks a cache as just used by a pod.
    pub async fn matched(&self, id: &str) -> Result<(), Error> {
        self.done(Method::POST, &format!("caches/{id}/match"), None).await
    }

    /// Adds or replaces an access key.
    pub async fn add_key(&self, id: &str, secret: &str, security_token: Option<&str>) -> Result<(), Error> {
        let body = json!({ "id": id, "secret": secret, "securityToken": security_token });
        self.done(Method::POST, "keys", Some(body)).await
    }

    /// Changes what the cloud thinks of an access key.
    pub async fn set_key_state(&self, id: &str, state: KeyState) -> Result<(), Error> {
        self.done(Method::POST, "keys", Some(json!({ "id": id, "state": state }))).await
    }

    /// Says who may have temporary keys from now on.
    pub async fn set_roles(&self, roles: &RoleSettings) -> Result<(), Error> {
        self.done(Method::POST, "roles", Some(json!(roles))).await
    }

    /// Ends all temporary keys before their time.
    pub async fn revoke_temporary_keys(&self) -> Result<(), Error> {
        self.done(Method::POST, "roles/revoke", None).await
    }

    /// Moves the world's time forward and says what it is then.
    pub async fn advance(&self, seconds: u64) -> Result<Timestamp, Error> {
        let body = json!(Advance { seconds });
        self.call::<Now>(Method::POST, "advance", Some(body)).await.map(|answer| answer.now)
    }

    /// Begins anew; access keys stay.
    pub async fn reset(&self) -> Result<(), Error> {
        self.done(Method::POST, "reset", None).await
    }

    async fn done(&self, method: Method, path: &str, body: Option<Value>) -> Result<(), Error> {
        self.call::<Value>(method, path, body).await.map(|_| ())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, Error> {
        let call = format!("{method} /_sim/{path}");
        let unreachable = |source| Error::Unreachable { call: call.clone(), source };
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/_sim/{path}", self.base))
            .body(Full::new(body))
            .map_err(|error| unreachable(error.into()))?;
        let answer = self.http.request(request).await.map_err(|error| unreachable(error.into()))?;
        let status = answer.status();
        let bytes =
            Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(unreachable)?.to_bytes();
        if !status.is_success() {
            let message = serde_json::from_slice::<Value>(&bytes)
                .ok()
                .and_then(|value| value["error"].as_str().map(str::to_owned))
                .unwrap_or_default();
            return Err(Error::Refused { call, status: status.as_u16(), message });
        }
        serde_json::from_slice(&bytes).map_err(|source| Error::Answer { call, source })
    }
}
