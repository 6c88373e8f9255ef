//! What users write, judged by a real API server: the good is taken, the bad is refused with words that help.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use eci_api::image_cache::ImageCache;
use eci_core::image_cache::{Defaults, desired};
use eci_e2e::testbed::{ControlPlane, StartOptions};
use http::{Method, Request};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Where the objects go.
const COLLECTION: &str = "/apis/eci-operator.io/v1alpha1/namespaces/default/imagecaches";
/// Nothing is stored and unknown fields are refused.
const STRICT: &str = "?dryRun=All&fieldValidation=Strict";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One control plane with our CRDs for all tests of this binary.
async fn plane() -> Result<&'static ControlPlane> {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE
        .get_or_try_init(|| async {
            let plane = ControlPlane::start(StartOptions::api_only()).await?;
            let crds = repository().join("crds");
            let applied = plane
                .kubectl(["apply", "--server-side", "--validate=strict", "-k", &crds.to_string_lossy()])
                .await?;
            ensure!(
                !applied.stderr.contains("Warning"),
                "the API server warns of the CRDs: {}",
                applied.stderr
            );
            applied.ok()?;
            plane
                .kubectl([
                    "wait",
                    "--for=condition=Established",
                    "--timeout=30s",
                    "crd/imagecaches.eci-operator.io",
                ])
                .await?
                .ok()?;
            Ok(plane)
        })
        .await
}

/// A line of the table of bad manifests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    /// What is wrong with it.
    why: String,
    /// The whole spec.
    spec: Value,
    /// Further metadata.
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
    /// Further fields beside the spec.
    #[serde(default)]
    top: serde_json::Map<String, Value>,
    /// The spec of the object that is changed; absent when one is created.
    before: Option<Value>,
    /// What the message must contain.
    expect: Vec<String>,
}

impl Bad {
    fn object(&self, number: usize) -> Value {
        let mut object = json!({
            "apiVersion": "eci-operator.io/v1alpha1",
            "kind": "ImageCache",
            "metadata": { "name": format!("bad-{number}") },
            "spec": self.spec,
        });
        for (key, value) in &self.metadata {
            object["metadata"][key] = value.clone();
        }
        for (key, value) in &self.top {
            object[key] = value.clone();
        }
        object
    }

    /// Sends it and says what is wrong with the answer, if anything.
    async fn judge(&self, client: &Client, number: usize) -> Result<Option<String>> {
        let mut object = self.object(number);
        let answer = if let Some(before) = &self.before {
            let mut existing = object.clone();
            existing["spec"] = before.clone();
            let created = send(client, Method::POST, COLLECTION.to_owned(), &existing).await?;
            object["metadata"] = created.map_err(anyhow::Error::msg)?["metadata"].clone();
            send(client, Method::PUT, format!("{COLLECTION}/bad-{number}{STRICT}"), &object).await?
        } else {
            send(client, Method::POST, format!("{COLLECTION}{STRICT}"), &object).await?
        };
        Ok(match answer {
            Ok(_) => Some("was accepted".to_owned()),
            Err(message) => {
                let missing: Vec<_> = self.expect.iter().filter(|words| !message.contains(*words)).collect();
                (!missing.is_empty()).then(|| format!("lacks {missing:?} in: {message}"))
            }
        })
    }
}

/// The object that the server answers with, or the message of its refusal.
async fn send(client: &Client, method: Method, path: String, body: &Value) -> Result<Result<Value, String>> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(body)?)?;
    match client.request::<Value>(request).await {
        Ok(object) => Ok(Ok(object)),
        Err(kube::Error::Api(status)) => Ok(Err(status.message)),
        Err(error) => Err(error.into()),
    }
}

/// The manifests of a folder, sorted.
fn manifests(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = repository().join(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let paths: BTreeSet<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect())
}

/// Stores an object in a namespace of its own, where no other test meets it.
async fn create_in(namespace: &str, plane: &ControlPlane, file: &str) -> Result<()> {
    let file = repository().join(file);
    plane.kubectl(["create", "namespace", namespace]).await?.ok()?;
    plane
        .kubectl(["create", "-n", namespace, "--validate=strict", "-f", &file.to_string_lossy()])
        .await?
        .ok()?;
    Ok(())
}

#[tokio::test]
async fn every_bad_manifest_is_refused_with_words_that_help() -> Result<()> {
    let table: Vec<Bad> =
        serde_saphyr::from_str(&fs::read_to_string(repository().join("e2e/manifests/bad.yaml"))?)?;
    assert!(table.len() >= 25, "the table has only {} lines", table.len());
    let client = plane().await?.client()?;
    let mut wrong = Vec::new();
    for (number, bad) in table.iter().enumerate() {
        assert!(!bad.expect.is_empty(), "{}: nothing is expected", bad.why);
        if let Some(complaint) = bad.judge(&client, number).await? {
            wrong.push(format!("{}: {complaint}", bad.why));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

#[tokio::test]
async fn every_example_and_every_valid_edge_is_accepted_without_a_warning() -> Result<()> {
    let plane = plane().await?;
    let files = [manifests("examples")?, manifests("e2e/manifests/good")?].concat();
    assert!(files.len() >= 8, "only {} files", files.len());
    for file in files {
        let path = file.to_string_lossy();
        let output = plane.kubectl(["create", "--dry-run=server", "--validate=strict", "-f", &path]).await?;
        assert!(!output.stderr.contains("Warning"), "{path}: {}", output.stderr);
        output.ok()?;
    }
    Ok(())
}

#[test]
fn what_the_api_server_accepts_the_operator_accepts() -> Result<()> {
    let defaults = Defaults { v_switch_ids: vec!["vsw-1".to_owned()], security_group_id: None };
    let mut seen = 0;
    for file in [manifests("examples")?, manifests("e2e/manifests/good")?].concat() {
        for mut document in serde_saphyr::from_multiple::<Value>(&fs::read_to_string(&file)?)? {
            if document["kind"] == "ImageCache" {
                // As the server does before it stores an object.
                if let Some(spec) = document["spec"].as_object_mut() {
                    spec.retain(|_, value| !value.is_null());
                }
                let object: ImageCache = serde_json::from_value(document)?;
                let request = desired(&object, &defaults).request;
                assert!(request.is_ok(), "{}: {request:?}", file.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "only {seen} objects");
    Ok(())
}

#[tokio::test]
async fn an_explicit_null_counts_as_absent_and_a_new_object_is_not_yet_observed() -> Result<()> {
    let plane = plane().await?;
    create_in("nulls", plane, "e2e/manifests/good/nulls.yaml").await?;
    let text = plane.kubectl(["get", "-n", "nulls", "imgc", "nulls", "-o", "json"]).await?.ok()?;
    let object: Value = serde_json::from_str(&text)?;
    assert_eq!(object["spec"], json!({ "images": ["registry.example.com/app:1"] }));
    assert_eq!(object["status"], json!({ "observedGeneration": -1 }));
    Ok(())
}

#[tokio::test]
async fn the_columns_and_the_category_work_in_kubectl() -> Result<()> {
    let plane = plane().await?;
    create_in("columns", plane, "e2e/manifests/good/smallest.yaml").await?;
    let status = json!({
        "status": {
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "Building", "message": "40 % are built",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            }],
            "cloudStatus": "Creating", "progressPercent": 40, "imageCacheID": "imc-1",
        }
    })
    .to_string();
    let patch = [
        "patch",
        "-n",
        "columns",
        "imagecache",
        "smallest",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    plane.kubectl(patch).await?.ok()?;
    let text = plane.kubectl(["get", "-n", "columns", "eci", "-o", "wide"]).await?.ok()?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines();
    let head = words(lines.next().context("no head line")?);
    assert_eq!(head, ["NAME", "READY", "REASON", "CLOUD", "PROGRESS", "ID", "MESSAGE", "AGE"]);
    let row = lines.find(|line| line.starts_with("smallest ")).context("no row of the object")?;
    assert_eq!(words(row)[..6], ["smallest", "False", "Building", "Creating", "40", "imc-1"]);
    assert!(row.contains("40 % are built"), "{row}");
    Ok(())
}
