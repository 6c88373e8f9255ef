//! The admin API through its client, and the program.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{KEY, SECRET, Signer, send, serve, start};
use eci_sim::admin::{Client, Error};
use eci_sim::faults::Fault;
use eci_sim::world::call::{Cause, Effect};
use eci_sim::{KeyState, Settings};
use jiff::ToSpan as _;
use serde_json::json;

const CREATE: [(&str, &str); 7] = [
    ("RegionId", "cn-hangzhou"),
    ("ImageCacheName", "a"),
    ("ClientToken", "token-1"),
    ("Image.1", "nginx:1.27"),
    ("ImageRegistryCredential.1.Server", "private.example.com"),
    ("ImageRegistryCredential.1.UserName", "robot"),
    ("ImageRegistryCredential.1.Password", "made-up-password"),
];

#[tokio::test]
async fn tests_see_what_was_called_and_what_it_cost_without_secrets() {
    let (server, _) = serve(Settings::default()).await;
    let (address, admin) = (server.local_addr(), Client::new(&server.url()));
    send(address, &Signer::new("n1").v3(address, "CreateImageCache", &CREATE)).await;
    send(address, &Signer::new("n1").v3(address, "CreateImageCache", &CREATE)).await;

    let ledger = admin.ledger().await.unwrap();
    let Effect::Created { token, spec } = &ledger[0].effect else { panic!("{ledger:?}") };
    assert_eq!((token.as_deref(), spec.name.as_str(), ledger.len()), (Some("token-1"), "a", 1));

    let calls = admin.calls().await.unwrap();
    assert_eq!(calls.counts["CreateImageCache"]["OK"], 1);
    assert_eq!(calls.counts["CreateImageCache"]["SignatureNonceUsed"], 1);
    assert_eq!(calls.recent[0].token.as_deref(), Some("token-1"));

    let requests = admin.requests().await.unwrap();
    let request = &requests["CreateImageCache"][0];
    assert_eq!(request["Image.1"], "nginx:1.27");
    assert!(request["ImageRegistryCredential.1.Password"].starts_with("sha256:"));
    let everything = format!("{ledger:?}{calls:?}{requests:?}");
    assert!(!everything.contains("made-up-password") && !everything.contains(SECRET));
    server.shutdown().await;
}

#[tokio::test]
async fn tests_change_the_world_by_hand() {
    let (server, sim) = serve(Settings::default()).await;
    let (address, admin) = (server.local_addr(), Client::new(&server.url()));
    admin.settings(json!({ "prepareMs": 1000, "createMs": 1000, "maxImageCaches": 2 })).await.unwrap();
    assert_eq!(sim.with_world(|world, _| world.settings.max_image_caches), 2);

    for (nonce, token) in [("n1", "t1"), ("n2", "t2")] {
        let mut parameters = CREATE;
        parameters[2].1 = token;
        send(address, &Signer::new(nonce).v3(address, "CreateImageCache", &parameters)).await;
    }
    assert_eq!(admin.advance(2).await.unwrap(), start() + 2.seconds());
    let caches = admin.caches().await.unwrap();
    assert!(caches.iter().all(|cache| cache.status == "Ready"), "{caches:?}");

    admin.matched(&caches[0].id).await.unwrap();
    admin.delete_snapshot(caches[0].snapshot_id.as_deref().unwrap()).await.unwrap();
    admin.vanish(&caches[1].id).await.unwrap();
    let left = admin.caches().await.unwrap();
    assert_eq!((left.len(), left[0].status.as_str()), (1, "Failed"));
    assert_eq!(left[0].last_matched, Some(start() + 2.seconds()));
    let ledger = admin.ledger().await.unwrap();
    assert_eq!(ledger.last().unwrap().effect, Effect::Deleted { cause: Cause::ByHand });

    admin.add_fault(&Fault::throttled(100).times(1)).await.unwrap();
    assert_eq!(admin.faults().await.unwrap().len(), 1);
    admin.clear_faults().await.unwrap();
    admin.reset().await.unwrap();
    assert!(admin.ledger().await.unwrap().is_empty() && admin.faults().await.unwrap().is_empty());
    assert_eq!(admin.now().await.unwrap(), start());
    server.shutdown().await;
}

#[tokio::test]
async fn keys_come_and_go_at_run_time() {
    let (server, _) = serve(Settings::default()).await;
    let (address, admin) = (server.local_addr(), Client::new(&server.url()));
    let usage = async |key: &str, secret: &str, nonce: &str| {
        let signer = Signer { key: key.to_owned(), secret: secret.to_owned(), ..Signer::new(nonce) };
        send(address, &signer.v3(address, "ListUsage", &CREATE[..1])).await.code()
    };
    admin.set_key_state(KEY, KeyState::Unknown).await.unwrap();
    assert_eq!(usage(KEY, SECRET, "n1").await, "InvalidAccessKeyId.NotFound");
    admin.add_key("second", "FAKE-SECOND", None).await.unwrap();
    assert_eq!(usage("second", "FAKE-SECOND", "n2").await, "OK");
    admin.set_key_state(KEY, KeyState::Active).await.unwrap();
    assert_eq!(usage(KEY, SECRET, "n3").await, "OK");
    server.shutdown().await;
}

#[tokio::test]
async fn a_wrong_admin_call_says_what_is_wrong() {
    let (server, _) = serve(Settings::default()).await;
    let admin = Client::new(&server.url());
    let message = |result: Result<(), Error>| result.unwrap_err().to_string();
    let misspelled = message(admin.settings(json!({ "prepareMss": 1 })).await);
    assert!(misspelled.contains("prepareMss") && misspelled.contains("400"), "{misspelled}");
    let unknown = message(admin.vanish("imc-unknown").await);
    assert!(unknown.contains("imc-unknown") && unknown.contains("404"), "{unknown}");
    server.shutdown().await;
    let gone = message(admin.clear_faults().await);
    assert!(gone.contains("cannot be reached"), "{gone}");
}

/// Ends the program however the test ends.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_says_where_it_listens_takes_its_files_and_ends_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, port_file) = (dir.path().join("faults.json"), dir.path().join("port"));
    std::fs::write(&faults, r#"[{"action":"ListUsage","next":1,"answer":{"error":{"code":"Throttling"}}}]"#)
        .unwrap();
    let settings = dir.path().join("settings.json");
    std::fs::write(&settings, r#"{"maxImageCaches":1}"#).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_eci-sim"))
        .args(["--build-time", "3s", "--seed", "7", "--access-key-id", "own-key", "--faults"])
        .arg(&faults)
        .arg("--settings")
        .arg(&settings)
        .arg("--port-file")
        .arg(&port_file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut program = Program(child);
    let mut line = String::new();
    let out = program.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let admin = Client::new(&url);
    let now = admin.now().await.unwrap();
    assert_eq!(admin.faults().await.unwrap().len(), 1);

    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    let signer = |nonce: &str| Signer {
        key: "own-key".to_owned(),
        date: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ..Signer::new(nonce)
    };
    for (nonce, code) in [("n1", "Throttling"), ("n2", "OK")] {
        assert_eq!(send(address, &signer(nonce).v3(address, "ListUsage", &CREATE[..1])).await.code(), code);
    }
    for (nonce, token, code) in [("n3", "t1", "OK"), ("n4", "t2", "QuotaExceeded")] {
        let mut parameters = CREATE;
        parameters[2].1 = token;
        let answer = send(address, &signer(nonce).v3(address, "CreateImageCache", &parameters)).await;
        assert_eq!(answer.code(), code, "the quota comes from the file");
    }
    admin.advance(3).await.unwrap();
    assert_eq!(admin.caches().await.unwrap()[0].status, "Ready", "a build takes the three seconds asked for");

    let wait = async {
        while !port_file.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    assert!(url.ends_with(&format!(":{}", std::fs::read_to_string(&port_file).unwrap())));
    Command::new("kill").arg(program.0.id().to_string()).status().unwrap();
    let status = tokio::task::spawn_blocking(move || program.0.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn the_program_refuses_an_address_that_others_reach() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_eci-sim")).args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-remote"));
}
