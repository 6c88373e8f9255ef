//! What is counted of pods and image caches, and of vSwitches. Every label has few values, all of them ours.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use eci_core::network::State;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// The metrics of pods and image caches.
#[derive(Clone, Debug)]
pub(super) struct PodMetrics {
    matched: Family<ResultLabels, Counter>,
    starts: Family<ResultLabels, Histogram>,
    v_switches: Family<StateLabels, Gauge<i64, AtomicI64>>,
}

fn seconds() -> Histogram {
    Histogram::new([1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0])
}

const fn word(hit: bool) -> &'static str {
    if hit { "hit" } else { "miss" }
}

impl PodMetrics {
    /// Makes them part of a registry.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            matched: Family::default(),
            starts: Family::new_with_constructor(seconds as fn() -> Histogram),
            v_switches: Family::default(),
        };
        let all = metrics.clone();
        let help = "Pods of which the vendor said whether they start from an image cache";
        registry.register("image_cache_pods", help, all.matched);
        registry.register_with_unit(
            "image_cache_pod_start",
            "From a pod's node to the start of its last container, by whether it started from an image cache",
            Unit::Seconds,
            all.starts,
        );
        let help =
            "vSwitches that profiles or the operator's defaults name, by whether pods can start in them";
        registry.register("vswitches", help, all.v_switches);
        metrics
    }

    /// The vendor said it of a pod.
    pub(super) fn matched(&self, hit: bool) {
        self.matched.get_or_create(&ResultLabels { result: word(hit) }).inc();
    }

    /// It started.
    pub(super) fn started(&self, hit: bool, took: Duration) {
        self.starts.get_or_create(&ResultLabels { result: word(hit) }).observe(took.as_secs_f64());
    }

    /// The vSwitches are so.
    pub(super) fn v_switches(&self, states: impl IntoIterator<Item = State>) {
        let mut counts =
            [State::Usable, State::Full, State::NotAvailable, State::Missing].map(|s| (s, 0_i64));
        for state in states {
            for (_, count) in counts.iter_mut().filter(|(known, _)| *known == state) {
                *count += 1;
            }
        }
        for (state, count) in counts {
            self.v_switches.get_or_create(&StateLabels { state: state.as_str() }).set(count);
        }
    }
}
