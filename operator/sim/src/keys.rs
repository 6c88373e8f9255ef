//! Access keys that the simulated cloud accepts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::world::ApiError;

/// An access key. Its Debug form has no secret.
#[derive(Clone, Debug)]
pub struct Key {
    /// `AccessKeyId`
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// With a token it is a temporary key: calls must carry it.
    pub security_token: Option<SecretString>,
    /// What the cloud thinks of it.
    pub state: KeyState,
}

/// What the cloud thinks of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyState {
    /// Accepted.
    #[default]
    Active,
    /// `InvalidAccessKeyId.NotFound`
    Unknown,
    /// `InvalidAccessKeyId.Inactive`
    Inactive,
    /// Signature accepted, every call refused with `NoPermission`.
    Denied,
    /// `InvalidSecurityToken.Expired`
    TokenExpired,
}

/// The keys of the account, by ID.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    keys: BTreeMap<String, Key>,
    /// When temporary ones end, by the simulator's clock.
    ends: BTreeMap<String, Timestamp>,
}

impl Keys {
    /// Adds a key, or replaces the one with its ID.
    pub fn insert(&mut self, key: Key) {
        self.keys.insert(key.id.clone(), key);
    }

    /// Adds a temporary key.
    pub(crate) fn insert_until(&mut self, key: Key, end: Timestamp) {
        self.ends.insert(key.id.clone(), end);
        self.insert(key);
    }

    /// Ends all temporary keys at once.
    pub(crate) fn revoke_temporary(&mut self) {
        for id in self.ends.keys() {
            if let Some(key) = self.keys.get_mut(id) {
                key.state = KeyState::TokenExpired;
            }
        }
    }

    /// Changes what the cloud thinks of a key. False when there is none.
    pub fn set_state(&mut self, id: &str, state: KeyState) -> bool {
        self.keys.get_mut(id).map(|key| key.state = state).is_some()
    }

    /// The key that a call claims to be signed with.
    pub(crate) fn find(&self, id: &str, now: Timestamp) -> Result<&Key, ApiError> {
        let key = self.keys.get(id).filter(|key| key.state != KeyState::Unknown).ok_or_else(|| {
            ApiError::new("InvalidAccessKeyId.NotFound", "The specified access key is not found.")
        })?;
        if self.ends.get(id).is_some_and(|end| *end <= now) {
            return Err(expired());
        }
        match key.state {
            KeyState::Inactive => {
                Err(ApiError::new("InvalidAccessKeyId.Inactive", "The specified access key is disabled."))
            }
            KeyState::TokenExpired => Err(expired()),
            KeyState::Active | KeyState::Denied | KeyState::Unknown => Ok(key),
        }
    }
}

fn expired() -> ApiError {
    ApiError::new("InvalidSecurityToken.Expired", "The specified security token has expired.")
}
