//! Statuses by the thousand: those that the operator writes, and those that somebody else might have.

use eci_api::condition::Reason;
use eci_api::image_cache::{
    Applied, CachedImage, CloudEvent, EliminationStrategy, FailedBuilds, ImageCacheRequest, ImageCacheStatus,
    Operation, OsType, Refusal, SecretVersion, Successor,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use crate::at;

fn word() -> impl Strategy<Value = String> {
    "[a-z]{1,8}"
}

/// Text as nobody should write it.
pub(crate) fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), ".{0,80}", Just("\u{202e}\0💥".repeat(500))]
}

fn id() -> impl Strategy<Value = String> {
    "imc-[a-zA-Z0-9._-]{1,60}"
}

fn time() -> impl Strategy<Value = Time> {
    (0..4_000_000_000_i64).prop_map(|s| Time(at(s)))
}

fn secrets() -> impl Strategy<Value = Vec<SecretVersion>> {
    let secret = (word(), word(), word()).prop_map(|(name, uid, resource_version)| SecretVersion {
        name,
        uid,
        resource_version,
    });
    vec(secret, 0..3)
}

fn request() -> impl Strategy<Value = ImageCacheRequest> {
    let texts = (word(), vec(word(), 0..3), vec(word(), 0..3), of(word()), vec(word(), 0..2));
    let numbers = (any::<i32>(), of(any::<i32>()), of(any::<i32>()), of(any::<bool>()), of(any::<bool>()));
    let strategy = of(prop_oneof![Just(EliminationStrategy::Keep), Just(EliminationStrategy::Lru)]);
    let system = of(prop_oneof![Just(OsType::Linux), Just(OsType::Windows)]);
    (texts, numbers, strategy, system, btree_map(word(), word(), 0..3)).prop_map(
        |(texts, numbers, elimination_strategy, os_type, tags)| ImageCacheRequest {
            name: texts.0,
            images: texts.1,
            v_switch_ids: texts.2,
            security_group_id: texts.3,
            pull_secrets: texts.4,
            size_gib: numbers.0,
            retention_days: numbers.1,
            standard_copies: numbers.2,
            flash: numbers.3,
            reuse_layers: numbers.4,
            elimination_strategy,
            os_type,
            tags,
            ..ImageCacheRequest::default()
        },
    )
}

fn applied() -> impl Strategy<Value = Applied> {
    (any::<i64>(), request(), secrets(), any::<i64>(), any::<[bool; 2]>()).prop_map(
        |(attempt, request, secret_versions, generation, [updating, broken])| Applied {
            attempt,
            request,
            secret_versions,
            generation,
            updating,
            broken,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    (any::<i64>(), any::<i64>(), "[!-~]{1,64}", time(), request(), secrets(), any::<i64>()).prop_map(
        |(attempt, sends, token, start_time, request, secret_versions, generation)| Operation {
            attempt,
            sends,
            token,
            start_time,
            request,
            secret_versions,
            generation,
        },
    )
}

fn failed() -> impl Strategy<Value = FailedBuilds> {
    (any::<i32>(), any::<i64>(), any::<i64>(), time(), of(hostile())).prop_map(
        |(count, generation, attempt, last_time, message)| FailedBuilds {
            count,
            generation,
            attempt,
            last_time,
            message,
        },
    )
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let reason = prop::sample::select(Reason::ALL);
    (reason, hostile(), any::<i32>(), (time(), time(), of(time())), any::<i64>(), secrets()).prop_map(
        |(reason, message, count, (last_time, first_time, not_before_time), generation, secret_versions)| {
            Refusal {
                reason: reason.as_str().into(),
                message,
                count,
                last_time,
                not_before_time,
                first_time,
                generation,
                secret_versions,
            }
        },
    )
}

fn condition() -> impl Strategy<Value = Condition> {
    let type_ = prop::sample::select(vec!["Ready", "Stalled", "Reconciling", "example.com/Theirs"]);
    (type_, prop::sample::select(vec!["True", "False", "Unknown"]), time()).prop_map(
        |(type_, status, time)| Condition {
            type_: type_.into(),
            status: status.into(),
            reason: "Available".into(),
            message: "Some message.".into(),
            last_transition_time: time,
            observed_generation: Some(1),
        },
    )
}

fn event() -> impl Strategy<Value = CloudEvent> {
    (word(), word(), hostile(), any::<i32>(), of(time())).prop_map(
        |(type_, reason, message, count, last_time)| CloudEvent { type_, reason, message, count, last_time },
    )
}

/// The part of a status that comes from a sighting of the resource.
fn sighting() -> impl Strategy<Value = ImageCacheStatus> {
    let words = (of(word()), of(word()), word(), of((0..=10).prop_map(|n| n * 10)));
    (words, vec(word(), 0..3), of(time()), of(time())).prop_map(|(words, images, expiration, matched)| {
        ImageCacheStatus {
            snapshot_id: words.0,
            container_group_id: words.1,
            cloud_status: Some(words.2),
            progress_percent: words.3,
            images: images.into_iter().map(|reference| CachedImage { reference, digest: None }).collect(),
            expiration_time: expiration,
            last_matched_time: matched,
            ..ImageCacheStatus::default()
        }
    })
}

/// What the operator writes.
pub(crate) fn status() -> impl Strategy<Value = ImageCacheStatus> {
    let resource = of((id(), applied(), of(sighting())));
    let successor = of((id(), applied()));
    let head = (of(any::<i64>()), vec(condition(), 0..3), of(1..=i64::MAX), of(word()), of(word()));
    let tail = (of(failed()), of(refusal()), of(time()), of(word()), vec(event(), 0..5), of(time()));
    (head, resource, successor, vec(id(), 0..3), of(operation()), tail).prop_map(
        |(head, resource, successor, retiring, operation, tail)| {
            let (id, applied, sighting) = match resource {
                Some((id, applied, sighting)) => (Some(id), Some(applied), sighting),
                None => (None, None, None),
            };
            ImageCacheStatus {
                observed_generation: head.0,
                conditions: head.1,
                last_attempt: head.2,
                owner_uid: head.3,
                region_id: head.4,
                image_cache_id: id,
                applied,
                successor: successor.map(|(image_cache_id, applied)| Successor { image_cache_id, applied }),
                retiring,
                operation,
                failed_builds: tail.0,
                refusal: tail.1,
                last_rebuild_time: tail.2,
                lost_time: tail.5,
                last_handled_request: tail.3,
                events: tail.4,
                ..sighting.unwrap_or_default()
            }
        },
    )
}

/// What somebody else might have written: every text may be anything, and parts may be missing.
pub(crate) fn foreign() -> impl Strategy<Value = ImageCacheStatus> {
    let texts = (of(hostile()), of(hostile()), hostile(), hostile(), vec(hostile(), 0..3));
    (status(), sighting(), texts, any::<i64>(), any::<bool>()).prop_map(
        |(status, sighting, texts, attempt, cut)| {
            let mut status = ImageCacheStatus {
                image_cache_id: texts.0,
                cloud_status: texts.1,
                retiring: texts.4,
                last_attempt: Some(attempt),
                snapshot_id: sighting.snapshot_id,
                progress_percent: sighting.progress_percent,
                expiration_time: sighting.expiration_time,
                ..status
            };
            if let Some(operation) = &mut status.operation {
                operation.token = texts.2;
            }
            if let Some(refusal) = &mut status.refusal {
                refusal.reason.clone_from(&texts.3);
            }
            if let Some(successor) = &mut status.successor {
                successor.image_cache_id = texts.3;
            }
            if cut {
                status.applied = None;
            }
            status
        },
    )
}
