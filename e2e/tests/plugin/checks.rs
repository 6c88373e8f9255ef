//! `kubectl eci doctor`, `uninstall-check`, and what `status` says of virtual nodes.

use std::time::Duration;

use eci_api::image_cache::ImageCacheRequest;
use eci_core::cloud::{ClientToken, Cloud as _, CreateImageCache};
use eci_sim::{Settings, SimCloud};
use serde_json::Value;

use crate::cluster::{Cluster, text};
use crate::{Kubectl, market};

/// A virtual node, a pod that was reclaimed, and what does not work on virtual nodes.
const PITFALLS: &str = r"
apiVersion: v1
kind: Namespace
metadata: { name: checked }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: checked }
---
apiVersion: v1
kind: Node
metadata: { name: virtual-checked, labels: { type: virtual-kubelet } }
---
apiVersion: v1
kind: Pod
metadata: { name: logs, namespace: checked, labels: { app: logs } }
spec:
  nodeName: virtual-checked
  automountServiceAccountToken: false
  containers: [{ name: main, image: 'registry.example.com/web:1' }]
  volumes: [{ name: v, hostPath: { path: /var/log } }]
---
apiVersion: v1
kind: Pod
metadata: { name: waits, namespace: checked }
spec:
  automountServiceAccountToken: false
  containers: [{ name: main, image: 'registry.example.com/web:1' }]
  schedulingGates: [{ name: eci-operator.io/image-cache }]
---
apiVersion: v1
kind: Service
metadata: { name: logs, namespace: checked }
spec: { type: NodePort, selector: { app: logs }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: agent, namespace: checked }
spec:
  selector: { matchLabels: { app: agent } }
  template:
    metadata: { labels: { app: agent } }
    spec:
      tolerations: [{ operator: Exists }]
      containers: [{ name: main, image: 'registry.example.com/agent:1' }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: metrics-server, namespace: checked }
spec:
  selector: { matchLabels: { k8s-app: metrics-server } }
  template:
    metadata: { labels: { k8s-app: metrics-server } }
    spec: { containers: [{ name: main, image: 'registry.example.com/metrics-server:v0.7.2' }] }
---
apiVersion: eci-operator.io/v1alpha1
kind: ImageCache
metadata: { name: held, namespace: checked, finalizers: [eci-operator.io/cloud-resource] }
spec: { images: ['registry.example.com/web:1'] }
";

/// What a person may be asked for who may read pods of one namespace only.
const READER: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, namespace: checked }
rules: [{ apiGroups: [''], resources: [pods], verbs: [list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reader, namespace: checked }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: reader }]
";

fn found(report: &Value) -> Vec<(&str, &str)> {
    let findings = report["findings"].as_array().unwrap().iter();
    let pairs = findings.map(|f| (f["check"].as_str().unwrap(), f["object"].as_str().unwrap()));
    pairs.filter(|(_, object)| object.contains("checked") || object.contains("eci.aliyun.com")).collect()
}

/// After `migrate`, which brings the vendor's kinds.
pub(crate) async fn find_what_is_there(cluster: &Cluster) {
    let kubectl = &cluster.kubectl;
    let well = kubectl.run(&["eci", "doctor", "-A"]).await;
    assert_eq!(well.code, Some(0), "{well:?}");
    cluster.apply(PITFALLS).await;
    cluster.apply(READER).await;

    let report = kubectl.run(&["eci", "doctor", "-A", "-o", "json"]).await;
    assert_eq!(report.code, Some(1), "{report:?}");
    let report: Value = serde_json::from_str(&report.out).unwrap();
    let expected = [
        ("host-path", "Pod checked/logs"),
        ("daemon-set", "DaemonSet checked/agent"),
        ("node-port", "Service checked/logs"),
        ("metrics-server", "Deployment checked/metrics-server"),
        ("vendor-beside", "CustomResourceDefinition datacaches.eci.aliyun.com"),
        ("vendor-beside", "CustomResourceDefinition selectors.eci.aliyun.com"),
    ];
    assert_eq!(found(&report), expected, "{report}");
    assert!(report["skipped"].as_array().unwrap().is_empty(), "{report}");
    let shown = kubectl.run(&["eci", "doctor", "-n", "checked"]).await;
    assert!(shown.out.contains("use metrics-server 0.5") && shown.err.contains("do not work"), "{shown:?}");

    let report = kubectl.run(&["eci", "uninstall-check", "-o", "json"]).await;
    assert_eq!(report.code, Some(1), "{report:?}");
    let report: Value = serde_json::from_str(&report.out).unwrap();
    let expected = [("finalizers", "ImageCache checked/held"), ("gates", "Pod checked/waits")];
    assert_eq!(found(&report), expected, "{report}");

    let status = "{\"status\":{\"phase\":\"Failed\",\"reason\":\"BidFailed\",\"message\":\"released at 2026-04-08T12:36Z\"}}";
    let patch = ["patch", "pod", "logs", "-n", "checked", "--subresource=status", "-p", status];
    cluster.plane.kubectl(patch).await.unwrap().ok().unwrap();
    let shown = kubectl.run(&["eci", "status", "-n", "checked"]).await.ok();
    let line = shown.lines().find(|line| line.starts_with("virtual-checked")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["virtual-checked", "no", "no", "1"], "{shown}");
    assert!(shown.contains("Reclaimed") && shown.contains("released at 2026-04-08T12:36Z"), "{shown}");

    // Where virtual nodes have another label, this is none.
    let others =
        ["--virtual-node-labels=example.com/virtual=yes", "--virtual-node-taints=example.com/virtual=yes"];
    let shown = kubectl.run(&[&["eci", "status", "-n", "checked"], &others[..]].concat()).await.ok();
    assert!(!shown.contains("virtual-checked"), "{shown}");
    let said = kubectl.run(&["eci", "status", others[0]]).await.failed();
    assert!(said.contains("there are 2 for 1 --virtual-node-labels"), "{said}");
    of_the_cloud(cluster).await;

    let reader = cluster.plane.kubeconfig_for_user("reader", None).unwrap();
    let reader = ["--kubeconfig", reader.to_str().unwrap()];
    let said = kubectl.run(&[&["eci", "uninstall-check"], &reader[..]].concat()).await;
    assert!(said.code == Some(1) && said.out.contains("Not checked: finalizers: "), "{said:?}");
    let said = kubectl.run(&[&["eci", "doctor", "-n", "checked"], &reader[..]].concat()).await;
    assert!(said.out.contains("Not checked: host-path: "), "{said:?}");
}

/// One cache in the cloud is of no object here, though it has this cluster's ID; the other is of another cluster.
async fn of_the_cloud(cluster: &Cluster) {
    let (server, sim) = market(Settings::default()).await;
    let cloud = SimCloud::new(sim, Duration::from_secs(10));
    let mut made = Vec::new();
    for id in ["this", "other"] {
        let tags =
            [("cluster", id), ("namespace", "shop"), ("name", "web"), ("uid", "u-1"), ("attempt", "1")];
        let call = CreateImageCache {
            token: ClientToken::new(id).unwrap(),
            request: ImageCacheRequest {
                name: format!("copy-{id}"),
                images: vec!["registry.example.com/web:1".to_owned()],
                size_gib: 20,
                ..ImageCacheRequest::default()
            },
            credentials: Vec::new(),
            tags: tags.map(|(key, value)| (format!("eci-operator.io/{key}"), value.to_owned())).into(),
        };
        made.push(cloud.create_image_cache(&call).await.unwrap().id.to_string());
    }
    let kubectl = Kubectl::new().with_key().with("KUBECONFIG", text(&cluster.plane.kubeconfig_path()));
    let url = server.url();
    let args = [
        "eci",
        "doctor",
        "-n",
        "checked",
        "-o",
        "json",
        "--cloud",
        "--region=cn-hangzhou",
        "--endpoint",
        &url,
    ];
    let report = |said: String| -> Value { serde_json::from_str(&said).unwrap() };
    let unknown = report(kubectl.run(&args).await.out);
    assert_eq!(unknown["skipped"][0]["check"], "cluster-tags", "{unknown}");
    assert!(unknown["skipped"][0]["why"].as_str().unwrap().contains("eci-operator-cluster-id"), "{unknown}");
    cluster
        .apply(
            "{apiVersion: v1, kind: Namespace, metadata: {name: eci-operator}}\n---\n\
             {apiVersion: v1, kind: ConfigMap, metadata: {name: eci-operator-cluster-id, namespace: eci-operator}, \
             data: {clusterID: this}}",
        )
        .await;
    let found = report(kubectl.run(&args).await.out);
    let of_tags: Vec<_> =
        found["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "cluster-tags").collect();
    assert_eq!(of_tags.len(), 1, "{found}");
    assert_eq!(of_tags[0]["object"], format!("{} in the cloud", made[0]), "{found}");
    assert!(of_tags[0]["found"].as_str().unwrap().contains("ImageCache shop/web"), "{found}");
    let nobody = Kubectl::new().with("KUBECONFIG", text(&cluster.plane.kubeconfig_path()));
    let without = report(nobody.run(&args).await.out);
    let why = without["skipped"][0]["why"].as_str().unwrap();
    assert!(why.contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{without}");
}
