//! The cluster as the watches show it to the process that leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eci_api::data_cache::DataCache;
use eci_api::eci_profile::{EciProfile, ImageCacheReference};
use eci_api::image_cache::ImageCache;
use eci_core::placement::Rule;
use eci_core::placement::judge;
use eci_core::placement::mark::changed;
use eci_core::placement::spill::{Candidate, Stand};
use eci_core::profile::decide::{Namespace, World, applied};
use eci_core::profile::networking::PodNetworking;
use eci_core::profile::nodes::VirtualNodes;
use eci_core::profile::{Profile, Profiles, Subject};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::core::DeserializeGuard;

use super::pod::{Known, Labels};
use crate::facts::{data_facts, facts};
use crate::sight::{Change, Sight, Watched};

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// What applies to the pods of a namespace with the same labels, by name: what is put into them, and whose placement
/// counts.
#[derive(Debug, Default)]
struct Applied {
    enforced: Vec<Arc<str>>,
    placing: Option<Arc<str>>,
}

/// How far a watch is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    listing: bool,
    listed: bool,
    failing: bool,
    list: u64,
}

/// The cluster, as far as it is watched.
#[derive(Debug)]
pub(super) struct View {
    world: World,
    own_namespace: String,
    pods: BTreeMap<Key, Known>,
    labels: BTreeSet<Labels>,
    virtual_nodes: BTreeMap<Arc<str>, u64>,
    namespaces: BTreeMap<Arc<str>, (Labels, u64)>,
    profiles: BTreeMap<Arc<str>, (Profile, Timestamp, u64)>,
    ordered: Profiles,
    rules: BTreeMap<Arc<str>, Rule>,
    caches: BTreeMap<ImageCacheReference, (usize, u64)>,
    data: BTreeMap<(String, String), (usize, u64)>,
    memo: BTreeMap<(Arc<str>, Labels), Arc<Applied>>,
    progress: BTreeMap<(Watched, usize), Progress>,
    sources: usize,
    /// Profiles, namespaces or nodes changed: all pods are to be judged anew.
    stale: bool,
}

impl View {
    /// Of nothing yet; `sources` is the number of watches for each kind that lives in namespaces.
    pub(super) fn new(nodes: VirtualNodes, own_namespace: &str, sources: usize) -> Self {
        Self {
            world: World { nodes, ..World::default() },
            own_namespace: own_namespace.to_owned(),
            pods: BTreeMap::new(),
            labels: BTreeSet::new(),
            virtual_nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            profiles: BTreeMap::new(),
            ordered: Profiles::default(),
            rules: BTreeMap::new(),
            caches: BTreeMap::new(),
            data: BTreeMap::new(),
            memo: BTreeMap::new(),
            progress: BTreeMap::new(),
            sources,
            stale: false,
        }
    }

    /// Takes in what a watch says. Call [`settle`](Self::settle) before anything is decided.
    pub(super) fn see(&mut self, sight: Sight, now: Timestamp) {
        match sight {
            Sight::Failed(watched, error) => self.failed(watched, &error),
            Sight::Pod(source, change) => self.see_pod(source, change, now),
            Sight::Node(change) => {
                let list = self.advance(Watched::Nodes, 0, &change);
                match change {
                    Change::Listing => {}
                    Change::Seen(node) => {
                        let is_virtual = self.world.nodes.has_labels(node.labels());
                        let name: Arc<str> = node.name_any().into();
                        self.stale |= if is_virtual {
                            self.virtual_nodes.insert(name, list).is_none()
                        } else {
                            self.virtual_nodes.remove(&name).is_some()
                        };
                    }
                    // Its pods are where they were until they are gone, too.
                    Change::Gone(node) => self.forget_node(&node.name_any()),
                    Change::Listed => {
                        let unseen = self.virtual_nodes.iter().filter(|(_, seen)| **seen < list);
                        let unseen: Vec<Arc<str>> = unseen.map(|(name, _)| Arc::clone(name)).collect();
                        for name in unseen {
                            self.forget_node(&name);
                        }
                    }
                }
            }
            Sight::Namespace(change) => {
                let list = self.advance(Watched::Namespaces, 0, &change);
                match change {
                    Change::Listing => {}
                    Change::Seen(namespace) => {
                        let labels = Arc::new(namespace.labels().clone());
                        let before =
                            self.namespaces.insert(namespace.name_any().into(), (Arc::clone(&labels), list));
                        self.stale |= before.is_none_or(|(before, _)| before != labels);
                    }
                    Change::Gone(namespace) => drop(self.namespaces.remove(namespace.name_any().as_str())),
                    Change::Listed => self.namespaces.retain(|_, (_, seen)| *seen >= list),
                }
            }
            Sight::Profile(change) => self.see_profile(change),
            Sight::ImageCache(source, change) => self.see_cache(source, change),
            Sight::DataCache(source, change) => self.see_data(source, change),
        }
    }

    fn failed(&mut self, watched: Watched, error: &str) {
        let mut known = false;
        for source in 0..if watched.is_namespaced() { self.sources } else { 1 } {
            let progress = self.progress.entry((watched, source)).or_default();
            known |= progress.failing;
            progress.failing = true;
        }
        if !known {
            tracing::warn!(watched = watched.as_str(), error, "the watch fails; trying again");
        }
    }

    /// The number of the newest list.
    fn advance<T>(&mut self, watched: Watched, source: usize, change: &Change<T>) -> u64 {
        let progress = self.progress.entry((watched, source)).or_default();
        match change {
            Change::Listing => (progress.listing, progress.list) = (true, progress.list + 1),
            Change::Seen(_) | Change::Gone(_) => progress.failing = false,
            Change::Listed => (progress.listing, progress.listed, progress.failing) = (false, true, false),
        }
        progress.list
    }

    fn see_pod(&mut self, source: usize, change: Change<Pod>, now: Timestamp) {
        let list = self.advance(Watched::Pods, source, &change);
        match change {
            Change::Listing => {}
            Change::Seen(pod) => self.put_pod(*pod, (source, list), now),
            Change::Gone(pod) => {
                let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
                let key: Key = (namespace.into(), name.into());
                if self.pods.get(&key).is_some_and(|known| Some(&*known.id.uid) == pod.uid().as_deref()) {
                    self.pods.remove(&key);
                }
            }
            Change::Listed => self.pods.retain(|_, known| known.seen.0 != source || known.seen.1 >= list),
        }
    }

    fn put_pod(&mut self, pod: Pod, seen: (usize, u64), now: Timestamp) {
        let key: Key = (pod.namespace().unwrap_or_default().into(), pod.name_any().into());
        let Some(mut known) = Known::of(pod, seen) else {
            // It has ended.
            self.pods.remove(&key);
            return;
        };
        if let Some(before) = self.pods.get_mut(&key).filter(|before| before.id.uid == known.id.uid) {
            if before.is_newer_than(&known.version) {
                // A write of ours is ahead of the watch.
                before.seen = seen;
                return;
            }
            known.free_since =
                if before.has_gates() && !known.has_gates() { Some(now) } else { before.free_since };
        }
        known.labels = self.shared(known.labels);
        self.judge(&mut known);
        self.pods.insert(key, known);
    }

    fn shared(&mut self, labels: Labels) -> Labels {
        if let Some(known) = self.labels.get(&labels) {
            return Arc::clone(known);
        }
        if self.labels.len() > 2 * self.pods.len() + 64 {
            self.labels.retain(|labels| Arc::strong_count(labels) > 1);
        }
        self.labels.insert(Arc::clone(&labels));
        labels
    }

    fn forget_node(&mut self, name: &str) {
        if !self.pods.values().any(|known| known.node.as_deref() == Some(name)) {
            self.virtual_nodes.remove(name);
        }
    }

    fn see_profile(&mut self, change: Change<DeserializeGuard<EciProfile>>) {
        let list = self.advance(Watched::Profiles, 0, &change);
        match change {
            Change::Listing => {}
            Change::Seen(guarded) => {
                let name: Arc<str> = guarded.name_any().into();
                // One that cannot be read counts for nothing; the eviction's watch says so.
                let profile = guarded
                    .0
                    .ok()
                    .and_then(|object| Some((Profile::of(&object)?, changed(&object.metadata))));
                match profile {
                    Some((profile, changed)) => {
                        let before = self.profiles.insert(name, (profile.clone(), changed, list));
                        self.stale |= before.is_none_or(|(before, at, _)| {
                            before.spec != profile.spec
                                || before.generation != profile.generation
                                || at != changed
                        });
                    }
                    None => self.stale |= self.profiles.remove(&name).is_some(),
                }
            }
            Change::Gone(guarded) => {
                self.stale |= self.profiles.remove(guarded.name_any().as_str()).is_some();
            }
            Change::Listed => {
                let before = self.profiles.len();
                self.profiles.retain(|_, (_, _, seen)| *seen >= list);
                self.stale |= self.profiles.len() < before;
            }
        }
    }

    fn see_cache(&mut self, source: usize, change: Change<DeserializeGuard<ImageCache>>) {
        let list = self.advance(Watched::ImageCaches, source, &change);
        let reference = |guarded: &DeserializeGuard<ImageCache>| ImageCacheReference {
            namespace: guarded.namespace().unwrap_or_default(),
            name: guarded.name_any(),
        };
        match change {
            Change::Listing => {}
            Change::Seen(guarded) => {
                let key = reference(&guarded);
                self.caches.insert(key.clone(), (source, list));
                self.world.caches.insert(key, guarded.0.map(|cache| facts(&cache)).unwrap_or_default());
            }
            Change::Gone(guarded) => {
                let key = reference(&guarded);
                self.caches.remove(&key);
                self.world.caches.remove(&key);
            }
            Change::Listed => {
                self.caches.retain(|_, seen| seen.0 != source || seen.1 >= list);
                let caches = &self.caches;
                self.world.caches.retain(|key, _| caches.contains_key(key));
            }
        }
    }

    fn see_data(&mut self, source: usize, change: Change<DeserializeGuard<DataCache>>) {
        let list = self.advance(Watched::DataCaches, source, &change);
        let key = |guarded: &DeserializeGuard<DataCache>| {
            (guarded.namespace().unwrap_or_default(), guarded.name_any())
        };
        match change {
            Change::Listing => {}
            Change::Seen(guarded) => {
                let key = key(&guarded);
                self.data.insert(key.clone(), (source, list));
                match guarded.0 {
                    Ok(cache) => drop(self.world.data_caches.insert(key, data_facts(&cache))),
                    Err(_) => drop(self.world.data_caches.remove(&key)),
                }
            }
            Change::Gone(guarded) => {
                let key = key(&guarded);
                self.data.remove(&key);
                self.world.data_caches.remove(&key);
            }
            Change::Listed => {
                self.data.retain(|_, seen| seen.0 != source || seen.1 >= list);
                let data = &self.data;
                self.world.data_caches.retain(|key, _| data.contains_key(key));
            }
        }
    }

    /// Takes in what the vendor's network plugin says of pods.
    pub(super) fn networkings(&mut self, all: &[PodNetworking]) {
        if self.world.networkings != all {
            self.world.networkings = all.to_vec();
            self.stale = true;
        }
    }

    /// Judges all pods anew if that is due.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        self.ordered =
            Profiles::new(self.profiles.values().map(|(profile, ..)| profile.clone()), &self.own_namespace);
        let placing = |(name, (profile, ..)): (&Arc<str>, &(Profile, Timestamp, u64))| {
            Some((Arc::clone(name), Rule::of(profile.spec.placement.as_ref()?)))
        };
        self.rules = self.profiles.iter().filter_map(placing).collect();
        self.memo.clear();
        let mut pods = std::mem::take(&mut self.pods);
        for known in pods.values_mut() {
            self.judge(known);
        }
        self.pods = pods;
    }

    /// Fills in what the pod itself does not say.
    fn judge(&mut self, known: &mut Known) {
        let of = self.applied(known);
        known.missed.clear();
        for name in &of.enforced {
            let changed = self.profiles.get(name).map(|(_, changed, _)| *changed);
            if changed.is_some_and(|changed| known.misses(name, changed)) {
                known.missed.push(Arc::clone(name));
            }
        }
        known.placing.clone_from(&of.placing);
        known.stand = match (&known.node, &known.unbound) {
            (Some(node), _) if self.virtual_nodes.contains_key(node) => Stand::Virtual,
            (None, Some(pod)) if known.placing.is_some() && !known.exempt => {
                let namespace = self.namespace(&known.id.namespace);
                judge::unbound(&self.ordered, &self.world, namespace, pod, known.free_since)
            }
            _ => Stand::Settled,
        };
    }

    fn namespace<'a>(&'a self, name: &'a str) -> Namespace<'a> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        Namespace { name, labels: self.namespaces.get(name).map_or(&NONE, |(labels, _)| labels) }
    }

    fn applied(&mut self, known: &Known) -> Arc<Applied> {
        let of = (Arc::clone(&known.id.namespace), Arc::clone(&known.labels));
        if let Some(found) = self.memo.get(&of) {
            return Arc::clone(found);
        }
        let Namespace { name: namespace, labels: namespace_labels } = self.namespace(&known.id.namespace);
        let subject = Subject { namespace, namespace_labels, labels: &known.labels };
        let profiles = applied(&self.ordered, subject);
        let name = |profile: &Profile| Arc::from(profile.name.as_str());
        let found = Arc::new(Applied {
            enforced: profiles.iter().map(|profile| name(profile)).collect(),
            placing: judge::placing(profiles.iter().copied()).map(name),
        });
        // As many as there are workloads; but labels may be different for each pod.
        if self.memo.len() > 2 * self.pods.len() + 64 {
            self.memo.clear();
        }
        self.memo.insert(of, Arc::clone(&found));
        found
    }

    /// Whether the watches have shown enough to decide: all of it once, and no list is half read.
    pub(super) fn is_complete(&self) -> bool {
        Watched::ALL.iter().all(|watched| {
            let sources = if watched.is_namespaced() { self.sources } else { 1 };
            (0..sources).all(|source| {
                self.progress
                    .get(&(*watched, source))
                    .is_some_and(|progress| progress.listed && !progress.listing)
            })
        })
    }

    /// Whether a watch fails now.
    pub(super) fn fails(&self, watched: Watched) -> bool {
        self.progress.iter().any(|((which, _), progress)| *which == watched && progress.failing)
    }

    /// All pods that have not ended.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Known> {
        self.pods.values()
    }

    /// A pod, if it is still the one.
    pub(super) fn pod(&self, id: &eci_core::eviction::PodRef) -> Option<&Known> {
        let key = (Arc::clone(&id.namespace), Arc::clone(&id.name));
        self.pods.get(&key).filter(|known| known.id.uid == id.uid)
    }

    /// The pods whose placement is a profile's.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.pods.values().filter_map(|known| {
            let profile = known.placing.as_ref()?;
            Some(Candidate { pod: &known.id, profile, amount: known.amount, stand: known.stand })
        })
    }

    /// What the profiles say of placement, by name.
    pub(super) fn rules(&self) -> &BTreeMap<Arc<str>, Rule> {
        &self.rules
    }

    /// What a decision about a pod in that namespace needs.
    pub(super) fn deciding<'a>(&'a self, namespace: &'a str) -> (&'a Profiles, &'a World, Namespace<'a>) {
        (&self.ordered, &self.world, self.namespace(namespace))
    }

    /// A pod as the API server returned it from a write, which the watch has yet to show.
    pub(super) fn written(&mut self, pod: Pod, now: Timestamp) {
        let key: Key = (pod.namespace().unwrap_or_default().into(), pod.name_any().into());
        // One that the watch has shown to be gone does not come back.
        let Some(seen) = self.pods.get(&key).filter(|known| Some(&*known.id.uid) == pod.uid().as_deref())
        else {
            return;
        };
        let seen = seen.seen;
        self.put_pod(pod, seen, now);
    }
}
