//! `go build` of one pinned module into the cache: once, atomically, with progress.

use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::binaries::{Module, Tool, cache_dir};
use super::clock::Stopwatch;
use super::error::Error;
use super::lock::lock;
use super::process::Process;

type Packages = [(Tool, &'static str, &'static str)];

/// How often a build that nobody sees on a terminal reports.
const REPORT_EVERY: Duration = Duration::from_secs(15);

const GO_REMEDY: &str = "install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a directory with etcd, \
     kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok and helm";

/// The directory that holds the given tools of a module, built if need be.
pub(crate) async fn ensure(module: &Module, packages: &Packages) -> Result<PathBuf, Error> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed").join(module.name);
    let linker = format!("-s -w {}", module.stamp);
    let key = key(&source, linker.trim()).await?;
    let cache = cache_dir()?;
    let dir = cache.join(format!("{}-{key}", module.name));
    let complete = || packages.iter().all(|(tool, ..)| dir.join(tool.name()).is_file());
    if complete() {
        return Ok(dir);
    }
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    let busy = format!("another run is building {}, waiting for it", module.name);
    let _lock = lock(&dir.with_extension("lock"), &busy).await?;
    if !complete() {
        build(module.name, packages, &source, linker.trim(), &dir, &cache.join("logs")).await?;
    }
    Ok(dir)
}

/// What the result depends on: the pinned versions, the compiler, the flags.
async fn key(source: &Path, linker: &str) -> Result<String, Error> {
    let go = Command::new("go")
        .arg("version")
        .current_dir(source)
        .output()
        .await
        .map_err(|_| Error::MissingProgram { program: "go", remedy: GO_REMEDY })?;
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = source.join(file);
        hash.update(fs::read(&path).map_err(Error::io("read", &path))?);
    }
    hash.update(&go.stdout);
    hash.update(linker);
    Ok(hex::encode(&hash.finalize()[..8]))
}

async fn build(
    name: &'static str,
    packages: &Packages,
    source: &Path,
    linker: &str,
    dir: &Path,
    logs: &Path,
) -> Result<(), Error> {
    // Beside its destination: a rename within one file system is atomic.
    let scratch = tempfile::Builder::new()
        .prefix(".build-")
        .tempdir_in(dir)
        .map_err(Error::io("create a directory in", dir))?;
    let mut args = vec!["build".to_owned(), "-mod=readonly".into(), "-trimpath".into()];
    args.extend([format!("-ldflags={linker}"), "-o".into(), format!("{}/", scratch.path().display())]);
    args.extend(packages.iter().map(|(_, package, _)| (*package).to_owned()));
    let log_name = format!("build-{name}");
    // Each build's log is about that build.
    let _ = fs::remove_file(logs.join(&log_name).with_extension("log"));
    let go = Process::spawn_in(
        Some(source),
        &log_name,
        Path::new("go"),
        &args,
        [("CGO_ENABLED", "0"), ("GOWORK", "off")],
        logs,
    )?;
    let status = watch(name, &go).await;
    if !status.success() {
        return Err(Error::Build {
            tool: name,
            status,
            log: go.log_path().to_owned(),
            tail: go.log_tail(20),
        });
    }
    for (tool, _, built_as) in packages {
        let path = dir.join(tool.name());
        fs::rename(scratch.path().join(built_as), &path).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

/// Waits for a build, with a spinner on a terminal and a line now and then elsewhere.
async fn watch(name: &str, go: &Process) -> std::process::ExitStatus {
    let clock = Stopwatch::start();
    let spinner = stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let bar = ProgressBar::new_spinner().with_message(format!("building {name} (once)"));
        bar.enable_steady_tick(Duration::from_millis(120));
        if let Ok(style) = style { bar.with_style(style) } else { bar }
    });
    if spinner.is_none() {
        eprintln!("testbed: building {name} (once)");
    }
    let status = loop {
        if let Some(status) = go.wait(REPORT_EVERY).await {
            break status;
        }
        if spinner.is_none() {
            eprintln!("testbed: building {name}, {} s", clock.elapsed().as_secs());
        }
    };
    if let Some(bar) = spinner {
        bar.finish_and_clear();
    }
    if status.success() {
        eprintln!("testbed: built {name} in {} s", clock.elapsed().as_secs());
    }
    status
}
