//! What those who evict report of profiles.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eci_core::profile::status::OfEviction;
use tokio::sync::Notify;

/// What is reported and not read yet.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    profiles: Mutex<BTreeMap<Arc<str>, OfEviction>>,
    news: Notify,
}

impl Reported {
    /// Says how it is with these profiles, and that there are no others. The numbers of pods that were lost and degraded
    /// are not taken from it.
    pub(crate) fn says(&self, mut all: BTreeMap<Arc<str>, OfEviction>) {
        let mut profiles = self.profiles();
        for (name, new) in &mut all {
            let old = profiles.get(name);
            (new.lost, new.degraded) = old.map_or((0, 0), |old| (old.lost, old.degraded));
        }
        // A pod may have been lost before its profile was looked at for the first time.
        for (name, old) in profiles.iter().filter(|(_, old)| (old.lost, old.degraded) != (0, 0)) {
            let unseen = OfEviction { lost: old.lost, degraded: old.degraded, ..OfEviction::default() };
            all.entry(Arc::clone(name)).or_insert(unseen);
        }
        let differs = *profiles != all;
        *profiles = all;
        drop(profiles);
        if differs {
            self.news.notify_one();
        }
    }

    /// A pod of that profile was lost with its instance.
    pub(crate) fn lost(&self, profile: &Arc<str>) {
        self.profiles().entry(Arc::clone(profile)).or_default().lost += 1;
        self.news.notify_one();
    }

    /// A pod of that profile got a regular instance.
    pub(crate) fn degraded(&self, profile: &Arc<str>) {
        self.profiles().entry(Arc::clone(profile)).or_default().degraded += 1;
        self.news.notify_one();
    }

    /// What is reported of a profile.
    pub(super) fn of(&self, profile: &str) -> OfEviction {
        self.profiles().get(profile).cloned().unwrap_or_default()
    }

    /// These pods are in a status now.
    pub(super) fn written(&self, profile: &str, lost: i64, degraded: i64) {
        if let Some(known) = self.profiles().get_mut(profile) {
            known.lost -= lost;
            known.degraded -= degraded;
        }
    }

    /// Forgets the profiles that are no more.
    pub(super) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.profiles().retain(|name, _| exists(name));
    }

    /// Resolves when there is something new to be read.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    fn profiles(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, OfEviction>> {
        self.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_there_until_it_is_written_whatever_else_is_said() {
        let reported = Reported::default();
        let web: Arc<str> = "web".into();
        reported.lost(&web);
        reported.lost(&web);
        reported.degraded(&web);
        reported.says(BTreeMap::from([(Arc::clone(&web), OfEviction::default())]));
        reported.says(BTreeMap::new());
        assert_eq!((reported.of("web").lost, reported.of("web").degraded), (2, 1));
        reported.written("web", 1, 1);
        assert_eq!((reported.of("web").lost, reported.of("web").degraded), (1, 0));
        reported.retain(|name| name != "web");
        assert_eq!(reported.of("web"), OfEviction::default());
    }
}
