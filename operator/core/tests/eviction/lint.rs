//! Before it happens: each check finds what it is for, and nothing else.

use std::time::Duration;

use eci_api::condition::ProfileReason;
use eci_core::eviction::Owner;
use eci_core::eviction::answer::Answer;
use eci_core::eviction::lint::{Check, Severity, Subject, check, verdict};
use eci_core::eviction::notice::Policy;

use super::scene::budget;

fn web(pods: usize) -> Subject {
    let owner = Owner { kind: "Deployment".into(), name: "web".into() };
    let mut subject = Subject::new("shop", Some(owner));
    (subject.spot_pods, subject.start) = (pods, Some(Duration::from_secs(10)));
    subject
}

fn checks(subject: &Subject) -> Vec<Check> {
    check(subject, &Policy::default()).findings.iter().map(|finding| finding.check).collect()
}

#[test]
fn a_workload_without_faults_has_no_finding() {
    let mut subject = web(40);
    assert_eq!(checks(&subject), []);
    subject.budgets = vec![budget(10, 40, 40)];
    assert_eq!(checks(&subject), []);
    let report = check(&subject, &Policy::default());
    assert_eq!((report.saved, report.pods), (Some(40), 40));
}

#[test]
fn each_check_finds_its_fault() {
    let failed = |mut subject: Subject| {
        let mut budget = budget(0, 0, 0);
        budget.sync_failed = Some("found no controllers".into());
        subject.budgets = vec![budget];
        subject
    };
    let with = |change: fn(&mut Subject)| {
        let mut subject = web(4);
        change(&mut subject);
        subject
    };
    for (subject, expected) in [
        (with(|s| s.budgets = vec![budget(1, 4, 4), budget(1, 4, 4)]), vec![Check::SeveralBudgets]),
        (failed(web(4)), vec![Check::BudgetSyncFailed]),
        (with(|s| s.budgets = vec![budget(0, 4, 4)]), vec![Check::BudgetNeverAllows]),
        (with(|s| s.dry_run = Some(Answer::WebhookRefused("no".into()))), vec![Check::EvictionRefused]),
        (with(|s| s.dry_run = Some(Answer::BudgetExhausted("no".into()))), vec![]),
        (with(|s| s.workload = None), vec![Check::NothingReplacesIt]),
        (with(|s| s.grace = 175), vec![]),
        (with(|s| s.grace = 176), vec![Check::GraceExceedsNotice]),
        (with(|s| s.disruption_fails_job = true), vec![Check::JobCountsDisruptions]),
        (with(|s| s.zones = Some(1)), vec![Check::AllSpotInOneZone]),
        (with(|s| s.zones = Some(2)), vec![]),
        (with(|s| (s.zones, s.other_pods) = (Some(1), 1)), vec![]),
        (with(|s| s.start = None), vec![]),
        (with(|s| (s.start, s.budgets) = (None, vec![budget(1, 4, 4)])), vec![Check::StartTimesUnknown]),
    ] {
        assert_eq!(checks(&subject), expected, "{subject:?}");
    }
}

#[test]
fn too_many_pods_for_the_notice_are_counted_and_the_image_cache_is_offered() {
    let mut subject = web(40);
    subject.budgets = vec![budget(1, 40, 40)];
    (subject.start, subject.pull) = (Some(Duration::from_secs(13)), Some(Duration::from_secs(7)));
    subject.uncached = vec!["registry/a:1".into(), "registry/b:1".into()];
    let report = check(&subject, &Policy::default());
    // 1 × (1 + floor(175 / 13)), and with 6 s a start 1 × (1 + floor(175 / 6)).
    assert_eq!((report.saved, report.saved_with_cache), (Some(14), Some(30)));
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((finding.check, finding.severity), (Check::NoticeTooShort, Severity::Error));
    assert!(finding.message.contains("14 -> 30 pods saved"), "{}", finding.message);
    let verdict = verdict(&[report]);
    assert_eq!(
        (verdict.ready, verdict.reason, verdict.saved),
        (Some(false), ProfileReason::NotEvictable, 14)
    );
    assert!(
        verdict.message.starts_with("14 of 40 spot pods would be evicted in time"),
        "{}",
        verdict.message
    );
}

#[test]
fn without_times_to_compare_the_image_cache_is_named_and_no_number_promised() {
    let mut subject = web(40);
    subject.budgets = vec![budget(1, 40, 40)];
    subject.uncached = vec!["registry/a:1".into(), "registry/b:1".into()];
    let report = check(&subject, &Policy::default());
    let message = &report.findings[0].message;
    assert!(message.contains("an ImageCache of its 2 images (registry/a:1, registry/b:1)"), "{message}");
    assert!(!message.contains("->"), "{message}");
    assert_eq!(report.saved_with_cache, None);
    // A cache that would shorten starts and save nobody more is no lever.
    subject.pull = Some(Duration::from_millis(1));
    let message = check(&subject, &Policy::default()).findings[0].message.clone();
    assert!(!message.contains("ImageCache"), "{message}");
    assert!(message.contains("raise maxUnavailable"), "{message}");
}

#[test]
fn the_verdict_is_that_of_the_worst_finding() {
    let policy = Policy::default();
    let good = check(&web(4), &policy);
    let warned = check(&Subject { zones: Some(1), ..web(4) }, &policy);
    let unknown = check(&Subject { start: None, budgets: vec![budget(1, 4, 4)], ..web(4) }, &policy);
    let bad = check(&Subject { budgets: vec![budget(0, 4, 4)], ..web(4) }, &policy);
    for (reports, ready, reason, saved) in [
        (vec![], None, ProfileReason::NoSpotPods, 0),
        (vec![good.clone()], Some(true), ProfileReason::Evictable, 4),
        (vec![good.clone(), warned.clone()], Some(true), ProfileReason::Evictable, 8),
        (vec![good.clone(), unknown.clone(), warned], None, ProfileReason::StartTimesUnknown, 8),
        (vec![unknown, bad, good], Some(false), ProfileReason::NotEvictable, 4),
    ] {
        let verdict = verdict(&reports);
        assert_eq!((verdict.ready, verdict.reason, verdict.saved), (ready, reason, saved), "{verdict:?}");
    }
}

#[test]
fn foreign_text_is_cut() {
    let mut subject = web(40);
    let mut long = budget(0, 0, 0);
    long.sync_failed = Some("x".repeat(100_000).into());
    subject.budgets = vec![long];
    subject.uncached = vec!["y".repeat(100_000).into()];
    let report = check(&subject, &Policy::default());
    assert!(report.findings.iter().all(|finding| finding.message.len() < 400), "{report:?}");
    assert!(verdict(&[report]).message.chars().count() <= 1_024);
}
