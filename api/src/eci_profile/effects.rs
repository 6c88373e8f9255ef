//! Further annotations and labels, checked against the catalogue of annotations.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::LabelValue;
use crate::annotations::{CATALOGUE, Scope, Writer};
use crate::rules;

/// Further annotations and labels of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Effects {
    /// Annotations, at most 50. Not those that other fields of the profile write, nor those whose value is right for
    /// one pod only. Values of the vendor's annotations are checked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50), transform = catalogue_rules)]
    pub annotations: BTreeMap<String, AnnotationValue>,
    /// Labels, at most 50.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(
        validation = rules::label_keys(),
        validation = Rule::new("!self.exists(k, k.startsWith('eci-operator.io/'))").message("labels that start with eci-operator.io/ are the operator's own"),
        validation = Rule::new("['alibabacloud.com/eci', 'eci'].all(k, !(k in self))").message("the labels alibabacloud.com/eci and eci send pods to virtual nodes behind the scheduler's back: set spec.placement")
    )]
    pub labels: BTreeMap<String, LabelValue>,
}

/// The value of an annotation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AnnotationValue(#[schemars(length(max = 4096))] pub String);

/// The rules that follow from the catalogue.
fn catalogue_rules(schema: &mut Schema) {
    let rule = |expression: String, message: String| json!({ "rule": expression, "message": message });
    let none_of = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
        format!("[{}].all(k, !(k in self))", names.join(", "))
    };
    let mut found: Vec<Json> = vec![
        rule(
            "!self.exists(k, k.startsWith('eci-operator.io/'))".to_owned(),
            "annotations that start with eci-operator.io/ are the operator's own".to_owned(),
        ),
        rule(
            "self.all(k, size(k) >= 1 && size(k) <= 317)".to_owned(),
            "a key has 1 to 317 characters".to_owned(),
        ),
    ];
    let mut written: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for annotation in CATALOGUE {
        if let Some(field) = annotation.profile_field {
            written.entry(field).or_default().push(annotation.name);
        }
    }
    for (field, names) in written {
        found.push(rule(
            none_of(&names),
            format!("these are written by {field}, set them there: {}", names.join(", ")),
        ));
    }
    let names = |wanted: &dyn Fn(&crate::annotations::Annotation) -> bool| -> Vec<&'static str> {
        CATALOGUE.iter().filter(|annotation| wanted(annotation)).map(|annotation| annotation.name).collect()
    };
    let single = names(&|annotation| annotation.scope == Scope::OnePod);
    let message = format!(
        "their values are right for one pod only, so write them into that pod: {}",
        single.join(", ")
    );
    found.push(rule(none_of(&single), message));
    let system = names(&|annotation| annotation.writer == Writer::System);
    let message = format!("they are reports of the virtual node, not settings: {}", system.join(", "));
    found.push(rule(none_of(&system), message));

    for annotation in CATALOGUE {
        let name = annotation.name;
        let typed = annotation.profile_field.is_some() || annotation.scope == Scope::OnePod;
        if let Some(expression) = annotation.value.cel(&format!("self['{name}']")).filter(|_| !typed) {
            let message = format!("{name} must be {}", annotation.value);
            found.push(rule(format!("!('{name}' in self) || ({expression})"), message));
        }
    }
    schema.insert("x-kubernetes-validations".to_owned(), Json::Array(found));
}
