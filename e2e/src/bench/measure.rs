//! What is counted: calls that the cloud got, writes that the API server got from the operator, and its memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use crate::stack::{NAMESPACE, SERVICE_ACCOUNT, Stack};

/// The one thing that an operator at rest writes: it goes on being the leader.
const LEASES: &str = "leases ";

/// How often something happened, by its name.
pub(super) type Counts = BTreeMap<String, u64>;

/// What one phase cost.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Phase {
    /// Such as `apply 100`.
    pub(super) name: String,
    /// How long it took.
    pub(super) seconds: f64,
    /// By action.
    pub(super) cloud_calls: Counts,
    /// The operator's, by resource and verb.
    pub(super) kubernetes_writes: Counts,
    /// Of the operator at the end, KiB.
    pub(super) rss_kib: u64,
    /// Highest so far, KiB.
    pub(super) peak_rss_kib: u64,
}

/// Writes that have to do with objects.
pub(super) fn writes(counts: &Counts) -> u64 {
    counts.iter().filter(|(name, _)| !name.starts_with(LEASES)).map(|(_, count)| count).sum()
}

/// A phase under way.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    calls: Counts,
    /// Where its part of the audit log begins, in bytes.
    audited: u64,
}

impl Meter {
    /// A phase begins.
    pub(super) async fn start(stack: &Stack) -> Result<Self> {
        let audited = fs::metadata(stack.plane().audit_log_path()).context("there is no audit log")?.len();
        Ok(Self { start: clock(), calls: cloud_calls(stack).await?, audited })
    }

    /// The operator's writes so far.
    pub(super) fn writes(&self, stack: &Stack) -> Result<Counts> {
        let mut log = File::open(stack.plane().audit_log_path()).context("cannot open the audit log")?;
        log.seek(SeekFrom::Start(self.audited))?;
        let mut text = Vec::new();
        log.read_to_end(&mut text)?;
        Ok(writes_in(&String::from_utf8_lossy(&text)))
    }

    /// It is over.
    pub(super) async fn end(self, stack: &Stack, name: String) -> Result<Phase> {
        let seconds = self.start.elapsed().as_secs_f64();
        let mut calls = cloud_calls(stack).await?;
        for (action, count) in &mut calls {
            *count -= self.calls.get(action).copied().unwrap_or(0);
        }
        calls.retain(|_, count| *count > 0);
        let (rss_kib, peak_rss_kib) = memory(stack)?;
        Ok(Phase {
            name,
            seconds,
            cloud_calls: calls,
            kubernetes_writes: self.writes(stack)?,
            rss_kib,
            peak_rss_kib,
        })
    }
}

async fn cloud_calls(stack: &Stack) -> Result<Counts> {
    let calls = stack.cloud().calls().await?;
    Ok(calls.counts.keys().map(|action| (action.clone(), calls.of(action))).collect())
}

/// What the operator wrote, from lines of the audit log. A line that is only half there is the next reading's.
fn writes_in(log: &str) -> Counts {
    let user = format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}");
    let mut counts = Counts::new();
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let verb = event["verb"].as_str().unwrap_or_default();
        if event["user"]["username"] != user.as_str() || matches!(verb, "get" | "list" | "watch") {
            continue;
        }
        let part = |name: &str| event["objectRef"][name].as_str();
        let resource = part("resource").unwrap_or("unknown");
        let resource = part("subresource").map_or(resource.to_owned(), |sub| format!("{resource}/{sub}"));
        *counts.entry(format!("{resource} {verb}")).or_default() += 1;
    }
    counts
}

/// Resident memory of the operator, now and at its highest, KiB.
pub(super) fn memory(stack: &Stack) -> Result<(u64, u64)> {
    let pid = stack.operator().context("the operator does not run")?.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the operator has ended")?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        value
            .and_then(|value| value.parse().ok())
            .with_context(|| format!("/proc/{pid}/status has no {name}"))
    };
    Ok((field("VmRSS")?, field("VmHWM")?))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(super) fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_of_the_operator_count_and_half_a_line_does_not() {
        let line = |user: &str, verb: &str, reference: &str| {
            format!(r#"{{"user":{{"username":"{user}"}},"verb":"{verb}","objectRef":{reference}}}"#)
        };
        let (ours, cache) =
            ("system:serviceaccount:eci-system:eci-operator", r#"{"resource":"imagecaches"}"#);
        let status = r#"{"resource":"imagecaches","subresource":"status"}"#;
        let log = [
            line(ours, "watch", cache),
            line("admin", "create", cache),
            line(ours, "patch", cache),
            line(ours, "patch", status),
            line(ours, "patch", status),
            line(ours, "update", r#"{"resource":"leases"}"#),
            line(ours, "patch", cache)[..40].to_owned(),
        ];
        let counts = writes_in(&log.join("\n"));
        let expected = [("imagecaches patch", 1), ("imagecaches/status patch", 2), ("leases update", 1)];
        assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!(writes(&counts), 3, "holding the lease has nothing to do with objects");
    }
}
