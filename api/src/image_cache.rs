//! `ImageCache`: container images baked into a cloud snapshot, so that pods start without pulling.
#![allow(unreachable_pub, reason = "KubeSchema declares a copy of each struct inside a private scope")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most images in one cache (vendor's documentation).
pub const MAX_IMAGES: usize = 20;

/// What an ImageCache should be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "eci-operator.io",
    version = "v1alpha1",
    kind = "ImageCache",
    plural = "imagecaches",
    singular = "imagecache",
    shortname = "imgc",
    category = "eci",
    namespaced,
    status = "ImageCacheStatus",
    derive = "PartialEq",
    doc = "Container images baked into a cloud snapshot, from which pods on virtual nodes start without pulling.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether pods can use the cache."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is ready or not."),
    printcolumn(name = "Cloud", type_ = "string", json_path = ".status.cloudStatus", description = "The cloud's own word for the state."),
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.progressPercent", description = "Percent of the build."),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.imageCacheID", description = "ID of the cloud resource."),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "The reason in a sentence."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since the object was created."),
    validation = crate::rules::name()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.osType) == has(oldSelf.osType) && (!has(self.osType) || self.osType == oldSelf.osType)").message("spec.osType is immutable: a cache for another operating system is another ImageCache"),
    validation = Rule::new("!has(self.adopt) || has(self.deletionPolicy)").message("spec.adopt needs an explicit spec.deletionPolicy: say whether the cache that you take over is deleted with this object"),
    validation = Rule::new("has(self.adopt) == has(oldSelf.adopt) && (!has(self.adopt) || self.adopt == oldSelf.adopt)").message("spec.adopt is immutable: what was taken over stays so, and another cache is another ImageCache"),
    validation = Rule::new("!has(self.snapshotCopies) || !has(self.snapshotCopies.flash) || (has(self.flash) && self.flash)").message("spec.snapshotCopies.flash needs spec.flash: true, for only then there is a local snapshot to copy")
)]
pub struct ImageCacheSpec {
    /// Image references, 1 to 20, as pods write them. Sent to the cloud and shown as written. Prefer fixed tags or
    /// digests: a cache does not follow a tag that moves.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 512)))]
    // The grammar of `ImageReference`; what an expression cannot say (two spellings of one image) the operator finds.
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(i, i.matches('^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?/)?[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@[a-z0-9+._-]+:[0-9a-fA-F]{32,256})?$'))").message("each image is a reference as in a pod, in lower case, without a scheme and without spaces, such as registry.example.com/app:1.2")
    )]
    pub images: Vec<String>,

    /// Docker config secrets of the same namespace, for registries that want a login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<SecretReference>,

    /// How to talk to particular registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["host".into()]),
        validation = crate::rules::registry_hosts(),
        validation = crate::rules::registry_entries()
    )]
    pub registries: Vec<RegistryOptions>,

    /// Container Registry Enterprise instances to pull from without a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub acr_instances: Vec<AcrInstance>,

    /// Size of the disk behind the cache, 20Gi to 32768Gi; 20Gi when absent. At least twice the images' size. Every
    /// pod that uses the cache pays for a disk of this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    #[x_kube(
        validation = crate::rules::size_syntax(),
        validation = crate::rules::size_range()
    )]
    pub size: Option<String>,

    /// Days until the cloud deletes the cache, 1 to 65536; kept for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub retention_days: Option<i32>,

    /// Where the build instance runs. What is absent comes from the operator's configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,

    /// Resource group of the cache.
    #[serde(rename = "resourceGroupID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9_-]+$"))]
    pub resource_group_id: Option<String>,

    /// Tags of the cloud resource, at most 15; five more are the operator's own.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 15))]
    #[x_kube(
        validation = crate::rules::tag_keys(),
        validation = crate::rules::reserved_tag_keys()
    )]
    pub tags: std::collections::BTreeMap<String, TagValue>,

    /// Build a quick local snapshot first: the cache is usable earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash: Option<bool>,

    /// Reuse layers of existing caches of the account while building.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_layers: Option<bool>,

    /// Copies of the snapshot, for many pods that start at once; the vendor advises one for 1,000 pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_copies: Option<SnapshotCopies>,

    /// Whether the cloud may remove the cache when the quota is used up. Keep when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elimination_strategy: Option<EliminationStrategy>,

    /// Operating system of the images. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_type: Option<OsType>,

    /// Take over a cache that exists in the cloud instead of building one. Only in namespaces that an administrator has
    /// labelled eci-operator.io/privileged=true. `images` and `size` must be those of the cache; later changes of them are
    /// carried out as usual. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptImageCache>,

    /// What happens to the cloud resource when this object is deleted: Delete (when absent) or Retain. Required with
    /// adopt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Stop reconciling anything but deletion. Ready keeps its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A cache of the cloud to take over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdoptImageCache {
    /// Its ID, `imc-…`.
    #[serde(rename = "imageCacheID")]
    #[schemars(length(min = 5, max = 64), regex(pattern = r"^imc-[a-z0-9-]+$"))]
    pub image_cache_id: String,
}

/// The value of a tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TagValue(#[schemars(length(max = 128))] pub String);

/// A secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// How to talk to one registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryOptions {
    /// Host, with port when it is not the default one, without a scheme.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Accept any certificate.
    #[serde(rename = "insecureSkipTLSVerify", skip_serializing_if = "Option::is_none")]
    pub insecure_skip_tls_verify: Option<bool>,
    /// Talk plain HTTP.
    #[serde(rename = "plainHTTP", skip_serializing_if = "Option::is_none")]
    pub plain_http: Option<bool>,
}

/// A Container Registry Enterprise instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcrInstance {
    /// Instance ID, `cri-…`.
    #[schemars(length(min = 5, max = 64), regex(pattern = r"^cri-[a-z0-9]+$"))]
    pub id: String,
    /// Instance name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,
    /// Region of the instance, when it is another one.
    #[serde(rename = "regionID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region_id: Option<String>,
    /// Domains of the instance to use; all when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        inner(length(min = 1, max = 253), regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9.-]*$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub domains: Vec<String>,
    /// Role in the account of the cache, for an instance of another account. Only in namespaces that an administrator has
    /// labelled eci-operator.io/privileged=true, for a build may act as any role that is named here.
    #[serde(rename = "serviceRoleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^acs:ram::[0-9]+:role/.+$"))]
    pub service_role_arn: Option<String>,
    /// Role in the account of the instance. Likewise.
    #[serde(rename = "userRoleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^acs:ram::[0-9]+:role/.+$"))]
    pub user_role_arn: Option<String>,
}

/// Where the build instance runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// vSwitches, at most 10.
    #[serde(rename = "vSwitchIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 5, max = 64), regex(pattern = r"^vsw-[a-z0-9-]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub v_switch_ids: Vec<String>,
    /// Security group.
    #[serde(rename = "securityGroupID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 64), regex(pattern = r"^sg-[a-z0-9-]+$"))]
    pub security_group_id: Option<String>,
    /// An existing EIP for the build instance, so that it reaches public registries.
    #[serde(rename = "eipInstanceID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 64), regex(pattern = r"^eip-[a-z0-9-]+$"))]
    pub eip_instance_id: Option<String>,
}

/// Copies of the snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotCopies {
    /// Copies of the standard snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub standard: Option<i32>,
    /// Copies of the quick local snapshot; only with flash.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub flash: Option<i32>,
}

/// Whether the cloud may remove the cache when the quota is used up: Keep (never; also when absent) or LRU (the
/// least recently used first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EliminationStrategy {
    /// Never.
    Keep,
    /// The least recently used first.
    #[serde(rename = "LRU")]
    Lru,
}

/// Operating system of the images: Linux or Windows; the cloud's default when absent. Immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OsType {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

/// What happens to the cloud resource when this object is deleted: Delete (it is deleted; also when absent) or
/// Retain (it stays, without our ownership tags).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays, without our ownership tags.
    Retain,
}

/// What the operator knows of an ImageCache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageCacheStatus {
    /// The generation that this status speaks of; -1 before the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, Updating, Paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// ID of the cloud resource, `imc-…`.
    #[serde(rename = "imageCacheID", skip_serializing_if = "Option::is_none")]
    pub image_cache_id: Option<String>,
    /// ID of its snapshot.
    #[serde(rename = "snapshotID", skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// ID of the temporary instance that builds it.
    #[serde(rename = "containerGroupID", skip_serializing_if = "Option::is_none")]
    pub container_group_id: Option<String>,
    /// The cloud's own word for the state of the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_status: Option<String>,
    /// Percent of the build, in steps of 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_percent: Option<i32>,
    /// The images of the resource as the cloud has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["reference".into()]))]
    pub images: Vec<CachedImage>,
    /// When the cloud will delete the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// When a pod last used the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_matched_time: Option<Time>,
    /// How many pods started from it, as far as the operator saw. Written at most every 10 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<Matches>,
    /// A create call whose outcome is not yet known. Written before the call is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The highest attempt number used; it only rises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<i64>,
    /// UID of the object that this status belongs to. A status with another UID comes from a backup and is not believed.
    #[serde(rename = "ownerUID", skip_serializing_if = "Option::is_none")]
    pub owner_uid: Option<String>,
    /// Region of the resource.
    #[serde(rename = "regionID", skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// What the resource was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// ID of a cache whose adoption was begun and is not yet confirmed.
    #[serde(rename = "adoptingImageCacheID", skip_serializing_if = "Option::is_none")]
    pub adopting_image_cache_id: Option<String>,
    /// A second resource that is being built to replace the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<Successor>,
    /// IDs of resources that were replaced or given up, until the cloud has deleted them. From 16
    /// on nothing is built any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 18))]
    pub retiring: Vec<String>,
    /// Builds that failed since the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_builds: Option<FailedBuilds>,
    /// A create call that the cloud refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// When the resource was last found gone and its rebuild began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rebuild_time: Option<Time>,
    /// When this status was last found lost and made up from what the cloud showed, or set by somebody else than the
    /// operator (a restored backup). For one `--resolve-window` from then on a deletion waits for what the cloud may not
    /// show yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_time: Option<Time>,
    /// The value of the annotation eci-operator.io/requested-at that was last acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
    /// The newest events of the cloud about the resource, at most 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub events: Vec<CloudEvent>,
}

/// How many pods started from a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matches {
    /// Pods that started from it.
    pub hits: i64,
    /// Of these, pods with images that it has not.
    #[serde(default)]
    pub partial_hits: i64,
    /// Pods whose images it has all and that started without an image cache while it was usable.
    pub misses: i64,
    /// When the vendor last said that a pod starts from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_hit_time: Option<Time>,
    /// What the vendor said up to then is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted_time: Option<Time>,
    /// When this was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_time: Option<Time>,
}

/// An image of a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CachedImage {
    /// The reference as written.
    pub reference: String,
    /// Its digest, when the reference names it; the cloud's API tells none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A create call whose outcome is not yet known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation<R = ImageCacheRequest> {
    /// Its attempt number.
    pub attempt: i64,
    /// How many sends of the call were recorded. Each is recorded before it is sent.
    pub sends: i64,
    /// The client token of the call.
    pub token: String,
    /// When it was recorded.
    pub start_time: Time,
    /// Everything that the call says but secret values.
    pub request: R,
    /// The secrets whose values the call carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_versions: Vec<SecretVersion>,
    /// Generation of the object that the request was made from.
    pub generation: i64,
}

/// A secret as it was when a request was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
}

/// What a resource was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied<R = ImageCacheRequest> {
    /// Attempt that made it.
    pub attempt: i64,
    /// The request.
    pub request: R,
    /// The secrets whose values the call carried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_versions: Vec<SecretVersion>,
    /// Generation of the object that the request was made from.
    pub generation: i64,
    /// A change in place was begun and is not yet confirmed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub updating: bool,
    /// The resource was usable, and cannot be used any more: it failed in the cloud, or its snapshot is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
}

/// A resource that is being built to replace the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Successor {
    /// ID of the cloud resource.
    #[serde(rename = "imageCacheID")]
    pub image_cache_id: String,
    /// What it is made from.
    pub applied: Applied,
}

/// Builds that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedBuilds {
    /// How many, of this generation.
    pub count: i32,
    /// Generation that they were builds of.
    pub generation: i64,
    /// The last attempt that failed.
    pub attempt: i64,
    /// When that was seen.
    pub last_time: Time,
    /// What the cloud said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A create call that the cloud refused: nothing was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Reason, as in the conditions.
    pub reason: String,
    /// What the cloud said.
    pub message: String,
    /// How often in a row.
    pub count: i32,
    /// When it was last refused.
    pub last_time: Time,
    /// When the cloud may be called again at the earliest, by its own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before_time: Option<Time>,
    /// When the row began.
    pub first_time: Time,
    /// Generation that was refused.
    pub generation: i64,
    /// The secrets that the refused call used: another version is a reason to try again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_versions: Vec<SecretVersion>,
}

/// An event of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudEvent {
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub type_: String,
    /// The cloud's reason.
    pub reason: String,
    /// Its message, at most 256 characters.
    pub message: String,
    /// How often it happened.
    pub count: i32,
    /// When it last happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,
}

/// Everything that a create call says but secret values, tags and its token: resolved, canonical, comparable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageCacheRequest {
    /// Display name; not unique in the cloud.
    pub name: String,
    /// References as written, sorted.
    pub images: Vec<String>,
    /// GiB.
    #[serde(rename = "sizeGiB")]
    pub size_gib: i32,
    /// Days; kept for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
    /// In the order of preference.
    #[serde(rename = "vSwitchIDs", default, skip_serializing_if = "Vec::is_empty")]
    pub v_switch_ids: Vec<String>,
    /// Security group.
    #[serde(rename = "securityGroupID", skip_serializing_if = "Option::is_none")]
    pub security_group_id: Option<String>,
    /// EIP.
    #[serde(rename = "eipInstanceID", skip_serializing_if = "Option::is_none")]
    pub eip_instance_id: Option<String>,
    /// Resource group.
    #[serde(rename = "resourceGroupID", skip_serializing_if = "Option::is_none")]
    pub resource_group_id: Option<String>,
    /// Names of the secrets with registry logins, in the order written: the first that has a login for a registry gives it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pull_secrets: Vec<String>,
    /// Registries to talk plain HTTP to, sorted.
    #[serde(rename = "plainHTTPRegistries", default, skip_serializing_if = "Vec::is_empty")]
    pub plain_http_registries: Vec<String>,
    /// Registries whose certificate is not checked, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub insecure_registries: Vec<String>,
    /// Sorted by ID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acr_instances: Vec<AcrInstance>,
    /// Quick local snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash: Option<bool>,
    /// Reuse layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_layers: Option<bool>,
    /// Copies of the standard snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_copies: Option<i32>,
    /// Copies of the quick snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash_copies: Option<i32>,
    /// Elimination strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elimination_strategy: Option<EliminationStrategy>,
    /// Operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_type: Option<OsType>,
    /// The user's own tags.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub tags: std::collections::BTreeMap<String, String>,
}
