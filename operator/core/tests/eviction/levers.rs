//! What would help a workload, from what its pods are like.

use std::sync::Arc;
use std::time::Duration;

use eci_core::eviction::levers::{Crowd, IMAGES_LIMIT, STARTS_LIMIT, counts_disruptions, start};
use eci_core::eviction::{Pod, PodRef};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::PodFailurePolicy;
use serde_json::{Value, json};

/// A ready pod of these images that took so many seconds to start.
fn pod(seconds: i64, from_cache: bool, images: &[&str]) -> Pod {
    let created = Timestamp::from_second(1_000_000).unwrap();
    Pod {
        created: Some(created),
        ready_since: Some(created.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap()),
        images: images.iter().map(|image| Arc::from(*image)).collect(),
        from_cache,
        ..Pod::new(PodRef::new("shop", "web", "u"))
    }
}

fn crowd(pods: &[Pod]) -> Crowd {
    let mut crowd = Crowd::default();
    for pod in pods {
        crowd.add(pod, None);
    }
    crowd
}

fn words(images: &[Arc<str>]) -> Vec<&str> {
    images.iter().map(|image| &**image).collect()
}

#[test]
fn images_of_pods_that_started_from_a_cache_are_cached() {
    let both = crowd(&[pod(9, false, &["b", "a"]), pod(9, false, &["a", "c"]), pod(3, true, &["d"])]);
    assert_eq!(words(&both.uncached()), ["a", "b", "c"]);
    assert_eq!(words(&crowd(&[pod(3, true, &["a"])]).uncached()), [""; 0]);
    // The vendor has not spoken yet.
    let starting = Pod { ready: false, ..pod(9, false, &["a"]) };
    assert_eq!(words(&crowd(&[starting]).uncached()), [""; 0]);
}

#[test]
fn a_pull_is_what_starts_without_a_cache_take_longer() {
    let of = |pulled: &[i64], cached: &[i64]| {
        let pulled = pulled.iter().map(|seconds| pod(*seconds, false, &["a"]));
        let cached = cached.iter().map(|seconds| pod(*seconds, true, &["a"]));
        crowd(&pulled.chain(cached).collect::<Vec<_>>()).pull().map(|pull| pull.as_secs())
    };
    for (pulled, cached, expected) in [
        (&[40, 41, 42][..], &[10, 11, 12][..], Some(30)),
        (&[40, 41], &[10, 11, 12], None),
        (&[40, 41, 42], &[10, 11], None),
        (&[10, 10, 10], &[10, 10, 10], None),
        (&[5, 5, 5], &[10, 10, 10], None),
        (&[], &[], None),
    ] {
        assert_eq!(of(pulled, cached), expected, "{pulled:?} {cached:?}");
    }
}

#[test]
fn zones_are_known_when_the_node_of_every_pod_says_one() {
    let zone = |name: &str| Some(Arc::<str>::from(name));
    for (zones, expected) in [
        (vec![], None),
        (vec![zone("k"), zone("k")], Some(1)),
        (vec![zone("k"), zone("j")], Some(2)),
        (vec![zone("k"), None], None),
    ] {
        let mut crowd = Crowd::default();
        for zone in &zones {
            crowd.add(&pod(1, true, &[]), zone.as_ref());
        }
        assert_eq!(crowd.zones(), expected, "{zones:?}");
    }
}

#[test]
fn what_is_kept_has_bounds() {
    let many: Vec<Pod> =
        (0..10 * STARTS_LIMIT).map(|n| pod(9, false, &[format!("image-{n}").as_str()])).collect();
    let crowd = crowd(&many);
    assert_eq!(crowd.uncached().len(), IMAGES_LIMIT);
    assert!(format!("{crowd:?}").len() < 10_000);
}

#[test]
fn a_start_is_of_a_pod_that_is_ready_for_the_first_time() {
    assert_eq!(start(&pod(9, true, &[])), Some(Duration::from_secs(9)));
    assert_eq!(start(&pod(-9, true, &[])), None);
    assert_eq!(start(&pod(31 * 60, true, &[])), None);
    assert_eq!(start(&Pod { ready: false, ..pod(9, true, &[]) }), None);
    assert_eq!(start(&Pod { created: None, ..pod(9, true, &[]) }), None);
}

#[test]
fn the_first_rule_about_disruptions_decides_what_a_job_makes_of_an_eviction() {
    let on = |action: &str, type_: &str, status: Option<&str>| {
        let pattern = status.map_or(json!({ "type": type_ }), |s| json!({ "type": type_, "status": s }));
        json!({ "action": action, "onPodConditions": [pattern] })
    };
    let code = json!({ "action": "FailJob", "onExitCodes": { "operator": "In", "values": [42] } });
    let counts = |rules: &[Value]| {
        let policy: PodFailurePolicy = serde_json::from_value(json!({ "rules": rules })).unwrap();
        counts_disruptions(Some(&policy))
    };
    assert!(counts_disruptions(None));
    for (rules, expected) in [
        (vec![], true),
        (vec![code.clone()], true),
        (vec![on("Ignore", "DisruptionTarget", None)], false),
        (vec![code, on("Ignore", "DisruptionTarget", Some("True"))], false),
        (vec![on("Ignore", "DisruptionTarget", Some("False"))], true),
        (vec![on("Ignore", "ConfigIssue", None)], true),
        (vec![on("Count", "DisruptionTarget", None), on("Ignore", "DisruptionTarget", None)], true),
        (vec![on("FailJob", "DisruptionTarget", None)], true),
    ] {
        assert_eq!(counts(&rules), expected, "{rules:?}");
    }
}
