//! The loop: what was seen goes in, what is decided goes out as writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eci_core::eviction::PodRef;
use eci_core::placement::reason::PodReason;
use eci_core::placement::{gate, judge, patch, spill};
use eci_core::profile::networking::PodNetworking;
use eci_core::time::{Mono, Now, ago, until};
use futures::{FutureExt as _, Stream, StreamExt as _};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::act::{Answer, Job, Kind, WRITE_LIMIT, send};
use super::metrics::{Counts, PlacementMetrics};
use super::pod::Known;
use super::tell::{Teller, Word};
use super::view::View;
use crate::clock::Clock;
use crate::lease::Leadership;
use crate::sight::Sight;

/// Most changes that are taken in at once.
const BATCH: usize = 256;
/// How soon after a change is decided, so that changes that come together are decided together.
const DECIDE_AFTER: Duration = Duration::from_millis(100);
/// Most writes under way.
const MOST_WRITES: usize = 16;
/// How long to wait after an answer that was lost.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a pod is left alone whose write was refused.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// How often it is decided when nothing changes, for what was put off.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Most pods whose warnings are remembered, so that each is told once.
const TOLD_LIMIT: usize = 10_000;

/// What the loop is made of.
pub(super) struct Parts {
    /// The client for watches and writes.
    pub(super) client: Client,
    /// Where words for people go in.
    pub(super) teller: Teller,
    /// The clocks.
    pub(super) clock: Clock,
    /// Whether this process may act.
    pub(super) leadership: Leadership,
    /// Metrics.
    pub(super) metrics: PlacementMetrics,
    /// What the vendor's network plugin says of pods.
    pub(super) networkings: watch::Receiver<Arc<Vec<PodNetworking>>>,
    /// Whether a webhook of the operator puts into pods what profiles say.
    pub(super) webhook: bool,
    /// Whether writes are only logged.
    pub(super) dry_run: bool,
}

/// A write of which the watch has not shown what became of it.
#[derive(Debug)]
struct Flight {
    job: Job,
    /// The version of the pod that it was decided on.
    version: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is on its way.
    Sent,
    /// It is answered: the watch has to show a newer version of the pod.
    Answered,
    /// Its answer was lost: to be sent again then. It can be carried out once only, for it is for one version.
    Again(Mono),
}

/// The loop.
pub(super) struct Conductor {
    parts: Parts,
    view: View,
    /// By the UID of the pod.
    flights: BTreeMap<Arc<str>, Flight>,
    writes: JoinSet<(PodRef, Answer)>,
    /// Pods whose write was refused: not before then.
    refused: BTreeMap<Arc<str>, Mono>,
    told: BTreeSet<(Arc<str>, PodReason)>,
    decide_at: Option<Mono>,
}

impl Conductor {
    /// A loop that has seen nothing.
    pub(super) fn new(parts: Parts, view: View) -> Self {
        Self {
            parts,
            view,
            flights: BTreeMap::new(),
            writes: JoinSet::new(),
            refused: BTreeMap::new(),
            told: BTreeSet::new(),
            decide_at: None,
        }
    }

    /// Runs from the moment when this process leads until `stop` says so and all writes are answered. What it goes by was
    /// listed after that moment, so that it has seen what the process before did.
    pub(super) async fn run(mut self, namespaces: &[Option<String>], mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.parts.leadership.acquired() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let mut sights = crate::sight::all(&self.parts.client, namespaces);
        loop {
            let clock = self.parts.clock;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(answered) = self.writes.join_next() => match answered {
                    Ok((pod, answer)) => self.answered(&pod, answer, clock.now()),
                    Err(error) => {
                        tracing::error!(%error, "a write to a pod failed in itself; it counts as lost");
                        self.lose_all(clock.now().mono);
                    }
                },
                () = clock.until(self.decide_at) => self.decide(clock.now()),
                sight = sights.next() => match sight {
                    Some(sight) => {
                        self.take_in(sight, &mut sights);
                        self.decide_by(clock.now().mono.plus(DECIDE_AFTER));
                    }
                    None => break,
                },
            }
        }
        while self.writes.join_next().await.is_some() {}
    }

    /// Takes in a sight and those that wait behind it.
    fn take_in(&mut self, first: Sight, sights: &mut (impl Stream<Item = Sight> + Unpin)) {
        let now = self.parts.clock.now().wall;
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(sight) = next.take() else { return };
            self.view.see(sight, now);
            next = sights.next().now_or_never().flatten();
        }
        if let Some(last) = next {
            self.view.see(last, now);
        }
    }

    fn decide_by(&mut self, moment: Mono) {
        self.decide_at = Some(self.decide_at.map_or(moment, |then| then.min(moment)));
    }

    fn decide(&mut self, now: Now) {
        self.decide_at = Some(now.mono.plus(LOOK_EVERY));
        self.parts.metrics.watching(|watched| self.view.fails(watched));
        if !self.view.is_complete() {
            return;
        }
        self.view.networkings(&self.parts.networkings.borrow());
        self.view.settle();
        let view = &self.view;
        self.flights.retain(|_, flight| {
            flight.state == State::Sent
                || view.pod(&flight.job.pod).is_some_and(|known| !known.is_newer_than(&flight.version))
        });
        self.refused.retain(|_, until| *until > now.mono);
        // A write must have ended before another process can lead.
        let may_write = self.parts.leadership.left().is_none_or(|left| left >= WRITE_LIMIT);
        if !may_write {
            self.decide_by(now.mono.plus(AGAIN));
        }
        self.send_again(may_write, now.mono);
        let mut jobs = Vec::new();
        let mut counts = Counts::default();
        let mut words = Vec::new();
        let wakes = [
            self.admissions(&mut jobs, &mut words, &mut counts, now.wall),
            self.gates(&mut jobs, &mut words, &mut counts, now.wall),
        ];
        self.costs(&mut jobs);
        // Without a webhook nobody is there to be missed.
        if self.parts.webhook {
            self.count_missed(&mut words, &mut counts, now.wall);
        }
        self.parts.metrics.counted(counts);
        for word in words {
            self.tell_once(word);
        }
        if may_write {
            self.start(jobs, now);
        }
        if let Some(wake) = wakes.into_iter().flatten().min() {
            let wait = until(wake, Duration::ZERO, now.wall).max(Duration::from_millis(1));
            self.decide_by(now.mono.plus(wait));
        }
    }

    /// Pods that may go to virtual nodes now.
    fn admissions(
        &self,
        jobs: &mut Vec<(Job, String)>,
        words: &mut Vec<Word>,
        counts: &mut Counts,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let admits =
            |(uid, flight): (&Arc<str>, &Flight)| (flight.job.kind == Kind::Admit).then(|| Arc::clone(uid));
        let under_way: BTreeSet<Arc<str>> = self.flights.iter().filter_map(admits).collect();
        let candidates = self.view.candidates().filter(|candidate| {
            // A pod that is left alone takes nothing, unless it is there already.
            candidate.stand == spill::Stand::Virtual || !self.refused.contains_key(&candidate.pod.uid)
        });
        let room = MOST_WRITES.saturating_sub(self.flights.len());
        let plan = spill::plan(candidates, self.view.rules(), &under_way, room, now);
        for id in &plan.admit {
            let Some((known, pod)) = self.view.pod(id).and_then(|k| Some((k, k.unbound.as_ref()?))) else {
                continue;
            };
            let (profiles, world, namespace) = self.view.deciding(&id.namespace);
            let changes = judge::admission(profiles, world, namespace, pod);
            if changes.is_empty() || self.flights.contains_key(&id.uid) {
                continue;
            }
            let job = Job { kind: Kind::Admit, pod: id.clone(), patch: patch::admit(pod, &changes) };
            jobs.push((job, known.version.clone()));
        }
        for id in &plan.too_big {
            words.push(Word {
                pod: id.clone(),
                reason: PodReason::LimitTooSmall,
                note: "The pod asks for more than spec.placement.limits of its EciProfile allows on virtual nodes for all pods together, so that it stays on regular nodes. Raise the limits, or let it ask for less.".to_owned(),
                at: now,
            });
        }
        counts.held = plan.held.values().sum();
        counts.virtual_nodes = plan.taken.values().map(|amount| amount.pods).sum();
        plan.wake
    }

    /// Gates that go now.
    fn gates(
        &self,
        jobs: &mut Vec<(Job, String)>,
        words: &mut Vec<Word>,
        counts: &mut Counts,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut wake: Option<Timestamp> = None;
        for known in self.view.pods().filter(|known| known.gated && !known.leaves) {
            counts.gated += 1;
            let Some(pod) = known.unbound.as_ref().filter(|_| self.is_free(known)) else { continue };
            let (profiles, world, namespace) = self.view.deciding(&known.id.namespace);
            let plan = gate::plan(profiles, world, namespace, pod, now);
            wake = wake.into_iter().chain(plan.wake).min();
            if !plan.overdue.is_empty() {
                counts.overdue += 1;
                words.push(Word {
                    pod: known.id.clone(),
                    reason: PodReason::DataCacheLate,
                    note: "A data cache that the pod mounts is not Available, ten minutes after the pod was created. The pod goes on waiting, for it must not start without it: look at the DataCaches of its namespace (kubectl get datac).".to_owned(),
                    at: now,
                });
            }
            if plan.open.is_empty() {
                continue;
            }
            let kind = if plan.late.is_empty() { Kind::Open } else { Kind::OpenLate };
            let job = Job { kind, pod: known.id.clone(), patch: patch::open(pod, &plan) };
            jobs.push((job, known.version.clone()));
        }
        wake
    }

    /// Pods on virtual nodes that are to go first when their workload shrinks.
    fn costs(&self, jobs: &mut Vec<(Job, String)>) {
        for known in self.view.pods() {
            let rule = known.placing.as_ref().and_then(|name| self.view.rules().get(name));
            let wanted = rule.is_some_and(|rule| rule.virtual_first)
                && known.node.is_some()
                && known.stand == spill::Stand::Virtual
                && !known.has_cost
                && !known.leaves
                && !known.exempt;
            if wanted && self.is_free(known) {
                let patch = patch::cost(&known.version);
                jobs.push((Job { kind: Kind::Cost, pod: known.id.clone(), patch }, known.version.clone()));
            }
        }
    }

    fn count_missed(&self, words: &mut Vec<Word>, counts: &mut Counts, now: Timestamp) {
        for known in self.view.pods().filter(|known| !known.missed.is_empty()) {
            counts.missed += 1;
            let names: Vec<&str> = known.missed.iter().map(|name| &**name).collect();
            let note = format!(
                "The pod was created without what these EciProfiles say, because the operator's webhook was not there to put it in: {}. Create it anew to have it.",
                names.join(", ")
            );
            words.push(Word { pod: known.id.clone(), reason: PodReason::ProfileMissed, note, at: now });
        }
    }

    /// Whether nothing is under way for a pod, and nothing was refused lately.
    fn is_free(&self, known: &Known) -> bool {
        !self.flights.contains_key(&known.id.uid) && !self.refused.contains_key(&known.id.uid)
    }

    /// Tells it unless this process has.
    fn tell_once(&mut self, word: Word) {
        if self.told.len() >= TOLD_LIMIT {
            // The event has the same name when it is told again, so that it is there once all the same.
            self.told.clear();
        }
        if self.told.insert((Arc::clone(&word.pod.uid), word.reason)) {
            tracing::warn!(pod = %word.pod, reason = word.reason.as_str(), "{}", word.note);
            self.tell(word);
        }
    }

    fn tell(&self, word: Word) {
        if !self.parts.dry_run {
            self.parts.teller.tell(word);
        }
    }

    fn start(&mut self, jobs: Vec<(Job, String)>, now: Now) {
        for (job, version) in jobs {
            if self.flights.len() >= MOST_WRITES {
                // The next answer makes room.
                return;
            }
            if self.flights.contains_key(&job.pod.uid) {
                continue;
            }
            if self.parts.dry_run {
                tracing::info!(pod = %job.pod, action = job.kind.as_str(), patch = %job.patch, "dry-run: would change the pod");
                self.refused.insert(Arc::clone(&job.pod.uid), now.mono.plus(REFUSED_FOR));
                continue;
            }
            self.fly(&job);
            self.flights.insert(Arc::clone(&job.pod.uid), Flight { job, version, state: State::Sent });
        }
    }

    fn fly(&mut self, job: &Job) {
        let (client, metrics, job) = (self.parts.client.clone(), self.parts.metrics.clone(), job.clone());
        self.writes.spawn(async move {
            let answer = send(&client, &job).await;
            metrics.answered(job.kind, &answer);
            (job.pod, answer)
        });
    }

    fn send_again(&mut self, may_write: bool, now: Mono) {
        let due = |flight: &Flight| matches!(flight.state, State::Again(at) if at <= now);
        let due: Vec<Job> =
            self.flights.values().filter(|flight| due(flight)).map(|flight| flight.job.clone()).collect();
        for job in due.iter().filter(|_| may_write) {
            if let Some(flight) = self.flights.get_mut(&job.pod.uid) {
                flight.state = State::Sent;
            }
            self.fly(job);
        }
        let next = self.flights.values().filter_map(|flight| match flight.state {
            State::Again(at) => Some(at),
            State::Sent | State::Answered => None,
        });
        if let Some(next) = next.min() {
            self.decide_by(next.max(now.plus(DECIDE_AFTER)));
        }
    }

    fn lose_all(&mut self, now: Mono) {
        for flight in self.flights.values_mut().filter(|flight| flight.state == State::Sent) {
            flight.state = State::Again(now.plus(WRITE_LIMIT));
        }
        self.decide_by(now.plus(WRITE_LIMIT));
    }

    fn answered(&mut self, pod: &PodRef, answer: Answer, now: Now) {
        let Some(flight) = self.flights.get_mut(&pod.uid) else { return };
        let kind = flight.job.kind;
        match answer {
            Answer::Done(object) => {
                flight.state = State::Answered;
                tracing::info!(%pod, action = kind.as_str(), "changed the pod");
                if let Some(known) = self.view.pod(pod) {
                    let waited = ago(known.created, now.wall);
                    self.done(kind, pod, waited, now.wall);
                }
                self.view.written(*object, now.wall);
            }
            Answer::Changed | Answer::Gone => flight.state = State::Answered,
            Answer::Refused(error) => {
                tracing::warn!(%pod, action = kind.as_str(), error, "the pod cannot be changed; trying again in half a minute");
                self.flights.remove(&pod.uid);
                self.refused.insert(Arc::clone(&pod.uid), now.mono.plus(REFUSED_FOR));
                self.decide_by(now.mono.plus(REFUSED_FOR));
            }
            Answer::Lost(error) => {
                tracing::warn!(%pod, action = kind.as_str(), error, "it is not known whether the pod was changed; sending the same again");
                flight.state = State::Again(now.mono.plus(AGAIN));
            }
        }
        self.decide_by(now.mono.plus(DECIDE_AFTER));
    }

    fn done(&self, kind: Kind, pod: &PodRef, waited: Duration, at: Timestamp) {
        let word = |reason, note: String| Word { pod: pod.clone(), reason, note, at };
        match kind {
            Kind::Admit => {
                self.parts.metrics.admitted(waited);
                let seconds = waited.as_secs();
                let note =
                    format!("The pod may go to virtual nodes from now on, {seconds} s after it was created.");
                self.tell(word(PodReason::VirtualNodesAllowed, note));
            }
            Kind::Open => {
                self.tell(word(
                    PodReason::GateOpened,
                    "The pod does not wait for its cache any more.".to_owned(),
                ));
            }
            Kind::OpenLate => {
                self.parts.metrics.late();
                let note = "The image cache that the pod waited for was not ready in time (spec.imageCache.readyTimeout of its EciProfile): the pod starts without it.";
                self.tell(word(PodReason::ImageCacheLate, note.to_owned()));
            }
            Kind::Cost => {}
        }
    }
}
