//! Which image cache a pod starts from.

use std::collections::{BTreeMap, BTreeSet};

use eci_api::eci_profile::{ImageCacheMode, ImageCacheReference, ImageCacheUse};
use eci_api::image_reference::ImageReference;
use k8s_openapi::api::core::v1::PodSpec;

use super::unit::{AUTO_CACHE, PINNED_CACHE, Rendered};

/// Scheduling gate of a pod that waits for its image cache.
pub const IMAGE_CACHE_GATE: &str = "eci-operator.io/image-cache";

/// An ImageCache, as far as pods are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheFacts {
    /// The cloud's ID, when pods can start from it now.
    pub usable: Option<String>,
    /// Its images, as its spec writes them.
    pub images: Vec<String>,
}

/// The ImageCaches of the cluster, those that profiles refer to at least.
pub type Caches = BTreeMap<ImageCacheReference, CacheFacts>;

/// What the unit comes to for one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Annotations.
    pub annotations: Rendered,
    /// Whether the pod waits for a cache that covers it and is not usable yet.
    pub wait: bool,
}

impl Choice {
    /// No cache, and no search for one.
    pub(super) fn without() -> Self {
        Self { annotations: vec![(AUTO_CACHE, "false".to_owned())], wait: false }
    }
}

/// Chooses for a pod.
pub(super) fn choose(usage: &ImageCacheUse, caches: &Caches, pod: &PodSpec) -> Choice {
    let pinned = match usage.mode {
        ImageCacheMode::Auto => {
            return Choice { annotations: vec![(AUTO_CACHE, "true".to_owned())], wait: false };
        }
        ImageCacheMode::None => return Choice::without(),
        ImageCacheMode::Pinned => {
            let wanted = images(pod);
            let facts = usage.refs.iter().filter_map(|reference| caches.get(reference));
            facts.filter(|facts| covers(facts, &wanted)).collect::<Vec<_>>()
        }
    };
    if let Some(id) = pinned.iter().find_map(|facts| facts.usable.as_ref()) {
        return Choice { annotations: vec![(PINNED_CACHE, id.clone())], wait: false };
    }
    if usage.require_ready == Some(true) && !pinned.is_empty() {
        return Choice { annotations: Vec::new(), wait: true };
    }
    Choice::without()
}

/// The images of all containers in their normal form; as they stand when they are no references.
fn images(pod: &PodSpec) -> BTreeSet<String> {
    let init = pod.init_containers.iter().flatten();
    init.chain(&pod.containers).filter_map(|container| container.image.as_deref()).map(normal).collect()
}

fn covers(facts: &CacheFacts, wanted: &BTreeSet<String>) -> bool {
    let has: BTreeSet<String> = facts.images.iter().map(|image| normal(image)).collect();
    wanted.is_subset(&has)
}

fn normal(image: &str) -> String {
    ImageReference::parse(image).map_or_else(|_| image.to_owned(), |image| image.normal_form())
}
