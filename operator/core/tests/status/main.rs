//! Between the API's form and the core's: what a spec amounts to, and a status that remembers what was decided.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod desired;
mod generated;
mod round_trip;
mod shown;

use eci_api::image_cache::ImageCacheRequest;
use eci_core::cloud::{CacheState, CloudId, ImageCacheView};
use eci_core::cloud_resource::{Owned, Record};
use jiff::Timestamp;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A record whose resource is imc-1.
fn owning() -> Record<ImageCacheRequest> {
    Record {
        owner_uid: Some("uid-1".into()),
        last_attempt: 1,
        current: Some(Owned {
            id: CloudId::parse("imc-1").unwrap(),
            attempt: 1,
            request: ImageCacheRequest::default(),
            secrets: Vec::new(),
            generation: 1,
            updating: false,
            broken: false,
        }),
        ..Record::default()
    }
}

fn view(id: &str, state: &str) -> ImageCacheView {
    ImageCacheView {
        id: CloudId::parse(id).unwrap(),
        name: String::new(),
        state: CacheState::parse(state),
        progress_percent: None,
        images: Vec::new(),
        size_gib: None,
        snapshot_id: None,
        flash_snapshot_id: None,
        container_group_id: None,
        creation_time: None,
        expiration_time: None,
        last_matched_time: None,
        elimination_strategy: None,
        tags: std::collections::BTreeMap::new(),
        events: Vec::new(),
    }
}
