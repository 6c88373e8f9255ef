//! The writes to pods: each of the one version of the pod that was decided on.

use std::time::Duration;

use eci_core::eviction::PodRef;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::kubernetes::{FIELD_MANAGER, KubeError, call};

/// Limit on one write. The lease must last as long, so that no other process leads while it may still be carried out.
pub(super) const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lets the pod go to virtual nodes.
    Admit,
    /// Removes a scheduling gate.
    Open,
    /// The same, without what the pod waited for.
    OpenLate,
    /// Sets the deletion cost.
    Cost,
}

impl Kind {
    /// The word in metrics and log lines.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "Admit",
            Self::Open => "OpenGate",
            Self::OpenLate => "OpenGateLate",
            Self::Cost => "DeletionCost",
        }
    }
}

/// A write.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// What it does.
    pub(super) kind: Kind,
    /// To which pod.
    pub(super) pod: PodRef,
    /// The patch, which fails unless the pod is as it was decided on.
    pub(super) patch: Value,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// The pod as it is now.
    Done(Box<Pod>),
    /// The pod is another one by now.
    Changed,
    /// The pod does not exist.
    Gone,
    /// The API server, or a webhook, does not want it.
    Refused(String),
    /// Nobody knows: it may have been done.
    Lost(String),
}

impl Answer {
    /// The word in metrics.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Done(_) => "Done",
            Self::Changed => "Changed",
            Self::Gone => "Gone",
            Self::Refused(_) => "Refused",
            Self::Lost(_) => "Lost",
        }
    }
}

/// Sends it.
pub(super) async fn send(client: &Client, job: &Job) -> Answer {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &job.pod.namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch: Patch<Value> = if job.patch.is_array() {
        match serde_json::from_value(job.patch.clone()) {
            Ok(operations) => Patch::Json(operations),
            Err(error) => return Answer::Refused(error.to_string()),
        }
    } else {
        Patch::Merge(job.patch.clone())
    };
    let target = || format!("Pod {}", job.pod);
    let sent = call("change", target, pods.patch(&job.pod.name, &params, &patch));
    match tokio::time::timeout(WRITE_LIMIT, sent).await {
        Ok(Ok(Some(pod))) => Answer::Done(Box::new(pod)),
        Ok(Ok(None)) => Answer::Gone,
        Ok(Err(KubeError::Conflict { .. })) => Answer::Changed,
        // An overloaded server has not said no.
        Ok(Err(error @ KubeError::Refused { code: 400..=428 | 430..=499, .. })) => {
            Answer::Refused(error.to_string())
        }
        Ok(Err(error)) => Answer::Lost(error.to_string()),
        Err(_) => Answer::Lost(format!("no answer within {WRITE_LIMIT:?}")),
    }
}
