//! Prices as exact numbers: limits are compared with them, and a float would make a limit of 0.1 lie under a price of 0.1.

use std::fmt;

/// Millionths in one.
const MICROS: i64 = 1_000_000;

/// Millionths in the smallest step of a price limit, which has at most three decimals (vendor's documentation).
const LIMIT_STEP: i64 = 1_000;

/// Decimals that are kept.
const DECIMALS: usize = 6;

/// A price for an hour, in millionths of the account's currency, from 0 to [`Price::MOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(i64);

impl Price {
    /// The highest price that is believed: a million for an hour.
    pub const MOST: Self = Self(1_000_000 * MICROS);

    /// From millionths; `None` when out of range.
    pub const fn from_micros(micros: i64) -> Option<Self> {
        if micros >= 0 && micros <= Self::MOST.0 { Some(Self(micros)) } else { None }
    }

    /// In millionths.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads a decimal number such as `0.085`; decimals beyond the sixth are cut. `None` for anything else: a sign, an
    /// exponent, no digits, or more than [`Price::MOST`].
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').map_or((text, None), |(w, d)| (w, Some(d)));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || decimals.is_some_and(|d| !is_digits(d)) {
            return None;
        }
        let kept: String = decimals.unwrap_or_default().chars().take(DECIMALS).collect();
        let micros: i64 = format!("{kept:0<DECIMALS$}").parse().ok()?;
        Self::from_micros(whole.parse::<i64>().ok()?.checked_mul(MICROS)?.checked_add(micros)?)
    }

    /// The least price limit that is not below it: the next step of 0.001.
    #[must_use]
    pub fn as_limit(self) -> Self {
        let steps = self.0.div_euclid(LIMIT_STEP) + i64::from(self.0.rem_euclid(LIMIT_STEP) > 0);
        Self((steps * LIMIT_STEP).min(Self::MOST.0))
    }

    /// So many percent of it, cut to whole millionths and to [`Price::MOST`].
    #[must_use]
    pub fn percent(self, percent: u16) -> Self {
        let micros = i128::from(self.0) * i128::from(percent) / 100;
        Self(i64::try_from(micros).unwrap_or(i64::MAX).min(Self::MOST.0))
    }

    /// How many percent of `other` it is, rounded; `None` when that is free.
    pub fn in_percent_of(self, other: Self) -> Option<i64> {
        let percent =
            (i128::from(self.0) * 200 + i128::from(other.0)).checked_div(i128::from(other.0) * 2)?;
        i64::try_from(percent).ok()
    }
}

impl fmt::Display for Price {
    /// At least three decimals, at most six.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % MICROS);
        let (kept, rest) = decimals.split_at(3);
        write!(f, "{}.{kept}{}", self.0 / MICROS, rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(text: &str) -> Price {
        Price::parse(text).unwrap()
    }

    #[test]
    fn decimals_are_read_exactly_and_nothing_else_is() {
        for (text, micros) in [
            ("0", 0),
            ("0.1", 100_000),
            ("0.085", 85_000),
            ("12.3456789", 12_345_678),
            ("00.5", 500_000),
            ("1000000", 1_000_000_000_000),
        ] {
            assert_eq!(price(text).micros(), micros, "{text}");
        }
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1000001", "99999999999999999999", "NaN"]
        {
            assert_eq!(Price::parse(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_shown_with_three_to_six_decimals() {
        for (text, shown) in
            [("0", "0.000"), ("0.1", "0.100"), ("1.23456", "1.23456"), ("0.000001", "0.000001")]
        {
            assert_eq!(price(text).to_string(), shown);
        }
    }

    #[test]
    fn a_limit_is_rounded_up_to_three_decimals() {
        for (text, limit) in [("0.1", "0.100"), ("0.1001", "0.101"), ("0.100001", "0.101"), ("0", "0.000")] {
            assert_eq!(price(text).as_limit().to_string(), limit);
        }
        assert_eq!(Price::MOST.as_limit(), Price::MOST);
    }

    #[test]
    fn percentages() {
        assert_eq!(price("0.5").percent(110), price("0.55"));
        assert_eq!(Price::MOST.percent(u16::MAX), Price::MOST);
        assert_eq!(price("0.125").in_percent_of(price("1")), Some(13), "12.5 is rounded");
        assert_eq!(price("0.12").in_percent_of(price("0")), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(micros in 0..=Price::MOST.micros()) {
            let price = Price::from_micros(micros).unwrap();
            prop_assert_eq!(Price::parse(&price.to_string()), Some(price));
            prop_assert!(price.as_limit() >= price);
            prop_assert!(price.as_limit().micros() - micros < LIMIT_STEP);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = Price::parse(&text);
        }
    }
}
