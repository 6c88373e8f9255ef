//! Tells of cloud resources that belong to no object: a metric, an event, and log lines with what to do. Deletes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use eci_core::cloud::CloudId;
use eci_core::sweeper::{Living, Look, Orphan, Sweeper};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::Store;
use tokio::sync::watch;

use crate::controllers::Guarded;
use crate::kind::{Key, Managed, uid_of};
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::observe::Observer;
use crate::report::Reporter;
use crate::snapshot::Snapshot;

/// Most orphans of one list that are told of each on a line of its own.
const LINES: usize = 50;
/// Most that an event names.
const NAMED: usize = 10;

/// What is to be done with a resource that belongs to no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// A command that deletes it.
    pub delete: String,
    /// A manifest of an object that takes it over, as JSON; `None` when its tags name no object.
    pub take_over: Option<String>,
}

/// What a sweep needs.
pub struct Sweep<K: Managed> {
    /// The lists of the cloud.
    pub observer: Arc<Observer<K>>,
    /// The objects, by the watches.
    pub stores: Vec<Store<Guarded<K>>>,
    /// Whether all of them were read once.
    pub objects_read: watch::Receiver<bool>,
    /// Namespaces that the operator works in; all when empty.
    pub namespaces: Vec<String>,
    /// Region.
    pub region: String,
    /// Only a leader tells.
    pub leadership: Leadership,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Publishes the event.
    pub reporter: Reporter,
    /// The ConfigMap that remembers the cluster's ID, which the event is about; `None` writes no event.
    pub cluster: Option<ObjectReference>,
}

impl<K: Managed> Sweep<K> {
    /// Judges every list as it comes, until the observer ends.
    pub async fn run(self) {
        let mut sighting = self.observer.subscribe();
        let (mut sweeper, mut told) = (Sweeper::default(), BTreeSet::new());
        while sighting.changed().await.is_ok() {
            let (snapshot, suspect) = {
                let sighting = sighting.borrow_and_update();
                (sighting.snapshot.clone(), sighting.is_suspect())
            };
            if let Some(snapshot) = snapshot.filter(|_| self.leadership.holds()) {
                self.judge(&mut sweeper, &mut told, &snapshot, suspect).await;
            }
        }
    }

    async fn judge(
        &self,
        sweeper: &mut Sweeper,
        told: &mut BTreeSet<CloudId>,
        snapshot: &Snapshot<K>,
        suspect: bool,
    ) {
        let living = self.objects_read.borrow().then(|| self.living());
        let resources: Vec<_> = snapshot.all().map(|view| (K::id(view), K::tags(view))).collect();
        let look = Look {
            begun: snapshot.begun,
            suspect,
            resources: &resources,
            living: living.as_ref(),
            namespaces: &self.namespaces,
        };
        let Some(orphans) = sweeper.sweep(look) else { return };
        self.metrics.orphans(K::NOUN, orphans.len());
        told.retain(|id| orphans.iter().any(|orphan| orphan.id == *id));
        let new: Vec<&Orphan> = orphans.iter().filter(|orphan| !told.contains(&orphan.id)).collect();
        if new.is_empty() {
            return;
        }
        for orphan in new.iter().take(LINES) {
            if let Some(view) = snapshot.get(&orphan.id) {
                line::<K>(orphan, &K::way_out(view, orphan, &self.region));
            }
        }
        if new.len() > LINES {
            tracing::warn!(
                kind = K::NOUN,
                more = new.len() - LINES,
                "further cloud resources belong to no object"
            );
        }
        if let Some(cluster) = &self.cluster {
            self.reporter.orphans(cluster, &note::<K>(&new)).await;
        }
        told.extend(new.into_iter().map(|orphan| orphan.id.clone()));
    }

    /// The objects that the watches show, malformed ones included.
    fn living(&self) -> Living {
        let mut living = Living::default();
        for object in self.stores.iter().flat_map(Store::state) {
            let Key { namespace, name } = Key::of(&*object);
            living.uids.insert(uid_of(&*object));
            living.names.insert((namespace, name));
        }
        living
    }
}

fn line<K: Managed>(orphan: &Orphan, way_out: &WayOut) {
    let WayOut { delete, take_over } = way_out;
    let made_for = orphan.made_for.as_ref().map(|(namespace, name)| format!("{namespace}/{name}"));
    if let Some(manifest) = take_over {
        tracing::warn!(
            kind = K::NOUN,
            id = %orphan.id,
            made_for,
            "this cloud resource carries the tag of this cluster, belongs to no object, and is billed. To delete it: {delete} -- To take it over: kubectl apply -f - <<<'{manifest}'"
        );
    } else {
        tracing::warn!(
            kind = K::NOUN,
            id = %orphan.id,
            "this cloud resource carries the tag of this cluster, belongs to no object, and is billed. To delete it: {delete}"
        );
    }
}

fn note<K: Managed>(orphans: &[&Orphan]) -> String {
    let named: Vec<&str> = orphans.iter().take(NAMED).map(|orphan| orphan.id.as_str()).collect();
    let more = orphans.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(
        "Without an object, and billed: {} {}{more} in the cloud. Nothing deletes them; the operator's log says for each how to delete it or take it over.",
        K::NOUN,
        named.join(", ")
    )
}
