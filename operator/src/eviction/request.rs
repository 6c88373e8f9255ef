//! The requests that evict and delete, each sent once: what the API server says is for the engine to judge.

use std::time::Duration;

use eci_core::eviction::PodRef;
use eci_core::eviction::answer::{Answer, Refusal, Reply, classify};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{DeleteParams, PostParams, Preconditions as DeletePreconditions};
use kube::core::Status;
use kube::{Api, Client};
use serde::de::IgnoredAny;

/// Limit on one request. The API server tries for about 10 s when many evictions of one budget collide.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// Sends evictions and deletions, none of them twice.
#[derive(Clone)]
pub struct Requests {
    client: Client,
}

impl Requests {
    /// By a client of its own, which tries nothing again: a budget's refusal has the code of an overload, and the
    /// retries of the usual client would hold it back for minutes.
    pub fn new(mut config: kube::Config) -> Result<Self, kube::Error> {
        config.default_retry = false;
        Ok(Self { client: Client::try_from(config)? })
    }

    fn pods(&self, pod: &PodRef) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace)
    }

    /// Evicts a pod: the UID is the precondition, `grace` in seconds replaces the pod's own.
    pub(super) async fn evict(&self, pod: &PodRef, grace: u32) -> Answer {
        self.eviction(pod, Some(grace), false).await
    }

    /// Asks whether a pod could be evicted now. Takes nothing of any budget.
    pub(super) async fn would_evict(&self, pod: &PodRef) -> Answer {
        self.eviction(pod, None, true).await
    }

    async fn eviction(&self, pod: &PodRef, grace: Option<u32>, dry_run: bool) -> Answer {
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(pod.name.to_string()),
                namespace: Some(pod.namespace.to_string()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                dry_run: dry_run.then(|| vec!["All".to_owned()]),
                grace_period_seconds: grace.map(i64::from),
                preconditions: Some(Preconditions { uid: Some(pod.uid.to_string()), resource_version: None }),
                ..DeleteOptions::default()
            }),
        };
        let params = PostParams { dry_run, ..PostParams::default() };
        let api = self.pods(pod);
        // A type: what comes back is read by nobody.
        let sent = api.create_subresource::<_, IgnoredAny>("eviction", &pod.name, &params, &eviction);
        answer(sent).await
    }

    /// Deletes a pod, whatever its budgets say: the UID is the precondition.
    pub(super) async fn delete(&self, pod: &PodRef, grace: u32) -> Answer {
        let params = DeleteParams {
            grace_period_seconds: Some(grace),
            preconditions: Some(DeletePreconditions {
                uid: Some(pod.uid.to_string()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.pods(pod);
        answer(api.delete(&pod.name, &params)).await
    }
}

async fn answer<T>(sent: impl Future<Output = kube::Result<T>>) -> Answer {
    match tokio::time::timeout(REQUEST_LIMIT, sent).await {
        // A success whose body cannot be read is one, too.
        Ok(Ok(_) | Err(kube::Error::SerdeError(_))) => classify(&Reply::Success),
        Ok(Err(kube::Error::Api(status))) => refusal(&status),
        Ok(Err(error)) if was_not_sent(&error) => classify(&Reply::NotSent),
        Ok(Err(_)) | Err(_) => classify(&Reply::Lost),
    }
}

fn refusal(status: &Status) -> Answer {
    let details = status.details.as_ref();
    let causes: Vec<(&str, &str)> = details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|cause| (cause.reason.as_str(), cause.message.as_str()))
        .collect();
    classify(&Reply::Refused(Refusal {
        code: status.code,
        reason: &status.reason,
        message: &status.message,
        kind: details.map_or("", |details| details.kind.as_str()),
        causes: &causes,
        retry_after: details.map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0),
    }))
}

/// Whether no connection came about, so that nothing can have arrived.
fn was_not_sent(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}
