//! The port: what the operator asks of the cloud, with the contract that every implementation keeps.
//!
//! # Contract
//!
//! 1. **Answers may be lost.** A call that fails with [`Meaning::Unknown`] may have had its effect, may have it later
//!    (while the request is still under way), or never. Every other error says that the call had no effect, with the
//!    reservations of [`CloudError::is_refusal`].
//! 2. **Creates may be repeated.** The same token with the same request gives the first answer again for as long as
//!    the cloud remembers the token. How long that is, is documented nowhere.
//! 3. **Lists may lag.** A list, or a look at a place, may miss an object that exists and show one that is gone. A
//!    list that was begun later may still be older. Absence in a list proves nothing by itself.
//! 4. **Looking up by ID may lag** as well; an ID that is not known is `Ok(None)`, not an error.
//! 5. **Deletes may be repeated.** Deleting what is gone succeeds or fails with [`Meaning::NotFound`].
//! 6. **No retry inside.** An implementation sends each call at most once, except that it may repeat a call that
//!    was certainly not sent, and reads.
//! 7. **Strings are hostile.** IDs are validated by the implementation ([`CloudId::parse`]); every other string is
//!    cut to a bound, and is for people only.

mod data_cache;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use eci_api::image_cache::ImageCacheRequest;
use jiff::Timestamp;
use secrecy::SecretString;

pub use data_cache::{CreateDataCache, DataCacheState, DataCacheView, Place, UpdateDataCache};

/// Most objects on one page of a list (documented for data caches, measured in samples for image caches).
pub const PAGE_SIZE: usize = 20;

/// Longest token, in ASCII characters (vendor's documentation).
pub const TOKEN_LIMIT: usize = 64;

/// Longest foreign text that passes the port, in characters.
pub const TEXT_LIMIT: usize = 1_024;

/// The cloud, for one account and region.
pub trait Cloud: Send + Sync + 'static {
    /// Starts the build of an image cache. Repeatable with the same token, see the contract.
    fn create_image_cache(
        &self,
        call: &CreateImageCache,
    ) -> impl Future<Output = Result<CreatedImageCache, CloudError>> + Send;

    /// One page of the image caches that carry all of `tags`. At most [`PAGE_SIZE`] objects; an empty or missing next
    /// token is the end.
    fn list_image_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> impl Future<Output = Result<Page<ImageCacheView>, CloudError>> + Send;

    /// One image cache by ID; `None` when the cloud does not know it.
    fn describe_image_cache(
        &self,
        id: &CloudId,
    ) -> impl Future<Output = Result<Option<ImageCacheView>, CloudError>> + Send;

    /// Changes an image cache in place. Only in Ready or UpdateFailed, else [`Meaning::Busy`]. A call that would change
    /// nothing succeeds.
    fn update_image_cache(
        &self,
        call: &UpdateImageCache,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Deletes an image cache. Whether deleting an unknown ID succeeds or fails with [`Meaning::NotFound`] is not
    /// documented; callers treat both as gone and confirm by [`Cloud::describe_image_cache`].
    fn delete_image_cache(
        &self,
        id: &CloudId,
        token: &ClientToken,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Adds or overwrites tags of an image cache.
    fn tag_image_cache(
        &self,
        id: &CloudId,
        tags: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Removes tags of an image cache by key.
    fn untag_image_cache(
        &self,
        id: &CloudId,
        keys: &[String],
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Starts the build of a data cache and gives its ID. Repeatable with the same token, see the contract. What a call
    /// for a place that is taken comes to is documented nowhere.
    fn create_data_cache(
        &self,
        call: &CreateDataCache,
    ) -> impl Future<Output = Result<CloudId, CloudError>> + Send;

    /// One page of the data caches that carry all of `tags`, as [`Cloud::list_image_caches`].
    fn list_data_caches(
        &self,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> impl Future<Output = Result<Page<DataCacheView>, CloudError>> + Send;

    /// One data cache by ID; `None` when the cloud does not know it.
    fn describe_data_cache(
        &self,
        id: &CloudId,
    ) -> impl Future<Output = Result<Option<DataCacheView>, CloudError>> + Send;

    /// The data caches at a place, whosever they are: none or one, or as many as the cloud lets there be, at most
    /// [`PAGE_SIZE`].
    fn find_data_caches(
        &self,
        place: &Place,
    ) -> impl Future<Output = Result<Vec<DataCacheView>, CloudError>> + Send;

    /// Changes a data cache in place. Only in Available or UpdateFailed, else [`Meaning::Busy`]. A call that would change
    /// nothing succeeds.
    fn update_data_cache(
        &self,
        call: &UpdateDataCache,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Deletes a data cache by ID, as [`Cloud::delete_image_cache`]. Never by place: it may be another's by now.
    fn delete_data_cache(
        &self,
        id: &CloudId,
        token: &ClientToken,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Adds or overwrites tags of a data cache.
    fn tag_data_cache(
        &self,
        id: &CloudId,
        tags: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Removes tags of a data cache by key.
    fn untag_data_cache(
        &self,
        id: &CloudId,
        keys: &[String],
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Quotas and their use.
    fn usage(&self) -> impl Future<Output = Result<Usage, CloudError>> + Send;
}

/// An ID that the cloud gave, such as `imc-bp1…`: 1 to 64 characters of `A–Z a–z 0–9 - _ .`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloudId(String);

/// The text is not an ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cloud gave something as an ID that is none (1 to 64 characters of A-Z a-z 0-9 - _ .)")]
pub struct NotAnId;

impl CloudId {
    /// Takes an ID, trimmed (samples of the documentation end in newlines).
    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let text = text.trim();
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAnId) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CloudId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client token: 1 to [`TOKEN_LIMIT`] visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientToken(String);

impl ClientToken {
    /// Takes a token; `None` when it is empty, too long or not visible ASCII.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = (1..=TOKEN_LIMIT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then_some(Self(text))
    }

    /// A token made of a hash: a prefix that tells where it comes from, and as many hexadecimal digits as fit.
    pub(crate) fn of_digest(digest: &[u8]) -> Self {
        const PREFIX: &str = "eci-";
        let digits = hex::encode(digest).chars().take(TOKEN_LIMIT - PREFIX.len()).collect::<String>();
        Self(format!("{PREFIX}{digits}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the next page begins. Opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(pub String);

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Its objects.
    pub items: Vec<T>,
    /// Where the next one begins; `None` at the end.
    pub next: Option<PageToken>,
}

/// A create call.
#[derive(Clone, Debug)]
pub struct CreateImageCache {
    /// Makes the call repeatable.
    pub token: ClientToken,
    /// What to build.
    pub request: ImageCacheRequest,
    /// Logins of registries. At most 10 (vendor's documentation).
    pub credentials: Vec<RegistryCredential>,
    /// All tags, ours and the user's. At most 20 (vendor's documentation).
    pub tags: BTreeMap<String, String>,
}

/// An update call: what is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct UpdateImageCache {
    /// Which.
    pub id: CloudId,
    /// Fresh for every call.
    pub token: ClientToken,
    /// Days until the cloud deletes it.
    pub retention_days: Option<i32>,
    /// Whether the cloud may remove it; an empty text means keep.
    pub elimination_strategy: Option<String>,
    /// All tags, ours and the user's.
    pub tags: Option<BTreeMap<String, String>>,
    /// Copies of the standard snapshot.
    pub standard_copies: Option<i32>,
    /// Copies of the quick snapshot.
    pub flash_copies: Option<i32>,
    /// Resource group.
    pub resource_group_id: Option<String>,
}

/// The login of one registry. Its Debug form has no secret.
#[derive(Clone, Debug)]
pub struct RegistryCredential {
    /// Host without scheme.
    pub server: String,
    /// User.
    pub user_name: String,
    /// Password.
    pub password: SecretString,
}

/// The answer to a create call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedImageCache {
    /// The new cache.
    pub id: CloudId,
    /// The instance that builds it.
    pub container_group_id: Option<String>,
}

/// The state of a cache in the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// Pulling.
    Preparing,
    /// Making the snapshot.
    Creating,
    /// Usable.
    Ready,
    /// Not usable; kept one day (vendor's documentation).
    Failed,
    /// Changing in place.
    Updating,
    /// The change failed.
    UpdateFailed,
    /// A word that we do not know.
    Other(String),
}

impl CacheState {
    /// Reads the cloud's word.
    pub fn parse(word: &str) -> Self {
        match word {
            "Preparing" => Self::Preparing,
            "Creating" => Self::Creating,
            "Ready" => Self::Ready,
            "Failed" => Self::Failed,
            "Updating" => Self::Updating,
            "UpdateFailed" => Self::UpdateFailed,
            other => Self::Other(other.chars().take(64).collect()),
        }
    }

    /// The cloud's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Preparing => "Preparing",
            Self::Creating => "Creating",
            Self::Ready => "Ready",
            Self::Failed => "Failed",
            Self::Updating => "Updating",
            Self::UpdateFailed => "UpdateFailed",
            Self::Other(word) => word,
        }
    }
}

/// An image cache as the cloud shows it. Every field but the ID and the state may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageCacheView {
    /// Its ID.
    pub id: CloudId,
    /// Display name.
    pub name: String,
    /// State.
    pub state: CacheState,
    /// Percent of the build, 0 to 100.
    pub progress_percent: Option<i32>,
    /// References.
    pub images: Vec<String>,
    /// GiB.
    pub size_gib: Option<i32>,
    /// Standard snapshot.
    pub snapshot_id: Option<String>,
    /// Quick snapshot.
    pub flash_snapshot_id: Option<String>,
    /// The instance that builds it.
    pub container_group_id: Option<String>,
    /// Start of the build.
    pub creation_time: Option<Timestamp>,
    /// When the cloud will delete it.
    pub expiration_time: Option<Timestamp>,
    /// When a pod last used it.
    pub last_matched_time: Option<Timestamp>,
    /// Empty or `LRU`.
    pub elimination_strategy: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Newest events first or last: the order is not documented.
    pub events: Vec<CloudEventView>,
}

/// An event of the cloud about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEventView {
    /// Normal or Warning.
    pub type_: String,
    /// The cloud's reason.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// How often.
    pub count: i32,
    /// When last.
    pub last_time: Option<Timestamp>,
}

/// Quotas and their use; a number that the cloud does not give is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Most manual image caches.
    pub max_image_caches: Option<i64>,
    /// Manual image caches that exist.
    pub used_image_caches: Option<i64>,
    /// Most data caches.
    pub max_data_caches: Option<i64>,
    /// Data caches that exist.
    pub used_data_caches: Option<i64>,
}

/// What a failed call means, whatever the vendor's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// The call was certainly not sent: no connection, no name, no TLS session, no credentials to sign with.
    NotSent,
    /// No credentials could be had; nothing was sent.
    NoCredentials,
    /// Nobody knows whether it had its effect: time-out, broken connection, 5xx, an answer that cannot be read.
    Unknown,
    /// Too many calls.
    Throttled,
    /// A quota is used up.
    QuotaExceeded,
    /// No stock in the zone.
    NoStock,
    /// No free address in the vSwitch, or in the EIP pool.
    NoAddress,
    /// Unpaid bills.
    Arrears,
    /// The service is not activated, or the account is restricted.
    AccountRestricted,
    /// The credentials are not accepted.
    BadCredentials,
    /// The clocks differ.
    ClockSkew,
    /// The credentials lack a permission.
    Denied,
    /// The resource or the account is busy with another call, or in the wrong state for this one.
    Busy,
    /// The token was used with another request.
    TokenMismatch,
    /// The resource is not known.
    NotFound,
    /// Anything else that the cloud does not accept; permanent until the request changes.
    Invalid,
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {message}{}{}", code.as_ref().map(|c| format!(" (code {c})")).unwrap_or_default(), request_id.as_ref().map(|r| format!(" (request {r})")).unwrap_or_default())]
pub struct CloudError {
    /// The action of the API, such as `CreateImageCache`.
    pub action: &'static str,
    /// What it means.
    pub meaning: Meaning,
    /// The vendor's code, for people.
    pub code: Option<String>,
    /// What the cloud or the transport said, at most [`TEXT_LIMIT`] characters, without secrets and query strings.
    pub message: String,
    /// The cloud's ID of the request.
    pub request_id: Option<String>,
    /// How long the cloud asks to wait.
    pub retry_after: Option<Duration>,
}

impl CloudError {
    /// Whether the cloud said no: the call had no effect. It proves that *nothing was made* only for the first send of
    /// a request or one after an empty window, since an earlier send of the same request may have had its effect.
    pub fn is_refusal(&self) -> bool {
        !matches!(self.meaning, Meaning::Unknown | Meaning::TokenMismatch)
    }

    /// Whether the call certainly never left.
    pub fn is_not_sent(&self) -> bool {
        matches!(self.meaning, Meaning::NotSent | Meaning::NoCredentials)
    }
}
