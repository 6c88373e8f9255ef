//! On which nodes a pod may run.

use eci_api::eci_profile::{Placement, PlacementPolicy};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::decide::{Moment, Namespace, VENDOR_LABEL};
use super::decision::{Change, Winner};
use super::nodes::{OwnWords, VirtualNodes, required_terms};
use super::{Labels, Profile, data_caches};

/// What is known when the placement is chosen.
pub(super) struct Place<'a> {
    pub nodes: &'a VirtualNodes,
    pub namespace: Namespace<'a>,
    pub pod: &'a Pod,
    pub spec: &'a PodSpec,
    pub moment: Moment,
    pub applied: &'a [&'a Profile],
}

/// What is chosen.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Who chose; `None` when nobody says anything.
    pub winner: Option<Winner>,
    /// Whether it may run on virtual nodes now, as far as anybody knows.
    pub may_be_virtual: bool,
    /// Whether it may go there only later.
    pub deferred: bool,
    /// What keeps it on regular nodes, at least at first, so that it can mount no data caches.
    pub kept_away: Option<String>,
    /// Whether it must run on virtual nodes, for it mounts data caches. Set afterwards.
    pub needs_virtual: bool,
    /// Whether somebody sends it to virtual nodes, now or later, or lets it go there.
    pub goes: bool,
    /// Whether the vendor's label sends it to virtual nodes.
    pub by_label: bool,
    /// Whether somebody else brings it to its node: it is bound already, or the vendor's component takes it.
    pub out_of_hands: bool,
    tolerations: bool,
    only: bool,
    never: bool,
}

impl Choice {
    /// What changes of the pod.
    pub(super) fn changes(&self, nodes: &VirtualNodes, spec: &PodSpec) -> Vec<Change> {
        let mut changes = Vec::new();
        let needed = self.needs_virtual && !self.out_of_hands;
        let tolerates = || spec.tolerations.iter().flatten().any(|toleration| nodes.is_meant(toleration));
        // Limits are granted later: the pod waits for its toleration, with its volumes and its terms.
        if self.tolerations || (needed && !self.deferred && !tolerates()) {
            changes.extend(nodes.tolerations().map(Change::Toleration));
        }
        if self.only || (needed && !nodes.requires(spec)) {
            changes.push(Change::NodeTerms(nodes.only(required_terms(spec))));
        } else if self.never {
            changes.push(Change::NodeTerms(nodes.never(required_terms(spec))));
        }
        changes
    }
}

/// Whether the vendor's label of a pod or its namespace sends it to virtual nodes.
pub(super) fn by_label(pod: &Pod, namespace: Namespace<'_>) -> bool {
    let sends = |labels: &Labels| labels.get(VENDOR_LABEL).is_some_and(|value| value == "true");
    pod.metadata.labels.as_ref().is_some_and(sends) || sends(namespace.labels)
}

impl Place<'_> {
    pub(super) fn choose(&self) -> Choice {
        let sent = by_label(self.pod, self.namespace);
        let bound = self.spec.node_name.as_ref().is_some_and(|name| !name.is_empty());
        let own = self.nodes.own_words(self.spec);
        if sent || own == OwnWords::Other || self.asks() && own == OwnWords::None {
            // Bound pods may be bound to any node: kubelets show their static pods so.
            let goes = sent || !bound || self.nodes.mentioned(self.spec);
            return Choice {
                winner: Some(Winner::Pod),
                may_be_virtual: true,
                goes,
                by_label: sent,
                out_of_hands: sent || bound,
                ..Choice::default()
            };
        }
        if own == OwnWords::Regular {
            let kept_away = Some("the pod's own node affinity".to_owned());
            return Choice { winner: Some(Winner::Pod), kept_away, ..Choice::default() };
        }
        let first = self.applied.iter().find_map(|p| Some((p.name.clone(), p.spec.placement.as_ref()?)));
        let Some((profile, placement)) = first else {
            // Nobody sends it there: what is said for virtual nodes can do no harm on others.
            return Choice { may_be_virtual: true, ..Choice::default() };
        };
        let choice = self.of_profile(&profile, placement);
        let goes = choice.may_be_virtual || choice.deferred;
        Choice { winner: Some(Winner::Profile(profile)), goes, ..choice }
    }

    /// Whether the pod asks for data caches, and by this for virtual nodes.
    fn asks(&self) -> bool {
        self.moment == Moment::Creation && data_caches::asked(self.pod).is_some()
    }

    fn of_profile(&self, profile: &str, placement: &Placement) -> Choice {
        let spill = self.moment == Moment::Spill;
        let prefers = placement.policy == PlacementPolicy::PreferRegularNodes;
        let kept_away = |policy: &str| Some(format!("spec.placement.policy {policy} of profile {profile}"));
        match placement.policy {
            // A pod that waits for a node can get no terms for nodes: where it may go was settled when it was created.
            PlacementPolicy::VirtualNodesOnly | PlacementPolicy::RegularNodesOnly if spill => {
                Choice::default()
            }
            _ if !spill && (prefers || placement.limits.is_some()) => {
                let kept_away = prefers.then(|| kept_away("PreferRegularNodes")).flatten();
                Choice { deferred: true, kept_away, ..Choice::default() }
            }
            PlacementPolicy::Fair | PlacementPolicy::PreferRegularNodes => {
                Choice { may_be_virtual: true, tolerations: true, ..Choice::default() }
            }
            PlacementPolicy::VirtualNodesOnly => {
                let only = !self.nodes.requires(self.spec);
                Choice { may_be_virtual: true, tolerations: true, only, ..Choice::default() }
            }
            PlacementPolicy::RegularNodesOnly => {
                Choice { never: true, kept_away: kept_away("RegularNodesOnly"), ..Choice::default() }
            }
        }
    }
}
