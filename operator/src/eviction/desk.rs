//! What is done beside the evictions, and never in their way: the status of profiles, dry runs of evictions, questions
//! about permissions, and the removal of pods that their instance left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eci_api::eci_profile::{BlockedEviction, EciProfile, EciProfileStatus, ProfileCounts, Spot};
use eci_core::eviction::answer::Answer;
use eci_core::eviction::lint::{self, Verdict};
use eci_core::eviction::notice::Policy;
use eci_core::eviction::remains::removal;
use eci_core::eviction::{Engine, PodRef, Standing};
use eci_core::profile::outlook::Question;
use eci_core::profile::status::{self as profile_status, Facts, Permits, Trouble, status, trouble};
use eci_core::time::{Mono, Now};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::Value;
use tokio::sync::watch;

use super::survey::{Survey, WorkloadKey, survey};
use super::view::View;
use super::watch::Watched;
use crate::outlook::Outlook;
use crate::patch;
use crate::webhook;

/// How often the desk looks while something changes.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often all pods are looked at while something changes.
const SURVEY_EVERY: Duration = Duration::from_secs(10);
/// How often numbers of pods are written.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// How long the answer to a dry run holds.
const PROBE_HOLDS: Duration = Duration::from_mins(5);
/// How often it is asked what the operator may do, while it may do all of it.
const ASK_EVERY: Duration = Duration::from_mins(5);
/// The same while it may not.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// How long a watch has to fail before a profile says so.
const FAILING_FOR: Duration = Duration::from_secs(30);
/// How long to wait after a write or a removal that failed.
const TRY_AGAIN: Duration = Duration::from_secs(15);
/// Most removals under way.
const MOST_REMOVALS: usize = 8;
/// Most blocked pods that are looked at.
const BLOCKED_LIMIT: usize = 10_000;

/// Something to be done.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// Write the status of a profile.
    Write(Write),
    /// Ask whether a pod could be evicted.
    Probe(WorkloadKey, PodRef),
    /// Ask what the operator may do.
    Ask,
    /// Remove what a pod left behind.
    Remove(PodRef),
}

/// A status to be written.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// Of which profile.
    pub(super) profile: Arc<str>,
    /// The merge patch; refused when the object is not the one that it was made for.
    pub(super) patch: Value,
    /// Whether it has the numbers of pods.
    counted: bool,
    /// What it adds to the pods that were lost and degraded.
    losses: Losses,
}

/// How it went.
#[derive(Debug)]
pub(super) enum Done {
    /// A status was written.
    Wrote(Write, Box<EciProfile>),
    /// It was not: the object changed, or it failed.
    NotWritten(Write),
    /// What a dry run was answered.
    Probed(WorkloadKey, Answer),
    /// What the operator may do; `None` when that was not answered.
    Asked(Option<Permits>),
    /// What the removal of a pod was answered.
    Removed(PodRef, Answer),
}

/// Pods that were lost and degraded, and are in no status yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Losses {
    lost: i64,
    degraded: i64,
}

/// The desk.
#[derive(Debug)]
pub(super) struct Desk {
    policy: Policy,
    /// Where the webhook stands, when there is one.
    standing: Option<watch::Receiver<Arc<webhook::Standing>>>,
    survey: Survey,
    verdicts: BTreeMap<Arc<str>, Verdict>,
    survey_due: Option<Mono>,
    surveyed: Option<Mono>,
    losses: BTreeMap<Arc<str>, Losses>,
    counted: BTreeMap<Arc<str>, Mono>,
    /// Profiles whose status is being written, or was in vain: not before then.
    writing: BTreeMap<Arc<str>, Option<Mono>>,
    probes: BTreeMap<WorkloadKey, (Answer, Mono)>,
    probing: bool,
    permits: Option<Permits>,
    ask_due: Option<Mono>,
    asking: bool,
    failing: BTreeMap<Watched, Mono>,
    /// When pods that failed with their instance were first seen so, by UID.
    failed: BTreeMap<Arc<str>, Timestamp>,
    /// Removals under way, or in vain: not before then.
    removing: BTreeMap<Arc<str>, Option<Mono>>,
    /// What the cloud says of profiles.
    outlook: Arc<Outlook>,
}

impl Desk {
    /// An empty desk.
    pub(super) fn new(
        policy: Policy,
        standing: Option<watch::Receiver<Arc<webhook::Standing>>>,
        outlook: Arc<Outlook>,
    ) -> Self {
        Self {
            policy,
            standing,
            survey: Survey::default(),
            verdicts: BTreeMap::new(),
            survey_due: Some(Mono::default()),
            surveyed: None,
            losses: BTreeMap::new(),
            counted: BTreeMap::new(),
            writing: BTreeMap::new(),
            probes: BTreeMap::new(),
            probing: false,
            permits: None,
            ask_due: Some(Mono::default()),
            asking: false,
            failing: BTreeMap::new(),
            failed: BTreeMap::new(),
            removing: BTreeMap::new(),
            outlook,
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
    pub(super) fn lost(&mut self, profile: Option<&Arc<str>>) {
        if let Some(profile) = profile {
            self.losses.entry(Arc::clone(profile)).or_default().lost += 1;
        }
    }

    /// A pod of that profile got a regular instance.
    pub(super) fn degraded(&mut self, profile: Option<&Arc<str>>) {
        if let Some(profile) = profile {
            self.losses.entry(Arc::clone(profile)).or_default().degraded += 1;
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
        jobs.extend(self.write(view, engine, now));
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
            subject.dry_run = self.probes.get(key).map(|(answer, _)| answer.clone());
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

    /// The statuses that differ from what they should say.
    fn write(&mut self, view: &View, engine: Option<&Engine>, now: Now) -> Vec<Job> {
        let blocked =
            engine.map(|engine| blocked_by_profile(engine.blocked(BLOCKED_LIMIT))).unwrap_or_default();
        let mut jobs = Vec::new();
        self.outlook.wants(view.profiles().map(|p| (p.name_any(), Question::of(&p.spec))));
        self.writing.retain(|name, _| view.profile(name).is_some());
        self.counted.retain(|name, _| view.profile(name).is_some());
        self.losses.retain(|name, _| view.profile(name).is_some());
        for profile in view.profiles() {
            let name: Arc<str> = profile.name_any().into();
            if self.writing.get(&name).is_some_and(|until| until.is_none_or(|until| until > now.mono)) {
                continue;
            }
            let losses = self.losses.get(&name).copied().unwrap_or_default();
            let counts = self.survey.counts.get(&name).cloned().unwrap_or_default();
            let facts = Facts {
                webhook: self.webhook(&name),
                verdict: self.verdict(profile, &name, engine.is_some()),
                trouble: self.trouble(profile, now.mono),
                counts: ProfileCounts { lost_pods: losses.lost, degraded_pods: losses.degraded, ..counts },
                blocked: blocked.get(&name).cloned().unwrap_or_default(),
                cloud: self.outlook.of(&name),
                own_namespace: view.own_namespace().to_owned(),
                ..Facts::default()
            };
            // Before the first survey there are no numbers.
            let counted = self.surveyed.is_some()
                && self.counted.get(&name).is_none_or(|then| then.plus(COUNT_EVERY) <= now.mono);
            let generation = profile.metadata.generation.unwrap_or_default();
            let new = status(profile.status.as_ref(), (&profile.spec, generation), &facts, counted, now.wall);
            let Some(patch) = difference(profile, &new) else {
                self.writing.remove(&name);
                continue;
            };
            self.writing.insert(Arc::clone(&name), None);
            jobs.push(Job::Write(Write { profile: name, patch, counted, losses }));
        }
        jobs
    }

    fn webhook(&self, profile: &str) -> profile_status::Webhook {
        self.standing.as_ref().map_or(profile_status::Webhook::Off, |standing| {
            profile_status::Webhook::Told(standing.borrow().programmed.get(profile).copied())
        })
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
        let retry = self.writing.values().chain(self.removing.values()).flatten().min().copied();
        let probe = self
            .survey
            .workloads
            .iter()
            .filter(|(_, workload)| workload.probe.is_some())
            .map(|(key, _)| self.probes.get(key).map_or(now, |(_, then)| then.plus(PROBE_HOLDS)));
        let probe = probe.min().filter(|_| !storm && !self.probing);
        // Numbers of a survey that were not due yet.
        let count = self.counted.values().map(|then| then.plus(COUNT_EVERY)).filter(|due| *due > now).min();
        let failing = (!self.failing.is_empty()).then_some(soon);
        let failed = (!self.failed.is_empty()).then(|| now.plus(SURVEY_EVERY));
        let ask = self.ask_due.filter(|_| !self.asking);
        // Those that are blocked are to be told soon.
        let storm = storm.then_some(soon);
        [self.survey_due, retry, probe, count, failing, failed, ask, storm]
            .into_iter()
            .flatten()
            .min()
            .map(|next| next.max(soon))
    }

    /// Takes in how a job went.
    pub(super) fn done(&mut self, done: Done, view: &mut View, now: Mono) {
        match done {
            Done::Wrote(write, profile) => {
                self.writing.remove(&write.profile);
                if write.counted {
                    self.counted.insert(Arc::clone(&write.profile), now);
                    if let Some(losses) = self.losses.get_mut(&write.profile) {
                        losses.lost -= write.losses.lost;
                        losses.degraded -= write.losses.degraded;
                    }
                }
                view.written(*profile);
            }
            Done::NotWritten(write) => {
                self.writing.insert(write.profile, Some(now.plus(LOOK_EVERY)));
            }
            Done::Probed(key, answer) => {
                self.probing = false;
                if let Answer::NotPermitted(_) = &answer {
                    self.not_permitted(now);
                }
                self.probes.insert(key, (answer, now));
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

/// The patch that makes the status of `profile` say `new`; `None` when it does.
fn difference(profile: &EciProfile, new: &EciProfileStatus) -> Option<Value> {
    let json = |status: &EciProfileStatus| serde_json::to_value(status).unwrap_or_default();
    let old = profile.status.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), json);
    let difference = patch::merge(&old, &json(new))?;
    Some(patch::status(&difference, profile.metadata.resource_version.as_deref().unwrap_or_default()))
}
