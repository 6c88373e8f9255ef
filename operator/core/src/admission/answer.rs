//! What the API server is told about a pod that is being created.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Pod, Service};

use crate::profile::Profiles;
use crate::profile::decide::{Moment, Namespace, World, decide};
use crate::profile::patch::{Operation, patch};
use crate::profile::rules::{self, Finding, Mode};

/// Most warnings of one answer.
pub const WARNINGS_LIMIT: usize = 10;
/// Longest warning, in characters: the API server cuts longer ones.
pub const WARNING_LIMIT: usize = 256;
/// Longest text of a refusal, in characters.
pub const MESSAGE_LIMIT: usize = 1_024;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What changes; nothing when empty.
    pub patch: Vec<Operation>,
    /// What its creator is told.
    pub warnings: Vec<String>,
    /// Why it is refused.
    pub denial: Option<String>,
}

/// The answer for a pod that is being created.
pub fn pod(profiles: &Profiles, world: &World, namespace: Namespace<'_>, pod: &Pod) -> Answer {
    let decision = decide(profiles, world, namespace, pod, Moment::Creation);
    let of_rules =
        decision.rules.iter().filter(|finding| finding.mode == Mode::Warn).map(ToString::to_string);
    let of_profiles = decision.warnings.iter().map(ToString::to_string);
    let of_annotations = decision.findings.iter().map(ToString::to_string);
    let warnings = of_rules.chain(of_profiles).chain(of_annotations).collect();
    if let Some(denial) = decision.denial {
        let denial = Some(clip(&denial.to_string(), MESSAGE_LIMIT));
        return Answer { patch: Vec::new(), warnings: bounded(warnings), denial };
    }
    Answer { patch: patch(pod, &decision.changes), warnings: bounded(warnings), denial: None }
}

/// The answer for a Service.
pub fn service(profiles: &Profiles, world: &World, namespace: Namespace<'_>, service: &Service) -> Answer {
    checked(&rules::service(service, namespace, profiles, &world.rules))
}

/// The answer for a DaemonSet.
pub fn daemon_set(world: &World, set: &DaemonSet) -> Answer {
    checked(&rules::daemon_set(set, &world.nodes, &world.rules))
}

/// What rules found, as an answer.
fn checked(findings: &[Finding]) -> Answer {
    let of = |mode: Mode| findings.iter().filter(move |f| f.mode == mode).map(ToString::to_string);
    let denied: Vec<_> = of(Mode::Deny).collect();
    Answer {
        patch: Vec::new(),
        warnings: bounded(of(Mode::Warn).collect()),
        denial: (!denied.is_empty()).then(|| clip(&denied.join("; "), MESSAGE_LIMIT)),
    }
}

/// As many warnings, and as long ones, as reach their reader.
pub fn bounded(mut warnings: Vec<String>) -> Vec<String> {
    if warnings.len() > WARNINGS_LIMIT {
        let more = warnings.len() - (WARNINGS_LIMIT - 1);
        warnings.truncate(WARNINGS_LIMIT - 1);
        warnings.push(format!("eci-operator: {more} more warnings"));
    }
    warnings.into_iter().map(|warning| clip(&warning, WARNING_LIMIT)).collect()
}

/// The beginning of a text, with three dots for the rest. Characters that a header line cannot have become spaces.
fn clip(text: &str, limit: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= limit {
        return clean.collect();
    }
    clean.take(limit.saturating_sub(3)).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_few_and_short_and_say_how_many_are_left_out() {
        let few = bounded(vec!["a\nb".into(), "ä".repeat(300)]);
        assert_eq!(few[0], "a b");
        assert_eq!((few[1].chars().count(), few[1].ends_with("ä...")), (WARNING_LIMIT, true));
        let many = bounded((0..25).map(|n| n.to_string()).collect());
        assert_eq!(many.len(), WARNINGS_LIMIT);
        assert_eq!((many[8].as_str(), many[9].as_str()), ("8", "eci-operator: 16 more warnings"));
    }
}
