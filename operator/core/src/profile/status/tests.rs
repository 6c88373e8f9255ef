use eci_api::condition::{ConditionType, ProfileReason};
use eci_api::eci_profile::Spot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
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

fn in_mode(mode: &str) -> EciProfileSpec {
    let spec = json!({ "mode": mode, "selector": { "podSelector": { "matchLabels": { "app": "web" } } } });
    serde_json::from_value(spec).unwrap()
}

fn verdict(ready: bool) -> Verdict {
    let reason = if ready { ProfileReason::Evictable } else { ProfileReason::NotEvictable };
    Verdict { ready: Some(ready), reason, message: "m".into(), pods: 1, saved: 1 }
}

/// Facts of an operator that evicts.
fn evicting(eviction: OfEviction) -> Facts {
    Facts { eviction: Some(eviction), ..Facts::default() }
}

fn judged(ready: bool) -> Facts {
    evicting(OfEviction { verdict: Some(verdict(ready)), ..OfEviction::default() })
}

fn pods(counts: ProfileCounts) -> OfPods {
    OfPods { counts, conflict: (false, ProfileReason::NoConflict, "none".into()), audit: None }
}

fn said_of(status: &EciProfileStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn a_status_that_says_the_same_is_the_same() {
    let facts = judged(true);
    let spec = spec(true);
    let first = status(None, (&spec, 3), &facts, true, at(100));
    assert_eq!(status(Some(&first), (&spec, 3), &facts, true, at(900)), first);
    assert_eq!(first.observed_generation, Some(3));
    assert_eq!(
        said_of(&first),
        [
            "Accepted=True Valid",
            "Ready=False WebhookNotReady",
            "Reconciling=True WebhookNotReady",
            "Programmed=False WebhookNotReady",
            "EvictionReady=True Evictable",
        ]
    );
}

#[test]
fn what_waits_for_the_operator_is_reconciling_and_what_waits_for_a_person_is_stalled() {
    let invalid = Some((ProfileReason::InvalidSpec, "wrong".to_owned()));
    for (mode, webhook, refusal, wanted) in [
        ("Enforce", Webhook::Told(None), None, "False WebhookNotReady Reconciling"),
        ("Enforce", Webhook::Told(Some(2)), None, "False WebhookNotReady Reconciling"),
        ("Enforce", Webhook::Told(Some(3)), None, "True Programmed Programmed"),
        ("Enforce", Webhook::Off, None, "False WebhookNotReady Stalled"),
        ("Enforce", Webhook::Told(Some(3)), invalid.clone(), "False InvalidSpec Stalled"),
        ("Audit", Webhook::Told(None), None, "True AuditOnly"),
        ("Audit", Webhook::Off, None, "True AuditOnly"),
        ("Audit", Webhook::Off, invalid, "False InvalidSpec Stalled"),
        ("Disabled", Webhook::Told(None), None, "True Disabled"),
    ] {
        let facts = Facts { refusal, webhook, ..Facts::default() };
        let status = status(None, (&in_mode(mode), 3), &facts, true, at(1));
        let is = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
        let ready = is("Ready").unwrap();
        let others = ["Reconciling", "Stalled", "Programmed"];
        let others = others.into_iter().filter(|type_| is(type_).is_some_and(|is| is.status == "True"));
        let said = [&[ready.status.as_str(), &ready.reason], others.collect::<Vec<_>>().as_slice()].concat();
        assert_eq!(said.join(" "), wanted, "{mode} {webhook:?}");
    }
}

#[test]
fn a_profile_that_is_not_valid_says_so_in_all_it_says() {
    let facts = Facts {
        refusal: Some((ProfileReason::InvalidAnnotation, "spec.effects: no".into())),
        webhook: Webhook::Told(Some(1)),
        ..Facts::default()
    };
    let status = status(None, (&spec(false), 1), &facts, true, at(1));
    assert_eq!(
        said_of(&status),
        [
            "Accepted=False InvalidAnnotation",
            "Ready=False InvalidAnnotation",
            "Stalled=True InvalidAnnotation",
            "Programmed=False InvalidAnnotation",
        ]
    );
    assert!(status.conditions.iter().all(|condition| condition.message.contains("spec.effects: no")));
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
    let webhook = Webhook::Told(Some(1));
    let facts = evicting(OfEviction { trouble: Some(trouble), ..OfEviction::default() });
    let stalled = status(Some(&old), (&spec, 1), &Facts { webhook, ..facts }, true, at(100));
    assert_eq!(
        said_of(&stalled),
        [
            "example.com/Audited=True X",
            "Accepted=True Valid",
            "Ready=True Programmed",
            "Stalled=True EvictionNotPermitted",
            "Programmed=True Programmed",
        ]
    );
    let facts = Facts { webhook, ..evicting(OfEviction::default()) };
    let healed = status(Some(&stalled), (&spec, 1), &facts, true, at(200));
    assert_eq!(healed.conditions.len(), 4);
    assert_eq!(healed.conditions[1].last_transition_time.0, at(100));
}

#[test]
fn a_verdict_is_for_profiles_with_spot_pods_and_outlasts_a_restart() {
    let condition = |status: &EciProfileStatus| {
        status.conditions.iter().find(|condition| condition.type_ == "EvictionReady").cloned()
    };
    let first = status(None, (&spec(true), 1), &judged(false), true, at(100));
    // A new process has not looked yet.
    let next = status(Some(&first), (&spec(true), 1), &evicting(OfEviction::default()), true, at(200));
    assert_eq!(condition(&next).unwrap().reason, "NotEvictable");
    let turned = status(Some(&next), (&spec(true), 1), &judged(true), true, at(300));
    assert_eq!(condition(&turned).unwrap().last_transition_time.0, at(300));
    let without = status(Some(&turned), (&spec(false), 2), &judged(true), true, at(400));
    assert_eq!(condition(&without), None);
    // Nor does one that does not evict say anything of it.
    let off = status(Some(&turned), (&spec(true), 1), &Facts::default(), true, at(400));
    assert_eq!(condition(&off), None);
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
    let facts = |number, lost| Facts {
        pods: Some(pods(counts(number, 0))),
        ..evicting(OfEviction { lost, ..OfEviction::default() })
    };
    let spec = spec(true);
    let first = status(None, (&spec, 1), &facts(5, 2), true, at(100));
    assert_eq!(first.counts, Some(counts(5, 2)));
    let early = status(Some(&first), (&spec, 1), &facts(6, 1), false, at(110));
    assert_eq!(early.counts, Some(counts(5, 2)));
    let due = status(Some(&early), (&spec, 1), &facts(6, 1), true, at(130));
    assert_eq!(due.counts, Some(counts(6, 3)));
    // Before the pods were looked at there are no numbers.
    let restarted = status(Some(&due), (&spec, 1), &evicting(OfEviction::default()), true, at(200));
    assert_eq!(restarted.counts, Some(counts(6, 3)));
}

#[test]
fn a_conflict_is_said_at_once_and_another_pod_that_shows_it_with_the_numbers() {
    let facts = |conflicted, message: &str| {
        let reason = if conflicted { ProfileReason::EqualPriority } else { ProfileReason::NoConflict };
        let conflict = (conflicted, reason, message.to_owned());
        Facts { pods: Some(OfPods { conflict, ..pods(ProfileCounts::default()) }), ..Facts::default() }
    };
    let said = |status: &EciProfileStatus| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == "Conflicted");
        condition.map(|condition| (condition.status.clone(), condition.message.clone())).unwrap()
    };
    let spec = spec(false);
    let first = status(None, (&spec, 1), &facts(false, "none"), true, at(100));
    let turned = status(Some(&first), (&spec, 1), &facts(true, "pod a"), false, at(110));
    assert_eq!(said(&turned), ("True".into(), "pod a".into()));
    let other = status(Some(&turned), (&spec, 1), &facts(true, "pod b"), false, at(120));
    assert_eq!(other, turned);
    let due = status(Some(&other), (&spec, 1), &facts(true, "pod b"), true, at(140));
    assert_eq!(said(&due).1, "pod b");
    let words = told(&first.conditions, &turned.conditions);
    assert_eq!(words.len(), 1);
    assert!(words[0].warning && words[0].reason == "EqualPriority", "{words:?}");
    assert_eq!(told(&turned.conditions, &due.conditions), []);
    let healed = status(Some(&due), (&spec, 1), &facts(false, "none"), false, at(150));
    let words = told(&due.conditions, &healed.conditions);
    assert_eq!(words, [Told { warning: false, reason: "NoConflict".into(), message: "none".into() }]);
}

#[test]
fn an_audit_is_told_in_its_mode_only_and_outlasts_a_restart() {
    let impact = |pods| AuditImpact {
        namespace: "shop".into(),
        kind: "Deployment".into(),
        name: "web".into(),
        pods,
        changes: vec!["+ spot".into()],
    };
    let facts = |number| {
        let audit = Some((format!("{number} pods"), vec![impact(number)]));
        Facts { pods: Some(OfPods { audit, ..pods(ProfileCounts::default()) }), ..Facts::default() }
    };
    let message = |status: &EciProfileStatus| {
        status.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.message.clone()).unwrap()
    };
    let spec = in_mode("Audit");
    let first = status(None, (&spec, 1), &facts(2), true, at(100));
    assert_eq!((message(&first).as_str(), &first.audit_impact), ("2 pods", &vec![impact(2)]));
    let early = status(Some(&first), (&spec, 1), &facts(3), false, at(110));
    assert_eq!(early, first);
    let restarted = status(Some(&first), (&spec, 1), &Facts::default(), true, at(120));
    assert_eq!(restarted, first);
    let due = status(Some(&early), (&spec, 1), &facts(3), true, at(130));
    assert_eq!((message(&due).as_str(), &due.audit_impact), ("3 pods", &vec![impact(3)]));
    let enforced = status(Some(&due), (&in_mode("Enforce"), 2), &facts(3), true, at(140));
    assert_eq!(enforced.audit_impact, []);
}

#[test]
fn people_are_told_of_faults_once_and_of_their_end() {
    let spec = spec(true);
    let webhook = Webhook::Told(Some(1));
    let ready = Facts { webhook, ..Facts::default() };
    let words = |before: &EciProfileStatus, after: &EciProfileStatus| {
        let told = told(&before.conditions, &after.conditions).into_iter();
        told.map(|word| format!("{}{}", if word.warning { "!" } else { "" }, word.reason)).collect::<Vec<_>>()
    };
    let nothing = EciProfileStatus::default();
    let waits = status(None, (&spec, 1), &Facts::default(), true, at(1));
    assert_eq!(words(&nothing, &waits), [""; 0]);
    let good = status(Some(&waits), (&spec, 1), &ready, true, at(2));
    assert_eq!(words(&waits, &good), ["Programmed"]);
    let refusal = Some((ProfileReason::InvalidSpec, "wrong".to_owned()));
    let bad = status(Some(&good), (&spec, 1), &Facts { refusal, ..ready.clone() }, true, at(3));
    assert_eq!(words(&good, &bad), ["!InvalidSpec"]);
    assert_eq!(words(&bad, &bad), [""; 0]);
    let again = status(Some(&bad), (&spec, 1), &ready, true, at(4));
    assert_eq!(words(&bad, &again), ["Valid", "Programmed"]);
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
    let eviction = OfEviction { blocked: (0..30).map(blocked).collect(), ..OfEviction::default() };
    let status = status(None, (&spec(true), 1), &evicting(eviction), true, at(100));
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
