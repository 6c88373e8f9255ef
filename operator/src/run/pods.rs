//! The parts that are about pods: the webhook, evictions, placement, and the status of the profiles that they go by.

use std::sync::Arc;
use std::time::Duration;

use eci_core::profile::decide::World;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::RunError;
use super::clouds;
use crate::admin::Step;
use crate::clock::Clock;
use crate::config::{Config, Part};
use crate::eviction;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::networkings::Networkings;
use crate::outlook::Outlook;
use crate::placement;
use crate::profiles::{self, Reported};
use crate::report::Reporter;
use crate::tasks::{Tasks, background};
use crate::webhook::{self, Standing};

/// Where the webhook stands, when this process serves one.
type Stands = Option<watch::Receiver<Arc<Standing>>>;

/// What the parts about pods need of the process.
pub(super) struct Pods<'a> {
    pub(super) config: &'a Config,
    pub(super) client: &'a Client,
    pub(super) clock: Clock,
    pub(super) leadership: &'a Leadership,
    pub(super) metrics: &'a Arc<Metrics>,
    /// The pod's name, when it is known.
    pub(super) pod: Option<&'a str>,
    /// The namespace of the operator.
    pub(super) namespace: &'a str,
    /// Longest that the answer of a read from the cloud may take.
    pub(super) call_limit: Duration,
}

impl Pods<'_> {
    /// Starts those that are to run. The steps to readiness are theirs.
    pub(super) async fn start(
        &self,
        kube: kube::Config,
        stopped: &watch::Receiver<bool>,
        tasks: &mut Tasks,
    ) -> Result<Vec<Step>, RunError> {
        let parts = [Part::Webhook, Part::Eviction, Part::Placement];
        if !parts.iter().any(|part| self.config.runs(*part)) {
            return Ok(Vec::new());
        }
        let networkings = Networkings::default();
        let watching = networkings.clone().run(self.client.clone());
        background(watching, "watch of PodNetworkings", stopped, tasks);
        let mut steps = Vec::new();
        let mut standing = None;
        if self.config.runs(Part::Webhook) && !self.config.dry_run {
            let (stands, more) = self.webhook(networkings.clone(), stopped, tasks).await?;
            standing = Some(stands);
            steps.extend(more);
        }
        let reported = self.config.runs(Part::Eviction).then(Arc::<Reported>::default);
        if let Some(reported) = &reported {
            steps.push(self.evictions(kube, reported, stopped, tasks)?);
        }
        if self.config.runs(Part::Placement) {
            self.placement(networkings.clone(), standing.is_some(), stopped, tasks);
        }
        self.profiles(networkings, standing, reported, stopped, tasks)?;
        Ok(steps)
    }

    async fn webhook(
        &self,
        networkings: Networkings,
        stopped: &watch::Receiver<bool>,
        tasks: &mut Tasks,
    ) -> Result<(watch::Receiver<Arc<Standing>>, [Step; 2]), RunError> {
        let address = self.config.webhook.webhook_address;
        let listen = |error| RunError::ListenWebhook { address, error };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let process = webhook::Process {
            client: self.client.clone(),
            clock: self.clock,
            leadership: self.leadership.clone(),
            metrics: self.metrics.admission(),
            own_namespace: self.namespace.to_owned(),
            namespaces: self.config.namespaces.clone(),
            world: self.world(),
            networkings,
            options: self.config.webhook.clone(),
        };
        let (webhook, steps) = webhook::start(process, listener, stopped, tasks)?;
        Ok((webhook.standing, steps))
    }

    fn evictions(
        &self,
        kube: kube::Config,
        reported: &Arc<Reported>,
        stopped: &watch::Receiver<bool>,
        tasks: &mut Tasks,
    ) -> Result<Step, RunError> {
        let process = eviction::Process {
            client: self.client.clone(),
            requests: eviction::Requests::new(kube)?,
            clock: self.clock,
            leadership: self.leadership.clone(),
            metrics: self.metrics.eviction(),
            pod: self.pod.map(str::to_owned),
            own_namespace: self.namespace.to_owned(),
            namespaces: self.config.namespaces.clone(),
            virtual_labels: self.config.virtual_node_labels.clone(),
            settings: self.config.eviction(),
            dry_run: self.config.dry_run,
            reported: Arc::clone(reported),
        };
        let done = eviction::start(process, stopped, tasks);
        let missing = "pods, PodDisruptionBudgets and nodes have not been read from the API server";
        Ok(Step { done, missing })
    }

    fn placement(
        &self,
        networkings: Networkings,
        webhook: bool,
        stopped: &watch::Receiver<bool>,
        tasks: &mut Tasks,
    ) {
        let process = placement::Process {
            client: self.client.clone(),
            clock: self.clock,
            leadership: self.leadership.clone(),
            metrics: self.metrics.placement(),
            pod: self.pod.map(str::to_owned),
            own_namespace: self.namespace.to_owned(),
            namespaces: self.config.namespaces.clone(),
            nodes: self.config.virtual_nodes(),
            networkings,
            webhook,
            dry_run: self.config.dry_run,
        };
        placement::start(process, stopped, tasks);
    }

    fn profiles(
        &self,
        networkings: Networkings,
        standing: Stands,
        reported: Option<Arc<Reported>>,
        stopped: &watch::Receiver<bool>,
        tasks: &mut Tasks,
    ) -> Result<(), RunError> {
        let outlook = Arc::<Outlook>::default();
        let asking = clouds::asking(self.config, &outlook, self.metrics, self.call_limit, self.clock)?;
        let leading = self.leadership.clone();
        let asking = async move {
            leading.acquired().await;
            asking.run().await;
        };
        background(asking, "outlook of profiles", stopped, tasks);
        // Events about objects without a namespace need the permission for all.
        let may_tell = !self.config.dry_run && self.config.namespaces.is_empty();
        let publish = || Reporter::new(self.client.clone(), self.pod.map(str::to_owned));
        let process = profiles::Process {
            client: self.client.clone(),
            clock: self.clock,
            leadership: self.leadership.clone(),
            reporter: may_tell.then(publish),
            own_namespace: self.namespace.to_owned(),
            namespaces: self.config.namespaces.clone(),
            world: self.world(),
            networkings,
            standing,
            reported,
            outlook,
            dry_run: self.config.dry_run,
        };
        profiles::start(process, stopped, tasks);
        Ok(())
    }

    /// What decisions about pods know from the start.
    fn world(&self) -> World {
        World {
            nodes: self.config.virtual_nodes(),
            // They were read when the program started.
            rules: self.config.webhook.rule_settings().unwrap_or_default(),
            region: Some(self.config.region.clone()),
            ..World::default()
        }
    }
}
