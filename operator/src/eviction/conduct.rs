//! The loop around the engine: what was seen and answered goes in, what comes out is sent and told.

use std::sync::Arc;

use eci_core::eviction::answer::Answer;
use eci_core::eviction::remark::{Chorus, Remark, Said};
use eci_core::eviction::{Attempt, Effect, Engine, Event, Order, Report, Settings, Standing};
use eci_core::time::Mono;
use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::desk::{Desk, Done, Job, LOOK_EVERY, Probed};
use super::job;
use super::metrics::{COUNT_EVERY, EvictionMetrics, Verb};
use super::permits;
use super::request::Requests;
use super::tell::{Teller, Word};
use super::view::View;
use super::watch::Sight;
use crate::clock::Clock;
use crate::lease::Leadership;
use crate::profiles::Reported;

/// Most changes that are taken in before the engine decides.
const BATCH: usize = 256;
/// Grace period of what a pod left behind, in seconds; the API server makes it 0, for nothing runs in it any more.
const REMOVAL_GRACE: u32 = 1;
/// Most blocked pods that are counted by reason.
const COUNT_LIMIT: usize = 10_000;

/// What the loop is made of.
pub(super) struct Parts {
    /// Requests that are sent once.
    pub(super) requests: Requests,
    /// Where words for people go in.
    pub(super) teller: Teller,
    /// The clocks.
    pub(super) clock: Clock,
    /// Whether this process may act.
    pub(super) leadership: Leadership,
    /// Metrics.
    pub(super) metrics: EvictionMetrics,
    /// What the engine is set to.
    pub(super) settings: Settings,
    /// Whether requests and words are only logged.
    pub(super) dry_run: bool,
    /// Where it is said how it is with profiles.
    pub(super) reported: Arc<Reported>,
}

/// The loop.
pub(super) struct Conductor {
    parts: Parts,
    view: View,
    /// While this process leads.
    engine: Option<Engine>,
    wake: Option<Mono>,
    /// Requests under way.
    flights: JoinSet<(Attempt, Answer)>,
    /// What is done beside, while this process leads.
    desk: Desk,
    look_at: Option<Mono>,
    /// What the desk has ordered.
    jobs: JoinSet<Done>,
    /// When the gauges are set again.
    count_at: Option<Mono>,
    /// What waits to be told together.
    chorus: Chorus,
    ready: watch::Sender<bool>,
}

impl Conductor {
    /// A loop that has seen nothing. `ready` turns true when the watches have shown enough to begin.
    pub(super) fn new(parts: Parts, view: View, ready: watch::Sender<bool>) -> Self {
        let desk = Desk::new(parts.settings.policy, Arc::clone(&parts.reported));
        Self {
            parts,
            view,
            engine: None,
            wake: None,
            flights: JoinSet::new(),
            desk,
            look_at: None,
            jobs: JoinSet::new(),
            count_at: None,
            chorus: Chorus::default(),
            ready,
        }
    }

    /// Runs until `stop` says so and all requests are answered.
    pub(super) async fn run(
        mut self,
        client: Client,
        namespaces: &[Option<String>],
        mut stop: watch::Receiver<bool>,
    ) {
        let mut sights = super::watch::all(&client, namespaces);
        let leadership = self.parts.leadership.clone();
        let mut leads = false;
        loop {
            let clock = self.parts.clock;
            let mut tell = Vec::new();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = leadership.acquired(), if !leads => {
                    leads = true;
                    self.look_at = Some(clock.now().mono.plus(LOOK_EVERY));
                }
                Some(answered) = self.flights.join_next() => match answered {
                    Ok((attempt, answer)) => {
                        if let Answer::NotPermitted(_) = &answer {
                            self.desk.not_permitted(clock.now().mono);
                            self.look_soon();
                        }
                        tell.push(Event::Answered { attempt, answer });
                    }
                    Err(error) => tracing::error!(%error, "a request to evict failed in itself; it counts as lost"),
                },
                () = clock.until(self.wake) => tell.push(Event::Tick),
                () = clock.until(self.count_at) => self.count(),
                () = clock.until(self.chorus.wake()) => self.say(clock.now().mono),
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => {
                        self.desk.done(done, clock.now().mono);
                        self.look_soon();
                    }
                    Err(error) => tracing::error!(%error, "a task beside the evictions failed in itself"),
                },
                () = clock.until(self.look_at) => self.look(&client, namespaces),
                sight = sights.next() => match sight {
                    Some(sight) => {
                        self.take_in(sight, &mut sights, &mut tell);
                        if leads {
                            self.desk.changed(clock.now().mono);
                            self.look_soon();
                        }
                    }
                    None => break,
                },
            }
            self.view.settle(&mut tell);
            if self.engine.is_none() && self.view.is_complete() {
                self.ready.send_replace(true);
                if leads {
                    self.engine = Some(Engine::new(self.parts.settings));
                    tell = self.view.replay();
                    tracing::info!(facts = tell.len(), "watching for notices of spot instances");
                }
            }
            self.step(tell);
        }
        self.jobs.abort_all();
        for said in self.chorus.rest() {
            self.tell_remark(&said);
        }
        // What was sent is done or not; nobody is told any more, the next process sees it.
        while self.flights.join_next().await.is_some() {}
    }

    /// Takes in a sight and those that wait behind it.
    fn take_in(
        &mut self,
        first: Sight,
        sights: &mut (impl Stream<Item = Sight> + Unpin),
        tell: &mut Vec<Event>,
    ) {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(sight) = next.take() else { return };
            // The list may be asked for only when the engine knows that it begins.
            let pause = sight.begins_list();
            self.view.see(sight, tell);
            if pause {
                return;
            }
            next = sights.next().now_or_never().flatten();
        }
        if let Some(last) = next {
            self.view.see(last, tell);
        }
    }

    fn step(&mut self, tell: Vec<Event>) {
        let Some(engine) = &mut self.engine else { return };
        if tell.is_empty() {
            return;
        }
        let now = self.parts.clock.now();
        let step = engine.step(tell, now);
        self.wake = step.wake;
        if self.count_at.is_none() {
            self.count_at = Some(now.mono.plus(COUNT_EVERY));
        }
        for effect in step.effects {
            match effect {
                Effect::Evict(order) => self.send(order, Verb::Evict),
                Effect::Delete(order) => self.send(order, Verb::Delete),
                Effect::Report(report) => self.report(&report),
            }
        }
    }

    /// Sends a request. The engine bounds how many are under way.
    fn send(&mut self, order: Order, verb: Verb) {
        let (requests, metrics) = (self.parts.requests.clone(), self.parts.metrics.clone());
        let (may_act, dry_run) = (self.parts.leadership.holds(), self.parts.dry_run);
        self.flights.spawn(async move {
            let Order { attempt, pod, grace } = order;
            let answer = if dry_run {
                tracing::info!(%pod, grace, verb = ?verb, "dry-run: would ask the pod to end");
                return (attempt, Answer::Accepted);
            } else if !may_act {
                // The process is about to end.
                Answer::NotSent
            } else if verb == Verb::Delete {
                requests.delete(&pod, grace).await
            } else {
                requests.evict(&pod, grace).await
            };
            metrics.answered(verb, &answer);
            tracing::debug!(%pod, grace, verb = ?verb, answer = answer.kind(), "asked the pod to end");
            (attempt, answer)
        });
    }

    fn report(&mut self, report: &Report) {
        let metrics = self.parts.metrics.clone();
        let now = self.parts.clock.now().wall;
        match report {
            Report::Noticed { pod, notice, .. } => {
                metrics.noticed(notice.source);
                if notice.skewed {
                    tracing::warn!(%pod, "the time of the notice is ahead of this machine's clock by more than a minute; what counts is when it came");
                }
                tracing::info!(%pod, deadline = %notice.deadline, source = ?notice.source, "the spot instance of the pod will be taken back");
            }
            Report::Ignored { pod, why, .. } => {
                metrics.ignored(*why);
                tracing::info!(%pod, reason = why.as_str(), "a notice leads to no eviction: {}", why.message());
                self.remark(Remark::ignored(pod, *why, now));
            }
            Report::Standing(standing) => {
                log_standing(standing);
                self.remark(Some(Remark::standing(standing, now)));
            }
            Report::Ended(ended) => {
                metrics.ended(ended);
                tracing::info!(pod = %ended.pod, outcome = %ended.outcome, by = ended.by.as_str(), attempts = ended.attempts, "a pod with a notice has ended");
                self.remark(Remark::ended(ended, now));
            }
            Report::Forecast(forecast) => {
                let (noticed, saved) = (forecast.noticed, forecast.saved);
                tracing::info!(namespace = %forecast.namespace, budget = ?forecast.budget, noticed, ?saved, "forecast of evictions");
                let budget = forecast.budget.as_ref().and_then(|id| self.view.budget(id));
                self.tell(budget.and_then(|budget| Word::forecast(forecast, Arc::clone(&budget.uid))));
            }
            Report::Graded(grade) => {
                let (told, came) = (grade.forecast.saved, grade.saved);
                tracing::info!(namespace = %grade.forecast.namespace, budget = ?grade.forecast.budget, ?told, came, "what became of a forecast");
            }
            Report::Lost { pod, profile, fresh } => {
                // What was found so at the start was counted when it happened.
                if *fresh {
                    metrics.lost();
                    self.desk.lost(profile.as_ref());
                    tracing::warn!(%pod, "the spot instance of the pod was taken back before the pod had ended");
                }
            }
            Report::Degraded { pod, profile } => {
                metrics.degraded();
                self.desk.degraded(profile.as_ref());
                tracing::info!(%pod, "the pod got a regular instance for want of a spot instance");
            }
        }
    }

    fn remark(&mut self, remark: Option<Remark>) {
        let now = self.parts.clock.now().mono;
        if let Some(said) = remark.and_then(|remark| self.chorus.add(remark, now)) {
            self.tell_remark(&said);
        }
    }

    fn say(&mut self, now: Mono) {
        for said in self.chorus.due(now) {
            self.tell_remark(&said);
        }
    }

    fn tell_remark(&self, said: &Said) {
        let (Said::One(remark) | Said::Many { first: remark, .. }) = said;
        let budget = remark.budget.as_ref().and_then(|id| self.view.budget(id));
        self.tell(Some(Word::of(said, budget.map(|budget| Arc::clone(&budget.uid)))));
    }

    fn tell(&self, word: Option<Word>) {
        if let Some(word) = word.filter(|_| !self.parts.dry_run) {
            self.parts.teller.tell(word);
        }
    }

    /// Has the desk look, but not more often than it wants to.
    fn look_soon(&mut self) {
        let soon = self.parts.clock.now().mono.plus(LOOK_EVERY);
        self.look_at = Some(self.look_at.map_or(soon, |then| then.min(soon)));
    }

    fn look(&mut self, client: &Client, namespaces: &[Option<String>]) {
        let now = self.parts.clock.now();
        let (jobs, next) = self.desk.look(&self.view, self.engine.as_ref(), now);
        self.look_at = next;
        for job in jobs {
            if self.parts.dry_run && !matches!(job, Job::Ask) {
                continue;
            }
            if !self.parts.leadership.holds() {
                continue;
            }
            let (client, requests) = (client.clone(), self.parts.requests.clone());
            let (metrics, namespaces) = (self.parts.metrics.clone(), namespaces.to_vec());
            self.jobs.spawn(async move { carry_out(job, &client, &requests, &metrics, &namespaces).await });
        }
    }

    fn count(&mut self) {
        self.count_at = None;
        let failing = self.view.failing();
        self.parts.metrics.watching(|watched| failing.contains(&watched));
        if let Some(engine) = &self.engine {
            self.parts.metrics.counted(engine.counts(), &engine.blocked(COUNT_LIMIT));
        }
    }
}

/// Does what the desk ordered.
async fn carry_out(
    job: Job,
    client: &Client,
    requests: &Requests,
    metrics: &EvictionMetrics,
    namespaces: &[Option<String>],
) -> Done {
    match job {
        Job::Probe(key, pod) => {
            let answer = requests.would_evict(&pod).await;
            metrics.answered(Verb::DryRun, &answer);
            let fails_job = job::counts_disruptions(client, &key).await;
            Done::Probed(key, Probed { answer, fails_job })
        }
        Job::Remove(pod) => {
            let answer = requests.delete(&pod, REMOVAL_GRACE).await;
            metrics.answered(Verb::Remove, &answer);
            tracing::info!(%pod, answer = answer.kind(), "removed what a reclaimed pod left behind, as failedPodTTL says");
            Done::Removed(pod, answer)
        }
        Job::Ask => match permits::ask(client, namespaces).await {
            Ok(permits) => {
                metrics.permitted(permits.evict_denied.is_none(), permits.delete_denied.is_none());
                Done::Asked(Some(permits))
            }
            Err(error) => {
                tracing::debug!(%error, "cannot learn what the operator may do");
                Done::Asked(None)
            }
        },
    }
}

fn log_standing(standing: &Standing) {
    let (pod, reason, message) = (&standing.pod, standing.why.as_str(), standing.message.as_str());
    if standing.why.is_blocked() {
        tracing::warn!(%pod, reason, message, "an eviction is blocked");
    } else {
        tracing::info!(%pod, reason, message, "an eviction goes on");
    }
}
