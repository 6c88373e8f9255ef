//! Mutations of a spec that its schema suggests: each field to each of its edges and beyond.

use anyhow::{Context as _, Result, bail, ensure};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

/// What the schema says of a mutated spec. What only an expression of the schema decides, it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Taken,
    Refused,
    Open,
}

/// A spec with one field changed.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    /// Such as `size: longest`.
    pub(crate) name: String,
    pub(crate) claim: Claim,
    pub(crate) spec: Value,
}

/// A value that a field may get, and how it is called.
type Edge = (String, Claim, Value);

/// Text that breaks what is not careful: direction marks, joiners, quotes, templates, a line's end, NUL, an astral
/// letter.
const HOSTILE: &str = "\u{202e}é\u{200d}\"'`$(x){{ .x }}%0a\r\n\u{0}\u{1f40b}";

/// Every mutation of `base`, which has to have a value for each field of `schema` but those of `left_out`, for which a
/// value is made up.
pub(crate) fn of(schema: &Value, base: &Value, left_out: &[&str]) -> Result<Vec<Mutation>> {
    let mut all = Vec::new();
    walk(schema, base, "", left_out, &mut |name, claim, spec| {
        all.push(Mutation { name, claim, spec });
    })?;
    Ok(all)
}

type Sink<'a> = dyn FnMut(String, Claim, Value) + 'a;

/// Puts each mutation of `value`, which `schema` describes, into `sink`.
fn walk(schema: &Value, value: &Value, path: &str, left_out: &[&str], sink: &mut Sink<'_>) -> Result<()> {
    for (name, claim, edge) in edges(schema, value)? {
        let claim = judged(schema, claim);
        sink(format!("{path}: {name}"), claim, edge);
    }
    if let Some(properties) = schema["properties"].as_object() {
        let fields = value.as_object().with_context(|| format!("{path} is no object"))?;
        let required = |name: &str| schema["required"].as_array().into_iter().flatten().any(|r| r == name);
        for (name, schema_of) in properties {
            let path = format!("{path}.{name}").trim_start_matches('.').to_owned();
            let with = |new: Option<Value>| {
                let mut fields = fields.clone();
                match new {
                    Some(new) => fields.insert(name.clone(), new),
                    None => fields.remove(name),
                };
                Value::Object(fields)
            };
            let made_up;
            let present = if let Some(present) = fields.get(name) {
                present
            } else {
                ensure!(left_out.contains(&path.as_str()), "the base has no {path}");
                made_up = example(schema_of).with_context(|| path.clone())?;
                sink(
                    format!("{path}: present"),
                    judged(schema_of, Claim::Taken),
                    with(Some(made_up.clone())),
                );
                &made_up
            };
            let absent = if required(name) { Claim::Refused } else { Claim::Taken };
            sink(format!("{path}: absent"), judged(schema, absent), with(None));
            sink(format!("{path}: null"), judged(schema, absent), with(Some(Value::Null)));
            walk(schema_of, present, &path, left_out, &mut |name, claim, edge| {
                sink(name, judged(schema, claim), with(Some(edge)));
            })?;
        }
    }
    if let (Some(items), Some(first)) = (schema.get("items"), value.as_array().and_then(|v| v.first())) {
        let rest = &value.as_array().context("an array")?[1..];
        walk(items, first, &format!("{path}[]"), left_out, &mut |name, claim, edge| {
            let list = std::iter::once(edge).chain(rest.iter().cloned()).collect();
            sink(name, judged(schema, claim), Value::Array(list));
        })?;
    }
    Ok(())
}

/// A schema with expressions may refuse what its words allow.
fn judged(schema: &Value, claim: Claim) -> Claim {
    match claim {
        Claim::Taken if schema.get("x-kubernetes-validations").is_some() => Claim::Open,
        claim => claim,
    }
}

/// The edges of one value.
fn edges(schema: &Value, value: &Value) -> Result<Vec<Edge>> {
    let edge = |name: &str, claim, value| (name.to_owned(), claim, value);
    let mut edges = vec![edge("of another type", Claim::Refused, json!([[1.5]]))];
    match schema["type"].as_str() {
        Some("string") => {
            if let Some(words) = schema["enum"].as_array() {
                edges.extend(words.iter().map(|word| (format!("{word}"), Claim::Taken, word.clone())));
                edges.push(edge("an unknown word", Claim::Refused, json!("Unknown")));
                edges.push(edge("empty", Claim::Refused, json!("")));
            } else {
                edges.extend(texts(schema, value.as_str().context("a text")?));
            }
        }
        Some("integer") => {
            let bound =
                |name: &str| schema[name].as_i64().with_context(|| format!("an integer without {name}"));
            let (least, most) = (bound("minimum")?, bound("maximum")?);
            edges.push(edge("least", Claim::Taken, json!(least)));
            edges.push(edge("most", Claim::Taken, json!(most)));
            edges.push(edge("less than least", Claim::Refused, json!(least - 1)));
            edges.push(edge("more than most", Claim::Refused, json!(most + 1)));
            edges.push(edge("the least that there is", Claim::Refused, json!(i32::MIN)));
        }
        Some("boolean") => {
            edges.extend([true, false].map(|value| (value.to_string(), Claim::Taken, json!(value))));
        }
        Some("array") => edges.extend(lists(schema, value.as_array().context("a list")?)?),
        Some("object") if schema.get("additionalProperties").is_some() => {
            edges.extend(maps(schema, value.as_object().context("a map")?)?);
        }
        Some("object") => {
            let mut fields = value.as_object().context("an object")?.clone();
            let empty = if schema.get("required").is_some() { Claim::Refused } else { Claim::Taken };
            edges.push(edge("empty", empty, json!({})));
            fields.insert("fieldThatIsNotThere".into(), json!(1));
            edges.push(edge("with an unknown field", Claim::Refused, Value::Object(fields)));
        }
        other => bail!("a schema of type {other:?}"),
    }
    Ok(edges)
}

fn texts(schema: &Value, example: &str) -> Vec<Edge> {
    let length = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
    let (least, most) = (length("minLength").unwrap_or(0), length("maxLength"));
    let free = schema.get("pattern").is_none();
    let cut = |n: usize| json!(example.chars().take(n).collect::<String>());
    let padded = |n: usize| json!(example.chars().chain("a".repeat(n).chars()).take(n).collect::<String>());
    let mut edges = Vec::new();
    let mut edge = |name: &str, claim, value| edges.push((name.to_owned(), claim, value));
    if least > 0 {
        edge("shortest", Claim::Taken, cut(least));
        edge("shorter than shortest", Claim::Refused, cut(least - 1));
    }
    edge(
        "empty",
        if least > 0 {
            Claim::Refused
        } else if free {
            Claim::Taken
        } else {
            Claim::Open
        },
        json!(""),
    );
    if let Some(most) = most {
        edge("longest", Claim::Taken, padded(most));
        edge("longer than longest", Claim::Refused, padded(most + 1));
    }
    edge("hostile", if free { Claim::Taken } else { Claim::Refused }, json!(HOSTILE));
    edge("of spaces", if free { Claim::Taken } else { Claim::Refused }, json!("     "));
    edges
}

fn lists(schema: &Value, example: &[Value]) -> Result<Vec<Edge>> {
    let first = example.first().context("a list of the base is empty")?;
    let size = |name: &str| schema[name].as_u64();
    let (least, most) = (size("minItems").unwrap_or(0), size("maxItems").context("a list without maxItems")?);
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let numbered = |n: u64| match first {
        Value::String(text) => json!(format!("{text}{n}")),
        other => {
            let mut item = other.clone();
            for key in &keys {
                item[*key] = json!(format!("{}{n}", other[*key].as_str().unwrap_or_default()));
            }
            item
        }
    };
    let of = |count: u64| Value::Array((0..count).map(numbered).collect());
    let unique = schema["x-kubernetes-list-type"].as_str().is_some_and(|kind| kind != "atomic");
    let edge = |name: &str, claim, value| (name.to_owned(), claim, value);
    Ok(vec![
        edge("empty", if least > 0 { Claim::Refused } else { Claim::Taken }, json!([])),
        edge("of one", Claim::Taken, json!([first])),
        edge("of most", Claim::Taken, of(most)),
        edge("of more than most", Claim::Refused, of(most + 1)),
        edge("with one twice", if unique { Claim::Refused } else { Claim::Open }, json!([first, first])),
    ])
}

fn maps(schema: &Value, example: &Map<String, Value>) -> Result<Vec<Edge>> {
    let most = schema["maxProperties"].as_u64().context("a map without maxProperties")?;
    let value = example.values().next().context("a map of the base is empty")?;
    let of = |count: u64| Value::Object((0..count).map(|n| (format!("key-{n}"), value.clone())).collect());
    let with = |key: &str, value: Value| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    let mut edges = vec![
        ("empty".to_owned(), Claim::Taken, json!({})),
        ("of most".to_owned(), Claim::Taken, of(most)),
        ("of more than most".to_owned(), Claim::Refused, of(most + 1)),
        ("with an empty key".to_owned(), Claim::Open, with("", value.clone())),
        ("with a long key".to_owned(), Claim::Open, with(&"k".repeat(129), value.clone())),
        ("with a hostile key".to_owned(), Claim::Taken, with(HOSTILE, value.clone())),
    ];
    let values = texts(&schema["additionalProperties"], value.as_str().context("a map of texts")?);
    let values =
        values.into_iter().map(|(name, claim, text)| (format!("value {name}"), claim, with("key", text)));
    edges.extend(values);
    Ok(edges)
}

/// Some value that the words of a schema allow, always the same.
fn example(schema: &Value) -> Result<Value> {
    Ok(match schema["type"].as_str() {
        Some("string") if schema.get("enum").is_some() => schema["enum"][0].clone(),
        Some("string") => {
            let pattern = schema["pattern"].as_str().unwrap_or("[a-z]{8}");
            let least = schema["minLength"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            // The generator knows no anchors.
            let strategy = proptest::string::string_regex(pattern.trim_matches(['^', '$']))?;
            let mut runner = TestRunner::deterministic();
            let texts = std::iter::repeat_with(|| strategy.new_tree(&mut runner).map(|tree| tree.current()));
            let text = texts.take(200).flatten().find(|text| text.is_ascii() && text.len() >= least.max(1));
            json!(text.with_context(|| format!("no text fits {pattern}"))?)
        }
        Some("integer") => schema["minimum"].clone(),
        Some("boolean") => json!(true),
        Some("array") => json!([example(&schema["items"])?]),
        Some("object") => {
            let properties = schema["properties"].as_object().context("an object without fields")?;
            let fields = properties.iter().map(|(name, schema)| Ok((name.clone(), example(schema)?)));
            Value::Object(fields.collect::<Result<_>>()?)
        }
        other => bail!("a schema of type {other:?}"),
    })
}
