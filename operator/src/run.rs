//! The process: its parts, put together and watched over.

use std::sync::Arc;
use std::time::Duration;

use eci_aliyun::client::{LONGEST_WAIT, READ_RETRIES};
use eci_aliyun::pace::Rate;
use eci_aliyun::{NetworkClient, SpotClient};
use eci_core::cloud_resource::Limits;
use eci_core::data_cache::DataCacheKind;
use eci_core::image_cache::ImageCacheKind;
use eci_core::profile::decide::World;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch::{self, error::RecvError};
use tokio::task::JoinSet;

use crate::admin::{Admin, Step};
use crate::clock::Clock;
use crate::cluster::{self, ClusterError};
use crate::config::{Config, Part};
use crate::controllers::{Shared, controller};
use crate::driver::{Driver, Settings};
use crate::eviction;
use crate::kind::Managed;
use crate::kubernetes::Objects;
use crate::lease::{self, Elector, Leadership, LeaseLost};
use crate::matches::Matching;
use crate::metered::{CallLimits, Metered};
use crate::metrics::Metrics;
use crate::networkings::Networkings;
use crate::nudge::Nudges;
use crate::observe::{Intervals, Observer, Sighting};
use crate::outlook::{Asking, Outlook};
use crate::placement;
use crate::profiles::{self, Reported};
use crate::report::Reporter;
use crate::sweep::Sweep;
use crate::webhook;

/// How long running work may take to end after a signal.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);
/// Longest part of a call that goes into connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The operator cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No way to the API server.
    #[error("cannot find the API server: {0}; run in a pod with a service account, or set KUBECONFIG")]
    KubeConfig(#[from] kube::config::InferConfigError),
    /// No client for the API server.
    #[error("cannot make a client of the API server: {0}")]
    KubeClient(#[from] kube::Error),
    /// No cluster ID.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No client for the cloud.
    #[error("cannot make a client of the cloud: {0}")]
    Cloud(#[from] eci_aliyun::ConfigError),
    /// The address cannot be had.
    #[error("cannot listen on --listen-address {address}: {error}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The address of the webhook cannot be had.
    #[error("cannot listen on --webhook-address {address}: {error}")]
    ListenWebhook {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// No TLS.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No name for the lease.
    #[error("cannot make a name for the leader election, the machine gives no random numbers: {0}")]
    Identity(#[from] getrandom::Error),
    /// Another process may lead from now on.
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
    /// A part of the operator ended by itself: better start anew than limp on.
    #[error("the task {0:?} ended unexpectedly; the operator stops so that it is started anew")]
    TaskEnded(&'static str),
    /// A part of the operator panicked.
    #[error("a task of the operator failed: {0}")]
    TaskFailed(#[from] tokio::task::JoinError),
}

/// Runs the operator until `signal` resolves, then lets running work end.
pub async fn run(config: Config, signal: impl Future<Output = ()>) -> Result<(), RunError> {
    tracing::info!(?config, version = env!("CARGO_PKG_VERSION"), "starting");
    if config.dry_run {
        tracing::warn!("dry-run: plans are logged, and nothing is written or sent");
    }
    let clock = Clock::start();
    let kube = kube::Config::infer().await?;
    let client = Client::try_from(kube.clone())?;
    let namespace = cluster::own_namespace(|name| std::env::var(name).ok());
    let cluster = cluster::id(&client, &namespace, config.cluster_id.as_deref(), !config.dry_run).await?;
    let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).ok();
    let (mut elector, leadership) = if config.leader_elect && !config.dry_run {
        let me = lease::identity(pod.as_deref())?;
        let (elector, leadership) =
            Elector::new(client.clone(), &namespace, me, config.lease_duration(), clock);
        (Some(elector), leadership)
    } else {
        (None, Leadership::default())
    };
    let metrics = Arc::new(Metrics::new(leadership.clone()));
    let limits = CallLimits {
        // A read waits for its turn before every try, and may need one more to connect.
        reads: (READ_RETRIES + 2) * (LONGEST_WAIT + config.request_timeout),
        writes: config.request_timeout + Duration::from_secs(1),
    };
    let client_of_cloud = cloud(&config)?;
    let waits = client_of_cloud.waits();
    metrics.follow_waits(move || waits.each());
    metrics.workers(config.workers);
    let cloud = Metered::new(client_of_cloud, limits, clock, Arc::clone(&metrics));

    let listen = |error| RunError::Listen { address: config.listen_address, error };
    let listener = TcpListener::bind(config.listen_address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    tracing::info!(cluster = cluster.id, %address, "the operator is {namespace}'s; health and metrics are served");

    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut steps = Vec::new();
    let mut standing = None;
    let networkings = Networkings::default();
    if looks_at_profiles(&config) {
        let (mut stopping, watching) = (stopped.clone(), networkings.clone().run(client.clone()));
        tasks.spawn(async move {
            tokio::select! {
                () = watching => {}
                _ = stopping.wait_for(|stop| *stop) => {}
            }
            "watch of PodNetworkings"
        });
    }
    if config.runs(Part::Webhook) && !config.dry_run {
        let address = config.webhook.webhook_address;
        let listen = |error| RunError::ListenWebhook { address, error };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let process = webhook::Process {
            client: client.clone(),
            clock,
            leadership: leadership.clone(),
            metrics: metrics.admission(),
            own_namespace: namespace.clone(),
            namespaces: config.namespaces.clone(),
            world: world(&config),
            networkings: networkings.clone(),
            options: config.webhook.clone(),
        };
        let (webhook, more) = webhook::start(process, listener, &stopped, &mut tasks)?;
        standing = Some(webhook.standing);
        steps.extend(more);
    }
    let reported = config.runs(Part::Eviction).then(Arc::<Reported>::default);
    if let Some(reported) = &reported {
        let evictions = eviction::Process {
            client: client.clone(),
            requests: eviction::Requests::new(kube)?,
            clock,
            leadership: leadership.clone(),
            metrics: metrics.eviction(),
            pod: pod.clone(),
            own_namespace: namespace.clone(),
            namespaces: config.namespaces.clone(),
            virtual_labels: config.virtual_node_labels.clone(),
            settings: config.eviction(),
            dry_run: config.dry_run,
            reported: Arc::clone(reported),
        };
        let done = eviction::start(evictions, &stopped, &mut tasks);
        let missing = "pods, PodDisruptionBudgets and nodes have not been read from the API server";
        steps.push(Step { done, missing });
    }
    if config.runs(Part::Placement) {
        let placing = placement::Process {
            client: client.clone(),
            clock,
            leadership: leadership.clone(),
            metrics: metrics.placement(),
            pod: pod.clone(),
            own_namespace: namespace.clone(),
            namespaces: config.namespaces.clone(),
            nodes: config.virtual_nodes(),
            networkings: networkings.clone(),
            webhook: standing.is_some(),
            dry_run: config.dry_run,
        };
        placement::start(placing, &stopped, &mut tasks);
    }
    if looks_at_profiles(&config) {
        let outlook = Arc::<Outlook>::default();
        let asking = asking(&config, &outlook, &metrics, limits.reads, clock)?;
        let (mut stopping, leading) = (stopped.clone(), leadership.clone());
        tasks.spawn(async move {
            let asking = async {
                leading.acquired().await;
                asking.run().await;
            };
            tokio::select! {
                () = asking => {}
                _ = stopping.wait_for(|stop| *stop) => {}
            }
            "outlook of profiles"
        });
        // Events about objects without a namespace need the permission for all.
        let may_tell = !config.dry_run && config.namespaces.is_empty();
        let profiles = profiles::Process {
            client: client.clone(),
            clock,
            leadership: leadership.clone(),
            reporter: may_tell.then(|| Reporter::new(client.clone(), pod.clone())),
            own_namespace: namespace.clone(),
            namespaces: config.namespaces.clone(),
            world: world(&config),
            networkings,
            standing,
            reported,
            outlook,
            dry_run: config.dry_run,
        };
        profiles::start(profiles, &stopped, &mut tasks);
    }
    let process = Process {
        client,
        cloud: Arc::new(cloud),
        cluster: cluster.id,
        // Events of the operator's own namespace need the permission for all.
        remembered: cluster.remembered.filter(|_| !config.dry_run && config.namespaces.is_empty()),
        clock,
        metrics: Arc::clone(&metrics),
        page_limit: limits.reads,
        leadership,
        pod,
    };
    if config.runs(Part::ImageCache) {
        steps.extend(caches::<ImageCacheKind>(&config, &process, &IMAGE_CACHES, &stopped, &mut tasks));
    }
    if config.runs(Part::DataCache) {
        steps.extend(caches::<DataCacheKind>(&config, &process, &DATA_CACHES, &stopped, &mut tasks));
    }
    let admin = Admin { metrics, steps };
    tasks.spawn(async move {
        if let Err(error) = admin.serve(listener, stopped).await {
            tracing::error!(%error, "the server of health and metrics failed");
        }
        "admin"
    });

    tokio::select! {
        () = signal => {}
        lost = lead(&mut elector) => return Err(lost.into()),
        ended = tasks.join_next() => {
            return Err(ended.map_or(Ok("all"), |task| task).map_or_else(RunError::from, RunError::TaskEnded));
        }
    }
    tracing::info!("stopping; running work may end");
    stop.send_replace(true);
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        // Work goes on until it has ended, and needs the lease as long.
        lost = lead(&mut elector) => return Err(lost.into()),
        ended = tokio::time::timeout(SHUTDOWN_LIMIT, all_ended) => if ended.is_err() {
            tracing::warn!("some work did not end in time; it is taken up at the next start");
            return Ok(());
        }
    }
    if let Some(elector) = &mut elector {
        elector.release().await;
    }
    Ok(())
}

/// Resolves when the lease was held and is lost.
async fn lead(elector: &mut Option<Elector>) -> LeaseLost {
    match elector {
        Some(elector) => elector.lead().await,
        None => std::future::pending().await,
    }
}

/// What the tasks of a kind are called, and what is said until they are ready.
struct Words {
    controller: &'static str,
    readiness: &'static str,
    sweeper: &'static str,
    poller: &'static str,
    unread: &'static str,
    unasked: &'static str,
}

const IMAGE_CACHES: Words = Words {
    controller: "image cache controller",
    readiness: "image cache readiness",
    sweeper: "image cache sweeper",
    poller: "image cache poller",
    unread: "the ImageCaches have not been read from the API server",
    unasked: "the cloud has not been asked for image caches",
};

const DATA_CACHES: Words = Words {
    controller: "data cache controller",
    readiness: "data cache readiness",
    sweeper: "data cache sweeper",
    poller: "data cache poller",
    unread: "the DataCaches have not been read from the API server",
    unasked: "the cloud has not been asked for data caches",
};

/// What the controllers of every kind share.
#[derive(Clone)]
struct Process {
    client: Client,
    cloud: Arc<Metered<eci_aliyun::Client>>,
    cluster: String,
    /// The ConfigMap that remembers it, when events about it may be written.
    remembered: Option<ObjectReference>,
    clock: Clock,
    metrics: Arc<Metrics>,
    page_limit: Duration,
    leadership: Leadership,
    /// The pod's name, when it is known.
    pod: Option<String>,
}

/// Starts everything for a kind. The steps to readiness: that their objects were read, and that the cloud was asked
/// for them, or another process leads, who asks it.
fn caches<K: Managed>(
    config: &Config,
    process: &Process,
    words: &'static Words,
    stopped: &watch::Receiver<bool>,
    tasks: &mut JoinSet<&'static str>,
) -> [Step; 2] {
    let Process { client, cloud, cluster, remembered, clock, metrics, page_limit, leadership, pod } =
        process.clone();
    let namespaces: Vec<Option<String>> = if config.namespaces.is_empty() {
        vec![None]
    } else {
        config.namespaces.iter().cloned().map(Some).collect()
    };
    let readers: Vec<_> = namespaces.into_iter().map(|ns| (ns, Arc::new(Nudges::default()))).collect();
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
        let (mut stopping, leading) = (stopped.clone(), leadership.clone());
        tasks.spawn(async move {
            let counting = async {
                leading.acquired().await;
                matching.run().await;
            };
            tokio::select! {
                () = counting => {}
                _ = stopping.wait_for(|stop| *stop) => {}
            }
            "image cache matches"
        });
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
    let mut stopping = stopped.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = sweep.run() => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        words.sweeper
    });

    let intervals =
        Intervals { busy: config.poll_interval_busy, slow: config.poll_interval, page: page_limit };
    let (stopped, mut stopping) = (stopped.clone(), stopped.clone());
    tasks.spawn(async move {
        let polling = async {
            leadership.acquired().await;
            observer.poll(&*cloud, intervals, stopped).await;
        };
        tokio::select! {
            () = polling => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        words.poller
    });
    [Step { done: objects_read, missing: words.unread }, Step { done: cloud_asked, missing: words.unasked }]
}

/// Whether a part runs that profiles are about.
fn looks_at_profiles(config: &Config) -> bool {
    [Part::Webhook, Part::Eviction, Part::Placement].iter().any(|part| config.runs(*part))
}

/// What decisions about pods know from the start.
fn world(config: &Config) -> World {
    World {
        nodes: config.virtual_nodes(),
        // They were read when the program started.
        rules: config.webhook.rule_settings().unwrap_or_default(),
        region: Some(config.region.clone()),
        ..World::default()
    }
}

/// What asks the other services of the cloud about profiles.
fn asking(
    config: &Config,
    outlook: &Arc<Outlook>,
    metrics: &Arc<Metrics>,
    call_limit: Duration,
    clock: Clock,
) -> Result<Asking<NetworkClient, SpotClient>, RunError> {
    let (_, credentials) = config.credentials.provider(|name| std::env::var(name).ok());
    let of = |endpoint: Option<&String>| eci_aliyun::Config {
        endpoint: config.endpoint_of(endpoint),
        connect_timeout: CONNECT_LIMIT.min(config.request_timeout / 3),
        request_timeout: config.request_timeout,
        ..eci_aliyun::Config::new(config.region.clone(), Arc::clone(&credentials))
    };
    Ok(Asking {
        outlook: Arc::clone(outlook),
        network: NetworkClient::new(of(config.vpc_endpoint.as_ref()))?,
        market: SpotClient::new(of(config.ecs_endpoint.as_ref()))?,
        clock,
        metrics: Arc::clone(metrics),
        defaults: config.vswitch_ids.clone(),
        call_limit,
    })
}

fn cloud(config: &Config) -> Result<eci_aliyun::Client, RunError> {
    let (source, credentials) = config.credentials.provider(|name| std::env::var(name).ok());
    let client = eci_aliyun::Client::new(eci_aliyun::Config {
        endpoint: config.endpoint.clone(),
        connect_timeout: CONNECT_LIMIT.min(config.request_timeout / 3),
        request_timeout: config.request_timeout,
        writes: Rate::of_writes(config.cloud_writes_per_second),
        ..eci_aliyun::Config::new(config.region.clone(), credentials)
    })?;
    tracing::info!(endpoint = %client.endpoint(), credentials = ?source, "the cloud");
    Ok(client)
}
