//! Access keys that the simulated cloud accepts.

use std::collections::BTreeMap;

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
pub struct Keys(BTreeMap<String, Key>);

impl Keys {
    /// Adds a key, or replaces the one with its ID.
    pub fn insert(&mut self, key: Key) {
        self.0.insert(key.id.clone(), key);
    }

    /// Changes what the cloud thinks of a key. False when there is none.
    pub fn set_state(&mut self, id: &str, state: KeyState) -> bool {
        self.0.get_mut(id).map(|key| key.state = state).is_some()
    }

    /// The key that a call claims to be signed with.
    pub(crate) fn find(&self, id: &str) -> Result<&Key, ApiError> {
        let key = self.0.get(id).filter(|key| key.state != KeyState::Unknown).ok_or_else(|| {
            ApiError::new("InvalidAccessKeyId.NotFound", "The specified access key is not found.")
        })?;
        match key.state {
            KeyState::Inactive => {
                Err(ApiError::new("InvalidAccessKeyId.Inactive", "The specified access key is disabled."))
            }
            KeyState::TokenExpired => Err(ApiError::new(
                "InvalidSecurityToken.Expired",
                "The specified security token has expired.",
            )),
            KeyState::Active | KeyState::Denied | KeyState::Unknown => Ok(key),
        }
    }
}
