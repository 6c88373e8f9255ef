//! The status of EciProfiles: one writer for all that there is to say, in the process that leads.
//!
//! ```text
//! sight ──▶ view ──▶ survey (core) ──┐
//! eviction ──▶ reported ─────────────┤
//! webhook ──▶ standing ──────────────┼──▶ status (core) ──▶ write ──▶ API server
//! cloud ──▶ outlook ─────────────────┘                        └────▶ events
//! ```
//!
//! It runs when any part runs that profiles are about. Nothing is remembered outside of the API server but what was lost
//! and degraded since the last write.

mod conduct;
mod lean;
mod reported;
mod view;
mod write;

use std::sync::Arc;

use eci_core::profile::decide::World;
use kube::Client;
use tokio::sync::watch as signal;

use self::conduct::{Conductor, Parts};
pub(crate) use self::reported::Reported;
use self::view::View;
use crate::clock::Clock;
use crate::lease::Leadership;
use crate::networkings::Networkings;
use crate::outlook::Outlook;
use crate::report::Reporter;
use crate::tasks::{Tasks, places};
use crate::webhook::Standing;

/// What the statuses of profiles need of the process.
pub(crate) struct Process {
    /// The client.
    pub(crate) client: Client,
    /// The clocks.
    pub(crate) clock: Clock,
    /// Whether this process may act.
    pub(crate) leadership: Leadership,
    /// Publishes events about profiles; `None` when the operator may not.
    pub(crate) reporter: Option<Reporter>,
    /// The namespace of the operator.
    pub(crate) own_namespace: String,
    /// Namespaces to work in; all when empty.
    pub(crate) namespaces: Vec<String>,
    /// What decisions know from the start.
    pub(crate) world: World,
    /// What the vendor's network plugin says of pods.
    pub(crate) networkings: Networkings,
    /// Where the webhook stands, when this process serves one.
    pub(crate) standing: Option<signal::Receiver<Arc<Standing>>>,
    /// What those who evict say; `None` when nobody does.
    pub(crate) reported: Option<Arc<Reported>>,
    /// What the cloud says.
    pub(crate) outlook: Arc<Outlook>,
    /// Whether nothing is written.
    pub(crate) dry_run: bool,
}

/// Starts the task.
pub(crate) fn start(process: Process, stopped: &signal::Receiver<bool>, tasks: &mut Tasks) {
    let Process { client, clock, leadership, reporter, own_namespace, namespaces, world, .. } = process;
    let namespaces = places(&namespaces);
    let view = View::new(world, &own_namespace, namespaces.len());
    let parts = Parts {
        client,
        clock,
        leadership,
        reporter,
        networkings: process.networkings.follow(),
        standing: process.standing,
        reported: process.reported,
        outlook: process.outlook,
        dry_run: process.dry_run,
    };
    let conductor = Conductor::new(parts, view);
    let stop = stopped.clone();
    tasks.spawn(async move {
        conductor.run(&namespaces, stop).await;
        "status of profiles"
    });
}
