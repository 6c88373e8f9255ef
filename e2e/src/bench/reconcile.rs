//! Many ImageCaches: from apply to Ready, at rest, changed in place, deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::image_cache::ImageCache;
use eci_core::cloud::PAGE_SIZE;
use eci_sim::world::call::Effect;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use serde::Serialize;
use serde_json::json;

use super::measure::{Counts, Meter, Phase, writes};
use super::table;
use crate::stack::{Caches, Programs, Stack, StackOptions, condition};
use crate::testbed::ControlPlane;

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

/// Most lists that begin in a minute at rest: the default interval is 30 s, moved by a tenth at most.
const LISTS: u64 = 3;
/// What a list reads in addition to full pages: a page that is empty, or objects that shift while pages are read.
const EXTRA_PAGES: u64 = 1;
/// Most memory of the operator as it is shipped, KiB.
const MEMORY: u64 = 64 * 1_024;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Reconcile {
    /// ImageCaches to make.
    pub caches: usize,
    /// `--cloud-writes-per-second` of the operator.
    pub cloud_writes_per_second: u16,
    /// A release build of the operator.
    pub release: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    caches: usize,
    cloud_writes_per_second: u16,
    /// Whether the operator is a release build, which matters for memory and time.
    release_build: bool,
    phases: Vec<Phase>,
    /// Highest number of caches that the cloud made for one object.
    creates_per_cache: usize,
    /// Requests that the API server answered the operator with 403.
    forbidden: Vec<String>,
    /// Invariants that do not hold.
    broken: Vec<String>,
}

/// Measures, prints a table and writes `target/bench/reconcile.json`; whether every invariant held: one create for each
/// cache, no write and pages only at rest, no request beyond the chart's permissions, bounded memory.
pub async fn run(what: Reconcile) -> Result<bool> {
    let Reconcile { caches, cloud_writes_per_second, release } = what;
    let build = if release { "release" } else { "debug" };
    println!(
        "bench reconcile: {caches} ImageCaches, a {build} build of the operator, {cloud_writes_per_second} changes"
    );
    println!("a second and action to the cloud.");
    let options = StackOptions {
        log_level: "info",
        // As in production: a change waits for its turn for at most half of the time-out.
        request_timeout: "10s",
        resolve_window: "300s",
        // The other parts off: what is measured is ImageCaches.
        values: json!({
            "cloudWritesPerSecond": cloud_writes_per_second,
            "controllers": ["imagecache"],
        }),
        ..StackOptions::default()
    };
    let programs = if release { Programs::with_released_operator()? } else { Programs::beside_this_one()? };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, programs, &options).await?;
    stack.start_operator().await?;
    stack.cloud().settings(json!({ "maxImageCaches": caches + 1, "updateMs": 2_000 })).await?;
    let bench = Bench { objects: stack.namespace("bench").await?, stack };
    let mut report = bench.measure(what).await?;
    report.broken = broken(&report);

    println!("\n{}", table::render(&report.phases));
    for (phase, count) in at_rest(&report.phases) {
        let calls = total(&phase.cloud_calls);
        println!(
            "{}: {calls} cloud calls and {} Kubernetes writes beside the Lease's in {:.0} s; a list has {} pages",
            phase.name,
            writes(&phase.kubernetes_writes),
            phase.seconds,
            pages(count)
        );
    }
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
    async fn measure(&self, what: Reconcile) -> Result<Report> {
        let Reconcile { caches, cloud_writes_per_second, release } = what;
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
        Ok(Report {
            caches,
            cloud_writes_per_second,
            release_build: release,
            phases,
            creates_per_cache,
            forbidden,
            broken: Vec::new(),
        })
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

/// The phases in which nothing had to be done, and how many caches there were.
fn at_rest(phases: &[Phase]) -> impl Iterator<Item = (&Phase, u64)> {
    let rests = phases.iter().filter_map(|phase| Some((phase, phase.name.strip_prefix("rest ")?)));
    rests.filter_map(|(phase, count)| Some((phase, count.parse().ok()?)))
}

/// Pages of a list.
fn pages(caches: u64) -> u64 {
    caches.div_ceil(u64::try_from(PAGE_SIZE).unwrap_or(u64::MAX)).max(1)
}

fn total(calls: &Counts) -> u64 {
    calls.values().sum()
}

fn broken(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    if report.creates_per_cache != 1 {
        broken.push(format!("the cloud made {} caches for one object", report.creates_per_cache));
    }
    for (phase, caches) in at_rest(&report.phases) {
        let (calls, most) = (total(&phase.cloud_calls), LISTS * (pages(caches) + EXTRA_PAGES));
        if calls > most {
            broken.push(format!("{}: {calls} cloud calls, more than {most}: not only pages", phase.name));
        }
        let count = writes(&phase.kubernetes_writes);
        if count > 0 {
            broken.push(format!("{}: {count} Kubernetes writes: {:?}", phase.name, phase.kubernetes_writes));
        }
    }
    let peak = report.phases.iter().map(|phase| phase.peak_rss_kib).max().unwrap_or_default();
    if report.release_build && report.caches <= 1_000 && peak > MEMORY {
        broken.push(format!("the operator needed {} MiB", peak / 1_024));
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
            cloud_writes_per_second: 2,
            release_build: true,
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
    fn more_calls_than_pages_at_rest_and_more_memory_than_promised_break_it() {
        let mut report = report(1, &[("leases patch", 30)], &[]);
        let describe = |count| BTreeMap::from([("DescribeImageCaches".to_owned(), count)]);
        report.phases[1].name = "rest 1000".to_owned();
        report.phases[1].cloud_calls = describe(3 * 51);
        report.phases[1].peak_rss_kib = MEMORY;
        assert!(broken(&report).is_empty(), "{:?}", broken(&report));
        report.phases[1].cloud_calls = describe(1_000);
        report.phases[1].peak_rss_kib = MEMORY + 1_024;
        let found = broken(&report);
        assert!(found.len() == 2 && found[0].contains("1000 cloud calls"), "{found:?}");
        assert!(found[1].contains("needed 65 MiB"), "{found:?}");
    }

    #[test]
    fn a_second_create_and_a_forbidden_request_break_it() {
        let found = broken(&report(2, &[], &["\"list\" /api/v1/secrets"]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("2 caches for one object") && found[1].contains("secrets"), "{found:?}");
    }
}
