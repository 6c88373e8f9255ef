//! Pods that were made without what their profiles say, because nobody was there to put it into them.
//!
//! The mark of a pod is read for this count only: nothing that is done to a pod goes by it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::time::after;

/// How long after its last change a profile may be unknown to those who admit pods.
pub const SETTLES: Duration = Duration::from_secs(10);

/// When the spec of a profile was last written, as far as its fields' managers tell; else when it was created.
pub fn changed(profile: &ObjectMeta) -> Timestamp {
    let of_spec = |entry: &&ManagedFieldsEntry| entry.subresource.as_deref().unwrap_or_default().is_empty();
    let managed = profile.managed_fields.iter().flatten().filter(of_spec);
    let times = managed.filter_map(|entry| entry.time.as_ref()).chain(&profile.creation_timestamp);
    times.map(|time| time.0).max().unwrap_or(Timestamp::MIN)
}

/// Whether a pod was made without a profile that selects it. `mark` is its annotation
/// [`PROFILES_ANNOTATION`](crate::profile::PROFILES_ANNOTATION); `changed` is when the spec of the profile was last
/// written: of older pods nobody can say whether the profile was to have them.
pub fn misses(mark: Option<&str>, created: Timestamp, profile: &str, changed: Timestamp) -> bool {
    created > after(changed, SETTLES) && !mark.is_some_and(|mark| names(mark).any(|name| name == profile))
}

/// The names in `base@3,spot@7`.
fn names(mark: &str) -> impl Iterator<Item = &str> {
    mark.split(',').map(|part| part.split_once('@').map_or(part, |(name, _)| name).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_missed_by_a_profile_that_is_older_and_not_in_its_mark() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (mark, created, expected) in [
            (None, 200, true),
            (None, 110, false),
            (None, 111, true),
            (None, 50, false),
            (Some("spot@7"), 200, false),
            (Some("base@3,spot@7"), 200, false),
            (Some("base@3, spot@6"), 200, false),
            (Some("spotty@1,base@3"), 200, true),
            (Some(""), 200, true),
            (Some("@@,,"), 200, true),
        ] {
            assert_eq!(misses(mark, at(created), "spot", at(100)), expected, "{mark:?} {created}");
        }
    }
}
