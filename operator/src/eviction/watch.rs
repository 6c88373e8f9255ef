//! The watches: what changes in the cluster, as one stream of small values.
//!
//! The stream is polled by the task that decides, and never ahead of it: a list is asked for only after the engine was
//! told that it begins, which its reckoning of budgets needs.

use std::fmt::Debug;
use std::time::Duration;

use backon::ExponentialBuilder;
use eci_api::eci_profile::EciProfile;
use eci_core::eviction::notice::{About, DEGRADED_EVENT, EVENT};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event as KubeEvent, Namespace, Node};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, Config, Event, ExponentialBackoff};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::lean::LeanPod;
use crate::kubernetes::{PAGE, with_causes};

/// How soon a watch that was lost is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// How long a watch that is lost again and again waits at most. kube's default is 30 s, a sixth of what a notice gives:
/// an API server that is back for so long would not be asked.
const RETRY_LAST: Duration = Duration::from_secs(3);

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Watched {
    /// Pods.
    Pods,
    /// PodDisruptionBudgets.
    Budgets,
    /// Events of notices.
    Notices,
    /// Events of regular instances instead of spot instances.
    Fallbacks,
    /// Nodes.
    Nodes,
    /// Namespaces.
    Namespaces,
    /// EciProfiles.
    Profiles,
}

impl Watched {
    /// Every one.
    pub(super) const ALL: &'static [Self] = &[
        Self::Pods,
        Self::Budgets,
        Self::Notices,
        Self::Fallbacks,
        Self::Nodes,
        Self::Namespaces,
        Self::Profiles,
    ];

    /// The watch of events about this, and their reason.
    pub(super) const fn of(about: About) -> (Self, &'static str) {
        match about {
            About::ToBeReleased => (Self::Notices, EVENT),
            About::Degraded => (Self::Fallbacks, DEGRADED_EVENT),
        }
    }

    /// The word in metrics and log lines: the plural of the resource.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Budgets => "poddisruptionbudgets",
            Self::Notices | Self::Fallbacks => "events",
            Self::Nodes => "nodes",
            Self::Namespaces => "namespaces",
            Self::Profiles => "eciprofiles",
        }
    }
}

/// A change of what is watched.
#[derive(Debug)]
pub(super) enum Change<T> {
    /// A list begins: at the start, and after the watch was lost.
    Listing,
    /// An object is there, or changed.
    Seen(Box<T>),
    /// An object is gone.
    Gone(Box<T>),
    /// The list ends: what was not seen since it began is gone.
    Listed,
}

/// What a watch says. The number tells the watches of several namespaces apart.
#[derive(Debug)]
pub(super) enum Sight {
    /// A pod.
    Pod(usize, Change<LeanPod>),
    /// A budget.
    Budget(usize, Change<PodDisruptionBudget>),
    /// An event of the vendor.
    Spot(usize, About, Change<KubeEvent>),
    /// A node.
    Node(Change<PartialObjectMeta<Node>>),
    /// A namespace.
    Namespace(Change<PartialObjectMeta<Namespace>>),
    /// A profile.
    Profile(Change<DeserializeGuard<EciProfile>>),
    /// A watch fails. It is tried again.
    Failed(Watched, String),
}

fn change<T>(event: Event<T>) -> Change<T> {
    match event {
        Event::Init => Change::Listing,
        Event::InitApply(object) | Event::Apply(object) => Change::Seen(Box::new(object)),
        Event::Delete(object) => Change::Gone(Box::new(object)),
        Event::InitDone => Change::Listed,
    }
}

fn stream_of<K>(
    api: Api<K>,
    config: Config,
    watched: Watched,
    sight: impl Fn(Change<K>) -> Sight + Send + 'static,
) -> BoxStream<'static, Sight>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch_objects(api, config.page_size(PAGE))
        .backoff(ExponentialBackoff::from(retries()))
        .map(move |event| match event {
            Ok(event) => sight(change(event)),
            Err(error) => Sight::Failed(watched, failure(&error)),
        })
        .boxed()
}

/// When a watch is tried again: soon, and no more often than every few seconds in a long outage.
fn retries() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(RETRY_FIRST)
        .with_max_delay(RETRY_LAST)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}

fn failure(error: &watcher::Error) -> String {
    with_causes(error).chars().take(512).collect()
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

impl Sight {
    /// Whether a list begins, so that nothing more may be asked of its watch before the engine knows.
    pub(super) const fn begins_list(&self) -> bool {
        matches!(
            self,
            Self::Pod(_, Change::Listing)
                | Self::Budget(_, Change::Listing)
                | Self::Spot(_, _, Change::Listing)
        )
    }
}

/// All watches, in these namespaces or (`None`) in all. It never ends.
pub(super) fn all(
    client: &Client,
    namespaces: &[Option<String>],
) -> impl Stream<Item = Sight> + Send + use<> {
    let mut streams = vec![
        stream_of(Api::all(client.clone()), Config::default(), Watched::Nodes, Sight::Node),
        stream_of(Api::all(client.clone()), Config::default(), Watched::Namespaces, Sight::Namespace),
        stream_of(Api::all(client.clone()), Config::default(), Watched::Profiles, Sight::Profile),
    ];
    for (number, namespace) in namespaces.iter().enumerate() {
        let namespace = namespace.as_ref();
        let pods = move |change| Sight::Pod(number, change);
        streams.push(stream_of(api(client, namespace), Config::default(), Watched::Pods, pods));
        let budgets = move |change| Sight::Budget(number, change);
        streams.push(stream_of(api(client, namespace), Config::default(), Watched::Budgets, budgets));
        for about in [About::ToBeReleased, About::Degraded] {
            let (watched, reason) = Watched::of(about);
            let config = Config::default().fields(&format!("reason={reason}"));
            let events = move |change| Sight::Spot(number, about, change);
            streams.push(stream_of(api(client, namespace), config, watched, events));
        }
    }
    stream::select_all(streams)
}
