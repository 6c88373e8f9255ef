//! Placement of pods after they were created: the shell around `eci_core::placement`.
//!
//! ```text
//! sight ──▶ view ──▶ conduct ──▶ spill, gate ──▶ act ──▶ API server
//!             ▲                         └──▶ tell, metrics
//!             └──────── what was written ◀───┘
//! ```
//!
//! Only the process that leads does this, and it begins to watch when it begins to lead: what it decides on is newer than
//! anything that the process before can have done. Nothing is remembered outside of the API server.

mod act;
mod conduct;
mod metrics;
mod pod;
mod tell;
mod view;

use eci_core::profile::nodes::VirtualNodes;
use kube::Client;
use tokio::sync::watch as signal;

use self::conduct::{Conductor, Parts};
pub use self::metrics::PlacementMetrics;
use self::tell::Teller;
use self::view::View;
use crate::clock::Clock;
use crate::lease::Leadership;
use crate::networkings::Networkings;
use crate::tasks::{Tasks, places};

/// What placement needs of the process.
pub struct Process {
    /// The client.
    pub client: Client,
    /// The clocks.
    pub clock: Clock,
    /// Whether this process may act.
    pub leadership: Leadership,
    /// Metrics.
    pub metrics: PlacementMetrics,
    /// The name of the pod, when it is known.
    pub pod: Option<String>,
    /// The namespace of the operator.
    pub own_namespace: String,
    /// Namespaces to work in; all when empty.
    pub namespaces: Vec<String>,
    /// Where virtual nodes are.
    pub nodes: VirtualNodes,
    /// What the vendor's network plugin says of pods.
    pub(crate) networkings: Networkings,
    /// Whether a webhook of the operator puts into pods what profiles say.
    pub webhook: bool,
    /// Whether writes are only logged.
    pub dry_run: bool,
}

/// Starts the tasks.
pub(crate) fn start(process: Process, stopped: &signal::Receiver<bool>, tasks: &mut Tasks) {
    let Process {
        client,
        clock,
        leadership,
        metrics,
        pod,
        own_namespace,
        namespaces,
        nodes,
        webhook,
        networkings,
        dry_run,
    } = process;
    let namespaces = places(&namespaces);
    let (teller, telling) = Teller::new(client.clone(), pod.as_deref(), metrics.clone());
    let networkings = networkings.follow();
    let view = View::new(nodes, &own_namespace, namespaces.len());
    let conductor = Conductor::new(
        Parts { client, teller, clock, leadership, metrics, networkings, webhook, dry_run },
        view,
    );
    let stop = stopped.clone();
    tasks.spawn(async move {
        conductor.run(&namespaces, stop).await;
        "placement"
    });
    tasks.spawn(async move {
        telling.await;
        "events of placement"
    });
}
