//! The report of a drill as a table and as JSON.

use eci_core::eviction::lint::Severity;
use serde_json::{Value, json};

use super::Drilled;
use crate::table;

/// What cannot be said.
const UNKNOWN: &str = "?";

pub(super) fn table(results: &[Drilled], real: bool) -> String {
    let count = |count: Option<usize>| count.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string());
    let mut text = if real {
        let rows: Vec<_> =
            results.iter().map(|result| real_row(result, count(result.report.saved))).collect();
        table::table(["WORKLOAD", "NOTICED", "SAVED", "LATE", "LEFT", "FORECAST"], &rows)
    } else {
        let row = |result: &Drilled| {
            let Drilled { group, report, .. } = result;
            let start =
                group.start.map_or_else(|| UNKNOWN.to_owned(), |start| format!("{}s", start.as_secs()));
            let budget = group.budgets.first().map_or("-", |budget| &budget.id.name).to_owned();
            [report.name.clone(), report.pods.to_string(), count(report.saved), budget, start]
        };
        let rows: Vec<_> = results.iter().map(row).collect();
        table::table(["WORKLOAD", "PODS", "WOULD BE SAVED", "BUDGET", "START P90"], &rows)
    };
    for result in results {
        for line in notes(result) {
            text.extend(["\n", &result.report.name, ": ", &line]);
        }
    }
    text.push_str(if real {
        "\n\nA pod is saved when it was told to end before its deadline. Notices that nobody acted upon were taken back.\n"
    } else {
        "\n\nNothing was evicted. --yes gives these pods a notice, and the operator evicts them.\n"
    });
    text
}

fn real_row(result: &Drilled, forecast: String) -> [String; 6] {
    let [saved, late, left] = result.became.unwrap_or_default().map(|count| count.to_string());
    [result.report.name.clone(), result.report.pods.to_string(), saved, late, left, forecast]
}

/// What stands in the way, and what a notice would not touch.
fn notes(result: &Drilled) -> Vec<String> {
    let findings =
        result.report.findings.iter().map(|finding| format!("{} ({})", finding.message, finding.check));
    let spared = result.group.spared.iter().map(|(why, count)| {
        format!("{count} spot pods would not be evicted: {} ({})", why.message(), why.as_str())
    });
    let missettings = result.group.missettings.iter().map(|(text, count)| format!("{count} pods: {text}"));
    findings.chain(spared).chain(missettings).collect()
}

pub(super) fn json(results: &[Drilled], real: bool) -> Value {
    let severity = |severity| match severity {
        Severity::Error => "Error",
        Severity::Unknown => "Unknown",
        Severity::Warning => "Warning",
    };
    let workload = |result: &Drilled| {
        let Drilled { group, report, became } = result;
        let findings: Vec<Value> = report
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check.as_str(),
                    "severity": severity(finding.severity),
                    "message": finding.message,
                })
            })
            .collect();
        let spared: Vec<Value> = group
            .spared
            .iter()
            .map(|(why, count)| json!({ "reason": why.as_str(), "pods": count, "message": why.message() }))
            .collect();
        let missettings: Vec<Value> =
            group.missettings.iter().map(|(text, count)| json!({ "pods": count, "message": text })).collect();
        let budgets: Vec<Value> = group
            .budgets
            .iter()
            .map(|budget| json!({ "name": &*budget.id.name, "disruptionsAllowed": budget.allowed }))
            .collect();
        json!({
            "namespace": &*group.namespace,
            "kind": group.workload.as_ref().map(|owner| &*owner.kind),
            "name": group.workload.as_ref().map(|owner| &*owner.name),
            "pods": report.pods,
            "wouldBeSaved": report.saved,
            "startSecondsP90": group.start.map(|start| start.as_secs()),
            "budgets": budgets,
            "findings": findings,
            "notEvicted": spared,
            "spotSettings": missettings,
            "became": became.map(|[saved, late, left]| json!({ "saved": saved, "late": late, "left": left })),
        })
    };
    json!({ "dryRun": !real, "workloads": results.iter().map(workload).collect::<Vec<_>>() })
}
