//! The commands that need an API server and nothing else share one.

use std::path::{Path, PathBuf};

use eci_e2e::testbed::{ControlPlane, StartOptions};

use crate::Kubectl;
use crate::{checks, explain, migrate};

/// The API server, and kubectl with the plugin.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) kubectl: Kubectl,
}

impl Cluster {
    /// Makes objects that the API server must take.
    pub(crate) async fn apply(&self, manifests: &str) {
        let applied =
            self.plane.kubectl_stdin(["apply", "--server-side", "-f", "-"], manifests).await.unwrap();
        applied.ok().unwrap();
    }

    /// A file for `-f`.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.kubectl.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn commands_that_read_objects_say_what_they_are_like() {
    let plane = ControlPlane::start(StartOptions::api_only()).await.unwrap();
    let kubectl = Kubectl::new().with("KUBECONFIG", text(&plane.kubeconfig_path()));
    let said = kubectl.run(&["eci", "status", "-A"]).await.failed();
    assert!(
        said.contains("does not know imagecaches.eci-operator.io; install the chart eci-operator-crds"),
        "{said}"
    );
    let cluster = Cluster { plane, kubectl };
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    let applied = cluster.plane.kubectl(["apply", "--server-side", "-k", text(&crds)]).await.unwrap();
    applied.ok().unwrap();
    let established = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"];
    cluster.plane.kubectl(established).await.unwrap().ok().unwrap();
    explain::of_files_and_of_the_cluster(&cluster).await;
    migrate::of_files_and_of_the_cluster(&cluster).await;
    checks::find_what_is_there(&cluster).await;
}
