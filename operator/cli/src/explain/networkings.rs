//! PodNetworkings of the vendor's network plugin, whose vSwitches come before those of profiles.

use eci_core::profile::networking::{self, PodNetworking};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::{Api, ResourceExt as _};

use crate::error::Error;
use crate::kubernetes::{Kubernetes, list, present};
use crate::manifest::Document;

/// Those of the cluster; none in one that does not have their kind.
pub(super) async fn of_cluster(cluster: &Kubernetes) -> Result<Vec<PodNetworking>, Error> {
    let kind = GroupVersionKind::gvk(networking::GROUP, networking::VERSION, networking::KIND);
    let kind = ApiResource::from_gvk_with_plural(&kind, networking::PLURAL);
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &kind);
    let found = present(list(&api, None).await)?;
    Ok(found.iter().filter_map(|object| PodNetworking::read(&object.name_any(), &object.data)).collect())
}

/// That of a file; `None` for another object.
pub(super) fn of_file(document: &Document) -> Option<PodNetworking> {
    let group = document.api_version().split('/').next();
    let is = document.kind() == networking::KIND && group == Some(networking::GROUP);
    is.then(|| PodNetworking::read(document.name(), &document.object)).flatten()
}
