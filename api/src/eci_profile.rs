//! `EciProfile`: which pods run on virtual nodes, and how.
#![allow(unreachable_pub, reason = "KubeSchema declares a copy of each struct inside a private scope")]

mod effects;
mod spot;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use effects::{AnnotationValue, Effects};
pub use spot::{Spot, SpotDeadline, SpotFallback, SpotRelease, SpotStrategy};

use crate::eip::Eip;
use crate::image_cache::{AcrInstance, RegistryOptions};
use crate::rules;

/// What an EciProfile says.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "eci-operator.io",
    version = "v1alpha1",
    kind = "EciProfile",
    plural = "eciprofiles",
    singular = "eciprofile",
    shortname = "ecip",
    category = "eci",
    status = "EciProfileStatus",
    derive = "PartialEq",
    doc = "Which pods of the cluster run on virtual nodes, and how. All profiles that match a pod apply; for each field the first in the order of priority and name that sets it wins, and what the pod itself says wins over all.",
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", description = "Higher wins."),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "Whether it acts."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether new pods get what it says."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is ready or not."),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.counts.pods", description = "Pods that it selects."),
    printcolumn(name = "Spot", type_ = "integer", priority = 1, json_path = ".status.counts.spotPods", description = "Those of them on spot instances."),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "The reason in a sentence."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since the object was created."),
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name must have at most 63 characters: pods carry it in an annotation and metrics in a label")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.dataCaches) || size(self.dataCaches) == 0 || !has(self.placement) || self.placement.policy != 'PreferRegularNodes'").message("spec.dataCaches cannot be combined with spec.placement.policy PreferRegularNodes: a pod that moves to virtual nodes later can get no more volumes"),
    validation = Rule::new("!has(self.dataCaches) || size(self.dataCaches) == 0 || !has(self.placement) || self.placement.policy != 'RegularNodesOnly'").message("spec.dataCaches cannot be combined with spec.placement.policy RegularNodesOnly: only virtual nodes can mount data caches")
)]
pub struct EciProfileSpec {
    /// Higher wins, then the name in alphabetical order; 0 when absent.
    #[serde(default)]
    #[schemars(range(min = -1_000_000_000, max = 1_000_000_000))]
    pub priority: i32,

    /// Which pods. System namespaces and the operator's own are never selected.
    #[x_kube(
        validation = Rule::new("(has(self.podSelector) && (has(self.podSelector.matchLabels) && size(self.podSelector.matchLabels) > 0 || has(self.podSelector.matchExpressions) && size(self.podSelector.matchExpressions) > 0)) || (has(self.namespaceSelector) && (has(self.namespaceSelector.matchLabels) && size(self.namespaceSelector.matchLabels) > 0 || has(self.namespaceSelector.matchExpressions) && size(self.namespaceSelector.matchExpressions) > 0))").message("spec.selector would select every pod of the cluster: give podSelector or namespaceSelector at least one label or expression")
    )]
    pub selector: PodSelection,

    /// Whether it acts.
    #[serde(default)]
    pub mode: ProfileMode,

    /// On which nodes the pods may run. A default, not a fence: what a pod says itself wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// Network of the pods on virtual nodes. An annotation of the pod wins, then a PodNetworking that matches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<ProfileNetwork>,

    /// Which instances the pods run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,

    /// Ephemeral storage of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,

    /// Which image caches the pods start from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_cache: Option<ImageCacheUse>,

    /// Data caches that are mounted read-only into every container, at most 20. Names are resolved in the namespace of
    /// the pod. All that a pod mounts must be in one bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["mountPath".into()]))]
    pub data_caches: Vec<DataCacheMount>,

    /// Spot instances, which are cheaper and can be reclaimed with about three minutes of notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,

    /// How to talk to particular registries when the pods' images are pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["host".into()]),
        validation = rules::registry_hosts(),
        validation = rules::registry_entries()
    )]
    pub registries: Vec<RegistryOptions>,

    /// Container Registry Enterprise instances that the pods' images are pulled from without a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub acr_instances: Vec<AcrInstance>,

    /// Further annotations and labels of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effects: Option<Effects>,
}

/// Which pods: those that both selectors match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSelection {
    /// Labels of the namespace; any namespace when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelection>,
    /// Labels of the pod; any pod when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelection>,
}

/// A label selector of Kubernetes with bounds. All labels and expressions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelection {
    /// Labels with their values, at most 20.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = rules::label_keys())]
    pub match_labels: BTreeMap<String, LabelValue>,
    /// Expressions over labels, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))").message("an expression with the operator In or NotIn needs values, and one with Exists or DoesNotExist has none")
    )]
    pub match_expressions: Vec<LabelExpression>,
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LabelValue(
    #[schemars(length(max = 63), regex(pattern = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"))]
    pub  String,
);

/// An expression over one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct LabelExpression {
    /// Key of the label.
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub key: String,
    /// How the label is compared.
    pub operator: LabelOperator,
    /// Values for In and NotIn, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub values: Vec<LabelValue>,
}

/// How a label is compared: In (one of the values), NotIn (none of them, or absent), Exists, DoesNotExist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// One of the values.
    In,
    /// None of the values, or absent.
    NotIn,
    /// There.
    Exists,
    /// Not there.
    DoesNotExist,
}

/// Whether a profile acts: Enforce (also when absent), Audit (say what would change, change nothing), Disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProfileMode {
    /// It acts.
    #[default]
    Enforce,
    /// It says what would change and changes nothing.
    Audit,
    /// It does nothing.
    Disabled,
}

/// On which nodes pods may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.spillAfter) || self.policy == 'PreferRegularNodes'").message("spec.placement.spillAfter is for the policy PreferRegularNodes: the others do not wait"),
    validation = Rule::new("!has(self.limits) || self.policy in ['Fair', 'PreferRegularNodes']").message("spec.placement.limits are for the policies Fair and PreferRegularNodes: with the others a pod has no other nodes to stay on")
)]
pub struct Placement {
    /// Fair: regular and virtual nodes alike. PreferRegularNodes: virtual nodes once a pod was unschedulable for
    /// spillAfter. VirtualNodesOnly and RegularNodesOnly: these and no others.
    pub policy: PlacementPolicy,
    /// How long a pod is unschedulable before it may go to virtual nodes, 0s to 1h; 30s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = rules::duration_syntax(), validation = rules::duration_range("0s", "1h"))]
    pub spill_after: Option<String>,
    /// Which pods go first when a workload shrinks; as Kubernetes decides when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_in: Option<ScaleIn>,
    /// The most that pods of this profile may take on virtual nodes. What is over stays on regular nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<PlacementLimits>,
}

/// On which nodes pods may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlacementPolicy {
    /// Regular and virtual nodes alike.
    Fair,
    /// Virtual nodes when regular ones are full.
    PreferRegularNodes,
    /// Virtual nodes.
    VirtualNodesOnly,
    /// Regular nodes.
    RegularNodesOnly,
}

/// Which pods go first when a workload shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScaleIn {
    /// Those on virtual nodes.
    VirtualNodesFirst,
}

/// The most that pods may take on virtual nodes together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.pods) || has(self.cpu) || has(self.memory)").message("spec.placement.limits limits nothing: set pods, cpu or memory, or leave it out")
)]
pub struct PlacementLimits {
    /// Pods, 0 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub pods: Option<i32>,
    /// Sum of the CPU requests, as a quantity in quotes, such as "100".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = rules::quantity("100 or 1500m"))]
    pub cpu: Option<String>,
    /// Sum of the memory requests, as a quantity, such as 512Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = rules::quantity("512Gi"))]
    pub memory: Option<String>,
}

/// Network of pods on virtual nodes. vSwitches and security groups are taken together from one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileNetwork {
    /// vSwitches in the order of preference, at most 10.
    #[serde(rename = "vSwitchIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 5, max = 64), regex(pattern = r"^vsw-[a-z0-9-]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub v_switch_ids: Vec<String>,
    /// Security groups of one VPC and type, at most 5.
    #[serde(rename = "securityGroupIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), inner(length(min = 4, max = 64), regex(pattern = r"^sg-[a-z0-9-]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub security_group_ids: Vec<String>,
    /// Make an EIP for each pod, and release it with the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eip: Option<Eip>,
    /// Give each pod an IPv6 address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6>,
}

/// An IPv6 address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipv6 {
    /// Bandwidth to the Internet in Mbit/s, 1 to 1000; the address is reachable in the VPC only when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub internet_bandwidth: Option<i32>,
}

/// Which instances pods run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Instance {
    /// Sizes and instance types in the order of preference, 1 to 5: the next one is taken when there is no stock.
    #[schemars(length(min = 1, max = 5))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(c, has(c.instanceType) ? !has(c.cpu) && !has(c.memory) : has(c.cpu) && has(c.memory))").message("each candidate is either an instanceType, or cpu and memory together"),
        validation = Rule::new("self.all(c, self.exists_one(d, c == d))").message("a candidate is listed twice: a second try for the same stock helps nobody")
    )]
    pub candidates: Vec<Candidate>,
}

/// An instance type, or a size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Instance type, such as ecs.c6.xlarge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^ecs\.[a-z0-9-]+\.[a-z0-9-]+$"))]
    pub instance_type: Option<String>,
    /// vCPUs in quotes: "0.25", "0.5" or a whole number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4), regex(pattern = r"^(0\.25|0\.5|[1-9][0-9]*)$"))]
    pub cpu: Option<String>,
    /// Memory, such as 0.5Gi or 4Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = r"^(0\.5|[1-9][0-9]*)Gi$"))]
    pub memory: Option<String>,
}

/// Ephemeral storage of pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Beyond the 30 GiB that every instance has for nothing, 1Gi to 32768Gi.
    #[schemars(length(max = 10))]
    #[x_kube(
        validation = Rule::new("self.matches('^[1-9][0-9]*Gi$')").message("must be a whole number of Gi, such as 50Gi"),
        validation = Rule::new("!self.matches('^[1-9][0-9]*Gi$') || int(self.replace('Gi','')) <= 32768").message("must be between 1Gi and 32768Gi")
    )]
    pub extra_ephemeral: String,
}

/// Which image caches pods start from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.mode == 'Pinned') == (has(self.refs) && size(self.refs) > 0)").message("spec.imageCache.refs are set if and only if spec.imageCache.mode is Pinned"),
    validation = Rule::new("!has(self.requireReady) || self.mode == 'Pinned'").message("spec.imageCache.requireReady is for the mode Pinned: it says that the pod waits for one of the refs"),
    validation = Rule::new("!has(self.readyTimeout) || (has(self.requireReady) && self.requireReady)").message("spec.imageCache.readyTimeout needs spec.imageCache.requireReady: true, for nothing else waits")
)]
pub struct ImageCacheUse {
    /// Auto: the cloud searches all caches of the account. Pinned: the first ready one of refs that covers all images
    /// of the pod, else none. None: none.
    pub mode: ImageCacheMode,
    /// ImageCaches in no particular order, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "name".into()]))]
    pub refs: Vec<ImageCacheReference>,
    /// Let a pod whose images one of the refs covers wait until that cache is ready; false when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_ready: Option<bool>,
    /// How long it waits before it starts without, 1s to 24h; 10m when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 16))]
    #[x_kube(validation = rules::duration_syntax(), validation = rules::duration_range("1s", "24h"))]
    pub ready_timeout: Option<String>,
}

/// How image caches are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImageCacheMode {
    /// By the cloud.
    Auto,
    /// From a list.
    Pinned,
    /// Not at all. (Not `Off`, which is a truth value in the YAML of Kubernetes.)
    None,
}

/// An ImageCache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ImageCacheReference {
    /// Its namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A data cache in every container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataCacheMount {
    /// Where it appears in the containers, absolute, at most 512 characters.
    #[schemars(length(min = 2, max = 512))]
    #[x_kube(validation = rules::clean_path_syntax(), validation = rules::clean_path_parts())]
    pub mount_path: String,
    /// Name of a DataCache in the namespace of the pod.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// What the operator knows of an EciProfile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EciProfileStatus {
    /// The generation that this status speaks of; -1 before the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Accepted (the spec is valid), Programmed (admission knows it), Conflicted (a profile of equal priority
    /// says otherwise for a pod that exists), EvictionReady (spot pods could be evicted in time).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Numbers of pods, written at most every 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<ProfileCounts>,
    /// Spot pods with a notice whose eviction is blocked now, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "pod".into()]))]
    pub blocked_evictions: Vec<BlockedEviction>,
    /// Workloads that would change if the mode were Enforce, at most 20. Only in mode Audit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "kind".into(), "name".into()]))]
    pub audit_impact: Vec<AuditImpact>,
}

/// Numbers of pods that a profile selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileCounts {
    /// Pods that exist and are not finished.
    pub pods: i64,
    /// Those of them on virtual nodes.
    pub virtual_node_pods: i64,
    /// Those of them on spot instances.
    pub spot_pods: i64,
    /// Spot pods that were reclaimed without an eviction before, since the profile was made.
    pub lost_pods: i64,
    /// Pods that fell back from spot to pay-as-you-go, since the profile was made.
    pub degraded_pods: i64,
    /// Those of the pods that were created without what the profile says, because no webhook answered.
    #[serde(default)]
    pub missed_pods: i64,
}

/// A spot pod with a notice whose eviction is blocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockedEviction {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Why, in one word.
    pub reason: String,
    /// The sentence for it: which budget, its healthy and desired counts, the pods in the way.
    pub message: String,
    /// When the instance goes.
    pub deadline: Time,
}

/// A workload whose pods would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditImpact {
    /// Namespace of the workload.
    pub namespace: String,
    /// Kind of the workload.
    pub kind: String,
    /// Name of the workload.
    pub name: String,
    /// Its pods that match.
    pub pods: i64,
    /// What would change, each in a sentence, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub changes: Vec<String>,
}
