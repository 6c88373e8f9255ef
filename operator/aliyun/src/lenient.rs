//! Readers for JSON that does not keep its documented types: numbers as text, text as numbers, `null` for anything.
//! A value of a wrong type counts as absent; nothing fails because of one field.

use serde::Deserialize as _;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

/// Text, also from a number or a boolean.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Value::deserialize(from).map(value_text)
}

/// A whole number, also from text or from a fraction, which is cut.
pub(crate) fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Number(number) => number.as_i64().or_else(|| {
            let whole = format!("{:.0}", number.as_f64()?.trunc());
            whole.parse().ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// A list of texts.
pub(crate) fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(items) => items.into_iter().filter_map(value_text).collect(),
        _ => Vec::new(),
    })
}

/// An object.
pub(crate) fn object<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Value::deserialize(from).map(value_object)
}

/// A list of objects, `None` when there is no list. An item that is no object becomes an empty one, so that it is
/// counted.
pub(crate) fn objects<'de, D, T>(from: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(match Value::deserialize(from)? {
        Value::Array(items) => Some(items.into_iter().map(value_object).collect()),
        _ => None,
    })
}

fn value_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn value_object<T: DeserializeOwned + Default>(value: Value) -> T {
    // serde would read an array as a struct, field by field.
    if value.is_object() { serde_json::from_value(value).unwrap_or_default() } else { T::default() }
}
