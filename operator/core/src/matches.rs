//! Whether pods start from an image cache: the vendor says so by an annotation and an event of each pod, and this counts
//! them for each cache.
//!
//! A hit names its cache. A miss names none: it counts for every usable cache that has all of the pod's images, for each of
//! these should have been found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use eci_api::condition::{Reason, whole_seconds};
use eci_api::image_cache::Matches;
use eci_api::image_reference::ImageReference;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::cloud::CloudId;
use crate::time::until;

/// Reason of the event of a pod that starts from an image cache (vendor's documentation).
pub const HIT_EVENT: &str = "SuccessfulHitImageCache";
/// Reason of the event of a pod for which no image cache was found (vendor's documentation).
pub const MISS_EVENT: &str = "ImageCacheMissed";
/// Annotation of a pod: the image cache that it started from (vendor's documentation).
pub const MATCHED: &str = "k8s.aliyun.com/eci-matched-image-cache";
/// How often the counts of a cache are written.
pub const WRITE_EVERY: Duration = Duration::from_mins(10);
/// Most pods that are remembered as counted. An event that comes again after that many others counts again.
const REMEMBERED: usize = 20_000;
/// Most caches with counts that are not written yet.
const MOST_CACHES: usize = 5_000;
/// Most counts of one cache whose time matters, from the list at the start.
const MOST_LISTED: usize = 5_000;

/// What the vendor said of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It starts from this cache.
    Hit(CloudId),
    /// It starts without one.
    Missed,
}

/// A pod that starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its UID.
    pub pod: String,
    /// When the vendor said it.
    pub at: Timestamp,
    /// What.
    pub sign: Sign,
    /// Its images, as it names them.
    pub images: BTreeSet<String>,
    /// Whether it was seen in a list of what had been before: it may be counted already, by another process.
    pub listed: bool,
}

/// An image cache, as far as it is matched.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its ID.
    pub id: CloudId,
    /// Its images.
    pub images: Vec<String>,
    /// Whether pods can start from it.
    pub usable: bool,
}

impl Candidate {
    fn covers(&self, images: &BTreeSet<String>) -> bool {
        let has: BTreeSet<String> = self.images.iter().map(|image| normal(image)).collect();
        images.iter().all(|image| has.contains(&normal(image)))
    }
}

fn normal(image: &str) -> String {
    ImageReference::parse(image).map_or_else(|_| image.to_owned(), |image| image.normal_form())
}

/// What one pod means for one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// It started from it.
    Hit,
    /// It started from it, and has images that the cache has not.
    PartialHit,
    /// It should have.
    Miss,
}

/// Counts that are not written yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    live: Vec<(Mark, i64)>,
    last: Option<Timestamp>,
    last_hit: Option<Timestamp>,
    listed: Vec<(Timestamp, Mark)>,
}

impl Pending {
    fn add(&mut self, start: &Start, mark: Mark) {
        if start.listed {
            if self.listed.len() < MOST_LISTED {
                self.listed.push((start.at, mark));
            }
            return;
        }
        match self.live.iter_mut().find(|(known, _)| *known == mark) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.live.push((mark, 1)),
        }
        self.last = self.last.max(Some(start.at));
        if mark != Mark::Miss {
            self.last_hit = self.last_hit.max(Some(start.at));
        }
    }
}

/// The counts of all caches since they were last written.
#[derive(Debug, Default)]
pub struct Tally {
    counted: BTreeSet<String>,
    order: VecDeque<String>,
    pending: BTreeMap<CloudId, Pending>,
}

impl Tally {
    /// Whether a pod was counted.
    pub fn knows(&self, pod: &str) -> bool {
        self.counted.contains(pod)
    }

    /// Counts a pod, once. Gives the caches that had nothing to be written before.
    pub fn count(&mut self, start: &Start, caches: impl IntoIterator<Item = Candidate>) -> Vec<CloudId> {
        if !self.counted.insert(start.pod.clone()) {
            return Vec::new();
        }
        self.order.push_back(start.pod.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.counted.remove(&oldest);
        }
        let mut news = Vec::new();
        for cache in caches {
            let mark = match &start.sign {
                Sign::Hit(id) if *id != cache.id => continue,
                Sign::Hit(_) if cache.covers(&start.images) => Mark::Hit,
                Sign::Hit(_) => Mark::PartialHit,
                Sign::Missed if cache.usable && cache.covers(&start.images) => Mark::Miss,
                Sign::Missed => continue,
            };
            let known = self.pending.contains_key(&cache.id);
            if !known && self.pending.len() >= MOST_CACHES {
                continue;
            }
            self.pending.entry(cache.id.clone()).or_default().add(start, mark);
            if !known {
                news.push(cache.id);
            }
        }
        news
    }

    /// What is to be written of a cache.
    pub fn pending(&self, id: &CloudId) -> Option<&Pending> {
        self.pending.get(id)
    }

    /// It was written; what came since stays.
    pub fn written(&mut self, id: &CloudId, what: &Pending) {
        if self.pending.get(id) == Some(what) {
            self.pending.remove(id);
        } else if let Some(pending) = self.pending.get_mut(id) {
            for (mark, count) in &what.live {
                if let Some((_, known)) = pending.live.iter_mut().find(|(known, _)| known == mark) {
                    *known = known.saturating_sub(*count);
                }
            }
            pending.listed.drain(..what.listed.len().min(pending.listed.len()));
        }
    }
}

/// How long counts still wait to be written.
pub fn due_in(old: Option<&Matches>, now: Timestamp) -> Duration {
    let written = old.and_then(|old| old.written_time.as_ref());
    written.map_or(Duration::ZERO, |written| until(written.0, WRITE_EVERY, now))
}

/// The counts that follow on `old`; `None` when there is nothing new.
pub fn add(old: Option<&Matches>, pending: &Pending, now: Timestamp) -> Option<Matches> {
    let before = old.cloned();
    let until = before.as_ref().and_then(|old| old.counted_time.as_ref()).map(|time| time.0);
    // What is in the list of a new process was counted by the one before, up to the last that it wrote.
    let fresh = pending.listed.iter().filter(|(at, _)| until.is_none_or(|until| whole_seconds(*at) > until));
    let (mut hits, mut partial, mut misses) = (0_i64, 0_i64, 0_i64);
    let (mut last, mut last_hit) = (pending.last, pending.last_hit);
    let mut take = |mark: Mark, count: i64| match mark {
        Mark::Hit => hits = hits.saturating_add(count),
        Mark::PartialHit => {
            hits = hits.saturating_add(count);
            partial = partial.saturating_add(count);
        }
        Mark::Miss => misses = misses.saturating_add(count),
    };
    for (at, mark) in fresh {
        take(*mark, 1);
        last = last.max(Some(*at));
        if *mark != Mark::Miss {
            last_hit = last_hit.max(Some(*at));
        }
    }
    for (mark, count) in &pending.live {
        take(*mark, *count);
    }
    if hits == 0 && misses == 0 {
        return None;
    }
    let time = |at: Timestamp| Time(whole_seconds(at));
    let old = before.unwrap_or_default();
    let newest = |old: Option<Time>, new: Option<Timestamp>| {
        old.map(|old| old.0).max(new.map(whole_seconds)).map(Time)
    };
    Some(Matches {
        hits: old.hits.saturating_add(hits),
        partial_hits: old.partial_hits.saturating_add(partial),
        misses: old.misses.saturating_add(misses),
        last_hit_time: newest(old.last_hit_time, last_hit),
        counted_time: newest(old.counted_time, last),
        written_time: Some(time(now)),
    })
}

/// What the counts mean: whether pods start from the cache, why not, and in a sentence. `None` when nothing is known.
pub fn judge(matches: &Matches) -> Option<(bool, Reason, String)> {
    let Matches { hits, partial_hits, misses, .. } = *matches;
    if hits > partial_hits {
        return Some((true, Reason::Matched, "Pods start from this cache.".to_owned()));
    }
    if hits > 0 {
        let message = "Every pod that started from this cache has images that the cache has not, and pulled these. Add them to spec.images, or make a cache for these pods.";
        return Some((false, Reason::PartialOnly, message.to_owned()));
    }
    let message = "Pods whose images are all in this cache started without it, and none from it. Pin it by a profile or the annotation k8s.aliyun.com/eci-imc-id, or see that nothing sets k8s.aliyun.com/eci-auto-imc to false.";
    (misses > 0).then(|| (false, Reason::NeverMatched, message.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn id(text: &str) -> CloudId {
        CloudId::parse(text).unwrap()
    }

    fn cache(name: &str, images: &[&str], usable: bool) -> Candidate {
        Candidate { id: id(name), images: images.iter().map(|image| (*image).to_owned()).collect(), usable }
    }

    fn start(pod: &str, second: i64, sign: Sign, images: &[&str]) -> Start {
        let images = images.iter().map(|image| (*image).to_owned()).collect();
        Start { pod: pod.into(), at: at(second), sign, images, listed: false }
    }

    fn hit(name: &str) -> Sign {
        Sign::Hit(id(name))
    }

    fn counts(matches: &Matches) -> (i64, i64, i64) {
        (matches.hits, matches.partial_hits, matches.misses)
    }

    #[test]
    fn a_hit_counts_for_its_cache_and_a_miss_for_those_that_should_have_been_found() {
        let caches = || {
            [
                cache("imc-1", &["nginx:1", "redis:7"], true),
                cache("imc-2", &["docker.io/library/nginx:1"], true),
                cache("imc-3", &["nginx:1"], false),
                cache("imc-4", &["nginx:2"], true),
            ]
        };
        let mut tally = Tally::default();
        let news = tally.count(&start("a", 1, hit("imc-1"), &["nginx:1"]), caches());
        assert_eq!(news, [id("imc-1")]);
        assert!(tally.count(&start("a", 2, Sign::Missed, &["nginx:1"]), caches()).is_empty(), "once");
        let news = tally.count(&start("b", 3, Sign::Missed, &["nginx:1"]), caches());
        assert_eq!(news, [id("imc-2")], "the first has something to be written already");
        tally.count(&start("c", 4, hit("imc-1"), &["nginx:1", "busybox"]), caches());
        let total = |name: &str| counts(&add(None, tally.pending(&id(name)).unwrap(), at(9)).unwrap());
        assert_eq!(total("imc-1"), (2, 1, 1));
        assert_eq!(total("imc-2"), (0, 0, 1));
        assert!(tally.pending(&id("imc-3")).is_none() && tally.pending(&id("imc-4")).is_none());
    }

    #[test]
    fn counts_add_to_what_was_written_and_what_comes_meanwhile_stays() {
        let caches = || [cache("imc-1", &["nginx"], true)];
        let mut tally = Tally::default();
        tally.count(&start("a", 1, hit("imc-1"), &["nginx"]), caches());
        let first = tally.pending(&id("imc-1")).unwrap().clone();
        let written = add(None, &first, at(10)).unwrap();
        tally.count(&start("b", 2, hit("imc-1"), &["nginx"]), caches());
        tally.written(&id("imc-1"), &first);
        assert_eq!(due_in(Some(&written), at(11)), Duration::from_secs(599));
        let second = tally.pending(&id("imc-1")).unwrap().clone();
        let both = add(Some(&written), &second, at(700)).unwrap();
        assert_eq!((counts(&both), both.last_hit_time), ((2, 0, 0), Some(Time(at(2)))));
        tally.written(&id("imc-1"), &second);
        assert!(tally.pending(&id("imc-1")).is_none());
    }

    #[test]
    fn a_new_process_counts_no_pod_again_that_was_written() {
        let caches = || [cache("imc-1", &["nginx"], true)];
        let events = [("a", 1), ("b", 5), ("c", 9)];
        let mut first = Tally::default();
        for (pod, second) in &events[..2] {
            first.count(&start(pod, *second, hit("imc-1"), &["nginx"]), caches());
        }
        let written = add(None, first.pending(&id("imc-1")).unwrap(), at(6)).unwrap();
        let mut next = Tally::default();
        for (pod, second) in events {
            next.count(&Start { listed: true, ..start(pod, second, hit("imc-1"), &["nginx"]) }, caches());
        }
        let after = add(Some(&written), next.pending(&id("imc-1")).unwrap(), at(700)).unwrap();
        assert_eq!(after.hits, 3);
        // Nothing that is new: nothing to write.
        let mut again = Tally::default();
        again.count(&Start { listed: true, ..start("c", 9, hit("imc-1"), &["nginx"]) }, caches());
        assert_eq!(add(Some(&after), again.pending(&id("imc-1")).unwrap(), at(1_400)), None);
    }

    #[test]
    fn counts_have_a_meaning() {
        let judged = |hits, partial_hits, misses| {
            let matches = Matches { hits, partial_hits, misses, ..Matches::default() };
            judge(&matches).map(|(matched, reason, _)| (matched, reason))
        };
        assert_eq!(judged(0, 0, 0), None);
        assert_eq!(judged(5, 4, 9), Some((true, Reason::Matched)));
        assert_eq!(judged(4, 4, 0), Some((false, Reason::PartialOnly)));
        assert_eq!(judged(0, 0, 1), Some((false, Reason::NeverMatched)));
    }

    proptest! {
        /// Whatever comes in whatever order: no pod counts twice, and nothing is lost between two writes.
        #[test]
        fn each_pod_counts_once(
            events in prop::collection::vec((0_u8..20, any::<bool>(), any::<bool>()), 0..60)
        ) {
            let mut tally = Tally::default();
            let mut matches: Option<Matches> = None;
            let mut pods = BTreeSet::new();
            for (second, (pod, is_hit, write)) in (0_i64..).zip(&events) {
                pods.insert(*pod);
                let sign = if *is_hit { hit("imc-1") } else { Sign::Missed };
                tally.count(&start(&pod.to_string(), second, sign, &["nginx"]), [cache("imc-1", &["nginx"], true)]);
                if *write && let Some(pending) = tally.pending(&id("imc-1")).cloned() {
                    matches = add(matches.as_ref(), &pending, at(second)).or(matches);
                    tally.written(&id("imc-1"), &pending);
                }
            }
            if let Some(pending) = tally.pending(&id("imc-1")) {
                matches = add(matches.as_ref(), pending, at(1_000)).or(matches);
            }
            let matches = matches.unwrap_or_default();
            prop_assert_eq!(matches.hits + matches.misses, i64::try_from(pods.len()).unwrap());
        }
    }
}
