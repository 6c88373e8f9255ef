//! `kubectl eci migrate`: what it writes is what the API server takes.

use std::path::Path;

use serde_json::Value;

use crate::cluster::{Cluster, text};

/// The vendor's CRDs, as far as they matter: that the kinds are served.
const VENDORS_KINDS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: selectors.eci.aliyun.com }
spec:
  group: eci.aliyun.com
  scope: Namespaced
  names: { kind: Selector, plural: selectors, singular: selector }
  versions:
    - name: v1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
    - name: v1beta1
      served: true
      storage: false
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: imagecaches.eci.alibabacloud.com }
spec:
  group: eci.alibabacloud.com
  scope: Cluster
  names: { kind: ImageCache, plural: imagecaches, singular: imagecache }
  versions:
    - name: v1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: datacaches.eci.aliyun.com }
spec:
  group: eci.aliyun.com
  scope: Cluster
  names: { kind: DataCache, plural: datacaches, singular: datacache }
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
";

/// Every annotation and field at its edges, and beside each what is wrong.
const EDGES: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: eci-profile, namespace: kube-system }
data:
  unknownKey: x
  selectors: |
    [
      {"name": "edges", "objectSelector": {"matchLabels": {"a": "b"}}, "unknown": 1, "effect": {"annotations": {
        "k8s.aliyun.com/eci-spot-strategy": "SpotWithPriceLimit", "k8s.aliyun.com/eci-spot-price-limit": "0.123",
        "k8s.aliyun.com/eci-spot-duration": "1", "k8s.aliyun.com/eci-spot-fallback": "false",
        "k8s.aliyun.com/eci-spot-release-strategy": "api-evict",
        "k8s.aliyun.com/eci-vswitch": "vsw-a,vsw-b", "k8s.aliyun.com/eci-security-group": "sg-a,sg-b",
        "k8s.aliyun.com/eci-with-eip": "true", "k8s.aliyun.com/eip-bandwidth": "1000", "k8s.aliyun.com/eip-isp": "BGP_PRO",
        "k8s.aliyun.com/eip-internet-charge-type": "PayByTraffic",
        "k8s.aliyun.com/eip-common-bandwidth-package-id": "cbwp-a",
        "k8s.aliyun.com/eip-public-ip-address-pool-id": "pippool-a",
        "k8s.aliyun.com/eci-enable-ipv6": "true", "k8s.aliyun.com/eci-ipv6-bandwidth-enable": "true",
        "k8s.aliyun.com/eci-ipv6-bandwidth": "1000M",
        "k8s.aliyun.com/eci-use-specs": "0.25-0.5Gi,2-4Gi,ecs.c6.xlarge",
        "k8s.aliyun.com/eci-extra-ephemeral-storage": "32768Gi",
        "k8s.aliyun.com/eci-auto-imc": "false", "k8s.aliyun.com/eci-imc-id": "imc-a",
        "k8s.aliyun.com/acr-instance-ids": "cri-a,cn-beijing:cri-b",
        "k8s.aliyun.com/acr-service-arns": "acs:ram::1:role/a,acs:ram::2:role/b",
        "k8s.aliyun.com/plain-http-registry": "registry.example.com:5000", "k8s.aliyun.com/insecure-registry": "10.0.0.1",
        "k8s.aliyun.com/eci-max-pending-minute": "10", "k8s.aliyun.com/imc-perfect-match": "true",
        "k8s.aliyun.com/eci-not-known": "x", "k8s.aliyun.com/eci-reschedule-enable": "true",
        "k8s.aliyun.com/eci-instance-id": "x", "k8s.aliyun.com/eci-private-ip-address": "10.0.0.1",
        "kubernetes.io/egress-bandwidth": "10M", "example.com/team": "web", "eci-operator.io/profiles": "x"},
        "labels": {"tier": "batch", "alibabacloud.com/eci": "true", "bad label": "x"}}},
      {"name": "broken", "objectSelector": {"matchLabels": {"a": "b"}}, "effect": {"annotations": {
        "k8s.aliyun.com/eci-spot-strategy": "SpotWithPriceLimit", "k8s.aliyun.com/eci-spot-price-limit": "0.1234",
        "k8s.aliyun.com/eci-vswitch": "vsw-A", "k8s.aliyun.com/eci-use-specs": "1.5-3Gi",
        "k8s.aliyun.com/eci-max-pending-minute": "5", "k8s.aliyun.com/eci-custom-hosts": "no json"}}},
      {"name": "expressions", "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}},
      {"name": "not a condition", "objectSelector": {"matchLabels": {"a": "no value!"}}},
      17
    ]
"#;

/// Migrates a file and lets the API server judge the result; the report.
async fn applied(cluster: &Cluster, file: &Path, more: &[&str]) -> (Value, Option<i32>) {
    let args = [&["eci", "migrate", "-f", text(file)][..], more].concat();
    let yaml = cluster.kubectl.run(&[&args[..], &["-o", "yaml"]].concat()).await;
    let path = cluster.file("migrated.yaml", &yaml.out);
    let create = ["create", "--dry-run=server", "--validate=strict", "-f", text(&path)];
    let created = cluster.plane.kubectl(create).await.unwrap();
    assert!(!created.stderr.contains("Warning"), "{}", created.stderr);
    created.ok().unwrap_or_else(|error| panic!("{error}\n{}", yaml.out));
    let json = cluster.kubectl.run(&[&args[..], &["-o", "json"]].concat()).await;
    assert_eq!(json.code, yaml.code);
    (serde_json::from_str(&json.out).unwrap(), json.code)
}

fn sources(report: &Value) -> usize {
    report["objects"].as_array().unwrap().len()
}

pub(crate) async fn of_files_and_of_the_cluster(cluster: &Cluster) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/vendor/objects.yaml");
    for more in [&[][..], &["--adopt"]] {
        let (report, code) = applied(cluster, &examples, more).await;
        assert_eq!((code, sources(&report)), (Some(0), 9), "{report}");
    }
    let edges = cluster.file("edges.yaml", EDGES);
    let (report, code) = applied(cluster, &edges, &[]).await;
    assert_eq!((code, sources(&report)), (Some(1), 3), "{report}");
    let said = cluster.kubectl.run(&["eci", "migrate", "-f", text(&edges)]).await;
    assert!(said.err.contains("could not be migrated"), "{said:?}");
    assert!(said.out.contains("no value!") && said.out.contains("3 objects"), "{}", said.out);

    let said = cluster.kubectl.run(&["eci", "migrate"]).await.failed();
    assert!(said.contains("there is no ConfigMap eci-profile"), "{said}");
    cluster.apply(VENDORS_KINDS).await;
    let established = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"];
    cluster.plane.kubectl(established).await.unwrap().ok().unwrap();
    let vendors = std::fs::read_to_string(&examples).unwrap().replace("kubectl eci migrate", "migrate");
    // Two Selectors of different versions are stored as one version and read once each.
    cluster
        .plane
        .kubectl_stdin(["apply", "-n", "kube-system", "-f", "-"], &without_namespace(&vendors))
        .await
        .unwrap()
        .ok()
        .unwrap();
    let read = cluster.kubectl.run(&["eci", "migrate", "-n", "default", "-o", "json"]).await.ok();
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(sources(&read), 9, "{read}");
}

/// Selectors are namespaced for the API server; the examples leave the namespace out where the vendor's do.
fn without_namespace(manifests: &str) -> String {
    let kept: Vec<_> = manifests.lines().filter(|line| line.trim() != "namespace: kube-system").collect();
    kept.join("\n")
}
