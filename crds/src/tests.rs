//! The generated files are fresh, and the schema keeps the conventions of the API.

use std::fs;

use serde_json::Value;

use crate::{generate, repository, write};

/// The CRD as published.
fn crd() -> Value {
    let files = generate().unwrap();
    let file = files.iter().find(|file| file.path == "crds/imagecaches.yaml").unwrap();
    serde_saphyr::from_str(&file.content).unwrap()
}

/// Calls `visit` with the path and schema of each property below `schema`, elements of lists and maps included.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, field);
        walk(&path, field, visit);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            walk(&format!("{path}[]"), &schema[below], visit);
        }
    }
}

#[test]
fn generated_files_are_fresh() {
    if std::env::var_os("UPDATE").is_some() {
        write(&repository()).unwrap();
    }
    let stale: Vec<_> = generate()
        .unwrap()
        .into_iter()
        .filter(|file| fs::read_to_string(repository().join(file.path)).ok().as_ref() != Some(&file.content))
        .map(|file| file.path)
        .collect();
    assert!(stale.is_empty(), "stale: {stale:?}; write them with `cargo run -p eci-crds`");
}

#[test]
fn every_field_and_type_has_a_description() {
    let crd = crd();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert!(schema["description"].is_string());
    let (mut seen, mut silent) = (0, Vec::new());
    walk("", schema, &mut |path, field| {
        seen += 1;
        if field["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            silent.push(path.to_owned());
        }
        if field["items"]["type"] == "object" && !field["items"]["description"].is_string() {
            silent.push(format!("{path}[]"));
        }
    });
    assert!(seen > 80, "the walk saw only {seen} fields");
    assert!(silent.is_empty(), "no description: {silent:#?}");
}

#[test]
fn the_schema_has_nothing_that_the_api_server_warns_of_and_no_nulls() {
    let crd = crd();
    let mut bad = Vec::new();
    walk("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut |path, field| {
        let format = field["format"].as_str();
        if format.is_some_and(|format| !["int32", "int64", "date-time"].contains(&format))
            || field.get("nullable").is_some()
            || !field["type"].is_string()
        {
            bad.push(format!("{path}: {field}"));
        }
    });
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn initialisms_are_upper_case_and_names_camel_case() {
    let crd = crd();
    let mut bad = Vec::new();
    walk("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut |path, _| {
        let name = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
        let wrong = ["Id", "Ids", "Url", "Uid", "Arn", "Tls", "Http"].iter().any(|word| {
            // `Identity` is a word of its own; an initialism ends the name or is followed by a capital.
            name.match_indices(word)
                .any(|(at, _)| name[at + word.len()..].chars().next().is_none_or(char::is_uppercase))
        });
        if wrong || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            bad.push(path.to_owned());
        }
    });
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn an_object_that_nobody_has_seen_has_observed_generation_minus_one() {
    let crd = crd();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert_eq!(status["default"]["observedGeneration"], -1);
    assert!(status["properties"]["observedGeneration"].get("minimum").is_none());
}

#[test]
fn the_chart_and_the_plain_manifest_say_the_same() {
    let files = generate().unwrap();
    let chart = files.iter().find(|file| file.path.starts_with("charts/")).unwrap();
    let (_, spec) = chart.content.split_once("\nspec:\n").unwrap();
    let spec: Value =
        serde_saphyr::from_str(&format!("spec:\n{}", spec.replace(r#"{{ "{{" }}"#, "{{"))).unwrap();
    assert_eq!(spec["spec"], crd()["spec"]);
    assert!(chart.content.contains("helm.sh/resource-policy: keep"));
}

#[test]
fn the_reference_lists_every_field_column_and_reason() {
    let files = generate().unwrap();
    let page = &files.iter().find(|file| file.path.starts_with("docs/")).unwrap().content;
    walk("", &crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut |path, _| {
        let path = path.trim_start_matches('.');
        assert!(path == "spec" || path == "status" || page.contains(&format!("| `{path}` |")), "{path}");
    });
    for reason in eci_api::condition::Reason::ALL {
        assert!(page.contains(&format!("| `{reason}` | ")), "{reason}");
    }
    for column in ["Ready", "Reason", "Cloud", "Progress", "ID", "Message", "Age"] {
        assert!(page.contains(&format!("| {column} ")), "{column}");
    }
}
