//! Asks the market: advice first, then the prices of what was advised.

use std::collections::BTreeMap;

use eci_api::spot_sizes::SpotSize;
use eci_core::spot::advice::{self, Offer};
use eci_core::spot::market::{
    Advice, AdviceQuery, HISTORY_DAYS, HistoryQuery, MOST_TYPES, Name, PricePoint, Wanted,
};
use eci_core::spot::{Price, SpotMarket};
use jiff::{SignedDuration, Timestamp};

use crate::error::Error;

/// Most pages of prices of one instance type. 30 days of hourly prices in ten zones are 8 pages of 1,000.
const MOST_PAGES: usize = 40;

/// What is wanted to know.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// A size, or none when types are named.
    pub(super) size: Option<SpotSize>,
    /// Whether the size is larger than what was asked for.
    pub(super) rounded: bool,
    /// Types, when no size is given.
    pub(super) types: Vec<Name>,
    /// Most types of a size that prices are looked up for.
    pub(super) most_types: usize,
    /// One zone.
    pub(super) zone: Option<Name>,
    /// 0 or 1.
    pub(super) protection_hours: i32,
    /// A limit to be judged.
    pub(super) limit: Option<Price>,
}

/// What the market knows.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) question: Question,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) currency: Option<String>,
    /// At least one.
    pub(super) offers: Vec<Offer>,
    /// Types of the size that were not looked at.
    pub(super) left_out: usize,
    /// Whether a list of prices was longer than is read.
    pub(super) cut: bool,
}

pub(super) async fn ask(
    market: &impl SpotMarket,
    question: Question,
    now: Timestamp,
) -> Result<Found, Error> {
    let wanted = match question.size {
        Some(size) => Wanted::Size { vcpu: size.vcpu, memory_gib: size.memory_gib },
        None if question.types.len() <= MOST_TYPES => Wanted::Types(question.types.clone()),
        None => {
            return Err(Error::Size(format!(
                "--instance-type: at most {MOST_TYPES}, and there are {}",
                question.types.len()
            )));
        }
    };
    let query = AdviceQuery { wanted, zone: question.zone.clone() };
    let mut advice = market.advice(&query).await?;
    let (types, left_out) = match question.size {
        Some(_) => best(&advice, question.most_types),
        None => (question.types.clone(), 0),
    };
    advice.retain(|one| types.contains(&one.instance_type));
    let from = now - SignedDuration::from_hours(HISTORY_DAYS * 24);
    let (mut prices, mut currency, mut cut) = (BTreeMap::new(), None, false);
    for kind in types {
        let query = HistoryQuery {
            instance_type: kind.clone(),
            zone: question.zone.clone(),
            protection_hours: question.protection_hours,
            from,
            to: now,
        };
        let history = history(market, &query).await?;
        currency = currency.or(history.currency);
        cut |= history.cut;
        prices.insert(kind, history.points);
    }
    let offers = advice::offers(&advice, &prices, from, now);
    if offers.is_empty() {
        let what = match question.size {
            Some(size) => format!("spot instances of {} vCPU and {} GiB", size.vcpu, size.memory_gib),
            None => "these instance types".to_owned(),
        };
        return Err(Error::NothingKnown(format!(
            "the market knows no price and no advice for {what} here; try another size, zone or region, or name instance types with --instance-type"
        )));
    }
    Ok(Found { question, from, to: now, currency, offers, left_out, cut })
}

struct History {
    points: Vec<PricePoint>,
    currency: Option<String>,
    cut: bool,
}

async fn history(market: &impl SpotMarket, query: &HistoryQuery) -> Result<History, Error> {
    let mut history = History { points: Vec::new(), currency: None, cut: false };
    let mut next = Some(0);
    for _ in 0..MOST_PAGES {
        let Some(page) = next else { break };
        let page = market.price_history(query, page).await?;
        history.points.extend(page.points);
        history.currency = history.currency.or(page.currency);
        next = page.next;
    }
    history.cut = next.is_some();
    Ok(history)
}

/// The types with the lowest average price in percent of the regular one, at most so many, and how many there are more.
fn best(advice: &[Advice], most: usize) -> (Vec<Name>, usize) {
    let mut lowest: BTreeMap<&Name, u8> = BTreeMap::new();
    for one in advice {
        let percent = one.price_percent.unwrap_or(u8::MAX);
        lowest.entry(&one.instance_type).and_modify(|least| *least = percent.min(*least)).or_insert(percent);
    }
    let mut ranked: Vec<_> = lowest.into_iter().collect();
    ranked.sort_by_key(|(_, percent)| *percent);
    let left_out = ranked.len().saturating_sub(most);
    (ranked.into_iter().take(most).map(|(kind, _)| kind.clone()).collect(), left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_with_the_greatest_discount_are_looked_at() {
        let say = |kind: &str, zone: &str, price_percent| Advice {
            zone: Name::parse(zone).unwrap(),
            instance_type: Name::parse(kind).unwrap(),
            price_percent,
            interruption: None,
            interruption_range: None,
        };
        let advice = [
            say("t-1", "a", Some(30)),
            say("t-2", "a", Some(20)),
            say("t-1", "b", Some(10)),
            say("t-3", "a", None),
        ];
        let names = |most| {
            let (types, left_out) = best(&advice, most);
            (types.iter().map(ToString::to_string).collect::<Vec<_>>(), left_out)
        };
        assert_eq!(names(2), (vec!["t-1".to_owned(), "t-2".to_owned()], 1));
        assert_eq!(names(10).1, 0);
    }
}
