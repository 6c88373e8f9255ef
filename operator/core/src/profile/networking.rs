//! PodNetworkings of the vendor's network plugin, which say in which vSwitches pods get their addresses.
//!
//! A pod's own annotation wins over them, and they over profiles (vendor's documentation). Which of them counts for a
//! pod is as in the plugin's source: those that are Ready, both selectors hold of those that are set, and at least one
//! is set; one with fixed addresses is for pods of StatefulSets only.

use std::collections::BTreeSet;

use eci_api::eci_profile::{LabelExpression, LabelOperator, LabelSelection, LabelValue};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Labels, selection};

/// API group of PodNetworkings.
pub const GROUP: &str = "network.alibabacloud.com";
/// Its version.
pub const VERSION: &str = "v1beta1";
/// Their kind.
pub const KIND: &str = "PodNetworking";
/// Their plural.
pub const PLURAL: &str = "podnetworkings";

/// A PodNetworking (`network.alibabacloud.com/v1beta1`), as far as virtual nodes are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodNetworking {
    /// Its name.
    pub name: String,
    /// Whether `status.status` is Ready.
    pub ready: bool,
    /// Whether `spec.allocationType.type` is Fixed.
    pub fixed: bool,
    /// `spec.selector.podSelector`.
    pub pods: Option<LabelSelection>,
    /// `spec.selector.namespaceSelector`.
    pub namespaces: Option<LabelSelection>,
    /// Whether it has vSwitches or security groups.
    pub says_where: bool,
}

impl PodNetworking {
    /// Of an object as the API server has it; `None` for one whose selectors cannot be read, which counts for nothing.
    pub fn read(name: &str, object: &Value) -> Option<Self> {
        let selector = |key: &str| match object.pointer("/spec/selector").and_then(|all| all.get(key)) {
            None | Some(Value::Null) => Some(None),
            Some(selector) => selection_of(&LabelSelector::deserialize(selector).ok()?).map(Some),
        };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        // Earlier versions of the plugin have vSwitchIDs, later ones vSwitchOptions.
        let lists = ["vSwitchOptions", "vSwitchIDs", "securityGroupIDs"];
        let has = |list: &&str| {
            let list = object.pointer("/spec").and_then(|spec| spec.get(*list)).and_then(Value::as_array);
            list.is_some_and(|list| !list.is_empty())
        };
        Some(Self {
            name: name.to_owned(),
            ready: text("/status/status") == Some("Ready"),
            fixed: text("/spec/allocationType/type") == Some("Fixed"),
            pods: selector("podSelector")?,
            namespaces: selector("namespaceSelector")?,
            says_where: lists.iter().any(has),
        })
    }
}

/// A selector of Kubernetes as one of ours; `None` for an operator that Kubernetes does not have.
pub fn selection_of(selector: &LabelSelector) -> Option<LabelSelection> {
    let value = |text: &String| LabelValue(text.clone());
    let labels = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let operator = match expression.operator.as_str() {
            "In" => LabelOperator::In,
            "NotIn" => LabelOperator::NotIn,
            "Exists" => LabelOperator::Exists,
            "DoesNotExist" => LabelOperator::DoesNotExist,
            _ => return None,
        };
        let values = expression.values.iter().flatten().map(value).collect();
        Some(LabelExpression { key: expression.key.clone(), operator, values })
    });
    Some(LabelSelection {
        match_labels: labels.map(|(key, text)| (key.clone(), value(text))).collect(),
        match_expressions: expressions.collect::<Option<_>>()?,
    })
}

/// The first that says where a pod gets its address, in the order of their names.
pub(super) fn of_pod<'a>(
    all: &'a [PodNetworking],
    pod: &Pod,
    namespace: &Labels,
) -> Option<&'a PodNetworking> {
    let none = Labels::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    let stateful = || {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.kind == "StatefulSet")
    };
    let holds = |selector: &Option<LabelSelection>, labels: &Labels| {
        let holds = |s: &LabelSelection| selection::first_failed(s, labels, &BTreeSet::new()).is_none();
        selector.as_ref().is_none_or(holds)
    };
    let matching = all.iter().filter(|networking| {
        networking.ready
            && networking.says_where
            && (networking.pods.is_some() || networking.namespaces.is_some())
            && holds(&networking.pods, labels)
            && holds(&networking.namespaces, namespace)
            && (!networking.fixed || stateful())
    });
    matching.min_by(|a, b| a.name.cmp(&b.name))
}
