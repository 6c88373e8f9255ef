//! Why a pod does not get data caches, in words.

use std::fmt;

use super::{BUCKET_ANNOTATION, DATA_CACHE_WAIT_ANNOTATION, DATA_CACHES_ANNOTATION, WAIT_DENY, WAIT_GATE};

/// Who asks for a data cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The pod, by its annotation.
    Annotation,
    /// A profile.
    Profile(String),
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation => write!(f, "annotation {DATA_CACHES_ANNOTATION}"),
            Self::Profile(name) => write!(f, "spec.dataCaches of profile {name}"),
        }
    }
}

/// Why a pod is refused: it must not start without its data caches, and cannot have them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The annotation cannot be read.
    #[error(
        "annotation {DATA_CACHES_ANNOTATION}: {item:?} {what}; it must list names of DataCaches with absolute mount paths, such as model-a=/models/a,model-b=/models/b"
    )]
    Syntax {
        /// The part, cut to 80 characters.
        item: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The other annotation cannot be read.
    #[error("annotation {DATA_CACHE_WAIT_ANNOTATION} must be {WAIT_GATE:?} or {WAIT_DENY:?}, not {found:?}")]
    Wait {
        /// Its value, cut to 80 characters.
        found: String,
    },
    /// There is no such DataCache.
    #[error(
        "{asker} names the DataCache {name:?}, which does not exist in namespace {namespace}: create it there first, or correct the name (`kubectl get datac -n {namespace}` lists them)"
    )]
    NotFound {
        /// Who asks.
        asker: Asker,
        /// The name.
        name: String,
        /// The pod's namespace.
        namespace: String,
    },
    /// Two buckets are asked for by one.
    #[error(
        "{asker} needs data caches of the buckets {first:?} and {second:?}, but all data caches of a pod must be in one bucket: put them into one, or mount those of one only"
    )]
    Buckets {
        /// Who asks.
        asker: Asker,
        /// One bucket.
        first: String,
        /// The other.
        second: String,
    },
    /// The pod names another bucket itself.
    #[error(
        "{asker} needs the bucket {needed:?}, but annotation {BUCKET_ANNOTATION} of the pod names {found:?}: remove that annotation, it is written for you"
    )]
    OtherBucket {
        /// Who asks.
        asker: Asker,
        /// The bucket that it needs.
        needed: String,
        /// The one that the pod has, cut to 80 characters.
        found: String,
    },
    /// Two mount paths are one, or one is inside the other.
    #[error(
        "{asker} mounts both {first:?} and {second:?}, one of which is inside the other: choose paths side by side"
    )]
    Overlap {
        /// Who asks.
        asker: Asker,
        /// One path.
        first: String,
        /// The other.
        second: String,
    },
    /// A container has something there.
    #[error(
        "{asker} mounts a data cache at {path:?}, but container {container:?} has a volume at {other:?}, which would hide it or be hidden: choose another path for one of them"
    )]
    PathTaken {
        /// Who asks.
        asker: Asker,
        /// The path.
        path: String,
        /// Name of the container.
        container: String,
        /// The path of its own mount, cut to 80 characters.
        other: String,
    },
    /// The pod has a volume of the name that ours would have.
    #[error(
        "the pod has a volume {volume:?} of its own, which is the name of the volume for the DataCache {name:?}: give yours another name"
    )]
    VolumeTaken {
        /// Name of the volume.
        volume: String,
        /// Name of the DataCache.
        name: String,
    },
    /// It is not Available, and the pod does not want to wait.
    #[error(
        "the DataCache {name:?} is not available yet ({reason}), and annotation {DATA_CACHE_WAIT_ANNOTATION} says {WAIT_DENY:?}: try again later, or set it to {WAIT_GATE:?} to let the pod wait"
    )]
    NotAvailable {
        /// Its name.
        name: String,
        /// The reason of its condition Ready, cut to 80 characters.
        reason: String,
    },
    /// It is not Available, and a pod with a node cannot wait.
    #[error(
        "the DataCache {name:?} is not available yet ({reason}), and the pod cannot wait for it since spec.nodeName binds it to a node already: remove spec.nodeName, or try again later"
    )]
    GateWithNode {
        /// Its name.
        name: String,
        /// The reason of its condition Ready, cut to 80 characters.
        reason: String,
    },
    /// The pod excludes virtual nodes.
    #[error(
        "annotation {DATA_CACHES_ANNOTATION} asks for data caches, which only virtual nodes mount, but the pod's node affinity excludes virtual nodes: remove one of the two"
    )]
    RegularNodes,
    /// It is a pod of a DaemonSet.
    #[error(
        "annotation {DATA_CACHES_ANNOTATION} asks for data caches, which only virtual nodes mount, but pods of DaemonSets do not run on virtual nodes: use a Deployment, or a sidecar in the pods that need the data"
    )]
    DaemonSet,
}

/// The data caches of a profile that a pod does not get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pod does not get the data caches of profile {profile}: {cause}")]
pub struct Dropped {
    /// Name of the profile.
    pub profile: String,
    /// Why.
    pub cause: Cause,
}

/// Why a pod does not get the data caches of a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Another bucket came first.
    #[error("they are in bucket {bucket:?}, and others that come first, or the pod itself, need {first:?}")]
    Bucket {
        /// Theirs.
        bucket: String,
        /// The one that came first.
        first: String,
    },
    /// Another mount path came first.
    #[error("they mount {path:?}, and {first:?}, which overlaps it, comes first")]
    Overlap {
        /// Theirs.
        path: String,
        /// The one that came first.
        first: String,
    },
    /// The pod may run on regular nodes only, or goes to virtual nodes later, when no volume can be added.
    #[error(
        "{who} keeps the pod on regular nodes, at least at first, and only virtual nodes mount data caches"
    )]
    RegularNodes {
        /// What keeps it there.
        who: String,
    },
}
