//! The RAM policy that the program prints is the one of the documentation.

use std::process::Command;

#[test]
fn the_documented_policy_is_the_printed_one() {
    let printed = Command::new(env!("CARGO_BIN_EXE_eci-operator")).arg("ram-policy").output();
    let printed = printed.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let documented = include_str!("../../docs/reference/ram-policy.json");
    assert_eq!(
        printed.map(|text| String::from_utf8_lossy(&text).into_owned()).as_deref(),
        Some(documented),
        "write it anew: cargo run -p eci-operator -- ram-policy > docs/reference/ram-policy.json"
    );
}

#[test]
fn a_policy_may_be_for_one_region() {
    let args = ["ram-policy", "--region", "cn-beijing"];
    let printed = Command::new(env!("CARGO_BIN_EXE_eci-operator")).args(args).output();
    let text = printed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(text.contains("\"acs:eci:cn-beijing:*:imagecache/*\"") && !text.contains("acs:eci:*"), "{text}");
}
