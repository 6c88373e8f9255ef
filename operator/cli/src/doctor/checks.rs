//! The checks: facts in, findings out.

use std::collections::BTreeMap;

use eci_core::eviction::{Owner, Selector, workload_of};
use eci_core::profile::decide::{Moment, Namespace, VENDOR_LABEL, World, decide};
use eci_core::profile::rules::{self, RULES, Rule, RuleId, RuleSettings};
use eci_core::profile::{Labels, Profiles};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::findings::{Finding, Severity, path};
use crate::manifest::cut;

pub(super) const INSECURE: &str = "insecure-registry";
pub(super) const METRICS: &str = "metrics-server";
pub(super) const PROVIDER_ID: &str = "provider-id";
pub(super) const VENDOR: &str = "vendor-beside";
pub(super) const BUDGETS: &str = "budget-never-allows";

/// The vendor's CRDs that are about the same things as ours.
const VENDORS_KINDS: [&str; 3] =
    ["datacaches.eci.aliyun.com", "imagecaches.eci.alibabacloud.com", "selectors.eci.aliyun.com"];
/// How the names of the vendor's webhooks end.
const VENDORS_WEBHOOKS: [&str; 2] = ["aliyun.com", "alibabacloud.com"];
/// The configuration of the vendor's virtual node component.
const VENDORS_CONFIGURATION: &str = "vk-webhook";

/// What there is to judge by.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) profiles: Profiles,
    pub(super) world: World,
    /// Labels of the namespaces, by name.
    pub(super) namespaces: BTreeMap<String, Labels>,
    pub(super) nodes: Vec<Node>,
    pub(super) pods: Vec<Pod>,
}

impl Facts {
    fn on_virtual(&self, pod: &Pod) -> bool {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        self.virtual_nodes()
            .any(|virtual_node| virtual_node.metadata.name.as_deref() == node && node.is_some())
    }

    fn virtual_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| self.world.nodes.has(node))
    }

    fn namespace<'a>(&'a self, name: &'a str) -> Namespace<'a> {
        static NONE: Labels = Labels::new();
        Namespace { name, labels: self.namespaces.get(name).unwrap_or(&NONE) }
    }
}

/// The rule of that ID, and what it finds of objects.
fn finding(id: RuleId, object: String, what: &str) -> Option<Finding> {
    let rule = RULES.iter().find(|rule| rule.id == id)?;
    // What fails at once, against what works in another way than one would think.
    let severity = match id {
        RuleId::HostPath
        | RuleId::HostNetwork
        | RuleId::HostNamespaces
        | RuleId::Privileged
        | RuleId::ContainerCount
        | RuleId::DaemonSetOnVirtualNodes
        | RuleId::NodePort => Severity::Error,
        _ => Severity::Warning,
    };
    let remedy = format!("{}: {}", rule.why, rule.instead);
    Some(Finding { check: rule.name, severity, object, what: what.to_owned(), remedy })
}

/// What virtual nodes cannot do of the pods that run on them or may do so, told once for each workload.
pub(super) fn pods(facts: &Facts) -> Vec<(&'static Rule, Vec<Finding>)> {
    let settings = RuleSettings::default();
    let mut found: BTreeMap<(RuleId, String), (String, usize)> = BTreeMap::new();
    for pod in &facts.pods {
        let finished = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(finished, Some("Succeeded" | "Failed")) {
            continue;
        }
        let on_virtual = facts.on_virtual(pod);
        let mut before = pod.clone();
        if let Some(spec) = before.spec.as_mut() {
            // The scheduler's answer, not the pod's wish.
            spec.node_name = None;
        }
        let namespace = facts.namespace(pod.metadata.namespace.as_deref().unwrap_or_default());
        let findings = match before.spec.as_ref().filter(|_| on_virtual) {
            Some(spec) => {
                static NONE: Labels = Labels::new();
                let annotations = before.metadata.annotations.as_ref().unwrap_or(&NONE);
                let labels = before.metadata.labels.as_ref().unwrap_or(&NONE);
                let sends = |labels: &Labels| labels.get(VENDOR_LABEL).is_some_and(|value| value == "true");
                let by_label = sends(labels) || sends(namespace.labels);
                let region = facts.world.region.as_deref();
                let (namespace, claims) = (namespace.name, &facts.world.claims);
                let of = rules::Facts { spec, namespace, annotations, by_label, claims, region };
                rules::pod(of, &settings)
            }
            None => decide(&facts.profiles, &facts.world, namespace, &before, Moment::Creation).rules,
        };
        for finding in findings {
            let entry = found.entry((finding.rule, workload(pod))).or_insert((finding.what, 0));
            entry.1 += 1;
        }
    }
    let of = |rule: &'static Rule| {
        let mine = found.iter().filter(|((id, _), _)| *id == rule.id);
        let mine = mine.filter_map(|((id, workload), (what, pods))| {
            let object = if *pods == 1 { workload.clone() } else { format!("{workload} ({pods} pods)") };
            finding(*id, object, what)
        });
        (rule, mine.collect())
    };
    RULES.iter().filter(|rule| rule.kind == "Pod").map(of).collect()
}

/// The workload that people know.
fn workload(pod: &Pod) -> String {
    let meta = &pod.metadata;
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let owner =
        owner.map(|owner| Owner { kind: owner.kind.as_str().into(), name: owner.name.as_str().into() });
    let labels = meta.labels.clone().unwrap_or_default();
    let namespace = meta.namespace.as_deref();
    match workload_of(owner.as_ref(), &labels) {
        Some(owner) => path(&owner.kind, namespace, Some(&owner.name)),
        None => path("Pod", namespace, meta.name.as_deref()),
    }
}

/// Pods of DaemonSets that would stay Pending.
pub(super) fn daemon_sets(sets: &[DaemonSet], facts: &Facts) -> Vec<Finding> {
    let found = sets.iter().flat_map(|set| {
        let found = rules::daemon_set(set, &facts.world.nodes, &RuleSettings::default());
        let object = path("DaemonSet", set.metadata.namespace.as_deref(), set.metadata.name.as_deref());
        found.into_iter().filter_map(move |found| finding(found.rule, object.clone(), &found.what))
    });
    found.collect()
}

/// Ports of nodes before pods on virtual nodes.
pub(super) fn services(services: &[Service], facts: &Facts) -> Vec<Finding> {
    let found = services.iter().filter_map(|service| {
        let meta = &service.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let object = path("Service", Some(namespace), meta.name.as_deref());
        let by_rule =
            rules::service(service, facts.namespace(namespace), &facts.profiles, &RuleSettings::default());
        if let Some(found) = by_rule.first() {
            return finding(found.rule, object, &found.what);
        }
        let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("NodePort"))?;
        let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
        let selects = |pod: &&Pod| {
            let labels = pod.metadata.labels.as_ref();
            let has =
                |(key, value): (&String, &String)| labels.is_some_and(|all| all.get(key) == Some(value));
            pod.metadata.namespace.as_deref() == Some(namespace) && selector.iter().all(has)
        };
        let count = facts.pods.iter().filter(selects).filter(|pod| facts.on_virtual(pod)).count();
        let what = format!("the Service has the type NodePort, and {count} of its pods run on virtual nodes");
        if count > 0 { finding(RuleId::NodePort, object, &what) } else { None }
    });
    found.collect()
}

/// Images that a virtual node cannot pull, because it does not trust the registry.
pub(super) fn registries(facts: &Facts) -> Vec<Finding> {
    let mut found = BTreeMap::new();
    for pod in facts.pods.iter().filter(|pod| facts.on_virtual(pod)) {
        let Some(status) = &pod.status else { continue };
        let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        for container in all {
            let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) else {
                continue;
            };
            let message = waiting.message.as_deref().unwrap_or_default();
            let what =
                if message.contains("x509:") || message.contains("certificate signed by unknown authority") {
                    "its certificate is not trusted"
                } else if message.contains("server gave HTTP response to HTTPS client") {
                    "it speaks plain HTTP"
                } else {
                    continue;
                };
            let image = cut(&container.image);
            found.entry((workload(pod), image)).or_insert(what);
        }
    }
    let findings = found.into_iter().map(|((object, image), what)| Finding {
        check: INSECURE,
        severity: Severity::Error,
        object,
        what: format!("image {image} cannot be pulled from its registry: {what}"),
        remedy: "name the registry in spec.registries of an EciProfile (insecureSkipTLSVerify or plainHTTP), or in the annotation k8s.aliyun.com/insecure-registry or k8s.aliyun.com/plain-http-registry of the pods".to_owned(),
    });
    findings.collect()
}

/// metrics-server from 0.6 asks for /metrics/resource, and virtual nodes have only /stats/summary (vendor's FAQ).
pub(super) fn metrics(deployments: &[Deployment], facts: &Facts) -> Vec<Finding> {
    if facts.virtual_nodes().next().is_none() {
        return Vec::new();
    }
    let found = deployments.iter().filter_map(|deployment| {
        let meta = &deployment.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let labels = deployment.spec.as_ref()?.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        let is = |key: &str| labels.and_then(|all| all.get(key)).is_some_and(|value| value == "metrics-server");
        if name != "metrics-server" && !is("k8s-app") && !is("app.kubernetes.io/name") {
            return None;
        }
        let containers = &deployment.spec.as_ref()?.template.spec.as_ref()?.containers;
        let image = containers.iter().filter_map(|container| container.image.as_deref());
        let image = image.into_iter().find(|image| version(image).is_some_and(|version| version >= (0, 6)))?;
        Some(Finding {
            check: METRICS,
            severity: Severity::Warning,
            object: path("Deployment", meta.namespace.as_deref(), Some(name)),
            what: format!("runs {}, which reads an endpoint that virtual nodes do not have", cut(image)),
            remedy: "pods on virtual nodes have no metrics (kubectl top, HorizontalPodAutoscaler): use metrics-server 0.5, or the vendor's".to_owned(),
        })
    });
    found.collect()
}

/// Major and minor version by the tag of an image.
fn version(image: &str) -> Option<(u32, u32)> {
    let image = image.split('@').next().unwrap_or_default();
    let (_, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    let mut numbers = tag.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Nodes whose routes the vendor's cloud controller manager cannot find.
pub(super) fn provider_ids(facts: &Facts) -> Vec<Finding> {
    let runs = facts.pods.iter().any(|pod| {
        pod.metadata.namespace.as_deref() == Some("kube-system")
            && pod.metadata.name.as_deref().is_some_and(|name| name.starts_with("cloud-controller-manager"))
    });
    if !runs {
        return Vec::new();
    }
    let regular = facts.nodes.iter().filter(|node| !facts.world.nodes.has(node));
    let found = regular.filter_map(|node| {
        let id = node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref()).unwrap_or_default();
        if is_provider_id(id) {
            return None;
        }
        let what = if id.is_empty() { "has no spec.providerID".to_owned() } else { format!("has spec.providerID {:?}", cut(id)) };
        Some(Finding {
            check: PROVIDER_ID,
            severity: Severity::Warning,
            object: path("Node", None, node.metadata.name.as_deref()),
            what,
            remedy: "the cloud controller manager knows nodes by <region>.<ID of the ECS instance>, such as cn-shanghai.i-example, and makes no routes for others: pods on virtual nodes cannot reach pods there. It cannot be changed: set it when the node registers (kubelet --provider-id)".to_owned(),
        })
    });
    found.collect()
}

/// `<region>.<ID of the ECS instance>`, with or without the scheme that newer versions write.
fn is_provider_id(text: &str) -> bool {
    let text = text.strip_prefix("alicloud://").unwrap_or(text);
    text.split_once('.').is_some_and(|(region, id)| {
        region.contains('-') && id.strip_prefix("i-").is_some_and(|rest| !rest.is_empty())
    })
}

/// Names of the vendor's CRDs and webhook configurations that are there.
pub(super) fn vendors(kinds: &[String], configurations: &[(String, Vec<String>)]) -> Vec<Finding> {
    let kinds = kinds.iter().filter(|name| VENDORS_KINDS.contains(&name.as_str())).map(|name| Finding {
        check: VENDOR,
        severity: Severity::Warning,
        object: path("CustomResourceDefinition", None, Some(name)),
        what: "the vendor has kinds of the same purpose in this cluster".to_owned(),
        remedy: "kubectl eci migrate shows what becomes of its objects; write the whole group with kubectl (imagecaches.eci-operator.io), for short names may mean either".to_owned(),
    });
    let theirs = configurations.iter().filter(|(name, entries)| {
        let entry = |entry: &String| VENDORS_WEBHOOKS.iter().any(|end| entry.ends_with(end));
        name == VENDORS_CONFIGURATION || entries.iter().any(entry)
    });
    let webhooks = theirs.map(|(name, _)| Finding {
        check: VENDOR,
        severity: Severity::Warning,
        object: path("MutatingWebhookConfiguration", None, Some(name)),
        what: "the vendor changes pods beside us".to_owned(),
        remedy: "give each pod one master: kubectl eci migrate, then take the selectors out of the vendor's configuration; the label alibabacloud.com/eci=true still sends pods past the scheduler".to_owned(),
    });
    kinds.chain(webhooks).collect()
}

/// Budgets of pods on virtual nodes that allow no eviction, however healthy the pods are.
pub(super) fn budgets(budgets: &[PodDisruptionBudget], facts: &Facts) -> Vec<Finding> {
    let found = budgets.iter().filter_map(|budget| {
        let meta = &budget.metadata;
        let selector = Selector::of(budget.spec.as_ref()?.selector.as_ref());
        let none = BTreeMap::new();
        let selects = |pod: &&Pod| {
            pod.metadata.namespace == meta.namespace && selector.matches(pod.metadata.labels.as_ref().unwrap_or(&none))
        };
        let on_virtual = facts.pods.iter().filter(selects).filter(|pod| facts.on_virtual(pod)).count();
        let status = budget.status.as_ref()?;
        let never = status.expected_pods > 0 && status.desired_healthy >= status.expected_pods;
        (on_virtual > 0 && never).then(|| Finding {
            check: BUDGETS,
            severity: Severity::Warning,
            object: path("PodDisruptionBudget", meta.namespace.as_deref(), meta.name.as_deref()),
            what: format!("wants {} of {} pods healthy, and {on_virtual} of them run on virtual nodes", status.desired_healthy, status.expected_pods),
            remedy: "no eviction is ever allowed, so that spot pods are lost with their instances, and nodes cannot be drained: use maxUnavailable: 1 with two replicas or more".to_owned(),
        })
    });
    found.collect()
}
