//! What was loaded is known when the status is lost: it is in a tag of the cache.

use std::collections::BTreeMap;

use eci_core::cloud::DataCacheState;
use eci_core::cloud_resource::identity::{OWNERSHIP_TAGS, TAG_CONTENT, TAG_RETAINED};
use eci_core::cloud_resource::{Kind as _, tags};
use eci_core::data_cache::DataCacheKind;
use serde_json::json;

use crate::scene::{Scene, owner, view};

const OTHER: &str = "https://example.com/b";

fn content(t: &Scene) -> Option<String> {
    t.cloud[0].tags.get(TAG_CONTENT).cloned()
}

#[test]
fn a_source_that_is_edited_while_the_status_is_lost_is_loaded() {
    for restart in [false, true] {
        let mut t = Scene::usable();
        let of_a = content(&t);
        t.status = None;
        t.edit(|spec| spec["source"]["url"]["url"] = OTHER.into());
        if restart {
            t.restart();
        }
        t.until("Building", 10);
        assert_eq!(t.done, ["delete edc-1", "create edc-2"]);
        t.becomes("edc-2", DataCacheState::Available);
        assert_eq!(t.later(10), "Available");
        assert!(of_a.is_some() && content(&t).is_some() && of_a != content(&t));
    }
}

#[test]
fn a_cache_that_was_made_from_another_source_than_a_restored_status_says_is_replaced() {
    let mut t = Scene::usable();
    let backup = t.status.clone();
    t.edit(|spec| spec["source"]["url"]["url"] = OTHER.into());
    t.until("Building", 10);
    t.becomes("edc-2", DataCacheState::Available);
    assert_eq!(t.later(10), "Available");
    t.done.clear();
    t.status = backup;
    t.edit(|spec| spec["source"]["url"]["url"] = "https://example.com/a".into());
    t.until("Building", 10);
    // The one of the restored status is gone already, which is confirmed by a delete.
    assert_eq!(t.done, ["delete edc-1", "delete edc-2", "create edc-3"]);
}

#[test]
fn a_lost_status_alone_and_a_cache_without_the_tag_replace_nothing() {
    let mut t = Scene::usable();
    t.status = None;
    t.edit(|_| ());
    t.until("Available", 10);
    assert_eq!(t.done, Vec::<String>::new());
    // One that an earlier version made: what the spec says is believed, and put down at the next change in place.
    t.cloud[0].tags.remove(TAG_CONTENT);
    t.status = None;
    t.edit(|spec| {
        spec["source"]["url"]["url"] = OTHER.into();
        spec["tags"] = json!({ "team": "a" });
    });
    t.until("Available", 10);
    t.edit(|spec| spec["tags"] = json!({ "team": "b" }));
    t.until("Available", 10);
    assert_eq!(t.done, ["update edc-1"]);
    assert!(content(&t).is_some());
}

#[test]
fn a_change_in_place_keeps_the_tag() {
    let mut t = Scene::usable();
    let before = content(&t);
    t.edit(|spec| spec["tags"] = json!({ "team": "a" }));
    assert_eq!(t.later(10), "Available");
    assert_eq!(t.done, ["update edc-1"]);
    assert_eq!(content(&t), before);
}

#[test]
fn a_cache_that_is_taken_over_gets_the_tag_and_one_with_the_tag_of_another_source_is_refused() {
    let adopt = |source: Option<&str>| {
        let mut spec = json!({
            "bucket": "models", "path": "/a", "adopt": { "dataCacheID": "edc-hand" }, "deletionPolicy": "Delete",
        });
        if let Some(url) = source {
            spec["source"] = json!({ "type": "URL", "url": { "url": url } });
        }
        spec
    };
    let of = |url: &str| {
        let mut t = Scene::new();
        t.spec = adopt(Some(url));
        let mut all = tags::<DataCacheKind>(&owner(), 1, &t.desired().request.unwrap());
        // As Retain leaves it.
        all.retain(|key, _| !OWNERSHIP_TAGS.contains(&key.as_str()));
        all.insert(TAG_RETAINED.to_owned(), "c/ns/before".to_owned());
        all
    };
    for (source, has, said) in [
        (Some(OTHER), BTreeMap::new(), "Available"),
        (Some(OTHER), of(OTHER), "Available"),
        (None, of(OTHER), "Available"),
        (Some(OTHER), of("https://example.com/a"), "AdoptionMismatch"),
    ] {
        let mut t = Scene::new();
        t.spec = adopt(source);
        t.cloud.push(view("edc-hand", "/a", has));
        t.until(said, 10);
        if said == "Available" {
            assert_eq!(content(&t), of(OTHER).get(TAG_CONTENT).cloned());
        } else {
            assert!(t.message().contains("another source"), "{}", t.message());
        }
    }
}

#[test]
fn the_text_of_a_source_tells_sources_apart_and_names_no_secret() {
    let text = |source: serde_json::Value| {
        let mut t = Scene::new();
        t.spec["source"] = source;
        DataCacheKind::unshown(&t.desired().request.unwrap()).unwrap()
    };
    let url = |url: &str| json!({ "type": "URL", "url": { "url": url } });
    // Caches bear digests of it for years.
    assert_eq!(text(url("https://example.com/a")), "3:URL3:url21:https://example.com/a");
    let mut with_token = url("https://example.com/a");
    with_token["accessTokenSecretRef"] = json!({ "name": "hub", "key": "token" });
    assert_eq!(text(with_token), text(url("https://example.com/a")));
    let custom = |options: serde_json::Value| {
        text(json!({ "type": "Custom", "custom": { "cloudType": "OSS", "options": options } }))
    };
    assert_ne!(custom(json!({ "a": "b1:c" })), custom(json!({ "a": "b", "c": "" })));
}
