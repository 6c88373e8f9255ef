//! `DataCache`: data (a model, a data set) baked into a cloud snapshot that pods mount by bucket and path.
#![allow(unreachable_pub, reason = "KubeSchema declares a copy of each struct inside a private scope")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::eip::Eip;
use crate::image_cache::{
    Applied, CloudEvent, DeletionPolicy, FailedBuilds, Network, Operation, Refusal, SecretReference, TagValue,
};
use crate::rules;

/// The bucket of caches that name none (the cloud's own default).
pub const DEFAULT_BUCKET: &str = "default";
/// The bucket that the cloud keeps for itself.
pub const RESERVED_BUCKET: &str = "eci-system";

/// What a DataCache should be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "eci-operator.io",
    version = "v1alpha1",
    kind = "DataCache",
    plural = "datacaches",
    singular = "datacache",
    shortname = "datac",
    category = "eci",
    namespaced,
    status = "DataCacheStatus",
    derive = "PartialEq",
    doc = "Data baked into a cloud snapshot, which pods on virtual nodes mount instead of downloading it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether pods can mount the cache."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is ready or not."),
    printcolumn(name = "Cloud", type_ = "string", json_path = ".status.cloudStatus", description = "The cloud's own word for the state."),
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.progressPercent", description = "Percent of the build."),
    printcolumn(name = "ID", type_ = "string", json_path = ".status.dataCacheID", description = "ID of the cloud resource."),
    printcolumn(name = "Bucket", type_ = "string", priority = 1, json_path = ".spec.bucket", description = "Bucket that pods mount it from."),
    printcolumn(name = "Path", type_ = "string", priority = 1, json_path = ".spec.path", description = "Path in the bucket."),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "The reason in a sentence."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since the object was created."),
    validation = rules::name()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.source) || has(self.adopt)").message("spec.source is missing: say where the data comes from, or take over an existing cache with spec.adopt"),
    validation = Rule::new("!has(self.eip) || !has(self.network) || !has(self.network.eipInstanceID)").message("spec.eip makes a new EIP and spec.network.eipInstanceID binds an existing one: set one of them"),
    validation = Rule::new("!has(self.adopt) || has(self.deletionPolicy)").message("spec.adopt needs an explicit spec.deletionPolicy: say whether the cache that you take over is deleted with this object"),
    validation = Rule::new("has(self.adopt) == has(oldSelf.adopt) && (!has(self.adopt) || self.adopt == oldSelf.adopt)").message("spec.adopt is immutable: what was taken over stays so, and another cache is another DataCache")
)]
pub struct DataCacheSpec {
    /// Bucket that pods mount the cache from; `default` when absent. With the path it is the identity of the cache in
    /// the account and region, for all clusters together. Immutable.
    #[serde(default = "default_bucket")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("a bucket has lower-case letters, digits and - between them, such as models"),
        validation = Rule::new("self != 'eci-system'").message("the bucket eci-system is reserved by the cloud: choose another one"),
        validation = Rule::new("self == oldSelf").message("spec.bucket is immutable: bucket and path are the identity of the cache, so another bucket is another DataCache")
    )]
    pub bucket: String,

    /// Path that the data appears under in the bucket, absolute, at most 512 characters. Immutable.
    #[schemars(length(min = 2, max = 512))]
    #[x_kube(
        validation = rules::clean_path_syntax(),
        validation = rules::clean_path_parts(),
        validation = Rule::new("self == oldSelf").message("spec.path is immutable: bucket and path are the identity of the cache, so another path is another DataCache")
    )]
    pub path: String,

    /// Where the data comes from. Needed unless an existing cache is taken over. A change builds the cache anew: it is
    /// not usable meanwhile, for two caches cannot have one bucket and path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DataSource>,

    /// Size of the disk behind the cache, 20Gi to 32768Gi; 20Gi when absent. Data that does not fit fails the build.
    /// Every pod that mounts the cache pays for a disk of this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    #[x_kube(validation = rules::size_syntax(), validation = rules::size_range())]
    pub size: Option<String>,

    /// Days until the cloud deletes the cache, 1 to 65536; kept for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub retention_days: Option<i32>,

    /// Where the build instance runs. What is absent comes from the operator's configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,

    /// Make an EIP for the build instance, so that it reaches sources on the Internet, and release it afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eip: Option<Eip>,

    /// Resource group of the cache.
    #[serde(rename = "resourceGroupID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9_-]+$"))]
    pub resource_group_id: Option<String>,

    /// Tags of the cloud resource, at most 14; six more are the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 14))]
    #[x_kube(validation = rules::tag_keys(), validation = rules::reserved_tag_keys())]
    pub tags: BTreeMap<String, TagValue>,

    /// What happens to the cloud resource when this object is deleted: Delete (when absent) or Retain. Must be
    /// written out with adopt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Take over a cache that exists in the cloud instead of building one. Only in namespaces that an administrator
    /// has labelled eci-operator.io/privileged=true. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptDataCache>,

    /// Stop reconciling anything but deletion. Ready keeps its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

fn default_bucket() -> String {
    DEFAULT_BUCKET.to_owned()
}

/// A cache that exists in the cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.dataCacheID) != (has(self.existing) && self.existing)").message("say which cache to take over: either its dataCacheID, or existing: true for the one with this bucket and path")
)]
pub struct AdoptDataCache {
    /// Its ID, `edc-…`. Its bucket and path must be those of the spec.
    #[serde(rename = "dataCacheID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 64), regex(pattern = r"^edc-[a-z0-9-]+$"))]
    pub data_cache_id: Option<String>,
    /// The one with the bucket and path of the spec, whatever its ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<bool>,
}

/// Where data comes from: `type`, and the field of that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'URL') == has(self.url)").message("spec.source.url is set if and only if spec.source.type is URL"),
    validation = Rule::new("(self.type == 'HuggingFace') == has(self.huggingFace)").message("spec.source.huggingFace is set if and only if spec.source.type is HuggingFace"),
    validation = Rule::new("(self.type == 'ModelScope') == has(self.modelScope)").message("spec.source.modelScope is set if and only if spec.source.type is ModelScope"),
    validation = Rule::new("(self.type == 'NAS') == has(self.nas)").message("spec.source.nas is set if and only if spec.source.type is NAS"),
    validation = Rule::new("(self.type == 'Custom') == has(self.custom)").message("spec.source.custom is set if and only if spec.source.type is Custom"),
    validation = Rule::new("!has(self.accessTokenSecretRef) || self.type in ['URL', 'HuggingFace', 'ModelScope']").message("spec.source.accessTokenSecretRef is for the types URL, HuggingFace and ModelScope; Custom takes secrets by custom.optionsFrom")
)]
pub struct DataSource {
    /// Which kind of source.
    #[serde(rename = "type")]
    pub type_: DataSourceType,
    /// A file of a web server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlSource>,
    /// A repository of Hugging Face.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hugging_face: Option<RepositorySource>,
    /// A repository of ModelScope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_scope: Option<RepositorySource>,
    /// A directory of a NAS file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nas: Option<NasSource>,
    /// A source that the cloud knows and this API has no fields for, such as OSS or SNAPSHOT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomSource>,
    /// Key of a secret of the same namespace with the access token of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_secret_ref: Option<SecretKeyReference>,
}

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataSourceType {
    /// A file of a web server.
    #[serde(rename = "URL")]
    Url,
    /// A repository of Hugging Face.
    HuggingFace,
    /// A repository of ModelScope.
    ModelScope,
    /// A directory of a NAS file system.
    #[serde(rename = "NAS")]
    Nas,
    /// Options as the cloud takes them.
    Custom,
}

/// A file of a web server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct UrlSource {
    /// Its address, http or https, at most 2048 characters.
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/?#[:space:][:cntrl:]]+([/?#][^[:space:][:cntrl:]]*)?$')").message("must be an address with http:// or https:// and without spaces, such as https://example.com/model.tar"),
        validation = Rule::new("!self.matches('^[^/]*//[^/?#]*@')").message("must not contain a login: everyone who may read this object would read it too; use spec.source.accessTokenSecretRef")
    )]
    pub url: String,
}

/// A repository of a model hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySource {
    /// Its ID, `owner/name` or, for some data sets of Hugging Face, `name`.
    #[serde(rename = "repoID")]
    #[schemars(
        length(min = 1, max = 193),
        regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$")
    )]
    pub repo_id: String,
    /// Model (when absent) or DataSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_type: Option<RepositoryType>,
    /// Branch, tag or commit; the hub's main branch when absent. Prefer a commit: a cache does not follow a branch
    /// that moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$"))]
    pub revision: Option<String>,
}

/// What a repository holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RepositoryType {
    /// A model.
    #[default]
    Model,
    /// A data set.
    DataSet,
}

/// A directory of a NAS file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NasSource {
    /// Mount target: a host name or address.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$"))]
    pub server: String,
    /// Directory on the server, absolute.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^[:cntrl:]]*$"))]
    pub path: String,
    /// NFS version: 3, 4, 4.0, 4.1 or 4.2; the cloud's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3), regex(pattern = r"^(3|4|4\.[0-2])$"))]
    pub version: Option<String>,
    /// NFS mount options, each one `name` or `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 20),
        inner(length(min = 1, max = 64), regex(pattern = r"^[a-z_0-9]+(=[A-Za-z0-9._:/-]+)?$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub mount_options: Vec<String>,
}

/// A source as the cloud takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomSource {
    /// The cloud's word for the type, such as OSS or SNAPSHOT.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[A-Z][A-Z0-9_]*$"))]
    pub cloud_type: String,
    /// Options of that type, at most 20, with the keys that the cloud documents. No secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(
        validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128)").message("a key has 1 to 128 characters"),
        validation = Rule::new("['accessToken', 'accessKeySecret', 'accessKey', 'secretKey', 'secret', 'password', 'token', 'securityToken'].all(k, !(k in self))").message("secrets do not belong here, where everyone who may read this object would read them: put them into a secret and name it in optionsFrom")
    )]
    pub options: BTreeMap<String, OptionValue>,
    /// Secrets of the same namespace, each key of which becomes an option, at most 5. A key that is given twice is an
    /// error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub options_from: Vec<SecretReference>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OptionValue(#[schemars(length(max = 2048))] pub String);

/// A key of a secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyReference {
    /// Name of the secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in the secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What the operator knows of a DataCache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataCacheStatus {
    /// The generation that this status speaks of; -1 before the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, Updating, Paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// ID of the cloud resource, `edc-…`.
    #[serde(rename = "dataCacheID", skip_serializing_if = "Option::is_none")]
    pub data_cache_id: Option<String>,
    /// Bucket of the cloud resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Path of the cloud resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
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
    /// When the cloud will delete the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// When a pod last used the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_matched_time: Option<Time>,
    /// A create call whose outcome is not yet known. Written before the call is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation<DataCacheRequest>>,
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
    pub applied: Option<Applied<DataCacheRequest>>,
    /// ID of a cloud resource whose adoption was begun: it may have this object's tags already. Gone when it is
    /// dataCacheID.
    #[serde(rename = "adoptingDataCacheID", skip_serializing_if = "Option::is_none")]
    pub adopting_data_cache_id: Option<String>,
    /// IDs of resources that were replaced or given up, until the cloud has deleted them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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

/// Everything that a create call says but secret values, tags and its token: resolved, canonical, comparable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataCacheRequest {
    /// Display name; not unique in the cloud.
    pub name: String,
    /// Bucket.
    pub bucket: String,
    /// Path.
    pub path: String,
    /// The cloud's word for the type of the source; empty of a cache that was taken over and whose spec names no source.
    pub source_type: String,
    /// Options of the source but those whose values are secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source_options: BTreeMap<String, String>,
    /// Key of the only secret that holds the access token; every key of the secrets is an option when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_key: Option<String>,
    /// Names of the secrets whose values become options, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_secrets: Vec<String>,
    /// GiB; 0 for what the cloud has, of a cache that was taken over and whose spec names no size.
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
    /// An existing EIP.
    #[serde(rename = "eipInstanceID", skip_serializing_if = "Option::is_none")]
    pub eip_instance_id: Option<String>,
    /// An EIP to make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eip: Option<Eip>,
    /// Resource group.
    #[serde(rename = "resourceGroupID", skip_serializing_if = "Option::is_none")]
    pub resource_group_id: Option<String>,
    /// The user's own tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}
