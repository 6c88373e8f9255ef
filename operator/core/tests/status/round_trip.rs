//! What is written is what is read.

use eci_api::condition::{ConditionType, Reason, Wanted};
use eci_api::image_cache::ImageCacheStatus;
use eci_core::image_cache::{record, status};
use proptest::prelude::*;

use crate::generated::{foreign, status as statuses};
use crate::{at, owning, view};

/// The status after a write in the middle of a reconcile that changes nothing.
fn written_again(old: &ImageCacheStatus) -> ImageCacheStatus {
    status(Some(old), &record(Some(old)), None, None, 1, at(0))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_status_survives_being_read_and_written(old in statuses()) {
        prop_assert_eq!(written_again(&old), old);
    }

    #[test]
    fn a_status_survives_json(old in statuses()) {
        let json = serde_json::to_string(&old).unwrap();
        prop_assert_eq!(serde_json::from_str::<ImageCacheStatus>(&json).unwrap(), old);
    }

    #[test]
    fn whatever_somebody_wrote_is_read_without_panic_and_settles_with_one_write(old in foreign()) {
        let once = written_again(&old);
        prop_assert_eq!(written_again(&once), once);
    }

    #[test]
    fn a_resource_that_is_not_shown_as_ready_is_never_read_as_usable(old in foreign()) {
        let read = record(Some(&old));
        prop_assert!(!read.usable || (read.current.is_some() && old.cloud_status.as_deref() == Some("Ready")));
    }
}

#[test]
fn nothing_is_read_from_no_status() {
    assert_eq!(record(None), eci_core::cloud_resource::Record::default());
    assert_eq!(record(Some(&ImageCacheStatus::default())), eci_core::cloud_resource::Record::default());
}

#[test]
fn an_id_that_is_none_is_no_resource() {
    for bad in ["", " ", "imc 1", "imc-1/../2", "imc-é", &"i".repeat(65)] {
        let mut old = status(None, &owning(), None, None, 1, at(0));
        old.image_cache_id = Some(bad.into());
        old.retiring = vec![bad.into(), "imc-2".into()];
        let read = record(Some(&old));
        assert_eq!(read.current, None, "{bad:?}");
        assert_eq!(read.retiring.len(), 1, "{bad:?}");
    }
}

#[test]
fn a_reason_of_another_version_is_read_as_refused() {
    let old: ImageCacheStatus = serde_json::from_value(serde_json::json!({
        "refusal": {
            "reason": "NotYetInvented", "message": "m", "count": 1, "generation": 1,
            "firstTime": "2027-01-15T08:00:00Z", "lastTime": "2027-01-15T08:00:00Z",
        }
    }))
    .unwrap();
    assert_eq!(record(Some(&old)).refusal.unwrap().reason, Reason::CloudRefused);
}

fn ready(status: bool) -> Wanted {
    Wanted {
        type_: ConditionType::Ready,
        status: Some(status),
        reason: Reason::Available,
        message: "The image cache is usable.".into(),
    }
}

#[test]
fn a_write_in_the_middle_keeps_conditions_and_generation_and_one_at_rest_sets_them() {
    let old = status(None, &owning(), Some(&[ready(true)]), Some(&view("imc-1", "Ready")), 1, at(100));
    let middle = status(Some(&old), &owning(), None, None, 2, at(200));
    assert_eq!((middle.observed_generation, &middle.conditions), (Some(1), &old.conditions));
    let rest = status(Some(&old), &owning(), Some(&[ready(false)]), None, 2, at(200));
    assert_eq!(rest.observed_generation, Some(2));
    assert_eq!(rest.conditions[0].status, "False");
    assert_eq!(rest.conditions[0].last_transition_time.0, at(200));
}

#[test]
fn nothing_but_the_transition_time_depends_on_the_clock() {
    let seen = view("imc-1", "Ready");
    let old = status(None, &owning(), Some(&[ready(true)]), Some(&seen), 1, at(100));
    assert_eq!(status(Some(&old), &owning(), Some(&[ready(true)]), Some(&seen), 1, at(900)), old);
}

#[test]
fn times_are_written_in_whole_seconds() {
    let mut exact = owning();
    exact.last_rebuild = Some("2027-01-15T08:00:00.987654321Z".parse().unwrap());
    let written = status(None, &exact, None, None, 1, at(0));
    assert_eq!(record(Some(&written)).last_rebuild.unwrap().to_string(), "2027-01-15T08:00:00Z");
}

#[test]
fn nothing_stays_of_the_status_of_another_object() {
    let mut theirs = view("imc-1", "Ready");
    theirs.snapshot_id = Some("s-1".into());
    theirs.events = vec![crate::shown::event("old", 1)];
    let old = status(None, &owning(), Some(&[ready(true)]), Some(&theirs), 7, at(100));
    let mut ours = eci_core::cloud_resource::Record { owner_uid: Some("uid-2".into()), ..Default::default() };
    assert_eq!(
        status(Some(&old), &ours, None, None, 1, at(200)),
        ImageCacheStatus {
            observed_generation: Some(-1),
            owner_uid: Some("uid-2".into()),
            ..ImageCacheStatus::default()
        }
    );
    // Not even when it named the same resource.
    ours.current = owning().current;
    let new = status(Some(&old), &ours, None, None, 1, at(200));
    assert_eq!((new.snapshot_id, new.cloud_status, new.events.len()), (None, None, 0));
}
