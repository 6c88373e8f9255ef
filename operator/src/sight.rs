//! What the process that leads watches for profiles: what changes in the cluster, as one stream.

use std::fmt::Debug;

use eci_api::data_cache::DataCache;
use eci_api::eci_profile::EciProfile;
use eci_api::image_cache::ImageCache;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::kubernetes::{PAGE, with_causes};
use crate::slim::SlimPod;

/// Longest text of an error that is kept, in characters.
const ERROR_LIMIT: usize = 512;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Watched {
    /// Pods.
    Pods,
    /// Nodes.
    Nodes,
    /// Namespaces.
    Namespaces,
    /// EciProfiles.
    Profiles,
    /// ImageCaches.
    ImageCaches,
    /// DataCaches.
    DataCaches,
}

impl Watched {
    /// Every one.
    pub(crate) const ALL: &'static [Self] =
        &[Self::Pods, Self::Nodes, Self::Namespaces, Self::Profiles, Self::ImageCaches, Self::DataCaches];

    /// The word in metrics and log lines: the plural of the resource.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Namespaces => "namespaces",
            Self::Profiles => "eciprofiles",
            Self::ImageCaches => "imagecaches",
            Self::DataCaches => "datacaches",
        }
    }

    /// Whether there is one watch for each namespace that the operator works in.
    pub(crate) const fn is_namespaced(self) -> bool {
        matches!(self, Self::Pods | Self::ImageCaches | Self::DataCaches)
    }
}

/// A change of what is watched.
#[derive(Debug)]
pub(crate) enum Change<T> {
    /// A list begins: at the start, and after the watch was lost.
    Listing,
    /// An object is there, or changed.
    Seen(Box<T>),
    /// An object is gone.
    Gone(Box<T>),
    /// The list ends: what was not seen since it began is gone.
    Listed,
}

impl<T> From<Event<T>> for Change<T> {
    fn from(event: Event<T>) -> Self {
        match event {
            Event::Init => Self::Listing,
            Event::InitApply(object) | Event::Apply(object) => Self::Seen(Box::new(object)),
            Event::Delete(object) => Self::Gone(Box::new(object)),
            Event::InitDone => Self::Listed,
        }
    }
}

impl<T> Change<T> {
    fn map<U>(self, turn: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Listing => Change::Listing,
            Self::Seen(object) => Change::Seen(Box::new(turn(*object))),
            Self::Gone(object) => Change::Gone(Box::new(turn(*object))),
            Self::Listed => Change::Listed,
        }
    }
}

/// What a watch says. The number tells the watches of several namespaces apart.
#[derive(Debug)]
pub(crate) enum Sight {
    /// A pod.
    Pod(usize, Change<Pod>),
    /// A node.
    Node(Change<PartialObjectMeta<Node>>),
    /// A namespace.
    Namespace(Change<PartialObjectMeta<Namespace>>),
    /// A profile.
    Profile(Change<DeserializeGuard<EciProfile>>),
    /// An image cache.
    ImageCache(usize, Change<DeserializeGuard<ImageCache>>),
    /// A data cache.
    DataCache(usize, Change<DeserializeGuard<DataCache>>),
    /// A watch fails. It is tried again.
    Failed(Watched, String),
}

fn stream_of<K>(
    api: Api<K>,
    watched: Watched,
    sight: impl Fn(Change<K>) -> Sight + Send + 'static,
) -> BoxStream<'static, Sight>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_objects(api, Config::default().page_size(PAGE))
        .default_backoff()
        .map(move |event| match event {
            Ok(event) => sight(event.into()),
            Err(error) => Sight::Failed(watched, with_causes(&error).chars().take(ERROR_LIMIT).collect()),
        })
        .boxed()
}

fn api<K>(client: &Client, namespace: Option<&String>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// All watches, in these namespaces or (`None`) in all. It never ends.
pub(crate) fn all(
    client: &Client,
    namespaces: &[Option<String>],
) -> impl Stream<Item = Sight> + Send + use<> {
    let mut streams = vec![
        stream_of(Api::all(client.clone()), Watched::Nodes, Sight::Node),
        stream_of(Api::all(client.clone()), Watched::Namespaces, Sight::Namespace),
        stream_of(Api::all(client.clone()), Watched::Profiles, Sight::Profile),
    ];
    for (number, namespace) in namespaces.iter().enumerate() {
        let namespace = namespace.as_ref();
        streams.push(stream_of(api(client, namespace), Watched::Pods, move |change: Change<SlimPod>| {
            Sight::Pod(number, change.map(Pod::from))
        }));
        let caches = move |change| Sight::ImageCache(number, change);
        streams.push(stream_of(api(client, namespace), Watched::ImageCaches, caches));
        let data = move |change| Sight::DataCache(number, change);
        streams.push(stream_of(api(client, namespace), Watched::DataCaches, data));
    }
    stream::select_all(streams)
}
