//! Whether a price limit buys anything: the judgement of a profile's limit by the market.

use eci_api::condition::ProfileReason;

use super::advice::{Curve, Offer};
use super::price::Price;

/// What a limit is worth in a market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No price is known.
    Unknown,
    /// Every price now is above it: there is nothing to be had.
    UnderMarket {
        /// The lowest price now.
        lowest: Price,
    },
    /// Something is to be had now, but each price was above it for a time, and instances would have been taken back.
    Tight {
        /// For how much of the time the best of them was, in thousandths, 1 to 1000.
        above: i64,
        /// A limit for the best of them.
        suggested: Price,
    },
    /// At least one price was never above it.
    Sufficient,
}

/// Judges a limit by the prices of everything that a pod may run on.
pub fn judge<'a>(limit: Price, curves: impl IntoIterator<Item = &'a Curve>) -> Verdict {
    let curves: Vec<&Curve> = curves.into_iter().collect();
    let Some(lowest) = curves.iter().map(|curve| curve.now()).min() else { return Verdict::Unknown };
    if lowest > limit {
        return Verdict::UnderMarket { lowest };
    }
    // Only what can be had now counts: a market of the past that has gone up for good is no comfort.
    let to_be_had = curves.iter().filter(|curve| curve.now() <= limit);
    match to_be_had.min_by_key(|curve| (curve.above(limit), curve.suggestion().limit)) {
        Some(best) if best.above(limit) > 0 => {
            Verdict::Tight { above: best.above(limit), suggested: best.suggestion().limit }
        }
        _ => Verdict::Sufficient,
    }
}

/// A condition `PriceLimitSufficient` of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// `True`, `False`, or `Unknown` when absent.
    pub status: Option<bool>,
    /// Its reason.
    pub reason: ProfileReason,
    /// A sentence for a person.
    pub message: String,
}

/// Says in a condition what a profile's limit is worth, for pods that may run on any of the offers.
pub fn condition(limit: Price, offers: &[Offer]) -> Judgement {
    let say = |status, reason, message| Judgement { status, reason, message };
    match judge(limit, offers.iter().filter_map(|offer| offer.curve.as_ref())) {
        Verdict::Unknown => say(
            None,
            ProfileReason::MarketUnknown,
            "no price of the last 30 days is known for what the pods run on".to_owned(),
        ),
        Verdict::UnderMarket { lowest } => say(
            Some(false),
            ProfileReason::PriceLimitUnderMarket,
            format!(
                "spec.spot.priceLimit {limit} lies under the market: the lowest price now is {lowest}, so no spot instance can be had; raise it to at least {}",
                lowest.as_limit()
            ),
        ),
        Verdict::Tight { above, suggested } => say(
            Some(false),
            ProfileReason::PriceLimitTight,
            format!(
                "the market was above spec.spot.priceLimit {limit} for {}.{} % of the last 30 days, when instances would have been taken back; {suggested} would be safer",
                above / 10,
                above % 10
            ),
        ),
        Verdict::Sufficient => say(
            Some(true),
            ProfileReason::PriceLimitSufficient,
            format!("the market was never above spec.spot.priceLimit {limit} in the last 30 days"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::spot::market::{Name, PricePoint};

    fn price(text: &str) -> Price {
        Price::parse(text).unwrap()
    }

    /// Prices of days of the window, one after the other.
    fn offer(days: &[&str]) -> Offer {
        let at = |day: usize| {
            Timestamp::from_second(1_790_000_000 + i64::try_from(day).unwrap() * 86_400).unwrap()
        };
        let zone = Name::parse("z-a").unwrap();
        let points: Vec<PricePoint> = days
            .iter()
            .enumerate()
            .map(|(day, text)| PricePoint {
                zone: zone.clone(),
                at: at(day),
                price: price(text),
                pay_as_you_go: Some(price("1")),
            })
            .collect();
        Offer {
            instance_type: Name::parse("ecs.c6.xlarge").unwrap(),
            zone,
            curve: Curve::of(&points, at(0), at(days.len())),
            price_percent: None,
            interruption: None,
            interruption_range: None,
        }
    }

    #[test]
    fn a_limit_is_judged_by_the_best_offer_that_can_be_had() {
        let calm = ["0.2"; 10];
        let busy = ["0.2", "0.2", "0.2", "0.2", "0.2", "0.6", "0.2", "0.2", "0.2", "0.2"];
        let risen = ["0.1", "0.1", "0.1", "0.1", "0.1", "0.1", "0.1", "0.1", "0.1", "0.9"];
        for (limit, offers, status, reason) in [
            ("0.2", vec![offer(&calm)], Some(true), ProfileReason::PriceLimitSufficient),
            ("0.199", vec![offer(&calm)], Some(false), ProfileReason::PriceLimitUnderMarket),
            ("0.3", vec![offer(&busy)], Some(false), ProfileReason::PriceLimitTight),
            ("0.3", vec![offer(&busy), offer(&calm)], Some(true), ProfileReason::PriceLimitSufficient),
            ("0.6", vec![offer(&busy)], Some(true), ProfileReason::PriceLimitSufficient),
            ("0.5", vec![offer(&risen)], Some(false), ProfileReason::PriceLimitUnderMarket),
            ("0.5", vec![offer(&risen), offer(&busy)], Some(false), ProfileReason::PriceLimitTight),
            ("0.5", vec![offer(&[])], None, ProfileReason::MarketUnknown),
            ("0.5", vec![], None, ProfileReason::MarketUnknown),
        ] {
            let found = condition(price(limit), &offers);
            assert_eq!((found.status, found.reason), (status, reason), "{limit}: {}", found.message);
        }
    }

    #[test]
    fn messages_say_the_price_and_what_to_do() {
        let under = condition(price("0.1"), &[offer(&["0.2", "0.2501"])]);
        assert_eq!(
            under.message,
            "spec.spot.priceLimit 0.100 lies under the market: the lowest price now is 0.2501, so no spot instance can be had; raise it to at least 0.251"
        );
        let tight =
            condition(price("0.3"), &[offer(&["0.2", "0.2", "0.6", "0.2", "0.2", "0.2", "0.2", "0.2"])]);
        assert_eq!(
            tight.message,
            "the market was above spec.spot.priceLimit 0.300 for 12.5 % of the last 30 days, when instances would have been taken back; 0.660 would be safer"
        );
    }
}
