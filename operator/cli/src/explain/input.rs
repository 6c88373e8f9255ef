//! What is explained: the pod of a file, or that which a workload of a file would make.

use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use crate::error::Error;
use crate::manifest::{self, Document};

/// Where each kind of workload has the template of its pods.
const TEMPLATES: [(&str, &str); 7] = [
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("ReplicationController", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
];

/// The pods of a file.
pub(super) fn pods(path: &Path) -> Result<Vec<Pod>, Error> {
    let documents = manifest::read(&[path.to_owned()])?;
    let mut pods = Vec::new();
    for document in &documents {
        pods.extend(pod(document)?);
    }
    if pods.is_empty() {
        let kinds: Vec<_> = TEMPLATES.iter().map(|(kind, _)| *kind).collect();
        return Err(Error::Manifest {
            path: path.display().to_string(),
            why: format!("there is no Pod in it, and nothing that makes pods ({})", kinds.join(", ")),
        });
    }
    Ok(pods)
}

/// `None` for an object that makes no pods.
fn pod(document: &Document) -> Result<Option<Pod>, Error> {
    if document.kind() == "Pod" {
        return document.parse().map(Some);
    }
    let Some((kind, pointer)) = TEMPLATES.iter().find(|(kind, _)| *kind == document.kind()) else {
        return Ok(None);
    };
    let without = || Error::Manifest {
        path: document.file.clone(),
        why: format!("{} has no template of a pod at {}", document.path(), pointer.replace('/', ".")),
    };
    let template = document.object.pointer(pointer).filter(|template| template.is_object());
    let template = template.cloned().ok_or_else(without)?;
    let template = Document { file: document.file.clone(), object: template };
    let PodTemplateSpec { metadata, spec } = template.parse()?;
    let metadata = metadata.unwrap_or_default();
    // Pods of DaemonSets are judged by their owner.
    let owner = OwnerReference {
        api_version: document.api_version().to_owned(),
        kind: (*kind).to_owned(),
        name: document.name().to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    Ok(Some(Pod {
        metadata: ObjectMeta {
            name: Some(document.name().to_owned()),
            namespace: document.namespace().map(str::to_owned),
            owner_references: Some(vec![owner]),
            ..metadata
        },
        spec,
        status: None,
    }))
}

/// The pod that was asked for: `pod NAME`, `pod/NAME`, `po NAME` or `NAME`.
pub(super) fn name(words: &[String]) -> Result<&str, Error> {
    let is_pod = |word: &str| matches!(word, "pod" | "pods" | "po");
    let bad = || {
        Error::Usage(format!(
            "{:?} names no pod: use `kubectl eci explain pod NAME`, or -f FILE for a workload",
            words.join(" ")
        ))
    };
    let name = match words {
        [one] => match one.split_once('/') {
            Some((kind, name)) if is_pod(kind) => name,
            Some(_) => return Err(bad()),
            None if is_pod(one) => return Err(bad()),
            None => one,
        },
        [kind, name] if is_pod(kind) => name,
        _ => return Err(bad()),
    };
    if name.is_empty() || name.contains('/') { Err(bad()) } else { Ok(name) }
}

/// A document as one of our kinds; `None` when it is of another.
pub(super) fn ours<T: serde::de::DeserializeOwned>(
    document: &Document,
    kind: &str,
) -> Result<Option<T>, Error> {
    let is_ours = document.api_version().split('/').next() == Some(eci_api::GROUP);
    if !is_ours || document.kind() != kind {
        return Ok(None);
    }
    if document.name().is_empty() {
        return Err(Error::Manifest {
            path: document.file.clone(),
            why: format!("{kind} without metadata.name"),
        });
    }
    document.parse().map(Some)
}

/// The labels of a Namespace; `None` for another object.
pub(super) fn labels_of(document: &Document, namespace: &str) -> Option<Value> {
    let found =
        document.api_version() == "v1" && document.kind() == "Namespace" && document.name() == namespace;
    found.then(|| {
        document
            .object
            .pointer("/metadata/labels")
            .cloned()
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Option<Pod>>, String> {
        let documents = manifest::parse("f", text).unwrap();
        documents.iter().map(|document| pod(document).map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn a_workload_stands_for_the_pods_that_it_makes() {
        let text = "{kind: CronJob, apiVersion: batch/v1, metadata: {name: night, namespace: shop}, \
                    spec: {jobTemplate: {spec: {template: {metadata: {labels: {a: b}}, spec: {containers: []}}}}}}";
        let pods = read(text).unwrap();
        let pod = pods[0].as_ref().unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("night"));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(pod.metadata.labels.as_ref().unwrap()["a"], "b");
        assert_eq!(pod.metadata.owner_references.as_ref().unwrap()[0].kind, "CronJob");
        assert_eq!(read("{kind: Service, metadata: {name: a}}").unwrap(), [None]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_object() {
        for (text, part) in [
            ("{kind: Deployment, metadata: {name: web}, spec: {}}", "Deployment web has no template"),
            ("{kind: Pod, metadata: {name: web}, spec: {containers: 3}}", "Pod web: "),
            ("{kind: Deployment, metadata: {name: web}, spec: {template: 3}}", "no template"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_pod_is_named_as_kubectl_names_it() {
        let words = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            name(&words).map(str::to_owned).ok()
        };
        for good in [&["pod", "web-1"][..], &["pod/web-1"], &["po", "web-1"], &["web-1"]] {
            assert_eq!(words(good).as_deref(), Some("web-1"), "{good:?}");
        }
        for bad in [&["deploy", "web"][..], &["deploy/web"], &["pod"], &["pod", ""], &["pod/a/b"]] {
            assert_eq!(words(bad), None, "{bad:?}");
        }
    }
}
