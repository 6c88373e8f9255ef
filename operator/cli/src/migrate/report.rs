//! What became of each field.

use serde_json::{Map, Value};

use crate::manifest::cut;

/// Of a field that could be kept.
const NOT_WRITTEN: &str = "no object is written, for something else in it is broken";

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It means the same.
    Kept,
    /// It is there, but something about it is different.
    Changed,
    /// There is nothing for it.
    NoEquivalent,
    /// It cannot be read, or cannot work.
    Broken,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::NoEquivalent => "no equivalent",
            Self::Broken => "broken",
        }
    }
}

/// A field of the vendor's, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The vendor's object.
    pub(super) source: String,
    /// Its field.
    pub(super) field: String,
    /// What became of it.
    pub(super) outcome: Outcome,
    /// Our object, if there is one.
    pub(super) object: Option<String>,
    /// Our field.
    pub(super) to: Option<String>,
    /// What has to be known about it.
    pub(super) note: Option<String>,
}

/// The lines of one object of the vendor's, or of one selector of its ConfigMap.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    source: String,
    /// How its fields begin.
    prefix: String,
    object: Option<String>,
    pub(super) lines: Vec<Line>,
}

impl Ledger {
    pub(super) fn new(source: &str, prefix: &str) -> Self {
        Self { source: cut(source), prefix: prefix.to_owned(), object: None, lines: Vec::new() }
    }

    /// Says which of our objects the lines are about. If there is none, nothing was kept.
    pub(super) fn becomes(&mut self, object: Option<String>) {
        for line in &mut self.lines {
            line.object.clone_from(&object);
            if object.is_none() {
                line.to = None;
                if line.outcome < Outcome::NoEquivalent {
                    line.outcome = Outcome::NoEquivalent;
                    line.note = Some(NOT_WRITTEN.to_owned());
                }
            }
        }
        self.object = object;
    }

    fn add(&mut self, field: &str, outcome: Outcome, to: Option<&str>, note: Option<String>) {
        self.lines.push(Line {
            source: self.source.clone(),
            field: cut(&format!("{}{field}", self.prefix)),
            outcome,
            object: self.object.clone(),
            to: to.map(str::to_owned),
            note,
        });
    }

    pub(super) fn kept(&mut self, field: &str, to: &str) {
        self.add(field, Outcome::Kept, Some(to), None);
    }

    pub(super) fn changed(&mut self, field: &str, to: &str, note: impl Into<String>) {
        self.add(field, Outcome::Changed, Some(to), Some(note.into()));
    }

    pub(super) fn none(&mut self, field: &str, note: impl Into<String>) {
        self.add(field, Outcome::NoEquivalent, None, Some(note.into()));
    }

    pub(super) fn broken(&mut self, field: &str, note: impl Into<String>) {
        self.add(field, Outcome::Broken, None, Some(note.into()));
    }

    /// Whether anything was said of the field.
    pub(super) fn speaks_of(&self, field: &str) -> bool {
        let field = cut(&format!("{}{field}", self.prefix));
        self.lines.iter().any(|line| line.field == field)
    }
}

/// The fields of an object, of which each is taken once; what is left at the end was not known.
pub(super) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Of an object; of nothing, when it is absent. Anything else is broken.
    pub(super) fn of(value: Option<Value>, path: &str, ledger: &mut Ledger) -> Self {
        let map = match value {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map,
            Some(other) => {
                ledger.broken(path, format!("must be an object, not {}", cut(&other.to_string())));
                Map::new()
            }
        };
        Self { path: path.to_owned(), map }
    }

    /// The path of a field.
    pub(super) fn path(&self, key: &str) -> String {
        let key = if key.contains(['.', '/']) { format!("[{key}]") } else { key.to_owned() };
        match (self.path.as_str(), key.starts_with('[')) {
            ("", _) => key,
            (path, true) => format!("{path}{key}"),
            (path, false) => format!("{path}.{key}"),
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// A text. A number or truth value, which YAML makes of a text without quotes, is broken.
    pub(super) fn text(&mut self, key: &str, ledger: &mut Ledger) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                ledger.broken(
                    &self.path(key),
                    format!("must be a text in quotes, not {}", cut(&other.to_string())),
                );
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn number(&mut self, key: &str, range: (i64, i64), ledger: &mut Ledger) -> Option<i32> {
        let value = self.take(key)?;
        let number = value.as_i64().filter(|number| (range.0..=range.1).contains(number));
        let number = number.and_then(|number| i32::try_from(number).ok());
        if number.is_none() {
            let found = cut(&value.to_string());
            ledger.broken(
                &self.path(key),
                format!("must be a whole number from {} to {}, not {found}", range.0, range.1),
            );
        }
        number
    }

    /// Says of everything that is left that it is not known.
    pub(super) fn finish(self, ledger: &mut Ledger) {
        for key in self.map.keys() {
            ledger.none(&self.path(key), "is no field that the vendor documents");
        }
    }

    /// What is left, each with its path.
    pub(super) fn rest(self) -> Vec<(String, String, Value)> {
        let paths: Vec<_> = self.map.keys().map(|key| self.path(key)).collect();
        self.map.into_iter().zip(paths).map(|((key, value), path)| (key, path, value)).collect()
    }
}
