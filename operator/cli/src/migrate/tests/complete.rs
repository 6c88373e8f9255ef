//! Nothing is lost, whatever stands in the objects.

use proptest::prelude::*;

use super::*;

/// The paths of what stands in an object, as the report writes them.
fn leaves(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = match (path, key.contains(['.', '/'])) {
                    ("", false) => key.clone(),
                    (path, true) => format!("{path}[{key}]"),
                    (path, false) => format!("{path}.{key}"),
                };
                leaves(value, &path, into);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (number, value) in list.iter().enumerate() {
                leaves(value, &format!("{path}[{number}]"), into);
            }
        }
        Value::Null | Value::Object(_) | Value::Array(_) => {}
        _ => into.push(path.to_owned()),
    }
}

/// Whether a line speaks of the field, of a part of it, or of what it is a part of.
fn is_told(migration: &Migration, source: &str, leaf: &str) -> bool {
    let leaf = crate::manifest::cut(leaf);
    let of = |line: &&Line| line.source == source;
    migration.lines.iter().filter(of).any(|line| {
        let field = line.field.trim_end_matches('.');
        // Expressions, images and secrets are told as a whole.
        leaf == field || (leaf.starts_with(field) && leaf[field.len()..].starts_with(['.', '[']))
    })
}

fn assert_all_told(document: &Document) {
    let (migration, _) = convert(std::slice::from_ref(document), &way(false));
    let mut all = Vec::new();
    if Vendors::of(document) == Some(Vendors::ConfigMap) {
        let data = document.object["data"].as_object().cloned().unwrap_or_default();
        for (key, value) in data {
            let parsed = value
                .as_str()
                .filter(|_| key == "selectors")
                .and_then(|text| serde_json::from_str(text).ok());
            match parsed {
                Some(Value::Array(list)) => leaves(&json!(list), "data.selectors", &mut all),
                _ => leaves(&value, &format!("data.{key}"), &mut all),
            }
        }
    } else {
        leaves(&document.object["spec"], "spec", &mut all);
        leaves(&document.object["metadata"]["annotations"], "metadata.annotations", &mut all);
    }
    for leaf in all {
        // Keys of options may have the length of the key before them, which the report leaves out.
        if !leaf.contains("options") {
            assert!(is_told(&migration, &document.path(), &leaf), "{leaf} is lost: {:#?}", migration.lines);
        }
    }
    for (path, object) in &migration.objects {
        let text = object.clone();
        let typed = match object["kind"].as_str() {
            Some("EciProfile") => serde_json::from_value::<EciProfile>(text).map(drop),
            Some("ImageCache") => serde_json::from_value::<ImageCache>(text).map(drop),
            _ => serde_json::from_value::<DataCache>(text).map(drop),
        };
        assert!(typed.is_ok(), "{path}: {typed:?}");
    }
    for output in [MigrateOutput::Table, MigrateOutput::Yaml, MigrateOutput::Json] {
        show::show(&migration, &[], output).unwrap();
    }
}

#[test]
fn every_field_of_the_examples_has_a_line() {
    for document in manifest::parse("f", EXAMPLES).unwrap() {
        assert_all_told(&document);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|truth| json!(truth)),
        ".{0,20}".prop_map(|text| json!(text)),
        Just(json!("true")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1, "a", null])),
        Just(json!({ "a": "b", "k8s.aliyun.com/x": 3, "": "" })),
    ]
}

/// Puts a value somewhere into another.
fn put(target: &mut Value, steps: &[prop::sample::Index], value: &Value) {
    let Some((step, rest)) = steps.split_first() else {
        *target = value.clone();
        return;
    };
    match target {
        Value::Object(map) if !map.is_empty() => {
            let number = step.index(map.len());
            if let Some(inner) = map.values_mut().nth(number) {
                put(inner, rest, value);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            let number = step.index(list.len());
            put(&mut list[number], rest, value);
        }
        Value::String(text) if text.trim_start().starts_with('[') => {
            let mut list: Value = serde_json::from_str(text).unwrap_or(Value::Null);
            put(&mut list, rest, value);
            *text = list.to_string();
        }
        other => *other = value.clone(),
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_the_objects_nothing_is_lost_and_nothing_fails(
        number in any::<prop::sample::Index>(),
        steps in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        value in any_value(),
    ) {
        let mut documents = manifest::parse("f", EXAMPLES).unwrap();
        let number = number.index(documents.len());
        let document = &mut documents[number];
        for part in ["spec", "data"] {
            if !document.object[part].is_null() {
                put(&mut document.object[part], &steps, &value);
            }
        }
        assert_all_told(document);
    }
}
