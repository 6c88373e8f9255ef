//! How it ended for a pod with a notice.

use std::fmt;

/// The end of a pod that had a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was evicted in time and had its whole grace period.
    Graceful,
    /// It was evicted, but its grace period was cut short: by us, because the time was short, or by the release.
    Late,
    /// It was deleted against its budget (`onDeadline: Delete`).
    Forced,
    /// The instance was taken back before anybody told the pod to end.
    HardKilled,
    /// It ended by itself before an eviction was granted.
    Ended,
    /// It vanished, and nobody saw how.
    Vanished,
    /// The notice was taken back.
    Withdrawn,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &'static [Self] = &[
        Self::Graceful,
        Self::Late,
        Self::Forced,
        Self::HardKilled,
        Self::Ended,
        Self::Vanished,
        Self::Withdrawn,
    ];

    /// The word in metrics and events: CamelCase, stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Graceful => "Graceful",
            Self::Late => "Late",
            Self::Forced => "Forced",
            Self::HardKilled => "HardKilled",
            Self::Ended => "Ended",
            Self::Vanished => "Vanished",
            Self::Withdrawn => "Withdrawn",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who told the pod to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// This process.
    Us,
    /// Somebody else: the vendor, a person, an earlier process of ours.
    Others,
    /// Nobody.
    Nobody,
}

impl By {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Us => "Us",
            Self::Others => "Others",
            Self::Nobody => "Nobody",
        }
    }
}
