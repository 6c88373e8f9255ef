//! Who evicts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::stack::{NAMESPACE as OPERATOR_NAMESPACE, SERVICE_ACCOUNT};
use crate::testbed::{Binaries, ControlPlane, Peer, Tool};

/// How long a peer may take to build its clients and fill its caches.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// Somebody who evicts the pods of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// The operator, by real notices.
    Ours,
    /// `kubectl drain`.
    Kubectl,
    /// The library behind it, as aws-node-termination-handler sets it.
    Handler,
    /// The same with the client's limits raised.
    HandlerRaised,
    /// Karpenter's queue.
    Karpenter,
}

impl Contender {
    pub(super) const ALL: [Self; 5] =
        [Self::Ours, Self::Kubectl, Self::Handler, Self::HandlerRaised, Self::Karpenter];

    /// On the command line and in files.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Kubectl => "kubectl",
            Self::Handler => "nth",
            Self::HandlerRaised => "nth-raised",
            Self::Karpenter => "karpenter",
        }
    }

    /// For people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "eci-operator",
            Self::Kubectl => "kubectl drain",
            Self::Handler => "drain library, 5/10 QPS",
            Self::HandlerRaised => "drain library, 200/300 QPS",
            Self::Karpenter => "Karpenter's queue",
        }
    }

    /// Who it is to the API server.
    pub(super) fn user(self) -> String {
        match self {
            Self::Ours => format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{SERVICE_ACCOUNT}"),
            _ => format!("eci-bench:{}", self.id()),
        }
    }
}

/// A peer that is ready to drain.
pub(super) struct Peerage {
    contender: Contender,
    command: Command,
    /// Running already, and waiting for a line.
    waiting: Option<Child>,
    /// Draining.
    draining: Option<Child>,
}

impl Peerage {
    /// Gets a peer ready; it gives up after `limit`. It reaches the API server at `server`, without a login of its own,
    /// if that is given.
    pub(super) async fn prepare(
        contender: Contender,
        plane: &ControlPlane,
        server: Option<String>,
        (node, namespace): (&str, &str),
        limit: Duration,
    ) -> Result<Self> {
        let kubeconfig = match server {
            Some(server) => open_kubeconfig(plane, &server)?,
            None => plane.kubeconfig_for_user(&contender.user(), Some("system:masters"))?,
        };
        let log = plane.log_dir().join(format!("{}.log", contender.id()));
        let (program, args) = invocation(contender, &kubeconfig, node, namespace, limit).await?;
        let mut command = Command::new(program);
        command.args(args).kill_on_drop(true).env("HOME", plane.dir()).stderr(std::fs::File::create(log)?);
        if contender == Contender::Kubectl {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        } else {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        let mut peer = Self { contender, command, waiting: None, draining: None };
        peer.get_ready().await?;
        Ok(peer)
    }

    /// kubectl has nothing to get ready.
    async fn get_ready(&mut self) -> Result<()> {
        if self.contender == Contender::Kubectl {
            return Ok(());
        }
        let mut child = self.command.spawn().context("cannot start a peer")?;
        let mut lines = BufReader::new(child.stdout.as_mut().context("a peer has no stdout")?).lines();
        let first = tokio::time::timeout(READY_LIMIT, lines.next_line()).await;
        match first.context("a peer does not get ready")?? {
            Some(line) if line.contains("ready") => {}
            other => bail!("{} said {other:?} instead of being ready", self.contender.id()),
        }
        self.waiting = Some(child);
        Ok(())
    }

    /// It is killed in the middle, and started again at once.
    pub(super) async fn restart(&mut self) -> Result<()> {
        if let Some(mut child) = self.draining.take() {
            child.kill().await.context("cannot kill a peer")?;
        }
        self.get_ready().await?;
        self.go().await
    }

    /// The drain starts.
    pub(super) async fn go(&mut self) -> Result<()> {
        let child = match self.waiting.take() {
            Some(mut child) => {
                let stdin = child.stdin.as_mut().context("a peer has no stdin")?;
                stdin.write_all(b"\n").await?;
                stdin.flush().await?;
                child
            }
            None => self.command.spawn().context("cannot start kubectl")?,
        };
        self.draining = Some(child);
        Ok(())
    }

    /// It is over.
    pub(super) async fn stop(mut self) -> Result<()> {
        if let Some(mut child) = self.draining.take() {
            child.kill().await.context("cannot end a peer")?;
        }
        Ok(())
    }
}

/// A kubeconfig for a server that asks nobody who they are.
fn open_kubeconfig(plane: &ControlPlane, server: &str) -> Result<PathBuf> {
    let name = "bench";
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": { "server": server } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "users": [{ "name": name, "user": {} }],
        "current-context": name,
    });
    let path = plane.dir().join("open.kubeconfig");
    std::fs::write(&path, config.to_string()).context("cannot write a kubeconfig")?;
    Ok(path)
}

async fn invocation(
    contender: Contender,
    kubeconfig: &Path,
    node: &str,
    namespace: &str,
    limit: Duration,
) -> Result<(PathBuf, Vec<OsString>)> {
    let timeout = format!("--timeout={}s", limit.as_secs());
    let kubeconfig = OsString::from(format!("--kubeconfig={}", kubeconfig.display()));
    if contender == Contender::Kubectl {
        let mut args = vec![kubeconfig];
        let flags = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", &timeout];
        args.extend(flags.map(OsString::from));
        return Ok((Binaries::ensure().await?.path(Tool::Kubectl).to_owned(), args));
    }
    let mut args = vec![kubeconfig];
    args.extend(["--wait".to_owned(), format!("--node={node}"), timeout].map(OsString::from));
    args.push(format!("--namespace={namespace}").into());
    let peer = match contender {
        Contender::Karpenter => Peer::Karpenter,
        _ => Peer::Drain,
    };
    if contender == Contender::HandlerRaised {
        args.extend(["--qps=200", "--burst=300"].map(OsString::from));
    }
    Ok((peer.ensure().await?, args))
}
