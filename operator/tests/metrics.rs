//! The metrics: each is well-formed, documented, and bounded in its labels.
#![expect(clippy::unwrap_used, reason = "tests, with helpers that clippy does not know as such")]

mod openmetrics;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eci_api::condition::Reason;
use eci_core::cloud::{CloudError, Meaning};
use eci_core::network::State;
use eci_operator::kind::Key;
use eci_operator::metrics::{ListFacts, Metrics};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use openmetrics::Family;

const KIND: &str = "image cache";

fn ready(status: &str, reason: &str) -> [Condition; 1] {
    [Condition {
        type_: "Ready".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        observed_generation: None,
    }]
}

fn key(name: &str) -> Key {
    Key { namespace: "ns".into(), name: name.into() }
}

/// Metrics of which every family has a member.
fn everything() -> Metrics {
    let metrics = Metrics::default();
    let denied = CloudError {
        action: "CreateImageCache",
        meaning: Meaning::Denied,
        code: None,
        message: String::new(),
        request_id: None,
        retry_after: None,
    };
    metrics.called("CreateImageCache", Some(&denied), Duration::from_millis(10));
    metrics.permission("CreateImageCache", false);
    metrics.reconciled(KIND, "rested", Duration::from_millis(1));
    drop(metrics.running(KIND));
    metrics.workers(16);
    metrics.stands(KIND, &key("a"), &ready("True", "Available"));
    metrics.waits(KIND, &key("a"), Some("turn"));
    let list = ListFacts { age: Duration::from_millis(1_500), pages: 2, resources: 21, suspect: false };
    metrics.follow_list(KIND, move || Some(list));
    metrics.follow_waits(|| vec![("CreateImageCache", Duration::from_millis(2_500))]);
    metrics.orphans(KIND, 3);
    metrics.matched(true);
    metrics.started(false, Duration::from_secs(40));
    metrics.v_switches([State::Usable, State::Usable, State::Missing]);
    metrics
}

fn families(metrics: &Metrics) -> BTreeMap<String, Family> {
    openmetrics::read(&metrics.encode().unwrap()).unwrap()
}

/// The value of the sample with these labels.
fn value(
    families: &BTreeMap<String, Family>,
    name: &str,
    suffix: &str,
    labels: &[(&str, &str)],
) -> Option<f64> {
    let wanted: BTreeMap<String, String> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let samples = &families.get(name)?.samples;
    samples.iter().find(|(s, l, _)| s == suffix && *l == wanted).map(|(_, _, value)| *value)
}

#[test]
fn a_scrape_says_what_was_counted_in_the_unit_of_its_name() {
    let page = families(&everything());
    let kind = [("kind", KIND)];
    let action = [("action", "CreateImageCache")];
    for (name, suffix, labels, expected) in [
        ("eci_operator_list_age_seconds", "", &kind[..], 1.5),
        ("eci_operator_list_pages", "", &kind, 2.0),
        ("eci_operator_cloud_resources", "", &kind, 21.0),
        ("eci_operator_list_suspect", "", &kind, 0.0),
        ("eci_operator_orphans", "", &kind, 3.0),
        ("eci_operator_cloud_turn_wait_seconds", "_total", &action, 2.5),
        ("eci_operator_cloud_permission", "", &action, 0.0),
        ("eci_operator_reconciles_running", "", &kind, 0.0),
        ("eci_operator_reconcile_workers", "", &[], 16.0),
        ("eci_operator_image_cache_pods", "_total", &[("result", "hit")], 1.0),
        ("eci_operator_image_cache_pod_start_seconds", "_sum", &[("result", "miss")], 40.0),
        ("eci_operator_vswitches", "", &[("state", "Usable")], 2.0),
        ("eci_operator_vswitches", "", &[("state", "Full")], 0.0),
        ("eci_operator_objects", "", &[("kind", KIND), ("ready", "True"), ("reason", "Available")], 1.0),
        ("eci_operator_objects_waiting", "", &[("kind", KIND), ("waits_for", "turn")], 1.0),
    ] {
        assert_eq!(value(&page, name, suffix, labels), Some(expected), "{name} {labels:?}");
    }
}

#[test]
fn an_object_counts_once_where_it_stands_and_no_more_when_it_is_gone() {
    let metrics = Metrics::default();
    let stand = |metrics: &Metrics, status, reason| {
        let page = families(metrics);
        value(&page, "eci_operator_objects", "", &[("kind", KIND), ("ready", status), ("reason", reason)])
    };
    metrics.stands(KIND, &key("a"), &[]);
    metrics.stands(KIND, &key("b"), &[]);
    assert_eq!(stand(&metrics, "Unknown", "Pending"), Some(2.0));
    metrics.stands(KIND, &key("a"), &ready("False", "NoStock"));
    assert_eq!(
        (stand(&metrics, "Unknown", "Pending"), stand(&metrics, "False", "NoStock")),
        (Some(1.0), Some(1.0))
    );
    metrics.forget(KIND, &key("a"));
    metrics.retain(KIND, |_| false);
    assert!(!families(&metrics).contains_key("eci_operator_objects"));
}

#[test]
fn hostile_names_and_words_make_no_new_series() {
    let metrics = everything();
    for n in 0..2_000 {
        let name = key(&format!("n{n}\"}}\n{n}"));
        let words = ready(&format!("s{n}"), &format!("reason\" {n}\n"));
        metrics.stands(KIND, &name, &words);
        metrics.waits(KIND, &name, Some("list"));
    }
    let page = families(&metrics);
    let words = value(
        &page,
        "eci_operator_objects",
        "",
        &[("kind", KIND), ("ready", "Unknown"), ("reason", "Other")],
    );
    assert_eq!(words, Some(2_000.0));
    assert_eq!(page["eci_operator_objects"].samples.len(), 2);
    for reason in Reason::ALL {
        for status in ["True", "False", "Unknown"] {
            metrics.stands(KIND, &key(&format!("{reason}{status}")), &ready(status, reason.as_str()));
        }
    }
    let most = 3 * (Reason::ALL.len() + 1);
    assert!(families(&metrics)["eci_operator_objects"].samples.len() <= most);
}

/// The rows of a page: name, type and labels.
fn rows(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `eci_operator_"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (name, labels) = (cells[0].trim_end_matches('`'), cells[2].replace('`', ""));
        format!("eci_operator_{name} {} {labels}", cells[1])
    })
    .collect()
}

/// `docs/reference/metrics.md` has one line for each family: name, type, labels, meaning. Those of evictions cannot all
/// be made to appear from here: only that what appears is documented.
#[test]
fn the_reference_has_every_metric_with_its_type_and_labels_and_no_other() {
    let page = include_str!("../../docs/reference/metrics.md");
    let (here, of_evictions) = page.split_once("## Evictions").unwrap();
    let (documented, of_evictions) = (rows(here), rows(of_evictions));
    let real: BTreeSet<String> = families(&everything())
        .iter()
        .map(|(name, family)| {
            let suffix = match family.kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let labels: Vec<&str> = family.labels.iter().map(String::as_str).collect();
            format!("{name}{suffix} {} {}", family.kind, labels.join(", "))
        })
        .filter(|row| !of_evictions.contains(row))
        .collect();
    assert_eq!(documented, real, "left: docs/reference/metrics.md, right: the operator");
}
