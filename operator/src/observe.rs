//! One look at the cloud for all objects of a kind: the poller pages through a list and tells those whom it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eci_core::cloud::{Cloud, CloudError, CloudId, Meaning};
use eci_core::cloud_resource::identity::TAG_CLUSTER;
use eci_core::cloud_resource::{List, Owner};
use eci_core::pace;
use eci_core::time::Mono;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::kind::{Key, Managed};
use crate::metrics::ListFacts;
use crate::nudge::Nudges;
use crate::snapshot::{Changes, Snapshot, is_suspect};

/// Most pages of one list: 10,000 resources.
pub const MAX_PAGES: usize = 500;
/// Least time between two lists, so that many objects that ask at once share one.
pub const LEAST_GAP: Duration = Duration::from_millis(200);
/// Longest that the cloud can make the poller wait.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How often to list.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// While something is under way in the cloud.
    pub busy: Duration,
    /// While nothing is.
    pub slow: Duration,
    /// Limit on one page.
    pub page: Duration,
}

/// What the poller knows.
#[derive(Debug)]
pub struct Sighting<K: Managed> {
    /// The newest complete list.
    pub snapshot: Option<Arc<Snapshot<K>>>,
    /// Why the newest try failed, when it did.
    pub error: Option<Arc<CloudError>>,
    /// When the newest try was over.
    ended: Option<Mono>,
    /// Tries in a row that failed.
    failures: u32,
    /// Pages of the newest complete list.
    pages: usize,
    /// So many of the resources that objects call usable are not in the list that it is not believed.
    suspect: bool,
}

impl<K: Managed> Clone for Sighting<K> {
    fn clone(&self) -> Self {
        let Self { snapshot, error, ended, failures, pages, suspect } = self;
        Self {
            snapshot: snapshot.clone(),
            error: error.clone(),
            ended: *ended,
            failures: *failures,
            pages: *pages,
            suspect: *suspect,
        }
    }
}

impl<K: Managed> Sighting<K> {
    /// Whether a try was made, with whatever result.
    pub fn is_settled(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether so much is missing in the newest complete list that it is not believed.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// How long after `now` the next list is due.
    fn due(&self, asked: bool, busy: bool, intervals: &Intervals, now: Mono) -> Duration {
        let Some(ended) = self.ended else { return Duration::ZERO };
        let wait = match &self.error {
            Some(error) => {
                let asked_for = error.retry_after.unwrap_or_default().min(LONGEST_PAUSE);
                pace::back_off(error.meaning, self.failures).min(intervals.slow).max(asked_for)
            }
            None if asked => LEAST_GAP,
            None if busy => intervals.busy,
            // Operators of many clusters in one account shall not list in step.
            None => pace::spread(intervals.slow, &format!("{ended:?}")),
        };
        ended.plus(wait.max(LEAST_GAP)).since(now)
    }
}

/// What an object told the poller.
#[derive(Debug)]
struct Tracked {
    uid: String,
    busy: bool,
    /// A resource that was usable when last seen, and so should be in every list.
    expects: Option<CloudId>,
    /// Waits for a list begun then or later.
    awaits: Option<Mono>,
}

/// The shared view of the cloud for one kind and region.
#[derive(Debug)]
pub struct Observer<K: Managed> {
    cluster: String,
    clock: Clock,
    sighting: watch::Sender<Sighting<K>>,
    tracked: Mutex<BTreeMap<Key, Tracked>>,
    asked: Notify,
    /// Whom to tell, by namespace; `None` takes all.
    readers: Vec<(Option<String>, Arc<Nudges>)>,
}

impl<K: Managed> Observer<K> {
    /// Knows nothing yet. `readers` are told which of their objects to reconcile.
    pub fn new(cluster: String, clock: Clock, readers: Vec<(Option<String>, Arc<Nudges>)>) -> Self {
        let nothing =
            Sighting { snapshot: None, error: None, ended: None, failures: 0, pages: 0, suspect: false };
        Self {
            cluster,
            clock,
            sighting: watch::Sender::new(nothing),
            tracked: Mutex::default(),
            asked: Notify::new(),
            readers,
        }
    }

    /// Follows what the poller knows.
    pub fn subscribe(&self) -> watch::Receiver<Sighting<K>> {
        self.sighting.subscribe()
    }

    /// What the metrics say of the newest complete list.
    pub fn facts(&self) -> Option<ListFacts> {
        let sighting = self.sighting.borrow();
        let snapshot = sighting.snapshot.as_ref()?;
        Some(ListFacts {
            age: self.clock.now().mono.since(snapshot.begun),
            pages: sighting.pages,
            resources: snapshot.len(),
            suspect: sighting.suspect,
        })
    }

    /// How many resources of the newest complete list are so.
    pub(crate) fn count(&self, is_so: impl Fn(&K::View) -> bool) -> usize {
        self.sighting.borrow().snapshot.as_ref().map_or(0, |snapshot| snapshot.count(is_so))
    }

    /// What the newest complete list shows, as far as it is of use.
    pub(crate) fn views<T>(&self, of: impl Fn(&K::View) -> T) -> Vec<T> {
        self.sighting.borrow().snapshot.as_ref().map_or_else(Vec::new, |snapshot| snapshot.map(of))
    }

    /// Has the object reconciled that a resource of the newest complete list belongs to.
    pub(crate) fn nudge_owner(&self, id: &CloudId) {
        let owner = self.sighting.borrow().snapshot.as_ref().and_then(|snapshot| snapshot.owner_of(id));
        if let Some(key) = owner {
            self.nudge(key);
        }
    }

    /// The newest complete list, reduced to what concerns `owner`, and the error of the newest try.
    pub fn look(&self, owner: &Owner) -> (Option<List<K>>, Option<Arc<CloudError>>) {
        let Sighting { snapshot, error, suspect, .. } = self.sighting.borrow().clone();
        let list = snapshot.map(|s| List { begun: s.begun, items: s.of(owner), suspect });
        (list, error)
    }

    /// Wakes the poller for a list begun at `since` or later; the object is nudged when it is there or when a try
    /// fails. `false` when there is one already.
    pub fn await_list(&self, key: &Key, uid: &str, since: Mono) -> bool {
        {
            // Under the lock that the poller takes to find whom to tell: a list is either seen here or tells us.
            let mut tracked = self.tracked();
            if self.sighting.borrow().snapshot.as_ref().is_some_and(|s| s.begun >= since) {
                return false;
            }
            track(&mut tracked, key, uid).awaits = Some(since);
        }
        self.asked.notify_one();
        true
    }

    /// Takes in where an object came to rest: whether something is under way for it, and which resource every list
    /// should show.
    pub fn report(&self, key: &Key, uid: &str, busy: bool, expects: Option<CloudId>) {
        let was_busy = {
            let mut tracked = self.tracked();
            let entry = track(&mut tracked, key, uid);
            entry.expects = expects;
            std::mem::replace(&mut entry.busy, busy)
        };
        if busy && !was_busy {
            self.asked.notify_one();
        }
    }

    /// The object is gone.
    pub fn forget(&self, key: &Key) {
        self.tracked().remove(key);
    }

    /// Forgets the objects for which `exists` is false.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.tracked().retain(|key, _| exists(key));
    }

    /// Lists until `stop` says so. Never fails: what fails is told to the objects.
    pub async fn poll<C: Cloud>(&self, cloud: &C, intervals: Intervals, mut stop: watch::Receiver<bool>) {
        loop {
            let (asked, busy) = {
                let tracked = self.tracked();
                (tracked.values().any(|t| t.awaits.is_some()), tracked.values().any(|t| t.busy))
            };
            let now = self.clock.now().mono;
            let due = self.sighting.borrow().due(asked, busy, &intervals, now);
            if due.is_zero() {
                tokio::select! {
                    () = self.list_once(cloud, &intervals) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            } else {
                tokio::select! {
                    () = tokio::time::sleep(due) => {}
                    () = self.asked.notified() => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }

    /// Makes one list, publishes what became of it, and nudges those whom it concerns.
    pub async fn list_once<C: Cloud>(&self, cloud: &C, intervals: &Intervals) {
        let begun = self.clock.now().mono;
        let result = list_all::<K, C>(cloud, &self.cluster, intervals.page).await;
        let ended = Some(self.clock.now().mono);
        let old = self.sighting.borrow().clone();
        let (new, changes) = match result {
            Ok((views, pages)) => {
                let snapshot = Snapshot::new(begun, &self.cluster, views);
                let changes = snapshot.changes(old.snapshot.as_deref());
                tracing::debug!(
                    resources = snapshot.len(),
                    changed = changes.names.len(),
                    "listed the cloud's resources"
                );
                if let Some(error) = &old.error {
                    tracing::info!(after_failures = old.failures, last = %error, "the cloud can be listed again");
                }
                let suspect = self.suspects(&snapshot);
                let snapshot = Some(Arc::new(snapshot));
                (Sighting { snapshot, error: None, ended, failures: 0, pages, suspect }, changes)
            }
            Err(error) => {
                if old.error.as_ref().is_none_or(|e| e.meaning != error.meaning) {
                    tracing::warn!(%error, "cannot list the cloud's resources; trying again");
                }
                let failures = old.failures.saturating_add(1);
                let error = Some(Arc::new(error));
                (Sighting { error, ended, failures, ..old.clone() }, Changes::default())
            }
        };
        // Who waits for a list learns why there is none, once for each reason, and not at each try.
        let meaning = |s: &Sighting<K>| s.error.as_ref().map(|e| e.meaning);
        let told = match &new.error {
            None => Told::List(begun),
            Some(_) if meaning(&new) != meaning(&old) => Told::Reason,
            Some(_) => Told::Nothing,
        };
        let concerned = {
            let mut tracked = self.tracked();
            self.sighting.send_replace(new);
            concerned(&mut tracked, &changes, told)
        };
        for key in concerned {
            self.nudge(key);
        }
    }

    fn nudge(&self, key: Key) {
        let reader = self.readers.iter().find(|(ns, _)| ns.as_ref().is_none_or(|ns| *ns == key.namespace));
        if let Some((_, nudges)) = reader {
            nudges.push(key);
        }
    }

    fn suspects(&self, snapshot: &Snapshot<K>) -> bool {
        let tracked = self.tracked();
        let expected: Vec<_> = tracked.values().filter_map(|t| t.expects.as_ref()).collect();
        let missing = expected.iter().filter(|id| !snapshot.shows(id)).count();
        is_suspect(expected.len(), missing)
    }

    fn tracked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Tracked>> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn track<'a>(tracked: &'a mut BTreeMap<Key, Tracked>, key: &Key, uid: &str) -> &'a mut Tracked {
    let new = || Tracked { uid: uid.to_owned(), busy: false, expects: None, awaits: None };
    let entry = tracked.entry(key.clone()).or_insert_with(new);
    if entry.uid != uid {
        *entry = new();
    }
    entry
}

/// What a try tells those who wait for a list.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// There is one, begun at this instant.
    List(Mono),
    /// Why there is none.
    Reason,
    /// Nothing that they do not know.
    Nothing,
}

/// Whom a try concerns: those whose resources changed, and those who waited for it.
fn concerned(tracked: &mut BTreeMap<Key, Tracked>, changes: &Changes, told: Told) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for (key, entry) in tracked {
        let served = entry.awaits.take_if(|since| match told {
            Told::List(begun) => *since <= begun,
            Told::Reason => true,
            Told::Nothing => false,
        });
        let served = served.is_some();
        if served || changes.names.contains(key) || changes.uids.contains(&entry.uid) {
            keys.insert(key.clone());
        }
    }
    keys
}

/// The whole list, or why there is none: a list with a hole would make resources seem gone.
async fn list_all<K: Managed, C: Cloud>(
    cloud: &C,
    cluster: &str,
    page_limit: Duration,
) -> Result<(Vec<K::View>, usize), CloudError> {
    let tags = BTreeMap::from([(TAG_CLUSTER.to_owned(), cluster.to_owned())]);
    let broken = |message: String| CloudError {
        action: "list",
        meaning: Meaning::Unknown,
        code: None,
        message,
        request_id: None,
        retry_after: None,
    };
    let mut views = Vec::new();
    let mut token = None;
    let mut seen = BTreeSet::new();
    for number in 1..=MAX_PAGES {
        let page = tokio::time::timeout(page_limit, K::list(cloud, &tags, token.as_ref()));
        let page = page.await.map_err(|_| broken(format!("no page of the list within {page_limit:?}")))??;
        views.extend(page.items);
        match page.next {
            None => return Ok((views, number)),
            Some(next) if !seen.insert(next.0.clone()) => {
                return Err(broken("the pages of the list go round in a circle".into()));
            }
            next => token = next,
        }
    }
    Err(broken(format!("the list has more than {MAX_PAGES} pages")))
}

#[cfg(test)]
mod tests;
