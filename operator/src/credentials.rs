//! Which source the cloud's credentials come from: chosen once at the start, by flags and environment.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use eci_aliyun::clock::SystemClock;
use eci_aliyun::credentials::{
    CredentialsError, CredentialsProvider, DirectoryCredentials, ENV_KEY_ID, NoCredentials, NodeRole,
    OidcRole, StaticCredentials, Temporary, node, oidc,
};
use eci_aliyun::endpoint::Endpoint;

/// Where credentials come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CredentialsSource {
    /// The first that is set up: file, env, oidc, ecs.
    Auto,
    /// The environment variables ALIBABA_CLOUD_ACCESS_KEY_ID, _ACCESS_KEY_SECRET and _SECURITY_TOKEN.
    Env,
    /// The files of --credentials-dir.
    File,
    /// RRSA: the role of the service account, by ALIBABA_CLOUD_ROLE_ARN, _OIDC_PROVIDER_ARN and _OIDC_TOKEN_FILE.
    Oidc,
    /// The RAM role of the node, by its metadata service.
    Ecs,
}

/// The flags about credentials.
#[derive(Clone, Debug, Args)]
pub struct CredentialsArgs {
    /// Source of the cloud's credentials. The default takes the first of these that is set up: file (with
    /// --credentials-dir), env, oidc (RRSA), ecs (the RAM role of the node, unless
    /// ALIBABA_CLOUD_ECS_METADATA_DISABLED=true).
    #[arg(long = "credentials", env = "ECI_CREDENTIALS", value_enum, default_value_t = CredentialsSource::Auto)]
    pub source: CredentialsSource,
    /// Directory with the files access-key-id, access-key-secret and, if temporary, security-token. It is read anew for
    /// every call.
    #[arg(long)]
    pub credentials_dir: Option<PathBuf>,
    /// Endpoint of STS for oidc; default: sts.aliyuncs.com, or the region's by ALIBABA_CLOUD_STS_REGION and
    /// ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED.
    #[arg(long)]
    pub sts_endpoint: Option<String>,
    /// Endpoint of the metadata service for ecs; default: that of the vendor's instances.
    #[arg(long, hide = true)]
    pub metadata_endpoint: Option<String>,
}

impl CredentialsArgs {
    /// What makes no sense, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (flag, endpoint) in
            [("--sts-endpoint", &self.sts_endpoint), ("--metadata-endpoint", &self.metadata_endpoint)]
        {
            if let Some(endpoint) = endpoint {
                Endpoint::parse(endpoint).map_err(|error| format!("{flag}: {error}"))?;
            }
        }
        match (self.source, &self.credentials_dir) {
            (CredentialsSource::File, None) => {
                Err("--credentials=file: set --credentials-dir, too (chart value credentials.existingSecret)"
                    .into())
            }
            (CredentialsSource::Env | CredentialsSource::Oidc | CredentialsSource::Ecs, Some(_)) => {
                Err("--credentials-dir: it is read with --credentials=file or auto only; leave one out"
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// The provider. That there is none is no reason not to start: every object then says so, and an object that is
    /// being deleted still learns what keeps it.
    pub(crate) fn provider(
        &self,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> (CredentialsSource, Arc<dyn CredentialsProvider>) {
        let source = self.chosen(&lookup);
        let found = match source {
            CredentialsSource::Auto => Err(CredentialsError::Other(format!(
                "no source of credentials is set up: no --credentials-dir, no {ENV_KEY_ID}, no {} (RRSA), and {} turns off the node's role",
                oidc::ENV_ROLE_ARN,
                node::ENV_DISABLED
            ))),
            CredentialsSource::File => {
                let directory = self.credentials_dir.clone().unwrap_or_default();
                Ok(Arc::new(DirectoryCredentials::new(directory)) as Arc<dyn CredentialsProvider>)
            }
            CredentialsSource::Env => StaticCredentials::from_env(&lookup)
                .map(|found| Arc::new(found) as Arc<dyn CredentialsProvider>),
            CredentialsSource::Oidc => self.oidc(&lookup),
            CredentialsSource::Ecs => self.ecs(&lookup),
        };
        (source, found.unwrap_or_else(|error| {
            tracing::warn!(%error, "there are no cloud credentials: nothing can be done in the cloud; choose a source by --credentials (chart values credentials)");
            Arc::new(NoCredentials(error))
        }))
    }

    /// The source that is used: never `Auto` unless nothing is set up.
    fn chosen(&self, lookup: &impl Fn(&str) -> Option<String>) -> CredentialsSource {
        let set = |name: &str| lookup(name).is_some_and(|text| !text.trim().is_empty());
        let off = lookup(node::ENV_DISABLED).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        match self.source {
            CredentialsSource::Auto if self.credentials_dir.is_some() => CredentialsSource::File,
            CredentialsSource::Auto if set(ENV_KEY_ID) => CredentialsSource::Env,
            // Before the node's role, which every pod of the node may have, and which may do much more.
            CredentialsSource::Auto if set(oidc::ENV_ROLE_ARN) => CredentialsSource::Oidc,
            CredentialsSource::Auto if !off => CredentialsSource::Ecs,
            chosen => chosen,
        }
    }

    fn oidc(
        &self,
        lookup: &impl Fn(&str) -> Option<String>,
    ) -> Result<Arc<dyn CredentialsProvider>, CredentialsError> {
        match OidcRole::from_env(lookup, self.sts_endpoint.as_deref()) {
            Ok(Some(role)) => Ok(Arc::new(Temporary::new(role, Arc::new(SystemClock)))),
            Ok(None) => Err(CredentialsError::Missing {
                what: OidcRole::missing(lookup).unwrap_or(oidc::ENV_ROLE_ARN),
                origin: "the environment: RRSA sets it in pods of an annotated service account".into(),
            }),
            Err(error) => Err(CredentialsError::Other(format!("STS: {error}"))),
        }
    }

    fn ecs(
        &self,
        lookup: &impl Fn(&str) -> Option<String>,
    ) -> Result<Arc<dyn CredentialsProvider>, CredentialsError> {
        match NodeRole::from_env(lookup, self.metadata_endpoint.as_deref()) {
            Ok(Some(role)) => Ok(Arc::new(Temporary::new(role, Arc::new(SystemClock)))),
            Ok(None) => Err(CredentialsError::Other(format!(
                "{} turns off the node's role, which --credentials=ecs asks for",
                node::ENV_DISABLED
            ))),
            Err(error) => Err(CredentialsError::Other(format!("the metadata service: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (&str, &str) = (ENV_KEY_ID, "id");
    const ROLE: (&str, &str) = (oidc::ENV_ROLE_ARN, "acs:ram::1:role/r");
    const OFF: (&str, &str) = (node::ENV_DISABLED, "true");

    fn args(source: CredentialsSource, dir: Option<&str>) -> CredentialsArgs {
        let credentials_dir = dir.map(PathBuf::from);
        CredentialsArgs { source, credentials_dir, sts_endpoint: None, metadata_endpoint: None }
    }

    #[test]
    fn the_first_source_that_is_set_up_is_taken_and_rrsa_before_the_nodes_role() {
        use CredentialsSource::{Auto, Ecs, Env, File, Oidc};
        for (source, dir, env, expected) in [
            (Auto, Some("/d"), &[KEY, ROLE][..], File),
            (Auto, None, &[KEY, ROLE], Env),
            (Auto, None, &[ROLE], Oidc),
            (Auto, None, &[], Ecs),
            (Auto, None, &[OFF], Auto),
            (Ecs, None, &[KEY, ROLE, OFF], Ecs),
            (Oidc, None, &[KEY], Oidc),
        ] {
            let lookup = |name: &str| env.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
            assert_eq!(args(source, dir).provider(lookup).0, expected, "{source:?} {dir:?} {env:?}");
        }
    }

    #[tokio::test]
    async fn without_credentials_the_calls_say_what_is_missing() {
        let error = async |source, dir: Option<&str>, env: &[(&str, &str)]| {
            let lookup = |name: &str| env.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
            args(source, dir).provider(lookup).1.credentials().await.unwrap_err().to_string()
        };
        let none = error(CredentialsSource::Auto, None, &[OFF]).await;
        assert!(none.contains("--credentials-dir") && none.contains("RRSA"), "{none}");
        let env = error(CredentialsSource::Env, None, &[]).await;
        assert_eq!(env, "no ALIBABA_CLOUD_ACCESS_KEY_ID in the environment; set it");
        let oidc = error(CredentialsSource::Oidc, None, &[ROLE]).await;
        assert!(oidc.contains("ALIBABA_CLOUD_OIDC_PROVIDER_ARN"), "{oidc}");
        let ecs = error(CredentialsSource::Ecs, None, &[OFF]).await;
        assert!(ecs.contains("ALIBABA_CLOUD_ECS_METADATA_DISABLED"), "{ecs}");
        let nowhere = error(CredentialsSource::Auto, Some("/nonexistent"), &[]).await;
        assert!(nowhere.contains("/nonexistent"), "{nowhere}");
        let key = [KEY, ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "made-up")];
        let lookup = |name: &str| key.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        let found = args(CredentialsSource::Auto, None).provider(lookup).1.credentials().await.unwrap();
        assert_eq!(found.access_key_id, "id");
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        assert!(args(CredentialsSource::File, None).check().unwrap_err().contains("--credentials-dir"));
        assert!(args(CredentialsSource::Ecs, Some("/d")).check().unwrap_err().contains("--credentials-dir"));
        assert!(args(CredentialsSource::File, Some("/d")).check().is_ok());
        let mut bad = args(CredentialsSource::Oidc, None);
        bad.sts_endpoint = Some("http://sts.example.com".into());
        assert!(bad.check().unwrap_err().starts_with("--sts-endpoint: "));
    }
}
