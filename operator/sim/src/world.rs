//! The cloud as a state machine: calls and time go in, answers come out. No IO, no clock; every random choice from
//! the seed, so that one seed and one sequence of calls give one history.

mod build;
pub mod call;
mod data;
pub mod data_cache;
mod error;
pub mod image_cache;
pub mod market;
pub mod network;
mod query;
pub mod settings;
mod validate;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::Digest as _;

use crate::clock::later_ms;
use crate::random::Random;
use call::{Call, Cause, Change, DataId, Effect, LedgerEntry, Reply, Spec};
use data_cache::{DataCache, DataPhase};
pub use error::ApiError;
use image_cache::{ImageCache, Phase, View};
use market::Market;
use settings::{Settings, SnapshotDeleted};

/// How long a cache that is gone is kept for lists that lag, milliseconds.
const TOMBSTONE_LIFE_MS: u64 = 86_400_000;

/// The cloud of one account in one region.
#[derive(Clone, Debug)]
pub struct World {
    /// What it is like; may be changed at any time and applies to what begins afterwards.
    pub settings: Settings,
    seed: u64,
    random: Random,
    now: Timestamp,
    next_number: u64,
    caches: BTreeMap<u64, ImageCache>,
    data: BTreeMap<u64, DataCache>,
    numbers: BTreeMap<String, u64>,
    tokens: BTreeMap<(&'static str, String), Remembered>,
    ledger: Vec<LedgerEntry>,
}

/// The first answer to a token.
#[derive(Clone, Debug)]
struct Remembered {
    at: Timestamp,
    fingerprint: [u8; 32],
    reply: Reply,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, settings: Settings) -> Self {
        Self {
            settings,
            seed,
            random: Random::new(seed),
            now: Timestamp::MIN,
            next_number: 1,
            caches: BTreeMap::new(),
            data: BTreeMap::new(),
            numbers: BTreeMap::new(),
            tokens: BTreeMap::new(),
            ledger: Vec::new(),
        }
    }

    /// Lives on until `now`. Time never goes back: an earlier instant changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        let mut ended = Vec::new();
        for cache in self.caches.values_mut().filter(|cache| cache.gone.is_none()) {
            if let Some((at, cause)) = cache.advance(self.now, &self.settings, &mut self.random) {
                ended.push(LedgerEntry { at, id: cache.id.clone(), effect: Effect::Deleted { cause } });
            }
        }
        for cache in self.data.values_mut().filter(|cache| cache.gone.is_none()) {
            if let Some((at, cause)) = cache.advance(self.now, &self.settings, &mut self.random) {
                ended.push(LedgerEntry { at, id: cache.id.clone(), effect: Effect::Deleted { cause } });
            }
        }
        ended.sort_by_key(|entry| entry.at);
        self.ledger.append(&mut ended);
        let now = self.now;
        let forgotten = |gone: Option<(Timestamp, Cause)>| {
            gone.is_some_and(|(at, _)| later_ms(at, TOMBSTONE_LIFE_MS) < now)
        };
        self.numbers.retain(|_, number| self.caches.get(number).is_some_and(|cache| !forgotten(cache.gone)));
        self.caches.retain(|_, cache| !forgotten(cache.gone));
        self.data.retain(|_, cache| !forgotten(cache.gone));
    }

    /// Answers a call.
    ///
    /// # Errors
    /// The refusals that the API documents, and those of the switches in [`Settings`].
    pub fn call(&mut self, now: Timestamp, call: &Call) -> Result<Reply, ApiError> {
        self.call_with_lag(now, call, 0)
    }

    /// Answers a call; if it is a list, it lags `extra_lag_ms` more than the settings say.
    ///
    /// # Errors
    /// As [`World::call`].
    pub fn call_with_lag(
        &mut self,
        now: Timestamp,
        call: &Call,
        extra_lag_ms: u64,
    ) -> Result<Reply, ApiError> {
        self.advance(now);
        validate::call(call, &self.settings)?;
        match call {
            Call::CreateImageCache { token, spec } => {
                let print = fingerprint(spec.as_ref());
                self.once(call.action(), token.as_deref(), print, |world| {
                    world.create(token.as_deref(), spec)
                })
            }
            Call::UpdateImageCache { id, token, change } => {
                let print = fingerprint(&(id, change.as_ref()));
                self.once(call.action(), token.as_deref(), print, |world| world.update(id, change))
            }
            Call::DeleteImageCache { id, token } => {
                self.once(call.action(), token.as_deref(), fingerprint(id), |world| world.delete(id))
            }
            Call::DescribeImageCaches(filter) => self.describe(filter, extra_lag_ms),
            Call::CreateDataCache { token, spec } => {
                let print = fingerprint(spec.as_ref());
                self.once(call.action(), token.as_deref(), print, |world| {
                    world.create_data(token.as_deref(), spec)
                })
            }
            Call::UpdateDataCache { id, token, change } => {
                let print = fingerprint(&(id, change.as_ref()));
                self.once(call.action(), token.as_deref(), print, |world| world.update_data(id, change))
            }
            Call::DeleteDataCache { which, token } => {
                self.once(call.action(), token.as_deref(), fingerprint(which), |world| match which {
                    DataId::Id(id) => world.delete_data(id),
                    DataId::Place { bucket, path } => world.delete_data_at(bucket, path),
                })
            }
            Call::DescribeDataCaches(filter) => self.describe_data(filter, extra_lag_ms),
            Call::ListUsage => Ok(Reply::Usage {
                max_image_caches: self.settings.max_image_caches,
                used_image_caches: self.live().count(),
                max_data_caches: self.settings.max_data_caches,
                used_data_caches: self.live_data().count(),
            }),
            Call::TagResources { ids, tags } => self.tag(ids, |own| own.extend(tags.clone())),
            Call::UntagResources { ids, keys } => self.tag(ids, |own| match keys {
                Some(keys) => own.retain(|key, _| !keys.contains(key)),
                None => own.clear(),
            }),
            Call::ListTagResources { ids, tags, next_token } => {
                self.list_tags(ids, tags, next_token.as_deref())
            }
            Call::DescribeSpotPriceHistory(filter) => self.market().history(filter),
            Call::DescribeSpotAdvice(filter) => self.market().advice(filter),
            Call::DescribeVSwitches(filter) => {
                network::describe(&self.settings.v_switches, &self.settings.region, filter)
            }
            Call::DescribeRegions => Ok(Reply::Regions { region: self.settings.region.clone() }),
        }
    }

    /// Every effect so far, in order.
    pub fn ledger(&self) -> &[LedgerEntry] {
        &self.ledger
    }

    /// The caches that exist, oldest first, as they are at `now`, whatever lists may show.
    pub fn caches(&mut self, now: Timestamp) -> Vec<View> {
        self.advance(now);
        self.live().map(|(_, cache)| cache.view(self.now, &self.settings)).collect()
    }

    /// Removes a cache behind everybody's back. False when there is none.
    pub fn vanish(&mut self, now: Timestamp, id: &str) -> bool {
        self.advance(now);
        let Some(number) = self.number(id) else { return self.end_data(id, Cause::ByHand) };
        self.end(number, Cause::ByHand);
        true
    }

    /// Deletes a snapshot behind everybody's back; [`Settings::snapshot_deleted`] says what follows. False when there
    /// is none.
    pub fn delete_snapshot(&mut self, now: Timestamp, snapshot_id: &str) -> bool {
        self.advance(now);
        let (now, rule) = (self.now, self.settings.snapshot_deleted);
        let Some(cache) = self
            .caches
            .values_mut()
            .find(|cache| cache.gone.is_none() && cache.snapshot_id.as_deref() == Some(snapshot_id))
        else {
            return self.delete_data_snapshot(snapshot_id);
        };
        cache.snapshot_id = None;
        if rule == SnapshotDeleted::TurnsFailed {
            cache.event(now, "Warning", "SnapshotNotFound", "The snapshot of the image cache does not exist");
            cache.phase = Phase::Failed { since: now };
        }
        true
    }

    /// A pod used a cache. False when there is none.
    pub fn matched(&mut self, now: Timestamp, id: &str) -> bool {
        self.advance(now);
        let now = self.now;
        if let Some(cache) = self.data_mut(id) {
            cache.last_matched = Some(now);
            return true;
        }
        let cache = self.number(id).and_then(|number| self.caches.get_mut(&number));
        cache.map(|cache| cache.last_matched = Some(now)).is_some()
    }

    fn market(&self) -> Market<'_> {
        let Settings { region, market, .. } = &self.settings;
        Market { seed: self.seed, region, settings: market, now: self.now }
    }

    fn live(&self) -> impl DoubleEndedIterator<Item = (u64, &ImageCache)> {
        self.caches.iter().filter(|(_, cache)| cache.gone.is_none()).map(|(number, cache)| (*number, cache))
    }

    /// The number of a cache that exists.
    fn number(&self, id: &str) -> Option<u64> {
        let number = *self.numbers.get(id)?;
        self.caches.get(&number).is_some_and(|cache| cache.gone.is_none()).then_some(number)
    }

    fn unknown(&self, id: &str) -> ApiError {
        ApiError::new(&self.settings.unknown_id_code, format!("The specified resource {id} does not exist."))
    }

    /// A call with a token has its effect once for as long as the token is remembered. Refusals are not remembered.
    fn once(
        &mut self,
        action: &'static str,
        token: Option<&str>,
        fingerprint: [u8; 32],
        effect: impl FnOnce(&mut Self) -> Result<Reply, ApiError>,
    ) -> Result<Reply, ApiError> {
        let Some(token) = token else { return effect(self) };
        let key = (action, token.to_owned());
        if let Some(first) = self.tokens.get(&key)
            && self.settings.token_life_ms.is_none_or(|life| self.now < later_ms(first.at, life))
        {
            return if first.fingerprint == fingerprint {
                Ok(first.reply.clone())
            } else {
                Err(ApiError::new(
                    &self.settings.token_mismatch_code,
                    "The client token was used with other parameters.",
                ))
            };
        }
        let reply = effect(self)?;
        self.tokens.insert(key, Remembered { at: self.now, fingerprint, reply: reply.clone() });
        Ok(reply)
    }

    fn create(&mut self, token: Option<&str>, spec: &Spec) -> Result<Reply, ApiError> {
        if self.live().count() >= self.settings.max_image_caches {
            self.eliminate()?;
        }
        let verdict = build::verdict(spec, &mut self.settings);
        let cache = ImageCache::begin(spec.clone(), verdict, self.now, &self.settings, &mut self.random);
        let reply =
            Reply::Created { id: cache.id.clone(), container_group_id: cache.container_group_id.clone() };
        let effect = Effect::Created { token: token.map(str::to_owned), spec: Box::new(spec.clone()) };
        self.ledger.push(LedgerEntry { at: self.now, id: cache.id.clone(), effect });
        self.numbers.insert(cache.id.clone(), self.next_number);
        self.caches.insert(self.next_number, cache);
        self.next_number += 1;
        Ok(reply)
    }

    /// Makes room: the least recently used cache that may be removed goes.
    fn eliminate(&mut self) -> Result<(), ApiError> {
        let oldest = self
            .live()
            .filter(|(_, cache)| {
                cache.is_settled() && cache.spec.elimination_strategy.as_deref() == Some("LRU")
            })
            .min_by_key(|(number, cache)| (cache.last_matched.unwrap_or(cache.created), *number))
            .map(|(number, _)| number);
        match oldest {
            Some(number) => {
                self.end(number, Cause::Eliminated);
                Ok(())
            }
            None => Err(ApiError::new(
                "QuotaExceeded",
                format!("The quota of {} image caches is used up.", self.settings.max_image_caches),
            )),
        }
    }

    fn update(&mut self, id: &str, change: &Change) -> Result<Reply, ApiError> {
        let number = self.number(id).ok_or_else(|| self.unknown(id))?;
        let Some(cache) = self.caches.get_mut(&number) else { return Err(self.unknown(id)) };
        if !cache.is_settled() {
            return Err(ApiError::new(
                "ImageCache.IncorrectStatus",
                format!("The image cache is {}; it can be updated in Ready or UpdateFailed.", cache.status()),
            ));
        }
        let to = change.applied_to(&cache.spec);
        if to == cache.spec && matches!(cache.phase, Phase::Ready { .. }) {
            return Err(ApiError::new("NoNeedUpdate", "Nothing would change."));
        }
        let pulls = to.images != cache.spec.images || to.size_gib != cache.spec.size_gib;
        let duration =
            if pulls { self.settings.prepare_ms + self.settings.create_ms } else { self.settings.update_ms };
        let until = later_ms(self.now, self.settings.scaled(duration));
        let verdict =
            if pulls { build::verdict(&to, &mut self.settings) } else { image_cache::Verdict::Good };
        cache.phase = Phase::Updating { until, verdict, to: Box::new(to) };
        self.ledger.push(LedgerEntry { at: self.now, id: id.to_owned(), effect: Effect::Updated });
        Ok(Reply::Done)
    }

    fn delete(&mut self, id: &str) -> Result<Reply, ApiError> {
        match self.number(id) {
            Some(number) => self.end(number, Cause::Call),
            None if self.settings.delete_unknown_fails => return Err(self.unknown(id)),
            None => {}
        }
        Ok(Reply::Done)
    }

    fn tag(
        &mut self,
        ids: &[String],
        change: impl Fn(&mut BTreeMap<String, String>),
    ) -> Result<Reply, ApiError> {
        // All or nothing: a call either says an error or has its whole effect.
        let mut changed = Vec::new();
        for id in ids {
            let image = self.number(id).and_then(|number| self.caches.get(&number)).map(|c| &c.spec.tags);
            let data = self.live_data().find(|(_, cache)| cache.id == *id).map(|(_, cache)| &cache.spec.tags);
            let mut tags = image.or(data).ok_or_else(|| self.unknown(id))?.clone();
            change(&mut tags);
            validate::tags(&tags)?;
            changed.push((id, tags));
        }
        for (id, tags) in changed {
            if let Some(cache) = self.number(id).and_then(|number| self.caches.get_mut(&number)) {
                if let Phase::Updating { to, .. } = &mut cache.phase {
                    change(&mut to.tags);
                }
                cache.spec.tags = tags;
            } else if let Some(cache) = self.data_mut(id) {
                if let DataPhase::Updating { to, .. } = &mut cache.phase {
                    change(&mut to.tags);
                }
                cache.spec.tags = tags;
            }
        }
        Ok(Reply::Done)
    }

    fn end(&mut self, number: u64, cause: Cause) {
        if let Some(cache) = self.caches.get_mut(&number) {
            cache.gone = Some((self.now, cause));
            let effect = Effect::Deleted { cause };
            self.ledger.push(LedgerEntry { at: self.now, id: cache.id.clone(), effect });
        }
    }
}

/// Two requests are the same when this is.
fn fingerprint(request: &impl serde::Serialize) -> [u8; 32] {
    // Serializing these types cannot fail; an empty text would only make all requests alike.
    sha2::Sha256::digest(serde_json::to_vec(request).unwrap_or_default()).into()
}
