//! What a status shows of the resource.

use eci_api::image_cache::{CloudEvent, ImageCacheStatus};
use eci_core::cloud::{CloudEventView, ImageCacheView};
use eci_core::cloud_resource::Kind as _;
use eci_core::image_cache::{EVENT_LIMIT, EVENTS_SHOWN, ImageCacheKind, record, status};

use crate::{at, owning, view};

pub(crate) fn event(message: &str, second: i64) -> CloudEventView {
    CloudEventView {
        type_: "Warning".into(),
        reason: "PullFailed".into(),
        message: message.into(),
        count: 1,
        last_time: Some(at(second)),
    }
}

/// The status after a first sighting.
fn first(view: &ImageCacheView) -> ImageCacheStatus {
    status(None, &owning(), None, Some(view), 1, at(0))
}

fn with_events(events: Vec<CloudEventView>) -> Vec<CloudEvent> {
    first(&ImageCacheView { events, ..view("imc-1", "Creating") }).events
}

#[test]
fn a_sighting_is_shown() {
    let shown = first(&ImageCacheView {
        snapshot_id: Some("s-1".into()),
        container_group_id: Some("eci-1".into()),
        images: vec!["nginx:1".into()],
        expiration_time: Some(at(50)),
        last_matched_time: Some(at(40)),
        ..view("imc-1", "Ready")
    });
    assert_eq!(shown.image_cache_id.as_deref(), Some("imc-1"));
    assert_eq!(shown.cloud_status.as_deref(), Some("Ready"));
    assert_eq!(shown.snapshot_id.as_deref(), Some("s-1"));
    assert_eq!(shown.container_group_id.as_deref(), Some("eci-1"));
    assert_eq!(shown.images[0].reference, "nginx:1");
    assert_eq!(shown.expiration_time.as_ref().map(|t| t.0), Some(at(50)));
    assert_eq!(shown.last_matched_time.as_ref().map(|t| t.0), Some(at(40)));
    let read = record(Some(&shown));
    assert!(read.seen);
    assert_eq!(read.expiration, Some(at(50)));
}

#[test]
fn progress_moves_in_steps_of_10_whatever_the_cloud_says() {
    for (said, shown) in
        [(i32::MIN, 0), (-5, 0), (0, 0), (9, 0), (10, 10), (19, 10), (99, 90), (100, 100), (i32::MAX, 100)]
    {
        let view = ImageCacheView { progress_percent: Some(said), ..view("imc-1", "Creating") };
        assert_eq!(first(&view).progress_percent, Some(shown), "{said}");
    }
}

#[test]
fn the_newest_five_events_are_shown_newest_first() {
    let mut events: Vec<_> = [3, 7, 1, 5, 6, 2, 4].map(|n| event(&n.to_string(), n)).to_vec();
    events.push(CloudEventView { last_time: None, ..event("never", 0) });
    let shown = with_events(events);
    assert_eq!(shown.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["7", "6", "5", "4", "3"]);
    assert_eq!(shown.len(), EVENTS_SHOWN);
}

#[test]
fn a_message_of_an_event_is_cut_by_characters() {
    let shown = with_events(vec![event(&"💥".repeat(300), 1)]);
    assert_eq!(shown[0].message, "💥".repeat(EVENT_LIMIT));
}

#[test]
fn events_stay_until_others_come() {
    let old = first(&ImageCacheView { events: vec![event("why it failed", 1)], ..view("imc-1", "Failed") });
    let quiet = status(Some(&old), &owning(), None, Some(&view("imc-1", "Preparing")), 1, at(0));
    assert_eq!(quiet.events, old.events);
    let loud = ImageCacheView { events: vec![event("another", 2)], ..view("imc-1", "Preparing") };
    assert_eq!(status(Some(&quiet), &owning(), None, Some(&loud), 1, at(0)).events[0].message, "another");
}

#[test]
fn an_image_that_the_cloud_names_twice_is_shown_once() {
    // The list is a map by reference: the API server refuses doubles, and with them the whole status.
    let images = ["nginx:1", "redis:7", "nginx:1"].map(str::to_owned).to_vec();
    let shown = first(&ImageCacheView { images, ..view("imc-1", "Ready") }).images;
    assert_eq!(shown.iter().map(|i| i.reference.as_str()).collect::<Vec<_>>(), ["nginx:1", "redis:7"]);
}

#[test]
fn a_view_of_another_resource_is_not_shown() {
    let shown = first(&view("imc-2", "Ready"));
    assert_eq!((shown.image_cache_id.as_deref(), shown.cloud_status), (Some("imc-1"), None));
}

#[test]
fn what_was_shown_stands_until_the_resource_is_another() {
    let old = first(&ImageCacheView { snapshot_id: Some("s-1".into()), ..view("imc-1", "Ready") });
    let mut same = record(Some(&old));
    assert_eq!(status(Some(&old), &same, None, None, 1, at(0)), old);
    same.current.as_mut().unwrap().id = eci_core::cloud::CloudId::parse("imc-2").unwrap();
    let new = status(Some(&old), &same, None, None, 1, at(0));
    assert_eq!(
        (new.image_cache_id.as_deref(), new.snapshot_id, new.cloud_status),
        (Some("imc-2"), None, None)
    );
}

#[test]
fn a_failure_is_told_by_the_newest_warning_and_its_length_is_bounded() {
    let normal = CloudEventView { type_: "Normal".into(), ..event("all is well", 9) };
    let events = vec![event("first", 1), event(&"x".repeat(2_000), 2), normal];
    let said = ImageCacheKind::failure(&ImageCacheView { events, ..view("imc-1", "Failed") }).unwrap();
    assert!(said.starts_with("PullFailed: xxx") && said.chars().count() < 300, "{said}");
    assert_eq!(ImageCacheKind::failure(&view("imc-1", "Failed")), None);
}

#[test]
fn another_spelling_of_the_same_images_is_no_other_request() {
    let request = eci_api::image_cache::ImageCacheRequest {
        images: vec!["nginx:1".into()],
        size_gib: 20,
        ..Default::default()
    };
    let same = ImageCacheView {
        images: vec!["docker.io/library/nginx:1".into()],
        size_gib: Some(20),
        ..view("imc-1", "Ready")
    };
    assert_eq!(ImageCacheKind::corrected(&request, &same), request);
    let other = ImageCacheView { images: vec!["z".into(), "a".into()], size_gib: Some(40), ..same };
    let corrected = ImageCacheKind::corrected(&request, &other);
    assert_eq!((corrected.images, corrected.size_gib), (vec!["a".into(), "z".into()], 40));
}
