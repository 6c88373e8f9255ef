//! What users write, judged by a real API server: the good is taken, the bad is refused with words that help.

mod agreement;
mod bad;
mod round_trip;
mod specs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use eci_api::image_cache::ImageCache;
use eci_core::image_cache::{Defaults, desired};
use eci_e2e::testbed::{ControlPlane, StartOptions};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A kind as the API server serves it.
#[derive(Clone, Copy)]
struct Resource {
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
}

const DATA_CACHE: Resource = Resource { kind: "DataCache", plural: "datacaches", namespaced: true };
const ECI_PROFILE: Resource = Resource { kind: "EciProfile", plural: "eciprofiles", namespaced: false };
const IMAGE_CACHE: Resource = Resource { kind: "ImageCache", plural: "imagecaches", namespaced: true };
const KINDS: [Resource; 3] = [DATA_CACHE, ECI_PROFILE, IMAGE_CACHE];

impl Resource {
    /// Where its objects go.
    fn collection(self) -> String {
        let namespace = if self.namespaced { "/namespaces/default" } else { "" };
        format!("/apis/eci-operator.io/v1alpha1{namespace}/{}", self.plural)
    }
}

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
            let names = KINDS.iter().map(|kind| format!("crd/{}.eci-operator.io", kind.plural));
            let wait = ["wait", "--for=condition=Established", "--timeout=30s"].map(str::to_owned);
            plane.kubectl(wait.into_iter().chain(names)).await?.ok()?;
            Ok(plane)
        })
        .await
}

/// The object that the server answers with, or the message of its refusal.
async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Result<Result<Value, String>> {
    let content = if method == Method::PATCH { "application/apply-patch+yaml" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
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

/// The files of every manifest that the API server must take.
fn all_good() -> Result<Vec<PathBuf>> {
    let files =
        [manifests("examples")?, manifests("examples/later")?, manifests("e2e/manifests/good")?].concat();
    ensure!(files.len() >= 16, "only {} files", files.len());
    Ok(files)
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
async fn every_example_and_every_valid_edge_is_accepted_without_a_warning() -> Result<()> {
    let plane = plane().await?;
    for file in all_good()? {
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
    for file in all_good()? {
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
    let table = [
        ("imagecache", json!({ "images": ["registry.example.com/app:1"] })),
        (
            "datacache",
            json!({
                "bucket": "default",
                "path": "/models/a",
                "source": { "type": "URL", "url": { "url": "https://example.com/a" } },
            }),
        ),
        (
            "eciprofile",
            json!({
                "priority": 0,
                "mode": "Enforce",
                "selector": { "podSelector": { "matchLabels": { "a": "b" } } },
            }),
        ),
    ];
    for (kind, spec) in table {
        let file = repository().join(format!("e2e/manifests/good/{kind}-nulls.yaml"));
        let create = ["create", "--dry-run=server", "-o", "json", "-f", &file.to_string_lossy()];
        let text = plane.kubectl(create).await?.ok()?;
        let object: Value = serde_json::from_str(&text)?;
        assert_eq!(object["spec"], spec, "{kind}");
        assert_eq!(object["status"], json!({ "observedGeneration": -1 }), "{kind}");
    }
    Ok(())
}

#[tokio::test]
async fn the_columns_work_in_kubectl() -> Result<()> {
    let plane = plane().await?;
    create_in("columns", plane, "e2e/manifests/good/imagecache-smallest.yaml").await?;
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
    let text = plane.kubectl(["get", "-n", "columns", "imgc", "-o", "wide"]).await?.ok()?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines();
    let head = words(lines.next().context("no head line")?);
    assert_eq!(head, ["NAME", "READY", "REASON", "CLOUD", "PROGRESS", "ID", "MESSAGE", "AGE"]);
    let row = lines.find(|line| line.starts_with("smallest ")).context("no row of the object")?;
    assert_eq!(words(row)[..6], ["smallest", "False", "Building", "Creating", "40", "imc-1"]);
    assert!(row.contains("40 % are built"), "{row}");
    Ok(())
}

#[tokio::test]
async fn every_kind_is_found_by_its_short_name_and_in_the_category() -> Result<()> {
    let plane = plane().await?;
    create_in("category", plane, "e2e/manifests/good/imagecache-smallest.yaml").await?;
    for kind in ["datacache", "eciprofile"] {
        // A name that no manifest has: profiles are in no namespace, and other tests create the manifests.
        let file = repository().join(format!("e2e/manifests/good/{kind}-smallest.yaml"));
        let text = fs::read_to_string(file)?.replace("name: smallest", "name: category");
        plane.kubectl_stdin(["create", "-n", "category", "-f", "-"], &text).await?.ok()?;
    }
    let all = plane.kubectl(["get", "-n", "category", "eci", "-o", "name"]).await?.ok()?;
    let table = [
        ("datac", "datacache.eci-operator.io/category"),
        ("ecip", "eciprofile.eci-operator.io/category"),
        ("imgc", "imagecache.eci-operator.io/smallest"),
    ];
    for (short, name) in table {
        assert!(all.lines().any(|line| line == name), "{name} is not among: {all}");
        let listed = plane.kubectl(["get", "-n", "category", short, "-o", "name"]).await?.ok()?;
        assert!(listed.lines().any(|line| line == name), "{name} is not among: {listed}");
    }
    Ok(())
}

#[test]
fn the_examples_that_the_demo_applies_are_of_kinds_that_have_a_controller() -> Result<()> {
    let kinds = |folder| -> Result<BTreeSet<String>> {
        let mut kinds = BTreeSet::new();
        for file in manifests(folder)? {
            for document in serde_saphyr::from_multiple::<Value>(&fs::read_to_string(file)?)? {
                kinds.extend(document["kind"].as_str().map(str::to_owned));
            }
        }
        Ok(kinds)
    };
    assert_eq!(kinds("examples")?, ["DataCache", "ImageCache", "Secret"].map(str::to_owned).into());
    assert_eq!(kinds("examples/later")?, ["EciProfile"].map(str::to_owned).into());
    Ok(())
}

#[tokio::test]
async fn kubectl_explains_a_field_of_every_kind() -> Result<()> {
    let plane = plane().await?;
    let table = [
        ("imgc.spec.size", "At least twice the images' size."),
        ("datac.spec.source.huggingFace.repoID", "for some data sets of Hugging Face"),
        ("ecip.spec.spot.priceLimit", "The most to pay for an hour"),
    ];
    for (field, words) in table {
        let text = plane.kubectl(["explain", field]).await?.ok()?;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{field}: {text}");
    }
    Ok(())
}
