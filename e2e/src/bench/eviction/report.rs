//! Rows for people.

use std::fmt::Write as _;

use super::run::Row;
use super::target::Judged;

const HEAD: [&str; 20] = [
    "scenario",
    "QPS",
    "contender",
    "evicted",
    "graceful",
    "last s",
    "ratio",
    "controllers busy %",
    "evictions/pod",
    "requests/pod",
    "answers",
    "reaction p99 ms",
    "openings (paused)",
    "leaderless s",
    "wrong",
    "below floor",
    "why s",
    "forecast off %",
    "RSS MiB",
    "load",
];

/// One row while others are still to come.
pub(super) fn line(row: &Row) -> String {
    let cells = cells(row);
    let named = HEAD.iter().zip(&cells).skip(3).map(|(head, cell)| format!("{head} {cell}"));
    format!("{} {} at {} QPS: {}", cells[0], cells[2], cells[1], named.collect::<Vec<_>>().join(", "))
}

/// All of them as a table of Markdown, which is readable as it is.
pub(super) fn table(rows: &[Row]) -> String {
    markdown(HEAD, rows.iter().map(cells))
}

/// What the operator asked for, by kind of request.
pub(super) fn kinds(rows: &[&Row]) -> String {
    let head = [
        "scenario",
        "QPS",
        "evicted",
        "evictions",
        "events",
        "pod status",
        "others",
        "for each pod",
        "Lease",
    ];
    let lines = rows.iter().map(|row| {
        let of = |kind: &str| row.requests_by_kind.get(kind).copied().unwrap_or_default();
        let [evictions, events, status] =
            ["create pods/eviction", "create events", "patch pods/status"].map(of);
        let all = row.requests_for_pods();
        [
            row.scenario.clone(),
            row.controller_qps.to_string(),
            row.figures.evicted.to_string(),
            evictions.to_string(),
            events.to_string(),
            status.to_string(),
            all.saturating_sub(evictions + events + status).to_string(),
            number(per(all, row.figures.evicted), 2),
            (row.requests - all).to_string(),
        ]
    });
    markdown(head, lines)
}

/// What was to be reached, and was.
pub(super) fn targets(judged: &[(&Row, Vec<Judged>)]) -> String {
    let lines = judged.iter().flat_map(|(row, judged)| {
        judged.iter().map(|one| {
            [
                row.scenario.clone(),
                row.controller_qps.to_string(),
                one.what.to_owned(),
                one.target.clone(),
                one.seen.clone(),
                if one.reached { "PASS" } else { "MISS" }.to_owned(),
            ]
        })
    });
    markdown(["scenario", "QPS", "what", "target", "seen", ""], lines)
}

fn markdown<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        if n == 0 {
            let rules = widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>();
            let _ = writeln!(text, "| {} |", rules.join(" | "));
        }
    }
    text
}

fn cells(row: &Row) -> [String; 20] {
    let figures = &row.figures;
    let answers: Vec<String> = row.answers.iter().map(|(code, count)| format!("{code}:{count}")).collect();
    [
        row.scenario.clone(),
        row.controller_qps.to_string(),
        row.contender.clone(),
        format!("{} of {} ({} can)", figures.evicted, figures.doomed, row.bound_pods),
        row.graceful.to_string(),
        format!("{} ({:.1})", number(figures.last_seconds, 1), row.bound_seconds),
        number(row.ratio, 2),
        number(row.controller_busy_percent, 0),
        number(per(row.answers.values().sum(), figures.evicted), 1),
        number(per(row.requests_for_pods(), figures.evicted), 1),
        answers.join(" "),
        number(row.reaction_ms.map(|[_, p99, _]| p99), 0),
        format!("{} ({})", row.reactions, row.paused),
        number(row.leaderless_seconds, 1),
        figures.wrong.to_string(),
        figures.below_floor.to_string(),
        why(row),
        number(row.forecast_off_percent, 1),
        number(row.peak_rss_mib, 1),
        number(row.load, 1),
    ]
}

/// Since something stood in the way, and since the notices.
fn why(row: &Row) -> String {
    match row.why_since_blocked_seconds {
        Some(since) => format!("{since:.1} ({})", number(row.why_seconds, 1)),
        None => number(row.why_seconds, 1),
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn per(requests: usize, pods: usize) -> Option<f64> {
    (pods > 0).then(|| requests as f64 / pods as f64)
}
