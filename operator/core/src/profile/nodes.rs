//! Virtual nodes, and how a pod's own words about nodes relate to them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

use super::data_caches;

/// One kind of virtual node: a label that its nodes have and the taint that keeps other pods away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeKind {
    /// Key and value of the label.
    pub label: (String, String),
    /// Key and value of the taint, whose effect is NoSchedule.
    pub taint: (String, String),
}

/// Where the virtual nodes of a cluster are. There is always a kind: terms for nodes that name none would match every
/// node, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualNodes {
    kinds: Vec<NodeKind>,
}

/// Why labels and taints name no kinds of virtual nodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindsError {
    /// There are none.
    #[error("there is no label of virtual nodes: give one, and a taint for it")]
    None,
    /// Each kind has one of each.
    #[error("there are {taints} for {labels} --virtual-node-labels; give one for each")]
    Unequal {
        /// How many labels.
        labels: usize,
        /// How many taints.
        taints: usize,
    },
}

/// Reads key and value of a label or a taint, such as `type=virtual-kubelet`.
pub fn key_and_value(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or("use key=value, such as type=virtual-kubelet")
}

impl Default for VirtualNodes {
    /// Those of ACK and ACK Serverless, and those of VNode in clusters of one's own (vendor documentation).
    fn default() -> Self {
        let kind = |label: (&str, &str), taint: (&str, &str)| NodeKind {
            label: (label.0.to_owned(), label.1.to_owned()),
            taint: (taint.0.to_owned(), taint.1.to_owned()),
        };
        let kinds = vec![
            kind(("type", "virtual-kubelet"), ("virtual-kubelet.io/provider", "alibabacloud")),
            kind(("k8s.aliyun.com/vnode", "true"), ("k8s.aliyun.com/vnode", "true")),
        ];
        Self { kinds }
    }
}

/// What the words of a pod about nodes come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnWords {
    /// Nothing that concerns virtual nodes.
    None,
    /// It can run on regular nodes only.
    Regular,
    /// It speaks of virtual nodes in another way: it tolerates or selects them, or is bound to a node already.
    Other,
}

impl VirtualNodes {
    /// Of kinds with these labels and taints (key and value), one of each for each kind.
    pub fn of(labels: &[(String, String)], taints: &[(String, String)]) -> Result<Self, KindsError> {
        if labels.len() != taints.len() {
            return Err(KindsError::Unequal { labels: labels.len(), taints: taints.len() });
        }
        let pairs = labels.iter().zip(taints);
        let kinds: Vec<_> =
            pairs.map(|(label, taint)| NodeKind { label: label.clone(), taint: taint.clone() }).collect();
        if kinds.is_empty() { Err(KindsError::None) } else { Ok(Self { kinds }) }
    }

    /// Whether a node is one.
    pub fn has(&self, node: &Node) -> bool {
        let labels = node.metadata.labels.as_ref();
        self.has_labels(labels.unwrap_or(&BTreeMap::new()))
    }

    /// Whether a node with these labels is one.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.kinds.iter().any(|kind| labels.get(&kind.label.0) == Some(&kind.label.1))
    }

    /// What lets a pod onto them.
    pub(super) fn tolerations(&self) -> impl Iterator<Item = Toleration> {
        self.kinds.iter().map(|kind| Toleration {
            key: Some(kind.taint.0.clone()),
            operator: Some("Equal".to_owned()),
            value: Some(kind.taint.1.clone()),
            effect: Some("NoSchedule".to_owned()),
            toleration_seconds: None,
        })
    }

    /// What a pod says of them itself. A pod with data caches may have terms for virtual nodes from us, without a
    /// toleration as long as the limits of its profile do not let it go there: these are not its own words.
    pub fn own_words(&self, spec: &PodSpec) -> OwnWords {
        let named = |term: &NodeSelectorTerm| {
            term.match_expressions.iter().flatten().any(|e| self.kinds.iter().any(|k| k.label.0 == e.key))
        };
        let ours = || spec.volumes.iter().flatten().any(data_caches::is_ours);
        match self.own_words_but_terms(spec) {
            OwnWords::None if required_terms(spec).iter().any(named) && !ours() => OwnWords::Other,
            words => words,
        }
    }

    /// The same, of which terms that ask for virtual nodes are no part.
    fn own_words_but_terms(&self, spec: &PodSpec) -> OwnWords {
        let bound = spec.node_name.as_ref().is_some_and(|name| !name.is_empty());
        if bound { OwnWords::Other } else { self.unbound_words(spec) }
    }

    /// Whether a pod asks for virtual nodes or tolerates their taint, whatever node it may be bound to.
    pub(super) fn mentioned(&self, spec: &PodSpec) -> bool {
        self.requires(spec) || self.unbound_words(spec) == OwnWords::Other
    }

    fn unbound_words(&self, spec: &PodSpec) -> OwnWords {
        let terms = required_terms(spec);
        let excluded = |term: &NodeSelectorTerm| {
            self.kinds.iter().all(|kind| {
                term.match_expressions.iter().flatten().any(|e| {
                    e.key == kind.label.0
                        && match e.operator.as_str() {
                            "DoesNotExist" => true,
                            "NotIn" => e.values.iter().flatten().any(|value| *value == kind.label.1),
                            _ => false,
                        }
                })
            })
        };
        if !terms.is_empty() && terms.iter().all(excluded) {
            return OwnWords::Regular;
        }
        let selected =
            spec.node_selector.iter().flatten().any(|(key, _)| self.kinds.iter().any(|k| k.label.0 == *key));
        if selected || spec.tolerations.iter().flatten().any(|toleration| self.is_meant(toleration)) {
            OwnWords::Other
        } else {
            OwnWords::None
        }
    }

    /// Whether a pod can run on virtual nodes only, by its nodeSelector or all of its required terms.
    pub(super) fn requires(&self, spec: &PodSpec) -> bool {
        let by_selector = spec
            .node_selector
            .iter()
            .flatten()
            .any(|(key, value)| self.kinds.iter().any(|kind| kind.label == (key.clone(), value.clone())));
        // A term that asks for nothing matches no node.
        let by_term = |term: &NodeSelectorTerm| {
            is_empty(term)
                || term.match_expressions.iter().flatten().any(|e| {
                    self.kinds.iter().any(|kind| {
                        e.key == kind.label.0
                            && e.operator == "In"
                            && e.values.as_ref().is_some_and(|values| {
                                !values.is_empty() && values.iter().all(|value| *value == kind.label.1)
                            })
                    })
                })
        };
        let terms = required_terms(spec);
        by_selector || (!terms.is_empty() && terms.iter().all(by_term))
    }

    /// Whether a toleration names the taint of a kind. One of everything does not: system pods have it.
    pub(super) fn is_meant(&self, toleration: &Toleration) -> bool {
        self.kinds.iter().any(|kind| {
            let taint = Taint {
                key: kind.taint.0.clone(),
                value: Some(kind.taint.1.clone()),
                effect: "NoSchedule".to_owned(),
                time_added: None,
            };
            toleration.key.as_ref() == Some(&taint.key)
                && (toleration.operator.as_deref() == Some("Exists") || toleration.value == taint.value)
                && toleration
                    .effect
                    .as_ref()
                    .is_none_or(|effect| effect.is_empty() || *effect == taint.effect)
        })
    }

    /// The kinds.
    pub fn kinds(&self) -> &[NodeKind] {
        &self.kinds
    }

    /// Whether a pod tolerates the taint of a kind, be it as one of all taints.
    pub(super) fn tolerated(&self, spec: &PodSpec) -> bool {
        let all = |toleration: &Toleration| {
            toleration.key.as_ref().is_none_or(String::is_empty)
                && toleration.operator.as_deref() == Some("Exists")
                && toleration.effect.as_deref().is_none_or(|effect| matches!(effect, "" | "NoSchedule"))
        };
        spec.tolerations.iter().flatten().any(|toleration| all(toleration) || self.is_meant(toleration))
    }

    /// The required terms of a pod that is to run on virtual nodes only: each of its own, once for each kind.
    pub(super) fn only(&self, own: &[NodeSelectorTerm]) -> Vec<NodeSelectorTerm> {
        let (matching, rest) = split(own);
        let wanted = matching
            .iter()
            .flat_map(|term| self.kinds.iter().map(move |kind| with(term, [requirement(kind, "In")])));
        wanted.chain(rest).collect()
    }

    /// The required terms of a pod that is to run on regular nodes only: each of its own, without any kind.
    pub(super) fn never(&self, own: &[NodeSelectorTerm]) -> Vec<NodeSelectorTerm> {
        let (matching, rest) = split(own);
        let wanted =
            matching.iter().map(|term| with(term, self.kinds.iter().map(|kind| requirement(kind, "NotIn"))));
        wanted.chain(rest).collect()
    }
}

impl VirtualNodes {
    /// Terms without what [`Self::only`] and [`Self::never`] add to them.
    pub(super) fn without(&self, terms: &[NodeSelectorTerm]) -> Vec<NodeSelectorTerm> {
        let added: Vec<_> = self
            .kinds
            .iter()
            .flat_map(|kind| [requirement(kind, "In"), requirement(kind, "NotIn")])
            .collect();
        let mut left: Vec<NodeSelectorTerm> = Vec::new();
        for term in terms {
            let mut term = term.clone();
            if let Some(expressions) = &mut term.match_expressions {
                expressions.retain(|expression| !added.contains(expression));
            }
            term.match_expressions = term.match_expressions.filter(|expressions| !expressions.is_empty());
            if !left.contains(&term) {
                left.push(term);
            }
        }
        if left.iter().all(is_empty) { Vec::new() } else { left }
    }
}

/// The terms of `spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`, one of which must hold.
pub(super) fn required_terms(spec: &PodSpec) -> &[NodeSelectorTerm] {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    affinity
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref())
        .map_or(&[], |required| required.node_selector_terms.as_slice())
}

fn requirement(kind: &NodeKind, operator: &str) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: kind.label.0.clone(),
        operator: operator.to_owned(),
        values: Some(vec![kind.label.1.clone()]),
    }
}

/// The terms that can be made to ask for more, and the rest: a term that asks for nothing matches no node, and must not
/// begin to match some. No terms at all are one that matches every node.
fn split(own: &[NodeSelectorTerm]) -> (Vec<NodeSelectorTerm>, Vec<NodeSelectorTerm>) {
    if own.is_empty() {
        return (vec![NodeSelectorTerm::default()], Vec::new());
    }
    own.iter().cloned().partition(|term| !is_empty(term))
}

fn is_empty(term: &NodeSelectorTerm) -> bool {
    let lists = [&term.match_expressions, &term.match_fields];
    lists.into_iter().all(|list| list.iter().flatten().next().is_none())
}

fn with(
    term: &NodeSelectorTerm,
    more: impl IntoIterator<Item = NodeSelectorRequirement>,
) -> NodeSelectorTerm {
    let mut term = term.clone();
    term.match_expressions.get_or_insert_with(Vec::new).extend(more);
    term
}
