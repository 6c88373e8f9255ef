//! Before it happens: could the spot pods of a workload be evicted in time if all of them had a notice now?
//!
//! An ordered chain of named checks, each with its own reason, and a verdict over all workloads of a profile. What a
//! server-side dry run of an eviction says (it judges the budget without using it) is one input.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use eci_api::condition::ProfileReason;
use eci_api::reasons;

use super::answer::Answer;
use super::forecast;
use super::grace::MARGIN;
use super::notice::Policy;
use super::why::{NAMED_PODS, bounded, foreign};
use super::{Budget, Owner};

/// Most findings that the message of a verdict names.
pub const NAMED_FINDINGS: usize = 3;

/// A workload with spot pods, as the checks need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Namespace.
    pub namespace: Arc<str>,
    /// The workload ([`super::workload_of`]); `None` for pods without a controller.
    pub workload: Option<Owner>,
    /// How many of its pods are on spot instances.
    pub spot_pods: usize,
    /// How many are not.
    pub other_pods: usize,
    /// In how many zones the spot pods are, when that is known.
    pub zones: Option<usize>,
    /// The longest grace period of its pods, in seconds.
    pub grace: i64,
    /// For a Job: whether a pod that is evicted counts as failed (no `podFailurePolicy` that ignores
    /// `DisruptionTarget`).
    pub disruption_fails_job: bool,
    /// The budgets that select its pods.
    pub budgets: Vec<Budget>,
    /// The 90th percentile of its last start times, when that is known ([`super::forecast::Starts`]).
    pub start: Option<Duration>,
    /// How much of a start is the pull of its images, when that is known.
    pub pull: Option<Duration>,
    /// The images of pods that started from no image cache.
    pub uncached: Vec<Arc<str>>,
    /// What a dry run of an eviction of one of its pods was answered, if there was one.
    pub dry_run: Option<Answer>,
}

impl Subject {
    /// A workload without anything that stands in the way, for callers to fill.
    pub fn new(namespace: &str, workload: Option<Owner>) -> Self {
        Self {
            namespace: namespace.into(),
            workload,
            spot_pods: 0,
            other_pods: 0,
            zones: None,
            grace: 30,
            disruption_fails_job: false,
            budgets: Vec::new(),
            start: None,
            pull: None,
            uncached: Vec::new(),
            dry_run: None,
        }
    }

    /// How it is called in messages.
    pub fn name(&self) -> String {
        match &self.workload {
            Some(owner) => format!("{} {}/{}", owner.kind, self.namespace, owner.name),
            None => format!("pods without a controller in {}", self.namespace),
        }
    }
}

reasons! {
    /// What a check found.
    Check {
        /// More than one PodDisruptionBudget selects the pods: the API server refuses every eviction. Leave one.
        SeveralBudgets,
        /// The disruption controller cannot compute the budget. Correct it.
        BudgetSyncFailed,
        /// The budget allows no eviction even when all of its pods are healthy. Raise maxUnavailable, or run more
        /// replicas than minAvailable.
        BudgetNeverAllows,
        /// A dry run of an eviction was refused for another reason than a budget; the message has the words of the
        /// server.
        EvictionRefused,
        /// No controller makes a new pod: what an eviction ends stays ended.
        NothingReplacesIt,
        /// The grace period does not fit into the notice, so it will be cut short. Shorten it, or save earlier.
        GraceExceedsNotice,
        /// An eviction counts as a failure of the Job. Ignore the condition DisruptionTarget in its podFailurePolicy.
        JobCountsDisruptions,
        /// All replicas are on spot instances of one zone: they can all be taken back at once. Spread them over zones, or
        /// keep some on regular instances.
        AllSpotInOneZone,
        /// The budget lets too few go at a time, and replacements take too long, for all pods to be evicted within the
        /// notice. Cache the images, raise maxUnavailable, or run more replicas.
        NoticeTooShort,
        /// Fewer than three pods of the workload were seen to start, so nobody knows how long replacements take.
        StartTimesUnknown,
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Pods would be lost.
    Error,
    /// Nothing can be said.
    Unknown,
    /// No pod would be lost for it, but something else might.
    Warning,
}

/// What a check found for a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// How bad it is.
    pub severity: Severity,
    /// What was found and what would help, at most 1,024 characters.
    pub message: String,
}

/// A workload, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it is called.
    pub name: String,
    /// How many spot pods it has.
    pub pods: usize,
    /// How many of them would be evicted in time if all had a notice now; `None` when that cannot be said.
    pub saved: Option<usize>,
    /// How many if its images were cached, when that is more.
    pub saved_with_cache: Option<usize>,
    /// What was found, in the order of the checks.
    pub findings: Vec<Finding>,
}

/// A check: what it found, and how bad that is.
type Judge = fn(&Subject, &Policy) -> Option<(Severity, String)>;

/// The checks, in this order.
const CHECKS: [(Check, Judge); 10] = [
    (Check::SeveralBudgets, several_budgets),
    (Check::BudgetSyncFailed, sync_failed),
    (Check::BudgetNeverAllows, never_allows),
    (Check::EvictionRefused, refused),
    (Check::NothingReplacesIt, bare),
    (Check::GraceExceedsNotice, grace),
    (Check::JobCountsDisruptions, job),
    (Check::AllSpotInOneZone, one_zone),
    (Check::NoticeTooShort, too_short),
    (Check::StartTimesUnknown, unknown_start),
];

/// Judges one workload.
pub fn check(subject: &Subject, policy: &Policy) -> Report {
    let found = CHECKS.iter().filter_map(|(check, judge)| {
        let (severity, message) = judge(subject, policy)?;
        Some(Finding { check: *check, severity, message: bounded(message) })
    });
    let findings: Vec<Finding> = found.collect();
    let blocked = findings.iter().any(|finding| {
        matches!(
            finding.check,
            Check::SeveralBudgets
                | Check::BudgetSyncFailed
                | Check::BudgetNeverAllows
                | Check::EvictionRefused
        )
    });
    let saved = if blocked { Some(0) } else { saved(subject, policy, subject.start) };
    let saved_with_cache = if blocked { None } else { with_cache(subject, policy) };
    Report { name: subject.name(), pods: subject.spot_pods, saved, saved_with_cache, findings }
}

/// What condition `EvictionReady` of a profile says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True, False, or Unknown.
    pub ready: Option<bool>,
    /// Its reason.
    pub reason: ProfileReason,
    /// The forecast, and what stands in the way, at most 1,024 characters.
    pub message: String,
    /// How many spot pods there are.
    pub pods: usize,
    /// How many would be evicted in time, as far as that is known.
    pub saved: usize,
}

/// The verdict over the workloads of a profile.
pub fn verdict(reports: &[Report]) -> Verdict {
    let pods = reports.iter().map(|report| report.pods).sum();
    let saved = reports.iter().map(|report| report.saved.unwrap_or(0)).sum();
    if pods == 0 {
        let message = "no spot pod belongs to the profile".to_owned();
        return Verdict { ready: None, reason: ProfileReason::NoSpotPods, message, pods, saved };
    }
    let mut findings: Vec<(&Report, &Finding)> = reports
        .iter()
        .flat_map(|report| report.findings.iter().map(move |finding| (report, finding)))
        .collect();
    findings.sort_by_key(|(report, finding)| (finding.severity, finding.check, &report.name));
    let unknown: usize =
        reports.iter().filter(|report| report.saved.is_none()).map(|report| report.pods).sum();
    let (ready, reason) = match findings.first().map(|(_, finding)| finding.severity) {
        Some(Severity::Error) => (Some(false), ProfileReason::NotEvictable),
        Some(Severity::Unknown) => (None, ProfileReason::StartTimesUnknown),
        Some(Severity::Warning) | None => (Some(true), ProfileReason::Evictable),
    };
    let mut message = format!("{saved} of {pods} spot pods would be evicted in time if all had a notice now");
    if unknown > 0 {
        let _ = write!(message, ", for {unknown} nobody can say");
    }
    for (report, finding) in findings.iter().take(NAMED_FINDINGS) {
        let _ = write!(message, "; {}: {} ({})", report.name, finding.message, finding.check);
    }
    if findings.len() > NAMED_FINDINGS {
        let _ = write!(message, "; and {} more", findings.len() - NAMED_FINDINGS);
    }
    Verdict { ready, reason, message: bounded(message), pods, saved }
}

fn saved(subject: &Subject, policy: &Policy, start: Option<Duration>) -> Option<usize> {
    match subject.budgets.as_slice() {
        [] => Some(subject.spot_pods),
        [budget] => {
            let allowed = usize::try_from(budget.allowed).unwrap_or(0);
            forecast::saved(subject.spot_pods, allowed, policy.length, start)
        }
        _ => Some(0),
    }
}

/// How many would be saved if no image had to be pulled, when that is more and an image is not cached.
fn with_cache(subject: &Subject, policy: &Policy) -> Option<usize> {
    let (start, pull) = (subject.start?, subject.pull?);
    if subject.uncached.is_empty() {
        return None;
    }
    let now = saved(subject, policy, Some(start))?;
    saved(subject, policy, Some(start.saturating_sub(pull))).filter(|then| *then > now)
}

fn several_budgets(subject: &Subject, _: &Policy) -> Option<(Severity, String)> {
    let names: Vec<&str> = subject.budgets.iter().take(NAMED_PODS).map(|budget| &*budget.id.name).collect();
    (subject.budgets.len() > 1).then(|| {
        let message =
            format!("the PodDisruptionBudgets {} select the same pods: leave one", names.join(", "));
        (Severity::Error, message)
    })
}

fn sync_failed(subject: &Subject, _: &Policy) -> Option<(Severity, String)> {
    subject.budgets.iter().find_map(|budget| {
        let words = foreign(budget.sync_failed.as_deref()?);
        Some((Severity::Error, format!("PodDisruptionBudget {} cannot be computed: {words}", budget.id.name)))
    })
}

fn never_allows(subject: &Subject, _: &Policy) -> Option<(Severity, String)> {
    let budget = subject.budgets.iter().find(|budget| budget.never_allows())?;
    let promise = budget.promise.as_ref().map(|promise| format!(" ({})", foreign(&promise.to_string())));
    let message = format!(
        "PodDisruptionBudget {}{} needs all {} pods: raise maxUnavailable, or run more replicas than minAvailable",
        budget.id.name,
        promise.unwrap_or_default(),
        budget.expected
    );
    Some((Severity::Error, message))
}

fn refused(subject: &Subject, _: &Policy) -> Option<(Severity, String)> {
    let words = match subject.dry_run.as_ref()? {
        Answer::WebhookRefused(words) => format!("an admission webhook or policy refuses evictions: {words}"),
        Answer::NotPermitted(words) => format!("the operator may not evict: {words}"),
        Answer::Invalid(words) => format!("the API server refuses the request: {words}"),
        _ => return None,
    };
    Some((Severity::Error, words))
}

fn bare(subject: &Subject, _: &Policy) -> Option<(Severity, String)> {
    (subject.workload.is_none() && subject.spot_pods > 0).then(|| {
        let message = format!("{} pods have no controller: nothing replaces them", subject.spot_pods);
        (Severity::Warning, message)
    })
}

fn grace(subject: &Subject, policy: &Policy) -> Option<(Severity, String)> {
    let most = i64::try_from(policy.length.saturating_sub(MARGIN).as_secs()).unwrap_or(i64::MAX);
    (subject.grace > most).then(|| {
        let message = format!("a grace period of {} s is cut to {most} s", subject.grace);
        (Severity::Warning, message)
    })
}

fn job(subject: &Subject, _: &Policy) -> Option<(Severity, String)> {
    subject.disruption_fails_job.then(|| {
        let message =
            "an eviction counts as a failure: ignore DisruptionTarget in its podFailurePolicy".to_owned();
        (Severity::Warning, message)
    })
}

fn one_zone(subject: &Subject, _: &Policy) -> Option<(Severity, String)> {
    (subject.spot_pods > 1 && subject.other_pods == 0 && subject.zones == Some(1)).then(|| {
        let message = format!(
            "all {} replicas are on spot instances of one zone: give the profile vSwitches of more zones, or keep some on regular instances",
            subject.spot_pods
        );
        (Severity::Warning, message)
    })
}

fn too_short(subject: &Subject, policy: &Policy) -> Option<(Severity, String)> {
    let [budget] = subject.budgets.as_slice() else { return None };
    if budget.never_allows() || budget.sync_failed.is_some() {
        return None;
    }
    let saved = saved(subject, policy, subject.start)?;
    if saved >= subject.spot_pods {
        return None;
    }
    let mut message =
        format!("PodDisruptionBudget {} allows {} at a time", budget.id.name, budget.allowed.max(0));
    if let Some(start) = subject.start {
        let _ = write!(message, " and a replacement takes {} s", start.as_secs_f32().ceil());
    }
    let _ = write!(message, ", so {saved} of {} pods would be saved", subject.spot_pods);
    let images: Vec<String> = subject.uncached.iter().take(NAMED_PODS).map(|image| foreign(image)).collect();
    let (n, list) = (subject.uncached.len(), images.join(", "));
    match with_cache(subject, policy) {
        Some(then) => {
            let _ = write!(
                message,
                "; an ImageCache of its {n} uncached images ({list}): {saved} -> {then} pods saved"
            );
        }
        None if n > 0 && subject.pull.is_none() => {
            let _ = write!(
                message,
                "; its pods started from no image cache: an ImageCache of its {n} images ({list}) shortens starts; else raise maxUnavailable or run more replicas"
            );
        }
        None => message.push_str("; raise maxUnavailable or run more replicas"),
    }
    Some((Severity::Error, message))
}

fn unknown_start(subject: &Subject, policy: &Policy) -> Option<(Severity, String)> {
    let is_one = subject.budgets.len() == 1;
    (is_one && saved(subject, policy, subject.start).is_none()).then(|| {
        let message =
            "fewer than 3 of its pods were seen to start: nobody knows how long replacements take".to_owned();
        (Severity::Unknown, message)
    })
}
