//! Lists: filters, pages that stay whole while the world changes, and views that lag behind it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sha2::Digest as _;

use super::call::{Filter, Reply, TagFilter};
use super::image_cache::{ImageCache, Phase};
use super::settings::Lag;
use super::{ApiError, World};

/// Most objects on a page, and the number when none is asked for.
pub(crate) const PAGE_SIZE: usize = 20;

impl World {
    pub(super) fn describe(&mut self, filter: &Filter, extra_lag_ms: u64) -> Result<Reply, ApiError> {
        let kind = digest(filter);
        let before = filter.next_token.as_deref().map(|token| cursor(token, kind)).transpose()?;
        let limit = match filter.limit {
            None => PAGE_SIZE,
            Some(limit) => usize::try_from(limit).unwrap_or_default().clamp(1, PAGE_SIZE),
        };
        let lag = if filter.id.is_some() { self.settings.lookup_lag } else { self.settings.list_lag };
        let seen_at = self.seen_at(lag, extra_lag_ms);

        let fitting: Vec<(u64, &ImageCache)> = self
            .caches
            .iter()
            .rev()
            .filter(|(_, cache)| is_seen(cache, seen_at) && fits(cache, filter))
            .map(|(number, cache)| (*number, cache))
            .collect();
        let total = fitting.len();
        if !filter.match_images.is_empty() {
            return Ok(Reply::ImageCaches {
                items: self.best(fitting, filter, limit),
                next_token: None,
                total,
            });
        }
        let mut rest = fitting.into_iter().filter(|(number, _)| before.is_none_or(|before| *number < before));
        let page: Vec<(u64, &ImageCache)> = rest.by_ref().take(limit).collect();
        let next_token = match page.last() {
            Some((last, _)) if rest.next().is_some() => Some(token(*last, kind)),
            _ => None,
        };
        let items = page.into_iter().map(|(_, cache)| cache.view(self.now, &self.settings)).collect();
        Ok(Reply::ImageCaches { items, next_token, total })
    }

    /// The best matches first: by images covered, then size, then age, as automatic matching is documented.
    fn best(
        &self,
        mut fitting: Vec<(u64, &ImageCache)>,
        filter: &Filter,
        limit: usize,
    ) -> Vec<super::image_cache::View> {
        let covered = |cache: &ImageCache| cover(cache, filter);
        fitting.sort_by_key(|(number, cache)| {
            (std::cmp::Reverse((covered(cache), cache.spec.size_gib)), cache.created, *number)
        });
        fitting.into_iter().take(limit).map(|(_, cache)| cache.view(self.now, &self.settings)).collect()
    }

    pub(super) fn list_tags(
        &mut self,
        ids: &[String],
        tags: &[TagFilter],
        next_token: Option<&str>,
    ) -> Result<Reply, ApiError> {
        let kind = digest(&(ids, tags));
        let before = next_token.map(|token| cursor(token, kind)).transpose()?;
        let mut items = Vec::new();
        let mut next_token = None;
        let mut last = None;
        let images = self.live().map(|(number, cache)| (number, (&cache.id, &cache.spec.tags)));
        let data = self.live_data().map(|(number, cache)| (number, (&cache.id, &cache.spec.tags)));
        let all: BTreeMap<u64, _> = images.chain(data).collect();
        let fitting = all.into_iter().rev().filter(|(number, (id, own))| {
            before.is_none_or(|before| *number < before)
                && (ids.is_empty() || ids.contains(id))
                && tags.iter().all(|tag| tag.fits(own))
        });
        // A page ends between two resources, never inside one.
        for (number, (id, own)) in fitting {
            if items.len() >= PAGE_SIZE {
                next_token = last.map(|last| token(last, kind));
                break;
            }
            items.extend(own.iter().map(|(key, value)| (id.clone(), key.clone(), value.clone())));
            last = Some(number);
        }
        Ok(Reply::Tags { items, next_token })
    }

    /// The instant whose caches a list shows.
    pub(super) fn seen_at(&mut self, lag: Lag, extra_ms: u64) -> Timestamp {
        let lag_ms = self.random.between(lag.min_ms, lag.max_ms).saturating_add(extra_ms);
        let lag = SignedDuration::from_millis(i64::try_from(lag_ms).unwrap_or(i64::MAX));
        self.now.checked_sub(lag).unwrap_or(Timestamp::MIN)
    }
}

fn is_seen(cache: &ImageCache, at: Timestamp) -> bool {
    cache.created <= at && cache.gone.is_none_or(|(gone, _)| gone > at)
}

fn fits(cache: &ImageCache, filter: &Filter) -> bool {
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_ref().is_none_or(|wanted| found == Some(wanted.as_str()))
    };
    is(&filter.id, Some(&cache.id))
        && is(&filter.name, Some(&cache.spec.name))
        && is(&filter.snapshot_id, cache.snapshot_id.as_deref())
        && is(&filter.resource_group_id, cache.spec.resource_group_id.as_deref())
        && filter.image.as_ref().is_none_or(|image| cache.spec.images.contains(image))
        && filter.tags.iter().all(|tag| tag.fits(&cache.spec.tags))
        && (filter.match_images.is_empty() || matches(cache, filter))
}

/// Only usable caches match images.
fn matches(cache: &ImageCache, filter: &Filter) -> bool {
    let covered = cover(cache, filter);
    let wanted = filter.match_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1).max(1);
    matches!(cache.phase, Phase::Ready { .. })
        && covered >= wanted
        && (!filter.full_match || covered == filter.match_images.len())
}

fn cover(cache: &ImageCache, filter: &Filter) -> usize {
    filter.match_images.iter().filter(|image| cache.spec.images.contains(image)).count()
}

/// Ties a page token to the query that it continues.
pub(super) fn digest(query: &impl serde::Serialize) -> [u8; 4] {
    let digest = sha2::Sha256::digest(serde_json::to_vec(query).unwrap_or_default());
    [digest[0], digest[1], digest[2], digest[3]]
}

pub(super) fn token(number: u64, kind: [u8; 4]) -> String {
    hex::encode([kind.as_slice(), &number.to_be_bytes()].concat())
}

pub(super) fn cursor(token: &str, kind: [u8; 4]) -> Result<u64, ApiError> {
    hex::decode(token)
        .ok()
        .and_then(|bytes| bytes.strip_prefix(kind.as_slice()).and_then(|number| number.try_into().ok()))
        .map(u64::from_be_bytes)
        .ok_or_else(|| ApiError::invalid("NextToken", "it continues no such query"))
}
