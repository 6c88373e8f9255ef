//! Evictions of spot pods: the operator with its chart's permissions, on a real API server, beside a vendor that behaves
//! and one that does not, judged by an observer that believes neither.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod survive;

use std::time::Duration;

use anyhow::{Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::observer::audit::{self, Request};
use eci_e2e::observer::{Observer, Verdict};
use eci_e2e::stack::{NAMESPACE, SERVICE_ACCOUNT, Stack, StackOptions};
use eci_e2e::testbed::{StartOptions, nodes};
use eci_e2e::vendor::{Behaviour, PodRef, Vendor};
use eci_e2e::workload::{Keep, Workload, budget, protect};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// A stack with a regular node, a virtual node of each make, and further chart values.
async fn stack(values: Value) -> Result<Stack> {
    let plane = StartOptions::default();
    let stack = Stack::start(StackOptions { plane, values, ..StackOptions::default() }).await?;
    let api: Api<Node> = Api::all(stack.client()?);
    for node in
        [nodes::regular("regular", "32", "128Gi"), nodes::virtual_node("virtual"), nodes::vnode("vnode")]
    {
        api.create(&PostParams::default(), &node).await?;
    }
    Ok(stack)
}

/// A namespace for one test, in which pods can be created, and an administrator's client.
async fn namespace(stack: &Stack, name: &str) -> Result<Client> {
    stack.namespace(name).await?;
    let client = stack.client()?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    eventually("the namespace has its account", PATIENCE, || async {
        accounts.get("default").await.map(drop)
    })
    .await?;
    Ok(client)
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
        let observer = Observer::start(stack.plane(), Some(namespace)).await?;
        observer.begin();
        let vendor = Vendor::start(stack.plane(), behaviour).await?;
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
