//! What the market's past says about its price: exact, and weighted by time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::market::{Advice, Name, PricePoint};
use super::price::Price;

/// A shorter past says little: below this many hours no limit is read off it.
pub const LEAST_HOURS: i64 = 7 * 24;

/// A suggested limit lies so far above the highest price, in percent of it.
const HEADROOM: u16 = 110;

/// The price of one instance type in one zone over a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    /// How many seconds each price held, the lowest price first. Never empty.
    steps: Vec<(Price, i64)>,
    now: Price,
    since: Timestamp,
    pay_as_you_go: Option<Price>,
    covered: i64,
}

impl Curve {
    /// Of points in any order, seen from `from` to `to`. A price holds until the next point; the last one before `from`
    /// holds from then on; points after `to` do not count, and of several at one instant the last given does. `None`
    /// without a point that counts.
    pub fn of<'a>(
        points: impl IntoIterator<Item = &'a PricePoint>,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<Self> {
        let counted: BTreeMap<Timestamp, &PricePoint> =
            points.into_iter().filter(|point| point.at <= to).map(|point| (point.at, point)).collect();
        let (since, last) = counted.last_key_value()?;
        let ends = counted.keys().skip(1).copied().chain([to]);
        let mut held: BTreeMap<Price, i64> = BTreeMap::new();
        for ((at, point), end) in counted.iter().zip(ends) {
            let seconds = end.as_second().saturating_sub((*at).max(from).as_second());
            if seconds > 0 {
                *held.entry(point.price).or_default() += seconds;
            }
        }
        // A price of this very instant has held for no time, and is all that is known.
        held.entry(last.price).or_insert(1);
        let covered = held.values().sum();
        Some(Self {
            steps: held.into_iter().collect(),
            now: last.price,
            since: *since,
            pay_as_you_go: counted.values().rev().find_map(|point| point.pay_as_you_go),
            covered,
        })
    }

    /// The price at the end of the window.
    pub fn now(&self) -> Price {
        self.now
    }

    /// From when it holds.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The lowest price.
    pub fn lowest(&self) -> Price {
        self.quantile(0)
    }

    /// The price that was not exceeded in half of the time.
    pub fn median(&self) -> Price {
        self.quantile(50)
    }

    /// The price that was not exceeded in nine tenths of the time.
    pub fn p90(&self) -> Price {
        self.quantile(90)
    }

    /// The highest price.
    pub fn highest(&self) -> Price {
        self.quantile(100)
    }

    /// The newest price of a regular instance.
    pub fn pay_as_you_go(&self) -> Option<Price> {
        self.pay_as_you_go
    }

    /// For how much of the window a price is known.
    pub fn covered(&self) -> SignedDuration {
        SignedDuration::from_secs(self.covered)
    }

    /// The lowest price that was not exceeded in `percent` of the time.
    fn quantile(&self, percent: i64) -> Price {
        let wanted = self.covered.saturating_mul(percent);
        let mut held = 0_i64;
        for (price, seconds) in &self.steps {
            held = held.saturating_add(*seconds);
            if held.saturating_mul(100) >= wanted.max(1) {
                return *price;
            }
        }
        self.now
    }

    /// For how much of the time the price was above a limit, in thousandths, rounded up: 0 means never.
    pub fn above(&self, limit: Price) -> i64 {
        let above: i64 = self.steps.iter().filter(|(price, _)| *price > limit).map(|(_, held)| held).sum();
        (above.saturating_mul(1_000) + self.covered - 1) / self.covered.max(1)
    }

    /// A limit for this market.
    pub fn suggestion(&self) -> Suggestion {
        let above_all = self.highest().percent(HEADROOM).as_limit();
        let regular = self.pay_as_you_go.map(Price::as_limit);
        match regular {
            Some(regular) if self.covered < LEAST_HOURS * 3_600 => {
                Suggestion { limit: regular, basis: Basis::ShortHistory }
            }
            Some(regular) if above_all >= regular => Suggestion { limit: regular, basis: Basis::PayAsYouGo },
            _ => Suggestion { limit: above_all, basis: Basis::HighestPrice },
        }
    }
}

/// A limit, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The limit, with three decimals.
    pub limit: Price,
    /// Why this one.
    pub basis: Basis,
}

/// What a suggested limit rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A tenth above the highest price of the window.
    HighestPrice,
    /// The price came close to that of a regular instance, which is then the limit: beyond it a regular instance costs
    /// less and is not taken back.
    PayAsYouGo,
    /// Too little is known, so the limit is the price of a regular instance.
    ShortHistory,
}

impl Basis {
    /// In words.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::HighestPrice => "a tenth above the highest price",
            Self::PayAsYouGo => {
                "the pay-as-you-go price: the market came within a tenth of it, and beyond it a regular instance costs less"
            }
            Self::ShortHistory => "the pay-as-you-go price: less than 7 days of prices are known",
        }
    }

    /// In a word, for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HighestPrice => "HighestPrice",
            Self::PayAsYouGo => "PayAsYouGo",
            Self::ShortHistory => "ShortHistory",
        }
    }
}

/// An instance type in a zone, with all that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The instance type.
    pub instance_type: Name,
    /// The zone.
    pub zone: Name,
    /// Its price; `None` when none is known.
    pub curve: Option<Curve>,
    /// Average price in percent of pay-as-you-go, in the vendor's words.
    pub price_percent: Option<u8>,
    /// How many instances were taken back in 30 days, in hundredths of a percent.
    pub interruption: Option<u16>,
    /// The same as a range in the vendor's words.
    pub interruption_range: Option<String>,
}

impl Offer {
    /// How many percent the price now is below that of a regular instance.
    pub fn discount(&self) -> Option<i64> {
        let curve = self.curve.as_ref()?;
        Some(100 - curve.now().in_percent_of(curve.pay_as_you_go()?)?)
    }
}

/// Advice and prices put together: one offer for each type and zone of either. The lowest price now first, those without
/// a price last; among equals the one that is taken back least, then by name.
pub fn offers(
    advice: &[Advice],
    prices: &BTreeMap<Name, Vec<PricePoint>>,
    from: Timestamp,
    to: Timestamp,
) -> Vec<Offer> {
    let advised: BTreeMap<(&Name, &Name), &Advice> =
        advice.iter().map(|one| ((&one.instance_type, &one.zone), one)).collect();
    let from_prices =
        prices.iter().flat_map(|(kind, points)| points.iter().map(move |point| (kind, &point.zone)));
    let keys: BTreeSet<(&Name, &Name)> = advised.keys().copied().chain(from_prices).collect();
    let offer = |(kind, zone): (&Name, &Name)| {
        let points = prices.get(kind).into_iter().flatten().filter(|point| point.zone == *zone);
        let said = advised.get(&(kind, zone));
        Offer {
            instance_type: kind.clone(),
            zone: zone.clone(),
            curve: Curve::of(points, from, to),
            price_percent: said.and_then(|advice| advice.price_percent),
            interruption: said.and_then(|advice| advice.interruption),
            interruption_range: said.and_then(|advice| advice.interruption_range.clone()),
        }
    };
    let mut offers: Vec<Offer> = keys.into_iter().map(offer).collect();
    offers.sort_by_key(|offer| {
        let now = offer.curve.as_ref().map(Curve::now);
        (now.is_none(), now, offer.interruption.unwrap_or(u16::MAX))
    });
    offers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + hours * HOUR).unwrap()
    }

    fn price(text: &str) -> Price {
        Price::parse(text).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn point(hours: i64, text: &str) -> PricePoint {
        PricePoint { zone: name("z-a"), at: at(hours), price: price(text), pay_as_you_go: Some(price("1")) }
    }

    fn curve(points: &[(i64, &str)], from: i64, to: i64) -> Option<Curve> {
        let points: Vec<_> = points.iter().map(|(hours, text)| point(*hours, text)).collect();
        Curve::of(&points, at(from), at(to))
    }

    fn shown(curve: &Curve) -> [String; 5] {
        [curve.now(), curve.lowest(), curve.median(), curve.p90(), curve.highest()].map(|p| p.to_string())
    }

    #[test]
    fn prices_count_by_how_long_they_held_and_not_by_how_often_they_were_said() {
        let long = curve(&[(0, "0.1"), (80, "0.5"), (81, "0.4"), (82, "0.5"), (90, "0.2")], 0, 100).unwrap();
        assert_eq!(shown(&long), ["0.200", "0.100", "0.100", "0.200", "0.500"]);
        assert_eq!(long.covered(), SignedDuration::from_hours(100));
        assert_eq!(long.since(), at(90));
    }

    #[test]
    fn the_order_of_points_does_not_matter() {
        let points = [(80, "0.5"), (90, "0.2"), (0, "0.1")];
        assert_eq!(curve(&points, 0, 100), curve(&[(0, "0.1"), (80, "0.5"), (90, "0.2")], 0, 100));
    }

    #[test]
    fn the_price_before_the_window_holds_into_it_and_later_ones_do_not_count() {
        let found = curve(&[(-50, "0.3"), (-10, "0.1"), (40, "0.2"), (101, "9")], 0, 100).unwrap();
        assert_eq!(shown(&found), ["0.200", "0.100", "0.200", "0.200", "0.200"]);
        assert_eq!(curve(&[(101, "9")], 0, 100), None);
        assert_eq!(curve(&[], 0, 100), None);
        let young = curve(&[(90, "0.2")], 0, 100).unwrap();
        assert_eq!(young.covered(), SignedDuration::from_hours(10), "nothing is known of the time before");
    }

    #[test]
    fn a_price_of_this_instant_is_all_that_is_known() {
        let found = curve(&[(100, "0.7")], 0, 100).unwrap();
        assert_eq!(shown(&found), ["0.700"; 5]);
    }

    #[test]
    fn the_time_above_a_limit_is_rounded_up_so_that_zero_means_never() {
        let found = curve(&[(0, "0.1"), (90, "0.5"), (91, "0.1")], 0, 2_000).unwrap();
        for (limit, thousandths) in [("0.09", 1_000), ("0.1", 1), ("0.499", 1), ("0.5", 0), ("2", 0)] {
            assert_eq!(found.above(price(limit)), thousandths, "{limit}");
        }
    }

    #[test]
    fn a_limit_is_suggested_with_its_reason() {
        for (points, to, limit, basis) in [
            (&[(0, "0.1"), (80, "0.5")][..], 720, "0.550", Basis::HighestPrice),
            (&[(0, "0.1001")], 720, "0.111", Basis::HighestPrice),
            (&[(0, "0.1"), (80, "0.95")], 720, "1.000", Basis::PayAsYouGo),
            (&[(0, "0.1"), (80, "1")], 720, "1.000", Basis::PayAsYouGo),
            (&[(0, "0.1")], 167, "1.000", Basis::ShortHistory),
            (&[(0, "0.1")], 168, "0.110", Basis::HighestPrice),
        ] {
            let found = curve(points, 0, to).unwrap().suggestion();
            assert_eq!((found.limit.to_string().as_str(), found.basis), (limit, basis), "{points:?}");
        }
        let unknown = PricePoint { pay_as_you_go: None, ..point(0, "0.1") };
        let found = Curve::of([&unknown], at(0), at(1)).unwrap().suggestion();
        assert_eq!((found.limit, found.basis), (price("0.11"), Basis::HighestPrice));
    }

    #[test]
    fn advice_and_prices_are_put_together_the_cheapest_first() {
        let say = |kind: &str, zone: &str, rate| Advice {
            zone: name(zone),
            instance_type: name(kind),
            price_percent: Some(20),
            interruption: rate,
            interruption_range: None,
        };
        let advice = [
            say("t-1", "z-a", Some(300)),
            say("t-2", "z-a", Some(100)),
            say("t-3", "z-a", None),
            say("t-1", "z-b", None),
        ];
        let elsewhere = PricePoint { zone: name("z-c"), ..point(0, "0.3") };
        let prices = BTreeMap::from([
            (name("t-1"), vec![point(0, "0.2"), elsewhere]),
            (name("t-2"), vec![point(0, "0.2")]),
            (name("t-3"), vec![point(0, "0.1")]),
        ]);
        let found = offers(&advice, &prices, at(0), at(10));
        let order: Vec<_> = found
            .iter()
            .map(|o| (o.instance_type.as_str(), o.zone.as_str(), o.discount(), o.interruption))
            .collect();
        assert_eq!(
            order,
            [
                ("t-3", "z-a", Some(90), None),
                ("t-2", "z-a", Some(80), Some(100)),
                ("t-1", "z-a", Some(80), Some(300)),
                ("t-1", "z-c", Some(70), None),
                ("t-1", "z-b", None, None),
            ]
        );
    }

    proptest! {
        #[test]
        fn quantiles_rise_and_lie_among_the_prices(
            raw in prop::collection::vec((-1_000..1_000_i64, 0..2_000_000_i64), 1..40),
            span in 0..1_000_i64,
            limit in 0..2_000_000_i64,
        ) {
            let points: Vec<PricePoint> = raw
                .iter()
                .map(|(hours, micros)| PricePoint { price: Price::from_micros(*micros).unwrap(), ..point(*hours, "0") })
                .collect();
            if let Some(curve) = Curve::of(&points, at(0), at(span)) {
                let rising = [curve.lowest(), curve.median(), curve.p90(), curve.highest()];
                prop_assert!(rising.is_sorted());
                prop_assert!(points.iter().any(|point| point.price == curve.median()));
                prop_assert!(curve.lowest() <= curve.now() && curve.now() <= curve.highest());
                prop_assert!((0..=1_000).contains(&curve.above(Price::from_micros(limit).unwrap())));
                prop_assert_eq!(curve.above(curve.highest()), 0);
                prop_assert!(curve.covered() >= SignedDuration::from_secs(1));
                let suggestion = curve.suggestion();
                prop_assert_eq!(suggestion.limit.as_limit(), suggestion.limit);
            } else {
                prop_assert!(points.iter().all(|point| point.at > at(span)));
            }
        }
    }
}
