//! What becomes of pods that were given a notice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod as PodObject;
use kube::runtime::watcher::{self, Event, watcher};

use super::cluster::Cluster;
use crate::error::Error;

/// How a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Told to end before its deadline.
    Saved,
    /// Told to end after it.
    Late,
    /// Nobody told it.
    Left,
}

/// The fates, by UID, of pods that all have the same deadline.
#[derive(Debug)]
pub(super) struct Fates {
    deadline: Timestamp,
    waiting: BTreeSet<String>,
    ended: BTreeMap<String, Fate>,
    listed: BTreeSet<String>,
}

impl Fates {
    pub(super) fn new(uids: impl IntoIterator<Item = String>, deadline: Timestamp) -> Self {
        let waiting = uids.into_iter().collect();
        Self { deadline, waiting, ended: BTreeMap::new(), listed: BTreeSet::new() }
    }

    /// How a pod ended; one that has not is left.
    pub(super) fn of(&self, uid: &str) -> Fate {
        self.ended.get(uid).copied().unwrap_or(Fate::Left)
    }

    fn end(&mut self, uid: &str, at: Timestamp) {
        if self.waiting.remove(uid) {
            let fate = if at <= self.deadline { Fate::Saved } else { Fate::Late };
            self.ended.insert(uid.to_owned(), fate);
        }
    }

    /// Takes note of what the watch says; true when nothing more is waited for.
    fn see(&mut self, event: Event<PodObject>, now: Timestamp) -> bool {
        match event {
            Event::Init => self.listed.clear(),
            Event::Apply(pod) => self.look(&pod, now),
            Event::InitApply(pod) => {
                self.look(&pod, now);
                self.listed.extend(pod.metadata.uid);
            }
            Event::Delete(pod) => self.end(pod.metadata.uid.as_deref().unwrap_or_default(), now),
            Event::InitDone => {
                let gone: Vec<String> = self.waiting.difference(&self.listed).cloned().collect();
                for uid in gone {
                    self.end(&uid, now);
                }
            }
        }
        self.waiting.is_empty()
    }

    fn look(&mut self, pod: &PodObject, now: Timestamp) {
        let Some(uid) = pod.metadata.uid.as_deref() else { return };
        if let Some(at) = &pod.metadata.deletion_timestamp {
            // The time of deletion is the end of the grace period.
            let grace = jiff::SignedDuration::from_secs(
                pod.metadata.deletion_grace_period_seconds.unwrap_or_default(),
            );
            self.end(uid, at.0.checked_sub(grace).unwrap_or(now).min(now));
        }
    }
}

/// Watches until all have ended, `limit` is over, or somebody presses Ctrl-C.
pub(super) async fn follow(
    cluster: &Cluster,
    mut fates: Fates,
    limit: Duration,
    now: impl Fn() -> Timestamp,
) -> Result<Fates, Error> {
    let (api, config) = cluster.watched();
    let mut events = std::pin::pin!(watcher(api, config));
    let mut failures = 0;
    let seen = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    failures = 0;
                    if fates.see(event, now()) {
                        return Ok(());
                    }
                }
                // The watcher begins anew by itself; what fails again and again does not heal.
                Err(error) if failures >= MOST_FAILURES => return Err(Error::from(error)),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    };
    tokio::select! {
        seen = seen => seen?,
        () = tokio::time::sleep(limit) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(fates)
}

/// Failures of the watch in a row that are lived with.
const MOST_FAILURES: usize = 10;
/// Pause after one.
const PAUSE: Duration = Duration::from_secs(1);

impl From<watcher::Error> for Error {
    fn from(error: watcher::Error) -> Self {
        Self::Watch(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::api::ObjectMeta;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    fn pod(uid: &str, deletion: Option<(i64, i64)>) -> PodObject {
        PodObject {
            metadata: ObjectMeta {
                uid: Some(uid.to_owned()),
                deletion_timestamp: deletion.map(|(seconds, _)| Time(at(seconds))),
                deletion_grace_period_seconds: deletion.map(|(_, grace)| grace),
                ..ObjectMeta::default()
            },
            ..PodObject::default()
        }
    }

    #[test]
    fn a_pod_is_saved_when_it_was_told_before_the_deadline_however_long_it_takes_to_end() {
        let mut fates = Fates::new(["a", "b", "c", "d"].map(str::to_owned), at(180));
        assert!(!fates.see(Event::Init, at(0)));
        for uid in ["a", "b", "c"] {
            assert!(!fates.see(Event::InitApply(pod(uid, None)), at(0)));
        }
        assert!(!fates.see(Event::InitDone, at(1)), "d was gone already");
        assert!(!fates.see(Event::Apply(pod("a", Some((200, 30)))), at(171)));
        assert!(!fates.see(Event::Apply(pod("b", Some((211, 30)))), at(181)));
        assert!(!fates.see(Event::Apply(pod("x", Some((1, 0)))), at(181)), "somebody else");
        assert_eq!(
            ["a", "b", "c", "d"].map(|uid| fates.of(uid)),
            [Fate::Saved, Fate::Late, Fate::Left, Fate::Saved]
        );
        assert!(fates.see(Event::Delete(pod("c", None)), at(179)));
        assert_eq!(fates.of("c"), Fate::Saved);
        fates.see(Event::Delete(pod("a", None)), at(300));
        assert_eq!(fates.of("a"), Fate::Saved, "the first word counts");
    }

    #[test]
    fn what_ends_while_the_watch_is_lost_is_found_by_the_next_list() {
        let mut fates = Fates::new(["a".to_owned(), "b".to_owned()], at(180));
        fates.see(Event::Init, at(0));
        fates.see(Event::InitApply(pod("a", None)), at(0));
        fates.see(Event::InitApply(pod("b", None)), at(0));
        fates.see(Event::InitDone, at(0));
        fates.see(Event::Init, at(100));
        fates.see(Event::InitApply(pod("b", None)), at(100));
        assert!(!fates.see(Event::InitDone, at(100)));
        assert_eq!([fates.of("a"), fates.of("b")], [Fate::Saved, Fate::Left]);
    }
}
