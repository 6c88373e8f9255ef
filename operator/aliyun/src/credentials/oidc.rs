//! RRSA: the role of a service account, by STS AssumeRoleWithOIDC. The call is not signed; the token of the service
//! account, a file that the kubelet rotates, says who asks.

use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::exchange::{exchange, request};
use super::{Credentials, CredentialsError, Source, VALUE_LIMIT, checked};
use crate::convert::clean;
use crate::encode::encode;
use crate::endpoint::{BadEndpoint, Endpoint, check_region};
use crate::scrub::Scrub;
use crate::wire;
use eci_core::cloud::TEXT_LIMIT;

/// Environment variable with the role to assume; it and the next two are set by the webhook of ack-pod-identity.
pub const ENV_ROLE_ARN: &str = "ALIBABA_CLOUD_ROLE_ARN";
/// Environment variable with the identity provider.
pub const ENV_PROVIDER_ARN: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
/// Environment variable with the file of the service account's token.
pub const ENV_TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
/// Environment variable with the name of the session in the cloud's audit log.
pub const ENV_SESSION_NAME: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";
/// Environment variable with the region of STS.
pub const ENV_STS_REGION: &str = "ALIBABA_CLOUD_STS_REGION";
/// Environment variable: `true` for the endpoint of STS inside the VPC.
pub const ENV_VPC_ENDPOINT: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// Life that is asked for; the vendor's default, and the longest of a role that was not changed.
const LIFE: Duration = Duration::from_hours(1);
/// Limit on one call.
const LIMIT: Duration = Duration::from_secs(4);
const STS: &str = "STS";
const VERSION: &str = "2015-04-01";
const SESSION: &str = "eci-operator";

/// The role of a service account.
#[derive(Clone, Debug)]
pub struct OidcRole {
    endpoint: Endpoint,
    role_arn: String,
    provider_arn: String,
    token_file: PathBuf,
    session_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    credentials: Given,
}

/// As both services write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Given {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: SecretString,
    expiration: String,
}

impl Given {
    /// Checked; `origin` is the service.
    pub(super) fn credentials(self, origin: &str) -> Result<Credentials, CredentialsError> {
        let expiry: Timestamp = self.expiration.trim().parse().map_err(|_| {
            CredentialsError::Unavailable(format!("{origin}: the expiry of the credentials is no time"))
        })?;
        let id = checked("access key ID", origin, &self.access_key_id)?;
        Ok(Credentials {
            access_key_id: id.expose_secret().to_owned(),
            access_key_secret: checked("access key secret", origin, self.access_key_secret.expose_secret())?,
            security_token: Some(checked("security token", origin, self.security_token.expose_secret())?),
            expiry: Some(expiry),
        })
    }
}

impl OidcRole {
    /// From the environment, by way of `lookup`; `None` when a variable is missing, which is then named by
    /// [`OidcRole::missing`]. `endpoint` replaces the vendor's STS.
    pub fn from_env(
        lookup: impl Fn(&str) -> Option<String>,
        endpoint: Option<&str>,
    ) -> Result<Option<Self>, BadEndpoint> {
        let value =
            |name: &str| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let (Some(role_arn), Some(provider_arn), Some(token_file)) =
            (value(ENV_ROLE_ARN), value(ENV_PROVIDER_ARN), value(ENV_TOKEN_FILE))
        else {
            return Ok(None);
        };
        let endpoint = if let Some(text) = endpoint {
            Endpoint::parse(text)?
        } else {
            let vpc = value(ENV_VPC_ENDPOINT).is_some_and(|text| text.eq_ignore_ascii_case("true"));
            sts_endpoint(value(ENV_STS_REGION).as_deref(), vpc)?
        };
        let session_name = value(ENV_SESSION_NAME).filter(|name| is_session_name(name));
        Ok(Some(Self {
            endpoint,
            role_arn,
            provider_arn,
            token_file: token_file.into(),
            session_name: session_name.unwrap_or_else(|| SESSION.to_owned()),
        }))
    }

    /// The first of the variables that is not set.
    pub fn missing(lookup: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
        let unset = |name: &&str| lookup(name).is_none_or(|text| text.trim().is_empty());
        [ENV_ROLE_ARN, ENV_PROVIDER_ARN, ENV_TOKEN_FILE].into_iter().find(unset)
    }

    async fn ask(&self) -> Result<Credentials, CredentialsError> {
        let token = self.token().await?;
        let url = format!("{}/?Action=AssumeRoleWithOIDC&Format=JSON&Version={VERSION}", self.endpoint);
        let life = LIFE.as_secs().to_string();
        // In the body: URLs end up in logs.
        let form = [
            ("RoleArn", self.role_arn.as_str()),
            ("OIDCProviderArn", &self.provider_arn),
            ("OIDCToken", token.expose_secret()),
            ("RoleSessionName", &self.session_name),
            ("DurationSeconds", &life),
        ]
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .join("&");
        let headers = [
            ("host", self.endpoint.authority()),
            ("accept", "application/json"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let request = request(Method::POST, &url, &headers, form)
            .ok_or_else(|| CredentialsError::Other(format!("{STS}: the request cannot be written")))?;
        let what = format!("{STS} at {}", self.endpoint.authority());
        let (status, body) = exchange(&what, request, LIMIT).await?;
        if status.is_success() {
            let reply: Reply = serde_json::from_slice(&body).map_err(|_| {
                CredentialsError::Unavailable(format!("{what}: the answer has no credentials"))
            })?;
            return reply.credentials.credentials(&what);
        }
        let error: wire::ErrorReply = wire::read(&body).unwrap_or_default();
        let scrub = Scrub::new([&token]);
        let code = error.code.map(|code| scrub.text(&code, TEXT_LIMIT)).unwrap_or_default();
        let message = scrub.text(&error.message.unwrap_or_default(), TEXT_LIMIT);
        let text = clean(&format!("{what}: {message} (status {status}, code {code:?})"), TEXT_LIMIT);
        Err(if status.is_client_error() && !code.is_empty() && !code.starts_with("Throttling") {
            CredentialsError::Refused {
                what: format!("the role {} for this service account", clean(&self.role_arn, 256)),
                message: text,
            }
        } else {
            CredentialsError::Unavailable(text)
        })
    }

    /// Read for every call: the kubelet puts a new one there long before the old one expires.
    async fn token(&self) -> Result<SecretString, CredentialsError> {
        let what = "token of the service account";
        let origin = self.token_file.display().to_string();
        match tokio::fs::read(&self.token_file).await {
            Ok(bytes) if bytes.len() <= 2 * VALUE_LIMIT => {
                checked(what, &origin, &String::from_utf8_lossy(&bytes))
            }
            Ok(_) => Err(CredentialsError::Malformed { what, origin }),
            Err(error) => Err(CredentialsError::Unreadable { what, origin, reason: error.to_string() }),
        }
    }
}

impl Source for OidcRole {
    fn name(&self) -> &'static str {
        "RRSA"
    }

    fn fetch(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.ask().boxed()
    }
}

/// The vendor's STS: the central one, a region's, or a region's inside the VPC.
fn sts_endpoint(region: Option<&str>, vpc: bool) -> Result<Endpoint, BadEndpoint> {
    let Some(region) = region else { return Endpoint::parse("sts.aliyuncs.com") };
    check_region(region)?;
    Endpoint::parse(&format!("sts{}.{region}.aliyuncs.com", if vpc { "-vpc" } else { "" }))
}

/// 2 to 64 characters of letters, digits and `.@-_`.
fn is_session_name(name: &str) -> bool {
    (2..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'@' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, &str); 3] = [
        (ENV_ROLE_ARN, "acs:ram::1:role/r"),
        (ENV_PROVIDER_ARN, "acs:ram::1:oidc-provider/p"),
        (ENV_TOKEN_FILE, "/t"),
    ];

    fn role(more: &[(&str, &str)]) -> Option<OidcRole> {
        let pairs: Vec<_> = ALL.iter().chain(more).copied().collect();
        let lookup = |name: &str| pairs.iter().rfind(|p| p.0 == name).map(|p| p.1.to_owned());
        OidcRole::from_env(lookup, None).unwrap()
    }

    #[test]
    fn three_variables_make_a_role_and_the_missing_one_is_named() {
        assert_eq!(role(&[]).unwrap().session_name, "eci-operator");
        for (missing, _) in ALL {
            assert!(role(&[(missing, " ")]).is_none(), "{missing}");
            let lookup = |name: &str| (name != missing).then(|| "set".to_owned());
            assert_eq!(OidcRole::missing(lookup), Some(missing));
        }
    }

    #[test]
    fn the_endpoint_is_central_or_a_regions_or_in_the_vpc() {
        let host = |more: &[(&str, &str)]| role(more).unwrap().endpoint.to_string();
        assert_eq!(host(&[]), "https://sts.aliyuncs.com");
        assert_eq!(host(&[(ENV_VPC_ENDPOINT, "true")]), "https://sts.aliyuncs.com", "a region is needed");
        let region = (ENV_STS_REGION, "cn-hangzhou");
        assert_eq!(host(&[region]), "https://sts.cn-hangzhou.aliyuncs.com");
        assert_eq!(host(&[region, (ENV_VPC_ENDPOINT, "TRUE")]), "https://sts-vpc.cn-hangzhou.aliyuncs.com");
        let evil = |name: &str| {
            let all = ALL.iter().chain(&[(ENV_STS_REGION, "evil.example.com/")]);
            all.clone().find(|p| p.0 == name).map(|p| p.1.to_owned())
        };
        assert_eq!(OidcRole::from_env(evil, None).err(), Some(BadEndpoint::Region));
    }

    #[test]
    fn a_strange_session_name_is_replaced() {
        assert_eq!(role(&[(ENV_SESSION_NAME, "a b")]).unwrap().session_name, "eci-operator");
        assert_eq!(role(&[(ENV_SESSION_NAME, "prod-1")]).unwrap().session_name, "prod-1");
    }
}
