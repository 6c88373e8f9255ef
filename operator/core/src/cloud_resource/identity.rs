//! Tokens and tags: how a cloud resource is known to be ours.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::cloud::ClientToken;

/// Tag: the cluster.
pub const TAG_CLUSTER: &str = "eci-operator.io/cluster";
/// Tag: namespace of the object.
pub const TAG_NAMESPACE: &str = "eci-operator.io/namespace";
/// Tag: name of the object.
pub const TAG_NAME: &str = "eci-operator.io/name";
/// Tag: UID of the object.
pub const TAG_UID: &str = "eci-operator.io/uid";
/// Tag: attempt that made the resource.
pub const TAG_ATTEMPT: &str = "eci-operator.io/attempt";
/// Tag: digest of what the resource was asked to hold, where the cloud does not show it. No ownership tag: it stays true
/// whoever owns the resource.
pub const TAG_CONTENT: &str = "eci-operator.io/content";
/// Tag that replaces the five of a resource whose object went with `deletionPolicy: Retain`.
pub const TAG_RETAINED: &str = "eci-operator.io/retained";

/// The tags that say who owns a resource.
pub const OWNERSHIP_TAGS: [&str; 5] = [TAG_CLUSTER, TAG_NAMESPACE, TAG_NAME, TAG_UID, TAG_ATTEMPT];

/// The object that owns a cloud resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// ID of the cluster.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

impl Owner {
    /// The tags of a resource that `attempt` makes.
    pub fn tags(&self, attempt: i64) -> BTreeMap<String, String> {
        [
            (TAG_CLUSTER, self.cluster.clone()),
            (TAG_NAMESPACE, self.namespace.clone()),
            (TAG_NAME, self.name.clone()),
            (TAG_UID, self.uid.clone()),
            (TAG_ATTEMPT, attempt.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// The client token of `attempt` with a request: the same in every process, and no other object's, attempt's or
    /// request's. The request is part of it because an attempt number can come twice after a status was lost, and
    /// nobody knows whether the cloud refuses a token that comes back with another request or gives the first answer.
    pub fn token(&self, attempt: i64, fingerprint: &str) -> ClientToken {
        let mut hash = Sha256::new();
        for part in [self.cluster.as_str(), self.uid.as_str(), &attempt.to_string(), fingerprint] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        ClientToken::of_digest(&hash.finalize())
    }

    /// Whether the tags are of this very object.
    pub fn owns(&self, tags: &BTreeMap<String, String>) -> bool {
        self.has(tags, TAG_CLUSTER, &self.cluster) && self.has(tags, TAG_UID, &self.uid)
    }

    /// Whether the tags are of an object of this cluster, namespace and name, whatever its UID.
    pub fn is_namesake(&self, tags: &BTreeMap<String, String>) -> bool {
        self.has(tags, TAG_CLUSTER, &self.cluster)
            && self.has(tags, TAG_NAMESPACE, &self.namespace)
            && self.has(tags, TAG_NAME, &self.name)
    }

    #[allow(clippy::unused_self, reason = "reads as a sentence at the call")]
    fn has(&self, tags: &BTreeMap<String, String>, key: &str, value: &str) -> bool {
        tags.get(key).is_some_and(|v| v == value)
    }
}

/// The value of [`TAG_CONTENT`] for a text that says what was asked for. Resources bear it for years: it never changes.
pub fn content(text: &str) -> String {
    // 128 bits are enough against chance, and nobody gains by a collision in his own object.
    Sha256::digest(text).iter().take(16).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The attempt that the tags name; `None` when there is none or it is not a positive number.
pub fn attempt_of(tags: &BTreeMap<String, String>) -> Option<i64> {
    tags.get(TAG_ATTEMPT)?.parse().ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(cluster: &str, uid: &str) -> Owner {
        Owner { cluster: cluster.into(), namespace: "ns".into(), name: "a".into(), uid: uid.into() }
    }

    #[test]
    fn a_token_is_stable_and_belongs_to_one_attempt_of_one_object_with_one_request() {
        let token = owner("c", "u").token(1, "r");
        assert_eq!(token, owner("c", "u").token(1, "r"));
        assert_eq!(token.as_str().len(), 64);
        let u = owner("c", "u");
        for other in
            [u.token(2, "r"), u.token(1, "s"), owner("c", "v").token(1, "r"), owner("cu", "").token(1, "r")]
        {
            assert_ne!(token, other);
        }
    }

    #[test]
    fn tags_name_the_owner_and_the_attempt() {
        let tags = owner("c", "u").tags(7);
        assert_eq!(attempt_of(&tags), Some(7));
        assert!(owner("c", "u").owns(&tags));
        assert!(!owner("c", "v").owns(&tags));
        assert!(owner("c", "v").is_namesake(&tags));
        assert!(!owner("d", "u").owns(&tags));
        assert!(!owner("c", "u").owns(&BTreeMap::new()));
    }

    #[test]
    fn the_digest_of_a_content_is_the_same_for_ever() {
        assert_eq!(content("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(content("abd"), content("abc"));
    }

    #[test]
    fn a_hostile_attempt_is_none() {
        for bad in ["", "-1", "0", "1e3", "99999999999999999999", "x"] {
            assert_eq!(
                attempt_of(&BTreeMap::from([(TAG_ATTEMPT.to_owned(), bad.to_owned())])),
                None,
                "{bad}"
            );
        }
    }
}
