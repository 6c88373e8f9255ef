//! The demo itself: it ends with a count of its checks, and Ctrl-C leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::process::Stdio;
use std::time::Duration;

use eci_e2e::testbed::{Identity, cache_dir};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// For the whole demo, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_mins(4);

fn demo(name: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--name", name])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// What it prints until a line that contains `word`, or to its end.
async fn until(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) -> Vec<String> {
    let read = async {
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            let found = line.contains(word);
            all.push(line);
            if found {
                break;
            }
        }
        all
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the demo goes on")
}

#[tokio::test]
async fn the_demo_ends_with_a_count_of_checks_of_which_none_failed() {
    let (mut child, mut lines) = demo(&format!("demo-{}", std::process::id()));
    let told = until(&mut lines, "checks passed").await;
    let status = child.wait().await.unwrap();
    let last = told.last().unwrap();
    assert!(last.ends_with(" checks passed, 0 failed") && status.success(), "{status}: {}", told.join("\n"));
    let checks = told.iter().filter(|line| line.trim_start().starts_with("[ok]")).count();
    assert!(last.starts_with(&format!("{checks} ")) && checks >= 10, "{last}, but {checks} were shown");
}

#[tokio::test]
async fn an_interrupted_demo_leaves_no_process_and_no_directory() {
    let name = format!("interrupted-demo-{}", std::process::id());
    let (mut child, mut lines) = demo(&name);
    // In the middle: everything runs, and the operator works.
    until(&mut lines, "Ready=False").await;
    let dir = cache_dir().unwrap().join("beds").join(&name);
    let state = std::fs::read_to_string(dir.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let processes: Vec<Identity> = serde_json::from_value(state["processes"].clone()).unwrap();
    assert!(processes.len() >= 7 && processes.iter().all(Identity::is_alive), "{processes:?}");
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    for process in &processes {
        assert!(process.wait_gone(Duration::from_secs(5)).await, "{process:?} survived");
    }
    assert!(!dir.exists(), "{} is left", dir.display());
}
