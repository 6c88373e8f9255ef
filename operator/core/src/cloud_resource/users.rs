//! Who would start pods from a resource: while somebody would, it is not deleted with its object.
//!
//! Running pods do not count, for each has a disk of its own. What counts is whatever makes new pods, and pods that have
//! not started yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use eci_api::condition::Reason;
use eci_api::eci_profile::{EciProfileSpec, ImageCacheMode, ProfileMode};
use eci_api::image_cache::DeletionPolicy;

use super::plan::{Decision, Pass};
use super::speak::{Progress, Situation};
use super::{Kind, Phase, Problem, Read};
use crate::cloud::CloudId;

/// How soon it is looked again whether a resource is still in use.
const USERS_RECHECK: Duration = Duration::from_secs(15);
/// Most users that a message names.
const NAMED: usize = 5;
/// Most entries of an annotation that are read.
const ENTRIES: usize = 64;

/// Annotations of pods whose value is the ID of an image cache; the two last are names of the past (vendor's
/// documentation).
const PINS: [&str; 3] =
    ["k8s.aliyun.com/eci-imc-id", "k8s.aliyun.com/eci-image-cache", "k8s.aliyun.com/eci-image-snapshot-id"];
/// Annotation of pods: the bucket of their data caches (vendor's documentation).
const BUCKET: &str = "k8s.aliyun.com/eci-data-cache-bucket";
/// Annotation of pods: DataCaches of their namespace and where to mount them, `name=/path` between commas.
pub const MOUNTS: &str = "eci-operator.io/data-caches";
/// The bucket of a pod that names none.
const DEFAULT_BUCKET: &str = "default";

/// What a pod says to start from a resource, and what a resource answers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// An image cache of the cloud, by ID.
    ImageCacheID(String),
    /// An ImageCache to which a profile refers.
    ImageCache {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A DataCache, by name.
    DataCache {
        /// Its namespace, which is the pod's.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A data cache of the cloud.
    DataPath {
        /// Its bucket.
        bucket: String,
        /// Its path.
        path: String,
    },
}

/// The marks of an ImageCache that owns these resources.
pub fn marks_of_image_cache<'a>(
    namespace: &str,
    name: &str,
    ids: impl IntoIterator<Item = &'a CloudId>,
) -> BTreeSet<Mark> {
    let named = Mark::ImageCache { namespace: namespace.to_owned(), name: name.to_owned() };
    let ids = ids.into_iter().map(|id| Mark::ImageCacheID(id.to_string()));
    ids.chain([named]).collect()
}

/// The marks of a DataCache.
pub fn marks_of_data_cache(namespace: &str, name: &str, bucket: &str, path: &str) -> BTreeSet<Mark> {
    let named = Mark::DataCache { namespace: namespace.to_owned(), name: name.to_owned() };
    let there = Mark::DataPath { bucket: bucket.to_owned(), path: path.to_owned() };
    BTreeSet::from([named, there])
}

/// The marks of a pod, or of the template of one: its annotations, and the paths of its hostPath volumes.
pub fn marks_of_pod<'a>(
    namespace: &str,
    annotations: &BTreeMap<String, String>,
    host_paths: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<Mark> {
    let pins = PINS.into_iter().filter_map(|pin| annotations.get(pin)).map(|value| value.trim());
    // The names of the past had other values as well.
    let pins = pins.filter(|id| id.starts_with("imc-")).map(|id| Mark::ImageCacheID(id.to_owned()));
    let mounts = annotations.get(MOUNTS).map_or("", String::as_str).split(',').take(ENTRIES);
    let named = mounts.map(|entry| entry.split('=').next().unwrap_or_default().trim());
    let named = named
        .filter(|name| !name.is_empty())
        .map(|name| Mark::DataCache { namespace: namespace.to_owned(), name: name.to_owned() });
    // A hostPath means a data cache only beside the annotation: without it, it is one of a regular node.
    let bucket = annotations.get(BUCKET).map(|bucket| bucket.trim());
    let bucket = bucket.map(|bucket| if bucket.is_empty() { DEFAULT_BUCKET } else { bucket });
    let paths = host_paths
        .into_iter()
        .take(ENTRIES)
        .filter_map(|path| Some(Mark::DataPath { bucket: bucket?.to_owned(), path: path.to_owned() }));
    pins.chain(named).chain(paths).collect()
}

/// The marks of a profile: the ImageCaches that it pins. One that is disabled has none.
pub fn marks_of_profile(spec: &EciProfileSpec) -> BTreeSet<Mark> {
    let pinned = spec.image_cache.iter().filter(|unit| unit.mode == ImageCacheMode::Pinned);
    let refs = pinned.flat_map(|unit| &unit.refs).filter(|_| spec.mode != ProfileMode::Disabled);
    refs.map(|r| Mark::ImageCache { namespace: r.namespace.clone(), name: r.name.clone() }).collect()
}

/// Something that makes pods from a resource, or a pod that has not started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// Its Kubernetes kind.
    pub kind: &'static str,
    /// Its namespace; `None` for what has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        match namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{name}"),
            None => write!(f, "{kind} {name}"),
        }
    }
}

impl<K: Kind> Pass<'_, K> {
    /// Holds the deletion up while somebody would start pods from the resource. What was begun is brought to its end.
    pub(super) fn in_use(&mut self) -> Option<Decision<K>> {
        if self.desired.deletion_policy == DeletionPolicy::Retain
            || self.desired.force_delete
            || !self.serves()
        {
            return None;
        }
        let problem = match &self.seen.users {
            None => return Some(self.read(Read::Users)),
            Some(Ok(users)) if users.is_empty() => return None,
            Some(Ok(users)) => Problem { reason: Reason::InUse, message: said_of::<K>(users) },
            Some(Err(problem)) => problem.clone(),
        };
        self.wake_in(USERS_RECHECK);
        let usable = self.record.usable;
        Some(self.rest(&Situation::new(usable, problem.reason, Progress::Blocked, problem.message)))
    }

    /// Whether the cloud has something that pods could start from and whose end was not begun.
    fn serves(&self) -> bool {
        let Some(current) = &self.record.current else { return false };
        let ended = self.memory.deleted.contains_key(&current.id) || self.memory.gone.contains(&current.id);
        let listed = self.seen.list.into_iter().flat_map(|list| &list.items);
        let there = |view: &&K::View| *K::id(view) == current.id && K::phase(view) != Phase::Failed;
        !ended && listed.filter(there).count() > 0
    }
}

fn said_of<K: Kind>(users: &[User]) -> String {
    let sorted: BTreeSet<String> =
        users.iter().map(|user| user.to_string().chars().take(160).collect()).collect();
    let more = sorted.len().saturating_sub(NAMED);
    let named: Vec<String> = sorted.into_iter().take(NAMED).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "The {} is not deleted while pods would start from it: {}{more}. Delete or change them, which is noticed within seconds, or set the annotation {}=true.",
        K::NOUN,
        named.join(", "),
        eci_api::FORCE_DELETE
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn id(text: &str) -> Mark {
        Mark::ImageCacheID(text.into())
    }

    #[test]
    fn pods_pin_an_image_cache_by_annotations_of_today_and_of_the_past() {
        for (pairs, expected) in [
            (&[("k8s.aliyun.com/eci-imc-id", " imc-1\n")][..], vec![id("imc-1")]),
            (&[("k8s.aliyun.com/eci-image-snapshot-id", "imc-2")], vec![id("imc-2")]),
            (&[("k8s.aliyun.com/eci-image-cache", "true")], vec![]),
            (&[("k8s.aliyun.com/eci-auto-imc", "true")], vec![]),
            (&[], vec![]),
        ] {
            assert_eq!(
                marks_of_pod("ns", &annotations(pairs), []),
                expected.into_iter().collect(),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn pods_mount_data_caches_by_name_or_by_bucket_and_path() {
        let named = |name: &str| Mark::DataCache { namespace: "ns".into(), name: name.into() };
        let there = |bucket: &str, path: &str| Mark::DataPath { bucket: bucket.into(), path: path.into() };
        let both = annotations(&[(MOUNTS, "a=/m/a, b = /m/b,,=x"), (BUCKET, "models")]);
        let expected = BTreeSet::from([named("a"), named("b"), there("models", "/m/a")]);
        assert_eq!(marks_of_pod("ns", &both, ["/m/a"]), expected);
        assert_eq!(
            marks_of_pod("ns", &annotations(&[(BUCKET, "")]), ["/m"]),
            BTreeSet::from([there("default", "/m")])
        );
        assert!(marks_of_pod("ns", &annotations(&[]), ["/var/log"]).is_empty(), "a path of a regular node");
        let cache = marks_of_data_cache("ns", "a", "models", "/m/a");
        assert!(!cache.is_disjoint(&expected));
        assert!(cache.is_disjoint(&marks_of_pod("other", &annotations(&[(MOUNTS, "a=/x")]), [])));
    }

    #[test]
    fn profiles_that_act_pin_what_they_refer_to() {
        let spec = |mode: &str, cache: &str| -> EciProfileSpec {
            serde_json::from_value(json!({
                "mode": mode, "selector": { "podSelector": { "matchLabels": { "a": "b" } } },
                "imageCache": { "mode": cache, "refs": [{ "namespace": "ns", "name": "web" }] },
            }))
            .unwrap()
        };
        let web = marks_of_image_cache("ns", "web", []);
        assert_eq!(marks_of_profile(&spec("Enforce", "Pinned")), web);
        assert_eq!(marks_of_profile(&spec("Audit", "Pinned")), web);
        assert!(marks_of_profile(&spec("Disabled", "Pinned")).is_empty());
        assert!(marks_of_profile(&spec("Enforce", "Auto")).is_empty());
    }
}
