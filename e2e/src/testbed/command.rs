use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::error::Error;

/// How long kubectl or helm may take.
const TIME_LIMIT: Duration = Duration::from_mins(2);

/// Bytes of stderr that an error repeats.
const STDERR_LIMIT: usize = 4096;

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command as a person would type it.
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Its stdout if it succeeded, else an error with its stderr.
    pub fn ok(self) -> Result<String, Error> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let mut stderr = self.stderr;
        stderr.truncate(stderr.floor_char_boundary(STDERR_LIMIT));
        Err(Error::CommandFailed { command: self.command, status: self.status, stderr })
    }
}

/// Runs a client of the cluster to its end. Its home is in the test bed, so that it neither reads nor leaves
/// anything in the user's.
pub(crate) async fn run<A>(
    program: &Path,
    args: A,
    kubeconfig: &Path,
    home: &Path,
    stdin: &str,
) -> Result<Output, Error>
where
    A: IntoIterator,
    A::Item: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(args).env("KUBECONFIG", kubeconfig).env("HOME", home);
    for variable in
        ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HELM_NAMESPACE", "HELM_KUBECONTEXT"]
    {
        command.env_remove(variable);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let shown = shown(&command);
    let mut child = command.spawn().map_err(Error::io("run", program))?;
    let pipe = child.stdin.take();
    let feed = async move {
        if let Some(mut pipe) = pipe {
            // A command that ends without reading its input says why itself.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        }
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(TIME_LIMIT, both)
        .await
        .map_err(|_| Error::CommandTimeout { command: shown.clone(), seconds: TIME_LIMIT.as_secs() })?
        .map_err(Error::io("run", program))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Output {
        command: shown,
        status: output.status,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

/// `kubectl get pods`: the program's name and its arguments.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words: Vec<_> =
        std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}
