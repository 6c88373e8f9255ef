//! The other objects of a kind, for those that want to take over a resource: as the watches have them, and as this
//! process has written them since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use eci_core::cloud_resource::{Claim, Peer, Peers};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::Store;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::controllers::Guarded;
use crate::kind::{Key, Managed, uid_of};

/// The objects of a watch, and whether they were all read.
type Watched<K> = (Store<Guarded<K>>, watch::Receiver<bool>);

/// What all reconciles of a kind share.
pub(crate) struct Registry<K: Managed> {
    /// The namespaces that are watched, each by a watch of its own; `None` is all of them, by one.
    namespaces: Option<BTreeSet<String>>,
    watches: Mutex<Vec<Watched<K>>>,
    /// What this process wrote of objects that take something over or claim a place: a watch may not have it yet.
    written: Mutex<BTreeMap<Key, Peer>>,
    /// One adoption at a time: what is read of the others holds until the reconcile is over.
    turn: Semaphore,
}

impl<K: Managed> Registry<K> {
    pub(crate) fn new(namespaces: Option<BTreeSet<String>>) -> Self {
        Self { namespaces, watches: Mutex::default(), written: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// Adds a watch; the receiver turns true when it has all objects.
    pub(crate) fn watch(&self, store: Store<Guarded<K>>, filled: watch::Receiver<bool>) {
        lock(&self.watches).push((store, filled));
    }

    /// Takes in what this process wrote.
    pub(crate) fn wrote(&self, key: &Key, object: &K::Object) {
        let peer = K::peer(object);
        if peer.adopts.is_some() || peer.adopting.is_some() || peer.claim.is_some() {
            lock(&self.written).insert(key.clone(), peer);
        }
    }

    pub(crate) fn forget(&self, key: &Key) {
        lock(&self.written).remove(key);
    }

    pub(crate) fn retain(&self, exists: impl Fn(&Key) -> bool) {
        lock(&self.written).retain(|key, _| exists(key));
    }

    /// The right to adopt something, if nobody has it.
    pub(crate) fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turn.try_acquire().ok()
    }

    /// Every object; `None` before all were read.
    pub(crate) fn all(&self) -> Option<Peers> {
        let watches = lock(&self.watches);
        let expected = self.namespaces.as_ref().map_or(1, BTreeSet::len);
        if watches.len() < expected || !watches.iter().all(|(_, filled)| *filled.borrow()) {
            return None;
        }
        let objects = watches.iter().flat_map(|(store, _)| store.state());
        let written = lock(&self.written);
        let mut all: Vec<_> =
            objects.map(|object| merged(peer::<K>(&object), written.get(&Key::of(&*object)))).collect();
        let seen: BTreeSet<_> = all.iter().map(|peer| peer.uid.clone()).collect();
        all.extend(written.values().filter(|peer| !seen.contains(&peer.uid)).cloned());
        Some(Peers { all, namespaces: self.namespaces.clone() })
    }
}

/// An object that cannot be read lives all the same.
fn peer<K: Managed>(object: &Guarded<K>) -> Peer {
    match &object.0 {
        Ok(object) => K::peer(object),
        Err(_) => Peer {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: uid_of(object),
            created: object.creation_timestamp().map_or(Timestamp::MIN, |t| t.0),
            deleting: false,
            adopts: None,
            adopting: None,
            owns: BTreeSet::new(),
            claim: None,
        },
    }
}

/// What either of the two says that it holds.
fn merged(seen: Peer, written: Option<&Peer>) -> Peer {
    let Some(written) = written.filter(|written| written.uid == seen.uid) else { return seen };
    let holds = written.claim.as_ref().is_some_and(|claim| claim.holds);
    let claim = seen.claim.map(|claim| Claim { holds: claim.holds || holds, ..claim });
    Peer {
        adopting: written.adopting.clone().or(seen.adopting),
        owns: seen.owns.into_iter().chain(written.owns.iter().cloned()).collect(),
        claim,
        ..seen
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
