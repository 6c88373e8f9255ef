//! The spot market: instance types, and prices as a pure function of seed, type, zone and hour, so that any window can
//! be asked for at any time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::call::Reply;
use super::error::ApiError;

/// Seconds in an hour: prices change at whole hours.
const HOUR: i64 = 3_600;
/// Longest window of prices (documented): 30 days, in seconds.
const LONGEST: i64 = 30 * 24 * HOUR;
/// Window when none is asked for (documented): 3 hours, in seconds.
const USUAL: i64 = 3 * HOUR;
/// Most instance types that advice is asked about by name (documented).
const MOST_TYPES: usize = 10;
/// The zones of the region, as the ends of their IDs.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// Families: their name, GiB for each vCPU, and their regular price in percent of the first's.
const FAMILIES: [(&str, u32, i64); 6] = [
    ("ecs.c6", 2, 100),
    ("ecs.c7", 2, 108),
    ("ecs.g6", 4, 100),
    ("ecs.g7", 4, 108),
    ("ecs.r6", 8, 100),
    ("ecs.u1-c1m1", 1, 90),
];

/// Sizes of a family: their name and vCPUs.
const SIZES: [(&str, u32); 9] = [
    ("large", 2),
    ("xlarge", 4),
    ("2xlarge", 8),
    ("3xlarge", 12),
    ("4xlarge", 16),
    ("6xlarge", 24),
    ("8xlarge", 32),
    ("13xlarge", 52),
    ("16xlarge", 64),
];

/// What the market is like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MarketSettings {
    /// `Currency`
    pub currency: String,
    /// Unknown: prices on one page (a sample suggests 1000).
    pub page_size: usize,
    /// Unknown: whether the newest price comes first.
    pub newest_first: bool,
    /// Unknown: `NextOffset` on the last page.
    pub last_offset: LastOffset,
    /// Prices that are not as they come; the last that fits is taken.
    pub prices: Vec<PriceRule>,
    /// Instance types without any price.
    pub without_history: Vec<String>,
    /// Whether the vendor has no advice at all.
    pub without_advice: bool,
}

impl Default for MarketSettings {
    fn default() -> Self {
        Self {
            currency: "CNY".to_owned(),
            page_size: 1_000,
            newest_first: true,
            last_offset: LastOffset::Zero,
            prices: Vec::new(),
            without_history: Vec::new(),
            without_advice: false,
        }
    }
}

/// `NextOffset` on the last page of prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LastOffset {
    /// 0.
    Zero,
    /// Not there.
    Missing,
    /// The number of all prices, so that one more page is asked for, and is empty.
    Count,
}

/// A price that is not as it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceRule {
    /// Of this instance type; of all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// In this zone; in all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// From then on; always when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Percent of the regular price, 0 to 100.
    pub percent: u8,
}

/// Parameters of `DescribeSpotPriceHistory`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// `NetworkType`
    pub network_type: String,
    /// `InstanceType`
    pub instance_type: String,
    /// `ZoneId`
    pub zone: Option<String>,
    /// `IoOptimized`
    pub io_optimized: Option<String>,
    /// `OSType`
    pub os_type: Option<String>,
    /// `SpotDuration`
    pub spot_duration: Option<i32>,
    /// `StartTime`
    pub from: Option<Timestamp>,
    /// `EndTime`
    pub to: Option<Timestamp>,
    /// `Offset`
    pub offset: Option<i32>,
}

/// Parameters of `DescribeSpotAdvice`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdviceFilter {
    /// `Cores`
    pub cores: Option<i32>,
    /// `Memory`, GiB
    pub memory: Option<i32>,
    /// `MinCores`
    pub min_cores: Option<i32>,
    /// `MinMemory`, GiB
    pub min_memory: Option<i32>,
    /// `InstanceTypes.N`
    pub instance_types: Vec<String>,
    /// `InstanceTypeFamily`
    pub family: Option<String>,
    /// `ZoneId`
    pub zone: Option<String>,
}

/// An instance type.
#[derive(Clone, Debug)]
struct InstanceType {
    name: String,
    family: &'static str,
    vcpu: u32,
    memory_gib: u32,
    /// Of a regular instance for an hour, millionths.
    regular: i64,
}

/// A price as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceView {
    /// `InstanceType`
    pub instance_type: String,
    /// `ZoneId`
    pub zone: String,
    /// `SpotPrice`, millionths.
    pub spot: i64,
    /// `OriginPrice`, millionths.
    pub regular: i64,
    /// `Timestamp`
    pub at: Timestamp,
}

/// What the API says about a type in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdviceView {
    /// `ZoneId`
    pub zone: String,
    /// `InstanceType`
    pub instance_type: String,
    /// `AverageSpotDiscount`
    pub percent: i64,
    /// `InterruptionRate`, hundredths of a percent.
    pub interruption: i64,
}

impl AdviceView {
    /// `InterruptRateDesc`
    pub fn range(&self) -> &'static str {
        match self.interruption {
            ..300 => "0-3%",
            300..500 => "3-5%",
            500..1_000 => "5-10%",
            _ => "10-100%",
        }
    }
}

/// The market of one region at one instant.
pub(super) struct Market<'a> {
    pub(super) seed: u64,
    pub(super) region: &'a str,
    pub(super) settings: &'a MarketSettings,
    pub(super) now: Timestamp,
}

impl Market<'_> {
    pub(super) fn history(&self, filter: &HistoryFilter) -> Result<Reply, ApiError> {
        let word = |name: &str, given: Option<&str>, known: [&str; 2]| match given {
            Some(word) if !known.contains(&word) => Err(refused(&format!("InvalidParams.{name}"))),
            _ => Ok(()),
        };
        word("NetworkType", Some(&filter.network_type), ["vpc", "classic"])?;
        word("IoOptimized", filter.io_optimized.as_deref(), ["optimized", "none"])?;
        word("OSType", filter.os_type.as_deref(), ["linux", "windows"])?;
        if filter.spot_duration.is_some_and(|hours| !(0..=1).contains(&hours)) {
            return Err(refused("InvalidSpotDuration"));
        }
        let offset = filter.offset.unwrap_or_default();
        let offset = usize::try_from(offset).map_err(|_| refused("InvalidParams.Offset"))?;
        let kind = types()
            .find(|kind| kind.name == filter.instance_type)
            .ok_or_else(|| refused("InvalidInstanceType.ValueNotSupported"))?;
        let zones = self.zones(filter.zone.as_deref())?;
        let to = filter.to.unwrap_or(self.now).as_second();
        let from = filter.from.map_or(to - USUAL, Timestamp::as_second);
        if from > to || to - from > LONGEST {
            return Err(refused("InvalidParams.StartTime"));
        }
        let last = to.min(self.now.as_second()).div_euclid(HOUR);
        let hours = (from + HOUR - 1).div_euclid(HOUR)..=last;
        let mut prices: Vec<PriceView> = Vec::new();
        if !self.settings.without_history.contains(&kind.name) {
            prices.extend(hours.flat_map(|hour| zones.iter().map(move |zone| (hour, zone))).filter_map(
                |(hour, zone)| {
                    Some(PriceView {
                        instance_type: kind.name.clone(),
                        zone: zone.clone(),
                        spot: self.price(&kind, zone, hour),
                        regular: kind.regular,
                        at: Timestamp::from_second(hour * HOUR).ok()?,
                    })
                },
            ));
        }
        if self.settings.newest_first {
            prices.reverse();
        }
        let total = prices.len();
        let items: Vec<_> = prices.into_iter().skip(offset).take(self.settings.page_size.max(1)).collect();
        let end = offset + items.len();
        let next_offset = match self.settings.last_offset {
            _ if end < total => Some(end),
            LastOffset::Zero => Some(0),
            LastOffset::Missing => None,
            LastOffset::Count => Some(total),
        };
        Ok(Reply::SpotPrices { currency: self.settings.currency.clone(), items, next_offset })
    }

    pub(super) fn advice(&self, filter: &AdviceFilter) -> Result<Reply, ApiError> {
        let sized = filter.cores.is_some() || filter.memory.is_some();
        let at_least = filter.min_cores.is_some() || filter.min_memory.is_some();
        if !filter.instance_types.is_empty() && (sized || at_least) {
            return Err(refused("InvalidParam.TypeAndCpuMem.Conflict"));
        }
        if filter.instance_types.is_empty() && !sized && !at_least || filter.instance_types.len() > MOST_TYPES
        {
            return Err(refused("Invalid.Param"));
        }
        for (first, second) in [(filter.cores, filter.memory), (filter.min_cores, filter.min_memory)] {
            match (first, second) {
                (Some(_), None) => return Err(refused("InvalidParam.Memory")),
                (None, Some(_)) => return Err(refused("InvalidParam.Cores")),
                _ => {}
            }
        }
        let zones = self.zones(filter.zone.as_deref())?;
        let is = |wanted: Option<i32>, found: u32| {
            wanted.is_none_or(|wanted| i64::from(wanted) == i64::from(found))
        };
        let holds = |wanted: Option<i32>, found: u32| {
            wanted.is_none_or(|wanted| i64::from(wanted) <= i64::from(found))
        };
        let kinds: Vec<_> = types()
            .filter(|_| !self.settings.without_advice)
            .filter(|kind| filter.instance_types.is_empty() || filter.instance_types.contains(&kind.name))
            .filter(|kind| filter.family.as_deref().is_none_or(|family| family == kind.family))
            .filter(|kind| is(filter.cores, kind.vcpu) && is(filter.memory, kind.memory_gib))
            .filter(|kind| holds(filter.min_cores, kind.vcpu) && holds(filter.min_memory, kind.memory_gib))
            .collect();
        let mut items: Vec<AdviceView> = Vec::new();
        for zone in &zones {
            let mut found: Vec<AdviceView> = kinds.iter().map(|kind| self.view(kind, zone)).collect();
            found.sort_by(|a, b| (a.percent, &a.instance_type).cmp(&(b.percent, &b.instance_type)));
            items.extend(found);
        }
        Ok(Reply::SpotAdvice { region: self.region.to_owned(), items })
    }

    fn view(&self, kind: &InstanceType, zone: &str) -> AdviceView {
        let now = self.now.as_second().div_euclid(HOUR);
        let hours = now - LONGEST / HOUR + 1..=now;
        let count = LONGEST / HOUR;
        let average = hours.map(|hour| self.price(kind, zone, hour)).sum::<i64>() / count;
        let drawn = self.draw(&["interruption", &kind.name, zone], 0);
        AdviceView {
            zone: zone.to_owned(),
            instance_type: kind.name.clone(),
            percent: (average * 100 / kind.regular).clamp(1, 100),
            // Most types are rarely taken back, some often.
            interruption: if drawn % 5 == 0 { 500 + drawn % 2_000 } else { drawn % 300 },
        }
    }

    /// All zones, or the one that is asked for.
    fn zones(&self, wanted: Option<&str>) -> Result<Vec<String>, ApiError> {
        let mut zones: Vec<String> = ZONES.iter().map(|end| format!("{}-{end}", self.region)).collect();
        zones.retain(|zone| wanted.is_none_or(|wanted| wanted == zone));
        if zones.is_empty() { Err(refused("InvalidZoneId.NotFound")) } else { Ok(zones) }
    }

    /// The price of an hour, in millionths.
    fn price(&self, kind: &InstanceType, zone: &str, hour: i64) -> i64 {
        let fits = |rule: &&PriceRule| {
            rule.instance_type.as_ref().is_none_or(|name| *name == kind.name)
                && rule.zone.as_ref().is_none_or(|name| name == zone)
                && rule.since.is_none_or(|since| since.as_second() <= hour * HOUR)
        };
        let permille = match self.settings.prices.iter().rev().find(fits) {
            Some(rule) => i64::from(rule.percent.min(100)) * 10,
            None => self.permille(&kind.name, zone, hour),
        };
        // To a thousandth, as prices come.
        kind.regular * permille / 1_000 / 1_000 * 1_000
    }

    /// Around a level of its own, a little different each hour; on one day in ten a busy evening.
    fn permille(&self, kind: &str, zone: &str, hour: i64) -> i64 {
        let level = 80 + self.draw(&["level", kind, zone], 0) % 240;
        let wobble = self.draw(&["hour", kind, zone], hour) % 11 - 5;
        let busy = self.draw(&["day", kind, zone], hour.div_euclid(24)) % 10 == 0
            && (12..18).contains(&hour.rem_euclid(24));
        (level * (100 + wobble) / 100 * if busy { 2 } else { 1 }).min(1_000)
    }

    fn draw(&self, words: &[&str], number: i64) -> i64 {
        let mut hash = sha2::Sha256::new_with_prefix(self.seed.to_be_bytes());
        for word in words {
            hash.update(word);
            hash.update([0]);
        }
        hash.update(number.to_be_bytes());
        let digest = hash.finalize();
        i64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }
}

fn types() -> impl Iterator<Item = InstanceType> {
    FAMILIES.into_iter().flat_map(|(family, gib_each, percent)| {
        SIZES.into_iter().map(move |(size, vcpu)| {
            let memory_gib = vcpu * gib_each;
            let regular = (i64::from(vcpu) * 150_000 + i64::from(memory_gib) * 30_000) * percent / 100;
            InstanceType { name: format!("{family}.{size}"), family, vcpu, memory_gib, regular }
        })
    })
}

fn refused(code: &str) -> ApiError {
    ApiError::new(code, format!("The market refused the call: {code}."))
}
