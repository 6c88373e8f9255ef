//! What a drill asks of the API server.

use std::collections::BTreeSet;

use eci_core::eviction::answer::{self, Answer, Refusal, Reply};
use eci_core::eviction::notice::CONDITION;
use eci_core::eviction::{Budget, Pod};
use eci_core::spot::settings;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod as PodObject};
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Time};
use kube::Api;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::facts;
use super::plan::Missettings;
use crate::args::DrillArgs;
use crate::error::Error;
use crate::kubernetes::{Kubernetes, list};

/// The cluster, as far as the drill looks.
pub(super) struct Cluster {
    kubernetes: Kubernetes,
    selector: Option<String>,
    virtual_nodes: BTreeSet<String>,
}

impl Cluster {
    pub(super) async fn connect(args: &DrillArgs) -> Result<Self, Error> {
        let kubernetes = Kubernetes::connect(&args.kube).await?;
        let mut virtual_nodes = BTreeSet::new();
        for (key, value) in &args.virtual_node_labels {
            let params = ListParams::default().labels(&format!("{key}={value}"));
            let nodes = Api::<Node>::all(kubernetes.client.clone()).list_metadata(&params).await?;
            virtual_nodes.extend(nodes.items.into_iter().filter_map(|node| node.metadata.name));
        }
        Ok(Self { kubernetes, selector: args.selector.clone(), virtual_nodes })
    }

    /// Where it looks; `None`: everywhere.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.kubernetes.namespace.as_deref()
    }

    /// The pods, and what is wrong with their spot settings.
    pub(super) async fn pods(&self) -> Result<(Vec<Pod>, Missettings), Error> {
        let objects: Vec<PodObject> = list(&self.kubernetes.api(), self.selector.as_deref()).await?;
        let pods = objects.iter().filter_map(|object| facts::pod(object, &self.virtual_nodes)).collect();
        let wrong = objects.iter().filter_map(|object| {
            let found = settings::combine(None, object.metadata.annotations.as_ref()?).findings;
            Some((object.metadata.uid.as_deref()?.into(), found.iter().map(ToString::to_string).collect()))
        });
        Ok((pods, wrong.collect()))
    }

    pub(super) async fn budgets(&self) -> Result<Vec<Budget>, Error> {
        let objects: Vec<PodDisruptionBudget> = list(&self.kubernetes.api(), None).await?;
        Ok(objects.iter().filter_map(facts::budget).collect())
    }

    /// What the API server would say to an eviction of the pod now. Nothing is evicted and no budget is used.
    pub(super) async fn dry_run(&self, pod: &Pod) -> Answer {
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(pod.id.name.to_string()),
                namespace: Some(pod.id.namespace.to_string()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                dry_run: Some(vec!["All".to_owned()]),
                preconditions: Some(Preconditions {
                    uid: Some(pod.id.uid.to_string()),
                    resource_version: None,
                }),
                ..DeleteOptions::default()
            }),
        };
        let api: Api<PodObject> = Api::namespaced(self.kubernetes.client.clone(), &pod.id.namespace);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        match api.create_subresource::<_, Value>("eviction", &pod.id.name, &params, &eviction).await {
            Ok(_) => answer::classify(&Reply::Success),
            Err(kube::Error::Api(status)) => {
                let details = status.details.as_ref();
                let causes: Vec<(&str, &str)> = details
                    .map(|details| {
                        details.causes.iter().map(|c| (c.reason.as_str(), c.message.as_str())).collect()
                    })
                    .unwrap_or_default();
                answer::classify(&Reply::Refused(Refusal {
                    code: status.code,
                    reason: &status.reason,
                    message: &status.message,
                    kind: details.map(|details| details.kind.as_str()).unwrap_or_default(),
                    causes: &causes,
                    retry_after: details.map(|details| details.retry_after_seconds),
                }))
            }
            Err(_) => answer::classify(&Reply::Lost),
        }
    }

    /// Gives a pod a notice, or takes it back. False when the pod is gone.
    pub(super) async fn notice(&self, pod: &Pod, given: bool, now: Timestamp) -> Result<bool, Error> {
        let api: Api<PodObject> = Api::namespaced(self.kubernetes.client.clone(), &pod.id.namespace);
        // A UID in a patch is a precondition.
        let patch = json!({
            "metadata": { "uid": &*pod.id.uid },
            "status": { "conditions": [{
                "type": CONDITION,
                "status": if given { "True" } else { "False" },
                "reason": "Drill",
                "message": "set by kubectl eci drill; the instance is not taken back",
                "lastTransitionTime": Time(now),
            }] },
        });
        match api.patch_status(&pod.id.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The pods, to be watched.
    pub(super) fn watched(&self) -> (Api<PodObject>, kube::runtime::watcher::Config) {
        let config = kube::runtime::watcher::Config::default();
        let config = match &self.selector {
            Some(selector) => config.labels(selector),
            None => config,
        };
        (self.kubernetes.api(), config)
    }
}
