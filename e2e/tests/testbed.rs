//! The test bed itself: what every other end-to-end test stands on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; clippy excepts only the functions marked #[test]"
)]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use eci_e2e::testbed::{ControlPlane, Error, Identity, Process, StartOptions, beds, nodes};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

/// For what must happen, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// Of a bed: five of the control plane, the simulated cloud, the operator.
const PROCESSES: usize = 7;

/// One control plane for the whole file. A static is never dropped: the tether ends its processes with ours, and a
/// later run removes its directory.
async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED.get_or_init(async || ControlPlane::start(StartOptions::default()).await.unwrap()).await
}

#[tokio::test]
async fn a_pod_on_a_kwok_node_runs_and_a_deleted_one_lives_through_its_grace() {
    let client = shared().await.client().unwrap();
    let nodes_api: Api<Node> = Api::all(client.clone());
    nodes_api.create(&PostParams::default(), &nodes::regular("runs", "4", "8Gi")).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "default");
    pods.create(&PostParams::default(), &pod("web", 3)).await.unwrap();
    let running = until(async || pods.get("web").await.ok().filter(is_running)).await;
    assert_eq!(running.spec.unwrap().node_name.as_deref(), Some("runs"));

    pods.delete("web", &DeleteParams::default()).await.unwrap();
    let terminating = pods.get("web").await.unwrap();
    let killed_at = terminating.metadata.deletion_timestamp.expect("it is terminating").0;
    until(async || pods.get_opt("web").await.unwrap().is_none().then_some(())).await;
    // The audit log has the server's clock; kwok's deletion is the one with grace 0, after the kubelet's deadline.
    let deleted_at = deletion_by_kwok("web").await;
    assert!(deleted_at >= killed_at, "deleted at {deleted_at}, to be killed at {killed_at}");
}

#[tokio::test]
async fn a_pod_goes_to_a_virtual_node_only_if_it_tolerates_it() {
    let client = shared().await.client().unwrap();
    let nodes_api: Api<Node> = Api::all(client.clone());
    nodes_api.create(&PostParams::default(), &nodes::virtual_node("eci")).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut tolerant = pod("tolerant", 0);
    if let Some(spec) = &mut tolerant.spec {
        spec.node_selector = Some([("type".into(), "virtual-kubelet".into())].into());
        spec.tolerations = serde_json::from_value(
            serde_json::json!([{ "key": "virtual-kubelet.io/provider", "operator": "Exists" }]),
        )
        .unwrap();
    }
    let mut intolerant = tolerant.clone();
    intolerant.metadata.name = Some("intolerant".into());
    if let Some(spec) = &mut intolerant.spec {
        spec.tolerations = None;
    }
    pods.create(&PostParams::default(), &intolerant).await.unwrap();
    pods.create(&PostParams::default(), &tolerant).await.unwrap();
    until(async || pods.get("tolerant").await.ok().filter(is_running)).await;
    let refused = until(async || {
        let status = pods.get("intolerant").await.ok()?.status?;
        status.conditions?.into_iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")
    })
    .await;
    assert!(refused.message.unwrap_or_default().contains("untolerated taint"));
}

#[tokio::test]
async fn kubectl_and_helm_know_the_version_of_the_server() {
    let plane = shared().await;
    let version = plane.kubectl(["version"]).await.unwrap().ok().unwrap();
    assert!(version.contains("Client Version: v1.36.3"), "{version}");
    assert!(version.contains("Server Version: v1.36.3"), "{version}");
    let helm = plane.helm(["version", "--short"]).await.unwrap().ok().unwrap();
    assert!(helm.starts_with("v3.22.0"), "{helm}");

    let chart = tempfile::tempdir().unwrap();
    fs::create_dir(chart.path().join("templates")).unwrap();
    fs::write(
        chart.path().join("Chart.yaml"),
        "apiVersion: v2\nname: probe\nversion: 0.1.0\nkubeVersion: '>=1.36.3 <1.36.4'\n",
    )
    .unwrap();
    fs::write(
        chart.path().join("templates").join("config.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: probe}\ndata: {server: '{{ .Capabilities.KubeVersion }}'}\n",
    )
    .unwrap();
    plane.helm(["install", "probe", chart.path().to_str().unwrap()]).await.unwrap().ok().unwrap();
    let seen = plane.kubectl(["get", "configmap", "probe", "-o", "jsonpath={.data.server}"]).await.unwrap();
    assert_eq!(seen.ok().unwrap(), "v1.36.3");
}

#[tokio::test]
async fn a_failing_command_says_what_was_run_and_why_it_failed() {
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not Legal}\n";
    let output = shared().await.kubectl_stdin(["apply", "-f", "-"], manifest).await.unwrap();
    let message = output.ok().unwrap_err().to_string();
    assert!(message.contains("`kubectl apply -f -`") && message.contains("Not Legal"), "{message}");
}

#[tokio::test]
async fn a_service_account_may_do_what_its_roles_say_and_the_audit_log_shows_it() {
    let plane = shared().await;
    plane.kubectl(["create", "serviceaccount", "reader"]).await.unwrap().ok().unwrap();
    let role = ["create", "role", "reader", "--verb=list", "--resource=configmaps"];
    plane.kubectl(role).await.unwrap().ok().unwrap();
    let binding = ["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"];
    plane.kubectl(binding).await.unwrap().ok().unwrap();
    let kubeconfig = plane.dir().join("reader.kubeconfig");
    let token = plane.token_for("default", "reader").await.unwrap();
    plane.kubeconfig_for_token(&token, &kubeconfig, None).unwrap();

    let as_reader = format!("--kubeconfig={}", kubeconfig.display());
    until(async || {
        let list = plane.kubectl([as_reader.as_str(), "get", "configmaps"]).await.unwrap();
        list.status.success().then_some(())
    })
    .await;
    let denied = plane.kubectl([as_reader.as_str(), "get", "secrets"]).await.unwrap().ok().unwrap_err();
    assert!(denied.to_string().contains("system:serviceaccount:default:reader"), "{denied}");
    let audited = until(async || {
        let log = fs::read_to_string(plane.audit_log_path()).unwrap();
        log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find(|e| {
            e["user"]["username"] == "system:serviceaccount:default:reader"
                && e["objectRef"]["resource"] == "secrets"
        })
    })
    .await;
    assert_eq!(audited["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn two_control_planes_run_side_by_side_and_one_ends_without_the_other() {
    let first = shared().await;
    let second = ControlPlane::start(StartOptions::api_only()).await.unwrap();
    assert_ne!(first.server(), second.server());
    second.kubectl(["create", "namespace", "only-there"]).await.unwrap().ok().unwrap();
    let here = first.kubectl(["get", "namespace", "only-there"]).await.unwrap();
    assert!(here.ok().unwrap_err().to_string().contains("NotFound"));

    let dir = second.dir().to_owned();
    let processes: Vec<Identity> = second.processes().iter().filter_map(Process::identity).collect();
    assert_eq!(processes.len(), 2);
    second.shutdown();
    assert!(!processes.iter().any(Identity::is_alive));
    assert!(!dir.exists());
    first.check_alive().unwrap();
}

#[tokio::test]
async fn a_process_that_ends_early_is_named_with_its_log() {
    let options = StartOptions { apiserver_args: vec!["--no-such-flag".into()], ..StartOptions::api_only() };
    let error = ControlPlane::start(options).await.unwrap_err();
    let Error::EndedEarly { process, log, tail, .. } = &error else { panic!("{error}") };
    assert_eq!(process, "kube-apiserver");
    assert!(tail.contains("unknown flag: --no-such-flag"), "{tail}");
    assert!(log.is_file() && error.to_string().contains(log.to_str().unwrap()), "{error}");
    fs::remove_dir_all(log.parent().and_then(|logs| logs.parent()).unwrap()).unwrap();
}

#[tokio::test]
async fn a_port_that_stays_taken_is_reported() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let options =
        StartOptions { apiserver_args: vec![format!("--secure-port={port}")], ..StartOptions::api_only() };
    let error = ControlPlane::start(options).await.unwrap_err();
    // The words by which a start with other ports is judged worth a try.
    assert!(error.to_string().contains("address already in use"), "{error}");
}

#[tokio::test]
async fn nothing_survives_a_parent_that_is_killed() {
    let name = format!("killed-{}", std::process::id());
    let mut parent = foreground(&name);
    let kubeconfig = printed(&mut parent, "kubeconfig").await;
    let processes = recorded(&kubeconfig.with_file_name("state.json"));
    assert_eq!(processes.len(), PROCESSES);
    assert!(processes.iter().all(Identity::is_alive));

    parent.start_kill().unwrap();
    parent.wait().await.unwrap();
    for process in &processes {
        assert!(process.wait_gone(Duration::from_secs(2)).await, "{process:?} survived its parent");
    }
    assert_eq!(beds::down(&name).await.unwrap(), beds::Down::Stopped(0));
    assert!(!kubeconfig.exists());
}

#[tokio::test]
async fn ctrl_c_takes_a_bed_in_the_foreground_along() {
    let mut parent = foreground(&format!("interrupted-{}", std::process::id()));
    let kubeconfig = printed(&mut parent, "kubeconfig").await;
    let processes = recorded(&kubeconfig.with_file_name("state.json"));
    let pid = parent.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(parent.wait().await.unwrap().success());
    assert!(!processes.iter().any(Identity::is_alive));
    assert!(!kubeconfig.exists());
}

#[tokio::test]
async fn a_detached_bed_lives_until_down_and_a_second_up_finds_it() {
    let name = format!("kept-{}", std::process::id());
    let testbed = |task: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
        command.args([task, "--name", &name]);
        command
    };
    let _cleaner = DownOnPanic(name.clone());
    let first = testbed("up").output().await.unwrap();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let stdout = String::from_utf8(first.stdout).unwrap();
    let kubeconfig = stdout.lines().find_map(|line| line.trim().strip_prefix("kubeconfig")).unwrap().trim();
    let processes = recorded(&PathBuf::from(kubeconfig).with_file_name("state.json"));
    assert_eq!(processes.len(), PROCESSES);
    assert!(processes.iter().all(Identity::is_alive), "the bed outlives `up`");

    let second = String::from_utf8(testbed("up").output().await.unwrap().stdout).unwrap();
    assert!(second.contains("already running") && second.contains(kubeconfig), "{second}");
    assert!(processes.iter().all(Identity::is_alive));

    let down = String::from_utf8(testbed("down").output().await.unwrap().stdout).unwrap();
    assert!(down.contains(&format!("{PROCESSES} processes stopped")), "{down}");
    assert!(!processes.iter().any(Identity::is_alive));
    let again = String::from_utf8(testbed("down").output().await.unwrap().stdout).unwrap();
    assert!(again.contains("no test bed"), "{again}");
}

fn foreground(name: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_testbed"))
        .args(["up", "--foreground", "--name", name])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A failed assertion must not leave a bed behind.
struct DownOnPanic(String);

impl Drop for DownOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut down = std::process::Command::new(env!("CARGO_BIN_EXE_testbed"));
            let _ = down.args(["down", "--name", &self.0]).status();
        }
    }
}

fn pod(name: &str, grace_seconds: i64) -> Pod {
    serde_json::from_value(serde_json::json!({
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": grace_seconds,
            "containers": [{ "name": "main", "image": "example.com/none" }],
        },
    }))
    .unwrap()
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

/// When the API server answered kwok's deletion of a pod.
async fn deletion_by_kwok(pod: &str) -> k8s_openapi::jiff::Timestamp {
    let plane = shared().await;
    until(async || {
        let log = fs::read_to_string(plane.audit_log_path()).unwrap();
        let event = log
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find(|event| {
                event["verb"] == "delete"
                    && event["objectRef"]["name"] == pod
                    && event["user"]["username"] == "eci-testbed:kwok"
            })?;
        event["stageTimestamp"].as_str()?.parse().ok()
    })
    .await
}

/// Polls until there is a value.
async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let poll = async {
        loop {
            if let Some(value) = look().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.expect("it happens in time")
}

/// The path behind a word in what the child prints. The pipe stays open: the child may have more to say.
async fn printed(child: &mut Child, word: &str) -> PathBuf {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let find = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(path) = line.trim().strip_prefix(word) {
                return PathBuf::from(path.trim());
            }
        }
        panic!("the child ended without printing {word}")
    };
    tokio::time::timeout(PATIENCE, find).await.expect("the child prints it in time")
}

/// The processes in a bed's state file.
fn recorded(state: &std::path::Path) -> Vec<Identity> {
    let state: serde_json::Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
    serde_json::from_value(state["processes"].clone()).unwrap()
}
