//! `kubectl eci drill`, on a real control plane with virtual nodes and the operator.

use std::collections::BTreeSet;
use std::time::Duration;

use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Stack, StackOptions};
use eci_e2e::testbed::StartOptions;
use eci_e2e::testbed::nodes::virtual_node;
use eci_e2e::workload::{Keep, Release, Workload, budget, condition, protect};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use crate::Kubectl;

const NAMESPACE: &str = "shop";
const EXPIRED: &str = "ContainerInstanceExpired";
const START_LIMIT: Duration = Duration::from_mins(2);

/// A shop on a virtual node: `web` may lose one pod at a time, `stuck` none, and nobody asked to evict `quiet`.
struct Shop {
    stack: Stack,
    client: Client,
}

impl Shop {
    async fn open() -> Self {
        let plane = StartOptions::default();
        let whole = Stack::start(StackOptions { plane, ..StackOptions::default() }).await.unwrap();
        let client = whole.client().unwrap();
        let nodes: Api<Node> = Api::all(client.clone());
        nodes.create(&PostParams::default(), &virtual_node("virtual-1")).await.unwrap();
        whole.namespace(NAMESPACE).await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        eventually("the namespace has its account", START_LIMIT, || async {
            accounts.get("default").await.map(drop)
        })
        .await
        .unwrap();
        let one = || IntOrString::Int(1);
        let web = Workload::new(NAMESPACE, "web", 4).with_grace(2);
        web.deploy(&client, START_LIMIT).await.unwrap();
        protect(&client, &budget(&web, Keep::MaxUnavailable(one())).unwrap(), 4).await.unwrap();
        let stuck = Workload::new(NAMESPACE, "stuck", 2);
        stuck.deploy(&client, START_LIMIT).await.unwrap();
        protect(&client, &budget(&stuck, Keep::MinAvailable(IntOrString::Int(2))).unwrap(), 2).await.unwrap();
        let mut quiet = Workload::new(NAMESPACE, "quiet", 1).released_by(Release::Nobody);
        quiet.annotations.insert("k8s.aliyun.com/eci-spot-price-limit".to_owned(), "0.5".to_owned());
        quiet.deploy(&client, START_LIMIT).await.unwrap();
        Self { stack: whole, client }
    }

    fn kubectl(&self) -> Kubectl {
        Kubectl::new().with("KUBECONFIG", self.stack.plane().kubeconfig_path().to_str().unwrap())
    }

    async fn pods(&self, app: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        api.list(&ListParams::default().labels(&format!("app={app}"))).await.unwrap().items
    }
}

/// What the JSON says of a workload.
fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let workloads = report["workloads"].as_array().unwrap();
    workloads.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn checks(workload: &Value) -> Vec<&str> {
    workload["findings"].as_array().unwrap().iter().map(|f| f["check"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_drill_forecasts_without_changing_anything_and_a_real_one_says_what_became_of_the_pods() {
    let shop = Shop::open().await;
    let kubectl = shop.kubectl();
    let uids = async || {
        let (web, stuck) = (shop.pods("web").await, shop.pods("stuck").await);
        web.iter().chain(&stuck).filter_map(kube::ResourceExt::uid).collect::<BTreeSet<_>>()
    };
    let before = uids().await;

    // Dry.
    let drill = ["eci", "drill", "-n", NAMESPACE, "-o", "json"];
    let report: Value = serde_json::from_str(&kubectl.run(&drill).await.ok()).unwrap();
    assert_eq!(report["dryRun"], true);
    let web = of(&report, "web");
    assert_eq!(
        (&web["kind"], &web["pods"], &web["wouldBeSaved"]),
        (&"Deployment".into(), &4.into(), &4.into()),
        "{web}"
    );
    assert!(web["startSecondsP90"].is_u64() && checks(web).is_empty(), "{web}");
    let stuck = of(&report, "stuck");
    assert_eq!((&stuck["pods"], &stuck["wouldBeSaved"]), (&2.into(), &0.into()), "{stuck}");
    assert!(checks(stuck).contains(&"BudgetNeverAllows"), "{stuck}");
    let quiet = of(&report, "quiet");
    assert_eq!(
        (&quiet["pods"], &quiet["notEvicted"][0]["reason"]),
        (&0.into(), &"NotAsked".into()),
        "{quiet}"
    );

    let setting = quiet["spotSettings"][0]["message"].as_str().unwrap();
    assert!(setting.contains("eci-spot-price-limit needs k8s.aliyun.com/eci-spot-strategy"), "{setting}");

    let table = kubectl.run(&["eci", "drill", "-n", NAMESPACE, "deploy/stuck"]).await.ok();
    assert!(table.starts_with("WORKLOAD") && table.contains("Deployment shop/stuck"), "{table}");
    assert!(!table.contains("shop/web") && table.contains("Nothing was evicted."), "{table}");
    assert_eq!(uids().await, before, "a dry run evicts nobody");
    assert!(shop.pods("web").await.iter().all(|pod| condition(pod, EXPIRED).is_none()));

    // Real.
    let drill = ["eci", "drill", "-n", NAMESPACE, "web", "--yes", "-o", "json"];
    let report: Value = serde_json::from_str(&kubectl.run(&drill).await.ok()).unwrap();
    assert_eq!(report["dryRun"], false);
    let web = of(&report, "web");
    assert_eq!(web["became"], serde_json::json!({ "saved": 4, "late": 0, "left": 0 }), "{report}");
    assert_eq!(web["wouldBeSaved"], 4, "as it was told: {report}");
    let drill = ["eci", "drill", "-n", NAMESPACE, "stuck", "--yes", "--notice-seconds=5"];
    let table = kubectl.run(&drill).await.ok();
    let row = table.lines().find(|line| line.starts_with("Deployment shop/stuck")).unwrap();
    assert_eq!(row.split_whitespace().skip(2).collect::<Vec<_>>(), ["2", "0", "0", "2", "0"], "{table}");
    let stuck = shop.pods("stuck").await;
    assert!(stuck.iter().all(|pod| condition(pod, EXPIRED) == Some("False")), "notices are taken back");
    assert!(stuck.iter().all(|pod| before.contains(&pod.uid().unwrap())));
    eventually("every pod of web is another one", START_LIMIT, || async {
        let kept = shop.pods("web").await.iter().filter(|pod| before.contains(&pod.uid().unwrap())).count();
        if kept == 0 { Ok(()) } else { Err(format!("{kept} of the old ones are still there")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_drill_that_cannot_be_carried_out_says_why_and_touches_nothing() {
    let shop = Shop::open().await;
    let kubectl = shop.kubectl();
    let missing = kubectl.run(&["eci", "drill", "-n", NAMESPACE, "wbe"]).await.failed();
    assert!(missing.contains("no pod of a workload named wbe in namespace shop"), "{missing}");
    let nothing = kubectl.run(&["eci", "drill", "-n", "default"]).await.failed();
    assert!(nothing.contains("no spot pod on a virtual node"), "{nothing}");
    let elsewhere = ["eci", "drill", "-n", NAMESPACE, "--virtual-node-labels=example.com/virtual=yes"];
    let nothing = kubectl.run(&elsewhere).await.failed();
    assert!(nothing.contains("no spot pod on a virtual node"), "{nothing}");
    let many = kubectl.run(&["eci", "drill", "-n", NAMESPACE, "web", "--yes", "--max-pods=3"]).await.failed();
    assert!(many.contains("too many pods for a real drill: 4, and --max-pods is 3"), "{many}");
    let both = kubectl.run(&["eci", "drill", "--yes", "--dry-run"]).await;
    assert_eq!(both.code, Some(2), "{both:?}");

    // Somebody who may look but not write.
    shop.stack
        .plane()
        .kubectl(["create", "clusterrolebinding", "looker", "--clusterrole=view", "--user=looker"])
        .await
        .unwrap()
        .ok()
        .unwrap();
    shop.stack
        .plane()
        .kubectl(["create", "clusterrole", "nodes", "--verb=get,list", "--resource=nodes"])
        .await
        .unwrap()
        .ok()
        .unwrap();
    shop.stack
        .plane()
        .kubectl(["create", "clusterrolebinding", "nodes", "--clusterrole=nodes", "--user=looker"])
        .await
        .unwrap()
        .ok()
        .unwrap();
    let kubeconfig = shop.stack.plane().kubeconfig_for_user("looker", None).unwrap();
    let looker = Kubectl::new().with("KUBECONFIG", kubeconfig.to_str().unwrap());
    let dry = looker.run(&["eci", "drill", "-n", NAMESPACE, "web", "-o", "json"]).await.ok();
    let dry: Value = serde_json::from_str(&dry).unwrap();
    assert!(
        checks(of(&dry, "web")).contains(&"EvictionRefused"),
        "the dry run is refused, and said so: {dry}"
    );
    let real = looker.run(&["eci", "drill", "-n", NAMESPACE, "web", "--yes"]).await.failed();
    assert!(real.contains("cannot patch resource") && real.contains("pods/status"), "{real}");
    assert!(shop.pods("web").await.iter().all(|pod| condition(pod, EXPIRED).is_none()));

    let elsewhere = Kubectl::new().with("KUBECONFIG", "/nonexistent");
    let lost = elsewhere.run(&["eci", "drill"]).await.failed();
    assert!(lost.contains("cannot read the kubeconfig") && lost.contains("--kubeconfig"), "{lost}");
}
