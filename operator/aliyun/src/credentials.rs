//! Where the access key comes from.

mod exchange;
pub mod node;
pub mod oidc;
pub mod temporary;

use std::fmt;
use std::path::{Path, PathBuf};

use eci_core::cloud::Meaning;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

pub use node::NodeRole;
pub use oidc::OidcRole;
pub use temporary::{Source, Temporary};

/// Environment variable with the ID of the access key (as in the vendor's libraries).
pub const ENV_KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
/// Environment variable with its secret.
pub const ENV_KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
/// Environment variable with the token of temporary credentials.
pub const ENV_TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// File with the ID of the access key.
pub const FILE_KEY_ID: &str = "access-key-id";
/// File with its secret.
pub const FILE_KEY_SECRET: &str = "access-key-secret";
/// File with the token of temporary credentials; may be missing.
pub const FILE_TOKEN: &str = "security-token";

/// Longest value, in bytes. Real tokens have about 1,000.
pub const VALUE_LIMIT: usize = 8 * 1024;

/// What requests are signed with. The Debug form has no secret.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// ID of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: SecretString,
    /// Token of temporary credentials.
    pub security_token: Option<SecretString>,
    /// When they stop working; never when absent.
    pub expiry: Option<Timestamp>,
}

/// No credentials could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A value is missing.
    #[error("no {what} in {origin}; set it")]
    Missing {
        /// Which value.
        what: &'static str,
        /// Where it was looked for.
        origin: String,
    },
    /// A value cannot be one.
    #[error(
        "the {what} in {origin} is empty, longer than 8 KiB, or has characters other than visible ASCII; correct it"
    )]
    Malformed {
        /// Which value.
        what: &'static str,
        /// Where it came from.
        origin: String,
    },
    /// A file could not be read.
    #[error("cannot read the {what} from {origin}: {reason}")]
    Unreadable {
        /// Which value.
        what: &'static str,
        /// Where it was looked for.
        origin: String,
        /// What the system said.
        reason: String,
    },
    /// Who gives them cannot be reached, or fails: it is tried again.
    #[error("{0}")]
    Unavailable(String),
    /// Who gives them says no.
    #[error("no credentials of {what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What was answered, without secrets.
        message: String,
    },
    /// Whatever else a provider has to say, without secrets.
    #[error("{0}")]
    Other(String),
}

impl CredentialsError {
    /// What it means for the call that they were needed for, and that was not sent.
    pub fn meaning(&self) -> Meaning {
        match self {
            Self::Unavailable(_) => Meaning::NotSent,
            Self::Refused { .. } => Meaning::BadCredentials,
            Self::Missing { .. } | Self::Malformed { .. } | Self::Unreadable { .. } | Self::Other(_) => {
                Meaning::NoCredentials
            }
        }
    }
}

/// Gives credentials. Called before every request, so a provider that needs the network has to remember.
pub trait CredentialsProvider: fmt::Debug + Send + Sync + 'static {
    /// Credentials that work now.
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>>;

    /// The cloud rejected the ones with this ID. Whether the next are perhaps others, so that the call may be repeated.
    fn rejected(&self, access_key_id: &str) -> bool {
        let _ = access_key_id;
        false
    }
}

/// Always the same credentials.
#[derive(Clone, Debug)]
pub struct StaticCredentials(pub Credentials);

impl StaticCredentials {
    /// Reads environment variables by way of `lookup`. A token that is set but empty counts as absent.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialsError> {
        let value = |name: &'static str| {
            lookup(name).map(|value| checked(name, "the environment", &value)).transpose()
        };
        let required = |name: &'static str| {
            value(name)?
                .ok_or_else(|| CredentialsError::Missing { what: name, origin: "the environment".into() })
        };
        let has_token = lookup(ENV_TOKEN).is_some_and(|token| !token.trim().is_empty());
        Ok(Self(Credentials {
            access_key_id: required(ENV_KEY_ID)?.expose_secret().to_owned(),
            access_key_secret: required(ENV_KEY_SECRET)?,
            security_token: if has_token { value(ENV_TOKEN)? } else { None },
            expiry: None,
        }))
    }
}

impl CredentialsProvider for StaticCredentials {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        futures::future::ready(Ok(self.0.clone())).boxed()
    }
}

/// No credentials, for a reason that does not change while the process runs.
#[derive(Clone, Debug)]
pub struct NoCredentials(pub CredentialsError);

impl CredentialsProvider for NoCredentials {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        futures::future::ready(Err(self.0.clone())).boxed()
    }
}

/// Credentials in the files of a directory, as a mounted Secret gives them. Read anew for every call: three small
/// files cost less than knowing when they changed.
#[derive(Clone, Debug)]
pub struct DirectoryCredentials {
    directory: PathBuf,
}

impl DirectoryCredentials {
    /// Files in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    async fn read(&self) -> Result<Credentials, CredentialsError> {
        // A mounted Secret is switched by one symbolic link. Following it first gives files of one version.
        let version = match tokio::fs::read_link(self.directory.join("..data")).await {
            Ok(target) => self.directory.join(target),
            Err(_) => self.directory.clone(),
        };
        let required = |what: &'static str, value: Option<SecretString>| {
            value.ok_or_else(|| CredentialsError::Missing { what, origin: origin(&self.directory) })
        };
        let key_id = required(FILE_KEY_ID, read_value(&version, FILE_KEY_ID).await?)?;
        let access_key_secret = required(FILE_KEY_SECRET, read_value(&version, FILE_KEY_SECRET).await?)?;
        let security_token = read_value(&version, FILE_TOKEN).await?;
        Ok(Credentials {
            access_key_id: key_id.expose_secret().to_owned(),
            access_key_secret,
            security_token,
            expiry: None,
        })
    }
}

impl CredentialsProvider for DirectoryCredentials {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        async move {
            match self.read().await {
                // The version may have been removed between following the link and reading.
                Err(CredentialsError::Missing { .. }) => self.read().await,
                other => other,
            }
        }
        .boxed()
    }
}

async fn read_value(directory: &Path, what: &'static str) -> Result<Option<SecretString>, CredentialsError> {
    let unreadable = |error: std::io::Error| CredentialsError::Unreadable {
        what,
        origin: origin(directory),
        reason: error.to_string(),
    };
    match tokio::fs::read(directory.join(what)).await {
        Ok(bytes) => checked(what, &origin(directory), &String::from_utf8_lossy(&bytes)).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

fn origin(directory: &Path) -> String {
    format!("the directory {}", directory.display())
}

/// A value, trimmed. All of them end up in headers, so only visible ASCII will do.
fn checked(what: &'static str, origin: &str, value: &str) -> Result<SecretString, CredentialsError> {
    let value = value.trim();
    let fits = (1..=VALUE_LIMIT).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(SecretString::from(value))
    } else {
        Err(CredentialsError::Malformed { what, origin: origin.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn from_env(pairs: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        let lookup =
            |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        StaticCredentials::from_env(lookup).map(|provider| provider.0)
    }

    #[test]
    fn the_environment_gives_a_key_with_or_without_a_token() {
        let key = [(ENV_KEY_ID, "id"), (ENV_KEY_SECRET, " secret\n")];
        let found = from_env(&key).unwrap();
        assert_eq!(found.access_key_id, "id");
        assert_eq!(found.access_key_secret.expose_secret(), "secret");
        assert!(found.security_token.is_none());
        let with = |token| from_env(&[key[0], key[1], (ENV_TOKEN, token)]).unwrap().security_token;
        assert_eq!(with("token").unwrap().expose_secret(), "token");
        assert!(with("").is_none());
    }

    #[test]
    fn a_missing_or_malformed_variable_is_named_and_not_shown() {
        let missing = from_env(&[(ENV_KEY_ID, "id")]).unwrap_err();
        assert_eq!(missing.to_string(), "no ALIBABA_CLOUD_ACCESS_KEY_SECRET in the environment; set it");
        let malformed = from_env(&[(ENV_KEY_ID, "id"), (ENV_KEY_SECRET, "sec\nret")]).unwrap_err();
        assert!(matches!(malformed, CredentialsError::Malformed { what: ENV_KEY_SECRET, .. }));
        assert!(!malformed.to_string().contains("ret\n") && !format!("{malformed:?}").contains("sec\\nret"));
    }

    #[test]
    fn the_debug_form_has_no_secret() {
        let text = format!(
            "{:?}",
            StaticCredentials(Credentials {
                access_key_id: "id".into(),
                access_key_secret: "hunter2".into(),
                security_token: Some("hunter3".into()),
                expiry: None,
            })
        );
        assert!(!text.contains("hunter"), "{text}");
    }

    #[tokio::test]
    async fn files_are_read_anew_when_they_change() {
        let directory = tempfile::tempdir().unwrap();
        let provider = DirectoryCredentials::new(directory.path());
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write(FILE_KEY_ID, "id\n");
        let missing = provider.credentials().await.unwrap_err();
        assert!(matches!(missing, CredentialsError::Missing { what: FILE_KEY_SECRET, .. }));
        write(FILE_KEY_SECRET, "one");
        let first = provider.credentials().await.unwrap();
        assert_eq!((first.access_key_id.as_str(), first.access_key_secret.expose_secret()), ("id", "one"));
        assert!(first.security_token.is_none());
        write(FILE_KEY_SECRET, "two");
        write(FILE_TOKEN, "token");
        let second = provider.credentials().await.unwrap();
        assert_eq!(second.access_key_secret.expose_secret(), "two");
        assert_eq!(second.security_token.unwrap().expose_secret(), "token");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_mounted_secret_is_read_through_its_link() {
        let directory = tempfile::tempdir().unwrap();
        for (version, secret) in [("..v1", "one"), ("..v2", "two")] {
            fs::create_dir(directory.path().join(version)).unwrap();
            fs::write(directory.path().join(version).join(FILE_KEY_ID), version).unwrap();
            fs::write(directory.path().join(version).join(FILE_KEY_SECRET), secret).unwrap();
        }
        let link = directory.path().join("..data");
        let provider = DirectoryCredentials::new(directory.path());
        for (version, secret) in [("..v1", "one"), ("..v2", "two")] {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(version, &link).unwrap();
            let found = provider.credentials().await.unwrap();
            assert_eq!(
                (found.access_key_id.as_str(), found.access_key_secret.expose_secret()),
                (version, secret)
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE_KEY_ID), "id").unwrap();
        for bytes in [&b"\xff\xfe"[..], b"", &[b'a'; VALUE_LIMIT + 1]] {
            fs::write(directory.path().join(FILE_KEY_SECRET), bytes).unwrap();
            let error = DirectoryCredentials::new(directory.path()).credentials().await.unwrap_err();
            assert!(matches!(error, CredentialsError::Malformed { what: FILE_KEY_SECRET, .. }), "{error}");
        }
    }
}
