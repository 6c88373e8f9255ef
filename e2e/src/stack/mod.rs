//! Everything together: a control plane, the charts, the simulated cloud and the operator, each a process of its own.
//!
//! The operator runs as its chart would run it: with the arguments of the chart's Deployment and the token of the
//! chart's ServiceAccount, so that a permission that the chart lacks or a flag that it spells wrongly shows.

mod caches;
mod images;
mod replica;

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use eci_sim::admin;
use eci_sim::world::call::{Effect, LedgerEntry};
use eci_sim::world::image_cache::View;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::testbed::{ControlPlane, Process, StartOptions};

pub use caches::{Cache, Caches, DataCaches, Objects, condition, data_id, message, told};
pub use images::Programs;
pub use replica::{Replica, leads};

/// The namespace of the operator.
pub const NAMESPACE: &str = "eci-system";
/// Its ServiceAccount, by the chart.
pub const SERVICE_ACCOUNT: &str = "eci-operator";
/// Its region.
pub const REGION: &str = "cn-hangzhou";

/// How long a process of ours may take to serve.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long the operator may take to end after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What a stack is like.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Control plane.
    pub plane: StartOptions,
    /// Seed of the simulated cloud.
    pub sim_seed: u64,
    /// How long a build takes in the simulated cloud.
    pub build_time: &'static str,
    /// `--resolve-window`; at least the request time-out and the length of a lease.
    pub resolve_window: &'static str,
    /// `--request-timeout`.
    pub request_timeout: &'static str,
    /// `--log-level`.
    pub log_level: &'static str,
    /// Whether the Secret with the cloud's credentials is there from the start.
    pub credentials: bool,
    /// Further values of the chart, an object; they replace the stack's own.
    pub values: Value,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            plane: StartOptions { scheduler: false, kwok: false, ..StartOptions::default() },
            sim_seed: 1,
            build_time: "2s",
            resolve_window: "12s",
            request_timeout: "2s",
            log_level: "debug",
            credentials: true,
            values: json!({}),
        }
    }
}

/// A running stack. Dropping it ends every process.
#[derive(Debug)]
pub struct Stack {
    operator: Option<Process>,
    sim: Process,
    cloud: admin::Client,
    sim_url: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    health: String,
    /// Where the operator serves its webhook: host and port.
    webhook: String,
    programs: Programs,
    /// Where operators reach the API server, if not at its own address.
    api_server: Option<String>,
    plane: ControlPlane,
}

impl Stack {
    /// Starts everything and waits until the operator is ready.
    pub async fn start(options: StackOptions) -> Result<Self> {
        let programs = Programs::beside_this_one()?;
        let plane = ControlPlane::start(options.plane.clone()).await?;
        let mut stack = Self::around(plane, programs, &options).await?;
        stack.start_operator().await?;
        Ok(stack)
    }

    /// Puts the simulated cloud and the charts around a control plane; the operator is still to be started.
    pub async fn around(plane: ControlPlane, programs: Programs, options: &StackOptions) -> Result<Self> {
        let (sim, sim_url) = start_sim(&plane, &programs, options).await?;
        let webhook = format!("127.0.0.1:{}", free_port()?);
        let (args, env) = install_charts(&plane, &sim_url, &webhook, options).await?;
        let health = format!("127.0.0.1:{}", free_port()?);
        let cloud = admin::Client::new(&sim_url);
        if options.credentials {
            write_credentials(plane.dir())?;
        }
        Ok(Self {
            operator: None,
            sim,
            cloud,
            sim_url,
            args,
            env,
            health,
            webhook,
            programs,
            api_server: None,
            plane,
        })
    }

    /// The control plane.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The simulated cloud's admin API.
    pub fn cloud(&self) -> &admin::Client {
        &self.cloud
    }

    /// The simulated cloud's endpoint.
    pub fn sim_url(&self) -> &str {
        &self.sim_url
    }

    /// Where the operator serves health and metrics: host and port.
    pub fn health(&self) -> &str {
        &self.health
    }

    /// Where the operator serves its webhook: host and port.
    pub fn webhook(&self) -> &str {
        &self.webhook
    }

    /// An administrator's client of the API server.
    pub fn client(&self) -> Result<Client> {
        Ok(self.plane.client()?)
    }

    /// The operator's kubeconfig: its ServiceAccount's token and nothing else.
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.plane.dir().join("operator.kubeconfig")
    }

    /// The operator, when it runs.
    pub fn operator(&self) -> Option<&Process> {
        self.operator.as_ref()
    }

    /// The simulator's process.
    pub fn sim(&self) -> &Process {
        &self.sim
    }

    /// Starts the operator and waits until it is ready.
    pub async fn start_operator(&mut self) -> Result<()> {
        self.launch_operator().await?;
        let operator = self.operator.as_ref().context("the operator was just started")?;
        wait_ready(operator, &self.health).await
    }

    /// Starts the operator and does not wait.
    pub async fn launch_operator(&mut self) -> Result<()> {
        ensure!(self.operator.is_none(), "the operator runs already");
        self.operator = Some(self.launch("operator", "eci-operator-0", &self.health, &self.webhook).await?);
        Ok(())
    }

    /// Starts a process of the operator, as the pod `pod` that serves health at `health` and its webhook at `webhook`.
    async fn launch(&self, name: &str, pod: &str, health: &str, webhook: &str) -> Result<Process> {
        let token = self.plane.token_for(NAMESPACE, SERVICE_ACCOUNT).await?;
        self.plane.kubeconfig_for_token(&token, &self.operator_kubeconfig(), self.api_server.as_deref())?;
        let own = [
            ("KUBECONFIG", self.operator_kubeconfig().into_os_string()),
            ("POD_NAMESPACE", OsString::from(NAMESPACE)),
            ("POD_NAME", OsString::from(pod)),
        ];
        let token_file = self.oidc_token_file();
        let charts = self.env.iter().map(|(name, value)| match name.as_str() {
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE" => (name.as_str(), token_file.clone().into_os_string()),
            _ => (name.as_str(), OsString::from(value)),
        });
        let env = own.into_iter().chain(charts);
        let credentials = credentials_dir(self.plane.dir());
        let args = self.args.iter().map(|arg| match arg.split_once('=') {
            // What a process outside of a pod has to have in another place.
            Some(("--listen-address", _)) => format!("--listen-address={health}"),
            Some(("--webhook-address", _)) => format!("--webhook-address={webhook}"),
            Some(("--credentials-dir", _)) => format!("--credentials-dir={}", credentials.display()),
            _ => arg.clone(),
        });
        Ok(Process::spawn(name, &self.programs.operator, args, env, &self.plane.log_dir())?)
    }

    /// The file that stands in for the mounted token of RRSA.
    pub fn oidc_token_file(&self) -> PathBuf {
        self.plane.dir().join("oidc-token")
    }

    /// Starts operators from now on that reach the API server at this URL.
    pub fn reach_api_server_at(&mut self, url: String) {
        self.api_server = Some(url);
    }

    /// Starts operators with one more argument from now on.
    pub fn add_argument(&mut self, argument: &str) {
        self.args.push(argument.to_owned());
    }

    /// Creates the Secret with the cloud's credentials, as far as the operator can tell.
    pub fn give_credentials(&self) -> Result<()> {
        write_credentials(self.plane.dir())
    }

    /// kill -9.
    pub async fn kill_operator(&mut self) -> Result<()> {
        let operator = self.operator.take().context("the operator does not run")?;
        operator.kill9();
        operator.wait(STOP_LIMIT).await.context("the operator survived kill -9")?;
        Ok(())
    }

    /// Asks the operator to stop, and says whether it ended as one that was asked to.
    pub async fn stop_operator(&mut self) -> Result<bool> {
        let operator = self.operator.take().context("the operator does not run")?;
        let status =
            operator.terminate(STOP_LIMIT).await.context("the operator did not stop when asked to")?;
        Ok(status.success())
    }

    /// A new namespace for one test.
    pub async fn namespace(&self, name: &str) -> Result<Caches> {
        let api: Api<Namespace> = Api::all(self.client()?);
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            ..Namespace::default()
        };
        api.create(&PostParams::default(), &namespace).await?;
        Ok(Caches::new(self.client()?, name))
    }

    /// What the cloud billed for an object: its create calls that had an effect, oldest first.
    pub async fn billed(&self, namespace: &str, name: &str) -> Result<Vec<LedgerEntry>> {
        let wanted = format!("{namespace}.{name}");
        let mut entries = self.cloud.ledger().await?;
        entries.retain(|entry| matches!(&entry.effect, Effect::Created { spec, .. } if spec.name == wanted));
        Ok(entries)
    }

    /// What the cloud has for an object.
    pub async fn living(&self, namespace: &str, name: &str) -> Result<Vec<View>> {
        let wanted = format!("{namespace}.{name}");
        let mut views = self.cloud.caches().await?;
        views.retain(|view| view.name == wanted);
        Ok(views)
    }

    /// What the API server answered the operator with 403, from its audit log. A namespace that is being terminated
    /// refuses new events; that is no lack of permission.
    pub fn forbidden(&self) -> Result<Vec<String>> {
        self.audited(|event| {
            let terminating = event["responseStatus"]["message"]
                .as_str()
                .is_some_and(|m| m.contains("because it is being terminated"));
            event["responseStatus"]["code"] == 403 && !terminating
        })
    }

    /// What the operator asked the API server to write, granted or not, from its audit log.
    pub fn writes(&self) -> Result<Vec<String>> {
        self.audited(|event| !["get", "list", "watch"].map(Value::from).contains(&event["verb"]))
    }

    /// The operator's requests of this sort.
    fn audited(&self, wanted: impl Fn(&Value) -> bool) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.plane.audit_log_path()).context("cannot read the audit log")?;
        let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
        let mut found = Vec::new();
        for line in log.lines() {
            // The last line may be half written.
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            if event["user"]["username"] == user.as_str() && wanted(&event) {
                found.push(format!("{} {}", event["verb"], event["requestURI"]));
            }
        }
        Ok(found)
    }

    /// The processes beside the control plane.
    pub fn others(&self) -> Vec<&Process> {
        std::iter::once(&self.sim).chain(&self.operator).collect()
    }

    /// Takes the parts apart, for those who keep them running.
    pub fn into_parts(self) -> (ControlPlane, Vec<Process>) {
        let mut processes = vec![self.sim];
        processes.extend(self.operator);
        (self.plane, processes)
    }
}

async fn start_sim(
    plane: &ControlPlane,
    programs: &Programs,
    options: &StackOptions,
) -> Result<(Process, String)> {
    let port_file = plane.dir().join("sim.port");
    let _ = fs::remove_file(&port_file);
    let args = [
        OsString::from("--build-time"),
        options.build_time.into(),
        "--seed".into(),
        options.sim_seed.to_string().into(),
        "--region".into(),
        REGION.into(),
        "--port-file".into(),
        port_file.clone().into_os_string(),
    ];
    let sim = Process::spawn("sim", &programs.sim, args, [("RUST_LOG", "eci_sim=info")], &plane.log_dir())?;
    let url = eventually("the simulated cloud serves", START_LIMIT, || async {
        sim.check_alive().map_err(|error| error.to_string())?;
        let port = fs::read_to_string(&port_file).map_err(|error| error.to_string())?;
        let url = format!("http://127.0.0.1:{}", port.trim());
        admin::Client::new(&url).now().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(url)
    })
    .await?;
    Ok((sim, url))
}

/// Installs both charts with no replica, and gives the arguments and the environment that the operator's container
/// would have.
async fn install_charts(
    plane: &ControlPlane,
    endpoint: &str,
    webhook: &str,
    options: &StackOptions,
) -> Result<(Vec<String>, Vec<(String, String)>)> {
    let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts");
    let chart = |name: &str| charts.join(name).display().to_string();
    plane
        .helm([
            "install",
            "eci-operator-crds",
            &chart("eci-operator-crds"),
            "-n",
            NAMESPACE,
            "--create-namespace",
        ])
        .await?
        .ok()?;
    let mut values = json!({
        "replicaCount": 0,
        "region": REGION,
        "endpoint": endpoint,
        "network": { "vSwitchIDs": ["vsw-example"], "securityGroupID": "sg-example" },
        "credentials": { "existingSecret": "cloud-credentials" },
        "logging": { "level": options.log_level },
        "timing": { "resolveWindow": options.resolve_window, "requestTimeout": options.request_timeout },
    });
    if let (Some(values), Some(more)) = (values.as_object_mut(), options.values.as_object()) {
        values.extend(more.clone());
    }
    // The API server cannot reach a Service: there is no pod behind it.
    values["webhook"]["url"] = json!(format!("https://{webhook}"));
    let file = plane.dir().join("values.json");
    fs::write(&file, values.to_string()).context("cannot write the chart's values")?;
    let file = file.display().to_string();
    plane
        .helm(["install", "eci-operator", &chart("eci-operator"), "-n", NAMESPACE, "--values", &file])
        .await?
        .ok()?;
    let api: Api<Deployment> = Api::namespaced(plane.client()?, NAMESPACE);
    let deployment = api.get(SERVICE_ACCOUNT).await?;
    let pod =
        deployment.spec.and_then(|spec| spec.template.spec).context("the chart's Deployment has no pod")?;
    let container = pod.containers.into_iter().next().context("the chart's pod has no container")?;
    let env = container.env.unwrap_or_default();
    let env = env.into_iter().filter_map(|variable| Some((variable.name, variable.value?))).collect();
    Ok((container.args.context("the chart's container has no arguments")?, env))
}

/// The credentials as a mounted secret gives them.
fn write_credentials(dir: &Path) -> Result<()> {
    let dir = credentials_dir(dir);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("access-key-id"), "FAKE-ACCESS-KEY-ID")?;
    fs::write(dir.join("access-key-secret"), "FAKE-ACCESS-KEY-SECRET")?;
    Ok(())
}

/// Where the operator looks for them.
fn credentials_dir(dir: &Path) -> PathBuf {
    dir.join("credentials")
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until an operator says that it is ready.
async fn wait_ready(operator: &Process, health: &str) -> Result<()> {
    eventually("the operator is ready", START_LIMIT, || async {
        operator.check_alive().map_err(|error| error.to_string())?;
        is_ready(health).await
    })
    .await
    .map_err(|error| error.context(operator.log_tail(20)))
}

/// Whether the operator says that it is ready.
async fn is_ready(address: &str) -> Result<(), String> {
    match get(address, "/readyz").await {
        Ok((200, _)) => Ok(()),
        Ok((status, body)) => Err(format!("/readyz says {status} {body}")),
        Err(error) => Err(error.to_string()),
    }
}

/// A plain GET: status and body.
pub async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let Some(status) = head.split(' ').nth(1).and_then(|code| code.parse().ok()) else {
        bail!("no HTTP status in {head:?}");
    };
    Ok((status, body.to_owned()))
}
