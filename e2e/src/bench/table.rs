//! Phases side by side, for people.

use std::collections::BTreeSet;

use super::measure::{Counts, Phase};

/// A row for everything that was measured, a column for every phase.
pub(super) fn render(phases: &[Phase]) -> String {
    let mut rows = vec![row("", phases, |phase| phase.name.clone())];
    rows.push(row("seconds", phases, |phase| format!("{:.1}", phase.seconds)));
    count_rows(&mut rows, "cloud: ", phases, |phase| &phase.cloud_calls);
    count_rows(&mut rows, "write: ", phases, |phase| &phase.kubernetes_writes);
    rows.push(row("RSS at the end, MiB", phases, |phase| mib(phase.rss_kib)));
    rows.push(row("peak RSS so far, MiB", phases, |phase| mib(phase.peak_rss_kib)));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..=phases.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("  {cell:>width$}"),
        });
        text.extend(cells);
        text.push('\n');
    }
    text
}

fn count_rows(rows: &mut Vec<Vec<String>>, prefix: &str, phases: &[Phase], of: fn(&Phase) -> &Counts) {
    let names: BTreeSet<&String> = phases.iter().flat_map(|phase| of(phase).keys()).collect();
    for name in names {
        rows.push(row(&format!("{prefix}{name}"), phases, |phase| {
            of(phase).get(name).copied().unwrap_or(0).to_string()
        }));
    }
}

fn row(title: &str, phases: &[Phase], cell: impl Fn(&Phase) -> String) -> Vec<String> {
    std::iter::once(title.to_owned()).chain(phases.iter().map(cell)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_phase_did_not_do_is_a_zero_in_its_column() {
        let phase = |name: &str, calls: &[(&str, u64)]| Phase {
            name: name.to_owned(),
            seconds: 1.25,
            cloud_calls: calls.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            kubernetes_writes: Counts::new(),
            rss_kib: 2048,
            peak_rss_kib: 3072,
        };
        let table = render(&[
            phase("apply 1", &[("Create", 1), ("Describe", 12)]),
            phase("rest 1", &[("Describe", 2)]),
        ]);
        let row = |title: &str| -> Vec<&str> {
            let line = table.lines().find(|line| line.starts_with(title)).unwrap();
            line[title.len()..].split_whitespace().collect()
        };
        assert_eq!(row("cloud: Create"), ["1", "0"]);
        assert_eq!(row("cloud: Describe"), ["12", "2"]);
        assert_eq!(row("peak RSS so far, MiB"), ["3.0", "3.0"]);
        let lengths: BTreeSet<usize> = table.lines().map(str::len).collect();
        assert_eq!(lengths.len(), 1, "the columns are aligned:\n{table}");
    }
}
