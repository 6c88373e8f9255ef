//! The cluster as the watches show it, in every process: a standby that begins to lead needs no list.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use eci_api::eci_profile::{EciProfile, SpotDeadline};
use eci_core::eviction::notice::SpotEvent;
use eci_core::eviction::{Budget, BudgetRef, Event, Labels, OnDeadline, Pod, PodRef};
use eci_core::profile::{Profile, Profiles, Subject};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::{Resource, ResourceExt as _};

use super::convert::Converter;
use super::lean::LeanPod;
use super::watch::{Change, Sight, Watched};

/// Most events of the vendor that are kept for the day that this process begins to lead. The condition of the pod says
/// the same and lasts.
const EVENT_LIMIT: usize = 4_096;

/// The label of nodes with their zone (Kubernetes).
const ZONE: &str = "topology.kubernetes.io/zone";

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// A pod with what decisions do not need.
#[derive(Debug)]
struct Known {
    pod: Pod,
    node: Option<Arc<str>>,
    selected: Arc<Selected>,
    source: usize,
    /// The list in which it was last seen.
    list: u64,
}

/// A budget likewise.
#[derive(Debug)]
struct KnownBudget {
    budget: Budget,
    source: usize,
    list: u64,
}

/// What profiles say of the pods of one namespace with the same labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selected {
    /// The one whose settings of spot instances count.
    pub(super) spot: Option<(Arc<str>, OnDeadline)>,
}

/// How far a watch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// A list is under way.
    listing: bool,
    /// A list has ended once.
    listed: bool,
    /// It failed since it last showed something.
    failing: bool,
    /// Lists begun.
    list: u64,
}

/// The cluster, as far as it is watched.
#[derive(Debug)]
pub(super) struct View {
    converter: Converter,
    pods: BTreeMap<Key, Known>,
    budgets: BTreeMap<BudgetRef, KnownBudget>,
    events: VecDeque<SpotEvent>,
    virtual_labels: Vec<(String, String)>,
    /// In which list each was last seen, and its zone.
    virtual_nodes: BTreeMap<Arc<str>, (u64, Option<Arc<str>>)>,
    namespaces: BTreeMap<Arc<str>, (Labels, u64)>,
    profiles: BTreeMap<Arc<str>, (EciProfile, u64)>,
    ordered: Profiles,
    own_namespace: String,
    selected: BTreeMap<(Arc<str>, Labels), Arc<Selected>>,
    progress: BTreeMap<(Watched, usize), Progress>,
    sources: usize,
    /// Pods are to be judged anew: profiles, namespaces or nodes changed.
    stale: bool,
}

impl View {
    /// Of nothing yet. `virtual_labels` are the labels of which each marks a virtual node; `sources` is the number of
    /// watches for each kind that lives in namespaces.
    pub(super) fn new(virtual_labels: Vec<(String, String)>, own_namespace: &str, sources: usize) -> Self {
        Self {
            converter: Converter::default(),
            pods: BTreeMap::new(),
            budgets: BTreeMap::new(),
            events: VecDeque::new(),
            virtual_labels,
            virtual_nodes: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            profiles: BTreeMap::new(),
            ordered: Profiles::default(),
            own_namespace: own_namespace.to_owned(),
            selected: BTreeMap::new(),
            progress: BTreeMap::new(),
            sources,
            stale: false,
        }
    }

    /// Takes in what a watch says, and tells what it means to the engine. Call [`settle`](Self::settle) before the
    /// engine is told.
    pub(super) fn see(&mut self, sight: Sight, tell: &mut Vec<Event>) {
        match sight {
            Sight::Failed(watched, error) => self.failed(watched, &error),
            Sight::Pod(source, change) => self.see_pod(source, change, tell),
            Sight::Budget(source, change) => self.see_budget(source, change, tell),
            Sight::Spot(source, about, change) => {
                self.advance(Watched::of(about).0, source, &change);
                // An event that is deleted has been seen all the same.
                if let Change::Seen(event) = change {
                    let event = self.converter.spot(about, *event);
                    if self.events.len() == EVENT_LIMIT {
                        self.events.pop_front();
                    }
                    self.events.push_back(event.clone());
                    tell.push(Event::Spot(Box::new(event)));
                }
            }
            Sight::Node(change) => self.see_node(change),
            Sight::Namespace(change) => self.see_namespace(change),
            Sight::Profile(change) => self.see_profile(change),
        }
    }

    fn failed(&mut self, watched: Watched, error: &str) {
        let mut known = false;
        for (_, progress) in self.progress.iter_mut().filter(|((which, _), _)| *which == watched) {
            known |= progress.failing;
            progress.failing = true;
        }
        if !known {
            tracing::warn!(watched = watched.as_str(), error, "the watch fails; trying again");
        }
    }

    fn advance<T>(&mut self, watched: Watched, source: usize, change: &Change<T>) -> Progress {
        let progress = self.progress.entry((watched, source)).or_default();
        match change {
            Change::Listing => {
                progress.listing = true;
                progress.list += 1;
            }
            Change::Seen(_) | Change::Gone(_) => progress.failing = false,
            Change::Listed => {
                *progress = Progress { listing: false, listed: true, failing: false, ..*progress };
            }
        }
        *progress
    }

    fn see_pod(&mut self, source: usize, change: Change<LeanPod>, tell: &mut Vec<Event>) {
        let Progress { list, .. } = self.advance(Watched::Pods, source, &change);
        match change {
            Change::Listing if self.sources == 1 => tell.push(Event::PodsListing),
            Change::Listing => {}
            Change::Seen(lean) => {
                if let Some((pod, node)) = self.converter.pod(*lean) {
                    self.put_pod(Known { pod, node, selected: Arc::default(), source, list }, tell);
                }
            }
            Change::Gone(lean) => {
                let Some((pod, node)) = self.converter.pod(*lean) else { return };
                let (id, key) = (pod.id.clone(), key(&pod));
                // The last words of a pod say how it ended.
                self.put_pod(Known { pod, node, selected: Arc::default(), source, list }, tell);
                self.pods.remove(&key);
                tell.push(Event::PodGone(id));
            }
            Change::Listed => {
                let gone = self.pods.extract_if(.., |_, known| known.source == source && known.list < list);
                let gone: Vec<PodRef> = gone.map(|(_, known)| known.pod.id).collect();
                if self.sources == 1 {
                    tell.push(Event::PodsListed);
                } else {
                    tell.extend(gone.into_iter().map(Event::PodGone));
                }
            }
        }
    }

    fn put_pod(&mut self, mut known: Known, tell: &mut Vec<Event>) {
        self.judge(&mut known);
        let listing = self.sources == 1 && self.is_listing(Watched::Pods);
        let before = self.pods.get(&key(&known.pod));
        if let Some(before) = before.filter(|before| before.pod.id != known.pod.id) {
            tell.push(Event::PodGone(before.pod.id.clone()));
        }
        // Most changes of a pod are of fields that are not read.
        let same = before.is_some_and(|before| {
            known.pod.version >= before.pod.version
                && before.pod == Pod { version: before.pod.version, ..known.pod.clone() }
        });
        // In a list each pod counts: those that are not named are gone.
        if !same || listing {
            tell.push(Event::Pod(Box::new(known.pod.clone())));
        }
        self.pods.insert(key(&known.pod), known);
    }

    fn see_budget(
        &mut self,
        source: usize,
        change: Change<k8s_openapi::api::policy::v1::PodDisruptionBudget>,
        tell: &mut Vec<Event>,
    ) {
        let Progress { list, .. } = self.advance(Watched::Budgets, source, &change);
        match change {
            Change::Listing if self.sources == 1 => tell.push(Event::BudgetsListing),
            Change::Listing => {}
            Change::Seen(object) => {
                if let Some(budget) = self.converter.budget(*object) {
                    tell.push(Event::Budget(Box::new(budget.clone())));
                    self.budgets.insert(budget.id.clone(), KnownBudget { budget, source, list });
                }
            }
            Change::Gone(object) => {
                if let Some(id) = self.converter.budget_reference(&object.metadata) {
                    self.budgets.remove(&id);
                    tell.push(Event::BudgetGone(id));
                }
            }
            Change::Listed => {
                let gone =
                    self.budgets.extract_if(.., |_, known| known.source == source && known.list < list);
                let gone: Vec<BudgetRef> = gone.map(|(id, _)| id).collect();
                if self.sources == 1 {
                    tell.push(Event::BudgetsListed);
                } else {
                    tell.extend(gone.into_iter().map(Event::BudgetGone));
                }
            }
        }
    }

    fn see_node(&mut self, change: Change<PartialObjectMeta<k8s_openapi::api::core::v1::Node>>) {
        let Progress { list, .. } = self.advance(Watched::Nodes, 0, &change);
        match change {
            Change::Listing => {}
            Change::Seen(node) => {
                let labels = node.labels();
                let is_virtual =
                    self.virtual_labels.iter().any(|(key, value)| labels.get(key) == Some(value));
                let name: Arc<str> = node.name_any().into();
                let zone = labels.get(ZONE).map(|zone| Arc::from(zone.as_str()));
                self.stale |= if is_virtual {
                    self.virtual_nodes.insert(name, (list, zone)).is_none()
                } else {
                    self.virtual_nodes.remove(&name).is_some()
                };
            }
            // Its pods are where they were until they are gone, too.
            Change::Gone(node) => self.forget_node(&node.name_any()),
            Change::Listed => {
                let unseen: Vec<Arc<str>> = self
                    .virtual_nodes
                    .iter()
                    .filter(|(_, (seen, _))| *seen < list)
                    .map(|(name, _)| Arc::clone(name))
                    .collect();
                for name in unseen {
                    self.forget_node(&name);
                }
            }
        }
    }

    fn forget_node(&mut self, name: &str) {
        if !self.pods.values().any(|known| known.node.as_deref() == Some(name)) {
            self.virtual_nodes.remove(name);
        }
    }

    fn see_namespace(&mut self, change: Change<PartialObjectMeta<k8s_openapi::api::core::v1::Namespace>>) {
        let Progress { list, .. } = self.advance(Watched::Namespaces, 0, &change);
        match change {
            Change::Listing => {}
            Change::Seen(namespace) => {
                let labels = Arc::new(namespace.labels().clone());
                let name: Arc<str> = namespace.name_any().into();
                let before = self.namespaces.insert(name, (Arc::clone(&labels), list));
                self.stale |= before.is_none_or(|(before, _)| before != labels);
            }
            Change::Gone(namespace) => drop(self.namespaces.remove(namespace.name_any().as_str())),
            Change::Listed => self.namespaces.retain(|_, (_, seen)| *seen >= list),
        }
    }

    fn see_profile(&mut self, change: Change<DeserializeGuard<EciProfile>>) {
        let Progress { list, .. } = self.advance(Watched::Profiles, 0, &change);
        match change {
            Change::Listing => {}
            Change::Seen(guarded) => {
                let name: Arc<str> = guarded.name_any().into();
                match guarded.0 {
                    Ok(mut profile) => {
                        profile.meta_mut().managed_fields = None;
                        profile.status = None;
                        let before = self.profiles.insert(name, (profile.clone(), list));
                        self.stale |= before.is_none_or(|(before, _)| {
                            before.spec != profile.spec || before.metadata.uid != profile.metadata.uid
                        });
                    }
                    Err(invalid) => {
                        let error: String = invalid.error.chars().take(512).collect();
                        tracing::warn!(profile = %name, error, "this EciProfile cannot be read and counts for nothing; correct it, or install the CRD of this version of the operator");
                        self.stale |= self.profiles.remove(&name).is_some();
                    }
                }
            }
            Change::Gone(guarded) => {
                self.stale |= self.profiles.remove(guarded.name_any().as_str()).is_some();
            }
            Change::Listed => {
                let before = self.profiles.len();
                self.profiles.retain(|_, (_, seen)| *seen >= list);
                self.stale |= self.profiles.len() < before;
            }
        }
    }

    /// Judges all pods anew if profiles, namespaces or nodes changed, and tells of those that differ now.
    pub(super) fn settle(&mut self, tell: &mut Vec<Event>) {
        // What is told of a pod during a list says that the list has it.
        if !self.stale || self.is_listing(Watched::Pods) {
            return;
        }
        self.stale = false;
        let profiles = self.profiles.values().filter_map(|(profile, _)| Profile::of(profile));
        self.ordered = Profiles::new(profiles, &self.own_namespace);
        self.selected.clear();
        let mut pods = std::mem::take(&mut self.pods);
        for known in pods.values_mut() {
            let before = (known.pod.on_virtual_node, known.pod.profile.clone(), known.pod.on_deadline);
            self.judge(known);
            let after = (known.pod.on_virtual_node, known.pod.profile.clone(), known.pod.on_deadline);
            if before != after {
                tell.push(Event::Pod(Box::new(known.pod.clone())));
            }
        }
        self.pods = pods;
    }

    /// Fills in what the pod itself does not say.
    fn judge(&mut self, known: &mut Known) {
        known.pod.on_virtual_node =
            known.node.as_ref().is_some_and(|node| self.virtual_nodes.contains_key(node));
        let selected = self.selected(&known.pod);
        let (profile, on_deadline) = selected.spot.clone().unzip();
        known.pod.profile = profile;
        known.pod.on_deadline = on_deadline.unwrap_or_default();
        known.selected = selected;
    }

    /// What profiles say of a pod.
    fn selected(&mut self, pod: &Pod) -> Arc<Selected> {
        let of = (Arc::clone(&pod.id.namespace), Arc::clone(&pod.labels));
        if let Some(known) = self.selected.get(&of) {
            return Arc::clone(known);
        }
        let none = Labels::default();
        let namespace_labels = self.namespaces.get(&pod.id.namespace).map_or(&none, |(labels, _)| labels);
        let subject = Subject { namespace: &pod.id.namespace, namespace_labels, labels: &pod.labels };
        let spot = self.ordered.spot(subject).map(|(profile, spot)| {
            let on_deadline = match spot.on_deadline {
                Some(SpotDeadline::Delete) => OnDeadline::Delete,
                Some(SpotDeadline::Wait) | None => OnDeadline::Wait,
            };
            (Arc::from(profile.name.as_str()), on_deadline)
        });
        let selected = Arc::new(Selected { spot });
        // As many as there are workloads; but labels may be different for each pod.
        if self.selected.len() > 2 * self.pods.len() + 64 {
            self.selected.clear();
        }
        self.selected.insert(of, Arc::clone(&selected));
        selected
    }

    fn is_listing(&self, watched: Watched) -> bool {
        self.progress.iter().any(|((which, _), progress)| *which == watched && progress.listing)
    }

    /// Whether the watches have shown enough to begin: pods, budgets and nodes wholly, and the others wholly or in vain.
    pub(super) fn is_complete(&self) -> bool {
        let done = |watched: Watched, source: usize, may_fail: bool| {
            let progress = self.progress.get(&(watched, source)).copied().unwrap_or_default();
            progress.listed && !progress.listing || may_fail && progress.failing
        };
        let needed = [Watched::Pods, Watched::Budgets];
        needed.iter().all(|watched| (0..self.sources).all(|source| done(*watched, source, false)))
            && done(Watched::Nodes, 0, false)
            && done(Watched::Namespaces, 0, true)
            && done(Watched::Profiles, 0, true)
    }

    /// Watches that fail now, without doubles.
    pub(super) fn failing(&self) -> BTreeSet<Watched> {
        self.progress
            .iter()
            .filter(|(_, progress)| progress.failing)
            .map(|((watched, _), _)| *watched)
            .collect()
    }

    /// All of it, as an engine has to hear it that knows nothing.
    pub(super) fn replay(&self) -> Vec<Event> {
        let pods = self.pods.values().map(|known| Event::Pod(Box::new(known.pod.clone())));
        let budgets = self.budgets.values().map(|known| Event::Budget(Box::new(known.budget.clone())));
        let events = self.events.iter().map(|event| Event::Spot(Box::new(event.clone())));
        std::iter::once(Event::PodsListing)
            .chain(pods)
            .chain([Event::PodsListed, Event::BudgetsListing])
            .chain(budgets)
            .chain([Event::BudgetsListed])
            .chain(events)
            .collect()
    }

    /// All pods, by namespace and name, with what profiles say of them.
    pub(super) fn pods(&self) -> impl Iterator<Item = (&Pod, &Selected)> {
        self.pods.values().map(|known| (&known.pod, &*known.selected))
    }

    /// The same, with the zone of the virtual node that a pod is bound to, where that is known.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&Pod, &Selected, Option<&Arc<str>>)> {
        self.pods.values().map(|known| {
            let node = known.node.as_ref().and_then(|node| self.virtual_nodes.get(node));
            (&known.pod, &*known.selected, node.and_then(|(_, zone)| zone.as_ref()))
        })
    }

    /// The budgets of a namespace that select pods with these labels.
    pub(super) fn budgets_of(&self, namespace: &Arc<str>, labels: &Labels) -> Vec<Budget> {
        let first = BudgetRef { namespace: Arc::clone(namespace), name: "".into() };
        let budgets = self.budgets.range(first..).take_while(|(id, _)| id.namespace == *namespace);
        budgets
            .filter(|(_, known)| known.budget.selector.matches(labels))
            .map(|(_, known)| known.budget.clone())
            .collect()
    }

    /// All profiles, by name.
    pub(super) fn profiles(&self) -> impl Iterator<Item = &EciProfile> {
        self.profiles.values().map(|(profile, _)| profile)
    }

    /// A budget.
    pub(super) fn budget(&self, id: &BudgetRef) -> Option<&Budget> {
        self.budgets.get(id).map(|known| &known.budget)
    }
}

fn key(pod: &Pod) -> Key {
    (Arc::clone(&pod.id.namespace), Arc::clone(&pod.id.name))
}
