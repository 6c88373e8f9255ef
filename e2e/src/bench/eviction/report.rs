//! Rows for people.

use std::fmt::Write as _;

use super::run::Row;

const HEAD: [&str; 13] = [
    "scenario",
    "QPS",
    "contender",
    "evicted",
    "graceful",
    "last s",
    "ratio",
    "evictions/pod",
    "requests/pod",
    "answers",
    "reaction p99 ms",
    "wrong",
    "below floor",
];

/// One row while others are still to come.
pub(super) fn line(row: &Row) -> String {
    let cells = cells(row);
    let named = HEAD.iter().zip(&cells).skip(3).map(|(head, cell)| format!("{head} {cell}"));
    format!("{} {} at {} QPS: {}", cells[0], cells[2], cells[1], named.collect::<Vec<_>>().join(", "))
}

/// All of them as a table of Markdown, which is readable as it is.
pub(super) fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
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

fn cells(row: &Row) -> [String; 13] {
    let figures = &row.figures;
    let number = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    let answers: Vec<String> = row.answers.iter().map(|(code, count)| format!("{code}:{count}")).collect();
    [
        row.scenario.to_owned(),
        row.controller_qps.to_string(),
        row.contender.to_owned(),
        format!("{} of {} ({} can)", figures.evicted, figures.doomed, row.bound_pods),
        row.graceful.to_string(),
        format!("{} ({:.1})", number(figures.last_seconds, 1), row.bound_seconds),
        number(row.ratio, 2),
        number(per(row.answers.values().sum(), figures.evicted), 1),
        number(per(row.requests, figures.evicted), 1),
        answers.join(" "),
        number(figures.reaction_p99_ms, 0),
        figures.wrong.to_string(),
        figures.below_floor.to_string(),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn per(requests: usize, pods: usize) -> Option<f64> {
    (pods > 0).then(|| requests as f64 / pods as f64)
}
