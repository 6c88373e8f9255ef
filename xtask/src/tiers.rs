//! The test tiers, cheapest first. To add one, add a row.

/// A set of commands that prove something together.
pub(crate) struct Tier {
    pub(crate) name: &'static str,
    pub(crate) proves: &'static str,
    /// Programs with their arguments, run in order in the root of the repository. `cargo` is the running one.
    pub(crate) commands: &'static [&'static [&'static str]],
}

pub(crate) const TIERS: &[Tier] = &[
    Tier {
        name: "lint",
        proves: "the code is formatted and has no compiler or clippy warning",
        commands: &[
            &["cargo", "fmt", "--all", "--check"],
            &["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        ],
    },
    Tier {
        name: "unit",
        proves: "decisions, wire format and simulator are right, without Kubernetes",
        commands: &[&["cargo", "test", "--workspace", "--exclude", "eci-e2e"]],
    },
    Tier {
        name: "e2e",
        proves: "it works on a real API server with a scheduler, controllers and simulated nodes",
        commands: &[&["cargo", "test", "--package", "eci-e2e"]],
    },
];
