//! The test tiers, cheapest first. To add one, add a row.

use std::env;
use std::process::{Command, Stdio};

use anyhow::bail;

/// A set of commands that prove something together.
pub(crate) struct Tier {
    pub(crate) name: &'static str,
    pub(crate) proves: &'static str,
    /// Whether it can run on this machine; an error when it cannot and has to.
    pub(crate) readiness: fn() -> anyhow::Result<Readiness>,
    /// Programs with their arguments, run in order in the root of the repository. `cargo` is the running one.
    pub(crate) commands: &'static [&'static [&'static str]],
}

/// Whether a tier can run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// It is skipped, and says why.
    Skip(&'static str),
}

pub(crate) const TIERS: &[Tier] = &[
    Tier {
        name: "lint",
        proves: "the code is formatted and has no compiler or clippy warning",
        readiness: always,
        commands: &[
            &["cargo", "fmt", "--all", "--check"],
            &["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
            // What plain `cargo test` leaves out is not among all targets.
            &["cargo", "clippy", "--workspace", "--test", "sdk", "--", "-D", "warnings"],
        ],
    },
    Tier {
        name: "unit",
        proves: "decisions, wire format and simulator are right, without Kubernetes",
        readiness: always,
        commands: &[&["cargo", "test", "--workspace", "--exclude", "eci-e2e"]],
    },
    Tier {
        name: "sdk",
        proves: "the vendor's official SDK, the simulator and our client understand each other (needs Python)",
        readiness: with_python,
        commands: &[&["cargo", "test", "--package", "eci-e2e", "--test", "sdk"]],
    },
    Tier {
        name: "e2e",
        proves: "it works on a real API server with a scheduler, controllers and simulated nodes",
        readiness: always,
        commands: &[&["cargo", "test", "--package", "eci-e2e"]],
    },
];

#[expect(clippy::unnecessary_wraps, reason = "one of the readiness functions")]
fn always() -> anyhow::Result<Readiness> {
    Ok(Readiness::Ready)
}

/// Whether Python can make virtual environments. CI sets `ECI_REQUIRE_SDK=1`, so that nothing is skipped there.
fn with_python() -> anyhow::Result<Readiness> {
    let mut python = Command::new("python3");
    python.args(["-c", "import venv, ensurepip"]);
    python.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = python.status().is_ok_and(|status| status.success());
    let required = env::var_os("ECI_REQUIRE_SDK").is_some_and(|value| value == "1");
    skip_without_python(found, required)
}

fn skip_without_python(found: bool, required: bool) -> anyhow::Result<Readiness> {
    const MISSING: &str = "no python3 with its modules venv and ensurepip (on Debian: python3-venv)";
    match (found, required) {
        (true, _) => Ok(Readiness::Ready),
        (false, false) => Ok(Readiness::Skip(MISSING)),
        (false, true) => bail!("{MISSING}; it is not skipped, since ECI_REQUIRE_SDK=1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_python_skips_the_sdk_unless_it_is_required() {
        assert!(matches!(skip_without_python(false, false), Ok(Readiness::Skip(_))));
        assert!(skip_without_python(false, true).is_err());
        for required in [false, true] {
            assert!(matches!(skip_without_python(true, required), Ok(Readiness::Ready)));
        }
    }
}
