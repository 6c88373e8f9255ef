//! Rules about pods.

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};

use super::super::Labels;
use super::super::claims::{ClaimFacts, Claims, is_nas_driver};
use super::super::data_caches::{self, BUCKET_ANNOTATION};
use super::{Finding, RuleId, RuleSettings, findings, quote, registry, spot};

/// Most containers of an instance (vendor's page about limits).
const MAX_CONTAINERS: usize = 20;
/// Topology of single nodes.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// A pod that goes to virtual nodes or may do so.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its spec.
    pub spec: &'a PodSpec,
    /// Name of its namespace.
    pub namespace: &'a str,
    /// The annotations that it ends up with.
    pub annotations: &'a Labels,
    /// Whether the vendor's label sends it there, its own or that of its namespace.
    pub by_label: bool,
    /// What is known of claims.
    pub claims: &'a Claims,
    /// Region of the virtual nodes, if known.
    pub region: Option<&'a str>,
}

impl<'a> Facts<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Container> {
        self.spec.init_containers.iter().flatten().chain(&self.spec.containers)
    }

    fn volumes(&self) -> impl Iterator<Item = &'a Volume> {
        self.spec.volumes.iter().flatten()
    }

    /// What is known of the claim that a volume names.
    fn claim(&self, volume: &Volume) -> Option<ClaimFacts> {
        let claim = volume.persistent_volume_claim.as_ref()?;
        self.claims.get(&(self.namespace.to_owned(), claim.claim_name.clone())).copied()
    }
}

/// What a rule finds of a pod, in words.
type Find = fn(Facts<'_>) -> Option<String>;

const FINDERS: [(RuleId, Find); 13] = [
    (RuleId::HostPath, host_path),
    (RuleId::HostNetwork, host_network),
    (RuleId::HostNamespaces, host_namespaces),
    (RuleId::Privileged, privileged),
    (RuleId::ContainerCount, container_count),
    (RuleId::HostAntiAffinity, host_anti_affinity),
    (RuleId::TopologySpread, topology_spread),
    (RuleId::LabelOverrides, label_overrides),
    (RuleId::LateBinding, late_binding),
    (RuleId::NasOwnership, nas_ownership),
    (RuleId::PublicRegistry, public_registry),
    (RuleId::SpotSize, spot::size),
    (RuleId::SpotRounding, spot::rounding),
];

/// What virtual nodes cannot do of a pod, or do otherwise. Each rule finds one thing at most.
pub fn pod(of: Facts<'_>, settings: &RuleSettings) -> Vec<Finding> {
    findings(settings, FINDERS.into_iter().filter_map(|(rule, find)| Some((rule, find(of)?))))
}

fn host_path(of: Facts<'_>) -> Option<String> {
    // With a bucket, a hostPath is the path of a data cache, perhaps one of the vendor's own objects.
    if of.annotations.contains_key(BUCKET_ANNOTATION) {
        return None;
    }
    let volume = of.volumes().find(|volume| volume.host_path.is_some() && !data_caches::is_ours(volume))?;
    let path = volume.host_path.as_ref().map(|host| quote(&host.path)).unwrap_or_default();
    Some(format!(
        "volume {:?} is a hostPath ({path:?}), which virtual nodes do not have",
        quote(&volume.name)
    ))
}

fn host_network(of: Facts<'_>) -> Option<String> {
    if of.spec.host_network == Some(true) {
        return Some("hostNetwork is true, and virtual nodes have no network of a host".to_owned());
    }
    let (container, port) = of.containers().find_map(|container| {
        let port = container.ports.iter().flatten().find_map(|port| port.host_port.filter(|port| *port != 0));
        Some((container, port?))
    })?;
    let name = quote(&container.name);
    Some(format!("container {name:?} has the hostPort {port}, and virtual nodes have no ports of a host"))
}

fn host_namespaces(of: Facts<'_>) -> Option<String> {
    let set = [("hostPID", of.spec.host_pid), ("hostIPC", of.spec.host_ipc)];
    let (name, _) = set.into_iter().find(|(_, value)| *value == Some(true))?;
    Some(format!("{name} is true, and virtual nodes have no processes of a host"))
}

fn privileged(of: Facts<'_>) -> Option<String> {
    let is = |container: &&Container| {
        container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true))
    };
    let container = of.containers().find(is)?;
    Some(format!("container {:?} is privileged, which virtual nodes refuse", quote(&container.name)))
}

fn container_count(of: Facts<'_>) -> Option<String> {
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = of.spec.init_containers.iter().flatten().filter(sidecar).count();
    let count = of.spec.containers.len() + sidecars;
    (count > MAX_CONTAINERS)
        .then(|| format!("the pod has {count} containers, and an instance runs at most {MAX_CONTAINERS}"))
}

fn host_anti_affinity(of: Facts<'_>) -> Option<String> {
    let affinity = of.spec.affinity.as_ref()?.pod_anti_affinity.as_ref()?;
    let terms = affinity.required_during_scheduling_ignored_during_execution.iter().flatten();
    terms.into_iter().find(|term| term.topology_key == HOSTNAME)?;
    Some(format!(
        "podAntiAffinity by {HOSTNAME} is required, and a virtual node is one host: it gets one such pod only"
    ))
}

fn topology_spread(of: Facts<'_>) -> Option<String> {
    let constraints = of.spec.topology_spread_constraints.iter().flatten();
    let strict = |constraint: &&_| {
        let constraint: &k8s_openapi::api::core::v1::TopologySpreadConstraint = constraint;
        constraint.topology_key == HOSTNAME && constraint.when_unsatisfiable == "DoNotSchedule"
    };
    constraints.into_iter().find(strict)?;
    Some(format!(
        "a topologySpreadConstraint by {HOSTNAME} must hold, and a virtual node is one host, however many pods it runs"
    ))
}

fn label_overrides(of: Facts<'_>) -> Option<String> {
    let spec = of.spec;
    let affinity = spec.affinity.as_ref().is_some_and(|affinity| affinity.node_affinity.is_some());
    let said = [
        ("nodeSelector", spec.node_selector.as_ref().is_some_and(|selector| !selector.is_empty())),
        ("node affinity", affinity),
        (
            "topologySpreadConstraints",
            spec.topology_spread_constraints.as_ref().is_some_and(|c| !c.is_empty()),
        ),
    ];
    let (what, _) = said.into_iter().find(|(_, present)| of.by_label && *present)?;
    Some(format!(
        "the label alibabacloud.com/eci sends the pod to a virtual node, and its {what} does not count"
    ))
}

fn late_binding(of: Facts<'_>) -> Option<String> {
    let bound = of.spec.node_name.as_ref().is_some_and(|name| !name.is_empty());
    let past = match (of.by_label, bound) {
        (true, _) => "the label alibabacloud.com/eci",
        (false, true) => "spec.nodeName",
        (false, false) => return None,
    };
    let claimed = |volume: &Volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some();
    let late = |volume: &Volume| of.claim(volume).and_then(|claim| claim.late);
    let volume = of.volumes().find(|volume| claimed(volume) && late(volume) != Some(false))?;
    let when = match late(volume) {
        Some(_) => "for its StorageClass waits for the first consumer",
        None => "if its StorageClass waits for the first consumer",
    };
    Some(format!(
        "{past} sends the pod past the scheduler, and volume {:?} never comes {when}",
        quote(&volume.name)
    ))
}

fn nas_ownership(of: Facts<'_>) -> Option<String> {
    let context = of.spec.security_context.as_ref()?;
    context.fs_group?;
    if context.fs_group_change_policy.as_deref() == Some("OnRootMismatch") {
        return None;
    }
    let is_nas = |volume: &&Volume| {
        volume.nfs.is_some()
            || volume.csi.as_ref().is_some_and(|csi| is_nas_driver(&csi.driver))
            || volume.flex_volume.as_ref().is_some_and(|flex| is_nas_driver(&flex.driver))
            || of.claim(volume).is_some_and(|claim| claim.nas)
    };
    let volume = of.volumes().find(is_nas)?;
    Some(format!(
        "fsGroup changes the ownership of every file of volume {:?} before the pod starts, and with many files the mount times out",
        quote(&volume.name)
    ))
}

fn public_registry(of: Facts<'_>) -> Option<String> {
    let images = of.containers().filter_map(|container| container.image.as_deref());
    let (public, vpc) = images.into_iter().find_map(|image| registry::in_vpc(image, of.region))?;
    Some(format!("{public} is the public host of the registry, whose host in the VPC is {vpc}"))
}
