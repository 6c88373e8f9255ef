//! Calls to the API server: each with a time limit, each error saying what failed for which object.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use eci_api::image_cache::SecretVersion;
use eci_core::pull_secret::PullSecret;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use secrecy::SecretSlice;
use serde_json::Value;

use crate::kind::{Key, Managed, uid_of};

/// Limit on one call to the API server, the client's own retries included.
pub const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Objects of one page of a list. While it is read, the client holds the text of a page twice and all of it decoded, and
/// the watches of a process read theirs at the same time at its start: larger ones cost memory, smaller ones calls.
pub(crate) const PAGE: u32 = 100;
/// Longest text of an error that is passed on, in characters.
const TEXT_LIMIT: usize = 512;

/// The name under which fields are owned.
pub const FIELD_MANAGER: &str = "eci-operator";

/// A call to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// The object is gone, or not at the resourceVersion of the call.
    #[error("cannot {action} {target}: it changed meanwhile")]
    Conflict {
        /// What was tried.
        action: &'static str,
        /// With which object.
        target: String,
    },
    /// The API server refused it.
    #[error("cannot {action} {target}: the API server says {message:?} ({code}){}", if *code == 403 { "; check the operator's role" } else { "" })]
    Refused {
        /// What was tried.
        action: &'static str,
        /// With which object.
        target: String,
        /// HTTP status.
        code: u16,
        /// What the server said.
        message: String,
    },
    /// No answer, or one that is not understood.
    #[error("cannot {action} {target}: {message}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// With which object.
        target: String,
        /// What happened.
        message: String,
    },
}

/// Calls the API server with a time limit. `Ok(None)` when the object does not exist.
pub(crate) async fn call<T>(
    action: &'static str,
    target: impl Fn() -> String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, KubeError> {
    let failed = |message: String| KubeError::Failed { action, target: target(), message: clip(&message) };
    let result = tokio::time::timeout(CALL_LIMIT, call).await;
    match result.map_err(|_| failed(format!("no answer within {CALL_LIMIT:?}")))? {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            Err(KubeError::Conflict { action, target: target() })
        }
        Err(kube::Error::Api(status)) => Err(KubeError::Refused {
            action,
            target: target(),
            code: status.code,
            message: clip(&status.message),
        }),
        // serde's own message can quote a value, and the answer may be a Secret.
        Err(kube::Error::SerdeError(error)) => Err(failed(format!(
            "the answer cannot be read ({:?} error at line {}, column {})",
            error.classify(),
            error.line(),
            error.column()
        ))),
        Err(error) => Err(failed(with_causes(&error))),
    }
}

/// What an error says, and what caused it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn clip(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}

/// The API server, as the driver of a kind uses it.
#[derive(Clone)]
pub struct Objects {
    client: Client,
}

impl Objects {
    /// By this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client of all calls.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    fn api<K: Managed>(&self, key: &Key) -> Api<K::Object> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// The object as it is now.
    pub async fn get<K: Managed>(&self, key: &Key) -> Result<Option<K::Object>, KubeError> {
        call("get", || target::<K>(key), self.api::<K>(key).get(&key.name)).await
    }

    /// Patches the status; fails with a conflict unless the patch's resourceVersion is that of the object.
    pub async fn patch_status<K: Managed>(&self, key: &Key, patch: &Value) -> Result<K::Object, KubeError> {
        let api = self.api::<K>(key);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let sent = api.patch_status(&key.name, &params, &patch);
        existing("write the status of", || target::<K>(key), sent).await
    }

    /// Applies a JSON patch, whose failed test is a conflict.
    pub async fn patch<K: Managed>(&self, key: &Key, patch: Value) -> Result<K::Object, KubeError> {
        let action = "change the finalizers of";
        let broken = |error: serde_json::Error| KubeError::Failed {
            action,
            target: target::<K>(key),
            message: error.to_string(),
        };
        let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).map_err(broken)?);
        let api = self.api::<K>(key);
        let params = PatchParams::default();
        let sent = api.patch(&key.name, &params, &patch);
        match existing(action, || target::<K>(key), sent).await {
            // The server's word for a failed test is the one for an object that is not valid.
            Err(KubeError::Refused { code: 422, action, target, .. }) => {
                Err(KubeError::Conflict { action, target })
            }
            other => other,
        }
    }

    /// The labels of a namespace; none when it does not exist.
    pub async fn namespace_labels(&self, name: &str) -> Result<BTreeMap<String, String>, KubeError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let found = call("get", || format!("Namespace {name}"), api.get_metadata(name)).await?;
        Ok(found.and_then(|namespace| namespace.metadata.labels).unwrap_or_default())
    }

    /// A secret with its version.
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<(SecretVersion, PullSecret)>, KubeError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = call("get", || format!("Secret {namespace}/{name}"), api.get(name)).await?;
        Ok(found.map(|secret| {
            let version = SecretVersion {
                name: name.to_owned(),
                uid: uid_of(&secret),
                resource_version: secret.resource_version().unwrap_or_default(),
            };
            let data: BTreeMap<_, _> = secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, bytes)| (key, SecretSlice::from(bytes.0)))
                .collect();
            let type_ = secret.type_.unwrap_or_default();
            (version, PullSecret { name: name.to_owned(), type_, data })
        }))
    }
}

fn target<K: Managed>(key: &Key) -> String {
    format!("{} {key}", <K::Object as kube::Resource>::kind(&()))
}

/// A write to an object that is gone is a conflict.
async fn existing<T>(
    action: &'static str,
    target: impl Fn() -> String,
    sent: impl Future<Output = kube::Result<T>>,
) -> Result<T, KubeError> {
    let result = call(action, &target, sent).await?;
    result.ok_or_else(|| KubeError::Conflict { action, target: target() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_cannot_be_read_is_not_quoted() {
        let broken = serde_json::from_str::<Secret>(r#"{"data": "hunter2"}"#).unwrap_err();
        assert!(broken.to_string().contains("hunter2"), "{broken}");
        let answer = async { Err::<Secret, _>(kube::Error::SerdeError(broken)) };
        let error = call("get", || "Secret ns/login".into(), answer).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot get Secret ns/login: ") && !error.contains("hunter2"), "{error}");
    }
}
