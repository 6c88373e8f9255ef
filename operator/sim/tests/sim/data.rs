//! Data caches in the world, by tables: what each call does, and how time changes it.

use std::collections::BTreeMap;

use eci_sim::Settings;
use eci_sim::world::World;
use eci_sim::world::call::{Call, Cause, DataId, Effect, Reply};
use eci_sim::world::data_cache::{DataChange, DataFilter, DataSpec, DataView, EipSpec, Source};
use eci_sim::world::settings::{DataOrigin, SnapshotDeleted};
use jiff::Timestamp;

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

/// Ten seconds of loading, ten of snapshot, five of updating.
fn world(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings =
        Settings { prepare_ms: 10_000, create_ms: 10_000, update_ms: 5_000, ..Settings::default() };
    change(&mut settings);
    World::new(1, settings)
}

fn spec(path: &str, url: &str) -> DataSpec {
    DataSpec {
        name: "a".to_owned(),
        bucket: "default".to_owned(),
        path: path.to_owned(),
        size_gib: 20,
        source: Source {
            type_: "URL".to_owned(),
            options: BTreeMap::from([("url".to_owned(), url.to_owned())]),
        },
        ..DataSpec::default()
    }
}

fn create(world: &mut World, seconds: i64, spec: DataSpec) -> String {
    match world.call(at(seconds), &Call::CreateDataCache { token: None, spec: Box::new(spec) }).unwrap() {
        Reply::CreatedData { id } => id,
        other => panic!("{other:?}"),
    }
}

fn look(world: &mut World, seconds: i64, id: &str) -> Option<DataView> {
    let filter = DataFilter { ids: vec![id.to_owned()], ..DataFilter::default() };
    match world.call(at(seconds), &Call::DescribeDataCaches(Box::new(filter))).unwrap() {
        Reply::DataCaches { mut items, .. } => items.pop(),
        other => panic!("{other:?}"),
    }
}

fn status(world: &mut World, seconds: i64, id: &str) -> String {
    look(world, seconds, id).map_or_else(|| "gone".to_owned(), |view| view.status)
}

#[test]
fn a_build_goes_from_loading_through_creating_to_available() {
    let mut world = world(|_| {});
    let id = create(&mut world, 0, spec("/a", "https://example.com/a"));
    for (seconds, status, progress, has_snapshot) in [
        (0, "Loading", "0%", false),
        (5, "Loading", "25%", false),
        (10, "Creating", "50%", false),
        (15, "Creating", "75%", false),
        (20, "Available", "100%", true),
        (400 * DAY, "Available", "100%", true),
    ] {
        let view = look(&mut world, seconds, &id).unwrap();
        assert_eq!((view.status.as_str(), view.progress.as_str()), (status, progress), "after {seconds} s");
        assert_eq!(view.snapshot_id.is_some(), has_snapshot, "after {seconds} s");
    }
}

#[test]
fn what_cannot_be_loaded_fails_with_its_cause_and_lives_one_day() {
    let private = |token: Option<&str>| {
        let mut spec = spec("/a", "https://example.com/private");
        let token = token.map(|token| ("accessToken".to_owned(), eci_sim::Digest::of(token).short()));
        spec.source.options.extend(token);
        spec
    };
    let far = |eip| DataSpec { eip, ..spec("/a", "https://far.example.com/a") };
    let big = |size_gib| DataSpec { size_gib, ..spec("/a", "https://example.com/big") };
    for (spec, cause) in [
        (spec("/a", "https://example.com/nonexistent"), Some("404")),
        (private(None), Some("401")),
        (private(Some("wrong")), Some("401")),
        (private(Some("made-up-token")), None),
        (far(None), Some("i/o timeout")),
        (far(Some(EipSpec { bandwidth: Some(5), ..EipSpec::default() })), None),
        (big(20), Some("no space left")),
        (big(60), None),
    ] {
        let mut world = world(|settings| {
            let origin =
                |contains: &str| DataOrigin { contains: contains.to_owned(), ..DataOrigin::default() };
            settings.sources.push(DataOrigin { needs_internet: true, ..origin("far.example.com") });
            settings.sources.push(DataOrigin { gib: Some(50), ..origin("big") });
        });
        let id = create(&mut world, 0, spec.clone());
        let view = look(&mut world, 30, &id).unwrap();
        match cause {
            None => assert_eq!(view.status, "Available", "{spec:?}: {view:?}"),
            Some(cause) => {
                assert_eq!(view.status, "Failed", "{spec:?}");
                let last = view.events.last().unwrap();
                assert!(last.type_ == "Warning" && last.message.contains(cause), "{last:?}");
                assert_eq!(status(&mut world, 11 + DAY, &id), "gone");
            }
        }
    }
}

#[test]
fn bucket_and_path_have_one_cache_until_it_is_gone() {
    let mut world = world(|_| {});
    let id = create(&mut world, 0, spec("/a/", "https://example.com/a"));
    let again = Call::CreateDataCache { token: None, spec: Box::new(spec("/a", "https://example.com/b")) };
    assert_eq!(world.call(at(1), &again).unwrap_err().code, "DataCache.PathExists");
    let other = DataSpec { bucket: "other".to_owned(), ..spec("/a", "https://example.com/b") };
    create(&mut world, 2, other);
    let which = DataId::Place { bucket: "default".to_owned(), path: "/a".to_owned() };
    world.call(at(3), &Call::DeleteDataCache { which, token: None }).unwrap();
    assert_eq!(status(&mut world, 3, &id), "gone");
    world.call(at(4), &again).unwrap();
    assert_eq!(world.data_caches(at(4)).len(), 2);
}

#[test]
fn a_token_makes_one_cache_and_a_mismatch_is_refused() {
    let mut world = world(|_| {});
    let call = |path: &str| Call::CreateDataCache {
        token: Some("t".to_owned()),
        spec: Box::new(spec(path, "https://example.com/a")),
    };
    let first = world.call(at(0), &call("/a")).unwrap();
    assert_eq!(world.call(at(1), &call("/a")).unwrap(), first);
    assert_eq!(world.call(at(2), &call("/b")).unwrap_err().code, "IdempotentParameterMismatch");
    let made = |effect: &Effect| matches!(effect, Effect::CreatedData { .. });
    assert_eq!(world.ledger().iter().filter(|entry| made(&entry.effect)).count(), 1);
}

#[test]
fn an_update_goes_through_updating_to_available_or_update_failed() {
    let mut world = world(|_| {});
    let id = create(&mut world, 0, spec("/a", "https://example.com/a"));
    let update = |world: &mut World, seconds, change: DataChange| {
        world.call(
            at(seconds),
            &Call::UpdateDataCache { id: id.clone(), token: None, change: Box::new(change) },
        )
    };
    let keep = |days| DataChange { retention_days: Some(days), ..DataChange::default() };
    assert_eq!(update(&mut world, 1, keep(3)).unwrap_err().code, "IncorrectStatus");
    update(&mut world, 20, keep(3)).unwrap();
    assert_eq!(status(&mut world, 24, &id), "Updating");
    assert_eq!(status(&mut world, 25, &id), "Available");
    assert_eq!(look(&mut world, 25, &id).unwrap().expires, Some(at(3 * DAY)));
    assert_eq!(update(&mut world, 26, keep(3)).unwrap_err().code, "NoNeedUpdate");
    let source = Some(spec("/a", "https://example.com/nonexistent").source);
    update(&mut world, 27, DataChange { source, ..DataChange::default() }).unwrap();
    assert_eq!(status(&mut world, 47, &id), "UpdateFailed");
    let source = Some(spec("/a", "https://example.com/b").source);
    update(&mut world, 48, DataChange { source, ..DataChange::default() }).unwrap();
    assert_eq!(status(&mut world, 68, &id), "Available");
    assert_eq!(status(&mut world, 3 * DAY, &id), "gone");
    assert_eq!(world.ledger().last().unwrap().effect, Effect::Deleted { cause: Cause::Expired });
}

#[test]
fn hands_can_take_a_cache_or_its_snapshot_away() {
    for (rule, wanted) in [(SnapshotDeleted::TurnsFailed, "Failed"), (SnapshotDeleted::LosesId, "Available")]
    {
        let mut world = world(|settings| settings.snapshot_deleted = rule);
        let id = create(&mut world, 0, spec("/a", "https://example.com/a"));
        let snapshot = look(&mut world, 20, &id).unwrap().snapshot_id.unwrap();
        assert!(world.delete_snapshot(at(21), &snapshot));
        let view = look(&mut world, 22, &id).unwrap();
        assert_eq!((view.status.as_str(), view.snapshot_id), (wanted, None));
        assert!(world.matched(at(23), &id) && world.vanish(at(24), &id));
        assert_eq!(status(&mut world, 24, &id), "gone");
    }
}
