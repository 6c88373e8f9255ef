//! A migration as a table, as manifests and as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Migration;
use super::report::{Line, Outcome};
use crate::args::MigrateOutput;
use crate::error::Error;
use crate::table::table;

/// What there is nothing of.
const NONE: &str = "-";

pub(super) fn show(migration: &Migration, passed: &[String], output: MigrateOutput) -> Result<String, Error> {
    match output {
        MigrateOutput::Table => Ok(report(migration, passed)),
        MigrateOutput::Yaml => yaml(migration),
        MigrateOutput::Json => {
            let lines: Vec<_> = migration.lines.iter().map(json_of).collect();
            let objects: Vec<_> = migration.objects.iter().map(|(_, object)| object).collect();
            let all = json!({ "objects": objects, "report": lines, "passedOver": passed });
            Ok(format!("{}\n", serde_json::to_string_pretty(&all)?))
        }
    }
}

fn report(migration: &Migration, passed: &[String]) -> String {
    let none = || NONE.to_owned();
    let rows = migration.lines.iter().map(|line| {
        [
            line.source.clone(),
            line.field.clone(),
            line.outcome.word().to_owned(),
            line.object.clone().unwrap_or_else(none),
            line.to.clone().unwrap_or_else(none),
            line.note.clone().unwrap_or_else(none),
        ]
    });
    let head = ["FROM", "FIELD", "OUTCOME", "OBJECT", "TO", "NOTE"];
    let mut text = table(head, &rows.collect::<Vec<_>>());
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for line in &migration.lines {
        *counts.entry(line.outcome).or_default() += 1;
    }
    let counts: Vec<_> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.word())).collect();
    text.extend(["\n", &counts.join(", "), "; "]);
    let objects = match migration.objects.len() {
        0 => "nothing to apply.\n".to_owned(),
        1 => "1 object: -o yaml prints it.\n".to_owned(),
        many => format!("{many} objects: -o yaml prints them.\n"),
    };
    text.push_str(&objects);
    for one in passed {
        text.extend(["Not the vendor's, passed over: ", one, "\n"]);
    }
    text
}

/// The manifests, each after what is to be known about it.
fn yaml(migration: &Migration) -> Result<String, Error> {
    let mut text = String::new();
    for line in migration.lines.iter().filter(|line| line.object.is_none()) {
        text.push_str(&comment(line));
    }
    for (path, object) in &migration.objects {
        text.push_str("---\n");
        for line in migration.lines.iter().filter(|line| line.object.as_ref() == Some(path)) {
            if line.outcome != Outcome::Kept {
                text.push_str(&comment(line));
            }
        }
        text.push_str(&serde_saphyr::to_string(object).map_err(|error| Error::Yaml(error.to_string()))?);
    }
    Ok(text)
}

/// A comment must not end before its line does.
fn comment(line: &Line) -> String {
    let note = line.note.as_deref().unwrap_or_default();
    let text = format!("{}: {}: {}: {note}", line.source, line.field, line.outcome.word());
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' || c == '\u{85}' { ' ' } else { c })
        .collect();
    format!("# {}\n", clean.trim_end())
}

fn json_of(line: &Line) -> Value {
    json!({
        "from": line.source,
        "field": line.field,
        "outcome": match line.outcome {
            Outcome::Kept => "Kept",
            Outcome::Changed => "Changed",
            Outcome::NoEquivalent => "NoEquivalent",
            Outcome::Broken => "Broken",
        },
        "object": line.object,
        "to": line.to,
        "note": line.note,
    })
}
