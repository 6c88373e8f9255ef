//! What a driver has of one object, for a reconcile and from one to the next.

use eci_api::FINALIZER;
use eci_core::cloud_resource::Memory;
use eci_core::time::Mono;
use kube::{Resource as _, ResourceExt as _};

use crate::kind::{Key, Managed};

/// A copy of the object, and what is known of it beyond the copy.
pub(crate) struct ObjectCopy<K: Managed> {
    pub(crate) key: Key,
    pub(crate) object: K::Object,
    /// Whether it is from a GET or a write of this reconcile.
    pub(crate) live: bool,
    /// Whether to plan as if it had the finalizer: a dry run adds none.
    pub(crate) rehearsed_finalizer: bool,
}

impl<K: Managed> ObjectCopy<K> {
    pub(crate) fn version(&self) -> String {
        self.object.resource_version().unwrap_or_default()
    }

    pub(crate) fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or_default()
    }

    pub(crate) fn is_deleting(&self) -> bool {
        self.object.meta().deletion_timestamp.is_some()
    }

    pub(crate) fn has_finalizer(&self) -> bool {
        self.rehearsed_finalizer || self.object.finalizers().iter().any(|f| f == FINALIZER)
    }
}

/// What the process knows of one object.
pub(crate) struct Entry<K: Managed> {
    pub(crate) uid: String,
    pub(crate) memory: Memory<K>,
    /// The newest resource looked up by ID.
    pub(crate) look: Option<(Mono, K::View)>,
    /// resourceVersion of the newest copy that a write returned.
    pub(crate) written: Option<String>,
    /// What a dry run said of it last.
    pub(crate) rehearsed: Option<String>,
    /// Reconciles in a row that failed.
    pub(super) failures: u32,
}

impl<K: Managed> Entry<K> {
    pub(super) fn new(uid: String) -> Self {
        Self { uid, memory: Memory::default(), look: None, written: None, rehearsed: None, failures: 0 }
    }

    /// Whether the copy is certainly older than what this process wrote: planning on it could only end in a conflict.
    pub(super) fn outdates(&self, copy: &ObjectCopy<K>) -> bool {
        let number = |version: &str| version.parse::<u64>().ok();
        let written = self.written.as_deref().and_then(number);
        written.zip(number(&copy.version())).is_some_and(|(written, copy)| copy < written)
    }
}
