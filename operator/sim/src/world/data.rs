//! The actions on data caches.

use super::call::{Cause, Effect, LedgerEntry, Reply};
use super::data_cache::{self, DataCache, DataChange, DataFilter, DataPhase, DataSpec, DataView};
use super::image_cache::Verdict;
use super::query::{PAGE_SIZE, cursor, digest, token};
use super::settings::SnapshotDeleted;
use super::{ApiError, World};
use crate::clock::later_ms;
use jiff::Timestamp;

impl World {
    /// The data caches that exist, oldest first, as they are at `now`, whatever lists may show.
    pub fn data_caches(&mut self, now: Timestamp) -> Vec<DataView> {
        self.advance(now);
        self.live_data().map(|(_, cache)| cache.view(self.now, &self.settings)).collect()
    }

    pub(super) fn live_data(&self) -> impl Iterator<Item = (u64, &DataCache)> {
        self.data.iter().filter(|(_, cache)| cache.gone.is_none()).map(|(number, cache)| (*number, cache))
    }

    /// A data cache that exists.
    pub(super) fn data_mut(&mut self, id: &str) -> Option<&mut DataCache> {
        self.data.values_mut().find(|cache| cache.gone.is_none() && cache.id == id)
    }

    pub(super) fn create_data(&mut self, token: Option<&str>, spec: &DataSpec) -> Result<Reply, ApiError> {
        if let Some(code) = &self.settings.taken_place_code
            && self.live_data().any(|(_, cache)| cache.spec.place() == spec.place())
        {
            let (bucket, path) = spec.place();
            return Err(ApiError::new(
                code,
                format!("There is a data cache with the path {path} in the bucket {bucket}."),
            ));
        }
        if self.live_data().count() >= self.settings.max_data_caches {
            return Err(ApiError::new(
                "QuotaExceeded",
                format!("The quota of {} data caches is used up.", self.settings.max_data_caches),
            ));
        }
        let verdict = data_cache::verdict(spec, &mut self.settings);
        let cache = DataCache::begin(spec.clone(), verdict, self.now, &self.settings, &mut self.random);
        let id = cache.id.clone();
        let effect = Effect::CreatedData { token: token.map(str::to_owned), spec: Box::new(spec.clone()) };
        self.ledger.push(LedgerEntry { at: self.now, id: id.clone(), effect });
        self.data.insert(self.next_number, cache);
        self.next_number += 1;
        Ok(Reply::CreatedData { id })
    }

    pub(super) fn update_data(&mut self, id: &str, change: &DataChange) -> Result<Reply, ApiError> {
        let unknown = self.unknown(id);
        let (now, settings) = (self.now, &mut self.settings);
        let Some(cache) = self.data.values_mut().find(|cache| cache.gone.is_none() && cache.id == id) else {
            return Err(unknown);
        };
        if !cache.is_settled() {
            return Err(ApiError::new(
                "IncorrectStatus",
                format!(
                    "The data cache is {}; it can be updated in Available or UpdateFailed.",
                    cache.status()
                ),
            ));
        }
        let to = change.applied_to(&cache.spec);
        if to == cache.spec && matches!(cache.phase, DataPhase::Available) {
            return Err(ApiError::new("NoNeedUpdate", "Nothing would change."));
        }
        let loads = to.source != cache.spec.source || to.size_gib != cache.spec.size_gib;
        let duration = if loads { settings.prepare_ms + settings.create_ms } else { settings.update_ms };
        let until = later_ms(now, settings.scaled(duration));
        let verdict = if loads { data_cache::verdict(&to, settings) } else { Verdict::Good };
        cache.phase = DataPhase::Updating { until, verdict, to: Box::new(to) };
        self.ledger.push(LedgerEntry { at: now, id: id.to_owned(), effect: Effect::Updated });
        Ok(Reply::Done)
    }

    pub(super) fn delete_data(&mut self, id: &str) -> Result<Reply, ApiError> {
        if !self.end_data(id, Cause::Call) && self.settings.delete_unknown_fails {
            return Err(self.unknown(id));
        }
        Ok(Reply::Done)
    }

    /// Deletes what is at a place: what a delete call without an ID does.
    pub(super) fn delete_data_at(&mut self, bucket: &str, path: &str) -> Result<Reply, ApiError> {
        let place = (bucket, path.trim_end_matches('/'));
        let found = self.live_data().find(|(_, cache)| cache.spec.place() == place);
        let id = found.map(|(_, cache)| cache.id.clone()).unwrap_or_default();
        self.delete_data(&id)
    }

    /// Ends a data cache; false when there is none.
    pub(super) fn end_data(&mut self, id: &str, cause: Cause) -> bool {
        let now = self.now;
        let Some(cache) = self.data_mut(id) else { return false };
        cache.gone = Some((now, cause));
        self.ledger.push(LedgerEntry { at: now, id: id.to_owned(), effect: Effect::Deleted { cause } });
        true
    }

    /// Its snapshot is deleted behind everybody's back; false when no data cache has it.
    pub(super) fn delete_data_snapshot(&mut self, snapshot_id: &str) -> bool {
        let (now, rule) = (self.now, self.settings.snapshot_deleted);
        let of = |cache: &&mut DataCache| {
            cache.gone.is_none() && cache.snapshot_id.as_deref() == Some(snapshot_id)
        };
        let Some(cache) = self.data.values_mut().find(of) else { return false };
        cache.snapshot_id = None;
        if rule == SnapshotDeleted::TurnsFailed {
            cache.event(now, "Warning", "SnapshotNotFound", "The snapshot of the data cache does not exist");
            cache.phase = DataPhase::Failed { since: now };
        }
        true
    }

    pub(super) fn describe_data(
        &mut self,
        filter: &DataFilter,
        extra_lag_ms: u64,
    ) -> Result<Reply, ApiError> {
        let kind = digest(&("data", filter));
        let before = filter.next_token.as_deref().map(|token| cursor(token, kind)).transpose()?;
        let limit = match filter.limit {
            None => PAGE_SIZE,
            Some(limit) => usize::try_from(limit).unwrap_or_default().clamp(1, PAGE_SIZE),
        };
        let looks_up = !filter.ids.is_empty();
        let lag = if looks_up { self.settings.lookup_lag } else { self.settings.list_lag };
        let seen_at = self.seen_at(lag, extra_lag_ms);
        let seen =
            |cache: &DataCache| cache.created <= seen_at && cache.gone.is_none_or(|(gone, _)| gone > seen_at);
        let fitting: Vec<(u64, &DataCache)> = self
            .data
            .iter()
            .rev()
            .filter(|(_, cache)| seen(cache) && fits(cache, filter))
            .map(|(number, cache)| (*number, cache))
            .collect();
        let total = fitting.len();
        let mut rest = fitting.into_iter().filter(|(number, _)| before.is_none_or(|before| *number < before));
        let page: Vec<(u64, &DataCache)> = rest.by_ref().take(limit).collect();
        let next_token = match page.last() {
            Some((last, _)) if rest.next().is_some() => Some(token(*last, kind)),
            _ => None,
        };
        let items = page.into_iter().map(|(_, cache)| cache.view(self.now, &self.settings)).collect();
        Ok(Reply::DataCaches { items, next_token, total })
    }
}

fn fits(cache: &DataCache, filter: &DataFilter) -> bool {
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_ref().is_none_or(|wanted| found == Some(wanted.as_str()))
    };
    let (bucket, path) = cache.spec.place();
    (filter.ids.is_empty() || filter.ids.contains(&cache.id))
        && is(&filter.bucket, Some(bucket))
        && filter.path.as_ref().is_none_or(|wanted| wanted.trim_end_matches('/') == path)
        && is(&filter.resource_group_id, cache.spec.resource_group_id.as_deref())
        && filter.tags.iter().all(|tag| tag.fits(&cache.spec.tags))
}
