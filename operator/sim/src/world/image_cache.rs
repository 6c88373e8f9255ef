//! One image cache: its life as a function of time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::call::{Cause, Spec};
use super::settings::Settings;
use crate::clock::later_ms;
use crate::random::Random;

const DAY_MS: u64 = 86_400_000;

/// Most events that are kept; documented for container groups.
const MAX_EVENTS: usize = 50;

/// A cache, gone ones included: lists may lag behind.
#[derive(Clone, Debug)]
pub(crate) struct ImageCache {
    pub(crate) id: String,
    pub(crate) spec: Spec,
    pub(crate) created: Timestamp,
    pub(crate) container_group_id: String,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) flash_snapshot_id: Option<String>,
    pub(crate) last_matched: Option<Timestamp>,
    pub(crate) events: Vec<Event>,
    pub(crate) phase: Phase,
    /// When the phase last changed by itself.
    changed: Timestamp,
    pub(crate) gone: Option<(Timestamp, Cause)>,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Span {
    pub(crate) fn percent(self, now: Timestamp) -> i32 {
        let millis = |t: Timestamp| t.as_millisecond();
        let whole = (millis(self.until) - millis(self.from)).max(1);
        let part = (millis(now) - millis(self.from)).clamp(0, whole);
        i32::try_from(part.saturating_mul(100) / whole).unwrap_or(100)
    }
}

/// How a build will end.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Good,
    Bad { reason: String, message: String },
    Never,
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Preparing {
        until: Timestamp,
        verdict: Verdict,
        snapshot_ms: u64,
    },
    Creating {
        span: Span,
    },
    /// With `snapshot` the quick snapshot is there and the standard one is being made.
    Ready {
        snapshot: Option<Span>,
    },
    Failed {
        since: Timestamp,
    },
    Updating {
        until: Timestamp,
        verdict: Verdict,
        to: Box<Spec>,
    },
    UpdateFailed,
}

impl ImageCache {
    /// A build that begins.
    pub(crate) fn begin(
        spec: Spec,
        verdict: Verdict,
        now: Timestamp,
        settings: &Settings,
        random: &mut Random,
    ) -> Self {
        let mut cache = Self {
            id: random.id("imc"),
            created: now,
            container_group_id: random.id("eci"),
            snapshot_id: None,
            flash_snapshot_id: None,
            last_matched: None,
            events: Vec::new(),
            phase: Phase::Preparing {
                until: later_ms(now, settings.scaled(settings.prepare_ms)),
                verdict,
                snapshot_ms: settings.scaled(settings.create_ms),
            },
            changed: now,
            gone: None,
            spec,
        };
        for image in cache.spec.images.clone() {
            cache.event(now, "Normal", "Pulling", &format!("Pulling image \"{image}\""));
        }
        cache
    }

    pub(crate) fn status(&self) -> &'static str {
        match self.phase {
            Phase::Preparing { .. } => "Preparing",
            Phase::Creating { .. } => "Creating",
            Phase::Ready { .. } => "Ready",
            Phase::Failed { .. } => "Failed",
            Phase::Updating { .. } => "Updating",
            Phase::UpdateFailed => "UpdateFailed",
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. } | Phase::UpdateFailed)
    }

    /// When the cloud will remove it.
    pub(crate) fn expires(&self, settings: &Settings) -> Option<(Timestamp, Cause)> {
        if let Phase::Failed { since } = self.phase {
            return Some((later_ms(since, settings.failed_life_ms), Cause::FailedTooLong));
        }
        let days = u64::try_from(self.spec.retention_days?).ok()?;
        Some((later_ms(self.created, days.saturating_mul(DAY_MS)), Cause::Expired))
    }

    /// Lives on until `now`. Returns why and when it ended, when it did.
    pub(crate) fn advance(
        &mut self,
        now: Timestamp,
        settings: &Settings,
        random: &mut Random,
    ) -> Option<(Timestamp, Cause)> {
        loop {
            let step = self.next_step().filter(|due| *due <= now);
            // A retention that an update made shorter than the cache is old ends it then, not in the past.
            let end = self.expires(settings).map(|(due, cause)| (due.max(self.changed), cause));
            let end = end.filter(|(due, _)| *due <= now);
            match (step, end) {
                (_, Some((due, cause))) if step.is_none_or(|step| due <= step) => {
                    self.gone = Some((due, cause));
                    return self.gone;
                }
                (Some(due), _) => self.step(due, random),
                _ => return None,
            }
        }
    }

    fn next_step(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Preparing { verdict: Verdict::Never, .. }
            | Phase::Updating { verdict: Verdict::Never, .. }
            | Phase::Failed { .. }
            | Phase::UpdateFailed => None,
            Phase::Preparing { until, .. } | Phase::Updating { until, .. } => Some(*until),
            Phase::Creating { span } => Some(span.until),
            Phase::Ready { snapshot } => snapshot.map(|span| span.until),
        }
    }

    fn step(&mut self, at: Timestamp, random: &mut Random) {
        self.changed = at;
        match self.phase.clone() {
            Phase::Preparing { verdict: Verdict::Bad { reason, message }, .. } => {
                self.event(at, "Warning", &reason, &message);
                self.phase = Phase::Failed { since: at };
            }
            Phase::Preparing { snapshot_ms, .. } => {
                for image in self.spec.images.clone() {
                    self.event(at, "Normal", "Pulled", &format!("Successfully pulled image \"{image}\""));
                }
                let span = Span { from: at, until: later_ms(at, snapshot_ms) };
                self.phase = if self.spec.flash {
                    self.flash_snapshot_id = Some(random.id("s"));
                    Phase::Ready { snapshot: Some(span) }
                } else {
                    Phase::Creating { span }
                };
            }
            Phase::Creating { .. } | Phase::Ready { .. } => {
                self.snapshot_id = Some(random.id("s"));
                self.flash_snapshot_id = None;
                self.event(at, "Normal", "ImageCacheCreated", "Image cache created");
                self.phase = Phase::Ready { snapshot: None };
            }
            Phase::Updating { verdict: Verdict::Bad { reason, message }, .. } => {
                self.event(at, "Warning", &reason, &message);
                self.phase = Phase::UpdateFailed;
            }
            Phase::Updating { to, .. } => {
                if to.images != self.spec.images || self.snapshot_id.is_none() {
                    self.snapshot_id = Some(random.id("s"));
                }
                self.spec = *to;
                self.phase = Phase::Ready { snapshot: None };
            }
            Phase::Failed { .. } | Phase::UpdateFailed => {}
        }
    }

    pub(crate) fn event(&mut self, at: Timestamp, type_: &str, reason: &str, message: &str) {
        note(&mut self.events, &self.id, (at, type_, reason, message));
    }

    /// As the API shows it.
    pub(crate) fn view(&self, now: Timestamp, settings: &Settings) -> View {
        let progress = match &self.phase {
            Phase::Preparing { .. } | Phase::Failed { .. } => 0,
            Phase::Creating { span } | Phase::Ready { snapshot: Some(span) } => span.percent(now),
            Phase::Ready { snapshot: None } | Phase::Updating { .. } | Phase::UpdateFailed => 100,
        };
        View {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            region: settings.region.clone(),
            resource_group_id: self.spec.resource_group_id.clone(),
            status: self.status().to_owned(),
            progress: format!("{progress}%"),
            images: self.spec.images.clone(),
            size_gib: self.spec.size_gib,
            created: self.created,
            expires: self.expires(settings).map(|(at, _)| at),
            last_matched: self.last_matched,
            container_group_id: self.container_group_id.clone(),
            snapshot_id: self.snapshot_id.clone(),
            flash_snapshot_id: self.flash_snapshot_id.clone(),
            elimination_strategy: self.spec.elimination_strategy.clone(),
            tags: self.spec.tags.clone(),
            events: self.events.clone(),
        }
    }
}

/// Adds an event (when, type, reason, message) to those of a cache; one that is there already is counted.
pub(crate) fn note(
    events: &mut Vec<Event>,
    id: &str,
    (at, type_, reason, message): (Timestamp, &str, &str, &str),
) {
    let same = |e: &&mut Event| e.type_ == type_ && e.reason == reason && e.message == message;
    if let Some(known) = events.iter_mut().find(same) {
        known.count = known.count.saturating_add(1);
        known.last = at;
        return;
    }
    if events.len() >= MAX_EVENTS {
        events.remove(0);
    }
    events.push(Event {
        name: format!("{id}.{}", events.len()),
        type_: type_.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        count: 1,
        first: at,
        last: at,
    });
}

/// A cache as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// `ImageCacheId`
    pub id: String,
    /// `ImageCacheName`
    pub name: String,
    /// `RegionId`
    pub region: String,
    /// `ResourceGroupId`
    pub resource_group_id: Option<String>,
    /// `Status`
    pub status: String,
    /// `Progress`, such as `40%`
    pub progress: String,
    /// `Images`
    pub images: Vec<String>,
    /// `ImageCacheSize`, GiB
    pub size_gib: i32,
    /// `CreationTime`
    pub created: Timestamp,
    /// `ExpireDateTime`
    pub expires: Option<Timestamp>,
    /// `LastMatchedTime`
    pub last_matched: Option<Timestamp>,
    /// `ContainerGroupId`
    pub container_group_id: String,
    /// `SnapshotId`
    pub snapshot_id: Option<String>,
    /// `FlashSnapshotId`
    pub flash_snapshot_id: Option<String>,
    /// `EliminationStrategy`
    pub elimination_strategy: Option<String>,
    /// `Tags`
    pub tags: BTreeMap<String, String>,
    /// `Events`, oldest first
    pub events: Vec<Event>,
}

/// An event of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `Name`
    pub name: String,
    /// `Type`: Normal or Warning
    #[serde(rename = "type")]
    pub type_: String,
    /// `Reason`
    pub reason: String,
    /// `Message`
    pub message: String,
    /// `Count`
    pub count: i32,
    /// `FirstTimestamp`
    pub first: Timestamp,
    /// `LastTimestamp`
    pub last: Timestamp,
}
