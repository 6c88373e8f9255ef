//! A virtual environment with the SDK, installed once for each set of versions and each Python.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use eci_e2e::testbed::cache_dir;
use sha2::{Digest as _, Sha256};

/// Where the SDK's side is.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk")
}

/// The Python of an environment that has the SDK.
pub(crate) fn ensure() -> anyhow::Result<PathBuf> {
    let requirements = sources().join("requirements.txt");
    let dir = cache_dir()?.join(format!("sdk-{}", key(&requirements)?));
    let python = dir.join("bin").join("python");
    // Written last: an environment without it is half of one.
    let complete = dir.join("complete");
    if complete.is_file() {
        return Ok(python);
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let lock = dir.with_extension("lock");
    let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.with_context(|| format!("cannot lock {}", lock.display()))?;
    if !complete.is_file() {
        eprintln!("sdk: installing the vendor's SDK (once)");
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
        let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"];
        run(Command::new(&python).args(pip).arg(&requirements))?;
        File::create(&complete).with_context(|| format!("cannot write {}", complete.display()))?;
    }
    Ok(python)
}

/// What the environment depends on: the pinned versions, and the Python that it links to.
fn key(requirements: &Path) -> anyhow::Result<String> {
    let which = Command::new("python3")
        .args(["-c", "import sys; print(sys.version, sys.base_prefix)"])
        .output()
        .context("cannot run python3: install it with its venv module")?;
    let pinned = fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let hash = Sha256::new().chain_update(pinned).chain_update(which.stdout).finalize();
    Ok(hex::encode(&hash[..8]))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", program(command)))?;
    if !status.success() {
        bail!("{} ended with {status}, see above", program(command));
    }
    Ok(())
}

fn program(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
