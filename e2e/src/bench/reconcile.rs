//! Many ImageCaches: from apply to Ready, at rest, changed in place, deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::image_cache::ImageCache;
use eci_sim::world::call::Effect;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use serde::Serialize;
use serde_json::json;

use super::measure::{Meter, Phase, writes};
use super::table;
use crate::stack::{Caches, Stack, StackOptions, condition};

/// How long the operator is watched at rest: two polls at its default interval.
const REST: Duration = Duration::from_mins(1);
/// It rests when it wrote nothing for so long.
const QUIET: Duration = Duration::from_secs(10);
/// How often the objects are counted.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many looks without any progress are a failure.
const LOOKS: u32 = 240;
/// Requests to the API server at once.
const AT_ONCE: usize = 16;
/// What the edit sets.
const RETENTION_DAYS: i32 = 30;

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    caches: usize,
    /// Whether the programs were built without optimization, which matters for memory and time.
    debug_build: bool,
    phases: Vec<Phase>,
    /// Highest number of caches that the cloud made for one object.
    creates_per_cache: usize,
    /// Requests that the API server answered the operator with 403.
    forbidden: Vec<String>,
    /// Invariants that do not hold.
    broken: Vec<String>,
}

/// Measures with so many caches, prints a table and writes `target/bench/reconcile.json`; whether every invariant
/// held: one create for each cache, no write at rest, no request beyond the chart's permissions.
pub async fn run(caches: usize) -> Result<bool> {
    println!(
        "bench reconcile: {caches} ImageCaches. The operator sends 2 changes a second to the cloud, so this takes"
    );
    println!("about {} minutes, most of them spent waiting.", caches.div_ceil(40) + 4);
    let options = StackOptions {
        log_level: "info",
        // As in production: a change waits for its turn for at most half of the time-out.
        request_timeout: "10s",
        resolve_window: "300s",
        ..StackOptions::default()
    };
    let stack = Stack::start(options).await?;
    stack.cloud().settings(json!({ "maxImageCaches": caches + 1, "updateMs": 2_000 })).await?;
    let bench = Bench { objects: stack.namespace("bench").await?, stack };
    let mut report = bench.measure(caches).await?;
    report.broken = broken(&report);

    println!("\n{}", table::render(&report.phases));
    println!("creates per cache: {}", report.creates_per_cache);
    println!("forbidden requests: {}", report.forbidden.len());
    for broken in &report.broken {
        println!("FAILED: {broken}");
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&dir).context("cannot make target/bench")?;
    let text = serde_json::to_string_pretty(&report)?;
    fs::write(dir.join("reconcile.json"), text).context("cannot write target/bench/reconcile.json")?;
    println!("written to target/bench/reconcile.json");
    Ok(report.broken.is_empty())
}

struct Bench {
    stack: Stack,
    objects: Caches,
}

impl Bench {
    async fn measure(&self, caches: usize) -> Result<Report> {
        let mut phases = Vec::new();
        let mut there = 0;
        for goal in [1, 100, caches] {
            // The middle one is left out of a short run.
            if goal <= there || goal > caches {
                continue;
            }
            phases.push(self.phase(format!("apply {}", goal - there), self.apply(there, goal)).await?);
            self.settle().await?;
            phases.push(self.phase(format!("rest {goal}"), rest()).await?);
            there = goal;
        }
        phases.push(self.phase(format!("edit {caches}"), self.edit(caches)).await?);
        let creates_per_cache = self.creates_per_cache(caches).await?;
        phases.push(self.phase(format!("delete {caches}"), self.delete(caches)).await?);
        ensure!(self.stack.cloud().caches().await?.is_empty(), "caches are left in the cloud");
        let forbidden = self.stack.forbidden()?;
        let debug_build = cfg!(debug_assertions);
        Ok(Report { caches, debug_build, phases, creates_per_cache, forbidden, broken: Vec::new() })
    }

    async fn phase(&self, name: String, what: impl Future<Output = Result<()>>) -> Result<Phase> {
        let meter = Meter::start(&self.stack).await?;
        what.await.with_context(|| format!("phase {name:?}"))?;
        let phase = meter.end(&self.stack, name).await?;
        println!("{:>7.1} s  {}", phase.seconds, phase.name);
        Ok(phase)
    }

    /// From applied to Ready.
    async fn apply(&self, from: usize, to: usize) -> Result<()> {
        let objects = &self.objects;
        each(from, to, async |name| {
            objects.create(&name, json!({ "images": [format!("registry.example.com/shop/{name}:1")] })).await
        })
        .await?;
        let ready =
            |cache: &ImageCache| condition(cache, "Ready").is_some_and(|(status, _)| status == "True");
        self.until("Ready", to, |all| all.iter().filter(|cache| ready(cache)).count()).await
    }

    /// A change in place, until the cloud has it.
    async fn edit(&self, count: usize) -> Result<()> {
        let objects = &self.objects;
        let patch = json!({ "spec": { "retentionDays": RETENTION_DAYS } });
        each(0, count, async |name| objects.patch(&name, patch.clone()).await).await?;
        let edited = |cache: &ImageCache| {
            let applied = cache.status.as_ref().and_then(|status| status.applied.as_ref());
            applied.is_some_and(|a| a.request.retention_days == Some(RETENTION_DAYS) && !a.updating)
                && condition(cache, "Ready").is_some_and(|(status, _)| status == "True")
                && condition(cache, "Reconciling").is_none()
                && condition(cache, "Updating").is_none()
        };
        self.until("changed", count, |all| all.iter().filter(|cache| edited(cache)).count()).await
    }

    /// Until the objects are gone, and with them what the cloud has of them.
    async fn delete(&self, count: usize) -> Result<()> {
        let objects = &self.objects;
        each(0, count, async |name| objects.delete(&name).await).await?;
        self.until("gone", count, |all| count - all.len()).await
    }

    /// Waits until `count` says that all are there. There is no limit on the time, only on standing still.
    async fn until(&self, what: &str, goal: usize, count: impl Fn(&[ImageCache]) -> usize) -> Result<()> {
        let (mut best, mut idle) = (0, 0);
        loop {
            let all = self.objects.api().list(&ListParams::default()).await?;
            let now = count(&all.items);
            if now >= goal {
                return Ok(());
            }
            idle = if now > best { 0 } else { idle + 1 };
            best = best.max(now);
            ensure!(
                idle < LOOKS,
                "{now} of {goal} ImageCaches are {what}, and none more for {:?}",
                LOOK_EVERY * LOOKS
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the operator has nothing more to write.
    async fn settle(&self) -> Result<()> {
        for _ in 0..LOOKS / 10 {
            let meter = Meter::start(&self.stack).await?;
            tokio::time::sleep(QUIET).await;
            if writes(&meter.writes(&self.stack)?) == 0 {
                return Ok(());
            }
        }
        anyhow::bail!("the operator does not stop writing although every ImageCache is Ready")
    }

    /// The highest number; an object without any is an error.
    async fn creates_per_cache(&self, caches: usize) -> Result<usize> {
        let mut made: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.stack.cloud().ledger().await? {
            if let Effect::Created { spec, .. } = entry.effect {
                *made.entry(spec.name).or_default() += 1;
            }
        }
        ensure!(made.len() == caches, "the cloud made caches for {} of {caches} objects", made.len());
        Ok(made.into_values().max().unwrap_or_default())
    }
}

/// Does something for each object, some at once.
async fn each<T>(from: usize, to: usize, what: impl AsyncFn(String) -> Result<T>) -> Result<()> {
    let names = (from..to).map(|n| what(format!("cache-{n:04}")));
    stream::iter(names).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}

async fn rest() -> Result<()> {
    tokio::time::sleep(REST).await;
    Ok(())
}

fn broken(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    if report.creates_per_cache != 1 {
        broken.push(format!("the cloud made {} caches for one object", report.creates_per_cache));
    }
    for phase in report.phases.iter().filter(|phase| phase.name.starts_with("rest ")) {
        let count = writes(&phase.kubernetes_writes);
        if count > 0 {
            broken.push(format!("{}: {count} Kubernetes writes: {:?}", phase.name, phase.kubernetes_writes));
        }
    }
    if !report.forbidden.is_empty() {
        broken.push(format!("the API server refused with 403: {:?}", report.forbidden));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(creates_per_cache: usize, at_rest: &[(&str, u64)], forbidden: &[&str]) -> Report {
        let phase = |name: &str, writes: &[(&str, u64)]| Phase {
            name: name.to_owned(),
            seconds: 60.0,
            cloud_calls: BTreeMap::new(),
            kubernetes_writes: writes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            rss_kib: 0,
            peak_rss_kib: 0,
        };
        Report {
            caches: 1,
            debug_build: true,
            phases: vec![phase("apply 1", &[("imagecaches/status patch", 4)]), phase("rest 1", at_rest)],
            creates_per_cache,
            forbidden: forbidden.iter().map(|text| (*text).to_owned()).collect(),
            broken: Vec::new(),
        }
    }

    #[test]
    fn work_may_write_and_rest_may_only_hold_the_lease() {
        assert!(broken(&report(1, &[("leases patch", 30)], &[])).is_empty());
        let found = broken(&report(1, &[("leases patch", 30), ("imagecaches/status patch", 1)], &[]));
        assert!(found.len() == 1 && found[0].starts_with("rest 1: 1 Kubernetes writes"), "{found:?}");
    }

    #[test]
    fn a_second_create_and_a_forbidden_request_break_it() {
        let found = broken(&report(2, &[], &["\"list\" /api/v1/secrets"]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("2 caches for one object") && found[1].contains("secrets"), "{found:?}");
    }
}
