use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::error::Error;
use super::identity::Identity;

/// How often an ended child is looked for. Polling instead of SIGCHLD: a `Process` may outlive the runtime in which
/// it was started, as a control plane shared by several `#[tokio::test]`s does.
const POLL: Duration = Duration::from_millis(20);

/// Bytes of a log that are looked at for its tail.
const TAIL_BYTES: u64 = 64 * 1024;

/// Starts a watcher, then becomes the program. The watcher holds the reading end of a pipe from our process in the
/// program's group: end of file (we are gone, however we ended) makes it kill that group; a line makes it leave.
/// It is double-forked, so the program never has a child that it does not know.
const TETHER: &str = r#"exec 3<&0
( ( trap '' HUP INT TERM; IFS= read -r _ <&3 || kill -KILL 0 ) >/dev/null 2>&1 & )
exec "$@" </dev/null 3<&-"#;

/// A child process with a log file and a tether: when its parent ends in any way, `kill -9` included, it is killed
/// with everything in its process group. It is in a group of its own, so Ctrl-C in a terminal reaches the parent
/// only. Dropping kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    launch: Launch,
    state: Mutex<State>,
}

/// How it was started.
#[derive(Debug)]
struct Launch {
    dir: Option<PathBuf>,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

#[derive(Debug)]
struct State {
    child: Child,
    pid: i32,
    /// Closing it kills the group.
    tether: Option<ChildStdin>,
    detached: bool,
}

impl Launch {
    fn start(&self, name: &str, log: &Path) -> Result<State, Error> {
        let stdout =
            OpenOptions::new().create(true).append(true).open(log).map_err(Error::io("open", log))?;
        let stderr = stdout.try_clone().map_err(Error::io("open", log))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", TETHER, name]).arg(&self.program).args(&self.args);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).process_group(0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut child = command.spawn().map_err(Error::io("run", &self.program))?;
        let tether = child.stdin.take();
        let pid = i32::try_from(child.id()).unwrap_or_default();
        Ok(State { child, pid, tether, detached: false })
    }
}

impl Process {
    /// Starts `program` with `env` added to our environment; stdout and stderr are appended to
    /// `<log_dir>/<name>.log`, stdin is empty. A program that does not exist shows as an early end with status 127.
    pub fn spawn<A, E, K, V>(
        name: &str,
        program: &Path,
        args: A,
        env: E,
        log_dir: &Path,
    ) -> Result<Self, Error>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
        E: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::spawn_in(None, name, program, args, env, log_dir)
    }

    /// As [`Process::spawn`], in another working directory.
    pub(crate) fn spawn_in<A, E, K, V>(
        dir: Option<&Path>,
        name: &str,
        program: &Path,
        args: A,
        env: E,
        log_dir: &Path,
    ) -> Result<Self, Error>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
        E: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        fs::create_dir_all(log_dir).map_err(Error::io("create", log_dir))?;
        let log = log_dir.join(format!("{name}.log"));
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let env = env.into_iter().map(|(key, value)| (key.as_ref().to_owned(), value.as_ref().to_owned()));
        let launch =
            Launch { dir: dir.map(Path::to_owned), program: program.to_owned(), args, env: env.collect() };
        let state = Mutex::new(launch.start(name, &log)?);
        Ok(Self { name: name.to_owned(), log, launch, state })
    }

    /// Starts it once more, with the same command line and log; if it still runs, it is killed first.
    pub fn restart(&self) -> Result<(), Error> {
        self.kill9();
        *self.lock() = self.launch.start(&self.name, &self.log)?;
        Ok(())
    }

    /// The name given at the start; also of the log file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's own process number (and its group's); another one after a restart.
    pub fn pid(&self) -> i32 {
        self.lock().pid
    }

    /// Which process it is; None once it has ended.
    pub fn identity(&self) -> Option<Identity> {
        if self.is_alive() { Identity::of(self.pid()) } else { None }
    }

    /// The file with its stdout and stderr.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last `lines` lines of its log; empty when there is none.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines).unwrap_or_default()
    }

    /// How it ended; None while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.lock().child.try_wait().ok().flatten()
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    /// An error that names it and its log, if it has ended.
    pub fn check_alive(&self) -> Result<(), Error> {
        match self.exit_status() {
            None => Ok(()),
            Some(status) => Err(Error::EndedEarly {
                process: self.name.clone(),
                status,
                log: self.log.clone(),
                tail: self.log_tail(20),
            }),
        }
    }

    /// Waits for its end; None when it still runs after `limit`.
    pub async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let end = async {
            loop {
                if let Some(status) = self.exit_status() {
                    return status;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(limit, end).await.ok()
    }

    /// Kills it with SIGKILL, with everything in its group, and reaps it. Nothing happens if it has ended.
    pub fn kill9(&self) {
        let mut state = self.lock();
        // Both fail only when it is reaped already.
        let _ = state.child.kill();
        let _ = state.child.wait();
        state.tether = None;
    }

    /// Asks it to end with SIGTERM, kills it when it still runs after `limit`. Returns how it ended, None if killed.
    pub async fn terminate(&self, limit: Duration) -> Option<ExitStatus> {
        {
            let mut state = self.lock();
            // Not reaped while the lock is held, so the number is still this process's.
            if let (Ok(None), Some(pid)) = (state.child.try_wait(), Pid::from_raw(state.pid)) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let status = self.wait(limit).await;
        self.kill9();
        status
    }

    /// Cuts the tether without killing: the process outlives us from here on.
    pub fn detach(&self) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(mut tether) = state.tether.take() {
            tether.write_all(b"\n").map_err(Error::io("write to the tether of", &self.log))?;
        }
        state.detached = true;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.lock().detached {
            self.kill9();
        }
    }
}

/// The last lines of a file, read from its end.
fn tail(path: &Path, lines: usize) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NO_ENV: [(&str, &str); 0] = [];

    fn shell(dir: &Path, script: &str) -> Process {
        Process::spawn("shell", Path::new("/bin/sh"), ["-c", script], NO_ENV, dir).unwrap()
    }

    #[tokio::test]
    async fn the_log_has_both_streams_and_its_tail_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell(dir.path(), "echo one; echo two >&2; echo three; exit 7");
        assert_eq!(process.wait(10 * SECOND).await.and_then(|s| s.code()), Some(7));
        assert_eq!(process.log_tail(2), "two\nthree");
        let error = process.check_alive().unwrap_err().to_string();
        assert!(
            error.contains("shell ended early (exit status: 7)") && error.contains("one\ntwo"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn terminate_lets_the_program_clean_up_and_kills_one_that_does_not() {
        let dir = tempfile::tempdir().unwrap();
        // `read` from a fifo nobody writes blocks without a child process, and a trap interrupts it.
        let polite =
            shell(dir.path(), "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
        wait_for_log(&polite, "ready").await;
        assert_eq!(polite.terminate(10 * SECOND).await.and_then(|s| s.code()), Some(3));

        let stubborn = shell(dir.path(), "trap '' TERM; echo deaf; while :; do sleep 0.05; done");
        wait_for_log(&stubborn, "deaf").await;
        assert_eq!(stubborn.terminate(SECOND / 5).await, None);
        assert!(!stubborn.is_alive());
    }

    #[tokio::test]
    async fn killing_takes_the_children_of_the_program_too() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell(dir.path(), "sleep 1000 & echo child=$!; wait");
        let child = wait_for_log(&process, "child=").await;
        let child: i32 = child.rsplit('=').next().unwrap().trim().parse().unwrap();
        let child = Identity::of(child).expect("the child runs");
        process.kill9();
        assert!(child.wait_gone(10 * SECOND).await);
    }

    #[tokio::test]
    async fn one_that_is_restarted_runs_the_same_command_line_and_appends_to_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell(dir.path(), "echo run; exec sleep 1000");
        wait_for_log(&process, "run").await;
        let first = process.identity().expect("it runs");
        process.restart().unwrap();
        assert!(first.wait_gone(10 * SECOND).await);
        let twice = async {
            while process.log_tail(2) != "run\nrun" {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(10 * SECOND, twice).await.expect("it runs again");
        assert!(process.identity().is_some_and(|second| second != first));
    }

    #[tokio::test]
    async fn a_detached_process_outlives_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell(dir.path(), "exec sleep 1000");
        let identity = process.identity().expect("it runs");
        process.detach().unwrap();
        drop(process);
        assert!(!identity.wait_gone(SECOND / 2).await, "it should run on");
        identity.kill_group();
        assert!(identity.wait_gone(10 * SECOND).await);
    }

    async fn wait_for_log(process: &Process, text: &str) -> String {
        let seen = async {
            loop {
                let tail = process.log_tail(1);
                if tail.contains(text) {
                    return tail;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(10 * SECOND, seen).await.expect("the text appears")
    }
}
