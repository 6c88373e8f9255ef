//! The process: its parts, put together and watched over.

mod caches;
mod clouds;
mod pods;

use std::sync::Arc;
use std::time::Duration;

use eci_aliyun::client::{LONGEST_WAIT, READ_RETRIES};
use eci_core::data_cache::DataCacheKind;
use eci_core::image_cache::ImageCacheKind;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::pods::Pods;
use crate::admin::Admin;
use crate::clock::Clock;
use crate::cluster::{self, ClusterError};
use crate::config::{Config, Part};
use crate::lease::{self, Elector, Leadership, LeaseLost};
use crate::metered::{CallLimits, Metered};
use crate::metrics::Metrics;
use crate::tasks::Tasks;

/// How long running work may take to end after a signal.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(25);
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
    let client_of_cloud = clouds::cloud(&config)?;
    let waits = client_of_cloud.waits();
    metrics.follow_waits(move || waits.each());
    metrics.workers(config.workers);
    let cloud = Metered::new(client_of_cloud, limits, clock, Arc::clone(&metrics));

    let listen = |error| RunError::Listen { address: config.listen_address, error };
    let listener = TcpListener::bind(config.listen_address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    tracing::info!(cluster = cluster.id, %address, "the operator is {namespace}'s; health and metrics are served");

    let (stop, stopped) = watch::channel(false);
    let mut tasks = Tasks::new();
    let pods = Pods {
        config: &config,
        client: &client,
        clock,
        leadership: &leadership,
        metrics: &metrics,
        pod: pod.as_deref(),
        namespace: &namespace,
        call_limit: limits.reads,
    };
    let mut steps = pods.start(kube, &stopped, &mut tasks).await?;
    let process = caches::Process {
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
        let more =
            caches::start::<ImageCacheKind>(&config, &process, &caches::IMAGE_CACHES, &stopped, &mut tasks);
        steps.extend(more);
    }
    if config.runs(Part::DataCache) {
        let more =
            caches::start::<DataCacheKind>(&config, &process, &caches::DATA_CACHES, &stopped, &mut tasks);
        steps.extend(more);
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
