//! What the status of a profile says, of what is known about it and its pods.

mod conditions;
#[cfg(test)]
mod tests;
mod trouble;

use eci_api::condition::{ConditionType, ProfileReason};
use eci_api::eci_profile::{
    AuditImpact, BlockedEviction, EciProfileSpec, EciProfileStatus, ProfileCounts, ProfileMode,
};
use jiff::Timestamp;

use self::conditions::Conditions;
pub use self::conditions::{Told, told};
pub use self::trouble::{Permits, Trouble, trouble};
use super::outlook::{ABOUT_THE_CLOUD, Question, Said};
use super::survey::Survey;
use crate::eviction::lint::Verdict;

/// Most blocked evictions that a status names.
pub const BLOCKED_LIMIT: usize = 20;

/// Whether new pods get what a profile says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// This operator serves no webhook.
    Off,
    /// The API server was told to ask about the pods of this generation of the profile; `None` when of none.
    Told(Option<i64>),
}

impl Default for Webhook {
    fn default() -> Self {
        Self::Told(None)
    }
}

/// What those who evict know of a profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfEviction {
    /// Whether its spot pods could be evicted in time; `None` when that was not looked at yet.
    pub verdict: Option<Verdict>,
    /// What only a person can put right.
    pub trouble: Option<Trouble>,
    /// Its pods with a notice whose eviction is blocked, the most urgent first.
    pub blocked: Vec<BlockedEviction>,
    /// Pods that were lost with their instance, and are in no status yet.
    pub lost: i64,
    /// Pods that got a regular instance for want of a spot instance, likewise.
    pub degraded: i64,
}

/// What the pods that exist say of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct OfPods {
    /// Their numbers.
    pub counts: ProfileCounts,
    /// Whether a profile of equal priority says otherwise, the reason and the message.
    pub conflict: (bool, ProfileReason, String),
    /// What a profile in mode Audit would change: the message and the workloads.
    pub audit: Option<(String, Vec<AuditImpact>)>,
}

impl OfPods {
    /// What a survey says of a profile; `None` when it did not look at this generation of it.
    pub fn of(survey: &Survey, profile: &str, generation: i64) -> Option<Self> {
        (survey.generation(profile) == Some(generation)).then(|| Self {
            counts: survey.counts(profile),
            conflict: survey.conflicts().of(profile),
            audit: survey.audit(profile).cloned(),
        })
    }
}

/// What is known about a profile beyond its spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Reason and message of what is wrong with its spec; `None` when it is valid.
    pub refusal: Option<(ProfileReason, String)>,
    /// Whether new pods get what it says.
    pub webhook: Webhook,
    /// What those who evict know; `None` when nobody evicts.
    pub eviction: Option<OfEviction>,
    /// What the pods say; `None` when they were not looked at yet.
    pub pods: Option<OfPods>,
    /// What the cloud says of it. Of what it was not asked yet, the status keeps what it says.
    pub cloud: Vec<Said>,
}

/// The status that follows on `old`. What changes with every pod (numbers, and the pods and workloads that messages name)
/// is taken from `facts` only if `numbers` says so; what was lost and degraded adds to what the old status says.
/// Conditions of others stay as they are.
pub fn status(
    old: Option<&EciProfileStatus>,
    (spec, generation): (&EciProfileSpec, i64),
    facts: &Facts,
    numbers: bool,
    now: Timestamp,
) -> EciProfileStatus {
    let old = old.cloned().unwrap_or_default();
    let mut conditions = Conditions { list: old.conditions, generation, now };
    match &facts.refusal {
        None => {
            conditions.set(ConditionType::Accepted, Some(true), ProfileReason::Valid, "The spec is valid.");
        }
        Some((reason, message)) => {
            conditions.set(ConditionType::Accepted, Some(false), *reason, message);
        }
    }
    let audit = facts.pods.as_ref().and_then(|pods| pods.audit.as_ref());
    let audit = audit.filter(|_| facts.refusal.is_none() && spec.mode == ProfileMode::Audit);
    ready(&mut conditions, spec, facts, audit.map(|(message, _)| message.as_str()).filter(|_| numbers));
    if let Some(OfPods { conflict: (conflicted, reason, message), .. }) = &facts.pods {
        let type_ = ConditionType::Conflicted;
        let known = conditions.message(type_, Some(*conflicted), *reason).filter(|_| !numbers);
        conditions.set(type_, Some(*conflicted), *reason, known.as_ref().unwrap_or(message));
    }
    match facts.eviction.as_ref().map(|eviction| &eviction.verdict) {
        Some(Some(verdict)) if spec.spot.is_some() => {
            conditions.set(ConditionType::EvictionReady, verdict.ready, verdict.reason, &verdict.message);
        }
        // Not looked at yet: what was said before holds.
        Some(None) if spec.spot.is_some() => {}
        _ => conditions.remove(ConditionType::EvictionReady),
    }
    let question = Question::of(spec);
    for type_ in ABOUT_THE_CLOUD {
        let asked = match type_ {
            ConditionType::NetworkReady => !question.v_switches.is_empty(),
            _ => question.price.is_some(),
        };
        match facts.cloud.iter().find(|said| said.type_ == type_) {
            Some(said) if asked => conditions.set(type_, said.status, said.reason, &said.message),
            None if asked => {}
            _ => conditions.remove(type_),
        }
    }
    let eviction = facts.eviction.as_ref();
    let before = old.counts.unwrap_or_default();
    let counts = match &facts.pods {
        Some(OfPods { counts, .. }) if numbers => ProfileCounts {
            lost_pods: before.lost_pods.saturating_add(eviction.map_or(0, |eviction| eviction.lost)),
            degraded_pods: before
                .degraded_pods
                .saturating_add(eviction.map_or(0, |eviction| eviction.degraded)),
            ..counts.clone()
        },
        _ => before,
    };
    EciProfileStatus {
        observed_generation: Some(generation),
        conditions: conditions.list,
        counts: Some(counts),
        blocked_evictions: eviction
            .map(|eviction| eviction.blocked.iter().take(BLOCKED_LIMIT).cloned().collect())
            .unwrap_or_default(),
        audit_impact: match (audit, spec.mode) {
            (Some((_, impact)), _) if numbers => impact.clone(),
            (_, ProfileMode::Audit) if facts.refusal.is_none() => old.audit_impact,
            _ => Vec::new(),
        },
    }
}

/// Programmed, Ready, and what kstatus makes of the latter: Reconciling while it will be so by itself, Stalled when it
/// needs a person. A profile that changes nothing because that is its mode is as it should be.
fn ready(conditions: &mut Conditions, spec: &EciProfileSpec, facts: &Facts, audit: Option<&str>) {
    let generation = conditions.generation;
    let (programmed, ready, reason, message) = match (&facts.refusal, spec.mode, facts.webhook) {
        (Some((reason, message)), ..) => {
            let message = format!("The spec is not valid, so that the profile has no effect: {message}");
            (false, false, *reason, message)
        }
        (None, ProfileMode::Audit, _) => {
            let reason = ProfileReason::AuditOnly;
            let known = conditions.message(ConditionType::Ready, Some(true), reason);
            let plain = || "spec.mode is Audit: nothing is changed.".to_owned();
            (false, true, reason, audit.map(str::to_owned).or(known).unwrap_or_else(plain))
        }
        (None, ProfileMode::Disabled, _) => {
            let message = "spec.mode is Disabled: the profile has no effect.";
            (false, true, ProfileReason::Disabled, message.to_owned())
        }
        (None, ProfileMode::Enforce, Webhook::Off) => {
            let message = "The part webhook of the operator is switched off: new pods do not get what the profile says. Add it to --controllers (chart value controllers).";
            (false, false, ProfileReason::WebhookNotReady, message.to_owned())
        }
        (None, ProfileMode::Enforce, Webhook::Told(told)) if told == Some(generation) => {
            let message = "New pods get what the profile says.";
            (true, true, ProfileReason::Programmed, message.to_owned())
        }
        (None, ProfileMode::Enforce, Webhook::Told(_)) => {
            let message = "The API server was not yet told to ask the operator about pods of this generation of the profile.";
            (false, false, ProfileReason::WebhookNotReady, message.to_owned())
        }
    };
    conditions.set(ConditionType::Ready, Some(ready), reason, &message);
    let trouble = facts.eviction.as_ref().and_then(|eviction| eviction.trouble.as_ref());
    let off = facts.webhook == Webhook::Off;
    let stalled = match trouble {
        _ if facts.refusal.is_some() || !ready && off => Some((reason, message.as_str())),
        Some(trouble) => Some((trouble.reason, trouble.message.as_str())),
        None => None,
    };
    if let Some((reason, message)) = stalled {
        conditions.set(ConditionType::Stalled, Some(true), reason, message);
        conditions.remove(ConditionType::Reconciling);
    } else {
        conditions.remove(ConditionType::Stalled);
        if ready {
            conditions.remove(ConditionType::Reconciling);
        } else {
            conditions.set(ConditionType::Reconciling, Some(true), reason, &message);
        }
    }
    let message = if programmed { "The API server asks the operator about such pods." } else { &message };
    conditions.set(ConditionType::Programmed, Some(programmed), reason, message);
}
