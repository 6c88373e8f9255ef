//! Bucket and path have one cache: what goes goes first, and what is another's is left alone.

use std::collections::BTreeMap;

use eci_core::cloud::DataCacheState;
use eci_core::cloud_resource::Owner;
use serde_json::json;

use crate::scene::{Scene, id, owner, peer, view};

#[test]
fn another_source_is_loaded_when_the_old_cache_is_gone_and_not_before() {
    let mut t = Scene::usable();
    t.edit(|spec| spec["source"]["url"]["url"] = "https://example.com/b".into());
    t.until("Building", 10);
    assert_eq!(t.done, ["delete edc-1", "create edc-2"]);
    t.becomes("edc-2", DataCacheState::Available);
    assert_eq!(t.later(10), "Available");
    assert_eq!(t.cloud.len(), 1);
}

#[test]
fn days_tags_and_resource_group_are_changed_in_place_and_secrets_or_network_change_nothing() {
    let mut t = Scene::usable();
    t.edit(|spec| spec["tags"] = json!({ "team": "a" }));
    assert_eq!(t.later(10), "Available");
    t.edit(|spec| spec["retentionDays"] = 7.into());
    assert_eq!(t.later(10), "Available");
    assert_eq!(t.done, ["update edc-1", "update edc-1"]);
    t.edit(|spec| {
        spec["network"] = json!({ "vSwitchIDs": ["vsw-9"] });
        spec["eip"] = json!({ "bandwidth": 10 });
    });
    assert_eq!(t.later(10), "Available");
    assert_eq!(t.done.len(), 2);
}

#[test]
fn a_failed_cache_is_deleted_confirmed_gone_and_made_anew_after_its_wait() {
    let mut t = Scene::new();
    t.run();
    t.becomes("edc-1", DataCacheState::Failed);
    assert_eq!(t.later(10), "BuildFailed");
    assert!(t.message().contains("set spec.eip"), "{}", t.message());
    assert_eq!(t.later(240), "BuildFailed");
    assert_eq!(t.done, ["create edc-1"]);
    t.until("Building", 60);
    assert_eq!(t.done, ["create edc-1", "delete edc-1", "create edc-2"]);
}

#[test]
fn a_change_in_place_that_failed_is_made_anew_at_most_once_an_hour() {
    let mut t = Scene::usable();
    t.becomes("edc-1", DataCacheState::UpdateFailed);
    t.until("Building", 10);
    assert_eq!(t.done, ["delete edc-1", "create edc-2"]);
    t.becomes("edc-2", DataCacheState::Available);
    assert_eq!(t.later(10), "Available");
    t.becomes("edc-2", DataCacheState::UpdateFailed);
    assert_eq!(t.later(10), "Broken");
    assert_eq!(t.later(1_800), "Broken");
    assert_eq!(t.done.len(), 2);
    t.until("Building", 600);
}

#[test]
fn what_somebody_else_has_at_the_place_is_named_and_left_alone() {
    let of_another_cluster = Owner { cluster: "d".into(), ..owner() }.tags(1);
    for (tags, named) in [
        (BTreeMap::new(), "was not made by this object"),
        (of_another_cluster, "data cache ns/model of cluster d"),
        ([("team".to_owned(), "b".to_owned())].into(), "spec.adopt.existing"),
    ] {
        let mut t = Scene::new();
        t.cloud.push(view("edc-foreign", "/a", tags));
        t.cloud.push(view("edc-elsewhere", "/a/b", BTreeMap::new()));
        assert_eq!(t.run(), "BucketPathTaken");
        assert!(t.message().contains(named), "{}", t.message());
        assert_eq!(t.later(3_600), "BucketPathTaken");
        assert!(t.done.is_empty(), "{:?}", t.done);
        // It is looked again, and built when there is room.
        t.cloud.retain(|v| v.id != id("edc-foreign"));
        t.until("Building", 60);
        assert_eq!(t.done, ["create edc-1"]);
    }
}

#[test]
fn of_two_objects_the_older_has_the_place_unless_the_other_is_there_already() {
    for (other, has) in [
        (peer("uid-2", 10, false), true),
        (peer("uid-2", -10, false), false),
        (peer("uid-2", -10, true), true),
        // Created in the same second, the lower UID counts.
        (peer("uid-0", 0, false), true),
        (peer("uid-2", 0, false), false),
    ] {
        let mut t = Scene::new();
        t.peers = vec![other.clone()];
        let said = t.run();
        assert_eq!(said, if has { "BucketPathTaken" } else { "Building" }, "{other:?}");
        if has {
            assert!(t.message().contains("data cache other/of-uid-"), "{}", t.message());
            assert!(t.done.is_empty());
            t.peers.clear();
            t.until("Building", 60);
        }
    }
    // One that is being deleted claims nothing any more, but what it has is still there.
    let mut t = Scene::new();
    t.peers = vec![eci_core::cloud_resource::Peer { deleting: true, ..peer("uid-2", 10, false) }];
    assert_eq!(t.run(), "Building");
}

#[test]
fn a_lost_answer_is_found_at_the_place_before_lists_show_it() {
    let mut t = Scene::new();
    (t.lost, t.lists_lag) = (1, true);
    assert_eq!(t.run(), "Building", "found at once: {:?}", t.done);
    assert_eq!(t.done, ["create edc-1"]);
    assert_eq!(t.record().current.unwrap().id, id("edc-1"));
}

#[test]
fn a_call_whose_place_was_taken_meanwhile_is_not_sent_again() {
    let mut t = Scene::new();
    (t.lost, t.lists_lag) = (1, true);
    t.cloud.clear();
    // The call is lost without an effect, and somebody else is quicker.
    t.run();
    t.cloud = vec![view("edc-foreign", "/a", BTreeMap::new())];
    t.status.as_mut().unwrap().data_cache_id = None;
    t.status.as_mut().unwrap().applied = None;
    t.restart();
    t.lists_lag = false;
    t.until("BucketPathTaken", 60);
    assert_eq!(t.done, ["create edc-1"]);
}

#[test]
fn what_is_there_is_taken_over_by_bucket_and_path() {
    let adopting = json!({
        "bucket": "models", "path": "/a", "adopt": { "existing": true }, "deletionPolicy": "Delete",
    });
    let mut t = Scene::new();
    t.spec = adopting.clone();
    assert_eq!(t.run(), "AdoptionNotFound");
    let mut there = view("edc-hand", "/a", BTreeMap::new());
    there.size_gib = Some(500);
    t.cloud.push(there);
    t.until("Available", 60);
    assert_eq!(t.done, ["retag edc-hand"], "whatever its size, and without a build");
    assert_eq!(t.record().current.unwrap().request.size_gib, 500);
    assert!(owner().owns(&t.cloud[0].tags));
    assert_eq!(t.later(600), "Available");

    // Without a source it cannot be made again.
    t.cloud.clear();
    t.until("InvalidSpec", 120);
    assert!(t.message().contains("spec.source"), "{}", t.message());

    let mut t = Scene::new();
    t.spec = adopting;
    t.privileged = false;
    t.cloud.push(view("edc-hand", "/a", BTreeMap::new()));
    assert_eq!(t.run(), "NamespaceNotPrivileged");
    t.privileged = true;
    t.cloud[0].tags = Owner { cluster: "d".into(), ..owner() }.tags(1);
    t.until("AdoptionConflict", 60);
    t.delete();
    t.until("gone", 60);
    assert!(t.done.is_empty(), "{:?}", t.done);
}

#[test]
fn an_adopted_cache_goes_with_its_object_as_the_policy_says() {
    for (policy, kept) in [("Delete", 0), ("Retain", 1)] {
        let mut t = Scene::new();
        t.spec = json!({
            "bucket": "models", "path": "/a", "adopt": { "dataCacheID": "edc-hand" }, "deletionPolicy": policy,
        });
        t.cloud.push(view("edc-hand", "/a", BTreeMap::new()));
        t.until("Available", 30);
        t.delete();
        t.until("gone", 30);
        assert_eq!(t.cloud.len(), kept, "{policy}");
        assert!(t.cloud.iter().all(|v| !owner().owns(&v.tags)));
    }
}

#[test]
fn an_id_at_another_place_is_not_taken_over() {
    let mut t = Scene::new();
    t.spec = json!({
        "bucket": "models", "path": "/a", "adopt": { "dataCacheID": "edc-hand" }, "deletionPolicy": "Delete",
    });
    t.cloud.push(view("edc-hand", "/other", BTreeMap::new()));
    assert_eq!(t.run(), "AdoptionMismatch");
    assert!(t.message().contains("bucket models path /other"), "{}", t.message());
    assert!(t.done.is_empty());
}

#[test]
fn a_namesakes_failed_cache_is_taken_over_to_make_room() {
    let mut t = Scene::new();
    let before = Owner { uid: "uid-0".into(), ..owner() };
    let mut failed = view("edc-old", "/a", before.tags(3));
    failed.state = DataCacheState::Failed;
    t.cloud.push(failed);
    t.until("Building", 60);
    assert_eq!(t.done.first().map(String::as_str), Some("retag edc-old"));
    assert!(t.done.contains(&"delete edc-old".to_owned()), "{:?}", t.done);
    assert_eq!(t.cloud.len(), 1);
}

#[test]
fn one_that_vanished_is_made_anew_and_one_that_expired_is_not() {
    let mut t = Scene::usable();
    t.cloud.clear();
    t.until("Building", 30);
    assert_eq!(t.done, ["create edc-2"]);

    let mut t = Scene::usable();
    t.edit(|spec| spec["retentionDays"] = 1.into());
    t.later(10);
    t.cloud[0].expiration_time = Some(t.now.wall + jiff::SignedDuration::from_hours(1));
    assert_eq!(t.later(10), "Available");
    t.later(3_600);
    t.cloud.clear();
    t.until("Expired", 60);
}
