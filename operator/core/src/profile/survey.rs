//! What the profiles have to do with the pods that exist: numbers, conflicts, and what those in mode Audit would change.

use std::collections::BTreeMap;

use eci_api::eci_profile::{AuditImpact, ProfileCounts};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::audit::Audit;
use super::conflict::Conflicts;
use super::decide::{Namespace, World, applied, is_of_a_daemon_set};
use super::{Labels, PROFILES_ANNOTATION, Profiles, Subject};
use crate::placement::mark;

/// Most profiles in mode Audit that are tried on the pods, in their order. Of more, the status keeps what it says.
pub const AUDIT_LIMIT: usize = 256;
/// The annotation that says on which kind of spot instance a pod runs.
const SPOT_ANNOTATION: &str = "k8s.aliyun.com/eci-spot-strategy";
/// The annotation of pods that a kubelet has made from a file, and which no admission can change.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Pods of one namespace that are the same but for their names, their nodes and their age.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Their namespace.
    pub namespace: Namespace<'a>,
    /// Any of them.
    pub pod: &'a Pod,
    /// The name that is first of all.
    pub first: &'a str,
    /// When each was created.
    pub created: &'a [Timestamp],
    /// How many are on virtual nodes.
    pub on_virtual_nodes: u32,
}

/// What is known of the pods of all profiles.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    generations: BTreeMap<String, i64>,
    counts: BTreeMap<String, ProfileCounts>,
    conflicts: Conflicts,
    audits: BTreeMap<String, (String, Vec<AuditImpact>)>,
}

impl Survey {
    /// The generation of a profile that was looked at; `None` when it was not there.
    pub fn generation(&self, profile: &str) -> Option<i64> {
        self.generations.get(profile).copied()
    }

    /// Numbers of its pods.
    pub fn counts(&self, profile: &str) -> ProfileCounts {
        self.counts.get(profile).cloned().unwrap_or_default()
    }

    /// What profiles of equal priority disagree about.
    pub fn conflicts(&self) -> &Conflicts {
        &self.conflicts
    }

    /// What it would change, in a sentence and by workload; `None` when it is not in mode Audit.
    pub fn audit(&self, profile: &str) -> Option<&(String, Vec<AuditImpact>)> {
        self.audits.get(profile)
    }
}

/// Looks at the pods that have not ended. `changed` says when the spec of a profile was last written; without it nobody
/// can say whether a pod was created without the profile, and none is said to be.
pub fn survey<'a>(
    profiles: &Profiles,
    changed: &BTreeMap<String, Timestamp>,
    world: &World,
    own_namespace: &str,
    groups: impl IntoIterator<Item = Group<'a>>,
) -> Survey {
    let mut survey = Survey {
        generations: profiles.iter().map(|profile| (profile.name.clone(), profile.generation)).collect(),
        ..Survey::default()
    };
    let audited = profiles.iter().filter_map(|profile| {
        Some((profile.name.clone(), Audit::of(profiles, &profile.name, own_namespace)?))
    });
    let mut audits: BTreeMap<String, Audit> = audited.take(AUDIT_LIMIT).collect();
    for group in groups {
        let Group { namespace, pod, .. } = group;
        let none = Labels::new();
        let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
        let subject = Subject { namespace: namespace.name, namespace_labels: namespace.labels, labels };
        for profile in profiles.matching(subject) {
            let counts = survey.counts.entry(profile.name.clone()).or_default();
            let pods = i64::try_from(group.created.len()).unwrap_or(i64::MAX);
            counts.pods += pods;
            counts.virtual_node_pods += i64::from(group.on_virtual_nodes);
            counts.spot_pods += if is_spot(pod) { pods } else { 0 };
        }
        for (profile, missed) in missed(profiles, changed, subject, &group) {
            survey.counts.entry(profile).or_default().missed_pods += missed;
        }
        survey.conflicts.add_as(profiles, namespace, pod, group.first);
        for audit in audits.values_mut() {
            let number = u32::try_from(group.created.len()).unwrap_or(u32::MAX);
            audit.add_many(world, namespace, pod, number);
        }
    }
    let told = |(name, audit): (String, Audit)| (name, (audit.message(), audit.impact()));
    survey.audits = audits.into_iter().map(told).collect();
    survey
}

/// For each profile that acts on the pods, how many of them were made without it.
fn missed(
    profiles: &Profiles,
    changed: &BTreeMap<String, Timestamp>,
    subject: Subject<'_>,
    group: &Group<'_>,
) -> Vec<(String, i64)> {
    let annotations = group.pod.metadata.annotations.as_ref();
    let annotation = |key: &str| annotations.and_then(|all| all.get(key)).map(String::as_str);
    if changed.is_empty() || is_of_a_daemon_set(group.pod) || annotation(MIRROR_ANNOTATION).is_some() {
        return Vec::new();
    }
    let of_profile = |name: &String| {
        let changed = *changed.get(name)?;
        let without =
            |created: &&Timestamp| mark::misses(annotation(PROFILES_ANNOTATION), **created, name, changed);
        i64::try_from(group.created.iter().filter(without).count()).ok().filter(|missed| *missed > 0)
    };
    let applied = applied(profiles, subject);
    applied.iter().filter_map(|profile| Some((profile.name.clone(), of_profile(&profile.name)?))).collect()
}

/// Whether it runs on a spot instance, or will.
fn is_spot(pod: &Pod) -> bool {
    let strategy = pod.metadata.annotations.as_ref().and_then(|all| all.get(SPOT_ANNOTATION));
    matches!(strategy.map(String::as_str), Some("SpotAsPriceGo" | "SpotWithPriceLimit"))
}
