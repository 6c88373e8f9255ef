use std::collections::VecDeque;

use eci_core::cloud::{
    ClientToken, CreateDataCache, CreateImageCache, CreatedImageCache, DataCacheView, ImageCacheView, Page,
    PageToken, Place, UpdateDataCache, UpdateImageCache, Usage,
};
use eci_core::image_cache::ImageCacheKind;
use futures::StreamExt as _;

use super::*;
use crate::snapshot::tests::{owner, view};

type Answer = Result<(Vec<ImageCacheView>, Option<&'static str>), Meaning>;

/// Answers lists from a script, and knows no other call.
struct Script(Mutex<VecDeque<Answer>>);

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(Mutex::new(answers.into_iter().collect()))
    }
}

impl Cloud for Script {
    async fn list_image_caches(
        &self,
        tags: &BTreeMap<String, String>,
        _: Option<&PageToken>,
    ) -> Result<Page<ImageCacheView>, CloudError> {
        assert_eq!(tags.get(TAG_CLUSTER).map(String::as_str), Some("c"));
        let answer = self.0.lock().unwrap().pop_front().expect("a list that the script does not have");
        let (items, next) = answer.map_err(failure)?;
        Ok(Page { items, next: next.map(|token| PageToken(token.into())) })
    }

    async fn create_image_cache(&self, _: &CreateImageCache) -> Result<CreatedImageCache, CloudError> {
        unreachable!()
    }

    async fn describe_image_cache(&self, _: &CloudId) -> Result<Option<ImageCacheView>, CloudError> {
        unreachable!()
    }

    async fn update_image_cache(&self, _: &UpdateImageCache) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn delete_image_cache(&self, _: &CloudId, _: &ClientToken) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn tag_image_cache(&self, _: &CloudId, _: &BTreeMap<String, String>) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn untag_image_cache(&self, _: &CloudId, _: &[String]) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn create_data_cache(&self, _: &CreateDataCache) -> Result<CloudId, CloudError> {
        unreachable!()
    }

    async fn list_data_caches(
        &self,
        _: &BTreeMap<String, String>,
        _: Option<&PageToken>,
    ) -> Result<Page<DataCacheView>, CloudError> {
        unreachable!()
    }

    async fn describe_data_cache(&self, _: &CloudId) -> Result<Option<DataCacheView>, CloudError> {
        unreachable!()
    }

    async fn find_data_caches(&self, _: &Place) -> Result<Vec<DataCacheView>, CloudError> {
        unreachable!()
    }

    async fn update_data_cache(&self, _: &UpdateDataCache) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn delete_data_cache(&self, _: &CloudId, _: &ClientToken) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn tag_data_cache(&self, _: &CloudId, _: &BTreeMap<String, String>) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn untag_data_cache(&self, _: &CloudId, _: &[String]) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn usage(&self) -> Result<Usage, CloudError> {
        unreachable!()
    }
}

fn failure(meaning: Meaning) -> CloudError {
    CloudError {
        action: "DescribeImageCaches",
        meaning,
        code: None,
        message: String::new(),
        request_id: None,
        retry_after: None,
    }
}

const INTERVALS: Intervals =
    Intervals { busy: Duration::from_secs(2), slow: Duration::from_secs(30), page: Duration::from_secs(5) };

fn observer() -> (Observer<ImageCacheKind>, Arc<Nudges>) {
    let nudges = Arc::new(Nudges::default());
    (Observer::new("c".into(), Clock::start(), vec![(None, Arc::clone(&nudges))]), nudges)
}

fn key(name: &str) -> Key {
    Key { namespace: "ns".into(), name: name.into() }
}

/// The objects that are nudged, `end` being one that is queued by hand behind all others.
async fn nudged(nudges: Arc<Nudges>) -> Vec<String> {
    nudges.push(key("~end"));
    Box::pin(nudges.stream())
        .take_while(|key| std::future::ready(key.name != "~end"))
        .map(|key| key.name)
        .collect()
        .await
}

fn ids(observer: &Observer<ImageCacheKind>, owner: &Owner) -> Option<Vec<String>> {
    observer.look(owner).0.map(|list| list.items.iter().map(|v| v.id.to_string()).collect())
}

#[tokio::test]
async fn a_list_is_all_of_its_pages_or_none() {
    let (a, b) = (owner("a", "1"), owner("b", "2"));
    let (observer, _) = observer();
    let cloud = Script::new([
        Ok((vec![view("imc-a", &a)], Some("2"))),
        Ok((vec![view("imc-b", &b)], None)),
        Ok((vec![view("imc-a", &a)], Some("2"))),
        Err(Meaning::Unknown),
    ]);
    observer.list_once(&cloud, &INTERVALS).await;
    assert_eq!(ids(&observer, &b).unwrap(), ["imc-b"]);
    let before = observer.look(&b).0.unwrap().begun;
    observer.list_once(&cloud, &INTERVALS).await;
    let (list, error) = observer.look(&b);
    assert_eq!(list.unwrap().begun, before, "the half list is thrown away");
    assert_eq!(error.unwrap().meaning, Meaning::Unknown);
}

#[tokio::test]
async fn pages_that_go_round_in_a_circle_end_the_list_without_a_result() {
    let (observer, _) = observer();
    let page = |next| Ok((Vec::new(), Some(next)));
    let cloud = Script::new([page("2"), page("3"), page("2")]);
    observer.list_once(&cloud, &INTERVALS).await;
    let (list, error) = observer.look(&owner("a", "1"));
    assert!(list.is_none() && error.unwrap().message.contains("circle"));
}

#[tokio::test]
async fn a_list_nudges_those_who_wait_for_it_and_those_whose_resources_changed() {
    let (a, b) = (owner("a", "1"), owner("b", "2"));
    let (observer, nudges) = observer();
    let both = || Ok((vec![view("imc-a", &a), view("imc-b", &b)], None));
    let changed = ImageCacheView { progress_percent: Some(10), ..view("imc-b", &b) };
    let cloud = Script::new([both(), both(), Ok((vec![view("imc-a", &a), changed], None))]);
    for (name, uid) in [("a", "1"), ("b", "2"), ("idle", "3")] {
        observer.report(&key(name), uid, false, None);
    }
    assert!(observer.await_list(&key("idle"), "3", Mono::default()), "there is no list yet");
    observer.list_once(&cloud, &INTERVALS).await;
    assert_eq!(nudged(Arc::clone(&nudges)).await, ["a", "b", "idle"]);
    let begun = observer.look(&a).0.unwrap().begun;
    assert!(!observer.await_list(&key("a"), "1", begun), "this list is there");
    assert!(observer.await_list(&key("a"), "1", begun.plus(Duration::from_hours(1))));
    observer.list_once(&cloud, &INTERVALS).await;
    assert!(nudged(Arc::clone(&nudges)).await.is_empty(), "nothing changed, and it is too old for a");
    observer.list_once(&cloud, &INTERVALS).await;
    assert_eq!(nudged(nudges).await, ["b"]);
}

#[tokio::test]
async fn a_failure_is_told_once_to_those_who_wait_and_a_list_when_it_comes() {
    let (observer, nudges) = observer();
    let failing = [Err(Meaning::Denied), Err(Meaning::Denied), Err(Meaning::Throttled)];
    let cloud = Script::new(failing.into_iter().chain([Ok((Vec::new(), None))]));
    let wait = || observer.await_list(&key("a"), "1", Mono::default());
    assert!(wait());
    observer.list_once(&cloud, &INTERVALS).await;
    assert_eq!(nudged(Arc::clone(&nudges)).await, ["a"], "it learns why there is none");
    assert!(wait());
    observer.list_once(&cloud, &INTERVALS).await;
    assert!(nudged(Arc::clone(&nudges)).await.is_empty(), "the same reason is no news");
    observer.list_once(&cloud, &INTERVALS).await;
    assert_eq!(nudged(Arc::clone(&nudges)).await, ["a"], "another reason");
    assert!(wait());
    observer.list_once(&cloud, &INTERVALS).await;
    assert_eq!(nudged(nudges).await, ["a"], "the list");
}

#[tokio::test]
async fn many_usable_resources_that_vanish_together_make_lists_suspect_until_they_are_explained() {
    let owners: Vec<_> = (0..8).map(|n| owner(&format!("o{n}"), &n.to_string())).collect();
    let views =
        |n: usize| -> Vec<_> { owners[..n].iter().map(|o| view(&format!("imc-{}", o.uid), o)).collect() };
    let (observer, _) = observer();
    let cloud = Script::new([2, 2, 2, 3].map(|n| Ok((views(n), None))));
    for owner in &owners {
        let id = CloudId::parse(&format!("imc-{}", owner.uid)).unwrap();
        observer.report(&key(&owner.name), &owner.uid, false, Some(id));
    }
    let suspect = || observer.look(&owners[0]).0.unwrap().suspect;
    observer.list_once(&cloud, &INTERVALS).await;
    assert!(suspect(), "six of eight are missing");
    observer.report(&key("o7"), "7", false, None);
    observer.list_once(&cloud, &INTERVALS).await;
    assert!(!suspect(), "one is accounted for");
    observer.report(&key("o7"), "7", false, CloudId::parse("imc-7").ok());
    observer.list_once(&cloud, &INTERVALS).await;
    assert!(suspect());
    observer.list_once(&cloud, &INTERVALS).await;
    assert!(!suspect(), "one came back");
}

#[test]
fn the_next_list_is_due_sooner_when_asked_for_and_later_after_failures() {
    let second = Duration::from_secs;
    let sighting = |error, failures| Sighting::<ImageCacheKind> {
        snapshot: None,
        error,
        ended: Some(Mono(second(100))),
        failures,
        pages: 0,
        suspect: false,
    };
    let due = |s: &Sighting<_>, asked, busy| s.due(asked, busy, &INTERVALS, Mono(second(100)));
    let calm = sighting(None, 0);
    assert_eq!(due(&calm, true, true), LEAST_GAP);
    assert_eq!(due(&calm, false, true), INTERVALS.busy);
    assert!((second(27)..=second(33)).contains(&due(&calm, false, false)));
    assert_eq!(calm.due(true, true, &INTERVALS, Mono(second(200))), Duration::ZERO);
    let failing = |meaning, n| due(&sighting(Some(Arc::new(failure(meaning))), n), true, true);
    assert_eq!(failing(Meaning::Unknown, 1), second(1));
    assert_eq!(failing(Meaning::Denied, 9), INTERVALS.slow, "never rarer than without failures");
    let paused = CloudError { retry_after: Some(second(45)), ..failure(Meaning::Throttled) };
    assert_eq!(due(&sighting(Some(Arc::new(paused)), 1), true, true), second(45));
}

#[tokio::test]
async fn the_poller_lists_at_once_when_asked_and_stops_when_told() {
    let (observer, nudges) = observer();
    let (stop, stopped) = watch::channel(false);
    let cloud = Script::new([Ok((Vec::new(), None)), Ok((Vec::new(), None))]);
    let polled = observer.poll(&cloud, INTERVALS, stopped);
    let asked = async {
        let mut sightings = observer.subscribe();
        sightings.wait_for(Sighting::is_settled).await.unwrap();
        assert!(observer.await_list(&key("a"), "1", observer.clock.now().mono));
        let first = Box::pin(Arc::clone(&nudges).stream()).next().await;
        assert_eq!(first, Some(key("a")));
        stop.send_replace(true);
    };
    tokio::join!(polled, asked);
    assert!(cloud.0.lock().unwrap().is_empty());
}
