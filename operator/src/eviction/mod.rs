//! Evictions of spot pods: the shell around `eci_core::eviction`.
//!
//! ```text
//! watch ──▶ convert ──▶ view ──▶ conduct ──▶ Engine::step ──▶ request ──▶ API server
//!                                   ▲                │  └────▶ tell, metrics
//!                                   └─── answers ◀───┘
//! ```
//!
//! One task sees and decides, so that nothing is decided on what was not seen yet. Every process has the [`view`]; only
//! the one that leads has an engine, made from the view at the moment when it begins to lead. Nothing is remembered
//! outside of the API server, so a new leader goes on where the old one stopped.

mod conduct;
mod convert;
mod desk;
mod intern;
mod job;
mod lean;
mod metrics;
mod permits;
mod request;
mod survey;
mod tell;
mod view;
mod watch;

use std::sync::Arc;

use eci_core::eviction::Settings;
use kube::Client;
use tokio::sync::watch as signal;

use self::conduct::{Conductor, Parts};
pub use self::metrics::EvictionMetrics;
pub use self::request::Requests;
use self::tell::Teller;
use self::view::View;
use crate::clock::Clock;
use crate::lease::Leadership;
use crate::profiles::Reported;
use crate::tasks::{Tasks, places};

/// What evictions need of the process.
pub struct Process {
    /// The client for watches and words.
    pub client: Client,
    /// Requests that are sent once.
    pub requests: Requests,
    /// The clocks.
    pub clock: Clock,
    /// Whether this process may act.
    pub leadership: Leadership,
    /// Metrics.
    pub metrics: EvictionMetrics,
    /// The name of the pod, when it is known.
    pub pod: Option<String>,
    /// The namespace of the operator.
    pub own_namespace: String,
    /// Namespaces to work in; all when empty.
    pub namespaces: Vec<String>,
    /// Labels of which each marks a virtual node.
    pub virtual_labels: Vec<(String, String)>,
    /// What the engine is set to.
    pub settings: Settings,
    /// Whether requests and words are only logged.
    pub dry_run: bool,
    /// Where it is said how it is with profiles.
    pub(crate) reported: Arc<Reported>,
}

/// Starts the tasks. The receiver turns true when the watches have shown enough to begin.
pub(crate) fn start(
    process: Process,
    stopped: &signal::Receiver<bool>,
    tasks: &mut Tasks,
) -> signal::Receiver<bool> {
    let Process { client, requests, clock, leadership, metrics, pod, own_namespace, namespaces, .. } =
        process;
    let namespaces = places(&namespaces);
    let (teller, telling) = Teller::new(client.clone(), pod.as_deref(), metrics.clone());
    let (ready, seen) = signal::channel(false);
    let view = View::new(process.virtual_labels, &own_namespace, namespaces.len());
    let parts = Parts {
        requests,
        teller,
        clock,
        leadership,
        metrics,
        settings: process.settings,
        dry_run: process.dry_run,
        reported: process.reported,
    };
    let conductor = Conductor::new(parts, view, ready);
    let stop = stopped.clone();
    tasks.spawn(async move {
        conductor.run(client, &namespaces, stop).await;
        "evictions"
    });
    tasks.spawn(async move {
        telling.await;
        "events of evictions"
    });
    seen
}
