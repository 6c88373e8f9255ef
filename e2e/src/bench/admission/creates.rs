//! What a create costs on a real API server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use eci_core::profile::PROFILES_ANNOTATION;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{percentile, template};
use crate::stack::get;
use crate::testbed::Stopwatch;

/// Pod creates at once, where as many are made as can be.
pub(super) const AT_ONCE: usize = 4;
/// Pod creates a second, where they come at a pace.
pub(super) const PACE: u32 = 200;
/// Most creates under way at a pace: beyond that they wait, for the machine cannot keep it.
const UNDER_WAY: usize = 64;
/// Pods before each measurement, which are not counted.
const WARM_UP: usize = 40;

/// How creates come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Load {
    /// So many at once that each follows another.
    AtOnce,
    /// One after another by the clock, whatever becomes of those before.
    Paced,
}

/// Pod creates of one row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) load: Load,
    pub(super) pods: usize,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Pods that carry the mark of a profile.
    pub(super) marked: usize,
    /// Questions that the operator answered; `None` when it is dead.
    pub(super) questions: Option<u64>,
}

pub(super) fn is_marked(pod: &Pod) -> bool {
    pod.annotations().contains_key(PROFILES_ANNOTATION)
}

/// The questions that an operator with this address has answered about pods.
async fn questions(health: &str) -> Result<u64> {
    let (_, metrics) = get(health, "/metrics").await?;
    let lines = metrics.lines().filter(|line| line.starts_with("eci_operator_admission_requests_total{"));
    let of_pods = lines.filter(|line| line.contains("resource=\"pods\""));
    let numbers = of_pods.filter_map(|line| line.rsplit(' ').next());
    numbers.map(|number| number.parse::<u64>().with_context(|| format!("{number} is no count"))).sum()
}

async fn create(pods: &Api<Pod>, name: &str) -> Result<(Duration, bool)> {
    let pod = serde_json::from_value(template(name))?;
    let start = Stopwatch::start();
    let pod = pods.create(&PostParams::default(), &pod).await?;
    Ok((start.elapsed(), is_marked(&pod)))
}

/// Creates pods, some at once, each as soon as one before it is there.
async fn at_once(pods: &Api<Pod>, count: usize, prefix: &str) -> Result<Vec<(Duration, bool)>> {
    let next = AtomicUsize::new(0);
    let maker = || async {
        let mut made = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return anyhow::Ok(made);
            }
            made.push(create(pods, &format!("{prefix}-{n}")).await?);
        }
    };
    let made = futures::future::try_join_all((0..AT_ONCE).map(|_| maker())).await?;
    Ok(made.into_iter().flatten().collect())
}

/// Creates pods at [`PACE`].
async fn paced(pods: &Api<Pod>, count: usize) -> Result<Vec<(Duration, bool)>> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / PACE);
    let (mut under_way, mut made) = (JoinSet::new(), Vec::new());
    for n in 0..count {
        beat.tick().await;
        if under_way.len() >= UNDER_WAY
            && let Some(done) = under_way.join_next().await
        {
            made.push(done??);
        }
        let pods = pods.clone();
        under_way.spawn(async move { create(&pods, &format!("pod-{n}")).await });
    }
    while let Some(done) = under_way.join_next().await {
        made.push(done??);
    }
    Ok(made)
}

/// Creates pods and deletes them again. `operator` is the address of its metrics, as long as it lives.
pub(super) async fn row(
    pods: &Api<Pod>,
    name: &'static str,
    load: Load,
    count: usize,
    operator: Option<&str>,
) -> Result<Row> {
    at_once(pods, WARM_UP, "warm").await?;
    let before = match operator {
        Some(health) => questions(health).await?,
        None => 0,
    };
    let start = Stopwatch::start();
    let made = match load {
        Load::AtOnce => at_once(pods, count, "pod").await?,
        Load::Paced => paced(pods, count).await?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let questions = match operator {
        Some(health) => Some(questions(health).await? - before),
        None => None,
    };
    pods.delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default()).await?;
    let mut times: Vec<_> = made.iter().map(|(time, _)| *time).collect();
    let mut ms = |percent| percentile(&mut times, percent).as_secs_f64() * 1e3;
    Ok(Row {
        name,
        load,
        pods: made.len(),
        per_second: number(made.len()) / seconds,
        p50_ms: ms(50),
        p99_ms: ms(99),
        marked: made.iter().filter(|(_, marked)| *marked).count(),
        questions,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a number of pods")]
fn number(count: usize) -> f64 {
    count as f64
}
