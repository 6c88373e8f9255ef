//! One data cache: its life as a function of time. The mechanism is that of image caches, the words are others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::call::Cause;
use super::image_cache::{Event, Span, Verdict, note};
use super::settings::{BuildOutcome, Settings};
use crate::clock::later_ms;
use crate::random::Random;
use crate::secret::Digest;

const DAY_MS: u64 = 86_400_000;

/// Options of sources that are documented and no secrets; the values of all others are kept as digests.
const PUBLIC_OPTIONS: [&str; 8] =
    ["url", "repoSource", "repoId", "revision", "server", "path", "vers", "options"];

/// What a data cache is to be: the parameters of `CreateDataCache`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataSpec {
    /// `Name`
    pub name: String,
    /// `Bucket`
    pub bucket: String,
    /// `Path`
    pub path: String,
    /// `Size`, GiB
    pub size_gib: i32,
    /// `VSwitchId`, split
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub v_switch_ids: Vec<String>,
    /// `SecurityGroupId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_group_id: Option<String>,
    /// `DataSource`
    pub source: Source,
    /// `RetentionDays`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
    /// `ResourceGroupId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_group_id: Option<String>,
    /// `EipInstanceId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eip_instance_id: Option<String>,
    /// `EipCreateParam`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eip: Option<EipSpec>,
    /// `Tag.N`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl DataSpec {
    /// Bucket and path; a slash at the end of the path means nothing.
    pub(crate) fn place(&self) -> (&str, &str) {
        (&self.bucket, self.path.trim_end_matches('/'))
    }
}

/// `DataSource`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// `Type`
    #[serde(rename = "type")]
    pub type_: String,
    /// `Options`; values that could be secrets are digests.
    pub options: BTreeMap<String, String>,
}

impl Source {
    /// With the options that arrived.
    pub(crate) fn new(type_: String, options: BTreeMap<String, String>) -> Self {
        let options = options.into_iter().map(|(key, value)| {
            let value = shown_option(&key, value);
            (key, value)
        });
        Self { type_, options: options.collect() }
    }

    /// As the API tells it: JSON text, without what could be secret.
    fn told(&self) -> String {
        let public = |key: &str| PUBLIC_OPTIONS.contains(&key);
        let options: BTreeMap<_, _> = self.options.iter().filter(|(key, _)| public(key)).collect();
        serde_json::json!({ "options": options, "type": self.type_ }).to_string()
    }

    /// What was asked for, for messages and rules.
    fn in_words(&self) -> String {
        let public = |key: &str| PUBLIC_OPTIONS.contains(&key);
        let values: Vec<&str> =
            self.options.iter().filter(|(key, _)| public(key)).map(|(_, value)| value.as_str()).collect();
        format!("{} {}", self.type_, values.join(" "))
    }
}

/// An option's value as it may be kept.
pub(crate) fn shown_option(key: &str, value: String) -> String {
    if PUBLIC_OPTIONS.contains(&key) { value } else { Digest::of(&value).short() }
}

/// `EipCreateParam`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EipSpec {
    /// `Bandwidth`, Mbit/s
    pub bandwidth: Option<i32>,
    /// `CommonBandwidthPackage`
    pub common_bandwidth_package: Option<String>,
    /// `ISP`
    pub isp: Option<String>,
    /// `InternetChargeType`
    pub internet_charge_type: Option<String>,
    /// `PublicIpAddressPoolId`
    pub public_ip_address_pool_id: Option<String>,
}

/// What `UpdateDataCache` is to change; what is absent stays. There is no path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataChange {
    /// `Bucket`
    pub bucket: Option<String>,
    /// `Name`
    pub name: Option<String>,
    /// `Size`, GiB
    pub size_gib: Option<i32>,
    /// `VSwitchId`, split
    pub v_switch_ids: Option<Vec<String>>,
    /// `SecurityGroupId`
    pub security_group_id: Option<String>,
    /// `DataSource`
    pub source: Option<Source>,
    /// `RetentionDays`
    pub retention_days: Option<i32>,
    /// `ResourceGroupId`
    pub resource_group_id: Option<String>,
    /// `EipInstanceId`
    pub eip_instance_id: Option<String>,
    /// `EipCreateParam`
    pub eip: Option<EipSpec>,
    /// `Tag.N`; replaces all.
    pub tags: Option<BTreeMap<String, String>>,
}

impl DataChange {
    /// The spec after the change.
    pub(crate) fn applied_to(&self, spec: &DataSpec) -> DataSpec {
        let or = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
        DataSpec {
            name: self.name.clone().unwrap_or_else(|| spec.name.clone()),
            bucket: self.bucket.clone().unwrap_or_else(|| spec.bucket.clone()),
            path: spec.path.clone(),
            size_gib: self.size_gib.unwrap_or(spec.size_gib),
            v_switch_ids: self.v_switch_ids.clone().unwrap_or_else(|| spec.v_switch_ids.clone()),
            security_group_id: or(&self.security_group_id, &spec.security_group_id),
            source: self.source.clone().unwrap_or_else(|| spec.source.clone()),
            retention_days: self.retention_days.or(spec.retention_days),
            resource_group_id: or(&self.resource_group_id, &spec.resource_group_id),
            eip_instance_id: or(&self.eip_instance_id, &spec.eip_instance_id),
            eip: self.eip.clone().or_else(|| spec.eip.clone()),
            tags: self.tags.clone().unwrap_or_else(|| spec.tags.clone()),
        }
    }
}

/// The filters of `DescribeDataCaches`; all must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DataFilter {
    /// `DataCacheId.N`
    pub ids: Vec<String>,
    /// `Bucket`
    pub bucket: Option<String>,
    /// `Path`
    pub path: Option<String>,
    /// `ResourceGroupId`
    pub resource_group_id: Option<String>,
    /// `Tag.N`
    pub tags: Vec<super::call::TagFilter>,
    /// `Limit`
    #[serde(skip)]
    pub limit: Option<i32>,
    /// `NextToken`
    #[serde(skip)]
    pub next_token: Option<String>,
}

/// A cache, gone ones included: lists may lag behind.
#[derive(Clone, Debug)]
pub(crate) struct DataCache {
    pub(crate) id: String,
    pub(crate) spec: DataSpec,
    pub(crate) created: Timestamp,
    container_group_id: String,
    pub(crate) snapshot_id: Option<String>,
    pub(crate) last_matched: Option<Timestamp>,
    events: Vec<Event>,
    pub(crate) phase: DataPhase,
    /// When the phase last changed by itself.
    changed: Timestamp,
    pub(crate) gone: Option<(Timestamp, Cause)>,
}

#[derive(Clone, Debug)]
pub(crate) enum DataPhase {
    Loading { span: Span, verdict: Verdict, snapshot_ms: u64 },
    Creating { span: Span },
    Available,
    Failed { since: Timestamp },
    Updating { until: Timestamp, verdict: Verdict, to: Box<DataSpec> },
    UpdateFailed,
}

impl DataCache {
    /// A build that begins.
    pub(crate) fn begin(
        spec: DataSpec,
        verdict: Verdict,
        now: Timestamp,
        settings: &Settings,
        random: &mut Random,
    ) -> Self {
        let mut cache = Self {
            id: random.id("edc"),
            created: now,
            container_group_id: random.id("eci"),
            snapshot_id: None,
            last_matched: None,
            events: Vec::new(),
            phase: DataPhase::Loading {
                span: Span { from: now, until: later_ms(now, settings.scaled(settings.prepare_ms)) },
                verdict,
                snapshot_ms: settings.scaled(settings.create_ms),
            },
            changed: now,
            gone: None,
            spec,
        };
        let message = format!("Loading {}", cache.spec.source.in_words());
        cache.event(now, "Normal", "Loading", &message);
        cache
    }

    pub(crate) fn status(&self) -> &'static str {
        match self.phase {
            DataPhase::Loading { .. } => "Loading",
            DataPhase::Creating { .. } => "Creating",
            DataPhase::Available => "Available",
            DataPhase::Failed { .. } => "Failed",
            DataPhase::Updating { .. } => "Updating",
            DataPhase::UpdateFailed => "UpdateFailed",
        }
    }

    /// Whether it can be updated.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, DataPhase::Available | DataPhase::UpdateFailed)
    }

    /// When the cloud will remove it.
    fn expires(&self, settings: &Settings) -> Option<(Timestamp, Cause)> {
        if let DataPhase::Failed { since } = self.phase {
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
            DataPhase::Loading { verdict: Verdict::Never, .. }
            | DataPhase::Updating { verdict: Verdict::Never, .. }
            | DataPhase::Available
            | DataPhase::Failed { .. }
            | DataPhase::UpdateFailed => None,
            DataPhase::Updating { until, .. } => Some(*until),
            DataPhase::Loading { span, .. } | DataPhase::Creating { span } => Some(span.until),
        }
    }

    fn step(&mut self, at: Timestamp, random: &mut Random) {
        self.changed = at;
        match self.phase.clone() {
            DataPhase::Loading { verdict: Verdict::Bad { reason, message }, .. } => {
                self.event(at, "Warning", &reason, &message);
                self.phase = DataPhase::Failed { since: at };
            }
            DataPhase::Loading { snapshot_ms, .. } => {
                self.event(at, "Normal", "Loaded", "The data was loaded");
                self.phase =
                    DataPhase::Creating { span: Span { from: at, until: later_ms(at, snapshot_ms) } };
            }
            DataPhase::Creating { .. } => {
                self.snapshot_id = Some(random.id("s"));
                self.event(at, "Normal", "DataCacheCreated", "Data cache created");
                self.phase = DataPhase::Available;
            }
            DataPhase::Updating { verdict: Verdict::Bad { reason, message }, .. } => {
                self.event(at, "Warning", &reason, &message);
                self.phase = DataPhase::UpdateFailed;
            }
            DataPhase::Updating { to, .. } => {
                if to.source != self.spec.source || self.snapshot_id.is_none() {
                    self.snapshot_id = Some(random.id("s"));
                }
                self.spec = *to;
                self.phase = DataPhase::Available;
            }
            DataPhase::Available | DataPhase::Failed { .. } | DataPhase::UpdateFailed => {}
        }
    }

    pub(crate) fn event(&mut self, at: Timestamp, type_: &str, reason: &str, message: &str) {
        note(&mut self.events, &self.id, (at, type_, reason, message));
    }

    /// As the API shows it.
    pub(crate) fn view(&self, now: Timestamp, settings: &Settings) -> DataView {
        // Half of the way is loading, half the snapshot.
        let progress = match &self.phase {
            DataPhase::Failed { .. } => 0,
            DataPhase::Loading { span, .. } => span.percent(now) / 2,
            DataPhase::Creating { span } => 50 + span.percent(now) / 2,
            DataPhase::Available | DataPhase::Updating { .. } | DataPhase::UpdateFailed => 100,
        };
        DataView {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            bucket: self.spec.bucket.clone(),
            path: self.spec.path.clone(),
            region: settings.region.clone(),
            resource_group_id: self.spec.resource_group_id.clone(),
            status: self.status().to_owned(),
            progress: format!("{progress}%"),
            size_gib: self.spec.size_gib,
            created: self.created,
            expires: self.expires(settings).map(|(at, _)| at),
            last_matched: self.last_matched,
            container_group_id: self.container_group_id.clone(),
            snapshot_id: self.snapshot_id.clone(),
            source_type: self.spec.source.type_.clone(),
            source_options: self.spec.source.told(),
            tags: self.spec.tags.clone(),
            events: self.events.clone(),
        }
    }
}

/// How loading will end. A rule with a number of times is used up by one.
pub(crate) fn verdict(spec: &DataSpec, settings: &mut Settings) -> Verdict {
    let wanted = spec.source.in_words();
    let bad = |reason: &str, message: &str| Verdict::Bad {
        reason: reason.to_owned(),
        message: format!("Failed to load {wanted}: {message}"),
    };
    for rule in settings.loads.iter_mut().filter(|rule| wanted.contains(&rule.source_contains)) {
        match &mut rule.times {
            Some(0) => continue,
            Some(times) => *times -= 1,
            None => {}
        }
        return match &rule.outcome {
            BuildOutcome::Succeeds => Verdict::Good,
            BuildOutcome::Hangs => Verdict::Never,
            BuildOutcome::Fails { reason, message } => bad(reason, message),
        };
    }
    let Some(source) = settings.sources.iter().find(|source| wanted.contains(&source.contains)) else {
        return Verdict::Good;
    };
    let given = spec.source.options.get("accessToken");
    if source.access_token.as_ref().is_some_and(|token| given != Some(&token.short())) {
        return bad("Failed", "401 Unauthorized: an access token with the right to read it is needed");
    }
    if source.needs_internet && spec.eip.is_none() && spec.eip_instance_id.is_none() {
        return bad("Failed", "dial tcp: i/o timeout");
    }
    if source.gib.is_some_and(|gib| gib > spec.size_gib) {
        return bad("Failed", "no space left on device");
    }
    Verdict::Good
}

/// A cache as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataView {
    /// `DataCacheId`
    pub id: String,
    /// `Name`
    pub name: String,
    /// `Bucket`
    pub bucket: String,
    /// `Path`
    pub path: String,
    /// `RegionId`
    pub region: String,
    /// `ResourceGroupId`
    pub resource_group_id: Option<String>,
    /// `Status`
    pub status: String,
    /// `Progress`, such as `40%`
    pub progress: String,
    /// `Size`, GiB
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
    /// `DataSource.Type`
    pub source_type: String,
    /// `DataSource.Options`: JSON text
    pub source_options: String,
    /// `Tags`
    pub tags: BTreeMap<String, String>,
    /// `Events`, oldest first
    pub events: Vec<Event>,
}
