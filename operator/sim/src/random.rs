//! A small seeded generator: the same seed gives the same world on every machine.

use std::fmt::Write as _;

/// Splitmix64: one word of state, good enough to scatter IDs and faults; nothing here is a secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included; `low` when they are the wrong way round.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.checked_sub(low) {
            None | Some(0) => low,
            Some(u64::MAX) => self.next(),
            Some(span) => low + self.next() % (span + 1),
        }
    }

    /// True with the given probability, 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what a float holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        unit < probability
    }

    /// An ID of the cloud: the prefix and 20 lower-case letters and digits.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut text = format!("{prefix}-");
        for _ in 0..2 {
            let mut word = self.next();
            for _ in 0..10 {
                text.push(char::from(DIGITS[usize::try_from(word % 36).unwrap_or_default()]));
                word /= 36;
            }
        }
        text
    }

    /// The ID of a request, as the cloud writes them.
    pub(crate) fn request_id(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        let mut text = String::with_capacity(36);
        let _ = write!(
            text,
            "{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_ids_do_not_repeat() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let ids: std::collections::BTreeSet<String> = (0..1_000).map(|_| a.id("imc")).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 24 && id.starts_with("imc-")));
        assert!((0..1_000).map(|_| b.id("imc")).all(|id| ids.contains(&id)));
    }

    #[test]
    fn a_choice_stays_in_its_range_and_reaches_both_ends() {
        let mut random = Random::new(1);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| random.between(3, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), vec![3, 4, 5]);
        assert_eq!(random.between(9, 2), 9);
        assert!((0..100).all(|_| !random.chance(0.0) && random.chance(1.0)));
    }
}
