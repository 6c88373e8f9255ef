//! The arrows of ARCHITECTURE.md, held against what cargo says of the workspace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Which crates of ours a crate may use outside of its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("eci-api", &[]),
    ("eci-core", &["eci-api"]),
    ("eci-aliyun", &["eci-api", "eci-core"]),
    ("eci-sim", &["eci-api", "eci-core"]),
    ("eci-crds", &["eci-api"]),
    ("eci-operator", &["eci-aliyun", "eci-api", "eci-core"]),
    ("kubectl-eci", &["eci-aliyun", "eci-api", "eci-core"]),
    ("eci-e2e", &["eci-aliyun", "eci-api", "eci-core", "eci-operator", "eci-sim", "kubectl-eci"]),
    ("xtask", &[]),
];

/// What `api` and `core` may not know: runtimes, HTTP, the client, clocks of their own, randomness, logs.
const NOT_IN_THE_CORE: &[&str] = &[
    "tokio",
    "futures",
    "hyper",
    "hyper-util",
    "http",
    "axum",
    "kube-runtime",
    "getrandom",
    "rand",
    "tracing",
    "anyhow",
];

/// Each crate's dependencies, without those of its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = super::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output().unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let of = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        all.iter().filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    };
    packages.iter().map(|p| (p["name"].as_str().unwrap().to_owned(), of(p))).collect()
}

#[test]
fn every_crate_uses_only_those_that_the_architecture_allows() {
    let found = dependencies();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        found.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        ours,
        "a crate is missing in ARROWS"
    );
    for (name, allowed) in ARROWS {
        for used in found[*name].iter().filter(|used| ours.contains(used.as_str())) {
            assert!(allowed.contains(&used.as_str()), "{name} uses {used}: see the laws in ARCHITECTURE.md");
        }
    }
}

#[test]
fn api_and_core_know_no_runtime_no_http_and_no_client() {
    let found = dependencies();
    for name in ["eci-api", "eci-core"] {
        let bad: Vec<_> =
            found[name].iter().filter(|used| NOT_IN_THE_CORE.contains(&used.as_str())).collect();
        assert!(bad.is_empty(), "{name} uses {bad:?}");
    }
    assert!(!found["eci-core"].contains("kube"), "eci-core uses kube");
}
