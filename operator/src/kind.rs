//! What the generic driver has to know of a kind: its Kubernetes type, its decisions, its calls to the cloud.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::future::Future;
use std::time::Duration;

use eci_api::condition::Wanted;
use eci_core::cloud::{ClientToken, Cloud, CloudError, CloudId, Page, PageToken, Place, Usage};
use eci_core::cloud_resource::{Create, Desired, Kind, Mark, Peer, Record};
use eci_core::image_cache::Defaults;
use eci_core::matches::{Candidate, Pending};
use eci_core::pull_secret::PullSecret;
use eci_core::quota::Quota;
use eci_core::sweeper::Orphan;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ManagedFieldsEntry, ObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kubernetes::FIELD_MANAGER;
use crate::sweep::WayOut;

/// A kind, bound to its Kubernetes type and to the port. Wiring only: what is decided is decided in the core.
pub trait Managed: Kind<View: PartialEq, Request: Serialize> + Send + Sync {
    /// The Kubernetes type.
    type Object: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static;
    /// Its status.
    type Status: Clone + Serialize + Send + Sync;
    /// What a create call carries of the secrets that the request names.
    type Credentials: Send + Sync;
    /// Why the secrets do not give them; the message has no part of a secret.
    type CredentialsError: std::error::Error;

    /// What the user wants.
    fn desired(object: &Self::Object, defaults: &Defaults) -> Desired<Self::Request>;
    /// What an object has to do with resources, for the others.
    fn peer(object: &Self::Object) -> Peer;
    /// The status of an object.
    fn status_of(object: &Self::Object) -> Option<&Self::Status>;
    /// The conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];
    /// What pods name when they would start from the object's resource.
    fn marks(object: &Self::Object, record: &Record<Self::Request>) -> BTreeSet<Mark>;
    /// The quota that resources of the kind count against; `None` when the cloud does not say.
    fn quota(usage: &Usage) -> Option<Quota>;
    /// Whether the cloud would remove the resource by itself when the quota is used up.
    fn gives_way(view: &Self::View) -> bool;
    /// The record that a status holds.
    fn record(status: Option<&Self::Status>) -> Record<Self::Request>;
    /// The status to write; see the core's function of the kind.
    fn status(
        old: Option<&Self::Status>,
        record: &Record<Self::Request>,
        conditions: Option<&[Wanted]>,
        view: Option<&Self::View>,
        generation: i64,
        now: Timestamp,
    ) -> Self::Status;
    /// Whether the starts of pods are counted of this kind.
    const COUNTED: bool = false;
    /// A resource, as far as pods start from it.
    fn candidate(_view: &Self::View) -> Option<Candidate> {
        None
    }
    /// The status with what was counted of pods since; `None` when there is nothing to be written now. Of kinds that pods
    /// are not counted of, there never is.
    fn matched(
        _status: &Self::Status,
        _pending: &Pending,
        _generation: i64,
        _now: Timestamp,
    ) -> Option<Self::Status> {
        None
    }
    /// When what was counted since may be written; `None` for never.
    fn counts_due(_status: &Self::Status, _now: Timestamp) -> Option<Duration> {
        None
    }
    /// What the secrets give for this request.
    fn credentials(
        request: &Self::Request,
        secrets: &[PullSecret],
    ) -> Result<Self::Credentials, Self::CredentialsError>;

    /// What is to be done with a resource that belongs to no object.
    fn way_out(view: &Self::View, orphan: &Orphan, region: &str) -> WayOut;

    /// One page of the resources that carry all of `tags`.
    fn list<C: Cloud>(
        cloud: &C,
        tags: &BTreeMap<String, String>,
        page: Option<&PageToken>,
    ) -> impl Future<Output = Result<Page<Self::View>, CloudError>> + Send;
    /// One resource by ID.
    fn describe<C: Cloud>(
        cloud: &C,
        id: &CloudId,
    ) -> impl Future<Output = Result<Option<Self::View>, CloudError>> + Send;
    /// What is at a place, for a kind that has places.
    fn find<C: Cloud>(_: &C, _: &Place) -> impl Future<Output = Result<Vec<Self::View>, CloudError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
    /// Sends a create call.
    fn create<C: Cloud>(
        cloud: &C,
        call: &Create<Self::Request>,
        credentials: Self::Credentials,
    ) -> impl Future<Output = Result<CloudId, CloudError>> + Send;
    /// Changes a resource in place; `ours` are its ownership tags.
    fn update<C: Cloud>(
        cloud: &C,
        id: &CloudId,
        token: ClientToken,
        request: &Self::Request,
        ours: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;
    /// Deletes a resource.
    fn delete<C: Cloud>(
        cloud: &C,
        id: &CloudId,
        token: &ClientToken,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;
    /// Sets tags, then removes others.
    fn retag<C: Cloud>(
        cloud: &C,
        id: &CloudId,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> impl Future<Output = Result<(), CloudError>> + Send;
}

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Of this object.
    pub fn of<O: Resource>(object: &O) -> Self {
        Self {
            namespace: object.meta().namespace.clone().unwrap_or_default(),
            name: object.meta().name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// When somebody else than the operator last set something in the status of an object. A status can be lost without it:
/// the API server tells who set a field, not who took one away.
pub(crate) fn status_set_by_others(meta: &ObjectMeta) -> Option<Timestamp> {
    let others = meta.managed_fields.iter().flatten().filter(|entry| is_of_others(entry));
    others.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

/// Drops what nobody reads of who wrote which field; it is most of an object.
pub(crate) fn forget_fields(managed: &mut Vec<ManagedFieldsEntry>) {
    managed.retain(is_of_others);
    for entry in managed {
        entry.fields_v1 = None;
    }
}

fn is_of_others(entry: &ManagedFieldsEntry) -> bool {
    entry.subresource.as_deref() == Some("status") && entry.manager.as_deref() != Some(FIELD_MANAGER)
}

/// UID of an object; empty when the API server gave none, which it never does.
pub(crate) fn uid_of<O: Resource>(object: &O) -> String {
    object.uid().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_others_who_set_something_in_the_status_are_remembered() {
        let entry = |manager: &str, part: Option<&str>, hour: u8| {
            json!({ "manager": manager, "subresource": part, "operation": "Update", "fieldsV1": { "f:status": {} },
                "time": format!("2027-01-01T{hour:02}:00:00Z") })
        };
        let mut meta: ObjectMeta = serde_json::from_value(json!({ "managedFields": [
            entry("kubectl", None, 9), entry(FIELD_MANAGER, Some("status"), 8),
            entry("velero", Some("status"), 5), entry("kubectl", Some("status"), 6), entry("kubectl", Some("scale"), 7),
        ] }))
        .unwrap();
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(status_set_by_others(&meta), at("2027-01-01T06:00:00Z"));
        forget_fields(meta.managed_fields.as_mut().unwrap());
        assert_eq!(status_set_by_others(&meta), at("2027-01-01T06:00:00Z"));
        let left = meta.managed_fields.unwrap();
        assert!(left.len() == 2 && left.iter().all(|entry| entry.fields_v1.is_none()), "{left:?}");
        assert_eq!(status_set_by_others(&ObjectMeta::default()), None);
    }
}
