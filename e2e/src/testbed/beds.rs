//! Named control planes that outlive the command that starts them: `cargo xtask up` and `down`.
//!
//! A bed is a directory `beds/<name>` in the cache with a state file that names every process by pid and start time.
//! It is written before the processes are let go, so a bed is either in it or dies with `up`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::binaries::cache_dir;
use super::certs::write_private;
use super::components::log_dir;
use super::control_plane::{ControlPlane, StartOptions, kubeconfig_path};
use super::error::Error;
use super::identity::Identity;
use super::process::Process;
use super::provision::provision;

const STATE_FILE: &str = "state.json";
const NAME_LIMIT: usize = 32;

/// How long a killed process may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// A bed's processes in the order of their start.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    processes: Vec<Recorded>,
}

/// One process of a bed.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    name: String,
    #[serde(flatten)]
    identity: Identity,
}

/// Where a bed is.
#[derive(Clone, Debug)]
pub struct Bed {
    /// Its name.
    pub name: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// One log per process.
    pub logs: PathBuf,
}

/// What a claim of a name found or made.
#[derive(Debug)]
pub enum Claim {
    /// It runs since now, and ends with this process unless it is kept.
    Mine(Owned, Box<ControlPlane>),
    /// It was there, and whole.
    Running(Bed),
}

/// A bed of this process.
#[derive(Debug)]
pub struct Owned {
    /// Where it is.
    pub bed: Bed,
    dir: PathBuf,
}

/// What became of a bed at `down`.
#[derive(Debug, PartialEq, Eq)]
pub enum Down {
    /// So many of its processes ran and were killed.
    Stopped(usize),
    /// There is no such bed.
    Unknown,
}

/// Starts a bed's control plane, unless the bed runs already. What is left of one whose processes have all ended (after a
/// restart of the machine) is replaced; one of which a part runs is an error.
pub async fn claim(name: &str) -> Result<Claim, Error> {
    let (bed, _lock) = match prepare(name).await? {
        Prepared::Running(bed) => return Ok(Claim::Running(bed)),
        Prepared::Empty(bed, lock) => (bed, lock),
    };
    let dir = beds_dir()?.join(&bed.name);
    let options = StartOptions { dir: Some(dir.clone()), ..StartOptions::default() };
    let plane = ControlPlane::start(options).await?;
    provision(&plane).await?;
    let owned = Owned { bed, dir };
    owned.record(&plane, &[])?;
    Ok(Claim::Mine(owned, Box::new(plane)))
}

impl Owned {
    /// Writes down which processes belong to the bed, so that `down` finds them.
    pub fn record(&self, plane: &ControlPlane, others: &[&Process]) -> Result<(), Error> {
        let others = others.iter().filter_map(|p| Some((p.name().to_owned(), p.identity()?)));
        let processes = plane.identities().into_iter().chain(others);
        let processes = processes.map(|(name, identity)| Recorded { name, identity }).collect();
        let path = self.dir.join(STATE_FILE);
        let text = serde_json::to_string_pretty(&State { processes })
            .map_err(|error| Error::State { path: path.clone(), why: error.to_string() })?;
        write_private(&path, &text)
    }

    /// Lets every process outlive this one.
    pub fn keep(self, plane: ControlPlane, others: &[Process]) -> Result<Bed, Error> {
        self.record(&plane, &others.iter().collect::<Vec<_>>())?;
        others.iter().try_for_each(Process::detach)?;
        plane.detach()?;
        Ok(self.bed)
    }

    /// Removes what is left of the bed, whose processes have ended.
    pub async fn remove(self) -> Result<(), Error> {
        down(&self.bed.name).await.map(drop)
    }
}

/// Kills exactly the processes that the bed's state file names and that are still those, in reverse order, and
/// removes its directory.
pub async fn down(name: &str) -> Result<Down, Error> {
    check_name(name)?;
    let dir = beds_dir()?.join(name);
    if !dir.exists() {
        return Ok(Down::Unknown);
    }
    let _lock = lock().await?;
    let mut stopped = 0;
    for process in read_state(&dir)?.iter().rev() {
        if process.identity.is_alive() {
            stopped += 1;
            process.identity.kill_group();
            process.identity.wait_gone(GONE_LIMIT).await;
        }
    }
    remove(&dir)?;
    Ok(Down::Stopped(stopped))
}

/// Removes the directory of a bed of which no process runs any more; another one is left alone.
pub async fn clear(name: &str) -> Result<(), Error> {
    check_name(name)?;
    let dir = beds_dir()?.join(name);
    let _lock = lock().await?;
    if read_state(&dir)?.iter().any(|process| process.identity.is_alive()) {
        return Ok(());
    }
    remove(&dir)
}

/// The names of all beds, running or not.
pub fn names() -> Result<Vec<String>, Error> {
    let dir = beds_dir()?;
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", &dir))?,
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

enum Prepared {
    Running(Bed),
    /// An empty directory, and the lock that keeps it ours.
    Empty(Bed, File),
}

async fn prepare(name: &str) -> Result<Prepared, Error> {
    check_name(name)?;
    let dir = beds_dir()?.join(name);
    let lock = lock().await?;
    let bed = Bed { name: name.to_owned(), kubeconfig: kubeconfig_path(&dir), logs: log_dir(&dir) };
    let processes = read_state(&dir)?;
    let (running, ended): (Vec<_>, Vec<_>) = processes.iter().partition(|p| p.identity.is_alive());
    if !running.is_empty() {
        if ended.is_empty() {
            return Ok(Prepared::Running(bed));
        }
        let ended: Vec<_> = ended.iter().map(|p| p.name.as_str()).collect();
        return Err(Error::BrokenBed { name: bed.name, ended: ended.join(", "), logs: bed.logs });
    }
    remove(&dir)?;
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    Ok(Prepared::Empty(bed, lock))
}

/// Nothing when there is no state file: an `up` that did not get so far left no process either.
fn read_state(dir: &Path) -> Result<Vec<Recorded>, Error> {
    let path = dir.join(STATE_FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(Error::io("read", &path))?,
    };
    let state: State = serde_json::from_str(&text)
        .map_err(|error| Error::State { path: path.clone(), why: error.to_string() })?;
    Ok(state.processes)
}

/// One `up` or `down` at a time; a second one waits. Not one lock per name: those files could never be removed.
async fn lock() -> Result<File, Error> {
    let dir = beds_dir()?;
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    super::lock::lock(&dir.join(".lock"), "waiting for another `up` or `down`").await
}

fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::io("remove", dir)),
    }
}

fn beds_dir() -> Result<PathBuf, Error> {
    Ok(cache_dir()?.join("beds"))
}

fn check_name(name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = name.starts_with(legal) && name.ends_with(legal);
    if ends && name.len() <= NAME_LIMIT && name.chars().all(|c| legal(c) || c == '-') {
        Ok(())
    } else {
        Err(Error::BedName(name.chars().take(NAME_LIMIT).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_harmless_path_segment() {
        for name in ["default", "a", "a-1", &"x".repeat(32)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "A", "-a", "a-", "a.lock", "ä", &"x".repeat(33)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_state_file_of_another_shape_is_named_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_state(dir.path()).unwrap().is_empty());
        fs::write(dir.path().join(STATE_FILE), "{\"processes\": 3}").unwrap();
        assert!(read_state(dir.path()).unwrap_err().to_string().contains(STATE_FILE));
    }
}
