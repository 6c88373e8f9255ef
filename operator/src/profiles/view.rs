//! The cluster as the watches show it to the process that leads, as far as the statuses of profiles go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eci_api::eci_profile::{EciProfile, ImageCacheReference};
use eci_core::placement::mark::changed;
use eci_core::profile::caches::CacheFacts;
use eci_core::profile::data_caches::DataCacheFacts;
use eci_core::profile::decide::{Namespace, World};
use eci_core::profile::networking::PodNetworking;
use eci_core::profile::survey::{Group, Survey, survey};
use eci_core::profile::{Labels, Profile, Profiles};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::lean::shape;
use crate::facts::{data_facts, facts};
use crate::sight::{Change, Sight, Watched};

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// The objects of one kind, with what is kept of each.
#[derive(Debug)]
struct Shelf<K, V> {
    /// With the watch that shows it, and the list in which it was last seen.
    kept: BTreeMap<K, (V, usize, u64)>,
    /// For each watch how many lists it has begun, and whether one has ended and none is under way.
    lists: Vec<(u64, bool)>,
}

impl<K: Ord + Clone, V: PartialEq> Shelf<K, V> {
    fn new(watches: usize) -> Self {
        Self { kept: BTreeMap::new(), lists: vec![(0, false); watches] }
    }

    /// Takes in a change; whether it makes a difference. What `value` has nothing of is not kept.
    fn take<T>(
        &mut self,
        watch: usize,
        change: Change<T>,
        key: impl Fn(&T) -> K,
        value: impl FnOnce(T) -> Option<V>,
    ) -> bool {
        let Some((list, complete)) = self.lists.get_mut(watch) else { return false };
        match change {
            Change::Listing => {
                (*list, *complete) = (*list + 1, false);
                false
            }
            Change::Seen(object) => {
                let key = key(&object);
                match value(*object) {
                    Some(value) => match self.kept.get_mut(&key) {
                        Some((known, of, seen)) if *known == value => {
                            (*of, *seen) = (watch, *list);
                            false
                        }
                        _ => {
                            self.kept.insert(key, (value, watch, *list));
                            true
                        }
                    },
                    None => self.kept.remove(&key).is_some(),
                }
            }
            Change::Gone(object) => self.kept.remove(&key(&object)).is_some(),
            Change::Listed => {
                *complete = true;
                let (before, list) = (self.kept.len(), *list);
                self.kept.retain(|_, (_, of, seen)| *of != watch || *seen >= list);
                self.kept.len() != before
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.lists.iter().all(|(_, complete)| *complete)
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.kept.get(key).map(|(value, ..)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.kept.iter().map(|(key, (value, ..))| (key, value))
    }
}

/// A profile, and when its spec was last written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) object: EciProfile,
    changed: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownPod {
    shape: Arc<[u8]>,
    node: Option<Arc<str>>,
    created: Timestamp,
}

/// The cluster, as far as it is watched.
#[derive(Debug)]
pub(super) struct View {
    own_namespace: String,
    world: World,
    pods: Shelf<Key, KnownPod>,
    /// What pods look like, each once.
    shapes: BTreeSet<Arc<[u8]>>,
    virtual_nodes: Shelf<Arc<str>, ()>,
    namespaces: Shelf<Arc<str>, Arc<Labels>>,
    profiles: Shelf<Arc<str>, Known>,
    caches: Shelf<ImageCacheReference, CacheFacts>,
    data: Shelf<(String, String), DataCacheFacts>,
    ordered: Arc<Profiles>,
    /// Specs of profiles changed since they were ordered.
    stale: bool,
    failing: BTreeSet<Watched>,
}

/// What changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Statuses may be other ones.
    pub(super) profiles: bool,
    /// A survey would see it, and there are few such changes.
    pub(super) rules: bool,
    /// A survey would see it, and there may be many.
    pub(super) pods: bool,
}

impl View {
    /// Of nothing yet; `watches` is their number for each kind that lives in namespaces.
    pub(super) fn new(world: World, own_namespace: &str, watches: usize) -> Self {
        Self {
            own_namespace: own_namespace.to_owned(),
            world,
            pods: Shelf::new(watches),
            shapes: BTreeSet::new(),
            virtual_nodes: Shelf::new(1),
            namespaces: Shelf::new(1),
            profiles: Shelf::new(1),
            caches: Shelf::new(watches),
            data: Shelf::new(watches),
            ordered: Arc::default(),
            stale: true,
            failing: BTreeSet::new(),
        }
    }

    /// Takes in what a watch says.
    pub(super) fn see(&mut self, sight: Sight, seen: &mut Changed) {
        match sight {
            Sight::Failed(watched, error) => {
                if self.failing.insert(watched) {
                    let watched = watched.as_str();
                    tracing::warn!(watched, error, "the watch for statuses of profiles fails; trying again");
                }
            }
            Sight::Pod(watch, change) => {
                self.failing.remove(&Watched::Pods);
                seen.pods |= self.see_pod(watch, change);
            }
            Sight::Node(change) => {
                self.failing.remove(&Watched::Nodes);
                let nodes = &self.world.nodes;
                let value =
                    |node: kube::core::PartialObjectMeta<_>| nodes.has_labels(node.labels()).then_some(());
                seen.rules |= self.virtual_nodes.take(0, change, |node| node.name_any().into(), value);
            }
            Sight::Namespace(change) => {
                self.failing.remove(&Watched::Namespaces);
                let value = |namespace: kube::core::PartialObjectMeta<_>| {
                    Some(Arc::new(namespace.metadata.labels.unwrap_or_default()))
                };
                seen.rules |= self.namespaces.take(0, change, |one| one.name_any().into(), value);
            }
            Sight::Profile(change) => {
                self.failing.remove(&Watched::Profiles);
                self.see_profile(change, seen);
            }
            Sight::ImageCache(watch, change) => {
                self.failing.remove(&Watched::ImageCaches);
                let key = |cache: &kube::core::DeserializeGuard<_>| ImageCacheReference {
                    namespace: cache.namespace().unwrap_or_default(),
                    name: cache.name_any(),
                };
                let value = |cache: kube::core::DeserializeGuard<_>| cache.0.ok().map(|cache| facts(&cache));
                seen.rules |= self.caches.take(watch, change, key, value);
            }
            Sight::DataCache(watch, change) => {
                self.failing.remove(&Watched::DataCaches);
                let key = |cache: &kube::core::DeserializeGuard<_>| {
                    (cache.namespace().unwrap_or_default(), cache.name_any())
                };
                let value =
                    |cache: kube::core::DeserializeGuard<_>| cache.0.ok().map(|cache| data_facts(&cache));
                seen.rules |= self.data.take(watch, change, key, value);
            }
        }
    }

    fn see_pod(&mut self, watch: usize, change: Change<Pod>) -> bool {
        if self.shapes.len() > 2 * self.pods.kept.len() + 64 {
            self.shapes.retain(|shape| Arc::strong_count(shape) > 1);
        }
        let shapes = &mut self.shapes;
        let key = |pod: &Pod| (pod.namespace().unwrap_or_default().into(), pod.name_any().into());
        let value = |pod: Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if matches!(phase, Some("Succeeded" | "Failed")) {
                return None;
            }
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).map(Arc::from);
            let created = pod.creation_timestamp().map_or(Timestamp::MIN, |time| time.0);
            let new = shape(pod)?;
            let shape = if let Some(known) = shapes.get(new.as_slice()) {
                Arc::clone(known)
            } else {
                let new: Arc<[u8]> = new.into();
                shapes.insert(Arc::clone(&new));
                new
            };
            Some(KnownPod { shape, node, created })
        };
        self.pods.take(watch, change, key, value)
    }

    fn see_profile(&mut self, change: Change<kube::core::DeserializeGuard<EciProfile>>, seen: &mut Changed) {
        let mut specs = matches!(change, Change::Gone(_) | Change::Listed);
        let profiles = &self.profiles;
        let before = |name: &str| profiles.get(&Arc::from(name)).map(|known| known.object.clone());
        let before = match &change {
            Change::Seen(guarded) => before(&guarded.name_any()),
            _ => None,
        };
        let value = |guarded: kube::core::DeserializeGuard<EciProfile>| {
            // Of one that cannot be read, the watch of the webhook or of the evictions says so.
            let Ok(mut object) = guarded.0 else {
                specs = true;
                return None;
            };
            let changed = changed(&object.metadata);
            object.metadata.managed_fields = None;
            let same = before.is_some_and(|before| {
                before.spec == object.spec
                    && before.metadata.generation == object.metadata.generation
                    && before.metadata.uid == object.metadata.uid
            });
            specs |= !same;
            Some(Known { object, changed })
        };
        let differs = self.profiles.take(0, change, |one| one.name_any().into(), value);
        seen.profiles |= differs;
        if differs && specs {
            self.stale = true;
            seen.rules = true;
        }
    }

    /// Whether the watches have shown enough to say something: all of it once, and no list is half read.
    pub(super) fn is_complete(&self) -> bool {
        self.pods.is_complete()
            && self.virtual_nodes.is_complete()
            && self.namespaces.is_complete()
            && self.profiles.is_complete()
            && self.caches.is_complete()
            && self.data.is_complete()
    }

    /// All profiles, by name.
    pub(super) fn profiles(&self) -> impl Iterator<Item = (&Arc<str>, &EciProfile)> {
        self.profiles.iter().map(|(name, known)| (name, &known.object))
    }

    /// Whether there is a profile of that name.
    pub(super) fn has_profile(&self, name: &str) -> bool {
        self.profiles.get(&Arc::from(name)).is_some()
    }

    /// The profiles, ordered and checked.
    pub(super) fn ordered(&mut self) -> Arc<Profiles> {
        if std::mem::take(&mut self.stale) {
            let profiles = self.profiles.iter().filter_map(|(_, known)| Profile::of(&known.object));
            self.ordered = Arc::new(Profiles::new(profiles, &self.own_namespace));
        }
        Arc::clone(&self.ordered)
    }

    /// A profile as a write of its status returned it, which the watch has yet to show.
    pub(super) fn written(&mut self, profile: EciProfile) {
        let version = |profile: &EciProfile| profile.resource_version().and_then(|v| v.parse::<u64>().ok());
        if let Some((known, ..)) = self.profiles.kept.get_mut(profile.name_any().as_str())
            && known.object.metadata.uid == profile.metadata.uid
            && version(&known.object) < version(&profile)
        {
            known.object.metadata.resource_version = profile.metadata.resource_version;
            known.object.status = profile.status;
        }
    }

    /// Everything that a survey needs, to be carried out elsewhere. `webhook`: whether pods can be missed.
    pub(super) fn snapshot(&mut self, webhook: bool, networkings: &[PodNetworking]) -> Snapshot {
        self.world.networkings = networkings.to_vec();
        self.world.caches = self.caches.iter().map(|(key, facts)| (key.clone(), facts.clone())).collect();
        self.world.data_caches = self.data.iter().map(|(key, facts)| (key.clone(), facts.clone())).collect();
        let mut groups: Vec<Pods> = Vec::new();
        let mut places: BTreeMap<*const u8, usize> = BTreeMap::new();
        for ((namespace, name), pod) in self.pods.iter() {
            // A shape is there once, so that its address tells it from others; the namespace is in it.
            let place = *places.entry(pod.shape.as_ptr()).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Pods {
                    namespace: Arc::clone(namespace),
                    labels: self.namespaces.get(namespace).cloned().unwrap_or_default(),
                    shape: Arc::clone(&pod.shape),
                    first: Arc::clone(name),
                    created: Vec::new(),
                    on_virtual_nodes: 0,
                });
            }
            if let Some(group) = groups.get_mut(place) {
                group.created.push(pod.created);
                let is_virtual = pod.node.as_ref().is_some_and(|node| self.virtual_nodes.get(node).is_some());
                group.on_virtual_nodes += u32::from(is_virtual);
            }
        }
        let profiles = self.ordered();
        let changed = self.profiles.iter().map(|(name, known)| (name.to_string(), known.changed));
        Snapshot {
            profiles,
            changed: if webhook { changed.collect() } else { BTreeMap::new() },
            world: self.world.clone(),
            own_namespace: self.own_namespace.clone(),
            groups,
        }
    }
}

/// Pods that look the same.
#[derive(Debug)]
struct Pods {
    namespace: Arc<str>,
    labels: Arc<Labels>,
    shape: Arc<[u8]>,
    first: Arc<str>,
    created: Vec<Timestamp>,
    on_virtual_nodes: u32,
}

/// What a survey is made of.
#[derive(Debug)]
pub(super) struct Snapshot {
    profiles: Arc<Profiles>,
    changed: BTreeMap<String, Timestamp>,
    world: World,
    own_namespace: String,
    groups: Vec<Pods>,
}

impl Snapshot {
    /// Looks at all of it. It may take a while, with many pods and many profiles in mode Audit.
    pub(super) fn survey(&self) -> Survey {
        // They were written by this process.
        let parsed = self.groups.iter().filter_map(|group| {
            let pod: Pod = serde_json::from_slice(&group.shape).ok()?;
            Some((group, pod))
        });
        let parsed: Vec<(&Pods, Pod)> = parsed.collect();
        let groups = parsed.iter().map(|(group, pod)| Group {
            namespace: Namespace { name: &group.namespace, labels: &group.labels },
            pod,
            first: &group.first,
            created: &group.created,
            on_virtual_nodes: group.on_virtual_nodes,
        });
        survey(&self.profiles, &self.changed, &self.world, &self.own_namespace, groups)
    }
}
