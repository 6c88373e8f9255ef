//! What is known of the cloud at the scrape: its newest lists, permissions, waits for a turn.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::board::gauges;
use super::{ActionLabels, KindLabels};

/// The newest list of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListFacts {
    /// How long ago the newest complete list was begun.
    pub age: Duration,
    /// Its pages.
    pub pages: usize,
    /// Its resources.
    pub resources: usize,
    /// Whether it is not believed.
    pub suspect: bool,
}

type Look = Box<dyn Fn() -> Option<ListFacts> + Send + Sync>;
type Waits = Box<dyn Fn() -> Vec<(&'static str, Duration)> + Send + Sync>;

/// What is asked at the scrape.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) lists: Mutex<BTreeMap<&'static str, Look>>,
    pub(super) waits: Mutex<Option<Waits>>,
    pub(super) permissions: Mutex<BTreeMap<&'static str, bool>>,
    pub(super) orphans: Mutex<BTreeMap<&'static str, usize>>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// [`Sources`] as a collector.
#[derive(Clone, Debug)]
pub(super) struct Asked(pub(super) Arc<Sources>);

impl Collector for Asked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lists: BTreeMap<KindLabels, ListFacts> = {
            let looks = self.0.lists.lock().unwrap_or_else(PoisonError::into_inner);
            looks.iter().filter_map(|(kind, look)| Some((KindLabels { kind }, look()?))).collect()
        };
        let ages: Vec<_> = lists.iter().map(|(kind, list)| (kind.clone(), list.age)).collect();
        seconds_of(&mut encoder, "list_age", "Time since the newest complete list was begun", &ages)?;
        let count = |of: fn(&ListFacts) -> usize| {
            lists
                .iter()
                .map(|(kind, list)| (kind.clone(), i64::try_from(of(list)).unwrap_or(i64::MAX)))
                .collect()
        };
        gauges(&mut encoder, "list_pages", "Pages of the newest complete list", &count(|list| list.pages))?;
        let help = "Cloud resources with this cluster's tag in the newest complete list";
        gauges(&mut encoder, "cloud_resources", help, &count(|list| list.resources))?;
        let help = "Whether so much is missing in the newest complete list that it is not believed (1)";
        gauges(&mut encoder, "list_suspect", help, &count(|list| usize::from(list.suspect)))?;
        let orphans: BTreeMap<_, _> = locked(&self.0.orphans)
            .iter()
            .map(|(kind, count)| (KindLabels { kind }, i64::try_from(*count).unwrap_or(i64::MAX)))
            .collect();
        let help =
            "Cloud resources with this cluster's tag that belong to no object; the log says what to do";
        gauges(&mut encoder, "orphans", help, &orphans)?;

        let permissions: BTreeMap<_, _> = locked(&self.0.permissions)
            .iter()
            .map(|(action, granted)| (ActionLabels { action }, i64::from(*granted)))
            .collect();
        let help = "Whether the cloud allowed (1) or denied (0) the newest call of the action; absent before the first";
        gauges(&mut encoder, "cloud_permission", help, &permissions)?;

        let waits = locked(&self.0.waits).as_ref().map(|waits| waits()).unwrap_or_default();
        if waits.is_empty() {
            return Ok(());
        }
        let help = "Time that calls to the cloud waited for their turn, so that there are not too many";
        let mut family =
            encoder.encode_descriptor("cloud_turn_wait", help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (action, wait) in waits {
            let counter = ConstCounter::new(wait.as_secs_f64());
            counter.encode(family.encode_family(&ActionLabels { action })?)?;
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds_of<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(L, Duration)],
) -> Result<(), std::fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value.as_secs_f64()).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}
