//! The command lines of the control plane's processes.

use std::path::{Path, PathBuf};

use super::binaries::{Binaries, Tool};
use super::certs::{Pki, write_private};
use super::error::Error;
use super::fence::KWOK;
use super::kubeconfig::{self, Login};
use super::nodes::MANAGED;
use super::process::Process;

const AUDIT_POLICY: &str = include_str!("../../testbed/audit-policy.yaml");
const STAGES: &str = include_str!("../../testbed/stages.yaml");

const NO_ENV: [(&str, &str); 0] = [];

/// Where everything of one control plane is, and how to start its processes.
pub(crate) struct Components<'a> {
    pub(crate) binaries: &'a Binaries,
    pub(crate) dir: &'a Path,
    pub(crate) pki: &'a Pki,
    /// Where clients find the API server.
    pub(crate) server: &'a str,
}

impl Components<'_> {
    pub(crate) fn etcd(&self, client_port: u16, peer_port: u16) -> Result<Process, Error> {
        let client = format!("http://127.0.0.1:{client_port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        self.spawn(
            Tool::Etcd,
            &[
                "--name=testbed".into(),
                format!("--data-dir={}", self.dir.join("etcd").display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=testbed={peer}"),
                // The data never outlives the machine, and one member need not wait for others to vote.
                "--unsafe-no-fsync".into(),
                "--heartbeat-interval=20".into(),
                "--election-timeout=200".into(),
                "--log-level=warn".into(),
            ],
            NO_ENV,
        )
    }

    pub(crate) fn apiserver(&self, port: u16, etcd_port: u16, extra: &[String]) -> Result<Process, Error> {
        let policy = self.dir.join("audit-policy.yaml");
        write_private(&policy, AUDIT_POLICY)?;
        let file = |name: &str| self.pki.path(name).display().to_string();
        let mut args = vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", self.pki.ca_path().display()),
            "--authorization-mode=RBAC".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!("--service-account-signing-key-file={}", file("service-account.key")),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            // A loopback address is no legal endpoint of the `kubernetes` service.
            "--endpoint-reconciler-type=none".into(),
            "--allow-privileged=true".into(),
            "--profiling=false".into(),
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={}", audit_log_path(self.dir).display()),
            // One file: who reads it need not follow rotations.
            "--audit-log-maxsize=0".into(),
        ];
        args.extend_from_slice(extra);
        self.spawn(Tool::KubeApiserver, &args, NO_ENV)
    }

    pub(crate) fn controller_manager(&self, extra: &[String]) -> Result<Process, Error> {
        let kubeconfig = self.client("system:kube-controller-manager", None, Tool::KubeControllerManager)?;
        let mut args = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            "--use-service-account-credentials=true".into(),
            format!("--service-account-private-key-file={}", self.pki.path("service-account.key").display()),
            format!("--root-ca-file={}", self.pki.ca_path().display()),
            "--kube-api-qps=300".into(),
            "--kube-api-burst=600".into(),
        ];
        args.extend_from_slice(extra);
        self.spawn(Tool::KubeControllerManager, &args, NO_ENV)
    }

    pub(crate) fn scheduler(&self) -> Result<Process, Error> {
        let kubeconfig = self.client("system:kube-scheduler", None, Tool::KubeScheduler)?;
        self.spawn(
            Tool::KubeScheduler,
            &[
                format!("--kubeconfig={}", kubeconfig.display()),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
                "--kube-api-qps=300".into(),
                "--kube-api-burst=600".into(),
            ],
            NO_ENV,
        )
    }

    pub(crate) fn kwok(&self, stages: Option<&Path>) -> Result<Process, Error> {
        let kubeconfig = self.client(KWOK, Some("system:masters"), Tool::Kwok)?;
        let stages = if let Some(path) = stages {
            path.to_owned()
        } else {
            let path = self.dir.join("stages.yaml");
            write_private(&path, STAGES)?;
            path
        };
        self.spawn(
            Tool::Kwok,
            &[
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--config={}", stages.display()),
                format!("--manage-nodes-with-annotation-selector={MANAGED}=fake"),
                // Without leases the node life cycle controller would taint the nodes after its grace period.
                "--node-lease-duration-seconds=40".into(),
            ],
            // Else the user's own kwok configuration would be read as well.
            [("KWOK_WORKDIR", self.dir.join("kwok"))],
        )
    }

    /// Issues a certificate for a user of its own, so that the audit log tells the processes apart, and writes its
    /// kubeconfig.
    fn client(&self, user: &str, group: Option<&str>, tool: Tool) -> Result<PathBuf, Error> {
        self.write_kubeconfig(&self.pki.path(&format!("{tool}.kubeconfig")), tool.name(), user, group)
    }

    /// Issues a client certificate and writes a kubeconfig that uses it.
    pub(crate) fn write_kubeconfig(
        &self,
        path: &Path,
        file: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<PathBuf, Error> {
        self.pki.client(file, user, group)?;
        let (certificate, key) =
            (self.pki.path(&format!("{file}.crt")), self.pki.path(&format!("{file}.key")));
        let login = Login::Certificate { certificate: &certificate, key: &key };
        kubeconfig::write(path, self.server, &self.pki.ca_path(), &login)?;
        Ok(path.to_owned())
    }

    fn spawn<K, V>(
        &self,
        tool: Tool,
        args: &[String],
        env: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Process, Error>
    where
        K: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        Process::spawn(tool.name(), self.binaries.path(tool), args, env, &log_dir(self.dir))
    }
}

/// Where the processes of the control plane in `dir` write their output.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("logs")
}

/// Where the API server of the control plane in `dir` writes who did what.
pub(crate) fn audit_log_path(dir: &Path) -> PathBuf {
    log_dir(dir).join("audit.jsonl")
}
