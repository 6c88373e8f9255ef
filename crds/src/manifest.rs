//! From what the derive gives to what we publish.

use serde_json::{Map, Value, json};

/// First line of every generated manifest.
const HEADER: &str = "Generated from the types of eci-api by `cargo run -p eci-crds`: do not edit.";

/// Applies everything that the derive cannot say, and sorts all keys, so that the output does not depend on the
/// features of `serde_json` that other crates of the build turn on.
pub(crate) fn finish(mut crd: Value) -> Value {
    if let Some(versions) = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut) {
        for version in versions {
            let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") else { continue };
            clean(schema);
            if let Some(Value::Object(status)) = schema.pointer_mut("/properties/status") {
                // kstatus must not read an object as current that the operator has not seen.
                status.insert("default".to_owned(), json!({ "observedGeneration": -1 }));
            }
        }
    }
    sorted(crd)
}

/// Cleans a schema and all below it:
/// - `nullable` goes: the API server then drops explicit nulls before it stores an object, and our types leave absent
///   fields out;
/// - formats of unsigned integers go: the API server does not know them and warns on each apply;
/// - lines of a paragraph are joined in descriptions.
fn clean(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    schema.remove("nullable");
    schema.remove("title");
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        schema.remove("format");
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = joined(description);
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(clean);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            clean(below);
        }
    }
}

/// Joins the lines of each paragraph.
fn joined(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// Sorts the keys of all maps and writes whole numbers as integers.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Number(number) => whole(&number).map_or(Value::Number(number), |whole| json!(whole)),
        other => other,
    }
}

/// The integer that a float stands for (bounds of integer fields come out as floats); `None` for all else.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64())?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within the exact range of f64")]
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}

type YamlResult = Result<String, serde_saphyr::SerializeError>;

/// The manifest for `kubectl apply` and kustomize.
pub(crate) fn plain(crd: &Value) -> YamlResult {
    Ok(format!("# {HEADER}\n{}", serde_saphyr::to_string(crd)?))
}

/// The manifest as a chart's template. Helm never upgrades what lies in a chart's `crds` folder; a template it does,
/// and the policy keeps the CRD, and with it all objects, when the chart is uninstalled.
pub(crate) fn template(crd: &Value) -> YamlResult {
    let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let spec = serde_saphyr::to_string(&json!({ "spec": crd.get("spec") }))?.replace("{{", r#"{{ "{{" }}"#);
    Ok(format!(
        "{{{{- /* {HEADER} */ -}}}}\n\
         apiVersion: apiextensions.k8s.io/v1\n\
         kind: CustomResourceDefinition\n\
         metadata:\n  \
           name: {name}\n  \
           annotations:\n    \
             helm.sh/resource-policy: keep\n  \
           labels:\n    \
             {{{{- include \"eci-operator-crds.labels\" . | nindent 4 }}}}\n\
         {spec}"
    ))
}

/// The kustomization beside the manifests.
pub(crate) fn kustomization(files: &[&str]) -> String {
    let resources = files.join("\n  - ");
    format!(
        "# {HEADER}\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - {resources}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_of_a_description_survive_the_template_engine() {
        let crd = json!({ "metadata": { "name": "x" }, "spec": { "a": "b {{ c }} d" } });
        let text = template(&crd).unwrap();
        assert!(text.contains(r#"b {{ "{{" }} c }} d"#), "{text}");
    }

    #[test]
    fn a_schema_loses_what_the_api_server_warns_of_and_keeps_the_rest() {
        let mut schema = json!({
            "title": "T", "nullable": true, "description": "one\n two\n\nthree",
            "properties": { "a": { "type": "integer", "format": "uint32", "nullable": true } },
            "additionalProperties": { "nullable": true },
            "items": { "format": "int32" },
        });
        clean(&mut schema);
        assert_eq!(
            schema,
            json!({
                "description": "one two\n\nthree",
                "properties": { "a": { "type": "integer" } },
                "additionalProperties": {},
                "items": { "format": "int32" },
            })
        );
    }

    #[test]
    fn whole_numbers_are_written_as_integers() {
        assert_eq!(sorted(json!({ "b": 1.0, "a": [0.5, 7] })).to_string(), r#"{"a":[0.5,7],"b":1}"#);
    }
}
