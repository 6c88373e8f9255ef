//! Secrets that the world compares but never holds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Marks a text as the digest of a secret and not the secret itself.
const MARK: &str = "sha256:";

/// The SHA-256 of a secret. Reading one from JSON takes either the secret itself or `sha256:` and 64 hex digits, which
/// is what is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The digest of a secret.
    pub fn of(secret: &str) -> Self {
        Self(hex::encode(sha2::Sha256::digest(secret.as_bytes())))
    }

    /// `sha256:` and the first 12 hex digits: enough to compare, for people.
    pub fn short(&self) -> String {
        format!("{MARK}{}", self.0.get(..12).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{MARK}{}", self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(match text.strip_prefix(MARK) {
            Some(digits) if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Self(digits.to_ascii_lowercase())
            }
            _ => Self::of(&text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_json_and_shows_no_secret() {
        let digest: Digest = serde_json::from_str("\"made-up\"").unwrap();
        let written = serde_json::to_string(&digest).unwrap();
        assert!(!written.contains("made-up") && !format!("{digest:?}").contains("made-up"));
        assert_eq!(serde_json::from_str::<Digest>(&written).unwrap(), digest);
        assert_eq!(digest, Digest::of("made-up"));
    }
}
