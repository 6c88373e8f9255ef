//! Whether the operator may evict and delete: asked of the API server before it matters.

use eci_core::profile::status::Permits;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::kubernetes::{KubeError, call};

/// Asks. Everybody may ask that about themselves.
pub(super) async fn ask(client: &Client, namespaces: &[Option<String>]) -> Result<Permits, KubeError> {
    let mut permits = Permits::default();
    for namespace in namespaces {
        let name = namespace.clone().unwrap_or_default();
        if permits.evict_denied.is_none() && !may(client, "create", Some("eviction"), &name).await? {
            permits.evict_denied = Some(name.clone());
        }
        if permits.delete_denied.is_none() && !may(client, "delete", None, &name).await? {
            permits.delete_denied = Some(name);
        }
    }
    Ok(permits)
}

async fn may(
    client: &Client,
    verb: &str,
    subresource: Option<&str>,
    namespace: &str,
) -> Result<bool, KubeError> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                resource: Some("pods".to_owned()),
                subresource: subresource.map(str::to_owned),
                // Empty means all of them.
                namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let target = || "whether the operator may evict and delete pods".to_owned();
    let answer = call("ask", target, api.create(&PostParams::default(), &question)).await?;
    Ok(answer.and_then(|answer| answer.status).is_some_and(|status| status.allowed))
}
