//! Evictions of spot pods: the operator with its chart's permissions, on a real API server, beside a vendor that behaves
//! and one that does not, judged by an observer that believes neither.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bad_input;
mod clocks;
mod faults;
mod outage;
mod outlook;
mod profile;
mod scope;
mod survive;
mod why;

use std::time::Duration;

use anyhow::{Result, ensure};
use eci_api::eci_profile::{EciProfile, EciProfileStatus};
use eci_e2e::eventually::eventually;
use eci_e2e::observer::audit::{self, Request};
use eci_e2e::observer::{Observer, Verdict};
use eci_e2e::stack::{NAMESPACE, SERVICE_ACCOUNT, Stack, StackOptions};
use eci_e2e::testbed::{StartOptions, nodes};
use eci_e2e::vendor::{Behaviour, PodRef, Vendor};
use eci_e2e::workload::{Keep, Workload, budget, protect};
use k8s_openapi::api::core::v1::{Event, Node, Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// Held by whoever starts an observer and a vendor.
static STARTS: Mutex<()> = Mutex::const_new(());

/// A stack with a regular node, a virtual node of each make, and further chart values.
async fn stack(values: Value) -> Result<Stack> {
    let plane = StartOptions::default();
    let stack = Stack::start(StackOptions { plane, values, ..StackOptions::default() }).await?;
    make_nodes(&stack).await?;
    Ok(stack)
}

/// A regular node, and a virtual node of each make.
async fn make_nodes(stack: &Stack) -> Result<()> {
    let api: Api<Node> = Api::all(stack.client()?);
    for node in
        [nodes::regular("regular", "32", "128Gi"), nodes::virtual_node("virtual"), nodes::vnode("vnode")]
    {
        api.create(&PostParams::default(), &node).await?;
    }
    Ok(())
}

/// A namespace for one test, in which pods can be created, and an administrator's client.
async fn namespace(stack: &Stack, name: &str) -> Result<Client> {
    stack.namespace(name).await?;
    let client = stack.client()?;
    with_account(&client, name).await?;
    Ok(client)
}

/// Waits until pods can be created in a namespace.
async fn with_account(client: &Client, namespace: &str) -> Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    eventually("the namespace has its account", PATIENCE, || async {
        accounts.get("default").await.map(drop)
    })
    .await
}

/// The stack that tests share whose vendor only announces and reclaims.
async fn quiet() -> &'static Stack {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    SHARED.get_or_init(|| async { stack(json!({})).await.unwrap() }).await
}

/// The stack that tests share whose vendor is in the way.
async fn hostile() -> &'static Stack {
    static SHARED: OnceCell<Stack> = OnceCell::const_new();
    SHARED.get_or_init(|| async { stack(json!({})).await.unwrap() }).await
}

/// A Deployment with a budget, all ready; and the world around it.
struct Scene {
    stack: &'static Stack,
    vendor: Vendor,
    observer: Observer,
    doomed: Vec<PodRef>,
    /// Where the audit log ended when it began.
    mark: u64,
}

impl Scene {
    /// Deploys `workload` behind a budget that lets `allowed` pods be missing.
    async fn set(
        stack: &'static Stack,
        behaviour: Behaviour,
        workload: &Workload,
        allowed: i32,
    ) -> Result<Self> {
        let client = namespace(stack, &workload.namespace).await?;
        let pods = workload.deploy(&client, PATIENCE).await?;
        let keep = Keep::MaxUnavailable(IntOrString::Int(allowed));
        protect(&client, &budget(workload, keep)?, workload.replicas).await?;
        Self::around(stack, behaviour, &workload.namespace, &pods).await
    }

    /// Around pods that are there.
    async fn around(
        stack: &'static Stack,
        behaviour: Behaviour,
        namespace: &str,
        pods: &[Pod],
    ) -> Result<Self> {
        // Both make users, whose files are shared by all that have their names.
        let one_by_one = STARTS.lock().await;
        let observer = Observer::start(stack.plane(), Some(namespace)).await?;
        observer.begin();
        let vendor = Vendor::start(stack.plane(), behaviour).await?;
        drop(one_by_one);
        let mark = audit::mark(&stack.plane().audit_log_path())?;
        Ok(Self { stack, vendor, observer, doomed: pods.iter().map(PodRef::of).collect(), mark })
    }

    /// What the operator asked of pods in one namespace since the beginning: evictions and deletions.
    fn requests(&self, namespace: &str) -> Result<Vec<Request>> {
        let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
        let mut all = audit::requests_since(&self.stack.plane().audit_log_path(), self.mark, &user)?;
        all.retain(|request| {
            request.namespace == namespace
                && (request.resource == "pods/eviction"
                    || request.resource == "pods" && request.verb == "delete")
        });
        Ok(all)
    }

    /// Waits until every doomed pod was told to end; the vendor then finds nothing left to kill, no budget was broken and
    /// nobody else was touched.
    async fn all_are_saved(&self) -> Result<Verdict> {
        let verdict = self.observer.settled(&self.doomed, PATIENCE).await?;
        ensure!(verdict.lost.is_empty(), "lost: {:?}", verdict.lost);
        ensure!(verdict.evicted.len() == self.doomed.len(), "{verdict:?}");
        ensure!(verdict.breaches.is_empty(), "the budget was broken: {:?}", verdict.breaches);
        ensure!(verdict.wrong.is_empty(), "evicted without a notice: {:?}", verdict.wrong);
        ensure!(verdict.slack.is_none_or(|slack| slack >= 0), "below the floor: {verdict:?}");
        eventually("every doomed pod has ended", PATIENCE, || {
            let ledger = self.observer.ledger();
            let left = |pod: &&PodRef| ledger.seen(&pod.uid).is_none_or(|seen| seen.gone_at.is_none());
            let left = self.doomed.iter().filter(left).count();
            std::future::ready(if left == 0 { Ok(()) } else { Err(format!("{left} have not")) })
        })
        .await?;
        let killed = self.vendor.release(&self.doomed).await?;
        ensure!(killed.is_empty(), "still there to be killed: {killed:?}");
        Ok(verdict)
    }
}

/// A profile for pods with the label `app`, with these spot settings.
async fn make_profile(client: &Client, name: &str, app: &str, spot: Value) -> Result<()> {
    let profile = json!({
        "apiVersion": "eci-operator.io/v1alpha1",
        "kind": "EciProfile",
        "metadata": { "name": name },
        "spec": { "selector": { "podSelector": { "matchLabels": { "app": app } } }, "spot": spot },
    });
    let api: Api<EciProfile> = Api::all(client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(profile)?).await?;
    Ok(())
}

/// Waits until the status of a profile is as `wanted` says, and gives it.
async fn says(
    client: &Client,
    name: &str,
    what: &str,
    wanted: impl Fn(&EciProfileStatus) -> bool,
) -> Result<EciProfileStatus> {
    let api: Api<EciProfile> = Api::all(client.clone());
    eventually(&format!("profile {name}: {what}"), PATIENCE, || async {
        let profile = api.get(name).await.map_err(|error| error.to_string())?;
        let status = profile.status.unwrap_or_default();
        if wanted(&status) { Ok(status) } else { Err(format!("{status:?}")) }
    })
    .await
}

/// Status, reason and message of a condition of a profile.
fn condition<'a>(status: &'a EciProfileStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((condition.status.as_str(), condition.reason.as_str(), condition.message.as_str()))
}

/// The events of the operator in a namespace with this reason.
async fn events(client: &Client, namespace: &str, reason: &str) -> Result<Vec<Event>> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let mut list = api.list(&ListParams::default().fields(&format!("reason={reason}"))).await?.items;
    list.retain(|event| event.reporting_component.as_deref() == Some("eci-operator"));
    Ok(list)
}

/// Waits for an event of the operator about this pod, and gives its note.
async fn told(client: &Client, pod: &PodRef, reason: &str) -> Result<String> {
    eventually(&format!("an event {reason} about {}", pod.name), PATIENCE, || async {
        let events = events(client, &pod.namespace, reason).await.map_err(|error| error.to_string())?;
        let event = events.iter().find(|event| event.involved_object.uid.as_deref() == Some(&pod.uid));
        event.and_then(|event| event.message.clone()).ok_or_else(|| format!("{} of others", events.len()))
    })
    .await
}

/// Changes annotations of a pod.
async fn annotate(client: &Client, pod: &PodRef, key: &str, value: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let patch = json!({ "metadata": { "annotations": { (key): value } } });
    api.patch(&pod.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Waits until a pod is as `wanted` says, and gives it.
async fn pod_is(client: &Client, name: (&str, &str), wanted: impl Fn(&Pod) -> bool) -> Result<Pod> {
    let api: Api<Pod> = Api::namespaced(client.clone(), name.0);
    eventually(&format!("pod {} is as wanted", name.1), PATIENCE, || async {
        let pod = api.get(name.1).await.map_err(|error| error.to_string())?;
        if wanted(&pod) { Ok(pod) } else { Err(format!("{} {:?}", pod.name_any(), pod.status)) }
    })
    .await
}
