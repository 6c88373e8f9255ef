//! Everything that is wrong with a profile by itself.
//!
//! The API server refuses most of it when the profile is written. The rest is what its rules cannot say; and a profile
//! may come from where no API server has looked: from a file, or from before a rule.

use std::collections::BTreeMap;

use eci_api::annotations::{self, Scope, Severity, Writer};
use eci_api::condition::{MESSAGE_LIMIT, ProfileReason};
use eci_api::eci_profile::{EciProfileSpec, ImageCacheMode, LabelOperator, LabelSelection, PlacementPolicy};

use super::unit::Unit;
use super::{INJECT_DISABLED, INJECT_LABEL, SYSTEM_NAMESPACES, data_caches};
use crate::spot::settings;

/// Label of every namespace with its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// How the names of our own annotations and labels begin.
const OWN_PREFIX: &str = "eci-operator.io/";

/// Something that is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It would select every pod.
    #[error(
        "spec.selector selects every pod of the cluster: give podSelector or namespaceSelector at least one label or expression"
    )]
    SelectsAll,
    /// An expression cannot be judged.
    #[error("spec.selector.{selector}: the expression over {key:?} {what}")]
    Expression {
        /// Which selector.
        selector: &'static str,
        /// Key of the label, cut to 80 characters.
        key: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Its clauses exclude each other.
    #[error("spec.selector.{selector} selects nothing: the label {key:?} cannot be all that is asked of it")]
    SelectsNothing {
        /// Which selector.
        selector: &'static str,
        /// Key of the label, cut to 80 characters.
        key: String,
    },
    /// It selects nothing but what no profile selects.
    #[error(
        "spec.selector.namespaceSelector names system namespaces or the operator's own only ({0}), which no profile selects"
    )]
    SystemOnly(String),
    /// It selects those who opted out.
    #[error(
        "spec.selector asks for the label {INJECT_LABEL}={INJECT_DISABLED}, by which pods and namespaces opt out of every profile"
    )]
    OptedOut,
    /// A combination of fields.
    #[error("{0}")]
    Fields(&'static str),
    /// The spot settings.
    #[error("{0}")]
    Spot(settings::Finding),
    /// Two mount paths are one, or one is inside the other.
    #[error(
        "spec.dataCaches mounts both {0:?} and {1:?}, one of which is inside the other: choose paths side by side"
    )]
    Mounts(String, String),
    /// An annotation that a field of the profile writes.
    #[error("spec.effects.annotations: {name} is written by {field}: set it there")]
    OfField {
        /// The annotation.
        name: &'static str,
        /// The field.
        field: &'static str,
    },
    /// An annotation whose value is right for one pod only.
    #[error(
        "spec.effects.annotations: {0} has a value that is right for one pod only: write it into that pod"
    )]
    OnePod(&'static str),
    /// A report of the virtual node.
    #[error("spec.effects.annotations: {0} is a report of the virtual node, not a setting: take it out")]
    Report(&'static str),
    /// A name of the operator's own.
    #[error("spec.effects: {0:?} is the operator's own: take it out")]
    Own(String),
    /// An annotation that cannot work, by itself or beside the others that the profile writes.
    #[error("{0}")]
    Annotation(annotations::Finding),
}

impl Problem {
    /// The reason of the condition Accepted.
    pub fn reason(&self) -> ProfileReason {
        match self {
            Self::OfField { .. } | Self::OnePod(_) | Self::Report(_) | Self::Own(_) | Self::Annotation(_) => {
                ProfileReason::InvalidAnnotation
            }
            _ => ProfileReason::InvalidSpec,
        }
    }
}

/// Everything that is wrong with a profile, for an operator that runs in `own_namespace`; in the order of the spec's
/// fields.
pub fn check(spec: &EciProfileSpec, own_namespace: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    selectors(spec, own_namespace, &mut problems);
    fields(spec, &mut problems);
    effects(spec, &mut problems);
    problems
}

/// Reason and message of the condition Accepted=False; `None` when nothing is wrong.
pub fn refusal(problems: &[Problem]) -> Option<(ProfileReason, String)> {
    let first = problems.first()?;
    let mut message = String::new();
    for (i, problem) in problems.iter().enumerate() {
        let next = problem.to_string();
        if i > 0 && message.chars().count() + next.chars().count() + 40 > MESSAGE_LIMIT {
            message.push_str("; and ");
            message.push_str(&(problems.len() - i).to_string());
            message.push_str(" more");
            break;
        }
        message += if i == 0 { "" } else { "; " };
        message += &next;
    }
    Some((first.reason(), message))
}

fn selectors(spec: &EciProfileSpec, own_namespace: &str, problems: &mut Vec<Problem>) {
    let empty = |selection: &LabelSelection| {
        selection.match_labels.is_empty() && selection.match_expressions.is_empty()
    };
    let pod = spec.selector.pod_selector.as_ref();
    let namespace = spec.selector.namespace_selector.as_ref();
    if pod.is_none_or(empty) && namespace.is_none_or(empty) {
        problems.push(Problem::SelectsAll);
    }
    for (name, selection) in [("podSelector", pod), ("namespaceSelector", namespace)] {
        let Some(selection) = selection else { continue };
        let before = problems.len();
        for expression in &selection.match_expressions {
            let valued = matches!(expression.operator, LabelOperator::In | LabelOperator::NotIn);
            let what = match (valued, expression.values.is_empty()) {
                (true, true) => "needs values",
                (false, false) => "takes no values",
                _ => continue,
            };
            problems.push(Problem::Expression { selector: name, key: quote(&expression.key), what });
        }
        if problems.len() > before {
            continue;
        }
        if let Some(key) = unsatisfiable(selection) {
            problems.push(Problem::SelectsNothing { selector: name, key: quote(key) });
        } else if values(selection, INJECT_LABEL).is_some_and(|values| values == [INJECT_DISABLED]) {
            problems.push(Problem::OptedOut);
        }
    }
    let system = |name: &&str| SYSTEM_NAMESPACES.contains(name) || *name == own_namespace;
    if let Some(names) = namespace.and_then(|namespace| values(namespace, NAMESPACE_NAME))
        && !names.is_empty()
        && names.iter().all(system)
    {
        problems.push(Problem::SystemOnly(quote(&names.join(", "))));
    }
}

/// The values that a selector leaves to a label; `None` when it leaves more than a list.
fn values<'a>(selection: &'a LabelSelection, key: &str) -> Option<Vec<&'a str>> {
    let mut left: Option<Vec<&str>> = selection.match_labels.get(key).map(|value| vec![value.0.as_str()]);
    let of_key = selection.match_expressions.iter().filter(|expression| expression.key == key);
    for expression in of_key.clone().filter(|expression| expression.operator == LabelOperator::In) {
        let these = expression.values.iter().map(|value| value.0.as_str());
        left = Some(match left {
            Some(left) => left.into_iter().filter(|value| these.clone().any(|this| this == *value)).collect(),
            None => these.collect(),
        });
    }
    for expression in of_key.filter(|expression| expression.operator == LabelOperator::NotIn) {
        if let Some(list) = &mut left {
            list.retain(|value| !expression.values.iter().any(|not| not.0 == *value));
        }
    }
    left
}

/// A label that no pod can have as the selector wants it.
fn unsatisfiable(selection: &LabelSelection) -> Option<&str> {
    let expressions = &selection.match_expressions;
    let keys = selection.match_labels.keys().chain(expressions.iter().map(|expression| &expression.key));
    keys.into_iter().map(String::as_str).find(|key| {
        let has = |operator| expressions.iter().any(|e| e.key == *key && e.operator == operator);
        let left = values(selection, key);
        let absent = has(LabelOperator::DoesNotExist);
        left.as_ref().is_some_and(Vec::is_empty) || absent && (left.is_some() || has(LabelOperator::Exists))
    })
}

fn fields(spec: &EciProfileSpec, problems: &mut Vec<Problem>) {
    let policy = spec.placement.as_ref().map(|placement| placement.policy);
    if let Some(placement) = &spec.placement {
        let prefers = placement.policy == PlacementPolicy::PreferRegularNodes;
        if placement.spill_after.is_some() && !prefers {
            problems.push(Problem::Fields(
                "spec.placement.spillAfter is for the policy PreferRegularNodes: the others do not wait",
            ));
        }
        if placement.limits.is_some() && !prefers && placement.policy != PlacementPolicy::Fair {
            problems.push(Problem::Fields(
                "spec.placement.limits are for the policies Fair and PreferRegularNodes: with the others a pod has no other nodes to stay on",
            ));
        }
    }
    let kept =
        matches!(policy, Some(PlacementPolicy::PreferRegularNodes | PlacementPolicy::RegularNodesOnly));
    if !spec.data_caches.is_empty() && kept {
        problems.push(Problem::Fields(
            "spec.dataCaches cannot be combined with spec.placement.policy PreferRegularNodes or RegularNodesOnly: only virtual nodes mount data caches, and no volume can be added later",
        ));
    }
    for (i, mount) in spec.data_caches.iter().enumerate() {
        let earlier = spec.data_caches.iter().take(i);
        let overlapping = |other: &&_| {
            let other: &eci_api::eci_profile::DataCacheMount = other;
            data_caches::overlap(&other.mount_path, &mount.mount_path)
        };
        if let Some(other) = earlier.into_iter().find(overlapping) {
            problems.push(Problem::Mounts(quote(&other.mount_path), quote(&mount.mount_path)));
        }
    }
    if let Some(usage) = &spec.image_cache {
        let pinned = usage.mode == ImageCacheMode::Pinned;
        if pinned == usage.refs.is_empty() {
            problems.push(Problem::Fields(
                "spec.imageCache.refs are set if and only if spec.imageCache.mode is Pinned",
            ));
        }
        if usage.require_ready.is_some() && !pinned
            || usage.ready_timeout.is_some() && usage.require_ready != Some(true)
        {
            problems.push(Problem::Fields(
                "spec.imageCache.readyTimeout needs requireReady: true, and that needs the mode Pinned",
            ));
        }
    }
    if let Some(spot) = &spec.spot {
        problems.extend(settings::of_profile(spot).into_iter().map(Problem::Spot));
    }
}

fn effects(spec: &EciProfileSpec, problems: &mut Vec<Problem>) {
    let Some(effects) = &spec.effects else { return };
    let mut all = BTreeMap::new();
    for (name, value) in &effects.annotations {
        let known = annotations::find(name);
        let problem = match known.map(|known| (known, known.profile_field)) {
            _ if name.starts_with(OWN_PREFIX) => Problem::Own(quote(name)),
            Some((known, Some(field))) => Problem::OfField { name: known.name, field },
            Some((known, None)) if known.scope == Scope::OnePod => Problem::OnePod(known.name),
            Some((known, None)) if known.writer == Writer::System => Problem::Report(known.name),
            _ => {
                all.insert(name.clone(), value.0.clone());
                continue;
            }
        };
        problems.push(problem);
    }
    for name in effects.labels.keys().filter(|name| name.starts_with(OWN_PREFIX)) {
        problems.push(Problem::Own(quote(name)));
    }
    // Beside what the fields of the profile become, for some annotations mean something only together.
    for unit in Unit::ALL {
        all.extend(unit.render(spec).into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    let cannot = |finding: &annotations::Finding| {
        finding.severity == Severity::Error && effects.annotations.contains_key(&finding.annotation)
    };
    problems.extend(annotations::check(&all).into_iter().filter(cannot).map(Problem::Annotation));
}

fn quote(text: &str) -> String {
    text.chars().take(80).collect()
}
