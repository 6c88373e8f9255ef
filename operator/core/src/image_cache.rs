//! What is particular to an `ImageCache`: how its spec becomes a request, and a record its status.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::condition::{self, ConditionType, Reason, Wanted};
use eci_api::image_cache::{
    CachedImage, EliminationStrategy, ImageCache, ImageCacheRequest, ImageCacheStatus, Successor,
};
use eci_api::image_reference::ImageReference;
use eci_api::quantity::CacheSize;
use eci_api::{FORCE_DELETE, REQUESTED_AT, image_cache};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::cloud::{CacheState, ClientToken, CloudId, ImageCacheView, UpdateImageCache};
use crate::cloud_resource::stored::{self, time};
use crate::cloud_resource::{Desired, Kind, Peer, Phase, Problem, Record};
use crate::matches::{self, Pending};
use crate::sweeper::Orphan;

pub use crate::cloud_resource::stored::{EVENT_LIMIT, EVENTS_SHOWN};

/// The manifest of an object that takes over a cache without one: an object of the name in the tags does so. `None` when
/// the tags name no object, or the cache has no images that a spec can have.
pub fn take_over(view: &ImageCacheView, orphan: &Orphan) -> Option<Value> {
    let (namespace, name) = orphan.made_for.as_ref()?;
    let valid = |image: &String| {
        // What is printed is pasted into a shell.
        !image.contains('\'') && ImageReference::parse(image).is_ok()
    };
    if view.images.is_empty() || view.images.len() > 20 || !view.images.iter().all(valid) {
        return None;
    }
    let mut spec = json!({ "images": view.images });
    if let Some(size) = view.size_gib.and_then(|gib| CacheSize::from_gib(gib).ok()) {
        spec["size"] = size.to_string().into();
    }
    Some(json!({
        "apiVersion": "eci-operator.io/v1alpha1",
        "kind": "ImageCache",
        "metadata": { "namespace": namespace, "name": name },
        "spec": spec,
    }))
}

/// The kind.
#[derive(Debug)]
pub struct ImageCacheKind;

impl Kind for ImageCacheKind {
    type Request = ImageCacheRequest;
    type View = ImageCacheView;

    const NOUN: &'static str = "image cache";
    const SECRETS_FIELD: &'static str = "spec.imagePullSecrets";

    fn id(view: &ImageCacheView) -> &CloudId {
        &view.id
    }

    fn phase(view: &ImageCacheView) -> Phase {
        match view.state {
            CacheState::Ready => Phase::Usable,
            CacheState::Failed => Phase::Failed,
            CacheState::Updating => Phase::Changing,
            CacheState::UpdateFailed => Phase::ChangeFailed,
            CacheState::Preparing | CacheState::Creating | CacheState::Other(_) => Phase::Building,
        }
    }

    fn tags(view: &ImageCacheView) -> &BTreeMap<String, String> {
        &view.tags
    }

    fn failure(view: &ImageCacheView) -> Option<String> {
        stored::failure(&view.events, "public registries")
    }

    fn expiration(view: &ImageCacheView) -> Option<Timestamp> {
        view.expiration_time
    }

    fn fingerprint(request: &ImageCacheRequest) -> String {
        // Fields in the order of the type, tags in the order of their keys; a request of strings and numbers always
        // has a JSON form.
        serde_json::to_string(request).unwrap_or_default()
    }

    fn secrets(request: &ImageCacheRequest) -> &[String] {
        &request.pull_secrets
    }

    fn replaces(wanted: &ImageCacheRequest, applied: &ImageCacheRequest) -> bool {
        wanted.images != applied.images
            || wanted.size_gib != applied.size_gib
            || wanted.reuse_layers.unwrap_or(false) != applied.reuse_layers.unwrap_or(false)
    }

    fn updates(wanted: &ImageCacheRequest, applied: &ImageCacheRequest) -> bool {
        Self::updated(wanted, applied) != *applied
    }

    fn drifted(applied: &ImageCacheRequest, view: &ImageCacheView) -> bool {
        // Of what can be changed in place, the cloud shows the strategy and the tags.
        let lru = view.elimination_strategy.as_deref() == Some("LRU");
        let strategy = applied.elimination_strategy.is_some_and(|s| (s == EliminationStrategy::Lru) != lru);
        strategy || applied.tags.iter().any(|(key, value)| view.tags.get(key) != Some(value))
    }

    /// The quick snapshot goes when the standard one is there; while the cache is usable, one of them is.
    fn is_whole(view: &ImageCacheView) -> bool {
        view.snapshot_id.is_some()
    }

    /// A field that is absent now cannot be taken back by the cloud's call, and is no difference.
    fn updated(wanted: &ImageCacheRequest, applied: &ImageCacheRequest) -> ImageCacheRequest {
        ImageCacheRequest {
            retention_days: wanted.retention_days.or(applied.retention_days),
            elimination_strategy: wanted.elimination_strategy.or(applied.elimination_strategy),
            standard_copies: wanted.standard_copies.or(applied.standard_copies),
            flash_copies: wanted.flash_copies.or(applied.flash_copies),
            resource_group_id: wanted.resource_group_id.clone().or_else(|| applied.resource_group_id.clone()),
            tags: wanted.tags.clone(),
            ..applied.clone()
        }
    }

    fn corrected(assumed: &ImageCacheRequest, view: &ImageCacheView) -> ImageCacheRequest {
        let mut request = assumed.clone();
        // The cloud may spell a reference in another way than the user.
        let forms = |images: &[String]| -> BTreeSet<String> {
            images
                .iter()
                .map(|i| ImageReference::parse(i).map_or_else(|_| i.clone(), |r| r.normal_form()))
                .collect()
        };
        if !view.images.is_empty() && forms(&view.images) != forms(&request.images) {
            request.images.clone_from(&view.images);
            request.images.sort();
        }
        if let Some(size) = view.size_gib {
            request.size_gib = size;
        }
        request
    }

    fn differs(request: &ImageCacheRequest, view: &ImageCacheView) -> Option<String> {
        let found = Self::corrected(request, view);
        let mut parts = Vec::new();
        if found.images != request.images {
            let images: Vec<_> =
                found.images.iter().take(image_cache::MAX_IMAGES).map(|i| stored::clip(i)).collect();
            parts.push(format!("its images are {}", images.join(", ")));
        }
        if found.size_gib != request.size_gib {
            parts.push(format!("its size is {}Gi", found.size_gib));
        }
        (!parts.is_empty()).then(|| parts.join(" and "))
    }

    fn may_be_eliminated(applied: &ImageCacheRequest) -> bool {
        applied.elimination_strategy == Some(EliminationStrategy::Lru)
    }
}

/// What a spec may leave to the operator's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// vSwitches for objects that name none.
    pub v_switch_ids: Vec<String>,
    /// Security group for objects that name none.
    pub security_group_id: Option<String>,
}

/// What the user wants of an object.
pub fn desired(object: &ImageCache, defaults: &Defaults) -> Desired<ImageCacheRequest> {
    let annotations = object.metadata.annotations.as_ref();
    Desired {
        request: request(object, defaults),
        deletion_policy: object.spec.deletion_policy.unwrap_or_default(),
        suspend: object.spec.suspend.unwrap_or(false),
        adopt: object.spec.adopt.as_ref().and_then(|a| CloudId::parse(&a.image_cache_id).ok()),
        adopt_at: None,
        privileged: spec_acts_as_a_role(object).then_some("spec.acrInstances with a role ARN"),
        force_delete: annotations.and_then(|a| a.get(FORCE_DELETE)).is_some_and(|value| value == "true"),
        requested_at: annotations.and_then(|a| a.get(REQUESTED_AT)).map(|v| v.chars().take(128).collect()),
    }
}

fn request(object: &ImageCache, defaults: &Defaults) -> Result<ImageCacheRequest, Problem> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let problem = |reason, message: String| Problem {
        reason,
        message: format!("ImageCache {namespace}/{name}: {message}."),
    };
    let invalid = |message| problem(Reason::InvalidSpec, message);
    let spec = &object.spec;
    check_images(&spec.images).map_err(invalid)?;
    let size = spec.size.as_deref().map_or(Ok(CacheSize::default()), CacheSize::parse);
    let size = size.map_err(|e| invalid(format!("spec.size: {e}")))?;
    if let Some(adopt) = &spec.adopt {
        CloudId::parse(&adopt.image_cache_id)
            .map_err(|e| invalid(format!("spec.adopt.imageCacheID: {e}")))?;
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
    let sorted = |mut hosts: Vec<String>| {
        hosts.sort();
        hosts
    };
    let hosts = |flag: fn(&image_cache::RegistryOptions) -> Option<bool>| {
        sorted(spec.registries.iter().filter(|r| flag(r) == Some(true)).map(|r| r.host.clone()).collect())
    };
    let mut acr_instances = spec.acr_instances.clone();
    acr_instances.sort_by(|a, b| a.id.cmp(&b.id));
    let copies = spec.snapshot_copies.clone().unwrap_or_default();
    Ok(ImageCacheRequest {
        name: format!("{namespace}.{name}"),
        images: sorted(spec.images.clone()),
        size_gib: size.gib(),
        retention_days: spec.retention_days,
        v_switch_ids,
        security_group_id: network.security_group_id.or_else(|| defaults.security_group_id.clone()),
        eip_instance_id: network.eip_instance_id,
        resource_group_id: spec.resource_group_id.clone(),
        pull_secrets: spec.image_pull_secrets.iter().map(|s| s.name.clone()).collect(),
        plain_http_registries: hosts(|r| r.plain_http),
        insecure_registries: hosts(|r| r.insecure_skip_tls_verify),
        acr_instances,
        flash: spec.flash,
        reuse_layers: spec.reuse_layers,
        standard_copies: copies.standard,
        flash_copies: copies.flash,
        elimination_strategy: spec.elimination_strategy,
        os_type: spec.os_type,
        tags: spec.tags.iter().map(|(k, v)| (k.clone(), v.0.clone())).collect(),
    })
}

/// Whether a build acts as a role of the account, which reaches beyond the namespace.
fn spec_acts_as_a_role(object: &ImageCache) -> bool {
    object.spec.acr_instances.iter().any(|a| a.service_role_arn.is_some() || a.user_role_arn.is_some())
}

/// What an object has to do with resources, for the others that want to take one over.
pub fn peer(object: &ImageCache) -> Peer {
    let metadata = &object.metadata;
    let uid = metadata.uid.clone().unwrap_or_default();
    let record = record(object.status.as_ref().filter(|s| s.owner_uid.as_ref() == Some(&uid)));
    // A claim that may not be made must not keep others from theirs.
    let conditions = object.status.iter().flat_map(|s| &s.conditions);
    let refused = conditions.into_iter().any(|c| c.reason == Reason::NamespaceNotPrivileged.as_str());
    let adopt = object.spec.adopt.as_ref().filter(|_| !refused);
    let owned = record.current.iter().chain(&record.successor).map(|o| o.id.clone());
    Peer {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid,
        created: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |t| t.0),
        deleting: metadata.deletion_timestamp.is_some(),
        adopts: adopt.and_then(|a| CloudId::parse(&a.image_cache_id).ok()),
        adopting: record.adopting.clone(),
        owns: owned.chain(record.retiring.iter().cloned()).collect(),
        claim: None,
    }
}

fn check_images(images: &[String]) -> Result<(), String> {
    if images.is_empty() || images.len() > image_cache::MAX_IMAGES {
        return Err(format!(
            "spec.images has {} images; 1 to {} are possible",
            images.len(),
            image_cache::MAX_IMAGES
        ));
    }
    let mut seen = BTreeSet::new();
    for image in images {
        let shown: String = image.chars().take(128).collect();
        let reference = ImageReference::parse(image)
            .map_err(|e| format!("spec.images: {shown:?} is not an image reference: {e}"))?;
        if !seen.insert(reference.normal_form()) {
            return Err(format!("spec.images: {shown:?} means the same image as another entry"));
        }
    }
    Ok(())
}

/// The call that changes a cache in place, for the fields that can be.
pub fn update_call(
    id: CloudId,
    token: ClientToken,
    request: &ImageCacheRequest,
    ours: &BTreeMap<String, String>,
) -> UpdateImageCache {
    let elimination_strategy = request.elimination_strategy.map(|strategy| match strategy {
        EliminationStrategy::Keep => String::new(),
        EliminationStrategy::Lru => "LRU".to_owned(),
    });
    UpdateImageCache {
        id,
        token,
        retention_days: request.retention_days,
        elimination_strategy,
        tags: Some(all_tags(request, ours)),
        standard_copies: request.standard_copies,
        flash_copies: request.flash_copies,
        resource_group_id: request.resource_group_id.clone(),
    }
}

/// The user's tags and ours; ours win.
pub fn all_tags(request: &ImageCacheRequest, ours: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = request.tags.clone();
    tags.extend(ours.iter().map(|(k, v)| (k.clone(), v.clone())));
    tags
}

/// The record that a status holds.
pub fn record(status: Option<&ImageCacheStatus>) -> Record<ImageCacheRequest> {
    let Some(status) = status else { return Record::default() };
    Record {
        owner_uid: status.owner_uid.clone(),
        region: status.region_id.clone(),
        last_attempt: status.last_attempt.unwrap_or(0),
        operation: status.operation.as_ref().and_then(stored::operation),
        current: status
            .image_cache_id
            .as_deref()
            .zip(status.applied.as_ref())
            .and_then(|(id, applied)| stored::owned(id, applied)),
        successor: status.successor.as_ref().and_then(|s| stored::owned(&s.image_cache_id, &s.applied)),
        adopting: status.adopting_image_cache_id.as_deref().and_then(|id| CloudId::parse(id).ok()),
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
            && status.image_cache_id.is_some()
            && status.cloud_status.as_deref() == Some(CacheState::Ready.as_str()),
        whole: status.snapshot_id.is_some(),
    }
}

/// The status that says what a plan decided. `conditions` is `None` for a write in the middle of a reconcile, which
/// keeps the old ones; `view` is the newest sighting of the current resource, if any.
pub fn status(
    old: Option<&ImageCacheStatus>,
    record: &Record<ImageCacheRequest>,
    conditions: Option<&[Wanted]>,
    view: Option<&ImageCacheView>,
    generation: i64,
    now: Timestamp,
) -> ImageCacheStatus {
    let old = match old {
        // Of a backup of another object nothing stays but what is not ours.
        Some(old) if old.owner_uid.is_some() && old.owner_uid != record.owner_uid => ImageCacheStatus {
            observed_generation: Some(-1),
            conditions: condition::set(&old.conditions, &[], generation, now),
            ..ImageCacheStatus::default()
        },
        old => old.cloned().unwrap_or_default(),
    };
    let current = record.current.as_ref();
    let same = current.is_some_and(|c| old.image_cache_id.as_deref() == Some(c.id.as_str()));
    let view = view.filter(|v| current.is_some_and(|c| c.id == v.id));
    // Without a sighting, what the status says of the same resource stands.
    let kept = if same && record.seen { old.clone() } else { ImageCacheStatus::default() };
    let seen = view.map(shown);
    ImageCacheStatus {
        observed_generation: conditions.map_or(old.observed_generation, |_| Some(generation)),
        conditions: conditions
            .map_or(old.conditions.clone(), |c| condition::set(&old.conditions, c, generation, now)),
        image_cache_id: current.map(|c| c.id.to_string()),
        applied: current.map(stored::applied),
        successor: record
            .successor
            .as_ref()
            .map(|s| Successor { image_cache_id: s.id.to_string(), applied: stored::applied(s) }),
        adopting_image_cache_id: record.adopting.as_ref().map(ToString::to_string),
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
        last_matched_time: {
            let said = seen.as_ref().map_or(&kept, |seen| seen).last_matched_time.as_ref();
            let counted = old.matches.as_ref().and_then(|matches| matches.last_hit_time.as_ref());
            said.map(|time| time.0).max(counted.map(|time| time.0)).map(Time)
        },
        matches: old.matches,
        ..seen.unwrap_or(kept)
    }
}

/// The status with what was counted of pods since; `None` when there is nothing to be written now.
pub fn matched(
    status: &ImageCacheStatus,
    pending: &Pending,
    generation: i64,
    now: Timestamp,
) -> Option<ImageCacheStatus> {
    if !matches::due_in(status.matches.as_ref(), now).is_zero() {
        return None;
    }
    let matches = matches::add(status.matches.as_ref(), pending, now)?;
    let mut status = status.clone();
    if let Some((matched, reason, message)) = matches::judge(&matches) {
        let wanted = Wanted { type_: ConditionType::Matched, status: Some(matched), reason, message };
        condition::set_beside(&mut status.conditions, &wanted, generation, now);
    }
    let last = status.last_matched_time.map(|time| time.0);
    status.last_matched_time = last.max(matches.last_hit_time.as_ref().map(|time| time.0)).map(Time);
    status.matches = Some(matches);
    Some(status)
}

/// The part of a status that comes from a sighting.
fn shown(view: &ImageCacheView) -> ImageCacheStatus {
    // The API server refuses a status that names an image twice.
    let mut named = BTreeSet::new();
    ImageCacheStatus {
        snapshot_id: view.snapshot_id.clone(),
        container_group_id: view.container_group_id.clone(),
        cloud_status: Some(view.state.as_str().to_owned()),
        progress_percent: view.progress_percent.map(|p| p.clamp(0, 100) / 10 * 10),
        images: view
            .images
            .iter()
            .filter(|image| named.insert(*image))
            .map(|image| CachedImage { reference: image.clone(), digest: digest_of(image) })
            .collect(),
        expiration_time: view.expiration_time.map(time),
        last_matched_time: view.last_matched_time.map(time),
        events: stored::shown_events(&view.events),
        ..ImageCacheStatus::default()
    }
}

/// The digest that a reference names; the cloud tells of no other.
fn digest_of(image: &str) -> Option<String> {
    image.split_once('@').map(|(_, digest)| digest.to_owned()).filter(|digest| !digest.is_empty())
}
