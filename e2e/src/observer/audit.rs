//! Requests and answers, from the API server's audit log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::ledger::BudgetRef;
use super::verdict::percentile;

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who.
    pub user: String,
    /// Such as `create`.
    pub verb: String,
    /// With its subresource, such as `pods/eviction`.
    pub resource: String,
    /// Of the object.
    pub namespace: String,
    /// Of the object.
    pub name: String,
    /// The answer's status; 0 if none was written.
    pub code: u16,
    /// When the API server got it.
    pub received: Timestamp,
    /// How long the answer took.
    pub took: Duration,
}

/// A write of the status of a budget by its controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetWrite {
    /// Namespace and name.
    pub budget: BudgetRef,
    /// The resourceVersion that came of it.
    pub version: String,
    /// When the API server had answered it.
    pub at: Timestamp,
}

/// Where a log ends now, bytes.
pub fn mark(log: &Path) -> Result<u64> {
    Ok(fs::metadata(log).context("there is no audit log")?.len())
}

/// The requests of one user that were answered since a mark.
pub fn requests_since(log: &Path, mark: u64, user: &str) -> Result<Vec<Request>> {
    Ok(requests_in(&text_since(log, mark)?, user))
}

/// The writes since a mark by which the disruption controller said how budgets stand.
pub fn budget_writes_since(log: &Path, mark: u64) -> Result<Vec<BudgetWrite>> {
    Ok(budget_writes_in(&text_since(log, mark)?))
}

fn text_since(log: &Path, mark: u64) -> Result<String> {
    let mut file = File::open(log).context("cannot open the audit log")?;
    file.seek(SeekFrom::Start(mark))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    verb: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
    stage: String,
}

/// An entry whose answer was written down wholly.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BudgetEntry {
    verb: String,
    object_ref: Object,
    response_object: Answered,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Answered {
    metadata: ObjectMeta,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// Requests of a user in lines of the log. A line that is only half there is the next reading's.
fn requests_in(text: &str, user: &str) -> Vec<Request> {
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    // A watch is written down when it starts to answer, and again at its end.
    let answered = entries.filter(|entry| entry.stage != "ResponseStarted" && entry.user.username == user);
    let request = |entry: Entry| {
        let object = entry.object_ref.unwrap_or_default();
        let took = entry.stage_timestamp.duration_since(entry.request_received_timestamp);
        Request {
            user: entry.user.username,
            verb: entry.verb,
            resource: match object.subresource.as_str() {
                "" => object.resource,
                sub => format!("{}/{sub}", object.resource),
            },
            namespace: object.namespace,
            name: object.name,
            code: entry.response_status.map(|status| status.code).unwrap_or_default(),
            received: entry.request_received_timestamp,
            took: Duration::try_from(took).unwrap_or_default(),
        }
    };
    answered.map(request).collect()
}

fn budget_writes_in(text: &str) -> Vec<BudgetWrite> {
    // Most lines are of something else.
    let about = text.lines().filter(|line| line.contains("poddisruptionbudgets"));
    let entries = about.filter_map(|line| serde_json::from_str::<BudgetEntry>(line).ok());
    let of_status = entries.filter(|entry| {
        let object = &entry.object_ref;
        entry.verb == "update"
            && (object.resource.as_str(), object.subresource.as_str()) == ("poddisruptionbudgets", "status")
    });
    let write = |entry: BudgetEntry| {
        // A refusal is a Status, which has no version.
        let version = entry.response_object.metadata.resource_version?;
        let budget = (entry.object_ref.namespace, entry.object_ref.name);
        Some(BudgetWrite { budget, version, at: entry.stage_timestamp })
    };
    of_status.filter_map(write).collect()
}

/// Requests in numbers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All but watches, which are one request for a long time.
    pub requests: usize,
    /// The same by verb and resource, such as `create pods/eviction`.
    pub by_kind: BTreeMap<String, usize>,
    /// Answers to evictions, by status.
    pub evictions: BTreeMap<u16, usize>,
    /// How long the answers to evictions took: median, 99th percentile, longest.
    pub latency: Option<[Duration; 3]>,
}

impl Tally {
    /// Of some requests.
    pub fn of(requests: &[Request]) -> Self {
        let mut tally = Self::default();
        let mut took = Vec::new();
        for request in requests.iter().filter(|request| request.verb != "watch") {
            tally.requests += 1;
            let kind = format!("{} {}", request.verb, request.resource);
            *tally.by_kind.entry(kind.trim_end().to_owned()).or_default() += 1;
            if request.verb == "create" && request.resource == "pods/eviction" {
                *tally.evictions.entry(request.code).or_default() += 1;
                took.push(request.took);
            }
        }
        took.sort_unstable();
        tally.latency = match (percentile(&took, 50), percentile(&took, 99), took.last()) {
            (Some(median), Some(p99), Some(longest)) => Some([median, p99, *longest]),
            _ => None,
        };
        tally
    }

    /// Evictions that were accepted.
    pub fn accepted(&self) -> usize {
        self.evictions.get(&201).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_writes_of_budgets_those_that_were_done_are_read_with_their_version() {
        let line = |resource: &str, answer: &str| {
            format!(
                r#"{{"stage":"ResponseComplete","verb":"update","user":{{"username":"d"}},
                "objectRef":{{"resource":"{resource}","subresource":"status","namespace":"a","name":"web"}},
                "responseObject":{answer},"stageTimestamp":"2026-01-01T00:00:00.250000Z"}}"#
            )
            .replace('\n', " ")
        };
        let log = [
            line("poddisruptionbudgets", r#"{"metadata":{"name":"web","resourceVersion":"17"}}"#),
            line("poddisruptionbudgets", r#"{"kind":"Status","metadata":{},"code":409}"#),
            line("pods", r#"{"metadata":{"name":"poddisruptionbudgets","resourceVersion":"18"}}"#),
        ];
        let at = "2026-01-01T00:00:00.25Z".parse().unwrap();
        let written = BudgetWrite { budget: ("a".into(), "web".into()), version: "17".into(), at };
        assert_eq!(budget_writes_in(&log.join("\n")), [written]);
    }

    fn line(user: &str, verb: &str, object: &str, code: u16, stage: &str, ms: u32) -> String {
        format!(
            r#"{{"stage":"{stage}","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{object},
            "responseStatus":{{"code":{code}}},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z",
            "stageTimestamp":"2026-01-01T00:00:00.{ms:03}000Z"}}"#
        )
        .replace('\n', " ")
    }

    #[test]
    fn evictions_of_one_user_are_counted_by_answer_and_watches_are_not() {
        let eviction = r#"{"resource":"pods","subresource":"eviction","namespace":"a","name":"p"}"#;
        let pods = r#"{"resource":"pods"}"#;
        let log = [
            line("we", "create", eviction, 201, "ResponseComplete", 10),
            line("we", "create", eviction, 429, "ResponseComplete", 30),
            line("they", "create", eviction, 201, "ResponseComplete", 10),
            line("we", "watch", pods, 200, "ResponseStarted", 1),
            line("we", "watch", pods, 200, "ResponseComplete", 900),
            line("we", "list", pods, 200, "ResponseComplete", 500),
            line("we", "create", eviction, 201, "ResponseComplete", 10)[..60].to_owned(),
        ]
        .join("\n");
        let requests = requests_in(&log, "we");
        assert_eq!(requests[0].resource, "pods/eviction");
        assert_eq!((requests[0].namespace.as_str(), requests[0].name.as_str()), ("a", "p"));
        let tally = Tally::of(&requests);
        assert_eq!(tally.requests, 3);
        let kinds = [("create pods/eviction", 2), ("list pods", 1)];
        assert_eq!(tally.by_kind, kinds.map(|(kind, count)| (kind.to_owned(), count)).into());
        assert_eq!(tally.evictions, [(201, 1), (429, 1)].into());
        assert_eq!(tally.accepted(), 1);
        let ms = Duration::from_millis;
        assert_eq!(tally.latency, Some([ms(10), ms(30), ms(30)]));
        assert_eq!(Tally::of(&[]).latency, None);
    }
}
