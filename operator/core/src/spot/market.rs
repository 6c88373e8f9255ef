//! The port to the spot market: what instances cost, and how often they are taken back.
//!
//! The market is another product of the vendor (ECS) than the one that [`crate::cloud`] is about, with an endpoint and
//! permissions of its own; nothing that the operator does depends on it. It is asked for advice only.
//!
//! # Contract
//!
//! 1. **Reads only.** Every call may be repeated at will, and an implementation repeats one of unknown outcome.
//! 2. **Prices are a step function.** A point says from when a price holds, until the next point of the same instance
//!    type and zone. The order of points, in a page and between pages, is not documented: callers sort.
//! 3. **Pages end.** An implementation never gives a next page that does not lie behind the one that was asked for.
//!    How many points a page has is documented nowhere.
//! 4. **An empty answer is an answer**: nothing is known, or nothing is offered.
//! 5. **Strings are hostile**, as in the port of the cloud: names are parsed, other text is cut.

use std::fmt;
use std::future::Future;

use jiff::Timestamp;

use crate::cloud::CloudError;

use super::price::Price;

/// How far back prices are known, in days (vendor's documentation).
pub const HISTORY_DAYS: i64 = 30;

/// Most instance types that one question for advice may name (vendor's documentation).
pub const MOST_TYPES: usize = 10;

/// The spot market of one region.
pub trait SpotMarket: Send + Sync + 'static {
    /// One page of the prices of an instance type, from the point number `page` on (0 is the first).
    fn price_history(
        &self,
        query: &HistoryQuery,
        page: u32,
    ) -> impl Future<Output = Result<HistoryPage, CloudError>> + Send;

    /// What the vendor says about the types and zones that fit, best average discount first as far as it says so.
    fn advice(&self, query: &AdviceQuery) -> impl Future<Output = Result<Vec<Advice>, CloudError>> + Send;
}

/// A name that becomes part of a request and of a table: 1 to 64 characters of `a–z A–Z 0–9 - .`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Takes a name, trimmed; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With the caller's width, for tables.
        f.pad(&self.0)
    }
}

/// A question about prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Instance type, such as `ecs.c6.xlarge`.
    pub instance_type: Name,
    /// One zone; all when absent.
    pub zone: Option<Name>,
    /// Hours in which an instance is not taken back, 0 or 1: prices may differ by it.
    pub protection_hours: i32,
    /// The first instant, at most [`HISTORY_DAYS`] ago.
    pub from: Timestamp,
    /// The last instant.
    pub to: Timestamp,
}

/// One page of prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The currency, such as `CNY`; at most 8 characters.
    pub currency: Option<String>,
    /// Prices.
    pub points: Vec<PricePoint>,
    /// Where the next page begins, always after the number that was asked for; `None` at the end.
    pub next: Option<u32>,
}

/// From when a price holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricePoint {
    /// In which zone.
    pub zone: Name,
    /// From when.
    pub at: Timestamp,
    /// The price of a spot instance.
    pub price: Price,
    /// The price of a regular instance, if it was said.
    pub pay_as_you_go: Option<Price>,
}

/// A question for advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdviceQuery {
    /// What is wanted.
    pub wanted: Wanted,
    /// One zone; all when absent.
    pub zone: Option<Name>,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Instance types of exactly this size.
    Size {
        /// vCPUs.
        vcpu: u32,
        /// GiB.
        memory_gib: u32,
    },
    /// These instance types, at most [`MOST_TYPES`].
    Types(Vec<Name>),
}

/// What the vendor says about an instance type in a zone, over the last 30 days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The zone.
    pub zone: Name,
    /// The instance type.
    pub instance_type: Name,
    /// Average price in percent of the pay-as-you-go price, 0 to 100.
    pub price_percent: Option<u8>,
    /// How many instances were taken back, in hundredths of a percent, 0 to 10000.
    pub interruption: Option<u16>,
    /// The same as a range in the vendor's words, such as `0-3%`; at most 32 characters.
    pub interruption_range: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed() {
        assert_eq!(Name::parse(" ecs.c6.xlarge\n").unwrap().as_str(), "ecs.c6.xlarge");
        assert_eq!(Name::parse("cn-hangzhou-i").unwrap().as_str(), "cn-hangzhou-i");
        for text in ["", " ", "a b", "a\nb", "ecs/c6", "a&b=c", "é", &"x".repeat(65)] {
            assert_eq!(Name::parse(text), None, "{text:?}");
        }
    }
}
