//! Admission: the shell around `eci_core::admission`, in every process.
//!
//! ```text
//! watch ──▶ known ──▶ server ◀── API server
//!             │          ▲ certificate
//!             ▼          │
//! leader:  program ◀── keeper ◀──▶ Secret
//!             │ bundle
//!             ▼
//!     webhook configurations
//! ```
//!
//! Every process answers, from what its watches show. The one that leads keeps the webhook configurations as the
//! profiles want them, and the authorities that sign certificates.

mod certificate;
mod keeper;
mod known;
mod metrics;
mod options;
mod owner;
mod program;
mod review;
mod server;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use eci_core::admission::entries::Reach;
use eci_core::profile::decide::World;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch as signal;

use self::certificate::Wardrobe;
pub use self::keeper::SECRET;
use self::keeper::{Files, Keeper};
pub use self::known::Known;
pub use self::metrics::AdmissionMetrics;
pub use self::options::Options;
use self::program::Program;
use self::server::Desk;
pub use self::server::{BODY_LIMIT, BODY_SIZE, CONNECTION_LIMIT, FIRST_LIMIT, IDLE_LIMIT};
use crate::admin::Step;
use crate::clock::Clock;
use crate::lease::Leadership;
use crate::networkings::Networkings;
use crate::tasks::{Tasks, background, places};

/// Where the webhook stands, as the process that leads sees it; of a standby nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The profiles for whose pods the API server asks, with the generation that it was told of.
    pub programmed: BTreeMap<String, i64>,
    /// Those of them with data caches whose pods start without while the operator is down: there are too many.
    pub unguarded: Vec<String>,
}

/// The name of the webhook configurations of an operator in that namespace. It sorts before the vendor's `vk-webhook`.
pub fn configuration_name(namespace: &str) -> String {
    format!("eci-operator-{namespace}")
}

/// What the webhook needs of the process.
pub struct Process {
    /// The client of the API server.
    pub client: Client,
    /// The clocks.
    pub clock: Clock,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// Metrics.
    pub metrics: AdmissionMetrics,
    /// The namespace of the operator.
    pub own_namespace: String,
    /// Namespaces to work in; all when empty.
    pub namespaces: Vec<String>,
    /// What decisions know from the start: where virtual nodes are.
    pub world: World,
    /// What the vendor's network plugin says of pods.
    pub(crate) networkings: Networkings,
    /// Flags.
    pub options: Options,
}

/// What the rest of the process has of the webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// What is known of the cluster.
    pub known: Arc<Known>,
    /// Where the configurations stand.
    pub standing: signal::Receiver<Arc<Standing>>,
}

/// Starts the tasks. The steps: that everything was read, and that there is a certificate.
pub(crate) fn start(
    process: Process,
    listener: TcpListener,
    stopped: &signal::Receiver<bool>,
    tasks: &mut Tasks,
) -> Result<(Webhook, [Step; 2]), rustls::Error> {
    let Process {
        client,
        clock,
        leadership,
        metrics,
        own_namespace,
        namespaces,
        world,
        networkings,
        options,
    } = process;
    let wardrobe = Arc::new(Wardrobe::default());
    let tls = server::tls(Arc::clone(&wardrobe))?;
    let nodes = world.nodes.clone();
    let known = Arc::new(Known::new(client.clone(), world));
    let (bundle, trusted) = signal::channel(None);
    let (dressed, has_certificate) = signal::channel(false);
    let (programmed, seen_programmed) = signal::channel(None);
    let (standing, stands) = signal::channel(Arc::default());

    let (watcher, seen, own) = (client.clone(), Arc::clone(&known), own_namespace.clone());
    let places = places(&namespaces);
    let watching = async move { watch::run(watcher, seen, own, places, &networkings).await };
    background(watching, "watches of the webhook", stopped, tasks);
    let program = Program {
        client: client.clone(),
        name: configuration_name(&own_namespace),
        owner: options.webhook_owner.clone(),
        target: options.target(&own_namespace),
        nodes,
        reach: Reach { own_namespace: own_namespace.clone(), namespaces },
        leadership: leadership.clone(),
        metrics: metrics.clone(),
        profiles: known.follow_profiles(),
        complete: known.complete(),
        bundle: trusted,
        programmed,
        standing,
    };
    background(program.run(), "webhook configurations", stopped, tasks);
    let names = options.names(&own_namespace);
    if let Some(directory) = options.webhook_cert_dir {
        let files = Files { directory, wardrobe, bundle, dressed };
        background(files.run(), "certificate files of the webhook", stopped, tasks);
    } else {
        let keeper = Keeper {
            client,
            namespace: own_namespace,
            owner: options.webhook_owner,
            names,
            lifetime: options.webhook_ca_lifetime,
            clock,
            leadership,
            wardrobe,
            metrics: metrics.clone(),
            bundle,
            programmed: seen_programmed,
            dressed,
        };
        background(keeper.run(), "certificates of the webhook", stopped, tasks);
    }
    let desk = Desk { known: Arc::clone(&known), metrics, clock };
    let stop = stopped.clone();
    tasks.spawn(async move {
        if let Err(error) = server::serve(desk, listener, tls, stop).await {
            tracing::error!(%error, "the server of the webhook failed");
        }
        "webhook"
    });
    let steps = [
        Step {
            done: known.complete(),
            missing: "EciProfiles, namespaces and ImageCaches have not been read from the API server",
        },
        Step { done: has_certificate, missing: "the webhook has no certificate" },
    ];
    Ok((Webhook { known, standing: stands }, steps))
}
