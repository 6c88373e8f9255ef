//! Random histories: whatever is called in whatever order, some things always hold.

use std::collections::{BTreeMap, BTreeSet};

use eci_sim::Settings;
use eci_sim::faults::{Effect as FaultEffect, Fault, Seen};
use eci_sim::world::World;
use eci_sim::world::call::{Call, Change, Effect, Filter, Reply, Spec, TagFilter};
use eci_sim::world::settings::Lag;
use eci_sim::{Clock, Sim};
use jiff::Timestamp;
use proptest::prelude::*;

fn start() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

/// Few tokens, names and images, so that histories collide.
fn spec() -> impl Strategy<Value = Spec> {
    (0..3_u8, 0..3_u8, proptest::option::of(-1..5_i32), any::<bool>(), 18..24_i32, any::<bool>()).prop_map(
        |(name, image, retention_days, flash, size_gib, lru)| Spec {
            name: format!("n{name}"),
            images: vec![
                ["nginx:1", "nonexistent:1", "private.example.com/a:1"][usize::from(image)].to_owned(),
            ],
            size_gib,
            retention_days,
            flash,
            elimination_strategy: lru.then(|| "LRU".to_owned()),
            tags: BTreeMap::from([("k".to_owned(), name.to_string())]),
            ..Spec::default()
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Create(Option<u8>, Box<Spec>),
    /// Which of the caches so far.
    Update(usize, Option<u8>, Option<i32>, bool),
    Delete(usize, Option<u8>),
    Describe(Option<i32>, Option<String>),
    Tag(usize, String),
    Untag(usize),
    Vanish(usize),
    DeleteSnapshot(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let token = || proptest::option::of(0..4_u8);
    prop_oneof![
        4 => (token(), spec()).prop_map(|(token, spec)| Step::Create(token, Box::new(spec))),
        2 => (any::<usize>(), token(), proptest::option::of(-1..9_i32), any::<bool>())
            .prop_map(|(which, token, days, image)| Step::Update(which, token, days, image)),
        2 => (any::<usize>(), token()).prop_map(|(which, token)| Step::Delete(which, token)),
        2 => (proptest::option::of(-1..40_i32), proptest::option::of("[0-9a-z]{0,30}"))
            .prop_map(|(limit, token)| Step::Describe(limit, token)),
        1 => (any::<usize>(), ".{0,140}").prop_map(|(which, key)| Step::Tag(which, key)),
        1 => any::<usize>().prop_map(Step::Untag),
        1 => any::<usize>().prop_map(Step::Vanish),
        1 => any::<usize>().prop_map(Step::DeleteSnapshot),
        3 => prop_oneof![0..100_000_u64, Just(90_000_000), Just(u64::MAX)].prop_map(Step::Wait),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let lag = || (0..60_000_u64, 0..60_000_u64).prop_map(|(min_ms, max_ms)| Lag { min_ms, max_ms });
    (proptest::option::of(0..100_000_u64), lag(), lag(), any::<bool>(), 0..6_usize).prop_map(
        |(token_life_ms, list_lag, lookup_lag, delete_unknown_fails, max_image_caches)| Settings {
            token_life_ms,
            list_lag,
            lookup_lag,
            delete_unknown_fails,
            max_image_caches,
            ..Settings::default()
        },
    )
}

/// Runs a history; returns the world and each token of a create that succeeded, with its answers.
fn run(seed: u64, settings: Settings, steps: &[Step]) -> (World, BTreeMap<String, BTreeSet<String>>) {
    let mut world = World::new(seed, settings);
    let (mut now, mut ids, mut answers) = (start(), Vec::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for step in steps {
        let pick = |which: usize, ids: &[String]| {
            ids.get(which % ids.len().max(1)).cloned().unwrap_or_else(|| "imc-unknown".to_owned())
        };
        let named = |token: &Option<u8>| token.map(|token| format!("t{token}"));
        let call = match step {
            Step::Create(token, spec) => Call::CreateImageCache { token: named(token), spec: spec.clone() },
            Step::Update(which, token, retention_days, image) => Call::UpdateImageCache {
                id: pick(*which, &ids),
                token: named(token),
                change: Box::new(Change {
                    retention_days: *retention_days,
                    images: image.then(|| vec!["redis:7".to_owned()]),
                    ..Change::default()
                }),
            },
            Step::Delete(which, token) => {
                Call::DeleteImageCache { id: pick(*which, &ids), token: named(token) }
            }
            Step::Describe(limit, next_token) => Call::DescribeImageCaches(Box::new(Filter {
                limit: *limit,
                next_token: next_token.clone(),
                ..Filter::default()
            })),
            Step::Tag(which, key) => Call::TagResources {
                ids: vec![pick(*which, &ids)],
                tags: BTreeMap::from([(key.clone(), String::new())]),
            },
            Step::Untag(which) => Call::UntagResources { ids: vec![pick(*which, &ids)], keys: None },
            Step::Vanish(which) => {
                world.vanish(now, &pick(*which, &ids));
                continue;
            }
            Step::DeleteSnapshot(which) => {
                let snapshots: Vec<String> =
                    world.caches(now).into_iter().filter_map(|view| view.snapshot_id).collect();
                world.delete_snapshot(now, &pick(*which, &snapshots));
                continue;
            }
            Step::Wait(ms) => {
                let later = i64::try_from(*ms).ok().map(jiff::SignedDuration::from_millis);
                now = later.and_then(|by| now.checked_add(by).ok()).unwrap_or(now);
                continue;
            }
        };
        if let Ok(Reply::Created { id, .. }) = world.call(now, &call) {
            if let Some(token) = call.token() {
                answers.entry(token.to_owned()).or_default().insert(id.clone());
            }
            ids.push(id);
        }
    }
    (world, answers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_panics_and_one_seed_gives_one_ledger(
        seed: u64, settings in settings(), steps in proptest::collection::vec(step(), 0..60)
    ) {
        let (first, _) = run(seed, settings.clone(), &steps);
        let (second, _) = run(seed, settings, &steps);
        prop_assert_eq!(first.ledger(), second.ledger());
    }

    #[test]
    fn no_cache_ends_twice_or_before_it_began_and_the_quota_holds(
        seed: u64, settings in settings(), steps in proptest::collection::vec(step(), 0..60)
    ) {
        let most = settings.max_image_caches;
        let (world, _) = run(seed, settings, &steps);
        let mut living = BTreeSet::new();
        for entry in world.ledger() {
            match entry.effect {
                Effect::Created { .. } | Effect::CreatedData { .. } => prop_assert!(living.insert(&entry.id)),
                Effect::Deleted { .. } => prop_assert!(living.remove(&entry.id)),
                Effect::Updated => prop_assert!(living.contains(&entry.id)),
            }
            prop_assert!(living.len() <= most);
        }
        prop_assert!(world.ledger().is_sorted_by_key(|entry| entry.at));
    }

    #[test]
    fn a_token_that_is_remembered_for_ever_never_creates_twice(
        seed: u64, settings in settings(), steps in proptest::collection::vec(step(), 0..60)
    ) {
        let (world, answers) = run(seed, Settings { token_life_ms: None, ..settings }, &steps);
        let mut used = BTreeSet::new();
        for entry in world.ledger() {
            if let Effect::Created { token: Some(token), .. } = &entry.effect {
                prop_assert!(used.insert(token.clone()), "{} created twice", token);
            }
        }
        for (token, ids) in answers {
            prop_assert!(ids.len() == 1, "{} was answered with {:?}", token, ids);
        }
    }

    #[test]
    fn pages_are_complete_and_without_doubles_when_nothing_changes(
        count in 0..70_usize, limit in 1..25_i32, tagged in any::<bool>()
    ) {
        let mut world = World::new(1, Settings::default());
        for n in 0..count {
            let spec = Spec {
                name: format!("c{n}"),
                images: vec!["nginx:1".to_owned()],
                size_gib: 20,
                tags: BTreeMap::from([("odd".to_owned(), (n % 2).to_string())]),
                ..Spec::default()
            };
            world.call(start(), &Call::CreateImageCache { token: None, spec: Box::new(spec) }).unwrap();
        }
        let tags = if tagged {
            vec![TagFilter { key: "odd".to_owned(), value: Some("1".to_owned()) }]
        } else {
            vec![]
        };
        let expected = if tagged { count / 2 } else { count };
        let (mut seen, mut next, mut pages) = (BTreeSet::new(), None, 0);
        loop {
            let filter =
                Filter { tags: tags.clone(), limit: Some(limit), next_token: next, ..Filter::default() };
            let Ok(Reply::ImageCaches { items, next_token, total }) =
                world.call(start(), &Call::DescribeImageCaches(Box::new(filter)))
            else {
                return Err(TestCaseError::fail("no list"));
            };
            prop_assert_eq!(total, expected);
            for view in items {
                prop_assert!(seen.insert(view.id), "a double");
            }
            pages += 1;
            next = next_token;
            if next.is_none() {
                break;
            }
        }
        prop_assert_eq!(seen.len(), expected);
        let page = usize::try_from(limit).unwrap().min(20);
        prop_assert_eq!(pages, expected.div_ceil(page).max(1), "no page is empty but an only one");
    }

    #[test]
    fn an_effect_that_comes_late_comes_once_and_at_its_time(seed: u64, delay in 1..100_000_u64) {
        let sim = Sim::new(seed, Settings::default(), Clock::manual(start()));
        sim.add_fault(Fault { effect: Some(FaultEffect::Later(delay)), answer: Seen::Closed, ..Fault::default() }.times(1));
        let spec = Box::new(Spec {
            name: "a".to_owned(),
            images: vec!["nginx:1".to_owned()],
            size_gib: 20,
            ..Spec::default()
        });
        sim.perform(&Call::CreateImageCache { token: None, spec });
        let made = |sim: &Sim| sim.with_world(|world, _| world.ledger().to_vec());
        sim.advance(std::time::Duration::from_millis(delay - 1));
        prop_assert!(made(&sim).is_empty());
        sim.advance(std::time::Duration::from_hours(1));
        let ledger = made(&sim);
        prop_assert_eq!(ledger.len(), 1);
        prop_assert_eq!(ledger[0].at.duration_since(start()).as_millis(), i128::from(delay));
    }
}
