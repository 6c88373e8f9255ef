use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// What can go wrong in the test bed. Messages name the process or file concerned and what to do.
#[derive(thiserror::Error)]
pub enum Error {
    /// A program of the machine that the test bed needs is missing.
    #[error("`{program}` is not on the PATH: {remedy}")]
    MissingProgram { program: &'static str, remedy: &'static str },

    /// `go build` refused or failed.
    #[error("building {tool} failed ({status}); the whole output is in {log}, which ends with:\n{tail}", log = log.display())]
    Build { tool: &'static str, status: ExitStatus, log: PathBuf, tail: String },

    /// A process ended that should run.
    #[error("{process} ended early ({status}); its log {log} ends with:\n{tail}", log = log.display())]
    EndedEarly { process: String, status: ExitStatus, log: PathBuf, tail: String },

    /// A process runs, but did not become ready in time.
    #[error("{process} was not ready after {seconds} s ({why}); its log {log} ends with:\n{tail}", log = log.display())]
    NotReady { process: String, seconds: u64, why: String, log: PathBuf, tail: String },

    /// A command of the user's kind (kubectl, helm) answered with a failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    CommandFailed { command: String, status: ExitStatus, stderr: String },

    /// A command did not end within its time limit and was killed.
    #[error("`{command}` did not end within {seconds} s and was killed")]
    CommandTimeout { command: String, seconds: u64 },

    /// Files, directories, pipes.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },

    /// The control plane's certificates could not be made.
    #[error("cannot make the test bed's certificates: {0}")]
    Certificates(#[from] rcgen::Error),

    /// A kubeconfig that this module wrote could not be read back.
    #[error("the test bed's kubeconfig is not usable: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),

    /// A request to the control plane failed.
    #[error("cannot {action}: {source}")]
    Kube { action: String, source: Box<kube::Error> },

    /// etcd cannot be asked.
    #[error("cannot ask etcd at {url}: {why}")]
    Etcd { url: String, why: String },

    /// A bed's state file is not what this version writes.
    #[error("{path} is not a state file of this version ({why}): stop what it names by hand and delete the directory", path = path.display())]
    State { path: PathBuf, why: String },

    /// A name that can't be a directory and part of a message.
    #[error(
        "`{0}` can't name a test bed: use 1 to 32 of a-z, 0-9 and `-`, with a letter or digit at both ends"
    )]
    BedName(String),

    /// Some of a bed's processes are gone.
    #[error("test bed `{name}` is broken: {ended} ended (logs in {logs}). Run `cargo xtask down --name {name}`, then `up` again", logs = logs.display())]
    BrokenBed { name: String, ended: String, logs: PathBuf },

    /// Neither a cache directory nor a home directory is known.
    #[error("no place to keep the test bed: set ECI_TESTBED_CACHE or HOME")]
    NoCacheDir,
}

/// As Display: `unwrap` in a test, the usual place where these end, shows Debug.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn kube(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Kube { action: action.into(), source: Box::new(source) }
    }

    /// Whether a port that was free when it was chosen was taken before the process could bind it.
    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::EndedEarly { tail, .. } if tail.contains("address already in use"))
    }
}
