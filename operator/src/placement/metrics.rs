//! What is counted of the placement of pods. Every label has few values, all of them ours.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::act::{Answer, Kind};
use crate::sight::Watched;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    action: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

type Numbers<L> = Family<L, Gauge<i64, AtomicI64>>;

/// The metrics of placement. Copies count together.
#[derive(Clone, Debug, Default)]
pub struct PlacementMetrics {
    writes: Family<WriteLabels, Counter>,
    pods: Numbers<StateLabels>,
    wait: Option<Histogram>,
    late: Counter,
    dropped: Counter,
    failing: Numbers<ResourceLabels>,
}

/// How many pods stand where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// On virtual nodes, or free to go there.
    pub(super) virtual_nodes: u64,
    /// Held back by the limits of their profile.
    pub(super) held: u64,
    /// Behind a gate of the operator.
    pub(super) gated: u64,
    /// Of these, those that wait for a data cache for long.
    pub(super) overdue: u64,
    /// Made without what their profile says.
    pub(super) missed: u64,
}

impl PlacementMetrics {
    /// Makes them part of a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let wait = Histogram::new([0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0]);
        let metrics = Self { wait: Some(wait.clone()), ..Self::default() };
        let all = metrics.clone();
        registry.register("placement_writes", "Writes to pods, by what they do and the answer", all.writes);
        registry.register("placement_pods", "Pods of profiles with placement, by where they stand", all.pods);
        let help = "From the creation of a pod until it was let go to virtual nodes";
        registry.register_with_unit("placement_wait", help, Unit::Seconds, wait);
        let help = "Pods that were started without the image cache that they waited for";
        registry.register("placement_late_caches", help, all.late);
        let help = "Events that were not written because too many waited";
        registry.register("placement_reports_dropped", help, all.dropped);
        let help = "Whether the watch of a resource fails (1)";
        registry.register("placement_watch_failing", help, all.failing);
        metrics
    }

    /// A write was answered.
    pub(super) fn answered(&self, kind: Kind, answer: &Answer) {
        let labels = WriteLabels { action: kind.as_str(), answer: answer.kind() };
        self.writes.get_or_create(&labels).inc();
    }

    /// A pod was let go that long after it was created.
    pub(super) fn admitted(&self, after: Duration) {
        if let Some(wait) = &self.wait {
            wait.observe(after.as_secs_f64());
        }
    }

    /// A gate was opened without what the pod waited for.
    pub(super) fn late(&self) {
        self.late.inc();
    }

    /// An event was not written.
    pub(super) fn dropped(&self) {
        self.dropped.inc();
    }

    /// How many pods stand where.
    pub(super) fn counted(&self, counts: Counts) {
        let Counts { virtual_nodes, held, gated, overdue, missed } = counts;
        for (state, n) in [
            ("Virtual", virtual_nodes),
            ("Held", held),
            ("Gated", gated),
            ("Overdue", overdue),
            ("Missed", missed),
        ] {
            self.pods.get_or_create(&StateLabels { state }).set(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }

    /// Which watches fail.
    pub(super) fn watching(&self, failing: impl Fn(Watched) -> bool) {
        for watched in Watched::ALL {
            let labels = ResourceLabels { resource: watched.as_str() };
            self.failing.get_or_create(&labels).set(i64::from(failing(*watched)));
        }
    }
}
