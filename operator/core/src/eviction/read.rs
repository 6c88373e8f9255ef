//! From objects of Kubernetes to facts. Whoever reads them keeps other parts of a pod, so that metadata, status and images
//! are read one by one; what is equal is shared as the reader shares it ([`Words`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::levers::IMAGES_LIMIT;
use super::notice::{CONDITION, RELEASE, STRATEGY, VENDOR_RELEASE};
use super::{
    Budget, BudgetRef, Deletion, Expired, Labels, Owner, Phase, Pod, PodRef, Promise, Selector,
    SpotAnnotations, UnhealthyPolicy, workload_of,
};
use crate::matches::MATCHED;

/// Annotation with the cost of deleting a pod rather than another one of its workload.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Reason of a pod whose spot instance was taken back.
const BID_FAILED: &str = "BidFailed";
/// Grace period of a pod that gives none, in seconds.
const DEFAULT_GRACE: i64 = 30;
/// Longest foreign text that is kept, in characters.
pub const TEXT_LIMIT: usize = 256;

/// How equal words and labels are shared.
pub trait Words {
    /// A word, as one of those that are equal.
    fn word(&mut self, text: &str) -> Arc<str>;
    /// Labels, as one of those that are equal.
    fn labels(&mut self, labels: BTreeMap<String, String>) -> Labels;
    /// Names of images, likewise.
    fn images(&mut self, images: Vec<Arc<str>>) -> Arc<[Arc<str>]>;
}

/// Shares nothing: for few objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Apart;

impl Words for Apart {
    fn word(&mut self, text: &str) -> Arc<str> {
        text.into()
    }

    fn labels(&mut self, labels: BTreeMap<String, String>) -> Labels {
        Arc::new(labels)
    }

    fn images(&mut self, images: Vec<Arc<str>>) -> Arc<[Arc<str>]> {
        images.into()
    }
}

/// A condition of a pod, as far as it counts.
#[derive(Clone, Copy, Debug)]
pub struct Condition<'a> {
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// Its lastTransitionTime.
    pub since: Option<&'a Time>,
}

/// A pod, by its metadata; `None` for one that no API server has. The rest is of a pod that runs and is ready.
pub fn pod(metadata: ObjectMeta, grace: Option<i64>, words: &mut impl Words) -> Option<Pod> {
    let mut pod = Pod::new(reference(&metadata, words)?);
    pod.version = version(&metadata);
    pod.owner = owner(&metadata, words);
    pod.deletion = metadata
        .deletion_timestamp
        .as_ref()
        .map(|at| Deletion { at: at.0, grace: metadata.deletion_grace_period_seconds.unwrap_or_default() });
    pod.grace = grace.unwrap_or(DEFAULT_GRACE);
    pod.created = time(metadata.creation_timestamp.as_ref());
    let annotations = metadata.annotations.unwrap_or_default();
    let mut annotation = |key: &str| annotations.get(key).map(|value| words.word(clip(value)));
    pod.spot = SpotAnnotations {
        strategy: annotation(STRATEGY),
        release: annotation(RELEASE),
        vendor_release: annotation(VENDOR_RELEASE),
    };
    pod.from_cache = annotations.contains_key(MATCHED);
    pod.deletion_cost = annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or_default();
    pod.labels = words.labels(metadata.labels.unwrap_or_default());
    pod.workload = workload_of(pod.owner.as_ref(), &pod.labels)
        .map(|workload| Owner { kind: words.word(&workload.kind), name: words.word(&workload.name) });
    Some(pod)
}

/// Its images, which are kept of those with a spot strategy; at most [`IMAGES_LIMIT`].
pub fn images<'a>(pod: &mut Pod, images: impl Iterator<Item = &'a str>, words: &mut impl Words) {
    if pod.spot.strategy.is_some() {
        let images = images.take(IMAGES_LIMIT).map(|image| words.word(clip(image))).collect();
        pod.images = words.images(images);
    }
}

/// Its status, but for why it is not ready.
pub fn status<'a>(
    pod: &mut Pod,
    phase: Option<&str>,
    reason: Option<&str>,
    condition: impl Fn(&str) -> Option<Condition<'a>>,
) {
    pod.phase = Phase::of(phase.unwrap_or_default());
    pod.bid_failed = reason == Some(BID_FAILED);
    let ready = condition("Ready");
    pod.ready = ready.is_some_and(|condition| condition.status == "True");
    pod.ready_since = ready.and_then(|condition| time(condition.since));
    pod.expired = condition(CONDITION).map(|condition| Expired {
        // The vendor's samples write it in either way.
        status: condition.status.eq_ignore_ascii_case("true"),
        since: time(condition.since),
    });
}

/// Which pod, by its metadata.
pub fn reference(metadata: &ObjectMeta, words: &mut impl Words) -> Option<PodRef> {
    Some(PodRef {
        namespace: words.word(metadata.namespace.as_deref()?),
        name: metadata.name.as_deref()?.into(),
        uid: metadata.uid.as_deref()?.into(),
    })
}

/// Which budget, by its metadata.
pub fn budget_reference(metadata: &ObjectMeta, words: &mut impl Words) -> Option<BudgetRef> {
    Some(BudgetRef {
        namespace: words.word(metadata.namespace.as_deref()?),
        name: words.word(metadata.name.as_deref()?),
    })
}

/// A budget; `None` for one that no API server has.
pub fn budget(object: PodDisruptionBudget, words: &mut impl Words) -> Option<Budget> {
    let mut budget = Budget::new(budget_reference(&object.metadata, words)?);
    budget.uid = object.metadata.uid.as_deref().unwrap_or_default().into();
    budget.version = version(&object.metadata);
    budget.generation = object.metadata.generation.unwrap_or_default();
    if let Some(spec) = object.spec {
        budget.selector = Selector::of(spec.selector.as_ref());
        budget.promise = match (spec.min_available, spec.max_unavailable) {
            (Some(value), _) => Some(Promise::MinAvailable(amount(&value, words))),
            (None, Some(value)) => Some(Promise::MaxUnavailable(amount(&value, words))),
            (None, None) => None,
        };
        budget.unhealthy = match spec.unhealthy_pod_eviction_policy.as_deref() {
            Some("AlwaysAllow") => UnhealthyPolicy::AlwaysAllow,
            _ => UnhealthyPolicy::IfHealthyBudget,
        };
    }
    let Some(status) = object.status else {
        // Its controller has not seen it.
        budget.observed_generation = budget.generation - 1;
        return Some(budget);
    };
    budget.observed_generation = status.observed_generation.unwrap_or_default();
    budget.allowed = status.disruptions_allowed;
    budget.healthy = status.current_healthy;
    budget.desired = status.desired_healthy;
    budget.expected = status.expected_pods;
    let disrupted = status.disrupted_pods.unwrap_or_default();
    budget.disrupted = Arc::new(disrupted.into_iter().map(|(name, since)| (name, since.0)).collect());
    let conditions = status.conditions.unwrap_or_default();
    let failed = conditions.iter().find(|c| c.type_ == "DisruptionAllowed" && c.reason == "SyncFailed");
    budget.sync_failed = failed.map(|condition| clip(&condition.message).into());
    Some(budget)
}

fn owner(metadata: &ObjectMeta, words: &mut impl Words) -> Option<Owner> {
    let owners = metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    Some(Owner { kind: words.word(clip(&owner.kind)), name: words.word(clip(&owner.name)) })
}

fn amount(value: &IntOrString, words: &mut impl Words) -> Arc<str> {
    match value {
        IntOrString::Int(number) => words.word(&number.to_string()),
        IntOrString::String(text) => words.word(clip(text)),
    }
}

fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The beginning of a foreign text: at most [`TEXT_LIMIT`] characters.
pub fn clip(text: &str) -> &str {
    text.char_indices().nth(TEXT_LIMIT).map_or(text, |(end, _)| &text[..end])
}
