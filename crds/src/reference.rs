//! The reference page of a kind, from its CRD and its reasons.

use std::fmt::Write as _;

use serde_json::Value;

/// The page. A missing part of the CRD leaves its section empty; the tests of this crate check the real one.
pub(crate) fn page(crd: &Value, reasons: &[(&str, &str)], events: &[(&str, &str)]) -> String {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let list = |pointer: &str| {
        let words =
            crd.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    };
    let version = "/spec/versions/0";
    let schema = crd.pointer(&format!("{version}/schema/openAPIV3Schema")).unwrap_or(&Value::Null);

    let mut page = format!("# {}\n\n", text("/spec/names/kind"));
    page.push_str(
        "<!-- Generated from the types of eci-api by `cargo run -p eci-crds`: do not edit. -->\n\n",
    );
    let _ = write!(
        page,
        "{description}\n\n\
         | | |\n| --- | --- |\n\
         | apiVersion | `{group}/{name}` |\n\
         | resource | `{plural}` ({scope}) |\n\
         | short names | {short} |\n\
         | categories | {categories} |\n\n",
        description = describe(schema),
        group = text("/spec/group"),
        name = text(&format!("{version}/name")),
        plural = text("/spec/names/plural"),
        scope = text("/spec/scope").to_lowercase(),
        short = list("/spec/names/shortNames"),
        categories = list("/spec/names/categories"),
    );

    for part in ["spec", "status"] {
        let _ = write!(
            page,
            "## {part}\n\n| field | type | constraints | meaning |\n| --- | --- | --- | --- |\n"
        );
        if let Some(below) = schema.pointer(&format!("/properties/{part}")) {
            fields(&mut page, part, below);
        }
        page.push('\n');
    }

    page.push_str("## Rules\n\nWhat the API server checks beyond the constraints above.\n\n");
    rules(&mut page, "", schema);

    page.push_str("\n## Printed columns\n\n| column | from | meaning |\n| --- | --- | --- |\n");
    let columns = crd.pointer(&format!("{version}/additionalPrinterColumns")).and_then(Value::as_array);
    for column in columns.into_iter().flatten() {
        let word = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default();
        let wide = if column.get("priority").is_some() { " (`-o wide`)" } else { "" };
        let _ = writeln!(
            page,
            "| {}{wide} | `{}` | {} |",
            word("name"),
            cell(word("jsonPath")),
            cell(word("description"))
        );
    }

    let titles = ["Reasons of the conditions", "Reasons of other events"];
    for (title, reasons) in
        titles.into_iter().zip([reasons, events]).filter(|(_, reasons)| !reasons.is_empty())
    {
        let _ = write!(page, "\n## {title}\n\n| reason | meaning |\n| --- | --- |\n");
        for (reason, meaning) in reasons {
            let _ = writeln!(page, "| `{reason}` | {} |", cell(meaning));
        }
    }
    page
}

/// One row for each property below `schema`, depth first.
fn fields(page: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> = strings(schema, "required").collect();
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        let mut constraints = constraints(field);
        if required.contains(&name.as_str()) {
            constraints.insert(0, "required".to_owned());
        }
        let _ = writeln!(
            page,
            "| `{path}` | {} | {} | {} |",
            type_of(field),
            cell(&constraints.join("; ")),
            cell(describe(field))
        );
        let (below, path) = match (field.get("items"), field.get("additionalProperties")) {
            (Some(items), _) => (items, format!("{path}[]")),
            (None, Some(values)) => (values, format!("{path}.*")),
            (None, None) => (field, path),
        };
        fields(page, &path, below);
    }
}

/// One line for each rule at or below `schema`.
fn rules(page: &mut String, path: &str, schema: &Value) {
    for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
        let message = rule.get("message").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(page, "- `{}`: {message}", if path.is_empty() { "." } else { path });
    }
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        rules(page, &format!("{path}.{name}"), field);
    }
    for (below, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(below) = schema.get(below) {
            rules(page, &format!("{path}{mark}"), below);
        }
    }
}

fn describe(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn strings<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn type_of(schema: &Value) -> String {
    let word = schema.get("type").and_then(Value::as_str).unwrap_or("any");
    match (schema.get("items"), schema.get("additionalProperties")) {
        (Some(items), _) => format!("list of {}", type_of(items)),
        (None, Some(values)) => format!("map to {}", type_of(values)),
        (None, None) => match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => "time".to_owned(),
            Some(format) => format.to_owned(),
            None => word.to_owned(),
        },
    }
}

/// The constraints of a field and, for a list or map of scalars, those of its elements.
fn constraints(schema: &Value) -> Vec<String> {
    let bounds = |low: &str, high: &str, unit: &str| {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        match (schema.get(low).and_then(Value::as_i64), schema.get(high).and_then(Value::as_i64)) {
            (Some(low), Some(high)) => Some(format!("{low} to {high}{unit}")),
            (Some(low), None) => Some(format!("at least {low}{unit}")),
            (None, Some(high)) => Some(format!("at most {high}{unit}")),
            (None, None) => None,
        }
    };
    let mut found: Vec<String> = [
        bounds("minimum", "maximum", ""),
        bounds("minLength", "maxLength", "characters"),
        bounds("minItems", "maxItems", "items"),
        bounds("minProperties", "maxProperties", "entries"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        found.push(format!("`{pattern}`"));
    }
    let words: Vec<_> = strings(schema, "enum").map(|word| format!("`{word}`")).collect();
    if !words.is_empty() {
        found.push(words.join(", "));
    }
    if let Some(default) = schema.get("default") {
        found.push(format!("default `{default}`"));
    }
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => found.push("no doubles".to_owned()),
        Some("map") => {
            let keys: Vec<_> = strings(schema, "x-kubernetes-list-map-keys").collect();
            found.push(format!("one per {}", keys.join(" and ")));
        }
        _ => {}
    }
    if let Some(elements) = schema.get("items").or_else(|| schema.get("additionalProperties")) {
        let below = constraints(elements);
        if !below.is_empty() {
            found.push(format!("each {}", below.join(", ")));
        }
    }
    found
}

/// Text that stays inside one cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
