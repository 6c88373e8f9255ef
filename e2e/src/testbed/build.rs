//! `go build` of one pinned module into the cache: once, atomically, with progress.

use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::binaries::cache_dir;
use super::clock::Stopwatch;
use super::error::Error;
use super::lock::lock;
use super::process::Process;

/// A Go module of this repository and what is built from it in one go.
pub(crate) struct Recipe<'a> {
    /// Name of its directory in the cache and of its log.
    pub(crate) name: &'static str,
    /// Its directory, with `go.mod` and `go.sum`.
    pub(crate) source: PathBuf,
    /// The directories with Go files of our own that go into it: what is in them counts like a version.
    pub(crate) own_code: Vec<PathBuf>,
    /// What is told to the linker beside `-s -w`.
    pub(crate) stamp: &'static str,
    /// What is built.
    pub(crate) programs: Vec<&'a Program>,
    /// What to do where there is no Go.
    pub(crate) without_go: &'static str,
}

/// One program of a module.
pub(crate) struct Program {
    /// Its file name in the cache.
    pub(crate) file: &'static str,
    /// Its Go package.
    pub(crate) package: &'static str,
    /// What `go build` calls the result.
    pub(crate) built_as: &'static str,
}

/// How often a build that nobody sees on a terminal reports.
const REPORT_EVERY: Duration = Duration::from_secs(15);

/// The directory that holds the programs, built if need be.
pub(crate) async fn ensure(recipe: &Recipe<'_>) -> Result<PathBuf, Error> {
    let linker = format!("-s -w {}", recipe.stamp);
    let key = key(recipe, linker.trim()).await?;
    let cache = cache_dir()?;
    let dir = cache.join(format!("{}-{key}", recipe.name));
    let complete = || recipe.programs.iter().all(|program| dir.join(program.file).is_file());
    if complete() {
        return Ok(dir);
    }
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    let busy = format!("another run is building {}, waiting for it", recipe.name);
    let _lock = lock(&dir.with_extension("lock"), &busy).await?;
    if !complete() {
        build(recipe, linker.trim(), &dir, &cache.join("logs")).await?;
    }
    Ok(dir)
}

/// What the result depends on: the pinned versions, the compiler, the flags, our own code.
async fn key(recipe: &Recipe<'_>, linker: &str) -> Result<String, Error> {
    let go = Command::new("go")
        .arg("version")
        .current_dir(&recipe.source)
        .output()
        .await
        .map_err(|_| Error::MissingProgram { program: "go", remedy: recipe.without_go })?;
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = recipe.source.join(file);
        hash.update(fs::read(&path).map_err(Error::io("read", &path))?);
    }
    hash.update(&go.stdout);
    hash.update(linker);
    for file in go_files(&recipe.own_code)? {
        let content = fs::read(&file).map_err(Error::io("read", &file))?;
        // Name and length, so that text that moves from one file to another is a change.
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// The Go files of the directories, and their `go.mod`, in an order that depends on nothing but names.
fn go_files(dirs: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for dir in dirs {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
            let path = entry.map_err(Error::io("list", dir))?.path();
            if path.extension().is_some_and(|ext| ext == "go") || path.ends_with("go.mod") {
                found.push(path);
            }
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

async fn build(recipe: &Recipe<'_>, linker: &str, dir: &Path, logs: &Path) -> Result<(), Error> {
    let name = recipe.name;
    // Beside its destination: a rename within one file system is atomic.
    let scratch = tempfile::Builder::new()
        .prefix(".build-")
        .tempdir_in(dir)
        .map_err(Error::io("create a directory in", dir))?;
    let mut args = vec!["build".to_owned(), "-mod=readonly".into(), "-trimpath".into()];
    args.extend([format!("-ldflags={linker}"), "-o".into(), format!("{}/", scratch.path().display())]);
    args.extend(recipe.programs.iter().map(|program| program.package.to_owned()));
    let log_name = format!("build-{name}");
    // Each build's log is about that build.
    let _ = fs::remove_file(logs.join(&log_name).with_extension("log"));
    let go = Process::spawn_in(
        Some(&recipe.source),
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
    for program in &recipe.programs {
        let path = dir.join(program.file);
        fs::rename(scratch.path().join(program.built_as), &path).map_err(Error::io("write", &path))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(source: &Path) -> Recipe<'static> {
        Recipe {
            name: "probe",
            source: source.to_owned(),
            own_code: vec![source.to_owned()],
            stamp: "",
            programs: Vec::new(),
            without_go: "install Go",
        }
    }

    #[tokio::test]
    async fn a_change_of_our_own_code_is_built_anew_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("go.mod", "module probe\n");
        write("go.sum", "");
        write("a.go", "package main\n");
        write("b.go", "");
        let recipe = recipe(dir.path());
        let first = key(&recipe, "").await.unwrap();

        write("notes.md", "nothing that is compiled");
        assert_eq!(key(&recipe, "").await.unwrap(), first);

        write("a.go", "");
        write("b.go", "package main\n");
        let moved = key(&recipe, "").await.unwrap();
        assert_ne!(moved, first);

        write("go.sum", "a version");
        assert_ne!(key(&recipe, "").await.unwrap(), moved);
    }
}
