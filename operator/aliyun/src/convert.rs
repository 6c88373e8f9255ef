//! From replies to values of the port. Every foreign text is cut and freed of control characters here.

use std::collections::BTreeMap;

use eci_core::cloud::{
    CacheState, CloudEventView, CloudId, CreatedImageCache, DataCacheState, DataCacheView, ImageCacheView,
    NotAnId, Place, TEXT_LIMIT, Usage,
};
use jiff::Timestamp;

use crate::wire;

/// Most items that are kept of a list inside an object. The API allows 100 images and 20 tags.
pub const ITEM_LIMIT: usize = 256;

/// A foreign text for people: trimmed, without control characters (it may end up in a log line), at most `limit`
/// characters.
pub fn clean(text: &str, limit: usize) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect()
}

/// A point in time, `2026-01-02T03:04:05Z` or without seconds; anything else is `None`.
pub fn time(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok()
}

/// A part in percent from text such as `40%`, clamped to 0 to 100.
pub fn percent(text: &str) -> Option<i32> {
    let number = text.trim().trim_end_matches('%').trim_end();
    number.parse::<i32>().ok().map(|percent| percent.clamp(0, 100))
}

/// An image cache; `None` without a usable ID.
pub fn image_cache(cache: wire::ImageCache) -> Option<ImageCacheView> {
    Some(ImageCacheView {
        id: CloudId::parse(cache.image_cache_id.as_deref()?).ok()?,
        name: text(cache.image_cache_name).unwrap_or_default(),
        state: CacheState::parse(&text(cache.status).unwrap_or_default()),
        progress_percent: cache.progress.as_deref().and_then(percent),
        images: cache.images.iter().take(ITEM_LIMIT).map(|image| clean(image, TEXT_LIMIT)).collect(),
        size_gib: cache.image_cache_size.and_then(|size| i32::try_from(size).ok()),
        snapshot_id: text(cache.snapshot_id),
        flash_snapshot_id: text(cache.flash_snapshot_id),
        container_group_id: text(cache.container_group_id),
        creation_time: cache.creation_time.as_deref().and_then(time),
        expiration_time: cache.expire_date_time.as_deref().and_then(time),
        last_matched_time: cache.last_matched_time.as_deref().and_then(time),
        elimination_strategy: cache.elimination_strategy.map(|word| clean(&word, TEXT_LIMIT)),
        tags: tags(cache.tags.unwrap_or_default()),
        events: cache.events.into_iter().flatten().take(ITEM_LIMIT).map(event).collect(),
    })
}

/// A data cache; `None` without a usable ID.
pub fn data_cache(cache: wire::DataCache) -> Option<DataCacheView> {
    let said = |part: Option<String>| text(part).unwrap_or_default();
    Some(DataCacheView {
        id: CloudId::parse(cache.data_cache_id.as_deref()?).ok()?,
        name: said(cache.name),
        place: Place::new(&said(cache.bucket), &said(cache.path)),
        state: DataCacheState::parse(&said(cache.status)),
        progress_percent: cache.progress.as_deref().and_then(percent),
        size_gib: cache.size.and_then(|size| i32::try_from(size).ok()),
        snapshot_id: text(cache.snapshot_id),
        container_group_id: text(cache.container_group_id),
        creation_time: cache.creation_time.as_deref().and_then(time),
        expiration_time: cache.expire_date_time.as_deref().and_then(time),
        last_matched_time: cache.last_matched_time.as_deref().and_then(time),
        tags: tags(cache.tags.unwrap_or_default()),
        events: cache.events.into_iter().flatten().take(ITEM_LIMIT).map(event).collect(),
    })
}

/// The answer to a create call. Without a usable ID nobody knows what was made.
pub fn created(reply: wire::CreateImageCacheReply) -> Result<CreatedImageCache, NotAnId> {
    Ok(CreatedImageCache {
        id: CloudId::parse(reply.image_cache_id.as_deref().unwrap_or_default())?,
        container_group_id: text(reply.container_group_id),
    })
}

/// Quotas; negative numbers count as unknown.
pub fn usage(reply: &wire::ListUsageReply) -> Usage {
    let known = |count: Option<i64>| count.filter(|count| *count >= 0);
    Usage {
        max_image_caches: known(reply.attributes.max_image_cache_count),
        used_image_caches: known(reply.attributes.used_image_cache_count),
        max_data_caches: known(reply.attributes.max_data_cache_count),
        used_data_caches: known(reply.attributes.used_data_cache_count),
    }
}

fn event(event: wire::Event) -> CloudEventView {
    CloudEventView {
        type_: text(event.type_).unwrap_or_default(),
        reason: text(event.reason).unwrap_or_default(),
        message: text(event.message).unwrap_or_default(),
        count: event.count.map_or(1, |count| i32::try_from(count.max(0)).unwrap_or(i32::MAX)),
        last_time: event.last_timestamp.as_deref().and_then(time),
    }
}

/// Tags are compared with what we sent, so they keep all but stray newlines at the end.
fn tags(tags: Vec<wire::Tag>) -> BTreeMap<String, String> {
    let cut = |text: &str| text.trim_end_matches(['\r', '\n']).chars().take(TEXT_LIMIT).collect();
    tags.into_iter()
        .take(ITEM_LIMIT)
        .filter_map(|tag| Some((cut(&tag.key?), cut(&tag.value.unwrap_or_default()))))
        .collect()
}

fn text(text: Option<String>) -> Option<String> {
    text.map(|text| clean(&text, TEXT_LIMIT)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_of_time_are_read_and_nothing_else() {
        let full: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(time("2026-01-02T03:04:05Z\n"), Some(full));
        assert_eq!(time("2026-01-02T03:04Z"), Some("2026-01-02T03:04:00Z".parse().unwrap()));
        for text in ["", "2026-01-02", "03:04Z", "soon", "2026-13-02T03:04Z", "2026-01-02T03:04:05"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn progress_is_a_clamped_number() {
        assert_eq!(percent("40%"), Some(40));
        assert_eq!(percent(" 100 %\n"), Some(100));
        assert_eq!(percent("7"), Some(7));
        assert_eq!(percent("-3%"), Some(0));
        assert_eq!(percent("4000%"), Some(100));
        assert_eq!(percent("done"), None);
        assert_eq!(percent("99999999999%"), None);
    }

    #[test]
    fn a_documented_reply_becomes_a_view() {
        let reply: wire::DescribeImageCachesReply = wire::read(
            br#"{"RequestId":"R2","NextToken":"","TotalCount":1,"ImageCaches":[{"ImageCacheId":"imc-0001\n",
            "ImageCacheName":"a","Status":"Creating","Progress":"40%","Images":["registry.example.com/app:1"],
            "ImageCacheSize":20,"CreationTime":"2026-01-02T03:04:05Z","ContainerGroupId":"eci-0001",
            "RegionId":"cn-hangzhou","Events":[{"Type":"Normal","Reason":"Pulling","Message":"m","Name":"a.1",
            "Count":1,"FirstTimestamp":"2026-01-02T03:04:05Z","LastTimestamp":"2026-01-02T03:04:06Z"}],
            "Tags":[{"Key":"k","Value":"v"},{"Key":"only"},{"Value":"lost"}]}]}"#,
        )
        .unwrap();
        let view = image_cache(reply.image_caches.unwrap().remove(0)).unwrap();
        let expected = ImageCacheView {
            id: CloudId::parse("imc-0001").unwrap(),
            name: "a".into(),
            state: CacheState::Creating,
            progress_percent: Some(40),
            images: vec!["registry.example.com/app:1".into()],
            size_gib: Some(20),
            snapshot_id: None,
            flash_snapshot_id: None,
            container_group_id: Some("eci-0001".into()),
            creation_time: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            expiration_time: None,
            last_matched_time: None,
            elimination_strategy: None,
            tags: [("k".to_owned(), "v".to_owned()), ("only".to_owned(), String::new())].into(),
            events: vec![CloudEventView {
                type_: "Normal".into(),
                reason: "Pulling".into(),
                message: "m".into(),
                count: 1,
                last_time: Some("2026-01-02T03:04:06Z".parse().unwrap()),
            }],
        };
        assert_eq!(view, expected);
    }

    #[test]
    fn a_documented_data_cache_becomes_a_view_with_stray_newlines_and_slashes_gone() {
        let reply: wire::DescribeDataCachesReply = wire::read(
            br#"{"RequestId":"R4","NextToken":"","TotalCount":1,"DataCaches":[{"DataCacheId":"edc-0001\n",
            "Bucket":"default","Path":"/model/a/","Name":"a","Size":20,"Status":"Available","Progress":"100%",
            "CreationTime":"2026-01-02T03:04Z","ExpireDateTime":"2026-02-02T03:04Z\n",
            "DataSource":{"Type":"URL","Options":"{}"}}]}"#,
        )
        .unwrap();
        let view = data_cache(reply.data_caches.unwrap().remove(0)).unwrap();
        assert_eq!(view.id.as_str(), "edc-0001");
        assert_eq!(view.place, Place { bucket: "default".into(), path: "/model/a".into() });
        assert_eq!((view.state, view.progress_percent), (DataCacheState::Available, Some(100)));
        assert_eq!(view.creation_time, Some("2026-01-02T03:04:00Z".parse().unwrap()));
        assert_eq!(view.expiration_time, Some("2026-02-02T03:04:00Z".parse().unwrap()));
        assert_eq!(data_cache(wire::DataCache::default()), None, "without an ID it is nothing");
    }

    #[test]
    fn an_unknown_state_is_kept_as_a_word() {
        let cache = |status: &str| wire::ImageCache {
            image_cache_id: Some("imc-1".into()),
            status: Some(status.into()),
            ..Default::default()
        };
        assert_eq!(image_cache(cache("Defrosting")).unwrap().state, CacheState::Other("Defrosting".into()));
        assert_eq!(image_cache(cache("Ready\n")).unwrap().state, CacheState::Ready);
    }

    #[test]
    fn a_created_cache_without_a_usable_id_is_an_error() {
        for id in [None, Some(""), Some("imc 1"), Some("imc-1/../2")] {
            let reply = wire::CreateImageCacheReply {
                image_cache_id: id.map(Into::into),
                container_group_id: Some("eci-1".into()),
            };
            assert_eq!(created(reply), Err(NotAnId));
        }
    }

    #[test]
    fn missing_and_senseless_quotas_are_unknown() {
        let reply = wire::read(
            br#"{"Attributes":{"MaxImageCacheCount":500,"UsedImageCacheCount":"3","MaxDataCacheCount":-1,"UsedCpu":16.5}}"#,
        )
        .unwrap();
        let expected =
            Usage { max_image_caches: Some(500), used_image_caches: Some(3), ..Default::default() };
        assert_eq!(usage(&reply), expected);
    }

    proptest! {
        #[test]
        fn cleaned_text_is_bounded_and_has_one_line(text in any::<String>(), limit in 0_usize..64) {
            let cleaned = clean(&text, limit);
            prop_assert!(cleaned.chars().count() <= limit);
            prop_assert!(!cleaned.chars().any(char::is_control));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in any::<String>()) {
            let _ = (time(&text), percent(&text));
        }
    }
}
