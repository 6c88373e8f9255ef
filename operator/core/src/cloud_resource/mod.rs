//! The life cycle of an object that owns a cloud resource.
//!
//! One pure function, [`plan`], decides what a pass does next; the shell does it, tells the process's [`Memory`] the
//! outcome ([`Memory::fold`]) and asks again. A pass does one thing, so that "stopped after every prefix" is the
//! same as "stopped between any two passes".
//!
//! What must hold, whatever is lost, late, repeated or restarted: an object has one live cloud resource after
//! quiescence, two while one replaces the other, none after its deletion. The protocol that gives this is in
//! `docs/adr/0001-exactly-once.md`; the model in `tests/model/` runs this very code.
//!
//! Reading order: this file, `plan.rs` (a pass), `steady.rs` (a resource and its spec), `resolve.rs` (an operation whose
//! outcome is not known), `sight.rs` (what can be believed), `remove.rs` and `delete.rs` (the end), `users.rs` (who would
//! start pods from it), `adopt.rs` (what exists is taken over), `place.rs` (kinds with one resource at a place), `memory.rs`
//! (what a process knows beyond the status), `stored.rs` (what a status keeps), `speak.rs` (reasons and conditions).

mod adopt;
mod delete;
pub mod identity;
mod memory;
mod place;
mod plan;
mod remove;
mod resolve;
mod room;
mod sight;
mod speak;
mod steady;
pub mod stored;
mod users;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use eci_api::condition::{Reason, Wanted};
use eci_api::image_cache::{DeletionPolicy, SecretVersion};
use jiff::Timestamp;

use crate::cloud::{ClientToken, CloudError, CloudId, Place};
use crate::quota::Room;
use crate::time::Mono;

pub use adopt::{PRIVILEGED, Peer, Peers};
pub use identity::Owner;
pub use memory::{Memory, Outcome};
pub use place::Claim;
pub use plan::{plan, queued};
pub use speak::{Class, explain};
pub use users::{
    MOUNTS, Mark, User, marks_of_data_cache, marks_of_image_cache, marks_of_pod, marks_of_profile,
};

/// What is particular to a kind.
pub trait Kind: 'static {
    /// Everything that a create call says but secret values, tags and token.
    type Request: Clone + PartialEq + Debug + Send + Sync;
    /// The resource as the cloud shows it.
    type View: Clone + Debug + Send + Sync;

    /// What people call it, for messages.
    const NOUN: &'static str;
    /// The field of the spec that names secrets, for messages.
    const SECRETS_FIELD: &'static str;

    /// Its ID.
    fn id(view: &Self::View) -> &CloudId;
    /// Its state.
    fn phase(view: &Self::View) -> Phase;
    /// Its tags.
    fn tags(view: &Self::View) -> &BTreeMap<String, String>;
    /// Why it failed, in the cloud's words.
    fn failure(view: &Self::View) -> Option<String>;
    /// When the cloud will delete it.
    fn expiration(view: &Self::View) -> Option<Timestamp>;
    /// Whether the cloud shows everything that a usable resource needs, such as its snapshot. Only its loss counts: a
    /// cloud that never shows it takes nothing away.
    fn is_whole(view: &Self::View) -> bool;

    /// The same text for the same request, in every process of one version.
    fn fingerprint(request: &Self::Request) -> String;
    /// Names of the secrets whose values the call carries.
    fn secrets(request: &Self::Request) -> &[String];
    /// Where the resource is, for a kind of which the account has one at a place: it can't be replaced side by side, and
    /// what is there may be another's. The same for every request of an object.
    fn place(_: &Self::Request) -> Option<Place> {
        None
    }
    /// Of what makes another resource necessary, what the cloud does not show: its digest is a tag of the resource
    /// ([`identity::TAG_CONTENT`]), so that it outlives a lost status. The same text in every version of the operator, and
    /// nothing secret. `None` when the cloud shows everything, or nothing of it is asked for.
    fn unshown(_: &Self::Request) -> Option<String> {
        None
    }
    /// The request of a create call, for `request` may leave to a resource that is there what is not known before it is;
    /// or why nothing can be built.
    fn to_build(request: &Self::Request) -> Result<Self::Request, String> {
        Ok(request.clone())
    }
    /// Whether the difference needs another resource that replaces the first.
    fn replaces(wanted: &Self::Request, applied: &Self::Request) -> bool;
    /// Whether the difference can be applied in place.
    fn updates(wanted: &Self::Request, applied: &Self::Request) -> bool;
    /// Whether the cloud shows, in a field that can be changed in place, something else than was applied. What the cloud
    /// adds by itself is no drift.
    fn drifted(applied: &Self::Request, view: &Self::View) -> bool;
    /// `applied` after the fields that can be changed in place have been.
    fn updated(wanted: &Self::Request, applied: &Self::Request) -> Self::Request;
    /// `assumed`, corrected by what the cloud and the tag of [`Kind::unshown`] show: what a resource was really made from.
    fn corrected(assumed: &Self::Request, view: &Self::View) -> Self::Request;
    /// What the resource is that the request does not say, and that a change in place does not mend; for people.
    fn differs(request: &Self::Request, view: &Self::View) -> Option<String>;
    /// Whether the cloud may remove the resource by itself to make room.
    fn may_be_eliminated(applied: &Self::Request) -> bool;
}

/// Our tags on a resource that `attempt` of an object makes, or made, with this request.
pub fn tags<K: Kind>(owner: &Owner, attempt: i64, request: &K::Request) -> BTreeMap<String, String> {
    let mut tags = owner.tags(attempt);
    if let Some(text) = K::unshown(request) {
        tags.insert(identity::TAG_CONTENT.to_owned(), identity::content(&text));
    }
    tags
}

/// Whether the tags say that a resource was asked to hold something else than `request` does. One that was made before
/// there was such a tag says nothing.
pub(crate) fn holds_another<K: Kind>(request: &K::Request, tags: &BTreeMap<String, String>) -> bool {
    let has = tags.get(identity::TAG_CONTENT);
    K::unshown(request).is_some_and(|text| has.is_some_and(|has| *has != identity::content(&text)))
}

/// The state of a resource, whatever the kind calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Being built. Also any word that we do not know: keep looking.
    Building,
    /// Usable.
    Usable,
    /// Changing in place.
    Changing,
    /// A change in place failed.
    ChangeFailed,
    /// The build failed.
    Failed,
}

/// What is remembered in the object's status: the truth that outlives a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<R> {
    /// UID of the object that the record is of; `None` when nothing was recorded yet.
    pub owner_uid: Option<String>,
    /// Region of the resource.
    pub region: Option<String>,
    /// Highest attempt used; only rises.
    pub last_attempt: i64,
    /// A create call whose outcome is not known.
    pub operation: Option<Operation<R>>,
    /// The resource.
    pub current: Option<Owned<R>>,
    /// A resource that is being built to replace it.
    pub successor: Option<Owned<R>>,
    /// Resources that were replaced or given up and are to be deleted: an ID is never forgotten before it is confirmed
    /// gone, for a list may not show it yet.
    pub retiring: Vec<CloudId>,
    /// Builds that failed.
    pub failed: Option<FailedBuilds>,
    /// A create call that was refused.
    pub refusal: Option<Refusal>,
    /// When a vanished resource was last rebuilt.
    pub last_rebuild: Option<Timestamp>,
    /// When the record was last found lost, and what the cloud had to show was taken for it, or was overwritten by
    /// somebody else. What the cloud did not show yet may be this object's too.
    pub lost: Option<Timestamp>,
    /// The value of the annotation `requested-at` that was last acted upon.
    pub handled_request: Option<String>,
    /// A resource whose adoption was begun and is not confirmed: our tags may be on it.
    pub adopting: Option<CloudId>,
    /// When the cloud said that it would delete the resource.
    pub expiration: Option<Timestamp>,
    /// Whether the cloud has ever shown the current resource.
    pub seen: bool,
    /// Whether it was usable when last seen.
    pub usable: bool,
    /// Whether the cloud has shown everything that it needs to be of use; see [`Kind::is_whole`].
    pub whole: bool,
}

impl<R> Default for Record<R> {
    fn default() -> Self {
        Self {
            owner_uid: None,
            region: None,
            last_attempt: 0,
            operation: None,
            current: None,
            successor: None,
            retiring: Vec::new(),
            failed: None,
            refusal: None,
            last_rebuild: None,
            lost: None,
            handled_request: None,
            adopting: None,
            expiration: None,
            seen: false,
            usable: false,
            whole: false,
        }
    }
}

impl<R> Record<R> {
    /// Whether nothing was ever asked of the cloud for the object.
    pub fn owns_nothing(&self) -> bool {
        self.last_attempt == 0
            && self.operation.is_none()
            && self.current.is_none()
            && self.successor.is_none()
            && self.adopting.is_none()
            && self.retiring.is_empty()
    }
}

impl<R> Operation<R> {
    /// Which send of which attempt this is.
    pub fn turn(&self) -> Turn {
        Turn { attempt: self.attempt, send: self.sends }
    }
}

/// A send of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Attempt number.
    pub attempt: i64,
    /// Number of the send.
    pub send: i64,
}

/// A create call whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<R> {
    /// Attempt number, from 1.
    pub attempt: i64,
    /// How many sends of the call were recorded, from 1. Every send is recorded first, so that any process that looks
    /// for the resource knows that its window begins anew.
    pub sends: i64,
    /// Its token.
    pub token: ClientToken,
    /// When it was recorded.
    pub started: Timestamp,
    /// What it asks for.
    pub request: R,
    /// The secrets whose values it carries.
    pub secrets: Vec<SecretVersion>,
    /// Generation that the request was made from.
    pub generation: i64,
}

/// A resource of ours, and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned<R> {
    /// Its ID.
    pub id: CloudId,
    /// Attempt that made it.
    pub attempt: i64,
    /// The request.
    pub request: R,
    /// The secrets whose values the call carried.
    pub secrets: Vec<SecretVersion>,
    /// Generation that the request was made from.
    pub generation: i64,
    /// A change in place was begun and not yet confirmed: the cloud may have something else than `request`.
    pub updating: bool,
    /// It was usable, and the cloud has shown since that it can't be used any more. Does not heal.
    pub broken: bool,
}

/// Builds that failed, of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedBuilds {
    /// How many.
    pub count: i32,
    /// Generation.
    pub generation: i64,
    /// The last attempt that failed.
    pub attempt: i64,
    /// When that was seen.
    pub last: Timestamp,
    /// What the cloud said.
    pub message: Option<String>,
}

/// A create call that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// In the cloud's words.
    pub message: String,
    /// How often in a row.
    pub count: i32,
    /// First of the row.
    pub first: Timestamp,
    /// Last of the row.
    pub last: Timestamp,
    /// The cloud asked not to be called before.
    pub not_before: Option<Timestamp>,
    /// Generation that was refused.
    pub generation: i64,
    /// The secrets of the refused call.
    pub secrets: Vec<SecretVersion>,
}

/// What a pass sees.
#[derive(Debug)]
pub struct Observed<'a, K: Kind> {
    /// The object's metadata.
    pub object: Object,
    /// Its status.
    pub record: Record<K::Request>,
    /// The newest complete list of the cluster's resources, if any.
    pub list: Option<&'a List<K>>,
    /// Why the newest try to list failed, when it did.
    pub list_error: Option<&'a CloudError>,
    /// The secrets that [`Read::Secrets`] asked for.
    pub secrets: Option<Result<Vec<SecretVersion>, Problem>>,
    /// Whether the namespace is privileged, when [`Read::Namespace`] asked for it.
    pub privileged: Option<Result<bool, Problem>>,
    /// The other objects, when [`Read::Peers`] asked for them.
    pub peers: Option<Peers>,
    /// Who would start pods from the resource, when [`Read::Users`] asked for it.
    pub users: Option<Result<Vec<User>, Problem>>,
    /// Whether the account has room for one more resource, when [`Read::Room`] asked for it.
    pub room: Option<Room>,
    /// The operator's region.
    pub region: &'a str,
    /// How long the lease still lasts; `None` without leader election.
    pub lease_left: Option<Duration>,
}

/// The object's metadata.
#[derive(Clone, Debug)]
pub struct Object {
    /// Who it is.
    pub owner: Owner,
    /// When it was created.
    pub created: Timestamp,
    /// Generation.
    pub generation: i64,
    /// resourceVersion of this copy.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it has our finalizer.
    pub has_finalizer: bool,
    /// When somebody else last set something in the status, by the API server's clock and word (`managedFields`): the
    /// record may be older than what was asked of the cloud.
    pub status_set_by_others: Option<Timestamp>,
    /// Whether the copy is from a GET or a write of this reconcile, not from a watch.
    pub live: bool,
}

/// A complete list of the cluster's resources, reduced to those that carry this object's UID or name.
#[derive(Clone, Debug)]
pub struct List<K: Kind> {
    /// When the list was begun.
    pub begun: Mono,
    /// The resources.
    pub items: Vec<K::View>,
    /// So many resources vanished at once that the list is not believed.
    pub suspect: bool,
}

/// What the user wants.
#[derive(Clone, Debug)]
pub struct Desired<R> {
    /// The request that the spec amounts to, or why it amounts to none.
    pub request: Result<R, Problem>,
    /// What happens to the resource when the object goes.
    pub deletion_policy: DeletionPolicy,
    /// Nothing but deletion is reconciled.
    pub suspend: bool,
    /// The annotation `requested-at`.
    pub requested_at: Option<String>,
    /// The annotation `force-delete`: the resource goes with its object, whoever uses it.
    pub force_delete: bool,
    /// An existing resource to take over.
    pub adopt: Option<CloudId>,
    /// The resource at this place is to be taken over, whatever its ID.
    pub adopt_at: Option<Place>,
    /// The field of the spec that only builds of privileged namespaces may use, when the request uses it.
    pub privileged: Option<&'static str>,
}

impl<R> Desired<R> {
    /// The resource that is to be taken over, as far as it is known.
    pub fn adopts(&self, record: &Record<R>) -> Option<CloudId> {
        let begun = self.adopt_at.as_ref().and(record.adopting.as_ref());
        self.adopt.as_ref().or(begun).cloned()
    }

    /// Whether the resource is one that was taken over, or may be.
    pub(crate) fn took_over(&self, id: &CloudId) -> bool {
        self.adopt.as_ref() == Some(id) || self.adopt_at.is_some()
    }
}

/// Something that a person has to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Why.
    pub reason: Reason,
    /// What happened, to which object, what to do.
    pub message: String,
}

/// Durations of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an unresolved create call is looked for before it is sent again (`--resolve-window`).
    pub resolve_window: Duration,
    /// How long after recording it an operation may be sent without looking.
    pub send_within: Duration,
    /// How long one call to the cloud may take.
    pub request_timeout: Duration,
    /// How long the cloud is trusted to remember a token.
    pub token_life: Duration,
    /// How far apart two looks must be that prove together that a resource is gone.
    pub vanish_gap: Duration,
    /// How far apart two lists must be that prove together that a resource is nobody's.
    pub stray_gap: Duration,
    /// How often the same question is asked about one resource.
    pub look_gap: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            resolve_window: seconds(300),
            send_within: seconds(10),
            request_timeout: seconds(10),
            token_life: seconds(30 * 60),
            vanish_gap: seconds(60),
            stray_gap: seconds(30),
            look_gap: seconds(5),
        }
    }
}

/// With so many resources waiting to be deleted, nothing more is built. Current and successor may still be added.
pub const RETIRING_LIMIT: usize = 16;

/// What a pass does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next<R> {
    /// Look, and plan again at once.
    Read(Read),
    /// Do this one thing, fold its outcome, and plan again at once.
    Do(Effect<R>),
    /// Write the status if it differs, and wait.
    Rest,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The object, by GET.
    Object,
    /// The secrets of these names.
    Secrets(Vec<String>),
    /// Whether the object's namespace is privileged.
    Namespace,
    /// The other objects of the kind. Nobody else may begin an adoption before this reconcile is over.
    Peers,
    /// Who would start pods from the resource.
    Users,
    /// Whether the account has room for one more resource. A positive answer is for this object alone.
    Room,
    /// A complete list begun at this instant or later.
    List(Mono),
    /// One resource by ID.
    Resource(CloudId),
    /// What is at a place, whosever it is.
    Place(Place),
}

/// Something to do. Each is safe to stop before and after.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<R> {
    /// Add our finalizer.
    AddFinalizer,
    /// Write the record into the status, if the object is still at the resourceVersion of this pass.
    Write(Box<Record<R>>),
    /// Send a create call, at most once.
    Create(Box<Create<R>>),
    /// Change a resource in place, with a fresh token.
    Update {
        /// Which.
        id: CloudId,
        /// To what.
        request: R,
        /// All its tags but the user's.
        tags: BTreeMap<String, String>,
    },
    /// Delete a resource, with a fresh token.
    Delete {
        /// Which.
        id: CloudId,
        /// Why, for the event.
        why: DeleteReason,
    },
    /// Change tags.
    Retag {
        /// Which.
        id: CloudId,
        /// Tags to set.
        set: BTreeMap<String, String>,
        /// Keys to remove.
        remove: Vec<String>,
    },
    /// Remove our finalizer.
    RemoveFinalizer,
    /// Tell people, once, of a resource that is ours by its tags and used by nothing, and that is not deleted.
    TellOfStray(CloudId),
}

/// A create call.
#[derive(Clone, Debug, PartialEq)]
pub struct Create<R> {
    /// Attempt and send.
    pub turn: Turn,
    /// Token.
    pub token: ClientToken,
    /// What to ask for.
    pub request: R,
    /// Our tags.
    pub tags: BTreeMap<String, String>,
    /// The secrets must still be at these versions when their values are read.
    pub secrets: Vec<SecretVersion>,
    /// Not to be sent after this instant: a process that was held up must not send what it decided long ago.
    pub not_after: Mono,
}

/// Why a resource is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteReason {
    /// Its object is deleted.
    ObjectDeleted,
    /// It is a second one: a repeated create call, or one that was replaced.
    Superseded,
    /// Its build failed and is tried again.
    BuildFailed,
}

/// A pass, decided: data that can be printed, compared and tested.
#[derive(Clone, Debug)]
pub struct Plan<R> {
    /// What to do.
    pub next: Next<R>,
    /// The record after this pass, to be written at rest.
    pub record: Record<R>,
    /// The conditions at rest.
    pub conditions: Vec<Wanted>,
    /// When to plan again at the latest; `None` waits for a change.
    pub wake: Option<Duration>,
    /// Whether something is under way in the cloud, so that lists should come fast.
    pub busy: bool,
    /// Rests until there is a list that was begun at this instant or later; the last try to get one failed.
    pub awaits: Option<Mono>,
}
