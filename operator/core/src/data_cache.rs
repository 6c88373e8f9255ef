//! What is particular to a `DataCache`: how its spec becomes a request, and a record its status.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::condition::{self, ConditionType, Reason, Wanted};
use eci_api::data_cache::{
    CustomSource, DEFAULT_BUCKET, DataCache, DataCacheRequest, DataCacheStatus, DataSource, DataSourceType,
    RESERVED_BUCKET, RepositorySource, RepositoryType,
};
use eci_api::quantity::CacheSize;
use eci_api::{FORCE_DELETE, REQUESTED_AT};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::cloud::{ClientToken, CloudId, DataCacheState, DataCacheView, Place, UpdateDataCache};
use crate::cloud_resource::identity::TAG_CONTENT;
use crate::cloud_resource::stored::{self, time};
use crate::cloud_resource::{Claim, Desired, Kind, Peer, Phase, Problem, Record, holds_another};
use crate::image_cache::Defaults;
use crate::pull_secret::PullSecret;
use crate::sweeper::Orphan;

/// Most options of a source, secret ones included.
pub const MAX_OPTIONS: usize = 40;
/// Longest secret value, in bytes: all parameters of a call travel in one address.
pub const SECRET_LIMIT: usize = 4_096;

/// The option that holds the access token of a source (vendor's documentation).
const ACCESS_TOKEN: &str = "accessToken";

/// The kind.
#[derive(Debug)]
pub struct DataCacheKind;

impl Kind for DataCacheKind {
    type Request = DataCacheRequest;
    type View = DataCacheView;

    const NOUN: &'static str = "data cache";
    const SECRETS_FIELD: &'static str = "spec.source";

    fn id(view: &DataCacheView) -> &CloudId {
        &view.id
    }

    fn phase(view: &DataCacheView) -> Phase {
        match view.state {
            DataCacheState::Available => Phase::Usable,
            DataCacheState::Failed => Phase::Failed,
            DataCacheState::Updating => Phase::Changing,
            DataCacheState::UpdateFailed => Phase::ChangeFailed,
            DataCacheState::Loading | DataCacheState::Creating | DataCacheState::Other(_) => Phase::Building,
        }
    }

    fn tags(view: &DataCacheView) -> &BTreeMap<String, String> {
        &view.tags
    }

    fn failure(view: &DataCacheView) -> Option<String> {
        stored::failure(&view.events, "sources on the Internet: set spec.eip")
    }

    fn expiration(view: &DataCacheView) -> Option<Timestamp> {
        view.expiration_time
    }

    fn is_whole(view: &DataCacheView) -> bool {
        view.snapshot_id.is_some()
    }

    fn fingerprint(request: &DataCacheRequest) -> String {
        // A request of strings and numbers always has a JSON form.
        serde_json::to_string(request).unwrap_or_default()
    }

    fn secrets(request: &DataCacheRequest) -> &[String] {
        &request.source_secrets
    }

    fn place(request: &DataCacheRequest) -> Option<Place> {
        Some(Place::new(&request.bucket, &request.path))
    }

    /// The source and its options; of secrets not even the names. Parts are length-prefixed, so that no two sources have
    /// the same text.
    fn unshown(request: &DataCacheRequest) -> Option<String> {
        let options = request.source_options.iter().flat_map(|(key, value)| [key, value]);
        let parts = std::iter::once(&request.source_type).chain(options);
        let text = parts.fold(String::new(), |text, part| format!("{text}{}:{part}", part.len()));
        (!request.source_type.is_empty()).then_some(text)
    }

    fn to_build(request: &DataCacheRequest) -> Result<DataCacheRequest, String> {
        if request.source_type.is_empty() {
            return Err("the cache that was taken over is gone, and spec.source does not say where the data comes from: set it, or delete this object".into());
        }
        let size_gib = if request.size_gib == 0 { CacheSize::default().gib() } else { request.size_gib };
        Ok(DataCacheRequest { size_gib, ..request.clone() })
    }

    /// What a spec that takes a cache over leaves out is no difference; nor are the secrets, whose values matter only for
    /// the next build.
    fn replaces(wanted: &DataCacheRequest, applied: &DataCacheRequest) -> bool {
        let size = wanted.size_gib != 0 && wanted.size_gib != applied.size_gib;
        let source = !wanted.source_type.is_empty()
            && (&wanted.source_type, &wanted.source_options)
                != (&applied.source_type, &applied.source_options);
        size || source || Self::place(wanted) != Self::place(applied)
    }

    fn updates(wanted: &DataCacheRequest, applied: &DataCacheRequest) -> bool {
        Self::updated(wanted, applied) != *applied
    }

    fn drifted(applied: &DataCacheRequest, view: &DataCacheView) -> bool {
        // Of what can be changed in place, the cloud shows the tags.
        applied.tags.iter().any(|(key, value)| view.tags.get(key) != Some(value))
    }

    /// A field that is absent now cannot be taken back by the cloud's call, and is no difference.
    fn updated(wanted: &DataCacheRequest, applied: &DataCacheRequest) -> DataCacheRequest {
        DataCacheRequest {
            retention_days: wanted.retention_days.or(applied.retention_days),
            resource_group_id: wanted.resource_group_id.clone().or_else(|| applied.resource_group_id.clone()),
            tags: wanted.tags.clone(),
            ..applied.clone()
        }
    }

    fn corrected(assumed: &DataCacheRequest, view: &DataCacheView) -> DataCacheRequest {
        let mut request = assumed.clone();
        if Self::place(&request).as_ref() != Some(&view.place) && !view.place.path.is_empty() {
            request.bucket.clone_from(&view.place.bucket);
            request.path.clone_from(&view.place.path);
        }
        if let Some(size) = view.size_gib {
            request.size_gib = size;
        }
        if holds_another::<Self>(assumed, &view.tags) {
            // Nobody knows what it was: as of a cache that was taken over without a word about its source.
            request.source_type = String::new();
            request.source_options = BTreeMap::new();
            request.source_secrets = Vec::new();
            request.access_token_key = None;
        }
        request
    }

    fn differs(request: &DataCacheRequest, view: &DataCacheView) -> Option<String> {
        let found = Self::corrected(request, view);
        let mut parts = Vec::new();
        if Self::place(&found) != Self::place(request) {
            parts.push(format!("it is at {}", stored::clip(&view.place.to_string())));
        }
        if request.size_gib != 0 && found.size_gib != request.size_gib {
            parts.push(format!("its size is {}Gi", found.size_gib));
        }
        if found.source_type != request.source_type {
            parts.push(format!("it was loaded from another source, by its tag {TAG_CONTENT}"));
        }
        (!parts.is_empty()).then(|| parts.join(" and "))
    }

    fn may_be_eliminated(_: &DataCacheRequest) -> bool {
        false
    }
}

/// What the user wants of an object.
pub fn desired(object: &DataCache, defaults: &Defaults) -> Desired<DataCacheRequest> {
    let annotations = object.metadata.annotations.as_ref();
    let adopt = object.spec.adopt.as_ref();
    Desired {
        request: request(object, defaults),
        deletion_policy: object.spec.deletion_policy.unwrap_or_default(),
        suspend: object.spec.suspend.unwrap_or(false),
        adopt: adopt.and_then(|a| CloudId::parse(a.data_cache_id.as_deref()?).ok()),
        adopt_at: adopt.filter(|a| a.existing == Some(true)).map(|_| place(object)),
        privileged: None,
        force_delete: annotations.and_then(|a| a.get(FORCE_DELETE)).is_some_and(|value| value == "true"),
        requested_at: annotations.and_then(|a| a.get(REQUESTED_AT)).map(|v| v.chars().take(128).collect()),
    }
}

/// Where the object's cache is.
fn place(object: &DataCache) -> Place {
    Place::new(&object.spec.bucket, &object.spec.path)
}

fn request(object: &DataCache, defaults: &Defaults) -> Result<DataCacheRequest, Problem> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let problem = |reason, message: String| Problem {
        reason,
        message: format!("DataCache {namespace}/{name}: {message}."),
    };
    let invalid = |message: String| problem(Reason::InvalidSpec, message);
    let spec = &object.spec;
    if spec.bucket.is_empty() || spec.bucket == RESERVED_BUCKET {
        return Err(invalid(format!(
            "spec.bucket: {:?} can't be used, {DEFAULT_BUCKET} can",
            stored::clip(&spec.bucket)
        )));
    }
    if !spec.path.starts_with('/') || spec.path.len() < 2 {
        return Err(invalid("spec.path is not an absolute path".into()));
    }
    let size = spec.size.as_deref().map(CacheSize::parse).transpose();
    let size = size.map_err(|e| invalid(format!("spec.size: {e}")))?;
    let mut source = match (&spec.source, &spec.adopt) {
        (Some(source), _) => options(source).map_err(invalid)?,
        (None, Some(_)) => Source::default(),
        (None, None) => return Err(invalid("spec.source is missing".into())),
    };
    if let Some(id) = spec.adopt.as_ref().and_then(|a| a.data_cache_id.as_ref()) {
        CloudId::parse(id).map_err(|e| invalid(format!("spec.adopt.dataCacheID: {e}")))?;
    }
    let network = spec.network.clone().unwrap_or_default();
    let v_switch_ids =
        if network.v_switch_ids.is_empty() { defaults.v_switch_ids.clone() } else { network.v_switch_ids };
    if v_switch_ids.is_empty() {
        return Err(problem(
            Reason::NetworkMissing,
            "no vSwitch is known: set spec.network.vSwitchIDs, or --vswitch-ids of the operator (chart value network.vSwitchIDs)".into(),
        ));
    }
    source.secrets.sort();
    source.secrets.dedup();
    let size_gib = match size {
        Some(size) => size.gib(),
        None if spec.adopt.is_some() => 0,
        None => CacheSize::default().gib(),
    };
    Ok(DataCacheRequest {
        name: format!("{namespace}.{name}"),
        bucket: spec.bucket.clone(),
        path: spec.path.clone(),
        source_type: source.type_,
        source_options: source.options,
        access_token_key: source.token_key,
        source_secrets: source.secrets,
        size_gib,
        retention_days: spec.retention_days,
        v_switch_ids,
        security_group_id: network.security_group_id.or_else(|| defaults.security_group_id.clone()),
        eip_instance_id: network.eip_instance_id,
        eip: spec.eip.clone(),
        resource_group_id: spec.resource_group_id.clone(),
        tags: spec.tags.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect(),
    })
}

/// A source as the cloud takes it.
#[derive(Default)]
struct Source {
    type_: String,
    options: BTreeMap<String, String>,
    secrets: Vec<String>,
    token_key: Option<String>,
}

/// The options of a source, by the vendor's names.
fn options(source: &DataSource) -> Result<Source, String> {
    let missing = |field: &str| format!("spec.source.{field} is missing");
    let (type_, pairs) = match source.type_ {
        DataSourceType::Url => {
            let url = source.url.as_ref().ok_or_else(|| missing("url"))?;
            ("URL".to_owned(), vec![("url", url.url.clone())])
        }
        DataSourceType::HuggingFace => {
            let repository = source.hugging_face.as_ref().ok_or_else(|| missing("huggingFace"))?;
            ("URL".to_owned(), repository_options("HuggingFace", repository))
        }
        DataSourceType::ModelScope => {
            let repository = source.model_scope.as_ref().ok_or_else(|| missing("modelScope"))?;
            ("URL".to_owned(), repository_options("ModelScope", repository))
        }
        DataSourceType::Nas => {
            let nas = source.nas.as_ref().ok_or_else(|| missing("nas"))?;
            let mut pairs = vec![("server", nas.server.clone()), ("path", nas.path.clone())];
            pairs.extend(nas.version.clone().map(|version| ("vers", version)));
            let mount = nas.mount_options.join(",");
            pairs.extend((!mount.is_empty()).then_some(("options", mount)));
            ("NAS".to_owned(), pairs)
        }
        DataSourceType::Custom => {
            return custom(source.custom.as_ref().ok_or_else(|| missing("custom"))?);
        }
    };
    let token = source.access_token_secret_ref.as_ref();
    Ok(Source {
        type_,
        options: pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        secrets: token.iter().map(|token| token.name.clone()).collect(),
        token_key: token.map(|token| token.key.clone()),
    })
}

fn repository_options(hub: &str, repository: &RepositorySource) -> Vec<(&'static str, String)> {
    let holds = match repository.repo_type.unwrap_or_default() {
        RepositoryType::Model => "Model",
        RepositoryType::DataSet => "DataSet",
    };
    let mut pairs = vec![("repoSource", format!("{hub}/{holds}")), ("repoId", repository.repo_id.clone())];
    pairs.extend(repository.revision.clone().map(|revision| ("revision", revision)));
    pairs
}

fn custom(custom: &CustomSource) -> Result<Source, String> {
    if custom.options.len() > MAX_OPTIONS {
        return Err(format!("spec.source.custom.options has more than {MAX_OPTIONS} options"));
    }
    Ok(Source {
        type_: custom.cloud_type.clone(),
        options: custom.options.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
        secrets: custom.options_from.iter().map(|secret| secret.name.clone()).collect(),
        token_key: None,
    })
}

/// Why the secrets give no options. The message never has a part of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A key is missing.
    #[error("secret {0} has no key {1}")]
    Missing(String, String),
    /// The value is of no use.
    #[error("key {1} of secret {0} is empty, longer than {SECRET_LIMIT} bytes, or not text")]
    Value(String, String),
    /// An option is there twice.
    #[error("the option {1} is in secret {0} and in another secret or in spec.source.custom.options")]
    Twice(String, String),
    /// Too many.
    #[error("the source has more than {MAX_OPTIONS} options with those of its secrets")]
    TooMany,
}

/// The options whose values are secret, from the secrets that the request names.
pub fn secret_options(
    request: &DataCacheRequest,
    secrets: &[PullSecret],
) -> Result<BTreeMap<String, SecretString>, OptionError> {
    let mut options = BTreeMap::new();
    let mut seen: BTreeSet<&str> = request.source_options.keys().map(String::as_str).collect();
    for secret in secrets {
        let keys: Vec<(&str, &str)> = match &request.access_token_key {
            Some(key) => vec![(key, ACCESS_TOKEN)],
            None => secret.data.keys().map(|key| (key.as_str(), key.as_str())).collect(),
        };
        for (key, option) in keys {
            let names = || (secret.name.clone(), key.chars().take(128).collect::<String>());
            let value = secret.data.get(key).ok_or_else(|| {
                let (secret, key) = names();
                OptionError::Missing(secret, key)
            })?;
            let text = std::str::from_utf8(value.expose_secret()).ok().map(str::trim);
            let Some(text) = text.filter(|text| !text.is_empty() && text.len() <= SECRET_LIMIT) else {
                let (secret, key) = names();
                return Err(OptionError::Value(secret, key));
            };
            if !seen.insert(option) {
                let (secret, key) = names();
                return Err(OptionError::Twice(secret, key));
            }
            options.insert(option.to_owned(), SecretString::from(text));
        }
    }
    if seen.len() > MAX_OPTIONS { Err(OptionError::TooMany) } else { Ok(options) }
}

/// What an object has to do with resources, for the others.
pub fn peer(object: &DataCache) -> Peer {
    let metadata = &object.metadata;
    let uid = metadata.uid.clone().unwrap_or_default();
    let record = record(object.status.as_ref().filter(|s| s.owner_uid.as_ref() == Some(&uid)));
    // A claim that may not be made must not keep others from theirs.
    let conditions = object.status.iter().flat_map(|s| &s.conditions);
    let refused = conditions.into_iter().any(|c| c.reason == Reason::NamespaceNotPrivileged.as_str());
    let adopt = object.spec.adopt.as_ref().filter(|_| !refused);
    let owned = record.current.iter().map(|o| o.id.clone());
    Peer {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid,
        created: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |t| t.0),
        deleting: metadata.deletion_timestamp.is_some(),
        adopts: adopt.and_then(|a| CloudId::parse(a.data_cache_id.as_deref()?).ok()),
        adopting: record.adopting.clone(),
        owns: owned.chain(record.retiring.iter().cloned()).collect(),
        claim: (!refused).then(|| Claim::new(place(object), &record)),
    }
}

/// The manifest of an object that takes over a cache without one. `None` when the tags name no object, or the cache is
/// not one that a spec can name.
pub fn take_over(view: &DataCacheView, orphan: &Orphan) -> Option<Value> {
    let (namespace, name) = orphan.made_for.as_ref()?;
    let Place { bucket, path } = &view.place;
    // What is printed is pasted into a shell.
    let plain = |text: &str| !text.contains('\'') && !text.chars().any(char::is_control);
    if bucket.is_empty() || !path.starts_with('/') || !plain(bucket) || !plain(path) {
        return None;
    }
    Some(json!({
        "apiVersion": "eci-operator.io/v1alpha1",
        "kind": "DataCache",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "bucket": bucket,
            "path": path,
            "adopt": { "dataCacheID": view.id.as_str() },
            "deletionPolicy": "Delete",
        },
    }))
}

/// The call that changes a cache in place, for the fields that can be.
pub fn update_call(
    id: CloudId,
    token: ClientToken,
    request: &DataCacheRequest,
    ours: &BTreeMap<String, String>,
) -> UpdateDataCache {
    UpdateDataCache {
        id,
        token,
        retention_days: request.retention_days,
        tags: Some(all_tags(request, ours)),
        resource_group_id: request.resource_group_id.clone(),
    }
}

/// The user's tags and ours; ours win.
pub fn all_tags(request: &DataCacheRequest, ours: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = request.tags.clone();
    tags.extend(ours.iter().map(|(k, v)| (k.clone(), v.clone())));
    tags
}

/// The record that a status holds.
pub fn record(status: Option<&DataCacheStatus>) -> Record<DataCacheRequest> {
    let Some(status) = status else { return Record::default() };
    let id = |text: &Option<String>| text.as_deref().and_then(|id| CloudId::parse(id).ok());
    Record {
        owner_uid: status.owner_uid.clone(),
        region: status.region_id.clone(),
        last_attempt: status.last_attempt.unwrap_or(0),
        operation: status.operation.as_ref().and_then(stored::operation),
        current: status
            .data_cache_id
            .as_deref()
            .zip(status.applied.as_ref())
            .and_then(|(id, applied)| stored::owned(id, applied)),
        successor: None,
        adopting: id(&status.adopting_data_cache_id),
        retiring: status.retiring.iter().filter_map(|id| CloudId::parse(id).ok()).collect(),
        failed: status.failed_builds.as_ref().map(stored::failed),
        refusal: status.refusal.as_ref().map(stored::refusal),
        last_rebuild: status.last_rebuild_time.as_ref().map(|t| t.0),
        lost: status.lost_time.as_ref().map(|t| t.0),
        handled_request: status.last_handled_request.clone(),
        expiration: status.expiration_time.as_ref().map(|t| t.0),
        seen: status.cloud_status.is_some(),
        // A write in the middle of a reconcile keeps the conditions of the resource before: they are believed of this
        // one only together with the cloud's word.
        usable: stored::is_true(&status.conditions, ConditionType::Ready)
            && status.data_cache_id.is_some()
            && status.cloud_status.as_deref() == Some(DataCacheState::Available.as_str()),
        whole: status.snapshot_id.is_some(),
    }
}

/// The status that says what a plan decided. `conditions` is `None` for a write in the middle of a reconcile, which
/// keeps the old ones; `view` is the newest sighting of the current resource, if any.
pub fn status(
    old: Option<&DataCacheStatus>,
    record: &Record<DataCacheRequest>,
    conditions: Option<&[Wanted]>,
    view: Option<&DataCacheView>,
    generation: i64,
    now: Timestamp,
) -> DataCacheStatus {
    let old = match old {
        // Of a backup of another object nothing stays but what is not ours.
        Some(old) if old.owner_uid.is_some() && old.owner_uid != record.owner_uid => DataCacheStatus {
            observed_generation: Some(-1),
            conditions: condition::set(&old.conditions, &[], generation, now),
            ..DataCacheStatus::default()
        },
        old => old.cloned().unwrap_or_default(),
    };
    let current = record.current.as_ref();
    let same = current.is_some_and(|c| old.data_cache_id.as_deref() == Some(c.id.as_str()));
    let view = view.filter(|v| current.is_some_and(|c| c.id == v.id));
    // Without a sighting, what the status says of the same resource stands.
    let kept = if same && record.seen { old.clone() } else { DataCacheStatus::default() };
    let seen = view.map(shown);
    DataCacheStatus {
        observed_generation: conditions.map_or(old.observed_generation, |_| Some(generation)),
        conditions: conditions
            .map_or(old.conditions.clone(), |c| condition::set(&old.conditions, c, generation, now)),
        data_cache_id: current.map(|c| c.id.to_string()),
        applied: current.map(stored::applied),
        bucket: current.map(|c| c.request.bucket.clone()),
        path: current.map(|c| c.request.path.clone()),
        adopting_data_cache_id: record.adopting.as_ref().map(ToString::to_string),
        retiring: record.retiring.iter().map(ToString::to_string).collect(),
        operation: record.operation.as_ref().map(stored::shown_operation),
        last_attempt: (record.last_attempt > 0).then_some(record.last_attempt),
        owner_uid: record.owner_uid.clone(),
        region_id: record.region.clone(),
        failed_builds: record.failed.as_ref().map(stored::shown_failed),
        refusal: record.refusal.as_ref().map(stored::shown_refusal),
        last_rebuild_time: record.last_rebuild.map(time),
        lost_time: record.lost.map(time),
        last_handled_request: record.handled_request.clone(),
        // A failed resource's events outlive it, until the next one speaks.
        events: match &seen {
            Some(seen) if !seen.events.is_empty() => seen.events.clone(),
            _ => old.events,
        },
        ..seen.unwrap_or(kept)
    }
}

/// The part of a status that comes from a sighting.
fn shown(view: &DataCacheView) -> DataCacheStatus {
    DataCacheStatus {
        snapshot_id: view.snapshot_id.clone(),
        container_group_id: view.container_group_id.clone(),
        cloud_status: Some(view.state.as_str().to_owned()),
        progress_percent: view.progress_percent.map(|p| p.clamp(0, 100) / 10 * 10),
        expiration_time: view.expiration_time.map(time),
        last_matched_time: view.last_matched_time.map(time),
        events: stored::shown_events(&view.events),
        ..DataCacheStatus::default()
    }
}
