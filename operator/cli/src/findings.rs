//! What checks find, in the order of the checks, and which of them could not be made.

use serde_json::{Value, json};

use crate::args::Output;
use crate::error::Error;
use crate::table::table;

/// Most findings of one check that are shown; the others are counted.
const MOST: usize = 50;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// It works, but perhaps not as it was meant.
    Warning,
    /// It does not work.
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The check.
    pub(crate) check: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Kind, namespace and name.
    pub(crate) object: String,
    /// What was found.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// The result of checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// What was found.
    pub(crate) found: Vec<Finding>,
    /// Checks that were made.
    pub(crate) made: Vec<&'static str>,
    /// Checks that could not be made, and why.
    pub(crate) skipped: Vec<(&'static str, String)>,
}

impl Findings {
    /// A check and what it found.
    pub(crate) fn add(&mut self, check: &'static str, found: impl IntoIterator<Item = Finding>) {
        self.made.push(check);
        self.found.extend(found);
    }

    /// A check that needs what could not be read.
    pub(crate) fn skip(&mut self, check: &'static str, why: impl Into<String>) {
        self.skipped.push((check, why.into()));
    }

    /// Whether something does not work.
    pub(crate) fn errors(&self) -> usize {
        self.found.iter().filter(|finding| finding.severity == Severity::Error).count()
    }

    /// As a table or as JSON. `well`: what is said when nothing was found.
    pub(crate) fn show(&self, output: Output, well: &str) -> Result<String, Error> {
        match output {
            Output::Table => Ok(self.table(well)),
            Output::Json => Ok(format!("{}\n", serde_json::to_string_pretty(&self.json())?)),
        }
    }

    fn table(&self, well: &str) -> String {
        let mut text = String::new();
        let mut rows = Vec::new();
        let mut more = Vec::new();
        for check in &self.made {
            let of: Vec<_> = self.found.iter().filter(|finding| finding.check == *check).collect();
            rows.extend(of.iter().take(MOST).map(|finding| {
                let severity = finding.severity.word().to_owned();
                [finding.check.to_owned(), severity, finding.object.clone(), finding.what.clone()]
            }));
            if of.len() > MOST {
                more.push(format!("{check}: {} more; -o json has all of them.\n", of.len() - MOST));
            }
        }
        if rows.is_empty() {
            text.extend([well, "\n"]);
        } else {
            text.push_str(&table(["CHECK", "SEVERITY", "OBJECT", "FOUND"], &rows));
            text.extend(more);
            text.push('\n');
            let mut told: Vec<(&str, &str)> = Vec::new();
            for finding in &self.found {
                if !told.contains(&(finding.check, &finding.remedy)) {
                    told.push((finding.check, &finding.remedy));
                    text.extend([finding.check, ": ", &finding.remedy, "\n"]);
                }
            }
        }
        for (check, why) in &self.skipped {
            text.extend(["Not checked: ", check, ": ", why, "\n"]);
        }
        text
    }

    fn json(&self) -> Value {
        let found = self.found.iter().map(|finding| {
            json!({
                "check": finding.check,
                "severity": finding.severity.word(),
                "object": finding.object,
                "found": finding.what,
                "remedy": finding.remedy,
            })
        });
        let skipped = self.skipped.iter().map(|(check, why)| json!({ "check": check, "why": why }));
        json!({
            "checks": self.made,
            "findings": found.collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
        })
    }
}

/// Kind, namespace and name.
pub(crate) fn path(kind: &str, namespace: Option<&str>, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    namespace.map_or_else(|| format!("{kind} {name}"), |namespace| format!("{kind} {namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_is_told_once_and_long_lists_are_cut() {
        let finding = |number: usize| Finding {
            check: "one",
            severity: Severity::Error,
            object: format!("Pod shop/web-{number}"),
            what: "is bad".to_owned(),
            remedy: "make it good".to_owned(),
        };
        let mut all = Findings::default();
        assert_eq!(all.table("All is well."), "All is well.\n");
        all.add("one", (0..60).map(finding));
        all.skip("two", "not allowed");
        let text = all.table("All is well.");
        assert_eq!(text.matches("make it good").count(), 1);
        assert!(text.contains("one: 10 more") && text.contains("Not checked: two: not allowed"), "{text}");
        assert_eq!((all.errors(), all.json()["findings"].as_array().map(Vec::len)), (60, Some(60)));
    }
}
