//! The controllers of caches: what runs for each kind.

use std::sync::Arc;
use std::time::Duration;

use eci_core::cloud_resource::Limits;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::sync::watch::{self, error::RecvError};

use crate::admin::Step;
use crate::clock::Clock;
use crate::config::Config;
use crate::controllers::{Shared, controller};
use crate::driver::{Driver, Settings};
use crate::kind::Managed;
use crate::kubernetes::Objects;
use crate::lease::Leadership;
use crate::matches::Matching;
use crate::metered::Metered;
use crate::metrics::Metrics;
use crate::nudge::Nudges;
use crate::observe::{Intervals, Observer, Sighting};
use crate::report::Reporter;
use crate::sweep::Sweep;
use crate::tasks::{Tasks, background, places};

/// What the tasks of a kind are called, and what is said until they are ready.
pub(super) struct Words {
    controller: &'static str,
    readiness: &'static str,
    sweeper: &'static str,
    poller: &'static str,
    unread: &'static str,
    unasked: &'static str,
}

pub(super) const IMAGE_CACHES: Words = Words {
    controller: "image cache controller",
    readiness: "image cache readiness",
    sweeper: "image cache sweeper",
    poller: "image cache poller",
    unread: "the ImageCaches have not been read from the API server",
    unasked: "the cloud has not been asked for image caches",
};

pub(super) const DATA_CACHES: Words = Words {
    controller: "data cache controller",
    readiness: "data cache readiness",
    sweeper: "data cache sweeper",
    poller: "data cache poller",
    unread: "the DataCaches have not been read from the API server",
    unasked: "the cloud has not been asked for data caches",
};

/// What the controllers of every kind share.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) client: Client,
    pub(super) cloud: Arc<Metered<eci_aliyun::Client>>,
    pub(super) cluster: String,
    /// The ConfigMap that remembers it, when events about it may be written.
    pub(super) remembered: Option<ObjectReference>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) page_limit: Duration,
    pub(super) leadership: Leadership,
    /// The pod's name, when it is known.
    pub(super) pod: Option<String>,
}

/// Starts everything for a kind. The steps to readiness: that their objects were read, and that the cloud was asked
/// for them, or another process leads, who asks it.
pub(super) fn start<K: Managed>(
    config: &Config,
    process: &Process,
    words: &'static Words,
    stopped: &watch::Receiver<bool>,
    tasks: &mut Tasks,
) -> [Step; 2] {
    let Process { client, cloud, cluster, remembered, clock, metrics, page_limit, leadership, pod } =
        process.clone();
    let readers: Vec<_> =
        places(&config.namespaces).into_iter().map(|ns| (ns, Arc::new(Nudges::default()))).collect();
    let observer = Arc::new(Observer::<K>::new(cluster.clone(), clock, readers.clone()));
    let listed = Arc::clone(&observer);
    metrics.follow_list(K::NOUN, move || listed.facts());
    let settings = Settings {
        cluster,
        region: config.region.clone(),
        defaults: config.defaults(),
        limits: Limits {
            resolve_window: config.resolve_window,
            request_timeout: config.request_timeout,
            ..Limits::default()
        },
        dry_run: config.dry_run,
    };
    let reporter = Reporter::new(client.clone(), pod);
    let driver = Driver::new(
        Arc::clone(&cloud),
        Objects::new(client.clone()),
        Arc::clone(&observer),
        reporter.clone(),
        Arc::clone(&metrics),
        clock,
        settings,
    )
    .with_namespaces((!config.namespaces.is_empty()).then(|| config.namespaces.iter().cloned().collect()))
    .with_leadership(leadership.clone());
    let matching = Matching {
        client: client.clone(),
        namespaces: config.namespaces.clone(),
        book: driver.matches(),
        observer: Arc::clone(&observer),
        metrics: Arc::clone(&metrics),
    };
    let shared = Arc::new(Shared::new(driver, config.workers));

    let (mut watches, mut stores) = (Vec::new(), Vec::new());
    for (namespace, nudges) in readers {
        let (shared, client, stopped) = (Arc::clone(&shared), client.clone(), stopped.clone());
        let (filled, store, task) = controller(shared, client, namespace, nudges, config.workers, stopped);
        watches.push(filled);
        stores.push(store);
        tasks.spawn(async move {
            task.await;
            words.controller
        });
    }

    let mut sighting = observer.subscribe();
    let (read, objects_read) = watch::channel(false);
    let (asked, cloud_asked) = watch::channel(false);
    let mut stopping = stopped.clone();
    let standing = leadership.clone();
    tasks.spawn(async move {
        let filled = async {
            for watch in &mut watches {
                watch.wait_for(|filled| *filled).await?;
            }
            read.send_replace(true);
            Ok::<_, RecvError>(())
        };
        let settled = async {
            tokio::select! {
                settled = sighting.wait_for(Sighting::is_settled) => drop(settled?),
                () = standing.stands_by() => {}
            }
            asked.send_replace(true);
            Ok(())
        };
        // An error says that a task ended, which ends the process.
        if tokio::try_join!(filled, settled).is_ok() {
            tracing::info!(kind = K::NOUN, "ready");
        }
        let _ = stopping.wait_for(|stop| *stop).await;
        words.readiness
    });

    if K::COUNTED {
        let leading = leadership.clone();
        let counting = async move {
            leading.acquired().await;
            matching.run().await;
        };
        background(counting, "image cache matches", stopped, tasks);
    }

    let sweep = Sweep {
        observer: Arc::clone(&observer),
        stores,
        objects_read: objects_read.clone(),
        namespaces: config.namespaces.clone(),
        region: config.region.clone(),
        leadership: leadership.clone(),
        metrics,
        reporter,
        cluster: remembered,
    };
    background(async move { sweep.run().await }, words.sweeper, stopped, tasks);

    let intervals =
        Intervals { busy: config.poll_interval_busy, slow: config.poll_interval, page: page_limit };
    let stop = stopped.clone();
    let polling = async move {
        leadership.acquired().await;
        observer.poll(&*cloud, intervals, stop).await;
    };
    background(polling, words.poller, stopped, tasks);
    [Step { done: objects_read, missing: words.unread }, Step { done: cloud_asked, missing: words.unasked }]
}
