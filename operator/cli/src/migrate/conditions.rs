//! Label selectors, which say which pods are meant.

use serde_json::{Value, json};

use super::report::{Fields, Ledger, Outcome};
use super::syntax;
use crate::manifest::cut;

/// Most labels, and most expressions, of a selector of ours.
const MAX_CLAUSES: usize = 20;
/// Most values of an expression.
const MAX_VALUES: usize = 50;
/// A selector whose condition cannot be read must not become one that selects more.
pub(super) struct Unreadable;

/// A label selector. `flat`: labels may stand in it directly.
pub(super) fn selection(
    given: Value,
    path: &str,
    flat: bool,
    ledger: &mut Ledger,
) -> Result<Option<Value>, Unreadable> {
    let before = broken(ledger);
    let mut fields = Fields::of(Some(given), path, ledger);
    let mut ours = json!({});
    let mut labels = Fields::of(fields.take("matchLabels"), &fields.path("matchLabels"), ledger).rest();
    let expressions = fields.take("matchExpressions");
    if flat && labels.is_empty() && expressions.is_none() {
        labels = fields.rest();
        if !labels.is_empty() {
            ledger.changed(path, "spec.selector", "labels without matchLabels are read as such");
        }
    } else {
        fields.finish(ledger);
    }
    if labels.len() > MAX_CLAUSES {
        ledger.broken(path, format!("has {} labels; a profile has at most {MAX_CLAUSES}", labels.len()));
    }
    for (key, path, value) in labels {
        match value.as_str().filter(|value| syntax::key(&key) && syntax::label_value(value)) {
            Some(value) => {
                ours["matchLabels"][key] = json!(value);
                ledger.kept(&path, "spec.selector");
            }
            None => ledger.broken(&path, format!("is no label: {}", cut(&value.to_string()))),
        }
    }
    match expressions {
        None => {}
        Some(Value::Array(list)) if list.len() <= MAX_CLAUSES => {
            for (number, expression) in list.into_iter().enumerate() {
                let path = format!("{path}.matchExpressions[{number}]");
                if let Some(expression) = clause(expression, &path, ledger) {
                    if let Some(all) = ours["matchExpressions"].as_array_mut() {
                        all.push(expression);
                    } else {
                        ours["matchExpressions"] = json!([expression]);
                    }
                    if flat {
                        ledger.kept(&path, "spec.selector");
                    } else {
                        let note = "the vendor documents matchLabels only, and may have passed over it; it counts here";
                        ledger.changed(&path, "spec.selector", note);
                    }
                }
            }
        }
        Some(_) => ledger.broken(
            &format!("{path}.matchExpressions"),
            format!("must be a list of at most {MAX_CLAUSES} expressions"),
        ),
    }
    if broken(ledger) > before {
        return Err(Unreadable);
    }
    Ok(Some(ours).filter(|ours| ours.as_object().is_some_and(|map| !map.is_empty())))
}

fn broken(ledger: &Ledger) -> usize {
    ledger.lines.iter().filter(|line| line.outcome == Outcome::Broken).count()
}

fn clause(given: Value, path: &str, ledger: &mut Ledger) -> Option<Value> {
    let mut fields = Fields::of(Some(given), path, ledger);
    let key = fields.text("key", ledger).filter(|key| syntax::key(key));
    let operator = fields.text("operator", ledger);
    let values = fields.take("values").unwrap_or_else(|| json!([]));
    fields.finish(ledger);
    let values: Option<Vec<String>> = values.as_array().and_then(|values| {
        let text = |value: &Value| value.as_str().filter(|v| syntax::label_value(v)).map(str::to_owned);
        values.iter().map(text).collect()
    });
    let (Some(key), Some(operator), Some(values)) = (key, operator, values) else {
        ledger.broken(path, "must have a key, an operator, and values that labels can have");
        return None;
    };
    let wants = match operator.as_str() {
        "In" | "NotIn" => true,
        "Exists" | "DoesNotExist" => false,
        other => {
            ledger
                .broken(path, format!("{:?} is no operator: In, NotIn, Exists or DoesNotExist", cut(other)));
            return None;
        }
    };
    if wants == values.is_empty() || values.len() > MAX_VALUES {
        ledger.broken(path, "In and NotIn need 1 to 50 values, Exists and DoesNotExist have none");
        return None;
    }
    let mut ours = json!({ "key": key, "operator": operator });
    if wants {
        ours["values"] = json!(values);
    }
    Some(ours)
}
