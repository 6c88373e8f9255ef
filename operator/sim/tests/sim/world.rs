//! The world, by tables: what each call does, and how time changes it.

use std::collections::BTreeMap;

use eci_sim::Settings;
use eci_sim::world::call::{Call, Cause, Change, Effect, Filter, Reply, Spec, TagFilter};
use eci_sim::world::image_cache::View;
use eci_sim::world::settings::{BuildOutcome, BuildRule, Lag, SnapshotDeleted};
use eci_sim::world::{ApiError, World};
use jiff::Timestamp;

const DAY: i64 = 86_400;

/// An instant, in seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

/// Ten seconds of pulling, ten of snapshot, five of updating.
fn settings() -> Settings {
    Settings { prepare_ms: 10_000, create_ms: 10_000, update_ms: 5_000, ..Settings::default() }
}

fn world(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = settings();
    change(&mut settings);
    World::new(1, settings)
}

fn spec(name: &str) -> Spec {
    Spec { name: name.to_owned(), images: vec!["nginx:1.27".to_owned()], size_gib: 20, ..Spec::default() }
}

fn create(token: Option<&str>, spec: Spec) -> Call {
    Call::CreateImageCache { token: token.map(str::to_owned), spec: Box::new(spec) }
}

fn created(world: &mut World, seconds: i64, spec: Spec) -> String {
    match world.call(at(seconds), &create(None, spec)).unwrap() {
        Reply::Created { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn list(world: &mut World, seconds: i64, filter: Filter) -> (Vec<View>, Option<String>, usize) {
    match world.call(at(seconds), &Call::DescribeImageCaches(Box::new(filter))).unwrap() {
        Reply::ImageCaches { items, next_token, total } => (items, next_token, total),
        other => panic!("{other:?}"),
    }
}

fn look(world: &mut World, seconds: i64, id: &str) -> Option<View> {
    list(world, seconds, Filter { id: Some(id.to_owned()), ..Filter::default() }).0.pop()
}

fn status(world: &mut World, seconds: i64, id: &str) -> String {
    look(world, seconds, id).map_or_else(|| "gone".to_owned(), |view| view.status)
}

fn names(world: &mut World, seconds: i64, filter: Filter) -> Vec<String> {
    list(world, seconds, filter).0.into_iter().map(|view| view.name).collect()
}

fn update(world: &mut World, seconds: i64, id: &str, change: Change) -> Result<Reply, ApiError> {
    world.call(
        at(seconds),
        &Call::UpdateImageCache { id: id.to_owned(), token: None, change: Box::new(change) },
    )
}

fn delete(world: &mut World, seconds: i64, id: &str) -> Result<Reply, ApiError> {
    world.call(at(seconds), &Call::DeleteImageCache { id: id.to_owned(), token: None })
}

fn causes(world: &World) -> Vec<Cause> {
    let cause = |effect: &Effect| match effect {
        Effect::Deleted { cause } => Some(*cause),
        _ => None,
    };
    world.ledger().iter().filter_map(|entry| cause(&entry.effect)).collect()
}

fn creates(world: &World) -> usize {
    world.ledger().iter().filter(|entry| matches!(entry.effect, Effect::Created { .. })).count()
}

#[test]
fn a_build_goes_from_preparing_through_creating_to_ready() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, spec("a"));
    for (seconds, status, progress, has_snapshot) in [
        (0, "Preparing", "0%", false),
        (9, "Preparing", "0%", false),
        (10, "Creating", "0%", false),
        (15, "Creating", "50%", false),
        (20, "Ready", "100%", true),
        (400 * DAY, "Ready", "100%", true),
    ] {
        let view = look(&mut world, seconds, &id).unwrap();
        assert_eq!((view.status.as_str(), view.progress.as_str()), (status, progress), "after {seconds} s");
        assert_eq!(view.snapshot_id.is_some(), has_snapshot, "after {seconds} s");
    }
    let view = look(&mut world, 400 * DAY, &id).unwrap();
    let reasons: Vec<&str> = view.events.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(reasons, ["Pulling", "Pulled", "ImageCacheCreated"]);
    assert!(view.expires.is_none() && view.container_group_id.starts_with("eci-"));
}

#[test]
fn a_flash_build_is_ready_on_its_quick_snapshot_and_keeps_the_standard_one() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, Spec { flash: true, ..spec("a") });
    let early = look(&mut world, 15, &id).unwrap();
    assert_eq!((early.status.as_str(), early.progress.as_str()), ("Ready", "50%"));
    assert!(early.flash_snapshot_id.is_some() && early.snapshot_id.is_none());
    let late = look(&mut world, 20, &id).unwrap();
    assert!(late.flash_snapshot_id.is_none() && late.snapshot_id.is_some());
}

#[test]
fn the_scale_factor_applies_to_builds_that_begin_after_it_was_set() {
    let mut world = world(|_| {});
    let slow = created(&mut world, 0, spec("a"));
    world.settings.scale = 0.1;
    let fast = created(&mut world, 0, spec("b"));
    assert_eq!(status(&mut world, 3, &slow), "Preparing");
    assert_eq!(status(&mut world, 3, &fast), "Ready");
}

#[test]
fn a_failed_build_says_why_and_lives_one_day() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, Spec { images: vec!["nonexistent:1".to_owned()], ..spec("a") });
    let view = look(&mut world, 10, &id).unwrap();
    assert_eq!(view.status, "Failed");
    let event = view.events.last().unwrap();
    assert_eq!((event.type_.as_str(), event.reason.as_str()), ("Warning", "Failed"));
    assert!(event.message.contains("nonexistent:1") && event.message.contains("ErrImagePull"));
    assert_eq!(view.expires, Some(at(10 + DAY)));
    assert_eq!(status(&mut world, 9 + DAY, &id), "Failed");
    assert_eq!(status(&mut world, 10 + DAY, &id), "gone");
    assert_eq!(causes(&world), [Cause::FailedTooLong]);
}

#[test]
fn retention_ends_a_cache_and_a_longer_one_saves_it() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, Spec { retention_days: Some(1), ..spec("a") });
    let saved = created(&mut world, 0, Spec { retention_days: Some(1), ..spec("b") });
    assert_eq!(look(&mut world, 100, &id).unwrap().expires, Some(at(DAY)));
    update(&mut world, 100, &saved, Change { retention_days: Some(2), ..Change::default() }).unwrap();
    assert_eq!(status(&mut world, DAY, &id), "gone");
    assert_eq!(status(&mut world, DAY, &saved), "Ready");
    assert_eq!(causes(&world), [Cause::Expired]);
}

#[test]
fn a_retention_that_is_already_over_ends_the_cache_when_it_is_set() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, spec("a"));
    update(&mut world, 3 * DAY, &id, Change { retention_days: Some(1), ..Change::default() }).unwrap();
    assert_eq!(status(&mut world, 3 * DAY + 4, &id), "Updating");
    assert_eq!(status(&mut world, 3 * DAY + 5, &id), "gone");
    assert_eq!(world.ledger().last().unwrap().at, at(3 * DAY + 5));
}

#[test]
fn a_token_gives_the_first_answer_again_and_refuses_another_request() {
    let mut world = world(|_| {});
    let first = world.call(at(0), &create(Some("t"), spec("a"))).unwrap();
    assert_eq!(world.call(at(DAY), &create(Some("t"), spec("a"))).unwrap(), first);
    let mismatch = world.call(at(1), &create(Some("t"), spec("b"))).unwrap_err();
    assert_eq!((mismatch.code.as_str(), mismatch.status), ("IdempotentParameterMismatch", 400));
    assert_ne!(world.call(at(1), &create(Some("u"), spec("a"))).unwrap(), first);
    assert_eq!(creates(&world), 2);
}

#[test]
fn how_long_a_token_is_remembered_and_what_a_mismatch_is_called_are_switches() {
    for (life, repeated_after, makes) in
        [(Some(0), 0, 2), (Some(60_000), 59, 1), (Some(60_000), 60, 2), (None, 1_000 * DAY, 1)]
    {
        let mut world = world(|s| s.token_life_ms = life);
        for seconds in [0, repeated_after] {
            world.call(at(seconds), &create(Some("t"), spec("a"))).unwrap();
        }
        assert_eq!(creates(&world), makes, "life {life:?}, repeated after {repeated_after} s");
    }
    let mut world = world(|s| s.token_mismatch_code = "InvalidParameter.ClientToken".to_owned());
    world.call(at(0), &create(Some("t"), spec("a"))).unwrap();
    let mismatch = world.call(at(0), &create(Some("t"), spec("b"))).unwrap_err();
    assert_eq!(mismatch.code, "InvalidParameter.ClientToken");
}

#[test]
fn a_refused_create_is_not_remembered_by_its_token() {
    let mut world = world(|s| s.max_image_caches = 0);
    assert_eq!(world.call(at(0), &create(Some("t"), spec("a"))).unwrap_err().code, "QuotaExceeded");
    world.settings.max_image_caches = 1;
    assert!(world.call(at(1), &create(Some("t"), spec("a"))).is_ok());
}

#[test]
fn creates_and_deletes_are_seen_in_lists_after_the_lag_and_by_id_after_theirs() {
    let mut world = world(|s| {
        s.list_lag = Lag::fixed(30_000);
        s.lookup_lag = Lag::fixed(5_000);
    });
    let id = created(&mut world, 0, spec("a"));
    let seen = |world: &mut World, seconds| {
        (names(world, seconds, Filter::default()).len(), look(world, seconds, &id).is_some())
    };
    assert_eq!(seen(&mut world, 4), (0, false));
    assert_eq!(seen(&mut world, 5), (0, true));
    assert_eq!(seen(&mut world, 30), (1, true));
    delete(&mut world, 100, &id).unwrap();
    assert_eq!(seen(&mut world, 104), (1, true));
    assert_eq!(seen(&mut world, 105), (1, false));
    assert_eq!(seen(&mut world, 130), (0, false));
}

#[test]
fn a_list_begun_later_may_still_be_older() {
    let mut world = world(|s| s.list_lag = Lag { min_ms: 0, max_ms: 60_000 });
    created(&mut world, 0, spec("a"));
    let seen: Vec<usize> = (0..60).map(|s| names(&mut world, s, Filter::default()).len()).collect();
    assert!(seen.windows(2).any(|pair| pair == [1, 0]), "{seen:?}");
}

#[test]
fn deleting_an_unknown_id_succeeds_or_is_refused_as_the_switch_says() {
    let mut world = world(|_| {});
    assert_eq!(delete(&mut world, 0, "imc-unknown").unwrap(), Reply::Done);
    world.settings.delete_unknown_fails = true;
    let refusal = delete(&mut world, 0, "imc-unknown").unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.status), ("InvalidParameter.NotFound", 404));
    let id = created(&mut world, 0, spec("a"));
    delete(&mut world, 1, &id).unwrap();
    assert!(delete(&mut world, 2, &id).is_err(), "a second delete is one of an unknown ID");
    assert_eq!(causes(&world), [Cause::Call]);
}

#[test]
fn an_update_needs_a_settled_cache_and_something_to_change() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, spec("a"));
    let days = |days| Change { retention_days: Some(days), ..Change::default() };
    assert_eq!(update(&mut world, 5, &id, days(7)).unwrap_err().code, "ImageCache.IncorrectStatus");
    assert_eq!(update(&mut world, 20, &id, Change::default()).unwrap_err().code, "NoNeedUpdate");
    update(&mut world, 20, &id, days(7)).unwrap();
    assert_eq!(status(&mut world, 24, &id), "Updating");
    assert_eq!(update(&mut world, 24, &id, days(8)).unwrap_err().code, "ImageCache.IncorrectStatus");
    let view = look(&mut world, 25, &id).unwrap();
    assert_eq!((view.status.as_str(), view.expires), ("Ready", Some(at(7 * DAY))));
    assert_eq!(update(&mut world, 30, &id, days(7)).unwrap_err().code, "NoNeedUpdate");
    assert_eq!(update(&mut world, 30, "imc-unknown", days(7)).unwrap_err().code, "InvalidParameter.NotFound");
}

#[test]
fn an_update_of_the_images_builds_again_and_may_fail_without_losing_what_was() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, spec("a"));
    let before = look(&mut world, 20, &id).unwrap();
    let images = |image: &str| Change { images: Some(vec![image.to_owned()]), ..Change::default() };
    update(&mut world, 20, &id, images("nonexistent:2")).unwrap();
    let failed = look(&mut world, 40, &id).unwrap();
    assert_eq!(failed.status, "UpdateFailed");
    assert_eq!((failed.images, failed.snapshot_id), (before.images, before.snapshot_id.clone()));
    update(&mut world, 41, &id, images("nginx:1.28")).unwrap();
    assert_eq!(status(&mut world, 60, &id), "Updating");
    let after = look(&mut world, 61, &id).unwrap();
    assert_eq!((after.status.as_str(), after.images), ("Ready", vec!["nginx:1.28".to_owned()]));
    assert_ne!(after.snapshot_id, before.snapshot_id);
}

#[test]
fn quota_refuses_or_removes_the_least_recently_used_cache_that_may_go() {
    let mut world = world(|s| s.max_image_caches = 3);
    let lru = || Some("LRU".to_owned());
    let kept = created(&mut world, 0, spec("kept"));
    let used = created(&mut world, 1, Spec { elimination_strategy: lru(), ..spec("used") });
    let idle = created(&mut world, 2, Spec { elimination_strategy: lru(), ..spec("idle") });
    let refusal = world.call(at(3), &create(None, spec("d"))).unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.status), ("QuotaExceeded", 403), "nothing is Ready yet");
    assert!(world.matched(at(50), &used));
    let new = created(&mut world, 60, spec("new"));
    for (id, expected) in [(&kept, "Ready"), (&used, "Ready"), (&idle, "gone"), (&new, "Preparing")] {
        assert_eq!(status(&mut world, 60, id), expected);
    }
    assert_eq!(causes(&world), [Cause::Eliminated]);
    let usage = world.call(at(60), &Call::ListUsage).unwrap();
    assert_eq!(
        usage,
        Reply::Usage { max_image_caches: 3, used_image_caches: 3, max_data_caches: 100, used_data_caches: 0 }
    );
}

#[test]
fn a_snapshot_deleted_by_hand_fails_its_cache_or_only_leaves_it() {
    for (rule, expected) in [(SnapshotDeleted::TurnsFailed, "Failed"), (SnapshotDeleted::LosesId, "Ready")] {
        let mut world = world(|s| s.snapshot_deleted = rule);
        let id = created(&mut world, 0, spec("a"));
        let snapshot = look(&mut world, 20, &id).unwrap().snapshot_id.unwrap();
        assert!(world.delete_snapshot(at(21), &snapshot));
        assert!(!world.delete_snapshot(at(21), &snapshot), "it is gone");
        let view = look(&mut world, 21, &id).unwrap();
        assert_eq!((view.status.as_str(), view.snapshot_id), (expected, None));
    }
}

#[test]
fn a_cache_that_vanishes_is_in_the_ledger_as_such() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, spec("a"));
    assert!(world.vanish(at(1), &id) && !world.vanish(at(1), &id));
    assert_eq!(look(&mut world, 1, &id), None);
    assert_eq!(causes(&world), [Cause::ByHand]);
}

#[test]
fn a_build_that_hangs_stays_preparing() {
    let rule = BuildRule { image_contains: String::new(), times: None, outcome: BuildOutcome::Hangs };
    let mut world = world(|s| s.builds = vec![rule]);
    let id = created(&mut world, 0, spec("a"));
    assert_eq!(status(&mut world, 30 * DAY, &id), "Preparing");
}

#[test]
fn every_filter_of_describe_narrows_the_list() {
    let mut world = world(|_| {});
    let tags = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    created(&mut world, 0, Spec { tags: tags(&[("team", "a"), ("env", "x")]), ..spec("one") });
    created(&mut world, 0, Spec { resource_group_id: Some("rg-1".to_owned()), ..spec("two") });
    let images = vec!["nginx:1.27".to_owned(), "redis:7".to_owned()];
    let third = created(&mut world, 0, Spec { images, tags: tags(&[("team", "a")]), ..spec("three") });
    let snapshot = look(&mut world, 100, &third).unwrap().snapshot_id;
    let tag =
        |key: &str, value: Option<&str>| TagFilter { key: key.to_owned(), value: value.map(str::to_owned) };
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (Filter::default(), vec!["three", "two", "one"]),
        (Filter { id: Some(third), ..Filter::default() }, vec!["three"]),
        (Filter { name: text("two"), ..Filter::default() }, vec!["two"]),
        (Filter { snapshot_id: snapshot, ..Filter::default() }, vec!["three"]),
        (Filter { image: text("redis:7"), ..Filter::default() }, vec!["three"]),
        (Filter { resource_group_id: text("rg-1"), ..Filter::default() }, vec!["two"]),
        (Filter { tags: vec![tag("team", Some("a"))], ..Filter::default() }, vec!["three", "one"]),
        (Filter { tags: vec![tag("team", Some("a")), tag("env", None)], ..Filter::default() }, vec!["one"]),
        (Filter { tags: vec![tag("team", Some("b"))], ..Filter::default() }, vec![]),
        (Filter { id: text("imc-unknown"), ..Filter::default() }, vec![]),
    ] {
        assert_eq!(names(&mut world, 100, filter.clone()), expected, "{filter:?}");
    }
}

#[test]
fn matching_images_puts_the_best_ready_cache_first() {
    let mut world = world(|_| {});
    let images = |images: &[&str]| images.iter().map(|image| (*image).to_owned()).collect::<Vec<_>>();
    created(&mut world, 0, Spec { images: images(&["a:1"]), ..spec("one") });
    created(&mut world, 0, Spec { images: images(&["a:1", "b:1"]), ..spec("both") });
    created(&mut world, 0, Spec { images: images(&["c:1"]), ..spec("none") });
    created(&mut world, 90, Spec { images: images(&["a:1", "b:1"]), ..spec("building") });
    let ask = |full_match, match_count| Filter {
        match_images: images(&["a:1", "b:1"]),
        full_match,
        match_count,
        ..Filter::default()
    };
    assert_eq!(names(&mut world, 100, ask(false, None)), ["both", "one"]);
    assert_eq!(names(&mut world, 100, ask(true, None)), ["both"]);
    assert_eq!(names(&mut world, 100, ask(false, Some(2))), ["both"]);
}

#[test]
fn pages_stay_whole_while_caches_come_and_go() {
    let mut world = world(|_| {});
    let ids: Vec<String> = (0..50).map(|n| created(&mut world, 0, spec(&format!("c{n}")))).collect();
    let (first, next, total) = list(&mut world, 1, Filter::default());
    assert_eq!((first.len(), total), (20, 50), "20 a page when nothing is asked for");
    // Some of the first page go, a new one comes: the second page must neither repeat nor skip the others.
    for view in &first[..5] {
        delete(&mut world, 2, &view.id).unwrap();
    }
    created(&mut world, 2, spec("new"));
    let mut seen: Vec<String> = first.into_iter().map(|view| view.id).collect();
    let mut next = next;
    while let Some(token) = next {
        let filter = Filter { next_token: Some(token), limit: Some(1_000), ..Filter::default() };
        let (items, more, _) = list(&mut world, 3, filter);
        assert!(items.len() <= 20, "20 at most, whatever is asked for");
        seen.extend(items.into_iter().map(|view| view.id));
        next = more;
    }
    let newest_first: Vec<String> = ids.into_iter().rev().collect();
    assert_eq!(seen, newest_first);
}

#[test]
fn a_page_token_of_another_query_or_none_at_all_is_refused() {
    let mut world = world(|_| {});
    for n in 0..3 {
        created(&mut world, 0, spec(&format!("c{n}")));
    }
    let page = Filter { limit: Some(1), ..Filter::default() };
    let token = list(&mut world, 1, page.clone()).1;
    let other = Filter { name: Some("c1".to_owned()), next_token: token, ..page.clone() };
    for filter in [other, Filter { next_token: Some("zz".to_owned()), ..page.clone() }] {
        let refusal = world.call(at(1), &Call::DescribeImageCaches(Box::new(filter))).unwrap_err();
        assert_eq!(refusal.code, "InvalidParameter");
    }
}

#[test]
fn tags_are_added_overwritten_listed_and_removed() {
    let mut world = world(|_| {});
    let id = created(&mut world, 0, Spec { tags: BTreeMap::from([("a".into(), "1".into())]), ..spec("a") });
    let ids = vec![id.clone()];
    let add = BTreeMap::from([("a".to_owned(), "2".to_owned()), ("b".to_owned(), String::new())]);
    world.call(at(1), &Call::TagResources { ids: ids.clone(), tags: add }).unwrap();
    let listed = world
        .call(at(1), &Call::ListTagResources { ids: ids.clone(), tags: vec![], next_token: None })
        .unwrap();
    let row = |key: &str, value: &str| (id.clone(), key.to_owned(), value.to_owned());
    assert_eq!(listed, Reply::Tags { items: vec![row("a", "2"), row("b", "")], next_token: None });
    world.call(at(1), &Call::UntagResources { ids: ids.clone(), keys: Some(vec!["a".to_owned()]) }).unwrap();
    assert_eq!(look(&mut world, 1, &id).unwrap().tags.into_keys().collect::<Vec<_>>(), ["b"]);
    world.call(at(1), &Call::UntagResources { ids, keys: None }).unwrap();
    assert!(look(&mut world, 1, &id).unwrap().tags.is_empty());
    let unknown = Call::UntagResources { ids: vec!["imc-unknown".to_owned()], keys: None };
    assert_eq!(world.call(at(1), &unknown).unwrap_err().code, "InvalidParameter.NotFound");
}

#[test]
fn requests_that_break_the_documented_bounds_are_refused() {
    let mut world = world(|s| s.require_network = true);
    let good = || Spec {
        v_switch_ids: vec!["vsw-1".to_owned()],
        security_group_id: Some("sg-1".to_owned()),
        ..spec("a")
    };
    let many_tags = || (0..21).map(|n| (format!("k{n}"), String::new())).collect();
    for (bad, code, named) in [
        (Spec { v_switch_ids: vec![], ..good() }, "MissingParameter", "VSwitchId"),
        (Spec { security_group_id: None, ..good() }, "MissingParameter", "SecurityGroupId"),
        (Spec { images: vec![], ..good() }, "MissingParameter", "Image.1"),
        (Spec { size_gib: 19, ..good() }, "InvalidParameter", "ImageCacheSize"),
        (Spec { retention_days: Some(0), ..good() }, "InvalidParameter", "RetentionDays"),
        (
            Spec { elimination_strategy: Some("FIFO".into()), ..good() },
            "InvalidParameter",
            "EliminationStrategy",
        ),
        (Spec { tags: many_tags(), ..good() }, "InvalidParameter", "Tag"),
        (
            Spec { tags: BTreeMap::from([("acs:x".into(), String::new())]), ..good() },
            "InvalidParameter",
            "Tag",
        ),
    ] {
        let refusal = world.call(at(0), &create(None, bad)).unwrap_err();
        assert_eq!(refusal.code, code);
        assert!(refusal.message.contains(named), "{}", refusal.message);
    }
    let long = "t".repeat(65);
    assert_eq!(world.call(at(0), &create(Some(&long), good())).unwrap_err().code, "InvalidParameter");
    assert!(world.call(at(0), &create(None, good())).is_ok());
    assert_eq!(creates(&world), 1);
}
