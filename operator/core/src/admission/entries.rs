//! For which pods the API server asks the operator.
//!
//! Two kinds of entry. Those of profiles have the failure policy Ignore: without the operator the pods are created as
//! they are. Those of data caches have Fail: a pod must not start without its model. Every entry may match more pods
//! than the profiles select, never fewer, for [`decide`](crate::profile::decide::decide) matches again; and an entry
//! that fails never matches more than what needs it.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::eci_profile::{LabelOperator, LabelSelection};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use sha2::{Digest as _, Sha256};

use crate::profile::data_caches::DATA_CACHES_ANNOTATION;
use crate::profile::decide::VENDOR_LABEL;
use crate::profile::nodes::VirtualNodes;
use crate::profile::{INJECT_DISABLED, INJECT_LABEL, Labels, Profile, Profiles, SYSTEM_NAMESPACES};

/// Most entries of profiles with the failure policy Ignore: beyond that they are merged into wider ones.
pub const IGNORE_LIMIT: usize = 28;
/// Most entries with the failure policy Fail for profiles. What is over is ignored when the operator is down, for a
/// wider entry would refuse pods that nobody meant.
pub const FAIL_LIMIT: usize = 32;
/// Most values of one clause that is made of several.
const VALUES_LIMIT: usize = 1_000;
/// Label of every namespace with its name (Kubernetes 1.21 and later).
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A clause over one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Term {
    key: String,
    operator: Operator,
    /// Sorted, each once.
    values: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Operator {
    const fn as_str(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
        }
    }
}

/// Clauses that must all hold.
type Terms = BTreeSet<Term>;

/// Which objects: by the labels of their namespace, and by their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Selection {
    namespaces: Terms,
    pods: Terms,
}

impl Selection {
    /// Whether it matches everything that `other` matches.
    fn covers(&self, other: &Self) -> bool {
        self.namespaces.is_subset(&other.namespaces) && self.pods.is_subset(&other.pods)
    }
}

/// What the API server does when the operator does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Goes on without.
    Ignore,
    /// Refuses the object.
    Fail,
}

/// A reason for the API server to ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name: a domain, and always the same for the same entry.
    pub name: String,
    /// What happens without an answer.
    pub failure: Failure,
    /// By the labels of the namespace.
    pub namespaces: LabelSelector,
    /// By the labels of the object.
    pub objects: LabelSelector,
    /// Name and CEL expression of a further condition.
    pub condition: Option<(&'static str, String)>,
}

/// The reasons to ask about pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    /// In an order that is always the same: what pods say themselves before what profiles add to it.
    pub pods: Vec<Entry>,
    /// Profiles with data caches beyond [`FAIL_LIMIT`]: without the operator their pods start without them.
    pub unguarded: Vec<String>,
}

/// Where the operator works.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Its own namespace, whose pods are never touched.
    pub own_namespace: String,
    /// Namespaces to work in; all when empty.
    pub namespaces: Vec<String>,
}

/// What the API server has to ask for these profiles, and of pods that go to virtual nodes without one: what these
/// cannot run is said of them too.
pub fn entries(profiles: &Profiles, nodes: &VirtualNodes, reach: &Reach) -> Entries {
    let (mut fail, mut ignore) = (BTreeSet::new(), BTreeSet::new());
    let mut unguarded = Vec::new();
    for profile in profiles.acting() {
        let selection = selection(profile, profiles.given());
        if profile.spec.data_caches.is_empty() {
            ignore.insert(selection);
        } else if fail.len() < FAIL_LIMIT || fail.contains(&selection) {
            fail.insert(selection);
        } else {
            unguarded.push(profile.name.clone());
            ignore.insert(selection);
        }
    }
    // An answer to one entry is the answer to all.
    ignore.retain(|selection| !fail.contains(selection));
    let ignore = reduce(merge(ignore));
    // The API server holds each entry against the pod as those before it have left it. What profiles add about virtual
    // nodes would look like the pod's own words, and it would ask a second time to learn nothing: profiles come last.
    let mut pods = vec![asked_by_annotation(reach)];
    pods.extend(by_vendor(reach));
    pods.extend(by_own_words(nodes, reach));
    pods.extend(fail.iter().map(|selection| entry(selection, Failure::Fail, reach)));
    pods.extend(ignore.iter().map(|selection| entry(selection, Failure::Ignore, reach)));
    Entries { pods, unguarded }
}

/// What a profile selects, or a little more.
fn selection(profile: &Profile, given: &BTreeSet<(String, String)>) -> Selection {
    let selector = &profile.spec.selector;
    let none = BTreeSet::new();
    Selection {
        namespaces: selector.namespace_selector.as_ref().map(|s| terms(s, &none)).unwrap_or_default(),
        pods: selector.pod_selector.as_ref().map(|s| terms(s, given)).unwrap_or_default(),
    }
}

/// The clauses of a selector. A label that profiles give counts as absent where a label must not be: the API server
/// cannot be told so, and leaves out what it would do wrong.
fn terms(selector: &LabelSelection, given: &BTreeSet<(String, String)>) -> Terms {
    let labels = selector.match_labels.iter().map(|(key, value)| Term {
        key: key.clone(),
        operator: Operator::In,
        values: BTreeSet::from([value.0.clone()]),
    });
    let expressions = selector.match_expressions.iter().filter_map(|expression| {
        let mut values: BTreeSet<String> = expression.values.iter().map(|value| value.0.clone()).collect();
        let operator = match expression.operator {
            LabelOperator::In => Operator::In,
            LabelOperator::Exists => Operator::Exists,
            LabelOperator::NotIn => {
                values.retain(|value| !given.contains(&(expression.key.clone(), value.clone())));
                if values.is_empty() {
                    return None;
                }
                Operator::NotIn
            }
            LabelOperator::DoesNotExist => {
                if given.iter().any(|(key, _)| *key == expression.key) {
                    return None;
                }
                Operator::DoesNotExist
            }
        };
        Some(Term { key: expression.key.clone(), operator, values })
    });
    labels.chain(expressions).collect()
}

/// At most [`IGNORE_LIMIT`] selections that match all that these match: any pod of the namespaces that many profiles
/// choose from, then such namespaces together, then all of them.
fn merge(selections: BTreeSet<Selection>) -> BTreeSet<Selection> {
    if selections.len() <= IGNORE_LIMIT {
        return selections;
    }
    let mut left = selections.len();
    let mut by_namespaces: BTreeMap<Terms, BTreeSet<Terms>> = BTreeMap::new();
    for selection in selections {
        by_namespaces.entry(selection.namespaces).or_default().insert(selection.pods);
    }
    let mut sizes: Vec<_> = by_namespaces.iter().map(|(terms, pods)| (pods.len(), terms.clone())).collect();
    sizes.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (size, namespaces) in sizes {
        if left <= IGNORE_LIMIT {
            break;
        }
        by_namespaces.insert(namespaces, BTreeSet::from([Terms::new()]));
        left -= size - 1;
    }
    let merged = by_namespaces.into_iter().flat_map(|(namespaces, pods)| {
        pods.into_iter().map(move |pods| Selection { namespaces: namespaces.clone(), pods })
    });
    let merged: BTreeSet<_> = merged.collect();
    if merged.len() <= IGNORE_LIMIT {
        return merged;
    }
    let merged = unite(merged);
    if merged.len() <= IGNORE_LIMIT { merged } else { BTreeSet::from([Selection::default()]) }
}

/// Any pod of namespaces with one of some values of a label: one selection for each label.
fn unite(selections: BTreeSet<Selection>) -> BTreeSet<Selection> {
    let mut together: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut others = BTreeSet::new();
    for selection in selections {
        match selection.namespaces.first() {
            Some(term) if selection.namespaces.len() == 1 && term.operator == Operator::In => {
                together.entry(term.key.clone()).or_default().extend(term.values.iter().cloned());
            }
            _ => {
                others.insert(selection);
            }
        }
    }
    let united = together.into_iter().map(|(key, values)| {
        let term = if values.len() <= VALUES_LIMIT {
            Term { key, operator: Operator::In, values }
        } else {
            Term { key, operator: Operator::Exists, values: BTreeSet::new() }
        };
        Selection { namespaces: BTreeSet::from([term]), pods: Terms::new() }
    });
    others.extend(united);
    others
}

/// Leaves out what another one covers.
fn reduce(selections: BTreeSet<Selection>) -> BTreeSet<Selection> {
    let all: Vec<_> = selections.iter().cloned().collect();
    let needed = |one: &Selection| !all.iter().any(|other| other != one && other.covers(one));
    selections.into_iter().filter(needed).collect()
}

/// Pods that ask for data caches themselves. A test for an annotation without `has` before it fails for a pod without
/// annotations, which would then be refused (seen on Kubernetes 1.36).
fn asked_by_annotation(reach: &Reach) -> Entry {
    let expression = format!(
        "has(object.metadata.annotations) && '{DATA_CACHES_ANNOTATION}' in object.metadata.annotations"
    );
    Entry {
        name: "data-caches.pods.eci-operator.io".to_owned(),
        condition: Some(("asks-for-data-caches", expression)),
        ..entry(&Selection::default(), Failure::Fail, reach)
    }
}

/// Pods that the vendor's label sends to virtual nodes: their own, or that of their namespace.
fn by_vendor(reach: &Reach) -> [Entry; 2] {
    let term = Term {
        key: VENDOR_LABEL.to_owned(),
        operator: Operator::In,
        values: BTreeSet::from(["true".to_owned()]),
    };
    let terms = Terms::from([term]);
    let named = |name: &str, selection: &Selection| Entry {
        name: format!("{name}.pods.eci-operator.io"),
        ..entry(selection, Failure::Ignore, reach)
    };
    [
        named("labelled", &Selection { namespaces: Terms::new(), pods: terms.clone() }),
        named("labelled-namespaces", &Selection { namespaces: terms, pods: Terms::new() }),
    ]
}

/// Pods that tolerate or select virtual nodes in their own words.
fn by_own_words(nodes: &VirtualNodes, reach: &Reach) -> Option<Entry> {
    let quoted = |texts: BTreeSet<&str>| {
        let quoted = texts.into_iter().map(|text| format!("'{}'", text.replace(['\\', '\''], "")));
        quoted.collect::<Vec<_>>().join(", ")
    };
    let taints = quoted(nodes.kinds().iter().map(|kind| kind.taint.0.as_str()).collect());
    let labels = quoted(nodes.kinds().iter().map(|kind| kind.label.0.as_str()).collect());
    if taints.is_empty() {
        return None;
    }
    let terms = "object.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    let expression = format!(
        "has(object.spec.tolerations) && object.spec.tolerations.exists(t, has(t.key) && t.key in [{taints}])\
         || has(object.spec.nodeSelector) && object.spec.nodeSelector.exists(k, k in [{labels}])\
         || has(object.spec.affinity) && has(object.spec.affinity.nodeAffinity)\
         && has({terms}) && {terms}.nodeSelectorTerms.exists(t, has(t.matchExpressions)\
         && t.matchExpressions.exists(e, e.key in [{labels}]))"
    );
    Some(Entry {
        name: "own-words.pods.eci-operator.io".to_owned(),
        condition: Some(("speaks-of-virtual-nodes", expression)),
        ..entry(&Selection::default(), Failure::Ignore, reach)
    })
}

fn entry(selection: &Selection, failure: Failure, reach: &Reach) -> Entry {
    let word = match failure {
        Failure::Ignore => "profiles",
        Failure::Fail => "data-caches",
    };
    Entry {
        name: format!("{word}-{}.pods.eci-operator.io", digest(selection)),
        failure,
        namespaces: namespaces(&selection.namespaces, reach),
        objects: objects(&selection.pods),
        condition: None,
    }
}

/// Namespaces that an entry is about: these, without those that nobody may touch.
pub(super) fn namespaces_in(reach: &Reach) -> LabelSelector {
    namespaces(&Terms::new(), reach)
}

/// Objects that did not opt out.
pub(super) fn all_objects() -> LabelSelector {
    objects(&Terms::new())
}

fn namespaces(more: &Terms, reach: &Reach) -> LabelSelector {
    let never = SYSTEM_NAMESPACES.iter().copied().chain([reach.own_namespace.as_str()]);
    let mut all = Terms::from([
        opted_in(),
        Term {
            key: NAME_LABEL.to_owned(),
            operator: Operator::NotIn,
            values: never.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        },
    ]);
    if !reach.namespaces.is_empty() {
        let values = reach.namespaces.iter().cloned().collect();
        all.insert(Term { key: NAME_LABEL.to_owned(), operator: Operator::In, values });
    }
    all.extend(more.iter().cloned());
    selector(&all)
}

fn objects(more: &Terms) -> LabelSelector {
    let mut all = more.clone();
    all.insert(opted_in());
    selector(&all)
}

fn opted_in() -> Term {
    Term {
        key: INJECT_LABEL.to_owned(),
        operator: Operator::NotIn,
        values: BTreeSet::from([INJECT_DISABLED.to_owned()]),
    }
}

fn selector(terms: &Terms) -> LabelSelector {
    let requirements = terms.iter().map(|term| LabelSelectorRequirement {
        key: term.key.clone(),
        operator: term.operator.as_str().to_owned(),
        values: (!term.values.is_empty()).then(|| term.values.iter().cloned().collect()),
    });
    LabelSelector { match_expressions: Some(requirements.collect()), match_labels: None }
}

/// A short name that depends on nothing but the selection.
fn digest(selection: &Selection) -> String {
    let hash = Sha256::digest(format!("{selection:?}"));
    hex::encode(hash.iter().take(5).copied().collect::<Vec<_>>())
}

/// Whether labels pass a selector, by the rules of the API server.
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let by_label = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    by_label
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let found = labels.get(&requirement.key);
            let among = |found: &String| requirement.values.iter().flatten().any(|value| value == found);
            match requirement.operator.as_str() {
                "In" => found.is_some_and(among),
                "NotIn" => !found.is_some_and(among),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
