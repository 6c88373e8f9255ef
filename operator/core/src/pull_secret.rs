//! Registry logins from docker config secrets.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eci_api::image_reference::{ImageReference, registry_host};
use secrecy::{SecretSlice, SecretString};
use serde::Deserialize;

use crate::cloud::RegistryCredential;

/// Most logins of one call (vendor's documentation).
pub const MAX_LOGINS: usize = 10;

/// A secret as the API server gives it. Its Debug form has no secret.
#[derive(Debug)]
pub struct PullSecret {
    /// Its name.
    pub name: String,
    /// Its type, such as `kubernetes.io/dockerconfigjson`.
    pub type_: String,
    /// Its data.
    pub data: BTreeMap<String, SecretSlice<u8>>,
}

/// Why a secret gives no logins. The message never has a part of the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullSecretError {
    /// Another type of secret.
    #[error(
        "secret {0} has the type {1:?}; kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg is needed (kubectl create secret docker-registry)"
    )]
    Type(String, String),
    /// The key of its type is missing.
    #[error("secret {0} has no key {1}")]
    Key(String, &'static str),
    /// Not JSON, or not a docker config.
    #[error("secret {0} is not a docker config: {1}")]
    Syntax(String, &'static str),
    /// More logins than a call may carry.
    #[error("the images need the logins of {0} registries; the cloud takes at most 10")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    username: Option<String>,
    password: Option<SecretString>,
    auth: Option<SecretString>,
}

/// The logins for the registries of `images`; the first secret that has one for a registry gives it.
pub fn logins(secrets: &[PullSecret], images: &[String]) -> Result<Vec<RegistryCredential>, PullSecretError> {
    let wanted: BTreeSet<String> =
        images.iter().filter_map(|i| ImageReference::parse(i).ok()).map(|r| r.host().to_owned()).collect();
    let mut found: BTreeMap<String, RegistryCredential> = BTreeMap::new();
    for secret in secrets {
        for (server, login) in parse(secret)? {
            let host = registry_host(&server);
            if !wanted.contains(&host) || found.contains_key(&host) {
                continue;
            }
            let (user_name, password) = login.into_pair(&secret.name)?;
            found.insert(host.clone(), RegistryCredential { server: host, user_name, password });
        }
    }
    if found.len() > MAX_LOGINS {
        Err(PullSecretError::TooMany(found.len()))
    } else {
        Ok(found.into_values().collect())
    }
}

fn parse(secret: &PullSecret) -> Result<BTreeMap<String, Login>, PullSecretError> {
    use secrecy::ExposeSecret;
    let name = || secret.name.clone();
    let (key, nested) = match secret.type_.as_str() {
        "kubernetes.io/dockerconfigjson" => (".dockerconfigjson", true),
        "kubernetes.io/dockercfg" => (".dockercfg", false),
        other => return Err(PullSecretError::Type(name(), other.chars().take(64).collect())),
    };
    let bytes = secret.data.get(key).ok_or_else(|| PullSecretError::Key(name(), key))?.expose_secret();
    // serde's own message could quote a value.
    let broken = |_| PullSecretError::Syntax(name(), "its JSON has not the form that docker login writes");
    if nested {
        serde_json::from_slice::<DockerConfig>(bytes).map(|c| c.auths).map_err(broken)
    } else {
        serde_json::from_slice(bytes).map_err(broken)
    }
}

impl Login {
    fn into_pair(self, secret: &str) -> Result<(String, SecretString), PullSecretError> {
        use secrecy::ExposeSecret;
        if let (Some(user), Some(password)) = (self.username.filter(|u| !u.is_empty()), self.password) {
            return Ok((user, password));
        }
        let syntax = |why| PullSecretError::Syntax(secret.to_owned(), why);
        let auth =
            self.auth.ok_or_else(|| syntax("a registry has neither username and password nor auth"))?;
        let pair = STANDARD.decode(auth.expose_secret()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.ok_or_else(|| syntax("the auth of a registry is not base64 text"))?;
        let (user, password) =
            pair.split_once(':').ok_or_else(|| syntax("the auth of a registry has no colon"))?;
        Ok((user.to_owned(), SecretString::from(password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn secret(type_: &str, key: &str, json: &str) -> PullSecret {
        PullSecret {
            name: "login".into(),
            type_: format!("kubernetes.io/{type_}"),
            data: BTreeMap::from([(key.to_owned(), SecretSlice::from(json.as_bytes().to_vec()))]),
        }
    }

    fn both(json: &str, images: &[&str]) -> Result<Vec<(String, String, String)>, PullSecretError> {
        let images: Vec<String> = images.iter().map(|&i| i.to_owned()).collect();
        logins(&[secret("dockerconfigjson", ".dockerconfigjson", json)], &images).map(|all| {
            all.into_iter().map(|l| (l.server, l.user_name, l.password.expose_secret().to_owned())).collect()
        })
    }

    #[test]
    fn a_login_comes_from_either_format_and_only_for_registries_of_the_images() {
        let json = r#"{"auths":{"https://r.example.com/v2/":{"username":"u","password":"p:w"},"other.example.com":{"auth":"eDp5"}}}"#;
        let found = both(json, &["r.example.com/a:1", "nginx"]).unwrap();
        assert_eq!(found, [("r.example.com".to_owned(), "u".to_owned(), "p:w".to_owned())]);
        let old = secret("dockercfg", ".dockercfg", r#"{"index.docker.io":{"auth":"dTpwOnc="}}"#);
        let found = logins(&[old], &["nginx".to_owned()]).unwrap();
        assert_eq!((found[0].server.as_str(), found[0].password.expose_secret()), ("docker.io", "p:w"));
    }

    #[test]
    fn a_broken_secret_is_named_and_never_quoted() {
        let image = ["r.example.com/a"];
        for json in [
            "hunter2",
            r#"{"auths":"hunter2"}"#,
            r#"{"auths":{"r.example.com":{"password":["hunter2"]}}}"#,
            r#"{"auths":{"r.example.com":{"auth":"hunter2"}}}"#,
            r#"{"auths":{"r.example.com":{}}}"#,
        ] {
            let error = both(json, &image).unwrap_err();
            assert!(matches!(error, PullSecretError::Syntax(..)), "{json}");
            assert!(error.to_string().contains("login") && !error.to_string().contains("hunter2"), "{error}");
        }
        let wrong = logins(&[secret("tls", "tls.key", "x")], &[]).unwrap_err();
        assert!(matches!(wrong, PullSecretError::Type(..)));
        let empty = logins(&[secret("dockerconfigjson", "config.json", "{}")], &[]).unwrap_err();
        assert!(matches!(empty, PullSecretError::Key(..)));
    }

    #[test]
    fn debug_forms_have_no_secret() {
        let secret = secret(
            "dockerconfigjson",
            ".dockerconfigjson",
            r#"{"auths":{"docker.io":{"username":"u","password":"hunter2"}}}"#,
        );
        assert!(!format!("{secret:?}").contains("hunter2"));
        let all = logins(&[secret], &["nginx".to_owned()]).unwrap();
        assert!(!format!("{all:?}").contains("hunter2"));
    }

    #[test]
    fn more_logins_than_a_call_takes_are_refused() {
        let hosts: Vec<String> = (0..11).map(|n| format!("r{n}.example.com")).collect();
        let auths: Vec<String> = hosts.iter().map(|h| format!(r#""{h}":{{"auth":"eDp5"}}"#)).collect();
        let images: Vec<String> = hosts.iter().map(|h| format!("{h}/a")).collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        assert_eq!(
            both(&format!(r#"{{"auths":{{{}}}}}"#, auths.join(",")), &images),
            Err(PullSecretError::TooMany(11))
        );
    }
}
