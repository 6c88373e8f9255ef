//! Sizes as users write them and as the cloud wants them.

use std::fmt;

/// Smallest cache size in GiB (vendor's CRD documentation).
pub const MIN_GIB: i32 = 20;
/// Largest cache size in GiB (vendor's CRD documentation).
pub const MAX_GIB: i32 = 32_768;

/// A cache size in whole GiB, between [`MIN_GIB`] and [`MAX_GIB`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheSize(i32);

impl Default for CacheSize {
    /// The cloud's own default, 20 GiB.
    fn default() -> Self {
        Self(MIN_GIB)
    }
}

/// Why a size is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not digits followed by `Gi` or `Ti`.
    #[error("size {0:?} is not a whole number of Gi or Ti, such as 40Gi")]
    Syntax(String),
    /// Outside the cloud's range.
    #[error("size {0:?} is outside 20Gi to 32768Gi (32Ti)")]
    Range(String),
}

impl CacheSize {
    /// Takes a number of GiB.
    pub fn from_gib(gib: i32) -> Result<Self, SizeError> {
        if (MIN_GIB..=MAX_GIB).contains(&gib) {
            Ok(Self(gib))
        } else {
            Err(SizeError::Range(format!("{gib}Gi")))
        }
    }

    /// Whole GiB.
    pub fn gib(self) -> i32 {
        self.0
    }

    /// Reads `^[1-9][0-9]*(Gi|Ti)$`.
    pub fn parse(text: &str) -> Result<Self, SizeError> {
        let syntax = || SizeError::Syntax(clip(text));
        let (digits, unit) = match (text.strip_suffix("Gi"), text.strip_suffix("Ti")) {
            (Some(digits), _) => (digits, 1),
            (None, Some(digits)) => (digits, 1024),
            (None, None) => return Err(syntax()),
        };
        if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(syntax());
        }
        let range = || SizeError::Range(clip(text));
        let gib = digits.parse::<i32>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(range)?;
        Self::from_gib(gib).map_err(|_| range())
    }
}

impl fmt::Display for CacheSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Gi", self.0)
    }
}

/// A hostile string must not fill an error message.
fn clip(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_gi_and_ti() {
        assert_eq!(CacheSize::parse("20Gi").unwrap().gib(), 20);
        assert_eq!(CacheSize::parse("32Ti").unwrap().gib(), MAX_GIB);
        assert_eq!(CacheSize::parse("32768Gi").unwrap().gib(), MAX_GIB);
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for bad in ["", "Gi", "20", "020Gi", "+20Gi", "20GiB", "20 Gi", "1.5Ti", "２０Gi", "20gi"] {
            assert!(matches!(CacheSize::parse(bad), Err(SizeError::Syntax(_))), "{bad}");
        }
        for bad in ["19Gi", "33Ti", "32769Gi", "99999999999999999999Gi", "2147483647Ti"] {
            assert!(matches!(CacheSize::parse(bad), Err(SizeError::Range(_))), "{bad}");
        }
    }
}
