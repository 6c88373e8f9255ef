//! `kubectl eci uninstall-check`: what would hang, or be lost, if the operator went now.

use eci_api::FINALIZER;
use eci_api::data_cache::DataCache;
use eci_api::image_cache::{DeletionPolicy, ImageCache};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;

use crate::args::CheckArgs;
use crate::error::Error;
use crate::findings::{Finding, Findings, Severity, path};
use crate::kubernetes::{Kubernetes, allowed, list, present};

const FINALIZERS: &str = "finalizers";
const WEBHOOKS: &str = "webhooks";
const GATES: &str = "gates";

/// How the names of our webhooks end, and those of our gates begin.
const OURS: &str = "eci-operator.io";

pub(crate) async fn check(args: &CheckArgs) -> Result<(String, Result<(), Error>), Error> {
    let cluster = Kubernetes::connect(&args.kube).await?;
    let mut all = Findings::default();
    let images = present(list(&Api::<ImageCache>::all(cluster.client.clone()), None).await);
    let data = present(list(&Api::<DataCache>::all(cluster.client.clone()), None).await);
    match (allowed(images)?, allowed(data)?) {
        (Ok(images), Ok(data)) => {
            let images =
                images.iter().map(|cache| ("ImageCache", &cache.metadata, cache.spec.deletion_policy));
            let data = data.iter().map(|cache| ("DataCache", &cache.metadata, cache.spec.deletion_policy));
            all.add(
                FINALIZERS,
                images.chain(data).filter_map(|(kind, meta, policy)| finalizer(kind, meta, policy)),
            );
        }
        (Err(why), _) | (_, Err(why)) => all.skip(FINALIZERS, why),
    }
    let changing = list(&Api::<MutatingWebhookConfiguration>::all(cluster.client.clone()), None).await;
    let checking = list(&Api::<ValidatingWebhookConfiguration>::all(cluster.client.clone()), None).await;
    match (allowed(changing)?, allowed(checking)?) {
        (Ok(changing), Ok(checking)) => all.add(WEBHOOKS, webhooks(&changing, &checking)),
        (Err(why), _) | (_, Err(why)) => all.skip(WEBHOOKS, why),
    }
    match allowed(list(&Api::<Pod>::all(cluster.client.clone()), None).await)? {
        Ok(pods) => all.add(GATES, pods.iter().filter_map(gated)),
        Err(why) => all.skip(GATES, why),
    }
    let text = all.show(args.output, "Nothing would hang when the operator is uninstalled.")?;
    let result = match all.errors() {
        0 if !all.skipped.is_empty() => Err(Error::Incomplete("not everything could be checked".to_owned())),
        0 => Ok(()),
        some => {
            Err(Error::Incomplete(format!("{some} objects would hang if the operator were uninstalled now")))
        }
    };
    Ok((text, result))
}

/// An object that only the operator can let go.
fn finalizer(kind: &str, meta: &ObjectMeta, policy: Option<DeletionPolicy>) -> Option<Finding> {
    meta.finalizers.iter().flatten().find(|finalizer| *finalizer == FINALIZER)?;
    let going = meta.deletion_timestamp.is_some();
    let what = if going {
        "is Terminating, and waits for the operator to let go of its cloud resource"
    } else {
        "has a cloud resource: deleted without the operator, it would stay Terminating, and the resource would be billed on"
    };
    let remedy = match policy.unwrap_or_default() {
        DeletionPolicy::Delete => {
            "delete these objects, or set spec.deletionPolicy: Retain first to keep the caches in the cloud, and wait until they are gone; uninstall the operator after that"
        }
        DeletionPolicy::Retain => {
            "delete these objects and wait until they are gone; their caches stay in the cloud (spec.deletionPolicy: Retain)"
        }
    };
    Some(Finding {
        check: FINALIZERS,
        severity: Severity::Error,
        object: path(kind, meta.namespace.as_deref(), meta.name.as_deref()),
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    })
}

/// Our configurations: with the operator gone, entries that must be answered refuse what they are asked about.
fn webhooks(
    changing: &[MutatingWebhookConfiguration],
    checking: &[ValidatingWebhookConfiguration],
) -> Vec<Finding> {
    let changing = changing.iter().map(|configuration| {
        let entries = configuration.webhooks.iter().flatten();
        let entries: Vec<_> =
            entries.map(|entry| (entry.name.as_str(), entry.failure_policy.as_deref())).collect();
        ("MutatingWebhookConfiguration", &configuration.metadata, entries)
    });
    let checking = checking.iter().map(|configuration| {
        let entries = configuration.webhooks.iter().flatten();
        let entries: Vec<_> =
            entries.map(|entry| (entry.name.as_str(), entry.failure_policy.as_deref())).collect();
        ("ValidatingWebhookConfiguration", &configuration.metadata, entries)
    });
    let found = changing.chain(checking).filter_map(|(kind, meta, entries)| {
        let ours: Vec<_> = entries.into_iter().filter(|(name, _)| name.ends_with(OURS)).collect();
        let failing = ours.iter().filter(|(_, policy)| *policy != Some("Ignore")).count();
        // With an owner it goes with the chart.
        let owned = meta.owner_references.iter().flatten().next().is_some();
        if ours.is_empty() || owned {
            return None;
        }
        let (severity, what) = if failing > 0 {
            let what = format!("has {failing} of {} entries that refuse what nobody answers, and no owner with which it would go", ours.len());
            (Severity::Error, what)
        } else {
            let what = "has no owner with which it would go; its entries are passed over after their time-out";
            (Severity::Warning, what.to_owned())
        };
        Some(Finding {
            check: WEBHOOKS,
            severity,
            object: path(kind, None, meta.name.as_deref()),
            what,
            remedy: "delete the configuration when the operator has been uninstalled".to_owned(),
        })
    });
    found.collect()
}

/// A pod that waits for the operator.
fn gated(pod: &Pod) -> Option<Finding> {
    let gates = pod.spec.as_ref()?.scheduling_gates.iter().flatten();
    let ours: Vec<_> = gates.map(|gate| gate.name.as_str()).filter(|name| name.starts_with(OURS)).collect();
    if ours.is_empty() {
        return None;
    }
    Some(Finding {
        check: GATES,
        severity: Severity::Error,
        object: path("Pod", pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref()),
        what: format!("waits at {}, which only the operator opens", ours.join(", ")),
        remedy: "wait until the caches that these pods want are ready, or let their controllers make them anew when the operator has gone: new pods get no gate".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_hang_is_found_and_what_goes_with_the_chart_is_not() {
        let meta = |value| serde_json::from_value::<ObjectMeta>(value).unwrap();
        let ours = meta(json!({ "name": "a", "namespace": "shop", "finalizers": [FINALIZER] }));
        let found = finalizer("ImageCache", &ours, Some(DeletionPolicy::Retain)).unwrap();
        assert!(
            found.remedy.contains("stay in the cloud") && found.object == "ImageCache shop/a",
            "{found:?}"
        );
        let other = meta(json!({ "name": "a", "finalizers": ["example.com/x"] }));
        assert_eq!(finalizer("ImageCache", &other, None), None);
        let going = meta(
            json!({ "name": "a", "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z" }),
        );
        assert!(finalizer("DataCache", &going, None).unwrap().what.contains("is Terminating"));

        let configuration = |name: &str, policy: &str, owned: bool| {
            let owners = if owned {
                json!([{ "apiVersion": "v1", "kind": "ClusterRole", "name": "x", "uid": "u" }])
            } else {
                json!([])
            };
            serde_json::from_value::<MutatingWebhookConfiguration>(json!({
                "metadata": { "name": "c", "ownerReferences": owners },
                "webhooks": [{ "name": name, "failurePolicy": policy, "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"] }],
            }))
            .unwrap()
        };
        for (name, policy, owned, severity) in [
            ("pods.eci-operator.io", "Fail", false, Some(Severity::Error)),
            ("pods.eci-operator.io", "Ignore", false, Some(Severity::Warning)),
            ("pods.eci-operator.io", "Fail", true, None),
            ("vk-webhook.alibabacloud.com", "Fail", false, None),
        ] {
            let found = webhooks(&[configuration(name, policy, owned)], &[]);
            assert_eq!(found.first().map(|finding| finding.severity), severity, "{name} {policy} {owned}");
        }

        let pod = |gate: &str| {
            serde_json::from_value::<Pod>(json!({
                "metadata": { "name": "web", "namespace": "shop" },
                "spec": { "containers": [], "schedulingGates": [{ "name": gate }] },
            }))
            .unwrap()
        };
        assert!(gated(&pod("eci-operator.io/image-cache")).is_some());
        assert_eq!(gated(&pod("example.com/gate")), None);
    }
}
