//! Temporary keys: of STS for a service account, and of the metadata service.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eci_aliyun::Client;
use eci_aliyun::clock::SystemClock;
use eci_aliyun::credentials::{
    CredentialsError, CredentialsProvider, NodeRole, OidcRole, Source as _, Temporary, node, oidc,
};
use eci_core::cloud::{Cloud as _, Meaning};
use eci_sim::{Clock, Digest, RoleSettings, Settings, Sim, server};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

use crate::twins::config;

const ROLE: &str = "acs:ram::1:role/eci-operator";
const PROVIDER: &str = "acs:ram::1:oidc-provider/ack-rrsa";

async fn serve() -> (Sim, server::ServerHandle) {
    let sim = Sim::new(1, Settings::default(), Clock::System);
    let server = server::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), sim.clone()).unwrap();
    (sim, server)
}

fn roles(token: &str) -> RoleSettings {
    RoleSettings {
        role_arn: Some(ROLE.into()),
        oidc_provider_arn: Some(PROVIDER.into()),
        oidc_tokens: vec![Digest::of(token)],
        node_role: Some("worker".into()),
        ..RoleSettings::default()
    }
}

fn oidc_role(url: &str, file: &Path) -> OidcRole {
    let lookup = |name: &str| match name {
        oidc::ENV_ROLE_ARN => Some(ROLE.to_owned()),
        oidc::ENV_PROVIDER_ARN => Some(PROVIDER.to_owned()),
        oidc::ENV_TOKEN_FILE => Some(file.display().to_string()),
        _ => None,
    };
    OidcRole::from_env(lookup, Some(url)).unwrap().unwrap()
}

fn node_role(url: &str, role: Option<&str>) -> NodeRole {
    let lookup = |name: &str| role.filter(|_| name == node::ENV_ROLE).map(str::to_owned);
    NodeRole::from_env(lookup, Some(url)).unwrap().unwrap()
}

#[tokio::test]
async fn both_give_keys_that_the_cloud_accepts() {
    let (sim, server) = serve().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "header.FAKE.one\n").unwrap();
    sim.set_roles(roles("header.FAKE.one"));
    let clock = Arc::new(SystemClock);
    let providers: [Arc<dyn CredentialsProvider>; 3] = [
        Arc::new(Temporary::new(oidc_role(&server.url(), &file), clock.clone())),
        Arc::new(Temporary::new(node_role(&server.url(), None), clock.clone())),
        Arc::new(Temporary::new(node_role(&server.url(), Some("worker")), clock)),
    ];
    for provider in providers {
        let mut config = config(&server, &sim, None);
        config.credentials = Arc::clone(&provider);
        let client = Client::new(config).unwrap();
        client.usage().await.unwrap();
        client.usage().await.unwrap();
        let key = provider.credentials().await.unwrap();
        assert!(key.security_token.is_some() && key.expiry.is_some(), "{key:?}");
        assert!(!format!("{key:?}{provider:?}").contains(key.access_key_secret.expose_secret()));
    }
    assert_eq!(sim.calls().of("AssumeRoleWithOIDC"), 1, "one fetch for two calls");
}

#[tokio::test]
async fn a_service_accounts_token_is_read_anew_and_a_refusal_says_why() {
    let (sim, server) = serve().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let role = oidc_role(&server.url(), &file);
    let unreadable = role.fetch().await.unwrap_err();
    assert!(matches!(&unreadable, CredentialsError::Unreadable { .. }), "{unreadable}");
    assert_eq!(unreadable.meaning(), Meaning::NoCredentials);

    sim.set_roles(roles("header.FAKE.two"));
    fs::write(&file, "header.FAKE.one").unwrap();
    let refused = role.fetch().await.unwrap_err();
    assert_eq!(refused.meaning(), Meaning::BadCredentials);
    let text = format!("{refused} {refused:?}");
    assert!(text.contains("AuthenticationFail.OIDCToken.Invalid") && text.contains(ROLE), "{text}");
    assert!(!text.contains("FAKE.one"), "{text}");
    fs::write(&file, "header.FAKE.two").unwrap();
    role.fetch().await.unwrap();

    sim.set_roles(RoleSettings { refuse: Some("ServiceUnavailable".into()), ..roles("header.FAKE.two") });
    assert_eq!(role.fetch().await.unwrap_err().meaning(), Meaning::NotSent);
    sim.set_roles(RoleSettings { refuse: Some("Throttling.User".into()), ..roles("header.FAKE.two") });
    assert_eq!(role.fetch().await.unwrap_err().meaning(), Meaning::NotSent);
    server.shutdown().await;
    let gone = role.fetch().await.unwrap_err();
    assert!(gone.meaning() == Meaning::NotSent && gone.to_string().contains("STS"), "{gone}");
}

#[tokio::test]
async fn the_metadata_service_without_a_role_is_a_persons_matter() {
    let (sim, server) = serve().await;
    let none = node_role(&server.url(), None).fetch().await.unwrap_err();
    assert!(
        none.meaning() == Meaning::NoCredentials && none.to_string().contains("attach a RAM role"),
        "{none}"
    );
    sim.set_roles(roles("unused"));
    let other = node_role(&server.url(), Some("other")).fetch().await.unwrap_err();
    assert_eq!(other.meaning(), Meaning::NoCredentials, "{other}");
    node_role(&server.url(), None).fetch().await.unwrap();
}

#[tokio::test]
async fn keys_that_end_before_their_time_are_fetched_anew_and_the_call_is_repeated() {
    let (sim, server) = serve().await;
    sim.set_roles(roles("unused"));
    // Old enough at once.
    let (clock, ahead) = Ahead::new();
    let provider = Arc::new(Temporary::new(node_role(&server.url(), None), clock));
    let mut config = config(&server, &sim, None);
    config.credentials = Arc::clone(&provider) as _;
    let client = Client::new(config).unwrap();
    client.usage().await.unwrap();
    let first = provider.credentials().await.unwrap().access_key_id;
    sim.revoke_temporary_keys();
    assert_eq!(client.usage().await.unwrap_err().meaning, Meaning::BadCredentials, "they are too young");
    ahead.store(60, std::sync::atomic::Ordering::SeqCst);
    client.usage().await.unwrap();
    assert_ne!(provider.credentials().await.unwrap().access_key_id, first);
}

/// A clock that can be set forward.
struct Ahead(Arc<std::sync::atomic::AtomicU64>);

impl Ahead {
    fn new() -> (Arc<Self>, Arc<std::sync::atomic::AtomicU64>) {
        let ahead = Arc::new(std::sync::atomic::AtomicU64::new(0));
        (Arc::new(Self(Arc::clone(&ahead))), ahead)
    }
}

impl eci_aliyun::clock::Clock for Ahead {
    fn now(&self) -> jiff::Timestamp {
        SystemClock.now()
    }

    fn monotonic(&self) -> std::time::Duration {
        let ahead = self.0.load(std::sync::atomic::Ordering::SeqCst);
        SystemClock.monotonic() + std::time::Duration::from_secs(ahead)
    }
}
