//! The RAM role of the instance, by its metadata service in hardened mode: a token first, and no way around it.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::exchange::{exchange, request};
use super::oidc::Given;
use super::{Credentials, CredentialsError, Source};
use crate::endpoint::{BadEndpoint, Endpoint};

/// Environment variable with the name of the role; the service is asked for it otherwise.
pub const ENV_ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
/// Environment variable: `true` to leave the service alone.
pub const ENV_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";

/// The same on every instance of the vendor's. Plain HTTP, which never leaves the host.
pub const ADDRESS: &str = "100.100.100.200";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
/// Life of the service's own token, seconds: it is used at once and forgotten.
const TTL: &str = "60";
const ROLES: &str = "/latest/meta-data/ram/security-credentials/";
/// Limit on one request.
const LIMIT: Duration = Duration::from_secs(1);
const WHAT: &str = "the instance's metadata service";
/// Longest name of a role.
const NAME_LIMIT: usize = 64;

/// The role of the instance.
#[derive(Clone, Debug)]
pub struct NodeRole {
    base: String,
    host: String,
    role: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Verdict {
    code: String,
}

impl NodeRole {
    /// From the environment, by way of `lookup`; `None` when that turns it off. `endpoint` replaces the vendor's
    /// address.
    pub fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
        endpoint: Option<&str>,
    ) -> Result<Option<Self>, BadEndpoint> {
        if lookup(ENV_DISABLED).is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let (base, host) = match endpoint {
            Some(text) => {
                let endpoint = Endpoint::parse(text)?;
                (endpoint.to_string(), endpoint.authority().to_owned())
            }
            None => (format!("http://{ADDRESS}"), ADDRESS.to_owned()),
        };
        let role = lookup(ENV_ROLE).map(|text| text.trim().to_owned()).filter(|name| is_role(name));
        Ok(Some(Self { base, host, role }))
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let token = self.text(Method::PUT, "/latest/api/token", (TTL_HEADER, TTL)).await?;
        let role = match &self.role {
            Some(role) => role.clone(),
            None => self.text(Method::GET, ROLES, (TOKEN_HEADER, &token)).await?,
        };
        let role = role.trim();
        if !is_role(role) {
            return Err(CredentialsError::Other(format!(
                "{WHAT}: it names no role; attach a RAM role to the node"
            )));
        }
        let text = self.text(Method::GET, &format!("{ROLES}{role}"), (TOKEN_HEADER, &token)).await?;
        let verdict: Option<Verdict> = serde_json::from_str(&text).ok();
        if verdict.is_none_or(|verdict| verdict.code != "Success") {
            return Err(CredentialsError::Unavailable(format!(
                "{WHAT}: it has no credentials for the role {role}"
            )));
        }
        let given: Given = serde_json::from_str(&text)
            .map_err(|_| CredentialsError::Unavailable(format!("{WHAT}: its answer has no credentials")))?;
        given.credentials(WHAT)
    }

    async fn text(
        &self,
        method: Method,
        path: &str,
        header: (&'static str, &str),
    ) -> Result<String, CredentialsError> {
        let headers = [("host", self.host.as_str()), header];
        let request = request(method, &format!("{}{path}", self.base), &headers, String::new())
            .ok_or_else(|| CredentialsError::Other(format!("{WHAT}: the request cannot be written")))?;
        let (status, body) = exchange(WHAT, request, LIMIT).await?;
        match status {
            StatusCode::OK => Ok(String::from_utf8_lossy(&body).into_owned()),
            StatusCode::NOT_FOUND => Err(CredentialsError::Other(format!(
                "{WHAT}: it knows no role (status 404); attach a RAM role to the node, or use another source"
            ))),
            StatusCode::FORBIDDEN => Err(CredentialsError::Other(format!(
                "{WHAT}: it refuses (status 403); allow pods to use it, or use another source"
            ))),
            _ => Err(CredentialsError::Unavailable(format!("{WHAT}: status {status}"))),
        }
    }
}

impl Source for NodeRole {
    fn name(&self) -> &'static str {
        "the node's RAM role"
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.ask().boxed()
    }
}

/// It becomes a part of a path.
fn is_role(name: &str) -> bool {
    (1..=NAME_LIMIT).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_turned_off_and_told_the_role() {
        let from = |pairs: &[(&str, &str)]| {
            NodeRole::from_env(|name| pairs.iter().find(|p| p.0 == name).map(|p| p.1.to_owned()), None)
                .unwrap()
        };
        assert!(from(&[(ENV_DISABLED, "True")]).is_none());
        let found = from(&[]).unwrap();
        assert_eq!((found.base.as_str(), found.role), ("http://100.100.100.200", None));
        assert_eq!(from(&[(ENV_ROLE, "worker")]).unwrap().role.as_deref(), Some("worker"));
        assert_eq!(from(&[(ENV_ROLE, "../evil")]).unwrap().role, None);
    }

    #[test]
    fn another_address_in_plain_http_is_this_machine_only() {
        assert!(NodeRole::from_env(|_| None, Some("http://127.0.0.1:1")).is_ok());
        assert_eq!(NodeRole::from_env(|_| None, Some("http://10.0.0.1")).err(), Some(BadEndpoint::PlainHttp));
    }
}
