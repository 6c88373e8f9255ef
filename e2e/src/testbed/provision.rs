use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::PostParams;

use super::control_plane::ControlPlane;
use super::error::Error;
use super::nodes;

/// What a bed of `cargo xtask up` has beyond the control plane. The one place to add to.
pub(crate) async fn provision(plane: &ControlPlane) -> Result<(), Error> {
    let api: Api<Node> = Api::all(plane.client()?);
    for node in [
        nodes::regular("regular-1", "32", "128Gi"),
        nodes::regular("regular-2", "32", "128Gi"),
        nodes::virtual_node("virtual-1"),
    ] {
        api.create(&PostParams::default(), &node).await.map_err(Error::kube("create the bed's nodes"))?;
    }
    Ok(())
}
