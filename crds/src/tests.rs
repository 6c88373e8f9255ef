//! The generated files are fresh, and the schemas keep the conventions of the API.

use std::fs;

use serde_json::Value;

use crate::{generate, kinds, repository, write};

/// The content of one generated file.
fn content(path: &str) -> String {
    generate().unwrap().into_iter().find(|file| file.path == path).unwrap().content
}

/// Calls `check` with the name of each kind, its CRD as published, and the schema of its only version.
fn for_each_kind(mut check: impl FnMut(&str, &Value, &Value)) {
    for kind in kinds() {
        let crd: Value = serde_saphyr::from_str(&content(kind.paths[0])).unwrap();
        check(kind.name, &crd, &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    }
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
    for_each_kind(|kind, _, schema| {
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
        assert!(seen > 80, "{kind}: the walk saw only {seen} fields");
        assert!(silent.is_empty(), "{kind}: no description: {silent:#?}");
    });
}

#[test]
fn the_schemas_have_nothing_that_the_api_server_warns_of_and_no_nulls() {
    for_each_kind(|kind, _, schema| {
        let mut bad = Vec::new();
        walk("", schema, &mut |path, field| {
            let format = field["format"].as_str();
            if format.is_some_and(|format| !["int32", "int64", "date-time"].contains(&format))
                || field.get("nullable").is_some()
                || !field["type"].is_string()
            {
                bad.push(format!("{path}: {field}"));
            }
        });
        assert!(bad.is_empty(), "{kind}: {bad:#?}");
    });
}

#[test]
fn all_that_users_write_is_bounded() {
    for_each_kind(|kind, _, schema| {
        let mut bad = Vec::new();
        let mut check = |path: &str, field: &Value| {
            let has = |key: &str| field.get(key).is_some();
            let bounded = match field["type"].as_str() {
                // A time is judged by its format.
                Some("string") => has("maxLength") || has("enum") || has("format"),
                Some("array") => has("maxItems"),
                Some("object") if has("additionalProperties") => has("maxProperties"),
                Some("integer") => has("minimum") && has("maximum"),
                _ => true,
            };
            if !bounded {
                bad.push(path.to_owned());
            }
        };
        walk("spec", &schema["properties"]["spec"], &mut |path, field| {
            check(path, field);
            for below in ["items", "additionalProperties"] {
                if field[below].is_object() {
                    check(&format!("{path}[]"), &field[below]);
                }
            }
        });
        assert!(bad.is_empty(), "{kind}: no bound: {bad:#?}");
    });
}

#[test]
fn every_rule_has_a_message_for_people() {
    for_each_kind(|kind, _, schema| {
        let mut seen = 0;
        let mut check = |path: &str, field: &Value| {
            for rule in field["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap_or_default();
                assert!(message.len() >= 20, "{kind}{path}: {rule}");
                seen += 1;
            }
        };
        check("", schema);
        walk("", schema, &mut |path, field| {
            check(path, field);
            check(path, &field["items"]);
            check(path, &field["additionalProperties"]);
        });
        assert!(seen >= 10, "{kind}: only {seen} rules");
    });
}

#[test]
fn initialisms_are_upper_case_and_names_camel_case() {
    for_each_kind(|kind, _, schema| {
        let mut bad = Vec::new();
        walk("", schema, &mut |path, _| {
            let name = path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
            let wrong = ["Id", "Ids", "Url", "Uid", "Arn", "Tls", "Http", "Ttl"].iter().any(|word| {
                // `Identity` is a word of its own; an initialism ends the name or is followed by a capital.
                name.match_indices(word)
                    .any(|(at, _)| name[at + word.len()..].chars().next().is_none_or(char::is_uppercase))
            });
            if wrong || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                bad.push(path.to_owned());
            }
        });
        assert!(bad.is_empty(), "{kind}: {bad:#?}");
    });
}

#[test]
fn an_object_that_nobody_has_seen_has_observed_generation_minus_one() {
    for_each_kind(|kind, crd, schema| {
        let status = &schema["properties"]["status"];
        assert_eq!(status["default"]["observedGeneration"], -1, "{kind}");
        assert!(status["properties"]["observedGeneration"].get("minimum").is_none(), "{kind}");
        assert!(crd["spec"]["versions"][0]["subresources"]["status"].is_object(), "{kind}");
    });
}

#[test]
fn the_chart_and_the_plain_manifest_say_the_same() {
    for kind in kinds() {
        let [plain, template, _] = kind.paths;
        let crd: Value = serde_saphyr::from_str(&content(plain)).unwrap();
        let chart = content(template);
        let (_, spec) = chart.split_once("\nspec:\n").unwrap();
        let spec: Value =
            serde_saphyr::from_str(&format!("spec:\n{}", spec.replace(r#"{{ "{{" }}"#, "{{"))).unwrap();
        assert_eq!(spec["spec"], crd["spec"]);
        assert!(chart.contains("helm.sh/resource-policy: keep"));
        let file = plain.trim_start_matches("crds/");
        assert!(content("crds/kustomization.yaml").contains(&format!("\n  - {file}\n")), "{file}");
    }
}

#[test]
fn the_reference_lists_every_field_column_and_reason() {
    for kind in kinds() {
        let [plain, _, page] = kind.paths;
        let (crd, page): (Value, _) = (serde_saphyr::from_str(&content(plain)).unwrap(), content(page));
        let version = &crd["spec"]["versions"][0];
        walk("", &version["schema"]["openAPIV3Schema"], &mut |path, _| {
            let path = path.trim_start_matches('.');
            assert!(path == "spec" || path == "status" || page.contains(&format!("| `{path}` |")), "{path}");
        });
        for (reason, _) in &kind.reasons {
            assert!(page.contains(&format!("| `{reason}` | ")), "{reason}");
        }
        let columns = version["additionalPrinterColumns"].as_array().unwrap();
        assert!(columns.len() >= 6);
        for column in columns.iter().filter_map(|column| column["name"].as_str()) {
            assert!(page.contains(&format!("| {column} ")), "{column}");
        }
    }
}
