//! What the spot pods of the profiles are like: workloads to be judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use eci_core::eviction::levers::Crowd;
use eci_core::eviction::lint::Subject;
use eci_core::eviction::{Labels, Owner, Pod, PodRef};

use super::view::View;

/// Most workloads that are judged. Those beyond it, in the order of profile, namespace and name, are not.
const WORKLOAD_LIMIT: usize = 4_096;

/// Which workload of which profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WorkloadKey {
    /// The profile whose spot settings count.
    pub(super) profile: Arc<str>,
    /// Its namespace.
    pub(super) namespace: Arc<str>,
    /// The workload; `None` for pods without a controller.
    pub(super) workload: Option<Owner>,
}

/// A workload with spot pods.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// What the checks need, but for start times and dry runs.
    pub(super) subject: Subject,
    /// A pod of it whose eviction can be tried; `None` when none runs.
    pub(super) probe: Option<PodRef>,
    labels: Labels,
    crowd: Crowd,
}

/// What the spot pods of the profiles are like.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Workloads with spot pods.
    pub(super) workloads: BTreeMap<WorkloadKey, Workload>,
}

/// Looks at all pods.
pub(super) fn survey(view: &View) -> Survey {
    let mut survey = Survey::default();
    for (pod, selected, zone) in view.placed() {
        if pod.phase.is_terminal() {
            continue;
        }
        let Some((profile, _)) = &selected.spot else { continue };
        if pod.deletion.is_some() {
            continue;
        }
        let key = WorkloadKey {
            profile: Arc::clone(profile),
            namespace: Arc::clone(&pod.id.namespace),
            workload: pod.workload.clone(),
        };
        if survey.workloads.len() >= WORKLOAD_LIMIT && !survey.workloads.contains_key(&key) {
            continue;
        }
        let workload = survey.workloads.entry(key).or_insert_with(|| Workload {
            subject: Subject { grace: 0, ..Subject::new(&pod.id.namespace, pod.workload.clone()) },
            probe: None,
            labels: Arc::clone(&pod.labels),
            crowd: Crowd::default(),
        });
        if is_spot(pod) {
            workload.subject.spot_pods += 1;
            workload.subject.grace = workload.subject.grace.max(pod.grace);
            workload.crowd.add(pod, zone);
            if workload.probe.is_none() && pod.ready && pod.on_virtual_node {
                workload.probe = Some(pod.id.clone());
            }
        } else {
            workload.subject.other_pods += 1;
        }
    }
    survey.workloads.retain(|_, workload| workload.subject.spot_pods > 0);
    for (key, workload) in &mut survey.workloads {
        let Workload { subject, labels, crowd, .. } = workload;
        subject.budgets = view.budgets_of(&key.namespace, labels);
        (subject.zones, subject.pull, subject.uncached) = (crowd.zones(), crowd.pull(), crowd.uncached());
    }
    survey
}

/// Whether it runs on a spot instance, or will.
fn is_spot(pod: &Pod) -> bool {
    matches!(pod.spot.strategy.as_deref(), Some("SpotAsPriceGo" | "SpotWithPriceLimit"))
}
