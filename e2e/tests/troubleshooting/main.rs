//! The guide to what goes wrong, held against the code: its reasons exist, its tests exist, and they check the words that
//! it quotes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod complaints;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use eci_api::condition::Reason;

/// Reasons of things that are as they should be.
const NO_FAULTS: [&str; 10] = [
    "Matched",
    "Available",
    "Pending",
    "Building",
    "Replacing",
    "UpdateInProgress",
    "Deleting",
    "Releasing",
    "Suspended",
    "Adopting",
];

/// How a test shows that a fault heals, or that a bad object never gets in.
const HEALS: [&str; 4] = ["heals(", "\"Available\"", "until_well(", "is_gone("];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

struct Row {
    fault: String,
    condition: String,
    reason: String,
    message: String,
    /// Files, and the function in each; a file of manifests has none.
    shown: Vec<(String, Option<String>)>,
}

/// What is between two marks.
fn between(text: &str, mark: char) -> Vec<String> {
    text.split(mark).skip(1).step_by(2).map(str::to_owned).collect()
}

fn rows() -> Vec<Row> {
    let page = read("docs/guide/troubleshooting.md");
    let table = page.lines().filter(|line| line.starts_with("| ")).skip(2);
    let rows = table.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let [fault, condition, reason, message, help, shown] = <[String; 6]>::try_from(cells).unwrap();
        assert!(!help.is_empty(), "{fault}: nothing helps");
        let shown = between(&shown, '`');
        assert!(!shown.is_empty(), "{fault}: nothing shows it");
        let shown = shown.chunks(2).map(|shown| (shown[0].clone(), shown.get(1).cloned())).collect();
        Row { fault, condition, reason, message, shown }
    });
    rows.collect()
}

/// The text of a function, from its name to the brace that closes it.
fn body(source: &str, name: &str) -> Option<String> {
    let begin = source.find(&format!("fn {name}("))?;
    let end = source[begin..].find("\n}\n")?;
    // A literal that is broken over two lines is one text.
    Some(source[begin..begin + end].replace("\\\n", ""))
}

#[test]
fn every_row_names_a_reason_that_exists_and_a_test_that_checks_its_words_and_its_healing() {
    let rows = rows();
    assert!(rows.len() >= 25, "only {} rows", rows.len());
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    for Row { fault, condition, reason, message, shown } in &rows {
        for (file, test) in shown {
            let source = read(file);
            let Some(test) = test else {
                assert_eq!((condition.as_str(), reason.as_str()), ("refused when applied", "–"), "{fault}");
                for words in between(message, '"') {
                    assert!(source.contains(&words), "{fault}: {file} does not expect {words:?}");
                }
                continue;
            };
            assert!(reasons.contains(reason.as_str()), "{fault}: there is no reason {reason}");
            let conditions = ["Reconciling", "Stalled", "DeletionBlocked", "Matched"];
            assert!(conditions.contains(&condition.as_str()), "{fault}: {condition}");
            let body = body(&source, test).unwrap_or_else(|| panic!("{fault}: {file} has no {test}"));
            assert!(body.contains(reason.as_str()), "{fault}: {test} does not wait for {reason}");
            // A test of one kind of fault says which it is.
            for (needs, other) in [("Patience", "Stalled"), ("Person", "Reconciling")] {
                let only =
                    body.matches("Needs::").count() == body.matches(&format!("Needs::{needs}")).count();
                let wrong = only && body.contains("Needs::") && condition == other;
                assert!(!wrong, "{fault}: {test} needs {needs}, the page says {condition}");
            }
            for words in between(message, '"') {
                assert!(body.contains(&words), "{fault}: {test} does not check {words:?}");
            }
            let healed = HEALS.iter().any(|sign| body.contains(sign) || source.contains(sign));
            assert!(healed, "{fault}: {test} does not wait until it is healed");
        }
    }
}

#[test]
fn every_reason_of_a_fault_has_a_row() {
    let rows = rows();
    let told: BTreeSet<&str> = rows.iter().map(|row| row.reason.as_str()).collect();
    for reason in Reason::ALL {
        let (told, no_fault) = (told.contains(reason.as_str()), NO_FAULTS.contains(&reason.as_str()));
        assert!(told || no_fault, "docs/guide/troubleshooting.md has no row for {reason}");
        assert!(!(told && no_fault), "{reason} has a row and is among NO_FAULTS");
    }
}
