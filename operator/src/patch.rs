//! The patches that are sent to the API server, as pure functions.

use eci_api::FINALIZER;
use serde_json::{Map, Value, json};

/// The merge patch that turns `old` into `new`: what is gone becomes null. `None` when nothing differs. Neither may
/// contain nulls, which a merge patch cannot write.
pub fn merge(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            for (key, value) in new {
                let difference = match old.get(key) {
                    Some(before) => merge(before, value),
                    None => Some(value.clone()),
                };
                if let Some(difference) = difference {
                    patch.insert(key.clone(), difference);
                }
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (old, new) => (old != new).then(|| new.clone()),
    }
}

/// The merge patch of the status subresource that the API server refuses (409) when the object is not at
/// `resource_version` any more.
pub fn status(difference: &Value, resource_version: &str) -> Value {
    json!({ "metadata": { "resourceVersion": resource_version }, "status": difference })
}

/// The JSON patch that adds our finalizer to those that are there. It fails (422) when the object is not at
/// `resource_version` any more.
pub fn add_finalizer(finalizers: &[String], resource_version: &str) -> Value {
    let (path, value) = if finalizers.is_empty() {
        ("/metadata/finalizers", json!([FINALIZER]))
    } else {
        ("/metadata/finalizers/-", json!(FINALIZER))
    };
    json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": resource_version },
        { "op": "add", "path": path, "value": value },
    ])
}

/// The JSON patch that removes our finalizer and no other; `None` when it is not there. It fails (422) when the object
/// is not at `resource_version` any more.
pub fn remove_finalizer(finalizers: &[String], resource_version: &str) -> Option<Value> {
    let path = format!("/metadata/finalizers/{}", finalizers.iter().position(|f| f == FINALIZER)?);
    Some(json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": resource_version },
        { "op": "test", "path": path, "value": FINALIZER },
        { "op": "remove", "path": path },
    ]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7396.
    fn apply(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut result = target.as_object().cloned().unwrap_or_default();
        for (key, value) in patch {
            if value.is_null() {
                result.remove(key);
            } else {
                let before = result.get(key).cloned().unwrap_or(Value::Null);
                result.insert(key.clone(), apply(&before, value));
            }
        }
        Value::Object(result)
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            "[ab]{0,2}".prop_map(Value::from),
            prop::collection::vec(0..3, 0..3).prop_map(Value::from),
        ];
        let tree = leaf.prop_recursive(3, 24, 4, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(Value::from_iter)
        });
        prop::collection::btree_map("[abc]", tree, 0..4).prop_map(Value::from_iter)
    }

    proptest! {
        #[test]
        fn a_merge_patch_turns_the_old_into_the_new(old in document(), new in document()) {
            match merge(&old, &new) {
                None => prop_assert_eq!(old, new),
                Some(patch) => {
                    prop_assert_ne!(&old, &new);
                    prop_assert_eq!(apply(&old, &patch), new);
                }
            }
        }
    }

    #[test]
    fn a_removed_field_becomes_null_and_an_equal_one_is_left_out() {
        let old = json!({ "a": 1, "b": { "c": 1, "d": 2 }, "e": [1] });
        let new = json!({ "b": { "c": 1 }, "e": [1, 2] });
        assert_eq!(merge(&old, &new), Some(json!({ "a": null, "b": { "d": null }, "e": [1, 2] })));
        assert_eq!(merge(&new, &new), None);
    }

    #[test]
    fn finalizers_of_others_are_not_touched() {
        assert_eq!(add_finalizer(&[], "7")[1]["value"], json!([FINALIZER]));
        let others = ["a".to_owned(), FINALIZER.to_owned(), "b".to_owned()];
        assert_eq!(add_finalizer(&others[..1], "7")[1]["path"], "/metadata/finalizers/-");
        let removal = remove_finalizer(&others, "7").unwrap();
        assert_eq!(removal[1], json!({ "op": "test", "path": "/metadata/finalizers/1", "value": FINALIZER }));
        assert_eq!(removal[2], json!({ "op": "remove", "path": "/metadata/finalizers/1" }));
        assert_eq!(remove_finalizer(&others[..1], "7"), None);
    }
}
