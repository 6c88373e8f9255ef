//! The actors that spot evictions are tested with: simulated nodes, the vendor, storms and the observer. What they do
//! is shown here on a real API server, without the operator.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy excepts only the functions marked #[test]"
)]

mod nodes;
mod vendor;

use std::time::Duration;

use eci_e2e::testbed::{ControlPlane, StartOptions, nodes as made};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::OnceCell;

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// One control plane for the whole file, with a regular node and one virtual node of each make.
async fn plane() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = || async {
        let plane = ControlPlane::start(StartOptions::default()).await.unwrap();
        let api: Api<Node> = Api::all(plane.client().unwrap());
        for node in
            [made::regular("regular", "32", "128Gi"), made::virtual_node("virtual"), made::vnode("vnode")]
        {
            api.create(&PostParams::default(), &node).await.unwrap();
        }
        plane
    };
    SHARED.get_or_init(start).await
}

/// A namespace of its own for a test, in which pods can be created.
async fn namespace(name: &str) -> Client {
    let plane = plane().await;
    let client = plane.client().unwrap();
    let api: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    api.create(&PostParams::default(), &namespace).await.unwrap();
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client.clone(), name);
    eci_e2e::eventually::eventually("the namespace has its account", PATIENCE, || async {
        accounts.get("default").await.map(drop)
    })
    .await
    .unwrap();
    client
}
