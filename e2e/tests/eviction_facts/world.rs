//! An API server without controllers: the status of pods and budgets is what a test writes, so that every answer has
//! exactly one cause.

use eci_core::eviction::answer::{Answer, Refusal, Reply, classify};
use eci_e2e::testbed::{ControlPlane, StartOptions};
use http::Request;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The API server of all tests here but those that need controllers.
pub(crate) async fn plane() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    let start = || async {
        // Nobody makes service accounts here.
        let without = "--disable-admission-plugins=ServiceAccount".to_owned();
        let options = StartOptions { apiserver_args: vec![without], ..StartOptions::api_only() };
        ControlPlane::start(options).await.unwrap()
    };
    SHARED.get_or_init(start).await
}

/// A namespace of such an API server.
pub(crate) struct World {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) pods: Api<Pod>,
    pub(crate) budgets: Api<PodDisruptionBudget>,
}

/// What came back: for a success the code alone.
#[derive(Debug)]
pub(crate) struct Reaction {
    pub(crate) code: u16,
    pub(crate) retry_after: Option<u32>,
    pub(crate) status: Value,
}

impl Reaction {
    /// The operator's reading of it.
    pub(crate) fn answer(&self) -> Answer {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let causes: Vec<(String, String)> = self.status["details"]["causes"]
            .as_array()
            .map(|causes| causes.iter().map(|c| (text(&c["reason"]), text(&c["message"]))).collect())
            .unwrap_or_default();
        let causes: Vec<(&str, &str)> = causes.iter().map(|(r, m)| (r.as_str(), m.as_str())).collect();
        let (reason, message, kind) = (
            text(&self.status["reason"]),
            text(&self.status["message"]),
            text(&self.status["details"]["kind"]),
        );
        if self.code < 300 {
            return classify(&Reply::Success);
        }
        classify(&Reply::Refused(Refusal {
            code: self.code,
            reason: &reason,
            message: &message,
            kind: &kind,
            causes: &causes,
            retry_after: self.retry_after,
        }))
    }
}

impl World {
    pub(crate) async fn new(namespace: &str) -> Self {
        Self::on(plane().await, namespace).await
    }

    pub(crate) async fn on(plane: &ControlPlane, namespace: &str) -> Self {
        let client = plane.client().unwrap();
        let object = Namespace {
            metadata: ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        Self {
            namespace: namespace.to_owned(),
            pods: Api::namespaced(client.clone(), namespace),
            budgets: Api::namespaced(client.clone(), namespace),
            client,
        }
    }

    /// A pod on a node that nobody plays, in this phase, Ready or not.
    pub(crate) async fn pod(&self, name: &str, phase: &str, ready: bool) -> Pod {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "app": "web" } },
            "spec": {
                "nodeName": "nobody",
                "terminationGracePeriodSeconds": 30,
                "containers": [{ "name": "main", "image": "example.com/none" }],
            },
        }))
        .unwrap();
        self.pods.create(&PostParams::default(), &pod).await.unwrap();
        let ready = if ready { "True" } else { "False" };
        let status =
            json!({ "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": ready }] } });
        self.pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap()
    }

    /// A ready one.
    pub(crate) async fn ready(&self, name: &str) -> Pod {
        self.pod(name, "Running", true).await
    }

    /// A budget that allows so many disruptions, as its controller would say for 3 pods of which 3 are healthy.
    pub(crate) async fn budget(&self, name: &str, allowed: i32) {
        self.make_budget(name, json!({})).await;
        self.budget_status(name, json!({ "disruptionsAllowed": allowed })).await;
    }

    /// A budget that no controller has seen.
    pub(crate) async fn make_budget(&self, name: &str, more: Value) {
        let mut budget = json!({
            "metadata": { "name": name },
            "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "web" } } },
        });
        if let (Some(spec), Some(more)) = (budget["spec"].as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        let budget = serde_json::from_value(budget).unwrap();
        self.budgets.create(&PostParams::default(), &budget).await.unwrap();
    }

    /// Writes its status as the controller would.
    pub(crate) async fn budget_status(&self, name: &str, more: Value) {
        let mut status = json!({
            "observedGeneration": 1, "expectedPods": 3, "currentHealthy": 3, "desiredHealthy": 2,
            "disruptionsAllowed": 0,
        });
        if let (Some(status), Some(more)) = (status.as_object_mut(), more.as_object()) {
            status.extend(more.clone());
        }
        let patch = Patch::Merge(json!({ "status": status }));
        self.budgets.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// What a budget allows, and whose names are in its disruptedPods.
    pub(crate) async fn left(&self, name: &str) -> (i32, Vec<String>) {
        let status = self.budgets.get(name).await.unwrap().status.unwrap_or_default();
        (status.disruptions_allowed, status.disrupted_pods.unwrap_or_default().into_keys().collect())
    }

    /// Evicts with these delete options.
    pub(crate) async fn evict(&self, pod: &str, options: Value) -> Reaction {
        evict(&self.client, &self.namespace, pod, options).await
    }

    /// Whether a pod is terminating, and with which grace; None if it is gone.
    pub(crate) async fn grace(&self, pod: &str) -> Option<i64> {
        self.pods.get_opt(pod).await.unwrap()?.metadata.deletion_grace_period_seconds
    }
}

/// The request itself, so that headers are seen.
pub(crate) async fn evict(client: &Client, namespace: &str, pod: &str, options: Value) -> Reaction {
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": { "namespace": namespace, "name": pod },
        "deleteOptions": options,
    });
    let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction"))
        .header("content-type", "application/json")
        .body(Body::from(eviction.to_string().into_bytes()))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Reaction { code, retry_after, status: serde_json::from_slice(&body).unwrap_or_default() }
}

/// With a UID as precondition.
pub(crate) fn only(pod: &Pod) -> Value {
    json!({ "preconditions": { "uid": pod.uid() } })
}

/// With a UID that no pod has.
pub(crate) fn another_uid() -> Value {
    json!({ "preconditions": { "uid": "00000000-0000-4000-8000-000000000000" } })
}
