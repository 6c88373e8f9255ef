//! What is done beside the evictions, and never in their way: what is reported of profiles, dry runs of evictions,
//! questions about permissions, and the removal of pods that their instance left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eci_api::eci_profile::{BlockedEviction, EciProfile, Spot};
use eci_core::eviction::answer::Answer;
use eci_core::eviction::lint::{self, Verdict};
use eci_core::eviction::notice::Policy;
use eci_core::eviction::remains::removal;
use eci_core::eviction::{Engine, PodRef, Standing};
use eci_core::profile::status::{OfEviction, Permits, Trouble, trouble};
use eci_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;

use super::survey::{Survey, WorkloadKey, survey};
use super::view::View;
use super::watch::Watched;
use crate::profiles::Reported;

/// How often the desk looks while something changes.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often all pods are looked at while something changes.
const SURVEY_EVERY: Duration = Duration::from_secs(10);
/// How long the answer to a dry run holds.
const PROBE_HOLDS: Duration = Duration::from_mins(5);
/// How often it is asked what the operator may do, while it may do all of it.
const ASK_EVERY: Duration = Duration::from_mins(5);
/// The same while it may not.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// How long a watch has to fail before a profile says so.
const FAILING_FOR: Duration = Duration::from_secs(30);
/// How long to wait after a removal that failed.
const TRY_AGAIN: Duration = Duration::from_secs(15);
/// Most removals under way.
const MOST_REMOVALS: usize = 8;
/// Most blocked pods that are looked at.
const BLOCKED_LIMIT: usize = 10_000;
/// Most of them that are reported of one profile.
const NAMED_LIMIT: usize = eci_core::profile::status::BLOCKED_LIMIT;

/// Something to be done.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// Ask whether a pod could be evicted.
    Probe(WorkloadKey, PodRef),
    /// Ask what the operator may do.
    Ask,
    /// Remove what a pod left behind.
    Remove(PodRef),
}

/// How it went.
#[derive(Debug)]
pub(super) enum Done {
    /// What a dry run was answered.
    Probed(WorkloadKey, Probed),
    /// What the operator may do; `None` when that was not answered.
    Asked(Option<Permits>),
    /// What the removal of a pod was answered.
    Removed(PodRef, Answer),
}

/// What was learnt of a workload by asking.
#[derive(Clone, Debug)]
pub(super) struct Probed {
    /// What a dry run of an eviction was answered.
    pub(super) answer: Answer,
    /// Whether it is a Job of which an eviction counts as a failure; false when that could not be asked.
    pub(super) fails_job: bool,
}

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    policy: Policy,
    survey: Survey,
    verdicts: BTreeMap<Arc<str>, Verdict>,
    survey_due: Option<Mono>,
    surveyed: Option<Mono>,
    probes: BTreeMap<WorkloadKey, (Probed, Mono)>,
    probing: bool,
    permits: Option<Permits>,
    ask_due: Option<Mono>,
    asking: bool,
    failing: BTreeMap<Watched, Mono>,
    /// When pods that failed with their instance were first seen so, by UID.
    failed: BTreeMap<Arc<str>, Timestamp>,
    /// Removals under way, or in vain: not before then.
    removing: BTreeMap<Arc<str>, Option<Mono>>,
    /// Where it is said how it is with profiles.
    reported: Arc<Reported>,
}

impl Desk {
    /// An empty desk.
    pub(super) fn new(policy: Policy, reported: Arc<Reported>) -> Self {
        Self {
            policy,
            survey: Survey::default(),
            verdicts: BTreeMap::new(),
            survey_due: Some(Mono::default()),
            surveyed: None,
            probes: BTreeMap::new(),
            probing: false,
            permits: None,
            ask_due: Some(Mono::default()),
            asking: false,
            failing: BTreeMap::new(),
            failed: BTreeMap::new(),
            removing: BTreeMap::new(),
            reported,
        }
    }

    /// Something changed that a survey would see.
    pub(super) fn changed(&mut self, now: Mono) {
        if self.survey_due.is_none() {
            let earliest = self.surveyed.map_or(now, |then| then.plus(SURVEY_EVERY));
            self.survey_due = Some(earliest.max(now));
        }
    }

    /// A pod of that profile was lost with its instance.
    pub(super) fn lost(&self, profile: Option<&Arc<str>>) {
        if let Some(profile) = profile {
            self.reported.lost(profile);
        }
    }

    /// A pod of that profile got a regular instance.
    pub(super) fn degraded(&self, profile: Option<&Arc<str>>) {
        if let Some(profile) = profile {
            self.reported.degraded(profile);
        }
    }

    /// An answer says that the operator may not do what it tried.
    pub(super) fn not_permitted(&mut self, now: Mono) {
        if self.permits.as_ref().is_some_and(|permits| *permits == Permits::default()) {
            self.ask_due = Some(now);
        }
    }

    /// Looks at everything: what is to be done, and when to look again if nothing changes.
    pub(super) fn look(
        &mut self,
        view: &View,
        engine: Option<&Engine>,
        now: Now,
    ) -> (Vec<Job>, Option<Mono>) {
        let mut jobs = Vec::new();
        if self.survey_due.is_some_and(|due| due <= now.mono) {
            self.survey_due = None;
            self.surveyed = Some(now.mono);
            self.survey = survey(view);
            self.remember_failed(view, now.wall);
            self.judge(engine);
        }
        let failing = view.failing();
        self.failing.retain(|watched, _| failing.contains(watched));
        for watched in failing {
            self.failing.entry(watched).or_insert(now.mono);
        }
        if !self.asking && view.profiles().next().is_some() && self.ask_due.is_some_and(|due| due <= now.mono)
        {
            self.asking = true;
            self.ask_due = None;
            jobs.push(Job::Ask);
        }
        let storm = engine.is_some_and(|engine| engine.counts().noticed > 0);
        if !storm {
            jobs.extend(self.probe(now.mono));
        }
        jobs.extend(self.remove(view, now));
        self.report(view, engine, now.mono);
        (jobs, self.next_look(storm, now.mono))
    }

    fn judge(&mut self, engine: Option<&Engine>) {
        let Some(engine) = engine else { return };
        let mut reports: BTreeMap<Arc<str>, Vec<lint::Report>> = BTreeMap::new();
        self.probes.retain(|key, _| self.survey.workloads.contains_key(key));
        for (key, workload) in &self.survey.workloads {
            let mut subject = workload.subject.clone();
            let starts = key.workload.as_ref().and_then(|workload| engine.starts(&key.namespace, workload));
            subject.start = starts.and_then(eci_core::eviction::forecast::Starts::p90);
            let probed = self.probes.get(key).map(|(probed, _)| probed);
            subject.dry_run = probed.map(|probed| probed.answer.clone());
            subject.disruption_fails_job = probed.is_some_and(|probed| probed.fails_job);
            reports.entry(Arc::clone(&key.profile)).or_default().push(lint::check(&subject, &self.policy));
        }
        self.verdicts =
            reports.iter().map(|(name, reports)| (Arc::clone(name), lint::verdict(reports))).collect();
    }

    /// The next dry run, one at a time.
    fn probe(&mut self, now: Mono) -> Option<Job> {
        if self.probing {
            return None;
        }
        let mut due = self.survey.workloads.iter().filter_map(|(key, workload)| {
            let pod = workload.probe.as_ref()?;
            let holds = self.probes.get(key).is_some_and(|(_, then)| then.plus(PROBE_HOLDS) > now);
            (!holds).then(|| Job::Probe(key.clone(), pod.clone()))
        });
        let job = due.next()?;
        self.probing = true;
        Some(job)
    }

    fn remember_failed(&mut self, view: &View, now: Timestamp) {
        let failed: BTreeSet<Arc<str>> =
            view.pods().filter(|(pod, _)| pod.bid_failed).map(|(pod, _)| Arc::clone(&pod.id.uid)).collect();
        self.failed.retain(|uid, _| failed.contains(uid));
        self.removing.retain(|uid, _| failed.contains(uid));
        for uid in failed {
            self.failed.entry(uid).or_insert(now);
        }
    }

    /// What pods left behind whose time has come.
    fn remove(&mut self, view: &View, now: Now) -> Vec<Job> {
        self.removing.retain(|_, until| until.is_none_or(|until| until > now.mono));
        if self.failed.is_empty() {
            return Vec::new();
        }
        let ttls: BTreeMap<&str, Duration> = view
            .profiles()
            .filter_map(|profile| {
                Some((profile.metadata.name.as_deref()?, ttl(profile.spec.spot.as_ref()?)?))
            })
            .collect();
        if ttls.is_empty() {
            return Vec::new();
        }
        let mut jobs = Vec::new();
        let mut under_way = self.removing.values().filter(|until| until.is_none()).count();
        for (pod, selected) in view.pods().filter(|(pod, _)| pod.bid_failed) {
            if under_way >= MOST_REMOVALS {
                break;
            }
            let Some(ttl) = selected.spot.as_ref().and_then(|(profile, _)| ttls.get(&**profile)) else {
                continue;
            };
            let Some(first_seen) = self.failed.get(&pod.id.uid) else { continue };
            if self.removing.get(&pod.id.uid).is_some_and(|until| until.is_none_or(|until| until > now.mono))
            {
                continue;
            }
            if removal(pod, *ttl, *first_seen, &self.policy).is_some_and(|due| due <= now.wall) {
                self.removing.insert(Arc::clone(&pod.id.uid), None);
                under_way += 1;
                jobs.push(Job::Remove(pod.id.clone()));
            }
        }
        jobs
    }

    /// Says how it is with all profiles.
    fn report(&self, view: &View, engine: Option<&Engine>, now: Mono) {
        let mut blocked =
            engine.map(|engine| blocked_by_profile(engine.blocked(BLOCKED_LIMIT))).unwrap_or_default();
        let of_profile = |profile: &EciProfile| {
            let name: Arc<str> = profile.name_any().into();
            let mut blocked = blocked.remove(&name).unwrap_or_default();
            blocked.truncate(NAMED_LIMIT);
            let verdict = self.verdict(profile, &name, engine.is_some());
            let trouble = self.trouble(profile, now);
            (name, OfEviction { verdict, trouble, blocked, ..OfEviction::default() })
        };
        self.reported.says(view.profiles().map(of_profile).collect());
    }

    fn verdict(&self, profile: &EciProfile, name: &Arc<str>, known: bool) -> Option<Verdict> {
        if !known || self.surveyed.is_none() || profile.spec.spot.is_none() {
            return None;
        }
        Some(self.verdicts.get(name).cloned().unwrap_or_else(|| lint::verdict(&[])))
    }

    fn trouble(&self, profile: &EciProfile, now: Mono) -> Option<Trouble> {
        let spot = profile.spec.spot.as_ref()?;
        let needed = [Watched::Pods, Watched::Budgets, Watched::Nodes];
        let for_long = |watched: &&Watched| {
            self.failing.get(watched).is_some_and(|since| since.plus(FAILING_FOR) <= now)
        };
        let watch = needed.iter().find(for_long).map(|watched| watched.as_str());
        let permits = self.permits.as_ref();
        trouble(spot, watch, &permits.cloned().unwrap_or_default())
    }

    fn next_look(&self, storm: bool, now: Mono) -> Option<Mono> {
        let soon = now.plus(LOOK_EVERY);
        let retry = self.removing.values().flatten().min().copied();
        let probe = self
            .survey
            .workloads
            .iter()
            .filter(|(_, workload)| workload.probe.is_some())
            .map(|(key, _)| self.probes.get(key).map_or(now, |(_, then)| then.plus(PROBE_HOLDS)));
        let probe = probe.min().filter(|_| !storm && !self.probing);
        let failing = (!self.failing.is_empty()).then_some(soon);
        let failed = (!self.failed.is_empty()).then(|| now.plus(SURVEY_EVERY));
        let ask = self.ask_due.filter(|_| !self.asking);
        // Those that are blocked are to be told soon.
        let storm = storm.then_some(soon);
        [self.survey_due, retry, probe, failing, failed, ask, storm]
            .into_iter()
            .flatten()
            .min()
            .map(|next| next.max(soon))
    }

    /// Takes in how a job went.
    pub(super) fn done(&mut self, done: Done, now: Mono) {
        match done {
            Done::Probed(key, probed) => {
                self.probing = false;
                if let Answer::NotPermitted(_) = &probed.answer {
                    self.not_permitted(now);
                }
                self.probes.insert(key, (probed, now));
                self.changed(now);
            }
            Done::Asked(permits) => {
                self.asking = false;
                let all = permits.as_ref().is_some_and(|permits| *permits == Permits::default());
                self.ask_due = Some(now.plus(if all { ASK_EVERY } else { ASK_AGAIN }));
                self.permits = permits.or_else(|| self.permits.take());
            }
            Done::Removed(pod, answer) => {
                if let Answer::NotPermitted(_) = &answer {
                    self.not_permitted(now);
                }
                // The watch says when it is gone.
                self.removing.insert(pod.uid, Some(now.plus(TRY_AGAIN)));
            }
        }
    }
}

fn blocked_by_profile(blocked: Vec<Standing>) -> BTreeMap<Arc<str>, Vec<BlockedEviction>> {
    let mut by_profile: BTreeMap<Arc<str>, Vec<BlockedEviction>> = BTreeMap::new();
    for standing in blocked {
        let Some(profile) = standing.profile else { continue };
        by_profile.entry(profile).or_default().push(BlockedEviction {
            namespace: standing.pod.namespace.to_string(),
            pod: standing.pod.name.to_string(),
            reason: standing.why.as_str().to_owned(),
            message: standing.message,
            deadline: Time(eci_api::condition::whole_seconds(standing.deadline)),
        });
    }
    by_profile
}

/// `failedPodTTL`, which the API server has checked.
fn ttl(spot: &Spot) -> Option<Duration> {
    let parsed: SignedDuration = spot.failed_pod_ttl.as_deref()?.parse().ok()?;
    Duration::try_from(parsed).ok()
}
