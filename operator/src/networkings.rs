//! PodNetworkings of the vendor's network plugin, if the cluster has their kind: it may come and go while the operator
//! runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eci_core::profile::networking::{GROUP, KIND, PLURAL, PodNetworking, VERSION};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::discovery::ApiResource;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;

use crate::kubernetes::{PAGE, with_causes};

/// Most of them that are kept, the first by name: a cluster has one for each team or zone.
const MOST: usize = 1_000;

/// What is known of them, and whether that is all there is to know.
#[derive(Clone, Debug)]
pub(crate) struct Networkings {
    known: watch::Sender<Arc<Vec<PodNetworking>>>,
    complete: watch::Sender<bool>,
}

impl Default for Networkings {
    fn default() -> Self {
        Self { known: watch::channel(Arc::default()).0, complete: watch::channel(false).0 }
    }
}

impl Networkings {
    /// Those that there are, by name, and their changes.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Vec<PodNetworking>>> {
        self.known.subscribe()
    }

    /// Turns true when it was seen that there are none, or all were read once, or that they cannot be read.
    pub(crate) fn complete(&self) -> watch::Receiver<bool> {
        self.complete.subscribe()
    }

    fn set(&self, all: &BTreeMap<String, PodNetworking>) {
        let all: Vec<_> = all.values().take(MOST).cloned().collect();
        self.known.send_if_modified(|known| {
            let differs = **known != all;
            if differs {
                *known = Arc::new(all);
            }
            differs
        });
    }

    fn set_complete(&self) {
        self.complete.send_if_modified(|complete| !std::mem::replace(complete, true));
    }

    /// Watches the kind, and while there is one its objects. It never ends.
    pub(crate) async fn run(self, client: Client) {
        let mut kinds = kinds(&client);
        let mut objects: Option<Objects> = None;
        let mut mirror = Mirror::default();
        let mut kind_listed = false;
        loop {
            tokio::select! {
                seen = kinds.next() => match seen {
                    Some(Ok(event)) => {
                        mirror.recovered("customresourcedefinitions");
                        match event {
                            Event::Init => kind_listed = false,
                            Event::InitApply(_) | Event::Apply(_) => {
                                kind_listed = true;
                                if objects.is_none() {
                                    tracing::info!("the cluster has PodNetworkings: their vSwitches come before those of profiles");
                                    objects = Some(all(&client));
                                }
                            }
                            Event::Delete(_) => objects = self.gone(&mut mirror),
                            Event::InitDone => if !kind_listed {
                                objects = self.gone(&mut mirror);
                            },
                        }
                    }
                    Some(Err(error)) => {
                        mirror.failed("customresourcedefinitions", &error);
                        self.set_complete();
                    }
                    None => return,
                },
                seen = next(objects.as_mut()) => match seen {
                    Some(Ok(event)) => {
                        mirror.recovered(PLURAL);
                        if mirror.take(event) {
                            self.set(&mirror.known);
                            self.set_complete();
                        }
                    }
                    Some(Err(error)) => {
                        mirror.failed(PLURAL, &error);
                        self.set_complete();
                    }
                    None => objects = None,
                },
            }
        }
    }

    fn gone(&self, mirror: &mut Mirror) -> Option<Objects> {
        mirror.known.clear();
        self.set(&mirror.known);
        self.set_complete();
        None
    }
}

type Objects = BoxStream<'static, watcher::Result<Event<DynamicObject>>>;

/// The definition of their kind, and nothing but that it is there.
fn kinds(
    client: &Client,
) -> BoxStream<'static, watcher::Result<Event<PartialObjectMeta<CustomResourceDefinition>>>> {
    let api = Api::all(client.clone());
    let only = Config::default().fields(&format!("metadata.name={PLURAL}.{GROUP}"));
    watch_objects(api, only).default_backoff().boxed()
}

fn all(client: &Client) -> Objects {
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    watch_objects(api, Config::default().page_size(PAGE)).default_backoff().boxed()
}

async fn next(objects: Option<&mut Objects>) -> Option<watcher::Result<Event<DynamicObject>>> {
    match objects {
        Some(objects) => objects.next().await,
        None => std::future::pending().await,
    }
}

#[derive(Debug, Default)]
struct Mirror {
    known: BTreeMap<String, PodNetworking>,
    /// The names of a list that is under way.
    listing: Option<BTreeSet<String>>,
    failing: BTreeSet<&'static str>,
}

impl Mirror {
    /// Whether what is known is worth telling: not in the middle of a list.
    fn take(&mut self, event: Event<DynamicObject>) -> bool {
        match event {
            Event::Init => self.listing = Some(BTreeSet::new()),
            Event::InitApply(object) | Event::Apply(object) => {
                let name = object.name_any();
                if let Some(seen) = &mut self.listing {
                    seen.insert(name.clone());
                }
                match PodNetworking::read(&name, &object.data) {
                    Some(networking) => drop(self.known.insert(name, networking)),
                    None => drop(self.known.remove(&name)),
                }
            }
            Event::Delete(object) => drop(self.known.remove(&object.name_any())),
            Event::InitDone => {
                let seen = self.listing.take().unwrap_or_default();
                self.known.retain(|name, _| seen.contains(name));
            }
        }
        self.listing.is_none()
    }

    fn failed(&mut self, what: &'static str, error: &watcher::Error) {
        if self.failing.insert(what) {
            let error: String = with_causes(error).chars().take(512).collect();
            tracing::warn!(
                what,
                error,
                "PodNetworkings cannot be watched; trying again, and going by what was seen"
            );
        }
    }

    fn recovered(&mut self, what: &'static str) {
        if self.failing.remove(what) {
            tracing::info!(what, "PodNetworkings can be watched again");
        }
    }
}
