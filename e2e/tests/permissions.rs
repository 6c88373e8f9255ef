//! The chart's permissions, held against what the operator really asks for, rule by rule: nothing is refused, nothing is
//! granted in vain. Both for the whole cluster and for named namespaces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Caches, DataCaches, NAMESPACE, Programs, SERVICE_ACCOUNT, Stack, StackOptions};
use eci_e2e::testbed::{ControlPlane, StartOptions, nodes};
use eci_e2e::vendor::{Behaviour, Notice, PodRef, Vendor, networking};
use eci_e2e::workload::{Keep, Workload, budget, condition, protect};
use eci_sim::faults::Fault;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_mins(1);
/// The condition in which a pod says where its eviction stands.
const GRACEFUL: &str = "eci-operator.io/GracefulEviction";
/// Where the objects are.
const WHERE: &str = "permitted";

/// One thing that a rule allows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    /// `None` is every namespace, and what has none.
    namespace: Option<String>,
    group: String,
    /// With the subresource, such as `imagecaches/status`.
    resource: String,
    verb: String,
    /// `None` is every name.
    name: Option<String>,
}

/// A request of the operator, from the audit log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    namespace: Option<String>,
    group: String,
    resource: String,
    verb: String,
    name: Option<String>,
}

impl Grant {
    fn covers(&self, asked: &Asked) -> bool {
        self.group == asked.group
            && self.resource == asked.resource
            && self.verb == asked.verb
            && (self.namespace.is_none() || self.namespace == asked.namespace)
            && (self.name.is_none() || self.name == asked.name)
    }
}

fn grants(namespace: Option<&str>, rule: &PolicyRule) -> Vec<Grant> {
    let names = rule.resource_names.clone().unwrap_or_default().into_iter().map(Some);
    let names: Vec<_> = names.chain(rule.resource_names.is_none().then_some(None)).collect();
    let mut grants = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            for verb in &rule.verbs {
                grants.extend(names.iter().map(|name| Grant {
                    namespace: namespace.map(str::to_owned),
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                    name: name.clone(),
                }));
            }
        }
    }
    grants
}

/// Everything that is bound to the operator's ServiceAccount, as the API server has it.
async fn granted(client: &Client) -> Result<BTreeSet<Grant>> {
    let ours = |subjects: &Option<Vec<Subject>>| {
        subjects
            .iter()
            .flatten()
            .any(|s| s.name == SERVICE_ACCOUNT && s.namespace.as_deref() == Some(NAMESPACE))
    };
    let rules = async |role: &RoleRef, namespace: &str| -> Result<Vec<PolicyRule>> {
        Ok(if role.kind == "ClusterRole" {
            Api::<ClusterRole>::all(client.clone()).get(&role.name).await?.rules.unwrap_or_default()
        } else {
            Api::<Role>::namespaced(client.clone(), namespace)
                .get(&role.name)
                .await?
                .rules
                .unwrap_or_default()
        })
    };
    let mut found = BTreeSet::new();
    let wide: Api<ClusterRoleBinding> = Api::all(client.clone());
    for binding in wide.list(&ListParams::default()).await?.items.iter().filter(|b| ours(&b.subjects)) {
        for rule in rules(&binding.role_ref, "").await? {
            found.extend(grants(None, &rule));
        }
    }
    let narrow: Api<RoleBinding> = Api::all(client.clone());
    for binding in narrow.list(&ListParams::default()).await?.items.iter().filter(|b| ours(&b.subjects)) {
        let namespace = binding.namespace().context("a binding has a namespace")?;
        for rule in rules(&binding.role_ref, &namespace).await? {
            found.extend(grants(Some(&namespace), &rule));
        }
    }
    Ok(found)
}

/// What the operator asked of the API server, but for what everybody may ask.
fn asked(plane: &ControlPlane) -> Result<BTreeSet<Asked>> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    let log = fs::read_to_string(plane.audit_log_path()).context("cannot read the audit log")?;
    let mut found = BTreeSet::new();
    // The last line may be half written.
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let part = |name: &str| event["objectRef"][name].as_str().map(str::to_owned);
        let (Some(resource), true) = (part("resource"), event["user"]["username"] == user.as_str()) else {
            continue;
        };
        // What one may do oneself: Kubernetes lets every user ask that (system:basic-user).
        if resource == "selfsubjectaccessreviews" {
            continue;
        }
        found.insert(Asked {
            namespace: part("namespace"),
            group: part("apiGroup").unwrap_or_default(),
            resource: part("subresource").map_or(resource.clone(), |sub| format!("{resource}/{sub}")),
            verb: event["verb"].as_str().unwrap_or_default().to_owned(),
            name: part("name"),
        });
    }
    Ok(found)
}

/// Credentials of a registry.
async fn give_login(stack: &Stack) -> Result<()> {
    let login = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "login", "namespace": WHERE },
        "stringData": { ".dockerconfigjson": json!({ "auths": { "private.example.com": {
            "username": "robot", "password": "made-up-password",
        }}}).to_string() },
    });
    stack.plane().kubectl_stdin(["apply", "-f", "-"], &login.to_string()).await?.ok()?;
    Ok(())
}

/// A life in which the operator does everything that it can do; `removes` if that is to delete pods, too.
async fn live(stack: &mut Stack, caches: &Caches, removes: bool) -> Result<()> {
    give_login(stack).await?;
    // An answer that is lost: the object is read before the call is sent again.
    stack.cloud().add_fault(&Fault::lost_before().on("CreateImageCache").times(1)).await?;
    let spec =
        json!({ "images": ["private.example.com/shop/web:1"], "imagePullSecrets": [{ "name": "login" }] });
    caches.create("web", spec).await?;
    caches.says("web", "True", "Available", SOON).await?;
    // The same thing said twice is one event that is counted.
    for _ in 0..2 {
        for suspend in [true, false] {
            let patched = caches.patch("web", json!({ "spec": { "suspend": suspend } })).await?;
            let generation = patched.metadata.generation;
            caches
                .until("web", "the edit is seen", SOON, |cache| {
                    cache.status.as_ref().and_then(|status| status.observed_generation) == generation
                })
                .await?;
        }
    }
    caches.says("web", "True", "Available", SOON).await?;
    // A namespace without the label may not name a role of the account: the operator reads the label.
    let pull = json!([{ "id": "cri-example", "serviceRoleARN": "acs:ram::123456789012:role/pull" }]);
    stack.plane().kubectl(["label", "namespace", WHERE, "eci-operator.io/privileged=true"]).await?.ok()?;
    caches.create("role", json!({ "images": ["nginx"], "acrInstances": pull })).await?;
    caches.says("role", "True", "Available", SOON).await?;
    caches.delete("role").await?;
    caches.is_gone("role", SOON).await?;
    let data = DataCaches::beside(caches);
    stack.cloud().add_fault(&Fault::lost_before().on("CreateDataCache").times(1)).await?;
    let source = json!({ "type": "URL", "url": { "url": "https://example.com/a" } });
    data.create("model", json!({ "bucket": "models", "path": "/a", "source": source })).await?;
    data.says("model", "True", "Available", SOON).await?;
    data.delete("model").await?;
    data.is_gone("model", SOON).await?;
    // A second start finds what the first one remembered.
    ensure!(stack.stop_operator().await?, "the operator ended with an error");
    stack.start_operator().await?;
    caches.delete("web").await?;
    caches.is_gone("web", SOON).await?;
    reclaim(stack, removes).await
}

/// A profile, and a spot pod on a virtual node behind a budget that is closed.
async fn populate(stack: &Stack, spot: Value) -> Result<(Workload, PodRef)> {
    let client = stack.client()?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), WHERE);
    eventually("the namespace has its account", SOON, || async { accounts.get("default").await.map(drop) })
        .await?;
    let all_nodes: Api<Node> = Api::all(client.clone());
    all_nodes.create(&PostParams::default(), &nodes::virtual_node("virtual")).await?;
    let profile = json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": "spot" },
        "spec": {
            "selector": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": WHERE } } },
            // Pods on virtual nodes get a deletion cost.
            "placement": { "policy": "Fair", "scaleIn": "VirtualNodesFirst" },
            "spot": spot,
        },
    });
    stack.plane().kubectl_stdin(["apply", "-f", "-"], &profile.to_string()).await?.ok()?;
    // It is asked what a Job makes of evictions.
    let jobs: Api<Job> = Api::namespaced(client.clone(), WHERE);
    jobs.create(&PostParams::default(), &Workload::new(WHERE, "batch", 1).job()?).await?;
    let workload = Workload::new(WHERE, "spot", 1).with_grace(1);
    let pod = workload.deploy(&client, SOON).await?.into_iter().next().context("a pod")?;
    protect(&client, &budget(&workload, Keep::MaxUnavailable(IntOrString::Int(0)))?, 1).await?;
    Ok((workload, PodRef::of(&pod)))
}

/// Waits until a pod is gone or on its way.
async fn goes(client: &Client, pod: &PodRef) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    eventually(&format!("pod {} goes", pod.name), SOON, || async {
        match pods.get_opt(&pod.name).await {
            Ok(None) => Ok(()),
            Ok(Some(pod)) if pod.metadata.deletion_timestamp.is_some() => Ok(()),
            Ok(Some(pod)) => Err(format!("{:?}", pod.status)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// A spot pod on a virtual node gets its notice, waits for its budget, and is evicted. What the next one leaves behind
/// is removed, if the operator `removes` anything.
async fn reclaim(stack: &Stack, removes: bool) -> Result<()> {
    let client = stack.client()?;
    let mut spot = json!({ "strategy": "SpotAsPriceGo" });
    if removes {
        spot["failedPodTTL"] = json!("1s");
    }
    let (workload, pod) = populate(stack, spot).await?;
    let mut vendor = Vendor::start(stack.plane(), Behaviour::QUIET).await?;
    vendor.announce(std::slice::from_ref(&pod), Notice::Both).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), WHERE);
    eventually("the pod says that it waits", SOON, || async {
        let pod = pods.get(&pod.name).await.map_err(|error| error.to_string())?;
        condition(&pod, GRACEFUL).map(drop).ok_or_else(|| format!("{:?}", pod.status))
    })
    .await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), WHERE);
    budgets.delete(&workload.name, &DeleteParams::default()).await?;
    goes(&client, &pod).await?;
    if removes {
        let next = workload.ready(&client, SOON).await?.into_iter().next().context("a replacement")?;
        let next = PodRef::of(&next);
        ensure!(vendor.release(std::slice::from_ref(&next)).await?.len() == 1, "it was gone before");
        goes(&client, &next).await?;
    }
    Ok(())
}

/// Starts a stack with these values.
async fn start(values: Value) -> Result<Stack> {
    let options = StackOptions { plane: StartOptions::default(), values, ..StackOptions::default() };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    plane.kubectl(["create", "namespace", WHERE]).await?.ok()?;
    networking::install(&plane.client()?).await?;
    let mut stack = Stack::around(plane, Programs::beside_this_one()?, &options).await?;
    stack.start_operator().await?;
    Ok(stack)
}

/// Starts a stack with these values, lives, and compares.
async fn compare(values: Value) -> Result<(BTreeSet<Grant>, BTreeSet<Asked>)> {
    let mut values = values;
    // So that the authorities of the webhook are replaced while the test looks.
    values["webhook"]["caLifetime"] = json!("30s");
    let removes = values["eviction"]["deletePods"] == true;
    let mut stack = start(values).await?;
    let caches = Caches::new(stack.client()?, WHERE);
    live(&mut stack, &caches, removes).await?;

    let forbidden = stack.forbidden()?;
    ensure!(forbidden.is_empty(), "refused, a rule is missing: {forbidden:#?}");
    let granted = granted(&stack.client()?).await?;
    // Words about an eviction come after it.
    let asked = eventually("every grant is asked for; else take it out, or use it here", SOON, || async {
        let asked = asked(stack.plane()).map_err(|error| format!("{error:#}"))?;
        let vain = granted.iter().filter(|grant| !asked.iter().any(|a| grant.covers(a)));
        let vain: Vec<_> = vain.collect();
        if vain.is_empty() { Ok(asked) } else { Err(format!("never asked for: {vain:#?}")) }
    })
    .await?;
    let others: Vec<_> = asked.iter().filter(|a| !granted.iter().any(|grant| grant.covers(a))).collect();
    ensure!(others.is_empty(), "allowed by somebody else's rule only: {others:#?}");
    println!("{} grants, all used by {} kinds of requests", granted.len(), asked.len());
    Ok((granted, asked))
}

#[tokio::test]
async fn every_rule_for_the_whole_cluster_is_used_and_none_is_missing() -> Result<()> {
    let (granted, _) = compare(json!({ "eviction": { "deletePods": true } })).await?;
    let wide = granted.iter().filter(|grant| grant.namespace.is_none()).count();
    ensure!(wide >= 8, "only {wide} grants for the whole cluster");
    ensure!(granted.iter().all(|grant| grant.verb != "*" && grant.resource != "*"), "{granted:#?}");
    let deletes = granted.iter().any(|grant| grant.resource == "pods" && grant.verb == "delete");
    ensure!(deletes, "the value eviction.deletePods gives no right to delete pods");
    Ok(())
}

#[tokio::test]
async fn every_rule_for_named_namespaces_is_used_and_only_looking_reaches_further() -> Result<()> {
    let (granted, asked) =
        compare(json!({ "namespaces": [WHERE], "clusterID": "cluster-of-a-test" })).await?;
    // Nodes, namespaces and profiles are nobody's.
    let wide = granted.iter().filter(|grant| grant.namespace.is_none());
    let wide: Vec<_> = wide
        .filter(|g| {
            let looks = ["nodes", "namespaces", "eciprofiles", "eciprofiles/status"];
            // For which pods the API server asks, and the role that owns that.
            let of_webhook =
                ["mutatingwebhookconfigurations", "validatingwebhookconfigurations", "clusterroles"];
            // Where the vendor's network plugin puts pods.
            let of_vendor = ["customresourcedefinitions", "podnetworkings"];
            !looks.contains(&g.resource.as_str())
                && !of_vendor.contains(&g.resource.as_str())
                && !of_webhook.contains(&g.resource.as_str())
        })
        .collect();
    ensure!(wide.is_empty(), "beyond namespaces: {wide:#?}");
    let deletes = granted.iter().find(|grant| grant.resource == "pods" && grant.verb == "delete");
    ensure!(deletes.is_none(), "without eviction.deletePods pods may be deleted: {deletes:?}");
    let places: BTreeSet<_> = asked.iter().filter_map(|a| a.namespace.as_deref()).collect();
    ensure!(places == BTreeSet::from([NAMESPACE, WHERE]), "{places:?}");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_may_only_look_and_needs_no_more() -> Result<()> {
    let stack = start(json!({ "dryRun": true })).await?;
    let caches = Caches::new(stack.client()?, WHERE);
    give_login(&stack).await?;
    let spec =
        json!({ "images": ["private.example.com/shop/web:1"], "imagePullSecrets": [{ "name": "login" }] });
    caches.create("web", spec).await?;
    let spot = json!({ "strategy": "SpotAsPriceGo", "release": "Evict" });
    let (workload, pod) = populate(&stack, spot).await?;
    let mut vendor = Vendor::start(stack.plane(), Behaviour::QUIET).await?;
    vendor.announce(std::slice::from_ref(&pod), Notice::Both).await?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(stack.client()?, WHERE);
    budgets.delete(&workload.name, &DeleteParams::default()).await?;
    let operator = stack.operator().context("the operator runs")?;
    for words in [["dry-run: would add the finalizer", "permitted/web"], ["dry-run: would ask", &pod.name]] {
        eventually(&format!("it says what it would do: {words:?}"), SOON, || async {
            let log = fs::read_to_string(operator.log_path()).map_err(|error| error.to_string())?;
            let said = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
            if said { Ok(()) } else { Err(operator.log_tail(5)) }
        })
        .await?;
    }

    let granted = granted(&stack.client()?).await?;
    let looks = |verb: &str| ["get", "list", "watch"].contains(&verb);
    let writes: Vec<_> = granted.iter().filter(|grant| !looks(&grant.verb)).collect();
    ensure!(writes.is_empty(), "a dry run may write: {writes:#?}");
    ensure!(granted.len() >= 8, "{granted:#?}");
    ensure!(stack.forbidden()?.is_empty(), "refused, a rule is missing: {:#?}", stack.forbidden()?);
    let asked = asked(stack.plane())?;
    let others: Vec<_> = asked.iter().filter(|a| !granted.iter().any(|grant| grant.covers(a))).collect();
    ensure!(others.is_empty(), "allowed by somebody else's rule only: {others:#?}");
    // It looked at all that an eviction needs.
    for resource in ["pods", "poddisruptionbudgets", "events", "nodes", "namespaces", "eciprofiles"] {
        let watched = asked.iter().any(|asked| asked.resource == resource && asked.verb == "watch");
        ensure!(watched, "{resource} were not watched: {asked:#?}");
    }
    Ok(())
}
