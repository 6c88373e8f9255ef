//! What the status of a profile says, of what is known about its pods.

use eci_api::condition::{ConditionType, MESSAGE_LIMIT, ProfileReason, whole_seconds};
use eci_api::eci_profile::{
    AuditImpact, BlockedEviction, EciProfileSpec, EciProfileStatus, ProfileCounts, ProfileMode, Spot,
    SpotDeadline, SpotRelease,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::check;
use super::outlook::{ABOUT_THE_CLOUD, Question, Said};
use crate::eviction::lint::Verdict;

/// Most blocked evictions that a status names.
pub const BLOCKED_LIMIT: usize = 20;

/// Something that only a person can put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In a word.
    pub reason: ProfileReason,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What the operator may do to pods: where it may not, the first namespace in which that is so (empty: in all).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// `None` when it may evict everywhere.
    pub evict_denied: Option<String>,
    /// `None` when it may delete everywhere.
    pub delete_denied: Option<String>,
}

/// What keeps the operator from doing what a profile says of spot pods, and a person can put right. `failing_watch` is
/// the resource whose watch has failed for long.
pub fn trouble(spot: &Spot, failing_watch: Option<&str>, permits: &Permits) -> Option<Trouble> {
    if let Some(resource) = failing_watch {
        let message = format!(
            "The operator cannot watch {resource}, so that it may miss notices and evictions. Its log says why; if it is not permitted to, install the roles of the chart."
        );
        return Some(Trouble { reason: ProfileReason::WatchFailing, message });
    }
    let place = |namespace: &str| {
        if namespace.is_empty() { String::new() } else { format!(" in the namespace {namespace}") }
    };
    let evicts = spot.release == Some(SpotRelease::Evict);
    if let Some(namespace) = permits.evict_denied.as_deref().filter(|_| evicts) {
        let message = format!(
            "The operator may not evict pods{}: give its ServiceAccount the verb create on pods/eviction, as the chart does.",
            place(namespace)
        );
        return Some(Trouble { reason: ProfileReason::EvictionNotPermitted, message });
    }
    let deletes = spot.on_deadline == Some(SpotDeadline::Delete);
    let removes = spot.failed_pod_ttl.is_some();
    let namespace = permits.delete_denied.as_deref().filter(|_| deletes || removes)?;
    let field = if deletes { "spec.spot.onDeadline: Delete" } else { "spec.spot.failedPodTTL" };
    let message = format!(
        "{field} needs the right to delete pods, which the operator does not have{}: set the value eviction.deletePods of the chart to true, or take the field out.",
        place(namespace)
    );
    Some(Trouble { reason: ProfileReason::DeletionNotPermitted, message })
}

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

/// What is known about a profile beyond its spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Whether new pods get what it says.
    pub webhook: Webhook,
    /// Whether its spot pods could be evicted in time; `None` when that was not looked at yet.
    pub verdict: Option<Verdict>,
    /// What only a person can put right.
    pub trouble: Option<Trouble>,
    /// Its pods now.
    pub counts: ProfileCounts,
    /// Its pods with a notice whose eviction is blocked, the most urgent first.
    pub blocked: Vec<BlockedEviction>,
    /// Namespace of the operator.
    pub own_namespace: String,
    /// Whether a profile of equal priority says otherwise, the reason and the message, as
    /// [`Conflicts::of`](super::conflict::Conflicts::of) has it; `None` when that was not looked at yet.
    pub conflict: Option<(bool, ProfileReason, String)>,
    /// What a profile in mode Audit would change: the message and the workloads; `None` when that was not looked at yet.
    pub audit: Option<(String, Vec<AuditImpact>)>,
    /// What the cloud says of it. Of what it was not asked yet, the status keeps what it says.
    pub cloud: Vec<Said>,
}

/// The status that follows on `old`. The numbers of pods are taken from `facts` only if `count` says so, and what was
/// lost and degraded adds to what the old status says. Conditions that are not of evictions stay as they are.
pub fn status(
    old: Option<&EciProfileStatus>,
    (spec, generation): (&EciProfileSpec, i64),
    facts: &Facts,
    count: bool,
    now: Timestamp,
) -> EciProfileStatus {
    let old = old.cloned().unwrap_or_default();
    let mut conditions = Conditions { list: old.conditions, generation, now };
    let refused = check::refusal(&check::check(spec, &facts.own_namespace));
    let accepted = refused.is_none();
    let (reason, message) = refused.unwrap_or((ProfileReason::Valid, "The spec is valid.".to_owned()));
    conditions.set(ConditionType::Accepted, Some(accepted), reason, &message);
    let (ready, reason, message) = readiness(spec.mode, facts.webhook, generation);
    let audit = facts.audit.as_ref().filter(|_| spec.mode == ProfileMode::Audit);
    conditions.set(
        ConditionType::Ready,
        Some(ready),
        reason,
        audit.map_or(message, |(message, _)| message.as_str()),
    );
    if let Some((conflicted, reason, message)) = &facts.conflict {
        conditions.set(ConditionType::Conflicted, Some(*conflicted), *reason, message);
    }
    match &facts.verdict {
        Some(verdict) if spec.spot.is_some() => {
            conditions.set(ConditionType::EvictionReady, verdict.ready, verdict.reason, &verdict.message);
        }
        // Not looked at yet: what was said before holds.
        None if spec.spot.is_some() => {}
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
    match &facts.trouble {
        Some(trouble) => {
            conditions.set(ConditionType::Stalled, Some(true), trouble.reason, &trouble.message);
        }
        None => conditions.remove(ConditionType::Stalled),
    }
    let before = old.counts.unwrap_or_default();
    let counts = ProfileCounts {
        lost_pods: before.lost_pods.saturating_add(facts.counts.lost_pods),
        degraded_pods: before.degraded_pods.saturating_add(facts.counts.degraded_pods),
        ..facts.counts.clone()
    };
    EciProfileStatus {
        observed_generation: Some(generation),
        conditions: conditions.list,
        counts: Some(if count { counts } else { before }),
        blocked_evictions: facts.blocked.iter().take(BLOCKED_LIMIT).cloned().collect(),
        audit_impact: match (audit, spec.mode) {
            (Some((_, impact)), _) => impact.clone(),
            (None, ProfileMode::Audit) => old.audit_impact,
            _ => Vec::new(),
        },
    }
}

/// Whether new pods get what the profile says, and why.
fn readiness(mode: ProfileMode, webhook: Webhook, generation: i64) -> (bool, ProfileReason, &'static str) {
    match (mode, webhook) {
        (ProfileMode::Audit, _) => {
            (false, ProfileReason::AuditOnly, "spec.mode is Audit: nothing is changed.")
        }
        (ProfileMode::Disabled, _) => (false, ProfileReason::Disabled, "spec.mode is Disabled."),
        (ProfileMode::Enforce, Webhook::Off) => (
            false,
            ProfileReason::WebhookNotReady,
            "The part webhook of the operator is switched off: new pods do not get what the profile says. Add it to --controllers (chart value controllers).",
        ),
        (ProfileMode::Enforce, Webhook::Told(told)) if told == Some(generation) => {
            (true, ProfileReason::Programmed, "New pods get what the profile says.")
        }
        (ProfileMode::Enforce, Webhook::Told(_)) => (
            false,
            ProfileReason::WebhookNotReady,
            "The API server was not yet told to ask the operator about pods of this generation of the profile.",
        ),
    }
}

struct Conditions {
    list: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl Conditions {
    /// Sets one, in its place. Its transition time moves only with its status.
    fn set(&mut self, type_: ConditionType, status: Option<bool>, reason: ProfileReason, message: &str) {
        let status = match status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let place = self.list.iter().position(|condition| condition.type_ == type_.as_str());
        let since = place
            .and_then(|place| self.list.get(place))
            .filter(|condition| condition.status == status)
            .map_or_else(
                || Time(whole_seconds(self.now)),
                |condition| condition.last_transition_time.clone(),
            );
        let condition = Condition {
            type_: type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.chars().take(MESSAGE_LIMIT).collect(),
            last_transition_time: since,
            observed_generation: Some(self.generation),
        };
        match place.and_then(|place| self.list.get_mut(place)) {
            Some(known) => *known = condition,
            None => self.list.push(condition),
        }
    }

    fn remove(&mut self, type_: ConditionType) {
        self.list.retain(|condition| condition.type_ != type_.as_str());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn spec(spot: bool) -> EciProfileSpec {
        let mut spec = json!({ "selector": { "podSelector": { "matchLabels": { "app": "web" } } } });
        if spot {
            spec["spot"] = json!({ "strategy": "SpotAsPriceGo", "release": "Evict" });
        }
        serde_json::from_value(spec).unwrap()
    }

    fn verdict(ready: bool) -> Verdict {
        let reason = if ready { ProfileReason::Evictable } else { ProfileReason::NotEvictable };
        Verdict { ready: Some(ready), reason, message: "m".into(), pods: 1, saved: 1 }
    }

    fn said_of(status: &EciProfileStatus) -> Vec<String> {
        status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
    }

    #[test]
    fn a_status_that_says_the_same_is_the_same() {
        let facts = Facts { verdict: Some(verdict(true)), ..Facts::default() };
        let spec = spec(true);
        let first = status(None, (&spec, 3), &facts, true, at(100));
        assert_eq!(status(Some(&first), (&spec, 3), &facts, true, at(900)), first);
        assert_eq!(first.observed_generation, Some(3));
        assert_eq!(
            said_of(&first),
            ["Accepted=True Valid", "Ready=False WebhookNotReady", "EvictionReady=True Evictable"]
        );
    }

    #[test]
    fn a_profile_is_ready_when_the_api_server_asks_for_its_generation() {
        for (webhook, generation, wanted) in [
            (Webhook::Off, 3, "Ready=False WebhookNotReady"),
            (Webhook::Told(None), 3, "Ready=False WebhookNotReady"),
            (Webhook::Told(Some(2)), 3, "Ready=False WebhookNotReady"),
            (Webhook::Told(Some(3)), 3, "Ready=True Programmed"),
        ] {
            let facts = Facts { webhook, ..Facts::default() };
            let status = status(None, (&spec(true), generation), &facts, true, at(1));
            assert_eq!(said_of(&status)[1], wanted, "{webhook:?}");
        }
    }

    #[test]
    fn trouble_stalls_and_goes_and_the_conditions_of_others_stay() {
        let spec = spec(true);
        let mut old = EciProfileStatus::default();
        old.conditions.push(Condition {
            type_: "example.com/Audited".into(),
            status: "True".into(),
            reason: "X".into(),
            message: String::new(),
            last_transition_time: Time(at(1)),
            observed_generation: None,
        });
        let trouble = Trouble { reason: ProfileReason::EvictionNotPermitted, message: "no".into() };
        let facts = Facts { trouble: Some(trouble), ..Facts::default() };
        let stalled = status(Some(&old), (&spec, 1), &facts, true, at(100));
        assert_eq!(
            said_of(&stalled),
            [
                "example.com/Audited=True X",
                "Accepted=True Valid",
                "Ready=False WebhookNotReady",
                "Stalled=True EvictionNotPermitted"
            ]
        );
        let healed = status(Some(&stalled), (&spec, 1), &Facts::default(), true, at(200));
        assert_eq!(healed.conditions.len(), 3);
        assert_eq!(healed.conditions[1].last_transition_time.0, at(100));
    }

    #[test]
    fn a_verdict_is_for_profiles_with_spot_pods_and_outlasts_a_restart() {
        let facts = Facts { verdict: Some(verdict(false)), ..Facts::default() };
        let first = status(None, (&spec(true), 1), &facts, true, at(100));
        // A new process has not looked yet.
        let next = status(Some(&first), (&spec(true), 1), &Facts::default(), true, at(200));
        assert!(said_of(&next).contains(&"EvictionReady=False NotEvictable".to_owned()), "{next:?}");
        let turned = status(
            Some(&next),
            (&spec(true), 1),
            &Facts { verdict: Some(verdict(true)), ..Facts::default() },
            true,
            at(300),
        );
        assert_eq!(turned.conditions[2].last_transition_time.0, at(300));
        let without = status(Some(&turned), (&spec(false), 2), &facts, true, at(400));
        assert!(without.conditions.iter().all(|c| c.type_ != "EvictionReady"), "{without:?}");
    }

    #[test]
    fn what_the_cloud_says_is_there_while_it_is_asked_and_outlasts_a_restart() {
        let mut asks = spec(false);
        asks.network = serde_json::from_value(json!({ "vSwitchIDs": ["vsw-a"] })).unwrap();
        let said = Said {
            type_: ConditionType::NetworkReady,
            status: Some(false),
            reason: ProfileReason::VSwitchFull,
            message: "m".into(),
        };
        let facts = Facts { cloud: vec![said], ..Facts::default() };
        let first = status(None, (&asks, 1), &facts, true, at(100));
        let full = "NetworkReady=False VSwitchFull".to_owned();
        assert!(said_of(&first).contains(&full), "{first:?}");
        let restarted = status(Some(&first), (&asks, 1), &Facts::default(), true, at(200));
        assert!(said_of(&restarted).contains(&full), "{restarted:?}");
        let without = status(Some(&restarted), (&spec(false), 2), &facts, true, at(300));
        assert!(without.conditions.iter().all(|c| c.type_ != "NetworkReady"), "{without:?}");
    }

    #[test]
    fn numbers_wait_for_their_time_and_losses_add_up() {
        let counts = |pods, lost_pods| ProfileCounts { pods, lost_pods, ..ProfileCounts::default() };
        let facts = |pods, lost| Facts { counts: counts(pods, lost), ..Facts::default() };
        let spec = spec(true);
        let first = status(None, (&spec, 1), &facts(5, 2), true, at(100));
        assert_eq!(first.counts, Some(counts(5, 2)));
        let early = status(Some(&first), (&spec, 1), &facts(6, 1), false, at(110));
        assert_eq!(early.counts, Some(counts(5, 2)));
        let due = status(Some(&early), (&spec, 1), &facts(6, 1), true, at(130));
        assert_eq!(due.counts, Some(counts(6, 3)));
    }

    #[test]
    fn at_most_twenty_blocked_evictions_are_named() {
        let blocked = |n: usize| BlockedEviction {
            namespace: "shop".into(),
            pod: format!("web-{n}"),
            reason: "BudgetExhausted".into(),
            message: String::new(),
            deadline: Time(at(100)),
        };
        let facts = Facts { blocked: (0..30).map(blocked).collect(), ..Facts::default() };
        let status = status(None, (&spec(true), 1), &facts, true, at(100));
        assert_eq!(status.blocked_evictions, (0..20).map(blocked).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_profile_does_not_ask_for_is_no_trouble() {
        let spot = |more: serde_json::Value| {
            let mut spot = json!({ "strategy": "SpotAsPriceGo" });
            spot.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<Spot>(spot).unwrap()
        };
        let all = Permits::default();
        let none = Permits { evict_denied: Some("shop".into()), delete_denied: Some(String::new()) };
        let no_delete = Permits { evict_denied: None, ..none.clone() };
        for (spec, watch, permits, expected) in [
            (json!({}), None, &none, None),
            (json!({ "release": "Evict" }), None, &all, None),
            (json!({ "release": "Evict" }), None, &none, Some(ProfileReason::EvictionNotPermitted)),
            (json!({ "release": "Evict" }), None, &no_delete, None),
            (json!({ "release": "Evict" }), Some("pods"), &none, Some(ProfileReason::WatchFailing)),
            (
                json!({ "release": "Evict", "onDeadline": "Delete" }),
                None,
                &no_delete,
                Some(ProfileReason::DeletionNotPermitted),
            ),
            (json!({ "failedPodTTL": "1h" }), None, &no_delete, Some(ProfileReason::DeletionNotPermitted)),
        ] {
            let found = trouble(&spot(spec.clone()), watch, permits);
            assert_eq!(found.as_ref().map(|trouble| trouble.reason), expected, "{spec}: {found:?}");
        }
        let message = trouble(&spot(json!({ "release": "Evict" })), None, &none).unwrap().message;
        assert!(message.contains("in the namespace shop"), "{message}");
    }
}
