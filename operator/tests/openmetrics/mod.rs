//! A reader of the OpenMetrics text format that refuses what a scraper would.

use std::collections::{BTreeMap, BTreeSet};

/// A family of metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    /// gauge, counter, histogram or info.
    pub(crate) kind: String,
    /// Its help text.
    pub(crate) help: String,
    /// Its unit, when it has one.
    pub(crate) unit: Option<String>,
    /// Names of its labels, those of the format left out.
    pub(crate) labels: BTreeSet<String>,
    /// Its samples: what is left of the name, labels, value.
    pub(crate) samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads a page, or says in which line it is wrong.
pub(crate) fn read(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let body = page.strip_suffix("# EOF\n").ok_or("the page does not end with # EOF")?;
    let mut seen = BTreeSet::new();
    for line in body.lines() {
        let wrong = |what: &str| format!("{what}: {line}");
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (Some(word), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
                return Err(wrong("half a description"));
            };
            if name != current && families.contains_key(name) {
                return Err(wrong("a family that comes twice"));
            }
            name.clone_into(&mut current);
            let family = families.entry(current.clone()).or_default();
            match word {
                "HELP" if family.help.is_empty() => text.clone_into(&mut family.help),
                "TYPE" if family.kind.is_empty() => text.clone_into(&mut family.kind),
                "UNIT" if family.unit.is_none() => family.unit = Some(text.to_owned()),
                _ => return Err(wrong("a description that comes twice or is unknown")),
            }
            continue;
        }
        let family = families.get_mut(&current).ok_or_else(|| wrong("a sample without a family"))?;
        let rest = line.strip_prefix(&current).ok_or_else(|| wrong("a sample of another family"))?;
        let (head, value) = rest.rsplit_once(' ').ok_or_else(|| wrong("no value"))?;
        let value: f64 = value.parse().map_err(|_| wrong("a value that is no number"))?;
        let (suffix, labels) = match head.split_once('{') {
            Some((suffix, labels)) => (suffix, labels.strip_suffix('}').ok_or_else(|| wrong("no }"))?),
            None => (head, ""),
        };
        let fits = match family.kind.as_str() {
            "gauge" => suffix.is_empty(),
            "counter" => suffix == "_total",
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            "info" => suffix == "_info",
            _ => false,
        };
        if !fits || !seen.insert(rest.rsplit_once(' ').map(|(head, _)| format!("{current}{head}"))) {
            return Err(wrong("a sample that its type does not have, or that comes twice"));
        }
        if family.kind != "gauge" && (value.is_nan() || value < 0.0) {
            return Err(wrong("a count below zero"));
        }
        let labels = pairs(labels).ok_or_else(|| wrong("labels that cannot be read"))?;
        family.labels.extend(labels.keys().filter(|name| *name != "le").cloned());
        family.samples.push((suffix.to_owned(), labels, value));
    }
    for (name, family) in &families {
        let unit = family.unit.as_ref().is_none_or(|unit| name.ends_with(&format!("_{unit}")));
        if family.help.is_empty() || family.kind.is_empty() || family.samples.is_empty() || !unit {
            return Err(format!("{name} lacks help, type, samples or its unit in the name"));
        }
    }
    Ok(families)
}

fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (_, '\\') => value.push(chars.next()?.1),
                (at, '"') => break at,
                (_, c) => value.push(c),
            }
        };
        pairs.insert(name.to_owned(), value).is_none().then_some(())?;
        rest = after[end + 1..].strip_prefix(',').unwrap_or(&after[end + 1..]);
    }
    Some(pairs)
}
