//! How the test bed finds and builds its programs, with a stand-in for Go.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy excepts only the functions marked #[test]"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use eci_e2e::testbed::Tool;
use tempfile::TempDir;

/// `go version` and `go build -o <dir>/ <packages>`: takes a moment, counts the builds, writes one file per package
/// as Go names it.
const GO: &str = r#"#!/bin/sh
if [ "$1" = version ]; then echo go version go1.26 stand-in; exit; fi
echo "$PWD" >> "$BUILDS"
while [ "$1" != -o ]; do shift; done
out=$2; shift 2
/bin/sleep 0.3
for package; do
    name=${package##*/}
    if [ "$name" = v3 ]; then name=server; fi
    echo built > "$out$name"
done
"#;

struct Machine {
    dir: TempDir,
}

impl Machine {
    fn with_go(script: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        if let Some(script) = script {
            write_program(&dir.path().join("bin").join("go"), script);
        }
        Self { dir }
    }

    fn tools(&self, env: &[(&str, &Path)]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_testbed"))
            .arg("tools")
            .env_remove("KUBEBUILDER_ASSETS")
            .env("PATH", self.dir.path().join("bin"))
            .env("ECI_TESTBED_CACHE", self.dir.path().join("cache"))
            .env("BUILDS", self.dir.path().join("builds"))
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn builds(&self) -> usize {
        fs::read_to_string(self.dir.path().join("builds")).map_or(0, |text| text.lines().count())
    }
}

#[test]
fn two_runs_at_once_build_each_module_once_and_a_third_builds_nothing() {
    let machine = Machine::with_go(Some(GO));
    let runs = [machine.tools(&[]), machine.tools(&[])];
    let outputs = runs.map(|run| run.wait_with_output().unwrap());
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    assert_eq!(machine.builds(), 4);
    assert!(outputs.iter().any(|o| stderr(o).contains("another run is building etcd, waiting for it")));

    let third = machine.tools(&[]).wait_with_output().unwrap();
    assert_eq!((stderr(&third).as_str(), machine.builds()), ("", 4));
    let shown = String::from_utf8(third.stdout).unwrap();
    for (tool, line) in Tool::ALL.iter().zip(shown.lines()) {
        let (name, path) = line.split_once(' ').unwrap();
        assert_eq!(name, tool.name());
        assert!(Path::new(path.trim()).is_file(), "{line}");
    }
}

#[test]
fn what_the_assets_directory_has_is_taken_and_only_the_rest_is_built() {
    let machine = Machine::with_go(Some(GO));
    let assets = machine.dir.path().join("assets");
    fs::create_dir(&assets).unwrap();
    for name in ["etcd", "kube-apiserver", "kubectl"] {
        write_program(&assets.join(name), "#!/bin/sh\n");
    }
    let output = machine.tools(&[("KUBEBUILDER_ASSETS", &assets)]).wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let taken = shown.lines().filter(|line| line.contains(assets.to_str().unwrap())).count();
    assert_eq!((taken, shown.lines().count(), machine.builds()), (3, 7, 3), "{shown}");
}

#[test]
fn without_go_it_says_what_to_install() {
    let output = Machine::with_go(None).tools(&[]).wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("`go` is not on the PATH: install Go 1.26"), "{}", stderr(&output));
}

#[test]
fn a_failed_build_shows_the_end_of_its_log_and_leaves_nothing_half_done() {
    let go = GO.replace("/bin/sleep 0.3", "echo etcd.go:1: no space left; exit 1");
    let machine = Machine::with_go(Some(&go));
    let output = machine.tools(&[]).wait_with_output().unwrap();
    assert!(!output.status.success());
    let message = stderr(&output);
    assert!(message.contains("building etcd failed (exit status: 1)"), "{message}");
    assert!(message.contains("build-etcd.log") && message.contains("no space left"), "{message}");

    write_program(&machine.dir.path().join("bin").join("go"), GO);
    assert!(machine.tools(&[]).wait_with_output().unwrap().status.success());
}

fn write_program(path: &Path, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
