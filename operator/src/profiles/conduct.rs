//! The loop: what was seen and reported goes in, statuses that differ go out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eci_core::profile::networking::PodNetworking;
use eci_core::profile::outlook::Question;
use eci_core::profile::status::{Facts, OfPods, Webhook, status, told};
use eci_core::profile::survey::Survey;
use eci_core::time::{Mono, Now};
use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::reported::Reported;
use super::view::{Changed, View};
use super::write::{Outcome, Write, difference, send};
use crate::clock::Clock;
use crate::lease::Leadership;
use crate::outlook::Outlook;
use crate::report::Reporter;
use crate::sight::{self, Sight};
use crate::webhook::Standing;

/// Most changes that are taken in at once.
const BATCH: usize = 256;
/// How soon after a change is looked, so that changes that come together are looked at together.
const LOOK_AFTER: Duration = Duration::from_millis(250);
/// Least time between two looks at all pods after a change of profiles, namespaces, nodes or caches.
const SURVEY_SOON: Duration = Duration::from_secs(2);
/// The same after a change of pods.
const SURVEY_EVERY: Duration = Duration::from_secs(10);
/// How often the numbers of a profile's pods are written.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// How long to wait after a write that failed.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// The same after one that was refused because the profile had changed, which the watch shows.
const CHANGED_WAIT: Duration = Duration::from_secs(1);
/// Most writes under way.
const MOST_WRITES: usize = 16;

/// What the loop is made of.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) leadership: Leadership,
    /// Publishes events about profiles, when the operator may.
    pub(super) reporter: Option<Reporter>,
    /// What the vendor's network plugin says of pods.
    pub(super) networkings: watch::Receiver<Arc<Vec<PodNetworking>>>,
    /// Where the webhook stands, when this process serves one.
    pub(super) standing: Option<watch::Receiver<Arc<Standing>>>,
    /// What those who evict say, when somebody does.
    pub(super) reported: Option<Arc<Reported>>,
    /// What the cloud says.
    pub(super) outlook: Arc<Outlook>,
    /// Whether nothing is written.
    pub(super) dry_run: bool,
}

/// The loop.
pub(super) struct Conductor {
    parts: Parts,
    view: View,
    survey: Option<Survey>,
    survey_due: Option<Mono>,
    surveyed: Option<Mono>,
    surveys: JoinSet<Survey>,
    writes: JoinSet<(Write, Outcome)>,
    /// Profiles whose status is being written, or was in vain: not before then.
    writing: BTreeMap<Arc<str>, Option<Mono>>,
    /// When the numbers of a profile were last written, and of which generation.
    counted: BTreeMap<Arc<str>, (Mono, i64)>,
    look_at: Option<Mono>,
}

impl Conductor {
    /// A loop that has seen nothing.
    pub(super) fn new(parts: Parts, view: View) -> Self {
        Self {
            parts,
            view,
            survey: None,
            survey_due: Some(Mono::default()),
            surveyed: None,
            surveys: JoinSet::new(),
            writes: JoinSet::new(),
            writing: BTreeMap::new(),
            counted: BTreeMap::new(),
            look_at: None,
        }
    }

    /// Runs from the moment when this process leads until `stop` says so and all writes are answered.
    pub(super) async fn run(mut self, namespaces: &[Option<String>], mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.parts.leadership.acquired() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let mut sights = sight::all(&self.parts.client, namespaces);
        let (mut standing, mut networkings) = (self.parts.standing.clone(), self.parts.networkings.clone());
        let (outlook, reported) = (Arc::clone(&self.parts.outlook), self.parts.reported.clone());
        loop {
            let clock = self.parts.clock;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(answered) = self.writes.join_next() => match answered {
                    Ok((write, outcome)) => self.answered(write, outcome, clock.now().mono),
                    Err(error) => {
                        tracing::error!(%error, "a write of a status failed in itself");
                        let again = Some(clock.now().mono.plus(TRY_AGAIN));
                        self.writing.values_mut().for_each(|until| *until = until.or(again));
                        self.look_soon();
                    }
                },
                Some(survey) = self.surveys.join_next() => {
                    match survey {
                        Ok(survey) => self.survey = Some(survey),
                        Err(error) => tracing::error!(%error, "a look at the pods of profiles failed in itself"),
                    }
                    self.look_soon();
                }
                () = moved(standing.as_mut()) => self.look_soon(),
                Ok(()) = networkings.changed() => self.survey_by(SURVEY_SOON, clock.now().mono),
                () = outlook.news() => self.look_soon(),
                () = news(reported.as_deref()) => self.look_soon(),
                () = clock.until(self.look_at) => self.look(clock.now()),
                sight = sights.next() => match sight {
                    Some(sight) => self.take_in(sight, &mut sights, clock.now().mono),
                    None => break,
                },
            }
        }
        self.surveys.abort_all();
        while self.writes.join_next().await.is_some() {}
    }

    /// Takes in a sight and those that wait behind it.
    fn take_in(&mut self, first: Sight, sights: &mut (impl Stream<Item = Sight> + Unpin), now: Mono) {
        let mut seen = Changed::default();
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(sight) = next.take() else { break };
            self.view.see(sight, &mut seen);
            next = sights.next().now_or_never().flatten();
        }
        if let Some(last) = next {
            self.view.see(last, &mut seen);
        }
        let gap = match seen {
            Changed { rules: true, .. } => Some(SURVEY_SOON),
            Changed { pods: true, .. } => Some(SURVEY_EVERY),
            Changed { .. } => None,
        };
        if let Some(gap) = gap {
            self.survey_by(gap, now);
        }
        // The end of a list may be all that was waited for.
        self.look_soon();
    }

    /// Has all pods looked at, that long after the last time.
    fn survey_by(&mut self, gap: Duration, now: Mono) {
        let due = self.surveyed.map_or(now, |then| then.plus(gap)).max(now);
        self.survey_due = Some(self.survey_due.map_or(due, |known| known.min(due)));
        self.look_soon();
    }

    fn look_soon(&mut self) {
        let soon = self.parts.clock.now().mono.plus(LOOK_AFTER);
        self.look_at = Some(self.look_at.map_or(soon, |then| then.min(soon)));
    }

    /// Looks at everything, and writes the statuses that differ from what they should say.
    fn look(&mut self, now: Now) {
        self.look_at = None;
        if !self.view.is_complete() {
            return;
        }
        if self.surveys.is_empty() && self.survey_due.is_some_and(|due| due <= now.mono) {
            (self.survey_due, self.surveyed) = (None, Some(now.mono));
            let networkings = Arc::clone(&self.parts.networkings.borrow());
            let snapshot = self.view.snapshot(self.parts.standing.is_some(), &networkings);
            self.surveys.spawn_blocking(move || snapshot.survey());
        }
        let questions =
            self.view.profiles().map(|(name, profile)| (name.to_string(), Question::of(&profile.spec)));
        self.parts.outlook.wants(questions);
        let view = &self.view;
        self.writing
            .retain(|name, until| view.has_profile(name) && until.is_none_or(|until| until > now.mono));
        self.counted.retain(|name, _| view.has_profile(name));
        if let Some(reported) = &self.parts.reported {
            reported.retain(|name| view.has_profile(name));
        }
        if !self.parts.dry_run && self.parts.leadership.holds() {
            self.write(now);
        }
        let retry = self.writing.values().flatten().min().copied();
        let count = self.counted.values().map(|(then, _)| then.plus(COUNT_EVERY));
        let count = count.filter(|due| *due > now.mono).min();
        let survey = self.survey_due.filter(|_| self.surveys.is_empty());
        let next = [retry, count, survey].into_iter().flatten().min();
        self.look_at = next.map(|next| next.max(now.mono.plus(LOOK_AFTER)));
    }

    fn write(&mut self, now: Now) {
        let profiles = self.view.ordered();
        let mut writes = Vec::new();
        for (name, profile) in self.view.profiles() {
            if self.writes.len() + writes.len() >= MOST_WRITES {
                // The next answer makes room.
                break;
            }
            if self.writing.contains_key(name) {
                continue;
            }
            let generation = profile.metadata.generation.unwrap_or_default();
            let pods = self.survey.as_ref().and_then(|survey| OfPods::of(survey, name, generation));
            let eviction = self.parts.reported.as_ref().map(|reported| reported.of(name));
            let (lost, degraded) = eviction.as_ref().map_or((0, 0), |of| (of.lost, of.degraded));
            let old = profile.status.as_ref();
            let due = self
                .counted
                .get(name)
                .is_none_or(|(then, of)| *of != generation || then.plus(COUNT_EVERY) <= now.mono);
            let numbers = pods.is_some() && due;
            let facts = Facts {
                refusal: profiles.refusal(name).cloned(),
                webhook: self.webhook(name),
                eviction,
                pods,
                cloud: self.parts.outlook.of(name),
            };
            let new = status(old, (&profile.spec, generation), &facts, numbers, now.wall);
            let Some(patch) = difference(profile, &new) else { continue };
            let before = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
            let (lost, degraded) = if numbers { (lost, degraded) } else { (0, 0) };
            let told = told(before, &new.conditions);
            let counted = numbers.then_some(generation);
            writes.push(Write { profile: Arc::clone(name), patch, told, counted, lost, degraded });
        }
        for write in writes {
            self.writing.insert(Arc::clone(&write.profile), None);
            let (client, reporter) = (self.parts.client.clone(), self.parts.reporter.clone());
            self.writes.spawn(async move {
                let outcome = send(&client, reporter.as_ref(), &write).await;
                (write, outcome)
            });
        }
    }

    fn webhook(&self, profile: &str) -> Webhook {
        self.parts.standing.as_ref().map_or(Webhook::Off, |standing| {
            Webhook::Told(standing.borrow().programmed.get(profile).copied())
        })
    }

    /// Takes in how a write went.
    fn answered(&mut self, write: Write, outcome: Outcome, now: Mono) {
        match outcome {
            Outcome::Written(profile) => {
                self.writing.remove(&write.profile);
                if let Some(generation) = write.counted {
                    if let Some(reported) = &self.parts.reported {
                        reported.written(&write.profile, write.lost, write.degraded);
                    }
                    self.counted.insert(write.profile, (now, generation));
                }
                self.view.written(*profile);
            }
            Outcome::Changed => drop(self.writing.insert(write.profile, Some(now.plus(CHANGED_WAIT)))),
            Outcome::Failed => drop(self.writing.insert(write.profile, Some(now.plus(TRY_AGAIN)))),
        }
        self.look_soon();
    }
}

/// Resolves when the webhook stands otherwise than before; never without one.
async fn moved(standing: Option<&mut watch::Receiver<Arc<Standing>>>) {
    if let Some(standing) = standing
        && standing.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Resolves when those who evict have something new; never when nobody does.
async fn news(reported: Option<&Reported>) {
    match reported {
        Some(reported) => reported.news().await,
        None => std::future::pending().await,
    }
}
