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

use eci_api::condition::Reason;
use eci_api::image_cache::ImageCache;
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

/// Every generated file, in the order of their paths.
pub fn generate() -> Result<Vec<Generated>, Error> {
    let kind = "ImageCache";
    let crd = manifest::finish(
        serde_json::to_value(ImageCache::crd()).map_err(|source| Error::Json { kind, source })?,
    );
    let yaml = |source| Error::Yaml { kind, source };
    Ok(vec![
        Generated {
            path: "charts/eci-operator-crds/templates/imagecaches.yaml",
            content: manifest::template(&crd).map_err(yaml)?,
        },
        Generated { path: "crds/imagecaches.yaml", content: manifest::plain(&crd).map_err(yaml)? },
        Generated {
            path: "crds/kustomization.yaml",
            content: manifest::kustomization(&["imagecaches.yaml"]),
        },
        Generated { path: "docs/reference/imagecache.md", content: reference::page(&crd, Reason::ALL) },
    ])
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
