//! What is read of the objects that are watched: the few fields that decisions need.
//!
//! A pod of the API server is some kilobytes; of thousands of them only what is named here is ever kept.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod as FullPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::Deserialize;

use crate::slim;

/// A pod, as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LeanPod {
    /// Metadata.
    #[serde(deserialize_with = "slim::metadata", default)]
    pub(super) metadata: ObjectMeta,
    /// Spec.
    pub(super) spec: Option<LeanSpec>,
    /// Status.
    pub(super) status: Option<LeanStatus>,
}

/// Its spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeanSpec {
    /// The node that it is bound to.
    pub(super) node_name: Option<String>,
    /// Its grace period in seconds.
    pub(super) termination_grace_period_seconds: Option<i64>,
    /// Containers.
    #[serde(default)]
    pub(super) containers: Vec<LeanImage>,
    /// Containers that run before.
    #[serde(default)]
    pub(super) init_containers: Vec<LeanImage>,
}

/// What a container is made of.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LeanImage {
    /// The name of its image.
    pub(super) image: Option<String>,
}

/// Its status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeanStatus {
    /// Phase.
    pub(super) phase: Option<String>,
    /// Why it is in that phase.
    pub(super) reason: Option<String>,
    /// Conditions.
    pub(super) conditions: Option<Vec<LeanCondition>>,
    /// Containers.
    pub(super) container_statuses: Option<Vec<LeanContainer>>,
    /// Containers that run before.
    pub(super) init_container_statuses: Option<Vec<LeanContainer>>,
}

/// A condition of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeanCondition {
    /// Type.
    #[serde(rename = "type", default)]
    pub(super) type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub(super) status: String,
    /// Why.
    pub(super) reason: Option<String>,
    /// Since when.
    pub(super) last_transition_time: Option<Time>,
}

/// A container of it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LeanContainer {
    /// Whether it is ready.
    #[serde(default)]
    pub(super) ready: bool,
    /// State.
    pub(super) state: Option<LeanState>,
}

/// The state of a container.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LeanState {
    /// It waits.
    pub(super) waiting: Option<LeanReason>,
    /// It ended.
    pub(super) terminated: Option<LeanReason>,
}

/// Why a container is in its state.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct LeanReason {
    /// In a word.
    pub(super) reason: Option<String>,
}

impl Resource for LeanPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        FullPod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        FullPod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        FullPod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        FullPod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl LeanStatus {
    /// The condition of that type.
    pub(super) fn condition(&self, type_: &str) -> Option<&LeanCondition> {
        self.conditions.iter().flatten().find(|condition| condition.type_ == type_)
    }

    /// Why the pod is not ready, in a word of Kubernetes: what a container waits for or ended with, else why it is on no
    /// node, else what the condition says.
    pub(super) fn not_ready_because(&self) -> Option<&str> {
        let containers = self.init_container_statuses.iter().chain(&self.container_statuses).flatten();
        let of_container = containers.filter(|container| !container.ready).find_map(|container| {
            let state = container.state.as_ref()?;
            let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
            // Containers that ran before the others end well.
            let ended = state.terminated.as_ref().and_then(|ended| ended.reason.as_deref());
            waiting.or(ended.filter(|reason| *reason != "Completed"))
        });
        let of_condition = |type_: &str| {
            let condition = self.condition(type_).filter(|condition| condition.status == "False");
            condition.and_then(|condition| condition.reason.as_deref())
        };
        let found = of_container.or_else(|| of_condition("PodScheduled")).or_else(|| of_condition("Ready"));
        found.filter(|reason| !reason.is_empty())
    }
}
