//! Writes the CRD manifests, their chart and the reference from the types of `eci-api`.
//!
//! The generated files are committed; a test of this crate fails when they are stale, and
//! `UPDATE=1 cargo test -p eci-crds` or `cargo run -p eci-crds` writes them again.
#![warn(missing_docs)]

mod manifest;
mod reference;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use eci_api::condition::{EventReason, ProfileReason, Reason};
use eci_api::data_cache::DataCache;
use eci_api::eci_profile::EciProfile;
use eci_api::image_cache::ImageCache;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// A file that this crate writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Where, from the root of the repository.
    pub path: &'static str,
    /// What it must contain.
    pub content: String,
}

/// Why the files could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A type has no JSON form: a bug of its derive.
    #[error("the CRD of {kind} has no JSON form: {source}")]
    Json {
        /// Kind of the CRD.
        kind: &'static str,
        /// What serde says.
        source: serde_json::Error,
    },
    /// The manifest has no YAML form.
    #[error("the manifest of {kind} has no YAML form: {source}")]
    Yaml {
        /// Kind of the CRD.
        kind: &'static str,
        /// What the serializer says.
        source: serde_saphyr::SerializeError,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A kind that we publish.
struct Kind {
    /// Its name.
    name: &'static str,
    /// What the derive gives.
    crd: CustomResourceDefinition,
    /// Where its manifest, its chart's template and its reference go.
    paths: [&'static str; 3],
    /// The reasons of its conditions, with what they mean.
    reasons: Vec<(&'static str, &'static str)>,
    /// The same of its other events.
    events: Vec<(&'static str, &'static str)>,
}

fn kinds() -> [Kind; 3] {
    let cloud_resource = || Reason::ALL.iter().map(|reason| (reason.as_str(), reason.doc())).collect();
    let other_events = || EventReason::ALL.iter().map(|reason| (reason.as_str(), reason.doc())).collect();
    [
        Kind {
            name: "DataCache",
            crd: DataCache::crd(),
            paths: [
                "crds/datacaches.yaml",
                "charts/eci-operator-crds/templates/datacaches.yaml",
                "docs/reference/datacache.md",
            ],
            reasons: cloud_resource(),
            events: other_events(),
        },
        Kind {
            name: "EciProfile",
            crd: EciProfile::crd(),
            paths: [
                "crds/eciprofiles.yaml",
                "charts/eci-operator-crds/templates/eciprofiles.yaml",
                "docs/reference/eciprofile.md",
            ],
            reasons: ProfileReason::ALL.iter().map(|reason| (reason.as_str(), reason.doc())).collect(),
            events: Vec::new(),
        },
        Kind {
            name: "ImageCache",
            crd: ImageCache::crd(),
            paths: [
                "crds/imagecaches.yaml",
                "charts/eci-operator-crds/templates/imagecaches.yaml",
                "docs/reference/imagecache.md",
            ],
            reasons: cloud_resource(),
            events: other_events(),
        },
    ]
}

/// Every generated file, in the order of their paths.
pub fn generate() -> Result<Vec<Generated>, Error> {
    let mut files = Vec::new();
    let mut resources = Vec::new();
    for Kind { name: kind, crd, paths: [plain, template, page], reasons, events } in kinds() {
        let crd = manifest::finish(serde_json::to_value(crd).map_err(|source| Error::Json { kind, source })?);
        let yaml = |source| Error::Yaml { kind, source };
        files.push(Generated { path: plain, content: manifest::plain(&crd).map_err(yaml)? });
        files.push(Generated { path: template, content: manifest::template(&crd).map_err(yaml)? });
        files.push(Generated { path: page, content: reference::page(&crd, &reasons, &events) });
        resources.push(plain.trim_start_matches("crds/"));
    }
    files.push(Generated { path: "crds/kustomization.yaml", content: manifest::kustomization(&resources) });
    files.sort_by_key(|file| file.path);
    Ok(files)
}

/// The root of the repository that this crate was built in.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes every file below `root` and returns the paths of those that changed.
pub fn write(root: &Path) -> Result<Vec<&'static str>, Error> {
    let mut changed = Vec::new();
    for file in generate()? {
        let path = root.join(file.path);
        if fs::read_to_string(&path).is_ok_and(|old| old == file.content) {
            continue;
        }
        let written =
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &file.content));
        written.map_err(|source| Error::Write { path, source })?;
        changed.push(file.path);
    }
    Ok(changed)
}
