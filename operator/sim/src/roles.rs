//! Roles that give temporary access keys: STS for service accounts, and the metadata service of an instance.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::later;
use crate::keys::{Key, KeyState, Keys};
use crate::random::Random;
use crate::secret::Digest;
use crate::world::ApiError;

/// Most metadata tokens that are remembered.
const TOKENS: usize = 1_000;
/// Longest life of a metadata token, seconds.
const LONGEST_TTL: u64 = 21_600;

/// Who may have temporary keys. As JSON (admin API, camelCase) every field may be left out; the whole is replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoleSettings {
    /// ARN of the role that service accounts may assume; none when absent.
    pub role_arn: Option<String>,
    /// ARN of the identity provider.
    pub oidc_provider_arn: Option<String>,
    /// Tokens of service accounts that are accepted.
    pub oidc_tokens: Vec<Digest>,
    /// Name of the instance's role; none when absent.
    pub node_role: Option<String>,
    /// Life of a key, milliseconds; an hour when absent.
    pub life_ms: Option<u64>,
    /// STS answers everything with this code.
    pub refuse: Option<String>,
}

/// The services.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    pub(crate) settings: RoleSettings,
    /// Tokens of the metadata service, and when they end.
    tokens: BTreeMap<String, Timestamp>,
}

impl Roles {
    /// `AssumeRoleWithOIDC`, with the decoded form.
    pub(crate) fn assume(
        &self,
        form: &BTreeMap<String, String>,
        keys: &mut Keys,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        if let Some(code) = &self.settings.refuse {
            return Err(ApiError::new(code, "The simulator was told to say so."));
        }
        let value = |name: &str| form.get(name).map(String::as_str).ok_or_else(|| ApiError::missing(name));
        let (role, provider) = (value("RoleArn")?, value("OIDCProviderArn")?);
        let (token, session) = (value("OIDCToken")?, value("RoleSessionName")?);
        if self.settings.oidc_provider_arn.as_deref() != Some(provider) {
            return Err(ApiError::new("EntityNotExist.OIDCProvider", "The OIDC provider does not exist."));
        }
        if self.settings.role_arn.as_deref() != Some(role) {
            return Err(ApiError::new("EntityNotExist.Role", "The role does not exist."));
        }
        if !self.settings.oidc_tokens.contains(&Digest::of(token)) {
            return Err(ApiError::new("AuthenticationFail.OIDCToken.Invalid", "The OIDC token is invalid."));
        }
        if let Some(seconds) = form.get("DurationSeconds")
            && seconds.parse::<u64>().ok().is_none_or(|seconds| seconds < 900)
        {
            return Err(ApiError::invalid("DurationSeconds", "it must be 900 or more"));
        }
        let key = self.issue(keys, random, now);
        Ok(json!({
            "AssumedRoleUser": { "Arn": format!("{role}/{session}"), "AssumedRoleId": format!("1:{session}") },
            "Credentials": key,
            "OIDCTokenInfo": { "Issuer": "https://oidc.example.com", "Subject": "system:serviceaccount:a:b" },
        }))
    }

    /// `PUT /latest/api/token`
    pub(crate) fn metadata_token(
        &mut self,
        ttl: Option<&str>,
        random: &mut Random,
        now: Timestamp,
    ) -> Option<String> {
        let ttl: u64 = ttl?.parse().ok().filter(|ttl| (1..=LONGEST_TTL).contains(ttl))?;
        self.tokens.retain(|_, end| *end > now);
        if self.tokens.len() >= TOKENS {
            self.tokens.pop_first();
        }
        let token = random.id("metadata");
        self.tokens.insert(token.clone(), later(now, Duration::from_secs(ttl)));
        Some(token)
    }

    /// Whether the token is one of the service's. Without one it answers nothing: hardened mode.
    pub(crate) fn knows(&self, token: Option<&str>, now: Timestamp) -> bool {
        token.and_then(|token| self.tokens.get(token)).is_some_and(|end| *end > now)
    }

    /// The credentials of the instance's role; `None` when it has another or none.
    pub(crate) fn of_node(
        &self,
        role: &str,
        keys: &mut Keys,
        random: &mut Random,
        now: Timestamp,
    ) -> Option<Value> {
        self.settings.node_role.as_deref().filter(|name| *name == role)?;
        let mut key = self.issue(keys, random, now);
        key["Code"] = json!("Success");
        key["LastUpdated"] = json!(whole_second(now));
        Some(key)
    }

    fn issue(&self, keys: &mut Keys, random: &mut Random, now: Timestamp) -> Value {
        let (id, secret, token) = (random.id("STS.sim"), random.id("secret"), random.id("token"));
        let life = self.settings.life_ms.map_or(Duration::from_hours(1), Duration::from_millis);
        let end = later(now, life);
        let key = Key {
            id: id.clone(),
            secret: SecretString::from(secret.as_str()),
            security_token: Some(SecretString::from(token.as_str())),
            state: KeyState::Active,
        };
        keys.insert_until(key, end);
        json!({
            "AccessKeyId": id,
            "AccessKeySecret": secret,
            "SecurityToken": token,
            "Expiration": whole_second(end),
        })
    }
}

/// As the vendor writes it: whole seconds.
fn whole_second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
