//! What could be done for a workload beforehand, from what its spot pods are like: whether they pulled their images and
//! how long that took, in how many zones they are, and whether an eviction fails their Job.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::PodFailurePolicy;

use super::Pod;
use super::forecast::{Starts, p90};

/// Most images of one workload that are kept.
pub const IMAGES_LIMIT: usize = 32;
/// Most start times of each sort that are kept: those of the first pods in order of their names.
pub const STARTS_LIMIT: usize = 100;

/// The spot pods of one workload, as far as they say what would help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    zones: BTreeSet<Arc<str>>,
    /// Whether some pod is in a zone that nobody knows.
    astray: bool,
    images: BTreeSet<Arc<str>>,
    cached: Vec<Duration>,
    pulled: Vec<Duration>,
}

impl Crowd {
    /// Takes in a spot pod that is bound to a node in this zone (`None`: the node does not say, or there is none).
    pub fn add(&mut self, pod: &Pod, zone: Option<&Arc<str>>) {
        match zone {
            Some(zone) => drop(self.zones.insert(Arc::clone(zone))),
            None => self.astray = true,
        }
        // Whether it started from a cache the vendor says while it starts.
        if !pod.ready {
            return;
        }
        if !pod.from_cache {
            let room = IMAGES_LIMIT.saturating_sub(self.images.len());
            let new: Vec<_> = pod.images.iter().filter(|image| !self.images.contains(*image)).collect();
            self.images.extend(new.into_iter().take(room).cloned());
        }
        let times = if pod.from_cache { &mut self.cached } else { &mut self.pulled };
        if let Some(time) = start(pod).filter(|_| times.len() < STARTS_LIMIT) {
            times.push(time);
        }
    }

    /// In how many zones they are; `None` when that is not known of all of them.
    pub fn zones(&self) -> Option<usize> {
        (!self.astray && !self.zones.is_empty()).then_some(self.zones.len())
    }

    /// The images of those that started from no image cache, in order; at most [`IMAGES_LIMIT`].
    pub fn uncached(&self) -> Vec<Arc<str>> {
        self.images.iter().cloned().collect()
    }

    /// How much longer those took to start that pulled their images than those that started from a cache (of both the
    /// 90th percentile); `None` when too few of either were seen, or none took longer.
    pub fn pull(&self) -> Option<Duration> {
        let (pulled, cached) = (p90(self.pulled.clone())?, p90(self.cached.clone())?);
        Some(pulled.saturating_sub(cached)).filter(|pull| !pull.is_zero())
    }
}

/// How long a pod took from its creation until it was ready; `None` for one that is not, or was so long before that it
/// must have been ready in between.
pub fn start(pod: &Pod) -> Option<Duration> {
    let (ready, created) = (pod.ready_since.filter(|_| pod.ready)?, pod.created?);
    Duration::try_from(ready.duration_since(created)).ok().filter(|start| *start <= Starts::LONGEST)
}

/// Whether the eviction of a pod counts as a failure of its Job: no rule of its policy ignores pods that were disrupted,
/// or one that comes first counts them or fails the Job. (The first rule that fits is taken, and without one a failed pod
/// counts. A rule on exit codes may fit such a pod, too; that depends on the program and is left out.)
pub fn counts_disruptions(policy: Option<&PodFailurePolicy>) -> bool {
    let disrupted = policy.iter().flat_map(|policy| &policy.rules).find(|rule| {
        rule.on_pod_conditions.iter().flatten().any(|pattern| {
            // The API server takes an absent status as True.
            pattern.type_ == DISRUPTED && matches!(pattern.status.as_str(), "True" | "")
        })
    });
    disrupted.is_none_or(|rule| rule.action != "Ignore")
}

/// The condition that the API server gives an evicted pod.
const DISRUPTED: &str = "DisruptionTarget";
