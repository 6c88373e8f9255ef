//! What is counted of evictions. Every label has few values, all of them ours.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use eci_core::eviction::answer::Answer;
use eci_core::eviction::notice::NotEligible;
use eci_core::eviction::notice::NoticeSource;
use eci_core::eviction::why::Why;
use eci_core::eviction::{Counts, Ended, Standing};
use jiff::SignedDuration;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::watch::Watched;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// An eviction.
    Evict,
    /// A deletion, because of `onDeadline: Delete`.
    Delete,
    /// A question whether an eviction would do.
    DryRun,
    /// A deletion of what a pod left behind, because of `failedPodTTL`.
    Remove,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Evict => "Evict",
            Self::Delete => "Delete",
            Self::DryRun => "DryRun",
            Self::Remove => "Remove",
        }
    }
}

/// The metrics of evictions. Copies count together.
#[derive(Clone, Debug, Default)]
pub struct EvictionMetrics {
    notices: Family<SourceLabels, Counter>,
    ignored: Family<ReasonLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    pods: Family<StateLabels, Gauge<i64, AtomicI64>>,
    blocked: Family<ReasonLabels, Gauge<i64, AtomicI64>>,
    lead: Option<Histogram>,
    slack: Option<Histogram>,
    lost: Counter,
    degraded: Counter,
    dropped: Counter,
    failing: Family<ResourceLabels, Gauge<i64, AtomicI64>>,
    permitted: Family<VerbLabels, Gauge<i64, AtomicI64>>,
}

impl EvictionMetrics {
    /// Makes them part of a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let lead =
            Histogram::new([30.0, 60.0, 120.0, 150.0, 165.0, 180.0, 195.0, 210.0, 240.0, 300.0, 600.0]);
        let slack = Histogram::new([0.0, 5.0, 15.0, 30.0, 60.0, 90.0, 120.0, 150.0, 170.0, 180.0]);
        let metrics = Self { lead: Some(lead.clone()), slack: Some(slack.clone()), ..Self::default() };
        let all = metrics.clone();
        registry.register(
            "spot_notices",
            "Notices of a reclaim that count, by where they were seen",
            all.notices,
        );
        registry.register("spot_notices_ignored", "Notices that lead to no eviction, by reason", all.ignored);
        registry.register("eviction_requests", "Requests to evict and delete, by answer", all.requests);
        registry.register(
            "eviction_outcomes",
            "Ends of pods with a notice, by who told them to end",
            all.outcomes,
        );
        registry.register(
            "eviction_pods",
            "Pods with a notice that have not ended, by where they stand",
            all.pods,
        );
        registry.register(
            "eviction_blocked_pods",
            "Pods with a notice whose eviction is blocked, by reason",
            all.blocked,
        );
        let help = "From the notice to the moment when the instance was seen as taken back";
        registry.register_with_unit("spot_notice_lead", help, Unit::Seconds, lead);
        let help = "From the moment when a pod was told to end to its deadline";
        registry.register_with_unit("eviction_slack", help, Unit::Seconds, slack);
        registry.register("spot_lost_pods", "Pods whose instance was taken back before they ended", all.lost);
        registry.register(
            "spot_degraded_pods",
            "Pods that got a regular instance for want of a spot instance",
            all.degraded,
        );
        registry.register(
            "eviction_reports_dropped",
            "Events that were not written because too many waited",
            all.dropped,
        );
        registry.register("eviction_watch_failing", "Whether the watch of a resource fails (1)", all.failing);
        let help = "Whether the operator may evict and delete pods (1), when there are profiles";
        registry.register("eviction_permitted", help, all.permitted);
        metrics
    }

    /// A notice that counts.
    pub(super) fn noticed(&self, source: NoticeSource) {
        let source = match source {
            NoticeSource::Event => "Event",
            NoticeSource::Condition => "Condition",
        };
        self.notices.get_or_create(&SourceLabels { source }).inc();
    }

    /// One that leads to no eviction.
    pub(super) fn ignored(&self, why: NotEligible) {
        self.ignored.get_or_create(&ReasonLabels { reason: why.as_str() }).inc();
    }

    /// A request was answered.
    pub(super) fn answered(&self, verb: Verb, answer: &Answer) {
        self.requests.get_or_create(&RequestLabels { verb: verb.as_str(), answer: answer.kind() }).inc();
    }

    /// It ended for a pod.
    pub(super) fn ended(&self, ended: &Ended) {
        let labels = OutcomeLabels { outcome: ended.outcome.as_str(), by: ended.by.as_str() };
        self.outcomes.get_or_create(&labels).inc();
        if let (Some(histogram), Some(lead)) = (&self.lead, ended.lead) {
            histogram.observe(lead.as_secs_f64());
        }
        if let (Some(histogram), Some(slack)) = (&self.slack, ended.slack) {
            histogram.observe(slack.max(SignedDuration::ZERO).as_secs_f64());
        }
    }

    /// An instance was taken back.
    pub(super) fn lost(&self) {
        self.lost.inc();
    }

    /// A regular instance was taken instead.
    pub(super) fn degraded(&self) {
        self.degraded.inc();
    }

    /// An event was not written.
    pub(super) fn dropped(&self) {
        self.dropped.inc();
    }

    /// How many pods stand where.
    pub(super) fn counted(&self, counts: Counts, blocked: &[Standing]) {
        let to_i64 = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for (state, n) in
            [("Noticed", counts.noticed), ("Blocked", counts.blocked), ("Leaving", counts.leaving)]
        {
            self.pods.get_or_create(&StateLabels { state }).set(to_i64(n));
        }
        for why in Why::ALL.iter().filter(|why| why.is_blocked()) {
            let n = blocked.iter().filter(|standing| standing.why == *why).count();
            self.blocked.get_or_create(&ReasonLabels { reason: why.as_str() }).set(to_i64(n));
        }
    }

    /// What the operator may do to pods.
    pub(super) fn permitted(&self, evict: bool, delete: bool) {
        for (verb, may) in [(Verb::Evict, evict), (Verb::Delete, delete)] {
            self.permitted.get_or_create(&VerbLabels { verb: verb.as_str() }).set(i64::from(may));
        }
    }

    /// Which watches fail.
    pub(super) fn watching(&self, failing: impl Fn(Watched) -> bool) {
        for watched in Watched::ALL {
            // Two watches are of events.
            let fails =
                Watched::ALL.iter().any(|other| other.as_str() == watched.as_str() && failing(*other));
            let labels = ResourceLabels { resource: watched.as_str() };
            self.failing.get_or_create(&labels).set(i64::from(fails));
        }
    }
}

/// Longest time that a gauge is behind what it counts.
pub(super) const COUNT_EVERY: Duration = Duration::from_secs(1);
