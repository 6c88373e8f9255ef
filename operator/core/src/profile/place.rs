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

impl Place<'_> {
    pub(super) fn choose(&self) -> Choice {
        let vendors = |labels: Option<&Labels>| {
            labels.and_then(|labels| labels.get(VENDOR_LABEL)).is_some_and(|value| value == "true")
        };
        let sent = vendors(self.pod.metadata.labels.as_ref()) || vendors(Some(self.namespace.labels));
        let bound = self.spec.node_name.as_ref().is_some_and(|name| !name.is_empty());
        let own = self.own_words();
        if sent || own == OwnWords::Other || self.asks() && own == OwnWords::None {
            let winner = Some(Winner::Pod);
            return Choice { winner, may_be_virtual: true, out_of_hands: sent || bound, ..Choice::default() };
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
        Choice { winner: Some(Winner::Profile(profile.clone())), ..self.of_profile(&profile, placement) }
    }

    /// Whether the pod asks for data caches, and by this for virtual nodes.
    fn asks(&self) -> bool {
        self.moment == Moment::Creation && data_caches::asked(self.pod).is_some()
    }

    /// What the pod itself says. A pod with data caches may have terms for virtual nodes from us, without a toleration
    /// as long as its profile's limits do not let it go there: they are not its own words.
    fn own_words(&self) -> OwnWords {
        if self.spec.volumes.iter().flatten().any(data_caches::is_ours) {
            self.nodes.own_words_but_terms(self.spec)
        } else {
            self.nodes.own_words(self.spec)
        }
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
