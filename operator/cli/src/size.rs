//! Sizes of pods, as people write them.

use std::str::FromStr;

/// Bytes of a GiB.
pub(crate) const GIB: u64 = 1 << 30;

/// Thousandths of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu(pub u64);

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u64);

/// The text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    /// Of vCPUs.
    #[error("use a number of vCPUs above 0 with at most three decimals, such as 4, 0.5 or 500m")]
    Vcpu,
    /// Of memory.
    #[error("use an amount above 0 in Mi, Gi or Ti, such as 8Gi")]
    Memory,
}

impl FromStr for Vcpu {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let decimal = || {
            let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
            let decimals =
                number(&format!("{decimals:0<3}")).filter(|_| (1..=3).contains(&decimals.len()))?;
            number(whole)?.checked_mul(1_000)?.checked_add(decimals)
        };
        let thousandths = text.strip_suffix('m').map_or_else(decimal, number);
        thousandths.filter(|amount| *amount > 0).map(Self).ok_or(BadSize::Vcpu)
    }
}

impl FromStr for Memory {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let units = [("Mi", 1 << 20), ("Gi", GIB), ("Ti", 1 << 40)];
        let bytes =
            units.iter().find_map(|(unit, bytes)| number(text.strip_suffix(unit)?)?.checked_mul(*bytes));
        bytes.filter(|amount| *amount > 0).map(Self).ok_or(BadSize::Memory)
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them_and_nothing_else_is() {
        for (text, amount) in [("4", 4_000), ("0.5", 500), ("500m", 500), ("1.25", 1_250), ("0.001", 1)] {
            assert_eq!(text.parse(), Ok(Vcpu(amount)), "{text}");
        }
        for text in ["", "0", "0m", "-1", "+1", "1.", ".5", "1.2345", "1e3", "4 ", "99999999999999999999"] {
            assert_eq!(text.parse::<Vcpu>(), Err(BadSize::Vcpu), "{text}");
        }
        for (text, amount) in [("8Gi", 8 * GIB), ("512Mi", GIB / 2), ("1Ti", 1_024 * GIB)] {
            assert_eq!(text.parse(), Ok(Memory(amount)), "{text}");
        }
        for text in
            ["", "8", "8G", "0Gi", "-8Gi", "1.5Gi", "Gi", "99999999999999999999Gi", "9999999999999999Ti"]
        {
            assert_eq!(text.parse::<Memory>(), Err(BadSize::Memory), "{text}");
        }
    }
}
