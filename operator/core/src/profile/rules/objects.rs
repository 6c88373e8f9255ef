//! Rules about Services and DaemonSets.

use eci_api::eci_profile::PlacementPolicy;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{PodSpec, Service};

use super::super::decide::{Namespace, VENDOR_LABEL};
use super::super::nodes::{OwnWords, VirtualNodes};
use super::super::{Labels, Profiles, Subject};
use super::{Finding, RuleId, RuleSettings, findings, quote};

/// What virtual nodes cannot do of a Service, if its pods may run there by a profile or by the vendor's label. A label
/// that the Service does not select by may have any value.
pub fn service(
    service: &Service,
    namespace: Namespace<'_>,
    profiles: &Profiles,
    settings: &RuleSettings,
) -> Vec<Finding> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else {
        return Vec::new();
    };
    if spec.type_.as_deref() != Some("NodePort") {
        return Vec::new();
    }
    let who = by_label(namespace.labels)
        .or_else(|| by_label(selector))
        .or_else(|| by_profile(selector, namespace, profiles));
    let what = |who| {
        format!(
            "the Service has the type NodePort, and pods that it selects may run on virtual nodes by {who}"
        )
    };
    findings(settings, who.map(|who| (RuleId::NodePort, what(who))))
}

fn by_label(labels: &Labels) -> Option<String> {
    let sends = labels.get(VENDOR_LABEL).is_some_and(|value| value == "true");
    sends.then(|| format!("the label {VENDOR_LABEL}"))
}

fn by_profile(selector: &Labels, namespace: Namespace<'_>, profiles: &Profiles) -> Option<String> {
    let subject = Subject { namespace: namespace.name, namespace_labels: namespace.labels, labels: selector };
    let found = profiles.may_match(subject).find(|profile| {
        let regular = PlacementPolicy::RegularNodesOnly;
        profile.spec.placement.as_ref().is_some_and(|placement| placement.policy != regular)
            || !profile.spec.data_caches.is_empty()
    });
    found.map(|profile| format!("profile {}", profile.name))
}

/// What virtual nodes cannot do of a DaemonSet.
pub fn daemon_set(set: &DaemonSet, nodes: &VirtualNodes, settings: &RuleSettings) -> Vec<Finding> {
    let Some(spec) = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else {
        return Vec::new();
    };
    if !nodes.tolerated(spec) || excluded(spec, nodes) {
        return Vec::new();
    }
    let snippet: Vec<_> = nodes
        .kinds()
        .iter()
        .map(|kind| format!("{} NotIn [{}]", quote(&kind.label.0), quote(&kind.label.1)))
        .collect();
    let what = format!(
        "its pods tolerate the taint of virtual nodes, and no node affinity excludes these ({})",
        snippet.join(" and ")
    );
    findings(settings, [(RuleId::DaemonSetOnVirtualNodes, what)])
}

/// Whether no virtual node has the labels that the pods want.
fn excluded(spec: &PodSpec, nodes: &VirtualNodes) -> bool {
    let wants = |key: &str| spec.node_selector.iter().flatten().find(|(k, _)| *k == key).map(|(_, v)| v);
    let by_selector =
        nodes.kinds().iter().all(|kind| wants(&kind.label.0).is_some_and(|value| *value != kind.label.1));
    by_selector || nodes.own_words(spec) == OwnWords::Regular
}
