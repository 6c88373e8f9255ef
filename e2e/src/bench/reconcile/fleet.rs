//! Many objects of one kind: made, changed, replaced, deleted, and waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use eci_api::data_cache::DataCache;
use eci_api::image_cache::ImageCache;
use eci_sim::admin;
use eci_sim::world::call::Effect;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::stack::{Cache, Objects, condition};

/// How often the objects are counted.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many looks without any progress are a failure.
const LOOKS: u32 = 240;
/// Requests to the API server at once, for each kind.
const AT_ONCE: usize = 16;
/// What the change in place sets.
const RETENTION_DAYS: i32 = 30;

/// A kind as the benchmark needs it.
pub(super) trait Measured: Cache {
    /// Names begin with it.
    const PREFIX: &'static str;
    /// A spec whose cache can be built; another `version` needs another cache.
    fn spec(name: &str, version: u32) -> Value;
    /// The retention that the cache was made with or changed to, once no change is under way.
    fn retention_days(&self) -> Option<i32>;
    /// Whether the cache is one of this version.
    fn is_of(&self, version: u32) -> bool;
    /// Whether the object has cloud resources beside its current one, or is to have one.
    fn has_others(&self) -> bool;
    /// The name in a create call of this kind that had its effect.
    fn made(effect: Effect) -> Option<String>;
    /// How many caches of the kind the cloud has.
    async fn living(cloud: &admin::Client) -> Result<usize>;
}

impl Measured for ImageCache {
    const PREFIX: &'static str = "cache";

    fn spec(name: &str, version: u32) -> Value {
        json!({ "images": [format!("registry.example.com/shop/{name}:{version}")] })
    }

    fn retention_days(&self) -> Option<i32> {
        let applied = self.status.as_ref()?.applied.as_ref()?;
        applied.request.retention_days.filter(|_| !applied.updating)
    }

    fn is_of(&self, version: u32) -> bool {
        let applied = self.status.as_ref().and_then(|status| status.applied.as_ref());
        applied.is_some_and(|a| a.request.images.iter().all(|i| i.ends_with(&format!(":{version}"))))
    }

    fn has_others(&self) -> bool {
        self.status
            .as_ref()
            .is_some_and(|s| s.operation.is_some() || s.successor.is_some() || !s.retiring.is_empty())
    }

    fn made(effect: Effect) -> Option<String> {
        if let Effect::Created { spec, .. } = effect { Some(spec.name) } else { None }
    }

    async fn living(cloud: &admin::Client) -> Result<usize> {
        Ok(cloud.caches().await?.len())
    }
}

impl Measured for DataCache {
    const PREFIX: &'static str = "data";

    fn spec(name: &str, version: u32) -> Value {
        let url = format!("https://example.com/{name}/{version}");
        json!({
            "bucket": "bench", "path": format!("/{name}"), "source": { "type": "URL", "url": { "url": url } },
        })
    }

    fn retention_days(&self) -> Option<i32> {
        let applied = self.status.as_ref()?.applied.as_ref()?;
        applied.request.retention_days.filter(|_| !applied.updating)
    }

    fn is_of(&self, version: u32) -> bool {
        let applied = self.status.as_ref().and_then(|status| status.applied.as_ref());
        let url = applied.and_then(|applied| applied.request.source_options.get("url"));
        url.is_some_and(|url| url.ends_with(&format!("/{version}")))
    }

    fn has_others(&self) -> bool {
        self.status.as_ref().is_some_and(|s| s.operation.is_some() || !s.retiring.is_empty())
    }

    fn made(effect: Effect) -> Option<String> {
        if let Effect::CreatedData { spec, .. } = effect { Some(spec.name) } else { None }
    }

    async fn living(cloud: &admin::Client) -> Result<usize> {
        Ok(cloud.data_caches().await?.len())
    }
}

/// The objects of one kind.
pub(super) struct Fleet<K> {
    objects: Objects<K>,
}

impl<K: Measured> Fleet<K> {
    pub(super) fn new(objects: Objects<K>) -> Self {
        Self { objects }
    }

    /// From applied to Ready: those from `from` to `to`, the last one not included.
    pub(super) async fn apply(&self, from: usize, to: usize) -> Result<()> {
        each::<K, _>(from, to, async |name| self.objects.create(&name, K::spec(&name, 1)).await).await?;
        self.until("Ready", to, |all| all.iter().filter(|cache| is_ready(*cache)).count()).await
    }

    /// A change in place of all, until the cloud has it.
    pub(super) async fn edit(&self, count: usize) -> Result<()> {
        let patch = json!({ "spec": { "retentionDays": RETENTION_DAYS } });
        each::<K, _>(0, count, async |name| self.objects.patch(&name, patch.clone()).await).await?;
        let edited = |cache: &&K| cache.retention_days() == Some(RETENTION_DAYS) && is_settled(*cache);
        self.until("changed", count, |all| all.iter().filter(edited).count()).await
    }

    /// Another source of the first `count`, until they are Ready with it and the caches before are gone.
    pub(super) async fn replace(&self, count: usize) -> Result<()> {
        each::<K, _>(0, count, async |name| {
            self.objects.patch(&name, json!({ "spec": K::spec(&name, 2) })).await
        })
        .await?;
        let replaced = |cache: &&K| cache.is_of(2) && is_settled(*cache) && !cache.has_others();
        self.until("replaced", count, |all| all.iter().filter(replaced).count()).await
    }

    /// Until the objects are gone, and with them what the cloud has of them.
    pub(super) async fn delete(&self, count: usize) -> Result<()> {
        each::<K, _>(0, count, async |name| self.objects.delete(&name).await).await?;
        self.until("gone", count, |all| count - all.len()).await
    }

    /// For how many objects the cloud made how many caches.
    pub(super) async fn creates(&self, cloud: &admin::Client) -> Result<BTreeMap<usize, usize>> {
        let mut made: BTreeMap<String, usize> = BTreeMap::new();
        for entry in cloud.ledger().await? {
            if let Some(name) = K::made(entry.effect) {
                *made.entry(name).or_default() += 1;
            }
        }
        let mut counts = BTreeMap::new();
        for count in made.into_values() {
            *counts.entry(count).or_default() += 1;
        }
        Ok(counts)
    }

    /// Waits until `count` says that all are there. There is no limit on the time, only on standing still.
    async fn until(&self, what: &str, goal: usize, count: impl Fn(&[K]) -> usize) -> Result<()> {
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
                "{now} of {goal} {}s are {what}, and none more for {:?}",
                K::kind(&()),
                LOOK_EVERY * LOOKS
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn is_ready(cache: &impl Cache) -> bool {
    condition(cache, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Ready, and nothing goes on.
fn is_settled(cache: &impl Cache) -> bool {
    is_ready(cache) && ["Reconciling", "Updating"].iter().all(|type_| condition(cache, type_).is_none())
}

/// Does something for each object, some at once.
async fn each<K: Measured, T>(from: usize, to: usize, what: impl AsyncFn(String) -> Result<T>) -> Result<()> {
    let names = (from..to).map(|n| what(format!("{}-{n:04}", K::PREFIX)));
    stream::iter(names).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
}
