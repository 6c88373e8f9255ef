//! A control plane on which a scenario is about to begin.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use super::contender::Contender;
use super::proxy::Proxy;
use super::scenario::{Group, Kind, Pace, Rule, Scenario, Trouble};
use crate::eventually::eventually;
use crate::stack::{Programs, Stack, StackOptions};
use crate::testbed::nodes::{self, BEHAVIOUR, CRASH_LOOP};
use crate::testbed::{ControlPlane, StartOptions};
use crate::vendor::PodRef;
use crate::workload::{Keep, Workload, budget, is_ready, protect};

/// Where everything is.
pub(super) const NAMESPACE: &str = "bench";
/// Where a pod shows that the controllers work.
const PROBE: &str = "probe";
/// The node that is drained.
pub(super) const DOOMED_NODE: &str = "virtual-a";
/// The node that takes the replacements.
const OTHER_NODE: &str = "virtual-b";

/// The label that the pods of one budget share.
const BUDGET: &str = "budget";

/// Requests at once.
const AT_ONCE: usize = 16;
/// How long the doomed pods may take to be Ready: the controllers may be slow, and there may be thousands.
const SETUP_LIMIT: Duration = Duration::from_mins(15);

/// The control plane, with the operator if it is its turn.
pub(super) enum Bed {
    Alone(Box<ControlPlane>, Option<Proxy>),
    WithOperator(Box<Stack>, Option<Proxy>),
}

/// What is about to be evicted.
pub(super) struct Stage {
    pub(super) bed: Bed,
    pub(super) client: Client,
    /// In the order of their creation, and each with its grace.
    pub(super) doomed: Vec<(PodRef, i64)>,
}

impl Bed {
    pub(super) fn plane(&self) -> &ControlPlane {
        match self {
            Self::Alone(plane, _) => plane,
            Self::WithOperator(stack, _) => stack.plane(),
        }
    }

    /// What is between the evictor and the API server, if anything is.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        let (Self::Alone(_, proxy) | Self::WithOperator(_, proxy)) = self;
        proxy.as_ref()
    }
}

impl Stage {
    /// Sets it, from nothing to all pods Ready on one node.
    pub(super) async fn set(
        scenario: &Scenario,
        contender: Contender,
        pace: Pace,
        release: bool,
    ) -> Result<Self> {
        let options = StartOptions {
            controller_manager_args: controller_manager(Pace::RAISED),
            ..StartOptions::default()
        };
        let mut plane = ControlPlane::start(options.clone()).await?;
        let client = plane.client()?;
        let nodes_api: Api<Node> = Api::all(client.clone());
        for name in [DOOMED_NODE, OTHER_NODE] {
            nodes_api.create(&PostParams::default(), &nodes::virtual_node(name)).await?;
        }
        cordon(&client, OTHER_NODE, true).await?;
        make_namespace(&client, NAMESPACE).await?;
        for group in scenario.groups {
            populate(&client, group).await?;
        }
        let doomed = all_ready(&client, scenario).await?;
        for group in scenario.groups.iter().filter(|group| group.crash_looping > 0) {
            crash(&client, group).await?;
        }
        settled(&client, scenario).await?;
        cordon(&client, DOOMED_NODE, true).await?;
        cordon(&client, OTHER_NODE, false).await?;
        // Thousands of pods would take many minutes at the usual pace.
        if pace != Pace::RAISED {
            plane.restart_controller_manager(&controller_manager(pace))?;
            works(&client).await?;
        }
        let bed = if contender == Contender::Ours {
            let options = StackOptions { plane: options, log_level: "info", ..StackOptions::default() };
            let programs =
                if release { Programs::with_released_operator()? } else { Programs::beside_this_one()? };
            let mut stack = Stack::around(plane, programs, &options).await?;
            let proxy = match scenario.trouble {
                Trouble::Faults => Some(Proxy::start(stack.plane(), None).await?),
                Trouble::None | Trouble::Restart(_) => None,
            };
            if let Some(proxy) = &proxy {
                stack.reach_api_server_at(proxy.url());
            }
            stack.start_operator().await?;
            Bed::WithOperator(Box::new(stack), proxy)
        } else {
            let proxy = match scenario.trouble {
                Trouble::Faults => Some(Proxy::start(&plane, Some(&contender.user())).await?),
                Trouble::None | Trouble::Restart(_) => None,
            };
            Bed::Alone(Box::new(plane), proxy)
        };
        Ok(Self { bed, client, doomed })
    }
}

/// What kube-controller-manager is told about its pace.
fn controller_manager(pace: Pace) -> Vec<String> {
    vec![format!("--kube-api-qps={}", pace.qps), format!("--kube-api-burst={}", pace.burst)]
}

/// Waits until controllers that were started anew make pods and count them for budgets.
async fn works(client: &Client) -> Result<()> {
    make_namespace(client, PROBE).await?;
    let probe = Workload::new(PROBE, "probe", 1);
    protect(client, &budget(&probe, Keep::MaxUnavailable(IntOrString::Int(1)))?, 0).await?;
    probe.deploy(client, SETUP_LIMIT).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), PROBE);
    eventually("the controllers work", SETUP_LIMIT, || async {
        let found = budgets.get("probe").await.map_err(|error| error.to_string())?;
        let counted = found.status.map(|status| status.current_healthy);
        if counted == Some(1) { Ok(()) } else { Err(format!("{counted:?} of 1 pods are counted")) }
    })
    .await
}

async fn make_namespace(client: &Client, name: &str) -> Result<()> {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    eventually("pods can be created", SETUP_LIMIT, || async { accounts.get("default").await.map(drop) }).await
}

async fn cordon(client: &Client, node: &str, unschedulable: bool) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": { "unschedulable": unschedulable } }));
    Api::<Node>::all(client.clone()).patch(node, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Budgets and controllers of a group.
async fn populate(client: &Client, group: &Group) -> Result<()> {
    let each = (0..group.budgets).map(|n| async move {
        let name = format!("{}-{n:04}", group.name);
        let allowed = match group.rule {
            Rule::AtMost(pods) | Rule::AtLeast(pods) => Some(json!(pods)),
            Rule::All => Some(json!("100%")),
            Rule::Nothing => Some(json!(0)),
            Rule::NoBudget => None,
        };
        if let Some(allowed) = allowed {
            let policy = if group.always_allow_unhealthy { "AlwaysAllow" } else { "IfHealthyBudget" };
            let field =
                if matches!(group.rule, Rule::AtLeast(_)) { "minAvailable" } else { "maxUnavailable" };
            let budget = json!({
                "metadata": { "name": name },
                "spec": {
                    (field): allowed, "unhealthyPodEvictionPolicy": policy,
                    "selector": { "matchLabels": { (BUDGET): name } },
                },
            });
            let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), NAMESPACE);
            api.create(&PostParams::default(), &serde_json::from_value(budget)?).await?;
        }
        for (part, letter) in group.parts.iter().zip('a'..) {
            let start = Duration::from_secs(u64::from(group.start_seconds));
            let mut workload =
                Workload::new(NAMESPACE, &format!("{name}-{letter}"), i32::try_from(part.pods)?)
                    .starting_in(start)
                    .with_grace(part.grace_seconds);
            workload.labels.insert(BUDGET.to_owned(), name.clone());
            match group.kind {
                Kind::Deployment => {
                    let api: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
                    api.create(&PostParams::default(), &workload.deployment()?).await?;
                }
                Kind::StatefulSet => {
                    let api: Api<StatefulSet> = Api::namespaced(client.clone(), NAMESPACE);
                    api.create(&PostParams::default(), &workload.stateful_set()?).await?;
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await
}

/// Waits until all pods are Ready.
async fn all_ready(client: &Client, scenario: &Scenario) -> Result<Vec<(PodRef, i64)>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let wanted = usize::try_from(scenario.pods())?;
    let mut found = eventually("the doomed pods are Ready", SETUP_LIMIT, || async {
        let mut list = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        list.retain(is_ready);
        if list.len() == wanted { Ok(list) } else { Err(format!("{} of {wanted} are", list.len())) }
    })
    .await?;
    // Parts take turns, so that every wave has some of each.
    found.sort_by_cached_key(|pod| pod.name_any().chars().rev().collect::<String>());
    let doomed = found.iter().map(|pod| {
        let spec = pod.spec.as_ref();
        ensure!(spec.and_then(|s| s.node_name.as_deref()) == Some(DOOMED_NODE), "a pod is on another node");
        let grace = spec.and_then(|s| s.termination_grace_period_seconds).context("a pod has no grace")?;
        Ok((PodRef::of(pod), grace))
    });
    doomed.collect()
}

/// Lets some pods of each budget crash. What replaces them has no such annotation.
async fn crash(client: &Client, group: &Group) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let patch = json!({ "metadata": { "annotations": { (BEHAVIOUR): CRASH_LOOP } } });
    for n in 0..group.budgets {
        let selector = ListParams::default().labels(&format!("{BUDGET}={}-{n:04}", group.name));
        let list = pods.list(&selector).await?.items;
        let count = usize::try_from(group.crash_looping)?;
        for pod in list.iter().take(count) {
            pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch.clone())).await?;
        }
        eventually("they crash", SETUP_LIMIT, || async {
            let list = pods.list(&selector).await.map_err(|error| error.to_string())?.items;
            let crashed = list.iter().filter(|pod| !is_ready(pod)).count();
            if crashed == count { Ok(()) } else { Err(format!("{crashed} of {count} do")) }
        })
        .await?;
    }
    Ok(())
}

/// Waits until the disruption controller has counted everything.
async fn settled(client: &Client, scenario: &Scenario) -> Result<()> {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), NAMESPACE);
    let protected = scenario.groups.iter().filter(|group| group.rule != Rule::NoBudget);
    let healthy: u32 = protected.map(|group| (group.pods() - group.crash_looping) * group.budgets).sum();
    let healthy = i64::from(healthy);
    eventually("the budgets count all pods", SETUP_LIMIT, || async {
        let list = budgets.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        let statuses = list.iter().filter_map(|budget| budget.status.as_ref());
        let counted: i64 = statuses.map(|status| i64::from(status.current_healthy)).sum();
        if counted == healthy { Ok(()) } else { Err(format!("{counted} of {healthy}")) }
    })
    .await
}
