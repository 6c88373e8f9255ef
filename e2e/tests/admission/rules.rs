//! What virtual nodes cannot run is warned of or refused, also of pods that no profile selects; by the configured rules.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{namespace, pod, refusal, shared, tried};

/// What kubectl says of a dry run on the server, warnings included.
async fn said(object: &Value) -> Result<String> {
    let args = ["create", "--dry-run=server", "-f", "-"];
    let output = shared().await.plane().kubectl_stdin(args, &object.to_string()).await?;
    Ok(format!("{}{}", output.stdout, output.stderr))
}

#[tokio::test]
async fn objects_that_virtual_nodes_cannot_run_are_warned_of_or_refused() -> Result<()> {
    let client = shared().await.client()?;
    let pods = namespace(&client, "rules", json!({})).await?;
    namespace(&client, "rules-vendor", json!({ "alibabacloud.com/eci": "true" })).await?;
    // The shared stack denies hostPath volumes; the other rules warn.
    let mut host_path = pod("a", "rules");
    host_path["spec"]["volumes"] = json!([{ "name": "host", "hostPath": { "path": "/var/log" } }]);
    tried(&pods, &host_path).await?;
    for words in [
        json!({ "tolerations": [{ "key": "virtual-kubelet.io/provider", "operator": "Exists" }] }),
        json!({ "nodeSelector": { "type": "virtual-kubelet" } }),
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [
                { "key": "k8s.aliyun.com/vnode", "operator": "In", "values": ["true"] }] }] } } } }),
    ] {
        let mut speaking = host_path.clone();
        speaking["spec"].as_object_mut().unwrap().extend(words.as_object().unwrap().clone());
        let refused = refusal(tried(&pods, &speaking).await)?;
        ensure!(refused.contains("host-path: "), "{refused}");
    }
    let mut labelled = host_path.clone();
    labelled["metadata"]["labels"]["alibabacloud.com/eci"] = json!("true");
    let refused = refusal(tried(&pods, &labelled).await)?;
    ensure!(refused.contains("host-path: "), "{refused}");
    let vendors = kube::Api::namespaced(client.clone(), "rules-vendor");
    let refused = refusal(tried(&vendors, &host_path).await)?;
    ensure!(refused.contains("host-path: "), "{refused}");

    let privileged = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "rules-vendor" },
        "spec": { "containers": [{ "name": "main", "image": "registry.example.com/web:1",
            "securityContext": { "privileged": true } }] },
    });
    let words = said(&privileged).await?;
    ensure!(words.contains("created") && words.contains("Warning: privileged: "), "{words}");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s", "namespace": "rules-vendor" },
        "spec": { "type": "NodePort", "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    });
    let words = said(&service).await?;
    ensure!(words.contains("created") && words.contains("Warning: node-port: "), "{words}");
    let mut balanced = service.clone();
    balanced["spec"]["type"] = json!("LoadBalancer");
    let words = said(&balanced).await?;
    ensure!(words.contains("created") && !words.contains("Warning"), "{words}");
    let daemon_set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "d", "namespace": "rules" },
        "spec": { "selector": { "matchLabels": { "app": "agent" } }, "template": {
            "metadata": { "labels": { "app": "agent" } },
            "spec": {
                "tolerations": [{ "operator": "Exists" }],
                "containers": [{ "name": "main", "image": "registry.example.com/agent:1" }],
            },
        } },
    });
    let words = said(&daemon_set).await?;
    ensure!(words.contains("created") && words.contains("Warning: daemon-set: "), "{words}");
    Ok(())
}
