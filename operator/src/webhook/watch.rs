//! The watches that keep [`Known`] fresh, in every process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use eci_api::data_cache::DataCache;
use eci_api::eci_profile::{EciProfile, ImageCacheReference};
use eci_api::image_cache::ImageCache;
use eci_core::profile::caches::Caches;
use eci_core::profile::data_caches::DataCaches;
use eci_core::profile::decide::World;
use eci_core::profile::networking::PodNetworking;
use eci_core::profile::{Profile, Profiles};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::known::Known;
use crate::facts::{data_facts, facts};
use crate::kubernetes::{PAGE, with_causes};
use crate::networkings::Networkings;

/// Most changes that are taken in before they are made known.
const BATCH: usize = 1_000;

/// What a watch says.
enum Sight {
    Profile(Box<Event<DeserializeGuard<EciProfile>>>),
    Namespace(Box<Event<PartialObjectMeta<Namespace>>>),
    Cache(usize, Box<Event<DeserializeGuard<ImageCache>>>),
    Data(usize, Box<Event<DeserializeGuard<DataCache>>>),
    Failed(&'static str, String),
}

/// The keys of a list that is under way: what is not among them at its end is gone.
struct Listing<K> {
    seen: BTreeSet<K>,
    ended: bool,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { seen: BTreeSet::new(), ended: false }
    }
}

impl<K: Ord + Clone> Listing<K> {
    /// What becomes of an entry; the function is told at the end of a list which keys are still there.
    fn take<T>(&mut self, event: Event<T>, key: impl Fn(&T) -> K, mut change: impl FnMut(Change<K, T>)) {
        match event {
            Event::Init => self.seen.clear(),
            Event::InitApply(object) => {
                self.seen.insert(key(&object));
                change(Change::Set(key(&object), object));
            }
            Event::Apply(object) => change(Change::Set(key(&object), object)),
            Event::Delete(object) => change(Change::Gone(key(&object))),
            Event::InitDone => {
                self.ended = true;
                change(Change::Retain(std::mem::take(&mut self.seen)));
            }
        }
    }
}

enum Change<K, T> {
    Set(K, T),
    Gone(K),
    /// Only these are left.
    Retain(BTreeSet<K>),
}

/// Keeps `known` fresh. It never ends.
pub(super) async fn run(
    client: Client,
    known: Arc<Known>,
    own_namespace: String,
    namespaces: Vec<Option<String>>,
    networkings: &Networkings,
) {
    let (mut found, mut networkings_read) = (networkings.follow(), networkings.complete());
    let mut sights = all(&client, &namespaces);
    let mut mirror = Mirror {
        caches_listed: namespaces.iter().map(|_| Listing::default()).collect(),
        data_listed: namespaces.iter().map(|_| Listing::default()).collect(),
        own_namespace,
        namespaces,
        ..Mirror::default()
    };
    loop {
        tokio::select! {
            first = sights.next() => match first {
                Some(first) => mirror.take(first, &known),
                None => return,
            },
            Ok(()) = found.changed() => {}
            Ok(()) = networkings_read.changed() => {}
        }
        for _ in 0..BATCH {
            let Some(Some(more)) = sights.next().now_or_never() else { break };
            mirror.take(more, &known);
        }
        mirror.networkings = Arc::clone(&found.borrow_and_update());
        mirror.networkings_read = *networkings_read.borrow_and_update();
        mirror.publish(&known);
    }
}

fn all(client: &Client, namespaces: &[Option<String>]) -> impl futures::Stream<Item = Sight> + Unpin + use<> {
    let mut streams = vec![
        stream_of(Api::all(client.clone()), "eciprofiles", |event| Sight::Profile(Box::new(event))),
        stream_of(Api::all(client.clone()), "namespaces", |event| Sight::Namespace(Box::new(event))),
    ];
    for (number, namespace) in namespaces.iter().enumerate() {
        let namespace = namespace.as_ref();
        let sight = move |event| Sight::Cache(number, Box::new(event));
        streams.push(stream_of(place(client, namespace), "imagecaches", sight));
        let sight = move |event| Sight::Data(number, Box::new(event));
        streams.push(stream_of(place(client, namespace), "datacaches", sight));
    }
    stream::select_all(streams)
}

fn place<K>(client: &Client, namespace: Option<&String>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn stream_of<K>(
    api: Api<K>,
    what: &'static str,
    sight: impl Fn(Event<K>) -> Sight + Send + 'static,
) -> BoxStream<'static, Sight>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_objects(api, Config::default().page_size(PAGE))
        .default_backoff()
        .map(move |event| match event {
            Ok(event) => sight(event),
            Err(error) => Sight::Failed(what, failure(&error)),
        })
        .boxed()
}

fn failure(error: &watcher::Error) -> String {
    with_causes(error).chars().take(512).collect()
}

#[derive(Default)]
struct Mirror {
    own_namespace: String,
    /// Where image caches are looked for, by the number of the watch.
    namespaces: Vec<Option<String>>,
    profiles: BTreeMap<String, Profile>,
    profiles_listed: Listing<String>,
    profiles_changed: bool,
    namespaces_listed: Listing<String>,
    caches: Caches,
    caches_listed: Vec<Listing<ImageCacheReference>>,
    data: DataCaches,
    data_listed: Vec<Listing<(String, String)>>,
    caches_changed: bool,
    networkings: Arc<Vec<PodNetworking>>,
    networkings_read: bool,
    failing: BTreeSet<&'static str>,
}

impl Mirror {
    fn take(&mut self, sight: Sight, known: &Known) {
        match sight {
            Sight::Profile(event) => {
                self.recovered("eciprofiles");
                let (profiles, changed) = (&mut self.profiles, &mut self.profiles_changed);
                self.profiles_listed.take(*event, kube::ResourceExt::name_any, |change| match change {
                    Change::Set(name, guard) => match guard.0.map(|object| Profile::of(&object)) {
                        Ok(Some(profile)) => {
                            let before = profiles.insert(name, profile.clone());
                            // A status that is written makes no difference.
                            *changed |= before.is_none_or(|before| {
                                before.spec != profile.spec || before.generation != profile.generation
                            });
                        }
                        Ok(None) => {}
                        Err(error) => {
                            let error: String = error.error.chars().take(512).collect();
                            tracing::warn!(profile = name, error, "a profile cannot be read");
                            *changed |= profiles.remove(&name).is_some();
                        }
                    },
                    Change::Gone(name) => *changed |= profiles.remove(&name).is_some(),
                    Change::Retain(left) => {
                        profiles.retain(|name, _| left.contains(name));
                        *changed = true;
                    }
                });
            }
            Sight::Namespace(event) => {
                self.recovered("namespaces");
                self.namespaces_listed.take(*event, kube::ResourceExt::name_any, |change| match change {
                    Change::Set(name, object) => {
                        known.set_namespace(name, object.metadata.labels.unwrap_or_default());
                    }
                    Change::Gone(name) => known.forget_namespace(&name),
                    Change::Retain(left) => known.retain_namespaces(|name| left.contains(name)),
                });
            }
            Sight::Cache(number, event) => {
                self.recovered("imagecaches");
                let caches = &mut self.caches;
                let Some(listing) = self.caches_listed.get_mut(number) else { return };
                let mut gone_with_list = None;
                listing.take(*event, reference, |change| match change {
                    Change::Set(reference, guard) => match guard.0 {
                        Ok(object) => drop(caches.insert(reference, facts(&object))),
                        Err(_) => drop(caches.remove(&reference)),
                    },
                    Change::Gone(reference) => drop(caches.remove(&reference)),
                    Change::Retain(left) => gone_with_list = Some(left),
                });
                if let Some(left) = gone_with_list {
                    // The list of one namespace says nothing of the others.
                    let place = self.namespaces.get(number).cloned().flatten();
                    let elsewhere =
                        |namespace: &String| place.as_ref().is_some_and(|place| place != namespace);
                    caches.retain(|reference, _| left.contains(reference) || elsewhere(&reference.namespace));
                }
                self.caches_changed = true;
            }
            Sight::Data(number, event) => {
                self.recovered("datacaches");
                let data = &mut self.data;
                let Some(listing) = self.data_listed.get_mut(number) else { return };
                let place = self.namespaces.get(number).cloned().flatten();
                let key = |cache: &DeserializeGuard<DataCache>| {
                    (cache.namespace().unwrap_or_default(), cache.name_any())
                };
                listing.take(*event, key, |change| match change {
                    Change::Set(key, guard) => match guard.0 {
                        Ok(object) => drop(data.insert(key, data_facts(&object))),
                        Err(_) => drop(data.remove(&key)),
                    },
                    Change::Gone(key) => drop(data.remove(&key)),
                    Change::Retain(left) => data.retain(|key, _| {
                        left.contains(key) || place.as_ref().is_some_and(|place| *place != key.0)
                    }),
                });
                self.caches_changed = true;
            }
            Sight::Failed(what, error) => {
                if self.failing.insert(what) {
                    tracing::warn!(what, error, "the webhook cannot watch; it answers by what it has seen");
                }
            }
        }
    }

    fn recovered(&mut self, what: &'static str) {
        if self.failing.remove(what) {
            tracing::info!(what, "the webhook can watch again");
        }
    }

    fn publish(&mut self, known: &Known) {
        // In the middle of a first list, what is known is not worth telling.
        if self.profiles_listed.ended && std::mem::take(&mut self.profiles_changed) {
            known.set_profiles(Profiles::new(self.profiles.values().cloned(), &self.own_namespace));
        }
        let caches_listed = self.caches_listed.iter().all(|listing| listing.ended)
            && self.data_listed.iter().all(|listing| listing.ended);
        if caches_listed && std::mem::take(&mut self.caches_changed) {
            let world = known.world();
            if world.caches != self.caches || world.data_caches != self.data {
                let (caches, data_caches) = (self.caches.clone(), self.data.clone());
                known.set_world(World { caches, data_caches, ..World::clone(&world) });
            }
        }
        if known.world().networkings != *self.networkings {
            let networkings = self.networkings.to_vec();
            known.set_world(World { networkings, ..World::clone(&known.world()) });
        }
        if self.profiles_listed.ended
            && self.namespaces_listed.ended
            && caches_listed
            && self.networkings_read
        {
            known.set_complete();
        }
    }
}

fn reference(cache: &DeserializeGuard<ImageCache>) -> ImageCacheReference {
    ImageCacheReference { namespace: cache.namespace().unwrap_or_default(), name: cache.name_any() }
}
