//! The replies of the API, field for field as documented, every field optional.
//!
//! The readers never fail because of one field: unknown fields are ignored, wrong types count as absent.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lenient;

/// The reply is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object")]
pub struct NotAReply;

/// Reads a reply.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, NotAReply> {
    // By way of a value: a doubled key is then no error, and an array is not taken for an object.
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => serde_json::from_value(value).map_err(|_| NotAReply),
        _ => Err(NotAReply),
    }
}

/// What every reply has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AnyReply {
    /// ID of the request.
    #[serde(deserialize_with = "lenient::text")]
    pub request_id: Option<String>,
}

/// Body of an error.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ErrorReply {
    /// ID of the request.
    #[serde(deserialize_with = "lenient::text")]
    pub request_id: Option<String>,
    /// The vendor's code.
    #[serde(deserialize_with = "lenient::text")]
    pub code: Option<String>,
    /// Text for people.
    #[serde(deserialize_with = "lenient::text")]
    pub message: Option<String>,
}

/// Reply to CreateImageCache.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateImageCacheReply {
    /// `imc-…`
    #[serde(deserialize_with = "lenient::text")]
    pub image_cache_id: Option<String>,
    /// `eci-…`, the instance that builds it.
    #[serde(deserialize_with = "lenient::text")]
    pub container_group_id: Option<String>,
}

/// Reply to DescribeImageCaches.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeImageCachesReply {
    /// Empty or missing at the end.
    #[serde(deserialize_with = "lenient::text")]
    pub next_token: Option<String>,
    /// Objects on all pages.
    #[serde(deserialize_with = "lenient::integer")]
    pub total_count: Option<i64>,
    /// The page; `None` when the field is missing or no list.
    #[serde(deserialize_with = "lenient::objects")]
    pub image_caches: Option<Vec<ImageCache>>,
}

/// An image cache.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageCache {
    /// `imc-…`
    #[serde(deserialize_with = "lenient::text")]
    pub image_cache_id: Option<String>,
    /// Display name.
    #[serde(deserialize_with = "lenient::text")]
    pub image_cache_name: Option<String>,
    /// Preparing, Creating, Ready, Failed, Updating, UpdateFailed.
    #[serde(deserialize_with = "lenient::text")]
    pub status: Option<String>,
    /// Text such as `40%`.
    #[serde(deserialize_with = "lenient::text")]
    pub progress: Option<String>,
    /// References.
    #[serde(deserialize_with = "lenient::texts")]
    pub images: Vec<String>,
    /// GiB.
    #[serde(deserialize_with = "lenient::integer")]
    pub image_cache_size: Option<i64>,
    /// UTC.
    #[serde(deserialize_with = "lenient::text")]
    pub creation_time: Option<String>,
    /// UTC; probably absent when the cache is kept for ever.
    #[serde(deserialize_with = "lenient::text")]
    pub expire_date_time: Option<String>,
    /// UTC.
    #[serde(deserialize_with = "lenient::text")]
    pub last_matched_time: Option<String>,
    /// The instance that builds it.
    #[serde(deserialize_with = "lenient::text")]
    pub container_group_id: Option<String>,
    /// Standard snapshot.
    #[serde(deserialize_with = "lenient::text")]
    pub snapshot_id: Option<String>,
    /// Quick snapshot.
    #[serde(deserialize_with = "lenient::text")]
    pub flash_snapshot_id: Option<String>,
    /// Empty or `LRU`.
    #[serde(deserialize_with = "lenient::text")]
    pub elimination_strategy: Option<String>,
    /// Tags.
    #[serde(deserialize_with = "lenient::objects")]
    pub tags: Option<Vec<Tag>>,
    /// Events.
    #[serde(deserialize_with = "lenient::objects")]
    pub events: Option<Vec<Event>>,
}

/// Reply to CreateDataCache.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateDataCacheReply {
    /// `edc-…`
    #[serde(deserialize_with = "lenient::text")]
    pub data_cache_id: Option<String>,
}

/// Reply to DescribeDataCaches.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeDataCachesReply {
    /// Empty or missing at the end.
    #[serde(deserialize_with = "lenient::text")]
    pub next_token: Option<String>,
    /// Objects on all pages.
    #[serde(deserialize_with = "lenient::integer")]
    pub total_count: Option<i64>,
    /// The page; `None` when the field is missing or no list.
    #[serde(deserialize_with = "lenient::objects")]
    pub data_caches: Option<Vec<DataCache>>,
}

/// A data cache. Its source is not read: see the view of the port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DataCache {
    /// `edc-…`
    #[serde(deserialize_with = "lenient::text")]
    pub data_cache_id: Option<String>,
    /// Display name.
    #[serde(deserialize_with = "lenient::text")]
    pub name: Option<String>,
    /// Bucket.
    #[serde(deserialize_with = "lenient::text")]
    pub bucket: Option<String>,
    /// Path.
    #[serde(deserialize_with = "lenient::text")]
    pub path: Option<String>,
    /// Loading, Creating, Available, Failed, Updating, UpdateFailed.
    #[serde(deserialize_with = "lenient::text")]
    pub status: Option<String>,
    /// Text such as `40%`.
    #[serde(deserialize_with = "lenient::text")]
    pub progress: Option<String>,
    /// GiB.
    #[serde(deserialize_with = "lenient::integer")]
    pub size: Option<i64>,
    /// UTC; seconds may be missing.
    #[serde(deserialize_with = "lenient::text")]
    pub creation_time: Option<String>,
    /// UTC; probably absent when the cache is kept for ever.
    #[serde(deserialize_with = "lenient::text")]
    pub expire_date_time: Option<String>,
    /// UTC.
    #[serde(deserialize_with = "lenient::text")]
    pub last_matched_time: Option<String>,
    /// The instance that builds it.
    #[serde(deserialize_with = "lenient::text")]
    pub container_group_id: Option<String>,
    /// Standard snapshot.
    #[serde(deserialize_with = "lenient::text")]
    pub snapshot_id: Option<String>,
    /// Tags.
    #[serde(deserialize_with = "lenient::objects")]
    pub tags: Option<Vec<Tag>>,
    /// Events.
    #[serde(deserialize_with = "lenient::objects")]
    pub events: Option<Vec<Event>>,
}

/// A tag.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tag {
    /// Key.
    #[serde(deserialize_with = "lenient::text")]
    pub key: Option<String>,
    /// Value.
    #[serde(deserialize_with = "lenient::text")]
    pub value: Option<String>,
}

/// An event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Event {
    /// Normal or Warning.
    #[serde(deserialize_with = "lenient::text", rename = "Type")]
    pub type_: Option<String>,
    /// Reason.
    #[serde(deserialize_with = "lenient::text")]
    pub reason: Option<String>,
    /// Message.
    #[serde(deserialize_with = "lenient::text")]
    pub message: Option<String>,
    /// How often.
    #[serde(deserialize_with = "lenient::integer")]
    pub count: Option<i64>,
    /// UTC.
    #[serde(deserialize_with = "lenient::text")]
    pub last_timestamp: Option<String>,
}

/// Reply to ListUsage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListUsageReply {
    /// The numbers.
    #[serde(deserialize_with = "lenient::object")]
    pub attributes: Attributes,
}

/// Quotas and their use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Attributes {
    /// Most image caches made by users.
    #[serde(deserialize_with = "lenient::integer")]
    pub max_image_cache_count: Option<i64>,
    /// Image caches made by users.
    #[serde(deserialize_with = "lenient::integer")]
    pub used_image_cache_count: Option<i64>,
    /// Most data caches.
    #[serde(deserialize_with = "lenient::integer")]
    pub max_data_cache_count: Option<i64>,
    /// Data caches.
    #[serde(deserialize_with = "lenient::integer")]
    pub used_data_cache_count: Option<i64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_may_be_text_and_text_may_be_numbers() {
        let reply: DescribeImageCachesReply = read(
            br#"{"TotalCount":"2","NextToken":7,"ImageCaches":[{"ImageCacheSize":"25","Progress":40},{"ImageCacheSize":25.9}]}"#,
        )
        .unwrap();
        assert_eq!(reply.total_count, Some(2));
        assert_eq!(reply.next_token.as_deref(), Some("7"));
        let caches = reply.image_caches.unwrap();
        assert_eq!(caches[0].image_cache_size, Some(25));
        assert_eq!(caches[0].progress.as_deref(), Some("40"));
        assert_eq!(caches[1].image_cache_size, Some(25));
    }

    #[test]
    fn a_field_of_a_wrong_type_is_absent_and_spoils_nothing_else() {
        let reply: DescribeImageCachesReply = read(
            br#"{"New":{},"ImageCaches":[3,{"Tags":"x","Events":[null],"Images":{"a":1},"Status":[],"ImageCacheId":"imc-1"}]}"#,
        )
        .unwrap();
        let caches = reply.image_caches.unwrap();
        assert_eq!(caches.len(), 2);
        assert_eq!(caches[0].image_cache_id, None);
        assert_eq!(caches[1].image_cache_id.as_deref(), Some("imc-1"));
        assert!(caches[1].tags.is_none() && caches[1].images.is_empty() && caches[1].status.is_none());
    }

    #[test]
    fn a_doubled_key_is_no_error() {
        let reply: AnyReply = read(br#"{"RequestId":"a","RequestId":"b"}"#).unwrap();
        assert_eq!(reply.request_id.as_deref(), Some("b"));
    }

    #[test]
    fn what_is_no_json_object_is_no_reply() {
        for body in ["", "null", "[]", "[[],[]]", "\"x\"", "1", "{", "<html>", "{\"RequestId\":\"cut"] {
            assert_eq!(read::<AnyReply>(body.as_bytes()).unwrap_err(), NotAReply, "{body}");
        }
    }

    /// JSON with the names of the API and values of any type.
    fn arbitrary_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(Value::from("2026-01-02T03:04Z\n")),
        ];
        let names = prop::sample::select(vec![
            "ImageCaches",
            "ImageCacheId",
            "Images",
            "Tags",
            "Key",
            "Value",
            "Events",
            "Count",
            "Progress",
            "Status",
            "CreationTime",
            "TotalCount",
            "Attributes",
            "MaxImageCacheCount",
            "Code",
            "RequestId",
        ]);
        leaf.prop_recursive(4, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..8).prop_map(|pairs| pairs
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_can_be_read_and_converted(value in arbitrary_json()) {
            let body = serde_json::to_vec(&value).unwrap();
            if let Ok(reply) = read::<DescribeImageCachesReply>(&body) {
                prop_assert!(value.is_object());
                for cache in reply.image_caches.into_iter().flatten() {
                    if let Some(view) = crate::convert::image_cache(cache) {
                        prop_assert!(view.name.chars().count() <= eci_core::cloud::TEXT_LIMIT);
                        prop_assert!(view.progress_percent.is_none_or(|p| (0..=100).contains(&p)));
                    }
                }
            } else {
                prop_assert!(!value.is_object());
            }
            prop_assert_eq!(read::<ListUsageReply>(&body).is_ok(), value.is_object());
            prop_assert_eq!(read::<ErrorReply>(&body).is_ok(), value.is_object());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = read::<DescribeImageCachesReply>(&body);
            let _ = read::<ErrorReply>(&body);
        }
    }
}
