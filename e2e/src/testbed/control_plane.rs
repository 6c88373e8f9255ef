use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tempfile::TempDir;

use super::binaries::{Binaries, Tool};
use super::certs::Pki;
use super::command::{self, Output};
use super::components::{Components, audit_log_path, log_dir};
use super::error::Error;
use super::fence;
use super::identity::Identity;
use super::kubeconfig::{self, Login};
use super::process::Process;

/// How long one process may take to become ready: generous, for machines that build at the same time.
const READY_LIMIT: Duration = Duration::from_secs(90);
const READY_POLL: Duration = Duration::from_millis(50);

/// How often a start is tried when another program takes a port between our choice and the process's bind.
const PORT_ATTEMPTS: usize = 3;

/// Life of the tokens of [`ControlPlane::token_for`].
const TOKEN_SECONDS: i64 = 24 * 3600;

/// Directories of control planes that were not given one start with this, then `<pid>-<start>-`.
const TEMP_PREFIX: &str = "eci-testbed-";

/// What to run. The default is everything.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// kube-controller-manager. Without it nothing makes service accounts, and without a service account no pod is
    /// admitted.
    pub controllers: bool,
    /// kube-scheduler.
    pub scheduler: bool,
    /// kwok, for all nodes with the annotation [`super::nodes::MANAGED`]`=fake`.
    pub kwok: bool,
    /// Added to kube-controller-manager's command line, where the last of two equal flags wins. Without, it may send
    /// 300 requests a second per controller; its own default is 20.
    pub controller_manager_args: Vec<String>,
    /// kwok's configuration (its Stages); None takes `e2e/testbed/stages.yaml`.
    pub kwok_config: Option<PathBuf>,
    /// Added to kube-apiserver's command line, where the last of two equal flags wins.
    pub apiserver_args: Vec<String>,
    /// An existing directory to keep everything in, left behind at the end; None takes a temporary one.
    pub dir: Option<PathBuf>,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            controllers: true,
            scheduler: true,
            kwok: true,
            controller_manager_args: Vec::new(),
            kwok_config: None,
            apiserver_args: Vec::new(),
            dir: None,
        }
    }
}

impl StartOptions {
    /// etcd and kube-apiserver only.
    pub fn api_only() -> Self {
        Self { controllers: false, scheduler: false, kwok: false, ..Self::default() }
    }
}

/// A running control plane. Dropping it kills its processes in reverse order and removes its directory if that is a
/// temporary one; after a panic or a failed start the directory stays for a look at the logs until a later run finds
/// its owner gone.
#[derive(Debug)]
pub struct ControlPlane {
    /// In order of their start.
    processes: Vec<Process>,
    pub(super) binaries: &'static Binaries,
    server: String,
    /// `http://127.0.0.1:<port>` of etcd.
    pub(super) etcd: String,
    config: Config,
    pub(super) pki: Arc<Pki>,
    dir: PathBuf,
    temp: Option<TempDir>,
}

impl ControlPlane {
    /// Starts a control plane and waits until the API server is ready and, with `controllers`, until the `default`
    /// namespace has its service account, so that pods can be created.
    pub async fn start(options: StartOptions) -> Result<Self, Error> {
        let binaries = Binaries::ensure().await?;
        let mut attempt = 1;
        loop {
            match Self::try_start(binaries, &options).await {
                Err(error) if error.is_port_taken() && attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn try_start(binaries: &'static Binaries, options: &StartOptions) -> Result<Self, Error> {
        if let Some(dir) = &options.dir {
            return Self::start_in(binaries, options, dir).await;
        }
        let temp = temp_dir()?;
        let result = Self::start_in(binaries, options, temp.path()).await;
        match result {
            Ok(mut plane) => {
                plane.temp = Some(temp);
                Ok(plane)
            }
            Err(error) => {
                // The error names a log in it.
                let _ = temp.keep();
                Err(error)
            }
        }
    }

    async fn start_in(
        binaries: &'static Binaries,
        options: &StartOptions,
        dir: &Path,
    ) -> Result<Self, Error> {
        let pki = Arc::new(Pki::create(&dir.join("pki"))?);
        let [port, etcd_port, peer_port] = free_ports()?;
        let server = format!("https://127.0.0.1:{port}");
        let components = Components { binaries, dir, pki: &pki, server: &server };
        let kubeconfig = components.write_kubeconfig(
            &kubeconfig_path(dir),
            "admin",
            "eci-testbed:admin",
            Some("system:masters"),
        )?;
        let config = read_config(&kubeconfig).await?;
        let processes = vec![
            components.etcd(etcd_port, peer_port)?,
            components.apiserver(port, etcd_port, &options.apiserver_args)?,
        ];
        let mut plane = Self {
            processes,
            binaries,
            server: server.clone(),
            etcd: format!("http://127.0.0.1:{etcd_port}"),
            config,
            pki: Arc::clone(&pki),
            dir: dir.to_owned(),
            temp: None,
        };
        plane.wait_for_server().await?;
        if options.controllers {
            plane.processes.push(components.controller_manager(&options.controller_manager_args)?);
        }
        if options.scheduler {
            plane.processes.push(components.scheduler()?);
        }
        if options.kwok {
            fence::install(&plane.client()?).await?;
            plane.processes.push(components.kwok(options.kwok_config.as_deref())?);
        }
        if options.controllers {
            plane.wait_for_controllers().await?;
        }
        Ok(plane)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig_path(&self) -> PathBuf {
        kubeconfig_path(&self.dir)
    }

    /// Where each process has a log.
    pub fn log_dir(&self) -> PathBuf {
        log_dir(&self.dir)
    }

    /// The API server's audit log: one JSON event a line, stage ResponseComplete and later, level
    /// Metadata, but what the disruption controller writes into the status of budgets is there wholly.
    pub fn audit_log_path(&self) -> PathBuf {
        audit_log_path(&self.dir)
    }

    /// Everything of this control plane.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `https://127.0.0.1:<port>`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// How to connect as administrator. No retries: a test wants to see what the server said.
    pub fn admin_config(&self) -> Config {
        self.config.clone()
    }

    /// A client of [`ControlPlane::admin_config`]. It belongs to the runtime it is made in: make one per test.
    pub fn client(&self) -> Result<Client, Error> {
        Client::try_from(self.admin_config()).map_err(Error::kube("make a client"))
    }

    /// The running processes in the order of their start, named as [`Tool`] names them.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Ends kube-controller-manager and starts it with other flags. It begins with its lists.
    pub fn restart_controller_manager(&mut self, args: &[String]) -> Result<(), Error> {
        let (binaries, dir, server) = (self.binaries, self.dir.clone(), self.server.clone());
        let components = Components { binaries, dir: &dir, pki: &Arc::clone(&self.pki), server: &server };
        let name = Tool::KubeControllerManager.name();
        if let Some(running) = self.processes.iter_mut().find(|process| process.name() == name) {
            running.kill9();
            *running = components.controller_manager(args)?;
        }
        Ok(())
    }

    /// Fails with the name and the log of the first process that has ended.
    pub fn check_alive(&self) -> Result<(), Error> {
        self.processes.iter().try_for_each(Process::check_alive)
    }

    /// Runs kubectl as administrator, for two minutes at most.
    pub async fn kubectl<A>(&self, args: A) -> Result<Output, Error>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
    {
        self.kubectl_stdin(args, "").await
    }

    /// As [`ControlPlane::kubectl`], with something to read: `apply -f -`.
    pub async fn kubectl_stdin<A>(&self, args: A, stdin: &str) -> Result<Output, Error>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
    {
        self.run(Tool::Kubectl, args, stdin).await
    }

    /// Runs helm as administrator, for two minutes at most. Its configuration and caches are in [`ControlPlane::dir`].
    pub async fn helm<A>(&self, args: A) -> Result<Output, Error>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
    {
        self.run(Tool::Helm, args, "").await
    }

    async fn run<A>(&self, tool: Tool, args: A, stdin: &str) -> Result<Output, Error>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
    {
        let program = self.binaries.path(tool);
        command::run(program, args, &self.kubeconfig_path(), &self.dir.join("home"), stdin).await
    }

    /// A token of a service account, by TokenRequest, valid for a day.
    pub async fn token_for(&self, namespace: &str, service_account: &str) -> Result<String, Error> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client()?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let action = || format!("get a token for service account {namespace}/{service_account}");
        let answer = api
            .create_token_request(service_account, &PostParams::default(), &request)
            .await
            .map_err(Error::kube(action()))?;
        Ok(answer.status.map(|status| status.token).unwrap_or_default())
    }

    /// Writes a kubeconfig that logs in with a token, readable by its owner only; `server` is where, if not at the API
    /// server itself.
    pub fn kubeconfig_for_token(&self, token: &str, path: &Path, server: Option<&str>) -> Result<(), Error> {
        let server = server.unwrap_or(&self.server);
        kubeconfig::write(path, server, &self.dir.join("pki").join("ca.crt"), &Login::Token(token))
    }

    /// Ends it now; dropping does the same.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Which processes run, by name, in the order of their start.
    pub(crate) fn identities(&self) -> Vec<(String, Identity)> {
        let of = |process: &Process| Some((process.name().to_owned(), process.identity()?));
        self.processes.iter().filter_map(of).collect()
    }

    /// Lets every process outlive us.
    pub(crate) fn detach(self) -> Result<(), Error> {
        self.processes.iter().try_for_each(Process::detach)
    }

    pub(super) async fn wait_for_server(&self) -> Result<(), Error> {
        let client = self.client()?;
        let ready = async || {
            let request = http::Request::get("/readyz").body(Vec::new()).map_err(|e| e.to_string())?;
            client.request_text(request).await.map(drop).map_err(|e| e.to_string())
        };
        self.wait_until("kube-apiserver", ready).await
    }

    async fn wait_for_controllers(&self) -> Result<(), Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client()?, "default");
        let ready = async || accounts.get("default").await.map(drop).map_err(|e| e.to_string());
        self.wait_until("kube-controller-manager", ready).await
    }

    /// Polls until `ready`; fails when any process has ended meanwhile, or at the limit with the last answer.
    async fn wait_until(
        &self,
        process: &str,
        ready: impl AsyncFn() -> Result<(), String>,
    ) -> Result<(), Error> {
        let mut why = String::from("no answer");
        let poll = async {
            loop {
                self.check_alive()?;
                match ready().await {
                    Ok(()) => return Ok(()),
                    Err(answer) => why = answer,
                }
                tokio::time::sleep(READY_POLL).await;
            }
        };
        if let Ok(result) = tokio::time::timeout(READY_LIMIT, poll).await {
            return result;
        }
        let slow = self.processes.iter().find(|p| p.name() == process);
        Err(Error::NotReady {
            process: process.to_owned(),
            seconds: READY_LIMIT.as_secs(),
            why,
            log: slow.map(|p| p.log_path().to_owned()).unwrap_or_default(),
            tail: slow.map(|p| p.log_tail(20)).unwrap_or_default(),
        })
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        while let Some(process) = self.processes.pop() {
            drop(process);
        }
        if std::thread::panicking()
            && let Some(temp) = self.temp.take()
        {
            let _ = temp.keep();
        }
    }
}

pub(crate) fn kubeconfig_path(dir: &Path) -> PathBuf {
    dir.join("kubeconfig")
}

pub(super) async fn read_config(path: &Path) -> Result<Config, Error> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(config)
}

/// Ports of 127.0.0.1 that are free now; all are held until the last is chosen, so that they differ.
fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let bind = || TcpListener::bind(("127.0.0.1", 0));
    let choose = || {
        let held = (0..N).map(|_| bind()).collect::<Result<Vec<_>, _>>()?;
        let mut ports = [0; N];
        for (port, listener) in ports.iter_mut().zip(&held) {
            *port = listener.local_addr()?.port();
        }
        Ok(ports)
    };
    choose().map_err(Error::io("find a free port on", Path::new("127.0.0.1")))
}

/// A directory named after its owner; those of owners that are gone are removed on the way.
fn temp_dir() -> Result<TempDir, Error> {
    let parent = std::env::temp_dir();
    sweep(&parent);
    let owner = Identity::own().map(|id| format!("{}-{}-", id.pid, id.started)).unwrap_or_default();
    tempfile::Builder::new()
        .prefix(&format!("{TEMP_PREFIX}{owner}"))
        .tempdir_in(&parent)
        .map_err(Error::io("create a directory in", &parent))
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| {
            let (owner, _random) = name.strip_prefix(TEMP_PREFIX)?.rsplit_once('-')?;
            let (pid, started) = owner.split_once('-')?;
            Some(Identity { pid: pid.parse().ok()?, started: started.to_owned() })
        });
        if owner.is_some_and(|owner| !owner.is_alive()) {
            // Another user's, or in use by another sweep: not ours to insist on.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_owners_that_are_gone_are_swept_and_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let own = Identity::own().unwrap();
        let mine = format!("{TEMP_PREFIX}{}-{}-abc123", own.pid, own.started);
        let gone = format!("{TEMP_PREFIX}{}-another-boot-7-abc123", own.pid);
        let foreign = "something-else-1-2-3".to_owned();
        for name in [&mine, &gone, &foreign] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        sweep(parent.path());
        let left = [mine, gone, foreign].map(|name| parent.path().join(name).exists());
        assert_eq!(left, [true, false, true]);
    }

    #[test]
    fn free_ports_differ() {
        let mut ports: [u16; 16] = free_ports().unwrap();
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
