//! Many ImageCaches and DataCaches: from apply to Ready, at rest, changed in place, replaced, deleted.

mod fleet;
mod promise;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::data_cache::DataCache;
use eci_api::image_cache::ImageCache;
use futures::future::try_join;
use serde::Serialize;
use serde_json::json;

use super::measure::{Meter, Phase, writes};
use super::table;
use crate::stack::{DataCaches, Programs, Stack, StackOptions};
use crate::testbed::ControlPlane;
use fleet::{Fleet, Measured as _};
use promise::{at_rest, broken, pages};

/// How long the operator is watched at rest: two polls at its default interval.
const REST: Duration = Duration::from_mins(1);
/// It rests when it wrote nothing for so long.
const QUIET: Duration = Duration::from_secs(10);
/// So often it may be found at work still.
const PATIENCE: u32 = 24;
/// One of so many is replaced.
const REPLACED: usize = 10;
/// The sizes at which the operator is watched, beside the whole.
const STEPS: [Size; 2] = [Size { images: 1, data: 1 }, Size { images: 100, data: 20 }];

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Reconcile {
    /// ImageCaches to make.
    pub caches: usize,
    /// DataCaches to make.
    pub data_caches: usize,
    /// `--cloud-writes-per-second` of the operator.
    pub cloud_writes_per_second: u16,
    /// A release build of the operator.
    pub release: bool,
}

/// How many objects of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Size {
    images: usize,
    data: usize,
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.images, self.data)
    }
}

/// For how many objects the cloud made how many caches.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Creates {
    images: BTreeMap<usize, usize>,
    data: BTreeMap<usize, usize>,
}

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    size: Size,
    /// How many of them needed another cache.
    replaced: Size,
    cloud_writes_per_second: u16,
    /// Whether the operator is a release build, which matters for memory and time.
    release_build: bool,
    phases: Vec<Phase>,
    /// Which phases were at rest, by name, and with how many objects.
    rests: Vec<(String, Size)>,
    creates: Creates,
    /// Requests that the API server answered the operator with 403.
    forbidden: Vec<String>,
    /// Promises that are not kept.
    broken: Vec<String>,
}

/// Measures, prints a table and writes `target/bench/reconcile.json`; whether every promise was kept: one create for each
/// cache, no write and pages only at rest, no request beyond the chart's permissions, bounded memory.
pub async fn run(what: Reconcile) -> Result<bool> {
    let Reconcile { caches, data_caches, cloud_writes_per_second, release } = what;
    let build = if release { "release" } else { "debug" };
    println!("bench reconcile: {caches} ImageCaches and {data_caches} DataCaches, a {build} build of the");
    println!("operator, {cloud_writes_per_second} changes a second and action to the cloud.");
    let options = StackOptions {
        log_level: "info",
        // As in production: a change waits for its turn for at most half of the time-out.
        request_timeout: "10s",
        resolve_window: "300s",
        // The other parts off: what is measured is what owns cloud resources.
        values: json!({
            "cloudWritesPerSecond": cloud_writes_per_second,
            "controllers": ["imagecache", "datacache"],
        }),
        ..StackOptions::default()
    };
    let programs = if release { Programs::with_released_operator()? } else { Programs::beside_this_one()? };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, programs, &options).await?;
    stack.start_operator().await?;
    // An ImageCache that is replaced has two for a while.
    let quotas = json!({
        "maxImageCaches": caches + caches.div_ceil(REPLACED) + 1, "maxDataCaches": data_caches + 1, "updateMs": 2_000,
    });
    stack.cloud().settings(quotas).await?;
    let images = stack.namespace("bench").await?;
    let data = DataCaches::beside(&images);
    let bench = Bench { images: Fleet::new(images), data: Fleet::new(data), stack };
    let mut report = bench.measure(what).await?;
    report.broken = broken(&report);

    println!("\n{}", table::render(&report.phases));
    for (phase, size) in at_rest(&report) {
        println!(
            "{}: {} cloud calls and {} Kubernetes writes beside the Lease's in {:.0} s; lists have {} and {} pages",
            phase.name,
            phase.cloud_calls.values().sum::<u64>(),
            writes(&phase.kubernetes_writes),
            phase.seconds,
            pages(size.images),
            pages(size.data)
        );
    }
    println!("creates for each object, and of how many: {:?}", report.creates);
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
    images: Fleet<ImageCache>,
    data: Fleet<DataCache>,
}

impl Bench {
    async fn measure(&self, what: Reconcile) -> Result<Report> {
        let Reconcile { caches, data_caches, cloud_writes_per_second, release } = what;
        let size = Size { images: caches, data: data_caches };
        let (images, data) = (&self.images, &self.data);
        let (mut phases, mut rests) = (Vec::new(), Vec::new());
        let mut there = Size { images: 0, data: 0 };
        for step in STEPS.into_iter().chain([size]) {
            // Short runs leave steps out.
            let goal = Size { images: step.images.min(caches), data: step.data.min(data_caches) };
            if goal == there {
                continue;
            }
            let more = Size { images: goal.images - there.images, data: goal.data - there.data };
            let apply = try_join(images.apply(there.images, goal.images), data.apply(there.data, goal.data));
            phases.push(self.phase(format!("apply {more}"), apply).await?);
            self.settle().await?;
            let rest = format!("rest {goal}");
            phases.push(self.phase(rest.clone(), rest_a_while()).await?);
            rests.push((rest, goal));
            there = goal;
        }
        let edit = try_join(images.edit(caches), data.edit(data_caches));
        phases.push(self.phase(format!("edit {size}"), edit).await?);
        let replaced = Size { images: caches.div_ceil(REPLACED), data: data_caches.div_ceil(REPLACED) };
        let replace = try_join(images.replace(replaced.images), data.replace(replaced.data));
        phases.push(self.phase(format!("replace {replaced}"), replace).await?);
        let cloud = self.stack.cloud();
        let creates = Creates { images: images.creates(cloud).await?, data: data.creates(cloud).await? };
        let delete = try_join(images.delete(caches), data.delete(data_caches));
        phases.push(self.phase(format!("delete {size}"), delete).await?);
        let left = Size { images: ImageCache::living(cloud).await?, data: DataCache::living(cloud).await? };
        ensure!(left == Size { images: 0, data: 0 }, "{left} caches are left in the cloud");
        Ok(Report {
            size,
            replaced,
            cloud_writes_per_second,
            release_build: release,
            phases,
            rests,
            creates,
            forbidden: self.stack.forbidden()?,
            broken: Vec::new(),
        })
    }

    async fn phase<T>(&self, name: String, what: impl Future<Output = Result<T>>) -> Result<Phase> {
        let meter = Meter::start(&self.stack).await?;
        what.await.with_context(|| match self.stack.operator() {
            // An operator that ended, as one that loses its Lease does, explains why nothing goes on.
            Some(operator) => format!("phase {name:?}; the operator's last words:\n{}", operator.log_tail(5)),
            None => format!("phase {name:?}"),
        })?;
        let phase = meter.end(&self.stack, name).await?;
        println!("{:>7.1} s  {}", phase.seconds, phase.name);
        Ok(phase)
    }

    /// Waits until the operator has nothing more to write.
    async fn settle(&self) -> Result<()> {
        for _ in 0..PATIENCE {
            let meter = Meter::start(&self.stack).await?;
            tokio::time::sleep(QUIET).await;
            if writes(&meter.writes(&self.stack)?) == 0 {
                return Ok(());
            }
        }
        anyhow::bail!("the operator does not stop writing although every object is Ready")
    }
}

async fn rest_a_while() -> Result<()> {
    tokio::time::sleep(REST).await;
    Ok(())
}
