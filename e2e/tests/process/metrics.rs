//! What a scraper sees of the running operator.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, StackOptions, get};
use eci_sim::faults::{Fault, Seen};
use serde_json::json;

use crate::openmetrics::{self, Family};
use crate::{LATER, SOON};

async fn scrape(stack: &Stack) -> Result<BTreeMap<String, Family>> {
    let (status, page) = get(stack.health(), "/metrics").await?;
    ensure!(status == 200, "{status} {page}");
    openmetrics::read(&page).map_err(|wrong| anyhow!("{wrong}"))
}

/// The sum of the samples of a family that have all of these labels.
fn sum(page: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let samples = &page.get(name)?.samples;
    let fits = |have: &BTreeMap<String, String>| {
        labels.iter().all(|(name, value)| have.get(*name).is_some_and(|v| v == value))
    };
    let values: Vec<f64> = samples
        .iter()
        .filter(|(suffix, have, _)| (suffix.is_empty() || suffix == "_total") && fits(have))
        .map(|(_, _, value)| *value)
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Waits until a metric has this value.
pub(crate) async fn shows(stack: &Stack, name: &str, labels: &[(&str, &str)], expected: f64) -> Result<()> {
    eventually(&format!("{name} {labels:?} is {expected}"), LATER, || async move {
        let page = scrape(stack).await.map_err(|error| error.to_string())?;
        let seen = sum(&page, name, labels);
        if seen == Some(expected) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
}

#[tokio::test]
async fn a_scrape_is_well_formed_documented_and_true_and_more_objects_make_no_more_series() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("scraped").await?;
    let spec = json!({ "images": ["registry.example.com/shop/web:1"] });
    caches.create("first", spec.clone()).await?;
    caches.says("first", "True", "Available", SOON).await?;
    let kind = ("kind", "image cache");
    shows(&stack, "eci_operator_objects", &[kind, ("ready", "True"), ("reason", "Available")], 1.0).await?;
    shows(&stack, "eci_operator_cloud_resources", &[kind], 1.0).await?;

    let documented = include_str!("../../../docs/reference/metrics.md");
    let page = scrape(&stack).await?;
    for (name, family) in &page {
        ensure!(documented.contains(&format!("| `{name}")), "{name} is not in docs/reference/metrics.md");
        for label in &family.labels {
            let row =
                documented.lines().find(|row| row.starts_with(&format!("| `{name}"))).unwrap_or_default();
            ensure!(row.contains(&format!("`{label}`")), "{name} has a label {label} that is not documented");
        }
    }
    for (name, labels) in [
        ("eci_operator_leader", &[][..]),
        ("eci_operator_reconciles", &[kind, ("outcome", "rested")]),
        ("eci_operator_cloud_calls", &[("action", "CreateImageCache"), ("answer", "Ok")]),
        ("eci_operator_cloud_permission", &[("action", "CreateImageCache")]),
        ("eci_operator_cloud_permission", &[("action", "DescribeImageCaches")]),
        ("eci_operator_list_pages", &[kind]),
    ] {
        ensure!(sum(&page, name, labels).is_some_and(|value| value >= 1.0), "{name} {labels:?}: {page:?}");
    }

    for n in 0..20 {
        caches.create(&format!("more-{n}"), spec.clone()).await?;
    }
    shows(&stack, "eci_operator_objects", &[kind, ("ready", "True"), ("reason", "Available")], 21.0).await?;
    let (before, now) = (&page["eci_operator_objects"], scrape(&stack).await?);
    ensure!(now["eci_operator_objects"].samples.len() == before.samples.len(), "{now:?}");
    for (name, family) in &now {
        for (_, labels, _) in &family.samples {
            let text = format!("{labels:?}");
            ensure!(!text.contains("more-") && !text.contains("imc-"), "{name} names an object: {text}");
        }
    }
    let waited = sum(&now, "eci_operator_cloud_turn_wait_seconds", &[("action", "CreateImageCache")]);
    ensure!(waited.is_some_and(|seconds| seconds > 0.0), "20 creates at 2 a second waited {waited:?} s");
    permission(&stack).await
}

/// A permission that is taken away shows when it bites, and when it is back.
async fn permission(stack: &Stack) -> Result<()> {
    let refused = Fault {
        answer: Seen::Error {
            code: "Forbidden.RAM".into(),
            status: Some(403),
            message: Some("User not authorized to operate on the specified resource.".into()),
            retry_after_ms: None,
        },
        ..Fault::default()
    };
    let action = [("action", "DescribeImageCaches")];
    stack.cloud().add_fault(&refused.on("DescribeImageCaches")).await?;
    shows(stack, "eci_operator_cloud_permission", &action, 0.0).await?;
    let (status, body) = get(stack.health(), "/readyz").await?;
    ensure!(status == 200 && body.contains("the cloud denies DescribeImageCaches"), "{status} {body}");
    let log = stack.operator().map(|operator| operator.log_tail(100_000)).unwrap_or_default();
    ensure!(log.contains("ram-policy"), "the log does not say what to grant");
    stack.cloud().clear_faults().await?;
    shows(stack, "eci_operator_cloud_permission", &action, 1.0).await
}
