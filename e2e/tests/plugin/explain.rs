//! `kubectl eci explain`.

use serde_json::Value;

use crate::cluster::{Cluster, text};

const PROFILES: &str = r#"
apiVersion: eci-operator.io/v1alpha1
kind: EciProfile
metadata: { name: explained-base }
spec:
  selector: { namespaceSelector: { matchLabels: { team: web } } }
  placement: { policy: VirtualNodesOnly }
---
apiVersion: eci-operator.io/v1alpha1
kind: EciProfile
metadata: { name: explained-spot }
spec:
  priority: 7
  selector: { podSelector: { matchLabels: { tier: batch } } }
  spot: { strategy: SpotWithPriceLimit, priceLimit: "0.5" }
"#;

const WORKLOAD: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: explained }
spec:
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: main, image: 'registry.example.com/web:1' }] }
";

const CLUSTER: &str = r"
apiVersion: v1
kind: Namespace
metadata: { name: explained, labels: { team: web } }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: explained }
---
apiVersion: v1
kind: Pod
metadata:
  name: own
  namespace: explained
  labels: { tier: batch }
  annotations: { k8s.aliyun.com/eci-spot-strategy: SpotAsPriceGo }
spec:
  automountServiceAccountToken: false
  containers: [{ name: main, image: 'registry.example.com/web:1' }]
";

/// The row of a table that begins with the word.
fn row<'a>(table: &'a str, word: &str) -> Vec<&'a str> {
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(word));
    line.unwrap_or_else(|| panic!("no {word} in {table}")).split_whitespace().collect()
}

pub(crate) async fn of_files_and_of_the_cluster(cluster: &Cluster) {
    let kubectl = &cluster.kubectl;
    let profiles = cluster.file("profiles.yaml", PROFILES);
    let workload = cluster.file("workload.yaml", WORKLOAD);
    let (profiles, workload) = (text(&profiles), text(&workload));
    let offline = ["eci", "explain", "-f", workload, "--profiles", profiles, "--kubeconfig", "/nonexistent"];

    let shown = kubectl.run(&offline).await.ok();
    assert_eq!(row(&shown, "explained-base")[3], "no", "{shown}");
    assert!(shown.contains("the namespace's label team must be \"web\", but is absent"), "{shown}");
    let labelled = [&offline[..], &["--namespace-labels", "team=web"]].concat();
    let shown = kubectl.run(&labelled).await.ok();
    assert_eq!(row(&shown, "explained-base")[3], "yes", "{shown}");
    assert_eq!(row(&shown, "spec.placement")[1..], ["profile", "explained-base"], "{shown}");

    cluster.apply(PROFILES).await;
    cluster.apply(CLUSTER).await;
    let online = kubectl.run(&["eci", "explain", "-f", workload, "-o", "json"]).await.ok();
    let online: Value = serde_json::from_str(&online).unwrap();
    let of_labelled = kubectl.run(&[&labelled[..], &["-o", "json"]].concat()).await.ok();
    let of_labelled: Value = serde_json::from_str(&of_labelled).unwrap();
    let fields = |shown: &Value| shown["pods"][0]["fields"].clone();
    assert_eq!(fields(&online), fields(&of_labelled));

    let shown = kubectl.run(&["eci", "explain", "pod", "own", "-n", "explained"]).await.ok();
    assert_eq!(row(&shown, "explained-spot@1")[3], "yes", "{shown}");
    assert_eq!(row(&shown, "spec.spot")[1..], ["the", "pod", "itself"], "{shown}");

    for (args, part) in [
        (&["explain", "pod", "nobody", "-n", "explained"][..], "no pod nobody in namespace explained"),
        (&["explain", "deployment/web"], "names no pod"),
        (&["explain", "-f", "/nonexistent.yaml"], "cannot read /nonexistent.yaml"),
        (&["explain", "-f", profiles], "there is no Pod in it"),
        (&["explain", "-f", workload, "--profiles", workload], "there is no EciProfile"),
        (&["explain", "-f", workload, "--namespace-labels", "team"], "use key=value"),
        (&["explain"], "required"),
    ] {
        let said = kubectl.run(&[&["eci"], args].concat()).await.failed();
        assert!(said.contains(part), "{args:?}: {said}");
    }
}
