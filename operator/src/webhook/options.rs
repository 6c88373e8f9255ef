//! Flags of the webhook.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use clap::Args;
use eci_core::admission::configuration::Target;
use eci_core::profile::rules::{RuleSettings, RuleSettingsError};

use crate::config::duration;

/// Shortest life of an authority: a certificate of its then lives for 6 s.
const SHORTEST_LIFE: Duration = Duration::from_secs(30);
/// Longest.
const LONGEST_LIFE: Duration = Duration::from_hours(10 * 366 * 24);

/// Flags of the webhook.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address of the admission webhook, served over TLS by every replica.
    #[arg(long, default_value = "0.0.0.0:9443")]
    pub webhook_address: SocketAddr,
    /// Where the API server reaches the webhook, as https://host:port, when it is not by the Service.
    #[arg(long)]
    pub webhook_url: Option<String>,
    /// Service of the operator's namespace by which the API server reaches the webhook.
    #[arg(long, default_value = "eci-operator-webhook")]
    pub webhook_service: String,
    /// Directory with tls.crt and tls.key, and ca.crt unless the API server trusts them anyway, that somebody else keeps
    /// fresh, such as cert-manager; default: the operator makes its certificates itself.
    #[arg(long)]
    pub webhook_cert_dir: Option<PathBuf>,
    /// ClusterRole that owns the webhook configurations, so that they are deleted with it.
    #[arg(long)]
    pub webhook_owner: Option<String>,
    /// What is done about objects that virtual nodes cannot run, as rule=off, rule=warn or rule=deny, separated by commas;
    /// every rule warns by default. The reference of rules has their names.
    #[arg(long, value_delimiter = ',')]
    pub rules: Vec<String>,
    /// Life of the authority that signs the certificates of the webhook, 30s to 10 years. A successor takes over after
    /// two thirds of it.
    #[arg(long, value_parser = duration, default_value = "8760h")]
    pub webhook_ca_lifetime: Duration,
}

impl Options {
    /// Says what cannot be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(url) = &self.webhook_url {
            host(url).map_err(|why| format!("--webhook-url {url:?}: {why}"))?;
        }
        self.rule_settings().map_err(|why| format!("--rules: {why}"))?;
        if !(SHORTEST_LIFE..=LONGEST_LIFE).contains(&self.webhook_ca_lifetime) {
            return Err(format!("--webhook-ca-lifetime {:?}: use 30s to 10 years", self.webhook_ca_lifetime));
        }
        Ok(())
    }

    /// What is done about objects that virtual nodes cannot run.
    pub fn rule_settings(&self) -> Result<RuleSettings, RuleSettingsError> {
        RuleSettings::parse(self.rules.iter().map(String::as_str).filter(|rule| !rule.is_empty()))
    }

    /// Where the API server finds the webhook.
    pub(super) fn target(&self, namespace: &str) -> Target {
        match &self.webhook_url {
            Some(url) => Target::Url(url.clone()),
            None => Target::Service { namespace: namespace.to_owned(), name: self.webhook_service.clone() },
        }
    }

    /// The names that a certificate must have. The API server asks for the first one.
    pub(super) fn names(&self, namespace: &str) -> Vec<String> {
        let service = format!("{}.{namespace}.svc", self.webhook_service);
        let by_url = self.webhook_url.as_ref().and_then(|url| host(url).ok());
        by_url.into_iter().chain([service]).collect()
    }
}

/// The host of a URL for the webhook.
fn host(url: &str) -> Result<String, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "this is no URL; use https://host:port")?;
    if uri.scheme_str() != Some("https") {
        return Err("the API server calls webhooks over https only");
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err("use https://host:port, without a path");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a webhook's URL cannot have a user");
    }
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err("there is no host in it; use https://host:port");
    }
    Ok(host.trim_matches(['[', ']']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn only_an_address_without_a_path_can_be_called() {
        assert_eq!(host("https://127.0.0.1:9443").unwrap(), "127.0.0.1");
        assert_eq!(host("https://[::1]:9443/").unwrap(), "::1");
        assert_eq!(host("https://hooks.example.com").unwrap(), "hooks.example.com");
        for bad in ["http://a:1", "https://a/pods", "https://a?b", "https://u@a", "a", "", "https://"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
