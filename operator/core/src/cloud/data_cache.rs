//! Data caches at the port. Bucket and path are what pods mount one by, and with them its identity.

use std::collections::BTreeMap;
use std::fmt;

use eci_api::data_cache::DataCacheRequest;
use jiff::Timestamp;
use secrecy::SecretString;

use super::{ClientToken, CloudEventView, CloudId};

/// Bucket and path of a data cache: one account and region has one data cache at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Bucket.
    pub bucket: String,
    /// Absolute path without a slash at its end.
    pub path: String,
}

impl Place {
    /// The place; slashes at the end of the path mean nothing (samples of the documentation have one).
    pub fn new(bucket: &str, path: &str) -> Self {
        Self { bucket: bucket.to_owned(), path: path.trim_end_matches('/').to_owned() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {} path {}", self.bucket, self.path)
    }
}

/// A create call. Its Debug form has no secret.
#[derive(Clone, Debug)]
pub struct CreateDataCache {
    /// Makes the call repeatable.
    pub token: ClientToken,
    /// What to load.
    pub request: DataCacheRequest,
    /// Options of the source whose values are secret.
    pub secret_options: BTreeMap<String, SecretString>,
    /// All tags, ours and the user's. At most 20 (vendor's documentation).
    pub tags: BTreeMap<String, String>,
}

/// An update call: what is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct UpdateDataCache {
    /// Which.
    pub id: CloudId,
    /// Fresh for every call.
    pub token: ClientToken,
    /// Days until the cloud deletes it.
    pub retention_days: Option<i32>,
    /// All tags, ours and the user's.
    pub tags: Option<BTreeMap<String, String>>,
    /// Resource group.
    pub resource_group_id: Option<String>,
}

/// The state of a data cache in the cloud: other words than those of image caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataCacheState {
    /// Loading the data.
    Loading,
    /// Making the snapshot.
    Creating,
    /// Usable.
    Available,
    /// Not usable.
    Failed,
    /// Changing in place.
    Updating,
    /// The change failed.
    UpdateFailed,
    /// A word that we do not know.
    Other(String),
}

impl DataCacheState {
    /// Reads the cloud's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "Loading" => Self::Loading,
            "Creating" => Self::Creating,
            "Available" => Self::Available,
            "Failed" => Self::Failed,
            "Updating" => Self::Updating,
            "UpdateFailed" => Self::UpdateFailed,
            other => Self::Other(other.chars().take(64).collect()),
        }
    }

    /// The cloud's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Loading => "Loading",
            Self::Creating => "Creating",
            Self::Available => "Available",
            Self::Failed => "Failed",
            Self::Updating => "Updating",
            Self::UpdateFailed => "UpdateFailed",
            Self::Other(word) => word,
        }
    }
}

/// A data cache as the cloud shows it. Every field but the ID and the state may be missing. What the cloud tells of the
/// source is left out: its form contradicts its own documentation, so that nothing can be concluded from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataCacheView {
    /// Its ID.
    pub id: CloudId,
    /// Display name.
    pub name: String,
    /// Where it is mounted from.
    pub place: Place,
    /// State.
    pub state: DataCacheState,
    /// Percent of the build, 0 to 100.
    pub progress_percent: Option<i32>,
    /// GiB.
    pub size_gib: Option<i32>,
    /// Standard snapshot.
    pub snapshot_id: Option<String>,
    /// The instance that builds it.
    pub container_group_id: Option<String>,
    /// Start of the build.
    pub creation_time: Option<Timestamp>,
    /// When the cloud will delete it.
    pub expiration_time: Option<Timestamp>,
    /// When a pod last used it.
    pub last_matched_time: Option<Timestamp>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Newest events first or last: the order is not documented.
    pub events: Vec<CloudEventView>,
}
