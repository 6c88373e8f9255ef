//! `kubectl eci doctor`, `uninstall-check`, and what `status` says of virtual nodes.

use serde_json::Value;

use crate::cluster::Cluster;

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

    let reader = cluster.plane.kubeconfig_for_user("reader", None).unwrap();
    let reader = ["--kubeconfig", reader.to_str().unwrap()];
    let said = kubectl.run(&[&["eci", "uninstall-check"], &reader[..]].concat()).await;
    assert!(said.code == Some(1) && said.out.contains("Not checked: finalizers: "), "{said:?}");
    let said = kubectl.run(&[&["eci", "doctor", "-n", "checked"], &reader[..]].concat()).await;
    assert!(said.out.contains("Not checked: host-path: "), "{said:?}");
}
