//! The ClusterRole of the chart as the owner of what the operator makes for the webhook: uninstalling the chart deletes
//! that too.

use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, ResourceExt as _};

use crate::kubernetes::{KubeError, call};

/// What became of the question.
pub(super) enum Owner {
    /// None is wanted.
    None,
    /// It is there.
    Found(OwnerReference),
    /// It is wanted and is not there: the operator was uninstalled.
    Gone,
}

/// Looks for the owner of that name.
pub(super) async fn owner(client: &Client, name: Option<&String>) -> Result<Owner, KubeError> {
    let Some(name) = name else { return Ok(Owner::None) };
    let api: Api<ClusterRole> = Api::all(client.clone());
    let found = call("get", || format!("ClusterRole {name}"), api.get_metadata(name)).await?;
    let alive = found.filter(|role| role.metadata.deletion_timestamp.is_none());
    let Some(uid) = alive.and_then(|role| role.uid()) else { return Ok(Owner::Gone) };
    Ok(Owner::Found(OwnerReference {
        api_version: "rbac.authorization.k8s.io/v1".to_owned(),
        kind: "ClusterRole".to_owned(),
        name: name.clone(),
        uid,
        ..OwnerReference::default()
    }))
}
