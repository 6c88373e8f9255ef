use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use super::{Ledger, Verdict, percentile};
use crate::vendor::PodRef;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pod(name: &str, change: serde_json::Value) -> Pod {
    let mut pod = json!({
        "metadata": { "namespace": "a", "name": name, "uid": format!("uid-{name}"), "labels": { "app": "web" } },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    merge(&mut pod, change);
    serde_json::from_value(pod).unwrap()
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    match (into, from) {
        (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn terminating(name: &str) -> Pod {
    pod(name, json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }))
}

fn released(name: &str) -> Pod {
    pod(name, json!({ "status": { "phase": "Failed", "reason": "BidFailed" } }))
}

fn budget(desired: i32, allowed: i32) -> PodDisruptionBudget {
    serde_json::from_value(json!({
        "metadata": { "namespace": "a", "name": "web" },
        "spec": { "selector": { "matchLabels": { "app": "web" } } },
        "status": {
            "desiredHealthy": desired, "disruptionsAllowed": allowed, "currentHealthy": 0, "expectedPods": 3,
        },
    }))
    .unwrap()
}

/// Three ready pods and a budget that wants two.
fn three() -> (Ledger, Vec<PodRef>) {
    let mut ledger = Ledger::default();
    let names = ["p1", "p2", "p3"];
    for name in names {
        ledger.pod(at(1), &pod(name, json!({ "status": { "phase": "Pending" } })));
        ledger.pod(at(2), &pod(name, json!({})));
    }
    ledger.budget(&budget(2, 1));
    ledger.begin(at(10));
    (ledger, names.map(|name| PodRef::of(&pod(name, json!({})))).into())
}

fn healthy(ledger: &Ledger) -> (i32, i32) {
    ledger.budgets().map(|(_, floor)| (floor.healthy, floor.least)).next().unwrap()
}

#[test]
fn an_eviction_within_the_budget_is_no_breach_and_one_more_is() {
    let (mut ledger, doomed) = three();
    assert_eq!(healthy(&ledger), (3, 3));
    ledger.pod(at(11), &terminating("p1"));
    ledger.pod(at(12), &terminating("p1"));
    assert_eq!((healthy(&ledger), ledger.breaches().len()), ((2, 2), 0));
    ledger.pod(at(13), &terminating("p2"));
    assert_eq!((healthy(&ledger), ledger.breaches().len()), ((1, 1), 1));
    let breach = &ledger.breaches()[0];
    assert_eq!((breach.pod.name.as_str(), breach.healthy, breach.desired, breach.at), ("p2", 1, 2, at(13)));
    let verdict = Verdict::of(&ledger, &doomed);
    assert_eq!(verdict.evicted, [at(1), at(3)]);
    assert_eq!(verdict.untouched, [doomed[2].clone()]);
    assert_eq!(verdict.slack, Some(-1));
    assert_eq!(verdict.evicted_by(at(2)), 1);
}

#[test]
fn an_unready_pod_costs_no_budget() {
    let (mut ledger, _) = three();
    let unready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
    ledger.pod(at(11), &pod("p1", unready.clone()));
    ledger.pod(at(12), &pod("p2", unready.clone()));
    let mut gone = unready;
    merge(&mut gone, json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } }));
    ledger.pod(at(13), &pod("p1", gone));
    assert_eq!((healthy(&ledger), ledger.breaches().len()), ((1, 1), 0));
}

#[test]
fn a_pod_that_vanishes_without_a_deletion_timestamp_was_terminated_all_the_same() {
    let (mut ledger, doomed) = three();
    ledger.pod_gone(at(12), &pod("p1", json!({})));
    ledger.pod_gone(at(13), &pod("p2", json!({})));
    assert_eq!(ledger.breaches().len(), 1);
    assert_eq!(Verdict::of(&ledger, &doomed).evicted, [at(2), at(3)]);
    // And one that a list no longer has, since the watch was lost.
    ledger.list(at(14), &[pod("p4", json!({}))]);
    assert_eq!(Verdict::of(&ledger, &doomed).evicted, [at(2), at(3), at(4)]);
}

#[test]
fn in_a_list_replacements_count_before_the_pods_that_they_replaced_went() {
    let (mut ledger, doomed) = three();
    ledger.budget(&budget(2, 1));
    // Seen one after the other, the second of them would be one too many: as by who was blind meanwhile, it is none.
    let seen = [
        terminating("p1"),
        terminating("p2"),
        pod("p3", json!({})),
        pod("p4", json!({})),
        pod("p5", json!({})),
    ];
    ledger.list(at(12), &seen);
    assert_eq!(Verdict::of(&ledger, &doomed).evicted, [at(2), at(2)]);
    assert!(ledger.breaches().is_empty(), "{:?}", ledger.breaches());
    ledger.list(at(13), &[terminating("p3"), terminating("p4"), pod("p5", json!({}))]);
    assert_eq!(ledger.breaches().len(), 1);
}

#[test]
fn a_released_pod_is_lost_only_if_nothing_evicted_it_before() {
    let (mut ledger, doomed) = three();
    ledger.pod(at(11), &terminating("p1"));
    let mut late = released("p1");
    late.metadata.deletion_timestamp = terminating("p1").metadata.deletion_timestamp;
    ledger.pod(at(12), &late);
    ledger.pod(at(12), &released("p2"));
    assert_eq!(healthy(&ledger), (1, 1), "a failed pod serves nobody, whatever its conditions say");
    // Somebody cleans up afterwards: that saves nothing.
    ledger.pod_gone(at(20), &released("p2"));
    let verdict = Verdict::of(&ledger, &doomed);
    assert_eq!(verdict.evicted, [at(1)]);
    assert_eq!(verdict.lost, [doomed[1].clone()]);
    assert_eq!(verdict.untouched, [doomed[2].clone()]);
    assert!(verdict.breaches.is_empty(), "the vendor's release is no eviction");
}

#[test]
fn a_pod_that_was_not_announced_and_goes_is_a_wrong_one() {
    let (mut ledger, doomed) = three();
    ledger.pod(at(11), &terminating("p3"));
    let verdict = Verdict::of(&ledger, &doomed[..2]);
    assert_eq!(verdict.wrong, [doomed[2].clone()]);
    assert_eq!(verdict.untouched.len(), 2);
}

#[test]
fn a_budget_opens_when_it_allows_something_after_it_allowed_nothing() {
    let (mut ledger, _) = three();
    for (version, allowed) in [("20", 0), ("21", 1), ("22", 2), ("23", 0), ("24", 2)] {
        let mut budget = budget(2, allowed);
        budget.metadata.resource_version = Some(version.to_owned());
        ledger.budget(&budget);
    }
    let openings = |ledger: &Ledger| ledger.budgets().next().unwrap().1.openings.clone();
    assert_eq!(openings(&ledger), ["21", "24"], "and not the version in which it was first seen");
    ledger.begin(at(20));
    assert_eq!(openings(&ledger), Vec::<String>::new());
}

#[test]
fn a_pod_with_other_labels_leaves_its_budget() {
    let (mut ledger, _) = three();
    ledger.pod(at(11), &pod("p1", json!({ "metadata": { "labels": { "app": "other" } } })));
    assert_eq!(healthy(&ledger), (2, 2));
    ledger.pod(at(12), &pod("p1", json!({})));
    assert_eq!(healthy(&ledger), (3, 2));
}

#[test]
fn percentiles_are_values_that_were_there() {
    let times: Vec<Duration> = (1..=200).map(at).collect();
    assert_eq!(percentile(&times, 99), Some(at(198)));
    assert_eq!(percentile(&times, 50), Some(at(100)));
    assert_eq!(percentile(&times[..1], 99), Some(at(1)));
    assert_eq!(percentile(&[], 50), None);
}
