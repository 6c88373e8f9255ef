//! A create call that the cloud refused: every meaning has a reason, a class, and a wait.

use std::time::Duration;

use eci_api::condition::Reason;
use eci_core::cloud::Meaning;
use eci_core::cloud_resource::{Class, explain};

use crate::scene::{Scene, error, minutes, secret};

/// Meaning, reason, class, seconds after the first refusal, and what a person is told to do.
const MEANINGS: [(Meaning, Reason, Class, u64, &str); 14] = [
    (Meaning::NotSent, Reason::CloudUnavailable, Class::Transient, 1, "check DNS"),
    (Meaning::NoCredentials, Reason::CredentialsMissing, Class::Stuck, 15, "credentials.existingSecret"),
    (Meaning::Throttled, Reason::Throttled, Class::Transient, 1, "slows down"),
    (Meaning::QuotaExceeded, Reason::QuotaExceeded, Class::Slow, 60, "Raise the quota"),
    (Meaning::NoStock, Reason::NoStock, Class::Slow, 60, "add a vSwitch of another zone"),
    (Meaning::NoAddress, Reason::VSwitchFull, Class::Slow, 60, "add another vSwitch"),
    (Meaning::Arrears, Reason::Arrears, Class::Slow, 60, "unpaid bills"),
    (Meaning::AccountRestricted, Reason::AccountRestricted, Class::Stuck, 15, "in the console"),
    (Meaning::BadCredentials, Reason::CredentialsRejected, Class::Stuck, 15, "replace it"),
    (Meaning::ClockSkew, Reason::ClockSkew, Class::Stuck, 15, "correct the node's clock"),
    (Meaning::Denied, Reason::PermissionDenied, Class::Stuck, 15, "Grant the operator's RAM identity"),
    (Meaning::Busy, Reason::CloudBusy, Class::Transient, 1, "asked again"),
    (Meaning::NotFound, Reason::CloudRefused, Class::Stuck, 300, "correct what its message names"),
    (Meaning::Invalid, Reason::CloudRefused, Class::Stuck, 300, "correct what its message names"),
];

/// Waits differ by up to a tenth between objects.
fn is_about(wait: Option<Duration>, seconds: u64) -> bool {
    let wait = wait.map(|w| w.as_secs_f64());
    let seconds = Duration::from_secs(seconds).as_secs_f64();
    wait.is_some_and(|w| w > seconds * 0.9 - 1.5 && w < seconds * 1.1 + 1.5)
}

/// The line without its wake-up.
fn without_wake(line: &str) -> String {
    line.split("; ").filter(|part| !part.starts_with("wake")).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_meaning_has_a_reason_a_class_a_wait_and_an_advice() {
    for (meaning, reason, class, seconds, advice) in MEANINGS {
        assert_eq!(explain(&error(meaning)).0, reason, "{meaning:?}");
        assert_eq!(explain(&error(meaning)).1, class, "{meaning:?}");
        let mut t = Scene::about_to_send();
        let line = without_wake(&t.fails(meaning));
        let (type_, kstatus) =
            if class == Class::Stuck { ("Stalled", "Failed") } else { ("Reconciling", "InProgress") };
        assert_eq!(line, format!("rest: !Ready({reason}) {type_}({reason}); {kstatus}"), "{meaning:?}");
        assert!(is_about(t.last.wake, seconds), "{meaning:?}: {:?}", t.last.wake);
        let message = t.message(type_);
        for part in [advice, "SomeCall", "the cloud's words", "Some.Code", "REQ-1"] {
            assert!(message.contains(part), "{meaning:?}: {message}");
        }
        assert!(t.record().operation.is_none(), "{meaning:?}: nothing was made");
    }
}

#[test]
fn a_refused_call_is_tried_again_with_the_next_attempt_after_its_wait() {
    for (meaning, _, _, seconds, _) in MEANINGS {
        let mut t = Scene::about_to_send();
        t.fails(meaning);
        t.wait(seconds * 8 / 10);
        assert!(t.run().starts_with("rest: "), "{meaning:?}");
        t.wait(seconds * 4 / 10 + 2);
        assert_eq!(t.run(), "create 2/1", "{meaning:?}");
    }
}

#[test]
fn the_wait_grows_with_every_refusal_of_one_reason_and_begins_anew_with_another() {
    let mut t = Scene::about_to_send();
    for seconds in [60, 120, 240, 480, 600, 600] {
        t.fails(Meaning::QuotaExceeded);
        assert!(is_about(t.last.wake, seconds), "{seconds}: {:?}", t.last.wake);
        t.wait(seconds * 11 / 10 + 1);
        assert!(t.run().starts_with("create"));
    }
    t.fails(Meaning::NoStock);
    assert!(is_about(t.last.wake, 60));
    assert_eq!(t.record().refusal.unwrap().count, 1);
}

#[test]
fn a_slow_reason_stalls_after_half_an_hour_and_is_tried_on() {
    let mut t = Scene::about_to_send();
    let mut line = t.fails(Meaning::NoStock);
    let first = t.now.wall;
    for _ in 0..20 {
        let elapsed = t.now.wall.duration_since(first).as_secs();
        let expected = if elapsed < 30 * 60 {
            "rest: !Ready(NoStock) Reconciling(NoStock); InProgress"
        } else {
            "rest: !Ready(NoStock) Stalled(NoStock); Failed"
        };
        assert_eq!(without_wake(&line), expected, "after {elapsed} s");
        t.wait(t.last.wake.unwrap().as_secs() + 1);
        line = t.run();
        if line.starts_with("create") {
            line = t.fails(Meaning::NoStock);
        }
    }
    assert!(line.contains("Stalled"), "it came to that: {line}");
}

#[test]
fn a_new_generation_a_request_or_another_secret_ends_the_wait() {
    type Change = fn(&mut Scene);
    let changes: [(&str, Change); 3] = [
        ("a new generation", Scene::new_generation),
        ("a request", |t| t.ask_again("now")),
        ("another secret", |t| t.secrets = Ok(secret("2"))),
    ];
    for (name, change) in changes {
        let mut t = Scene::with_secret();
        t.run();
        assert!(t.fails(Meaning::Invalid).starts_with("rest: !Ready(CloudRefused) Stalled(CloudRefused)"));
        assert_eq!(t.last.wake, Some(Duration::from_secs(15)), "the secret is read again soon");
        t.wait(15);
        assert!(t.run().starts_with("rest: "), "without {name}");
        change(&mut t);
        t.wait(15);
        assert_eq!(t.run(), "create 2/1", "{name}");
    }
}

#[test]
fn a_request_that_was_handled_ends_no_second_wait() {
    let mut t = Scene::about_to_send();
    t.fails(Meaning::Invalid);
    t.ask_again("now");
    t.wait(1);
    assert_eq!(t.run(), "create 2/1");
    assert!(t.fails(Meaning::Invalid).starts_with("rest: "));
    t.wait(15);
    assert!(t.run().starts_with("rest: "));
    t.ask_again("and now");
    t.wait(1);
    assert_eq!(t.run(), "create 3/1");
}

#[test]
fn a_refusal_of_another_generation_begins_a_new_row() {
    let mut t = Scene::about_to_send();
    for _ in 0..3 {
        t.fails(Meaning::QuotaExceeded);
        t.wait(minutes(11));
        t.run();
    }
    t.fails(Meaning::QuotaExceeded);
    assert!(t.last.conditions.iter().any(|c| c.type_.as_str() == "Stalled"));
    t.edit(|r| r.size_gib = 40);
    t.wait(1);
    assert!(t.run().starts_with("create"));
    assert_eq!(
        without_wake(&t.fails(Meaning::QuotaExceeded)),
        "rest: !Ready(QuotaExceeded) Reconciling(QuotaExceeded); InProgress"
    );
}

#[test]
fn the_wait_that_the_cloud_asks_for_outlives_the_process_and_is_bounded() {
    for (asked, waited) in [(1, 60), (500, 500), (100_000, 3_600)] {
        let mut t = Scene::about_to_send();
        let retry_after = Some(Duration::from_secs(asked));
        let refused = eci_core::cloud::CloudError { retry_after, ..error(Meaning::QuotaExceeded) };
        t.answer(eci_core::cloud_resource::Outcome::Failed(refused));
        assert!(is_about(t.last.wake, waited), "{asked}: {:?}", t.last.wake);
        t.restart();
        t.wait(waited * 8 / 10);
        assert!(t.run().starts_with("rest: !Ready(QuotaExceeded)"), "{asked}");
        t.wait(waited * 4 / 10);
        assert_eq!(t.run(), "create 2/1", "{asked}");
    }
}

#[test]
fn a_success_forgets_the_refusals() {
    let mut t = Scene::about_to_send();
    t.fails(Meaning::QuotaExceeded);
    t.wait(70);
    t.run();
    t.ok();
    assert_eq!(t.record().refusal, None);
}

#[test]
fn a_refused_replacement_leaves_the_usable_resource_ready() {
    for (meaning, rest) in [
        (
            Meaning::QuotaExceeded,
            "rest: Ready(Available) Reconciling(QuotaExceeded) Updating(QuotaExceeded); InProgress",
        ),
        (Meaning::Invalid, "rest: Ready(Available) Stalled(CloudRefused); Failed"),
    ] {
        let mut t = Scene::usable();
        t.edit(|r| r.size_gib = 40);
        assert_eq!(t.run(), "create 2/1");
        assert_eq!(without_wake(&t.fails(meaning)), rest);
    }
}
