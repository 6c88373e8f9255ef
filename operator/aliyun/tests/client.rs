//! The client against a web server on loopback: what it sends, and what it makes of good, bad and no answers.
#![expect(clippy::unwrap_used, reason = "tests, with helpers that clippy does not know as such")]

mod server;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eci_aliyun::clock::Clock;
use eci_aliyun::credentials::{Credentials, CredentialsError, CredentialsProvider, StaticCredentials};
use eci_aliyun::pace::Rate;
use eci_aliyun::{Client, Config, ConfigError};
use eci_api::image_cache::ImageCacheRequest;
use eci_core::cloud::{
    ClientToken, Cloud as _, CloudError, CloudId, CreateImageCache, Meaning, PageToken, RegistryCredential,
    UpdateImageCache,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::SecretString;
use server::{Answer, KEY_SECRET, Server};
use tokio::net::TcpListener;

const PASSWORD: &str = "hunter2 pass/word";
const TOKEN: &str = "hunter2-token==";

const CREATED: &str = r#"{"RequestId":"R-1","ImageCacheId":"imc-1","ContainerGroupId":"eci-1"}"#;
const EMPTY_PAGE: &str = r#"{"RequestId":"R-2","NextToken":"","TotalCount":0,"ImageCaches":[]}"#;

fn credentials(token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: "key-id".into(),
        access_key_secret: KEY_SECRET.into(),
        security_token: token.map(Into::into),
        expiry: None,
    }
}

fn config(url: &str) -> Config {
    Config {
        endpoint: Some(url.to_owned()),
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_secs(2),
        ..Config::new("cn-hangzhou", Arc::new(StaticCredentials(credentials(None))))
    }
}

async fn client_of(answers: impl IntoIterator<Item = Answer>) -> (Server, Client) {
    let server = Server::start(answers).await;
    let client = Client::new(config(&server.url)).unwrap();
    (server, client)
}

fn create() -> CreateImageCache {
    CreateImageCache {
        token: token(),
        request: ImageCacheRequest {
            name: "a".into(),
            images: vec!["r.example.com/a:1".into()],
            size_gib: 20,
            ..Default::default()
        },
        credentials: vec![RegistryCredential {
            server: "r.example.com".into(),
            user_name: "robot".into(),
            password: SecretString::from(PASSWORD),
        }],
        tags: tags(),
    }
}

fn token() -> ClientToken {
    ClientToken::new("token-1").unwrap()
}

fn tags() -> BTreeMap<String, String> {
    [("k".to_owned(), "v".to_owned())].into()
}

fn id(text: &str) -> CloudId {
    CloudId::parse(text).unwrap()
}

async fn create_error(answers: impl IntoIterator<Item = Answer>) -> (Server, CloudError) {
    let (server, client) = client_of(answers).await;
    let error = client.create_image_cache(&create()).await.unwrap_err();
    (server, error)
}

#[tokio::test]
async fn a_create_goes_out_once_signed_and_gives_the_ids() {
    let (server, client) = client_of([Answer::ok(CREATED)]).await;
    let created = client.create_image_cache(&create()).await.unwrap();
    assert_eq!(created.id, id("imc-1"));
    assert_eq!(created.container_group_id.as_deref(), Some("eci-1"));

    let [seen] = server.seen().try_into().ok().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"));
    assert_eq!(seen.header("host"), server.url.trim_start_matches("http://"));
    assert_eq!(seen.header("x-acs-action"), "CreateImageCache");
    assert_eq!(seen.header("x-acs-version"), "2018-08-08");
    assert_eq!(seen.header("content-length"), "0");
    assert_eq!(seen.headers.get("x-acs-security-token"), None);
    assert_eq!(seen.parameter("ClientToken"), Some("token-1"));
    assert_eq!(seen.parameter("ImageRegistryCredential.1.Password"), Some(PASSWORD));
    let (names, right) = seen.signature();
    assert!(right);
    assert_eq!(
        names,
        [
            "host",
            "x-acs-action",
            "x-acs-content-sha256",
            "x-acs-date",
            "x-acs-signature-nonce",
            "x-acs-version"
        ]
    );
}

#[tokio::test]
async fn a_security_token_is_sent_and_signed() {
    let server = Server::start([Answer::ok(EMPTY_PAGE)]).await;
    let config =
        Config { credentials: Arc::new(StaticCredentials(credentials(Some(TOKEN)))), ..config(&server.url) };
    Client::new(config).unwrap().list_image_caches(&tags(), None).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.header("x-acs-security-token"), TOKEN);
    assert_eq!(seen.header("x-acs-accesskey-id"), "key-id");
    let (names, right) = seen.signature();
    assert!(right && names.contains(&"x-acs-security-token") && names.contains(&"x-acs-accesskey-id"));
}

#[tokio::test]
async fn a_create_without_a_clear_answer_is_unknown_and_never_repeated() {
    for (case, answer) in [
        ("time-out", Answer::Hang),
        ("broken connection", Answer::Close),
        ("truncated body", Answer::Truncated),
        ("no JSON", Answer::ok("<html>gateway</html>")),
        ("no object", Answer::ok("[]")),
        ("no body", Answer::ok("")),
        ("no ID", Answer::ok(r#"{"RequestId":"R-1"}"#)),
        ("senseless ID", Answer::ok(r#"{"ImageCacheId":"../imc"}"#)),
        ("endless body", Answer::ok(" ".repeat(4 * 1024 * 1024 + 1))),
        ("500", Answer::error(500, "InternalError", "m")),
        ("503", Answer::error(503, "ServiceUnavailable", "m")),
        ("502 of a proxy", Answer::Reply(502, vec![], "Bad Gateway".into())),
        ("redirection", Answer::Reply(302, vec![("location", "/other".into())], String::new())),
    ] {
        let (server, error) = create_error([answer]).await;
        assert_eq!(error.meaning, Meaning::Unknown, "{case}: {error}");
        assert!(!error.is_refusal(), "{case}");
        assert_eq!(server.seen().len(), 1, "{case}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_certainly_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(config(&url)).unwrap();
    let error = client.create_image_cache(&create()).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::NotSent, "{error}");
    assert!(error.is_not_sent() && error.message.contains("127.0.0.1"), "{error}");
    assert_eq!(client.list_image_caches(&tags(), None).await.unwrap_err().meaning, Meaning::NotSent);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_tried_twice_and_certainly_not_sent_to() {
    // One accepts and says nothing: the limit on connecting covers TLS too. The other answers in plain HTTP.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = Server::start([]).await;
    let urls =
        [format!("https://{}", silent.local_addr().unwrap()), plain.url.replace("http://", "https://")];
    for url in urls {
        let error = Client::new(config(&url)).unwrap().delete_image_cache(&id("imc-1"), &token()).await;
        assert_eq!(error.unwrap_err().meaning, Meaning::NotSent, "{url}");
    }
    assert!(plain.seen().is_empty());
    assert_eq!(plain.connections(), 2);
}

#[tokio::test]
async fn reads_without_a_clear_answer_are_repeated_twice_at_most() {
    let (server, client) = client_of([Answer::Close, Answer::Truncated, Answer::ok(EMPTY_PAGE)]).await;
    let page = client.list_image_caches(&tags(), None).await.unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
    let nonces: Vec<_> =
        server.seen().iter().map(|seen| seen.header("x-acs-signature-nonce").to_owned()).collect();
    assert_eq!(nonces.len(), 3);
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2] && nonces[0] != nonces[2], "{nonces:?}");

    let (server, client) = client_of([Answer::Close, Answer::Close, Answer::Close]).await;
    assert_eq!(client.usage().await.unwrap_err().meaning, Meaning::Unknown);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn writes_open_a_connection_each_and_reads_share_one() {
    let (server, client) = client_of((0..6).map(|n| Answer::ok(if n < 3 { EMPTY_PAGE } else { "{}" }))).await;
    for _ in 0..3 {
        client.list_image_caches(&tags(), None).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    for _ in 0..3 {
        client.delete_image_cache(&id("imc-1"), &token()).await.unwrap();
    }
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn throttling_holds_back_its_own_action_for_as_long_as_the_cloud_asks() {
    let throttled = Answer::error(400, "Throttling.User", "slow down").with("x-acs-retry-after", "60000");
    let (server, client) = client_of([throttled, Answer::ok("{}")]).await;
    let error = client.list_image_caches(&tags(), None).await.unwrap_err();
    assert_eq!((error.meaning, error.retry_after), (Meaning::Throttled, Some(Duration::from_mins(1))));
    assert_eq!(error.code.as_deref(), Some("Throttling.User"));
    assert_eq!(error.request_id.as_deref(), Some("R-1"));

    let error = client.list_image_caches(&tags(), None).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Throttled);
    assert!(error.retry_after.is_some_and(|wait| wait > Duration::from_secs(50)), "{:?}", error.retry_after);
    assert_eq!(server.seen().len(), 1, "the second list was not sent");

    client.delete_image_cache(&id("imc-1"), &token()).await.unwrap();
    assert_eq!(server.seen().len(), 2, "a delete does not wait for lists");
}

#[tokio::test]
async fn a_write_whose_turn_comes_too_late_is_refused_and_not_sent() {
    let server = Server::start([Answer::ok("{}"), Answer::ok("{}")]).await;
    let writes = Rate { interval: Duration::from_secs(10), burst: 1 };
    let client = Client::new(Config { writes, ..config(&server.url) }).unwrap();
    client.delete_image_cache(&id("imc-1"), &token()).await.unwrap();
    let error = client.delete_image_cache(&id("imc-1"), &token()).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Throttled, "{error}");
    assert!(error.retry_after.is_some_and(|wait| wait > Duration::from_secs(5)), "{:?}", error.retry_after);
    assert_eq!(server.seen().len(), 1);
}

#[derive(Debug)]
struct SlowCredentials;

impl CredentialsProvider for SlowCredentials {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Ok(credentials(None))
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_write_that_was_held_up_beyond_its_time_is_not_sent() {
    let server = Server::start([Answer::ok(CREATED)]).await;
    let config = Config {
        credentials: Arc::new(SlowCredentials),
        connect_timeout: Duration::from_millis(250),
        request_timeout: Duration::from_millis(600),
        ..config(&server.url)
    };
    let error = Client::new(config).unwrap().create_image_cache(&create()).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::NotSent, "{error}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_password_of_one_letter_changes_no_meaning() {
    let (_server, client) = client_of([Answer::error(403, "QuotaExceeded", "no more")]).await;
    let mut call = create();
    call.credentials[0].password = "o".into();
    let error = client.create_image_cache(&call).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::QuotaExceeded);
    assert_eq!(error.message, "n[redacted] m[redacted]re");
}

#[tokio::test]
async fn pages_follow_each_other_until_the_end_or_a_repeated_token() {
    let page = |next: &str| Answer::ok(format!(r#"{{"NextToken":"{next}","ImageCaches":[]}}"#));
    let (server, client) = client_of([page("B=="), page("B=="), page(&"x".repeat(5000))]).await;
    let first = client.list_image_caches(&tags(), None).await.unwrap();
    assert_eq!(first.next, Some(PageToken("B==".into())));
    let second = client.list_image_caches(&tags(), first.next.as_ref()).await.unwrap();
    assert_eq!(second.next, None, "a page that names itself is the last");
    assert_eq!(server.seen()[1].parameter("NextToken"), Some("B=="));
    assert_eq!(server.seen()[1].parameter("Tag.1.Key"), Some("k"));
    assert_eq!(server.seen()[1].parameter("Limit"), Some("20"));
    let error = client.list_image_caches(&tags(), None).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Unknown, "a token that fits into no request");
}

#[tokio::test]
async fn a_list_keeps_what_it_can_read_and_carries_the_tags() {
    let body = r#"{"New":1,"ImageCaches":[
        {"ImageCacheId":"imc-1","Tags":[{"Key":"k","Value":"v"}],"Brand":{"New":true}},
        {"ImageCacheId":"imc-2","Tags":[{"Key":"k","Value":"other"}]},
        {"ImageCacheName":"without an ID"}, {"ImageCacheId":"no id"}, 7]}"#;
    let (_server, client) = client_of([Answer::ok(body)]).await;
    let page = client.list_image_caches(&tags(), None).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["imc-1"]);
}

#[tokio::test]
async fn an_answer_without_a_list_is_not_taken_for_an_empty_one() {
    let (_server, client) = client_of([Answer::ok(r#"{"TotalCount":0}"#), Answer::ok("{}")]).await;
    assert!(client.list_image_caches(&tags(), None).await.unwrap().items.is_empty());
    assert_eq!(client.list_image_caches(&tags(), None).await.unwrap_err().meaning, Meaning::Unknown);
}

#[tokio::test]
async fn an_id_that_the_cloud_does_not_know_is_none_and_other_caches_prove_nothing() {
    let (_server, client) = client_of([
        Answer::ok(EMPTY_PAGE),
        Answer::error(404, "InvalidImageCacheId.NotFound", "m"),
        Answer::ok(r#"{"ImageCaches":[{"ImageCacheId":"imc-2"}]}"#),
        Answer::ok(r#"{"ImageCaches":[{"ImageCacheId":"imc-1","Status":"Ready"}]}"#),
    ])
    .await;
    let wanted = id("imc-1");
    assert_eq!(client.describe_image_cache(&wanted).await.unwrap(), None);
    assert_eq!(client.describe_image_cache(&wanted).await.unwrap(), None);
    assert_eq!(client.describe_image_cache(&wanted).await.unwrap_err().meaning, Meaning::Unknown);
    assert_eq!(client.describe_image_cache(&wanted).await.unwrap().unwrap().id, wanted);
}

#[tokio::test]
async fn an_update_that_changes_nothing_succeeds() {
    let (_server, client) = client_of([Answer::error(400, "NoNeedUpdate", "m")]).await;
    let call = UpdateImageCache {
        id: id("imc-1"),
        token: token(),
        retention_days: Some(7),
        elimination_strategy: None,
        tags: None,
        standard_copies: None,
        flash_copies: None,
        resource_group_id: None,
    };
    client.update_image_cache(&call).await.unwrap();
}

#[tokio::test]
async fn tagging_with_nothing_sends_nothing() {
    let (server, client) = client_of([Answer::ok("{}"), Answer::ok("{}")]).await;
    client.tag_image_cache(&id("imc-1"), &BTreeMap::new()).await.unwrap();
    client.untag_image_cache(&id("imc-1"), &[]).await.unwrap();
    assert!(server.seen().is_empty());
    client.tag_image_cache(&id("imc-1"), &tags()).await.unwrap();
    client.untag_image_cache(&id("imc-1"), &["k".into()]).await.unwrap();
    let actions: Vec<_> = server.seen().iter().map(|seen| seen.header("x-acs-action").to_owned()).collect();
    assert_eq!(actions, ["TagResources", "UntagResources"]);
}

#[tokio::test]
async fn quotas_are_read() {
    let body = r#"{"Attributes":{"MaxImageCacheCount":500,"UsedImageCacheCount":4,"UsedCpu":16.5}}"#;
    let (_server, client) = client_of([Answer::ok(body)]).await;
    let usage = client.usage().await.unwrap();
    assert_eq!((usage.max_image_caches, usage.used_image_caches), (Some(500), Some(4)));
    assert_eq!(usage.max_data_caches, None);
}

#[tokio::test]
async fn a_request_that_cannot_be_written_is_invalid_and_not_sent() {
    let (server, client) = client_of([Answer::ok(CREATED)]).await;
    let mut call = create();
    call.request.images = vec!["x".repeat(70_000)];
    let error = client.create_image_cache(&call).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Invalid, "{error}");
    assert!(server.seen().is_empty());
}

#[derive(Debug)]
struct NoCredentials;

impl CredentialsProvider for NoCredentials {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        async { Err(CredentialsError::Other("the vault is closed".into())) }.boxed()
    }
}

#[tokio::test]
async fn without_credentials_that_work_nothing_is_sent() {
    let server = Server::start([Answer::ok(CREATED)]).await;
    let expired = Credentials { expiry: Some(Timestamp::UNIX_EPOCH), ..credentials(None) };
    let providers: [Arc<dyn CredentialsProvider>; 2] =
        [Arc::new(NoCredentials), Arc::new(StaticCredentials(expired))];
    for provider in providers {
        let client = Client::new(Config { credentials: provider, ..config(&server.url) }).unwrap();
        let error = client.create_image_cache(&create()).await.unwrap_err();
        assert!(error.meaning == Meaning::NoCredentials && error.is_not_sent(), "{error}");
    }
    assert!(server.seen().is_empty());
}

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[tokio::test]
async fn a_wrong_clock_is_told_with_both_times() {
    let skewed = Answer::error(400, "InvalidTimeStamp.Expired", "too old")
        .with("date", "Fri, 02 Jan 2026 04:00:00 GMT");
    let server = Server::start([skewed]).await;
    let clock = Arc::new(At("2026-01-02T03:04:05.678Z".parse().unwrap()));
    let client = Client::new(Config { clock, ..config(&server.url) }).unwrap();
    let error = client.create_image_cache(&create()).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::ClockSkew);
    assert!(
        error.message.contains("2026-01-02T03:04:05.678Z") && error.message.contains("2026-01-02T04:00:00Z")
    );
    assert_eq!(server.seen()[0].header("x-acs-date"), "2026-01-02T03:04:05Z");
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_reaches_a_log_an_error_or_a_debug_form() {
    let captured = Captured::default();
    let writer = captured.clone();
    let _logging = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish(),
    );
    let echo = format!("bad value {PASSWORD} hunter2%20pass%2Fword {TOKEN} {KEY_SECRET}");
    let server = Server::start([
        Answer::error(400, "InvalidParameter", &echo),
        Answer::error(400, "SignatureDoesNotMatch", "string to sign is: hunter2%2520pass%252Fword"),
        Answer::error(400, PASSWORD, PASSWORD),
        Answer::Truncated,
        Answer::Close,
        Answer::Hang,
        Answer::ok(CREATED),
    ])
    .await;
    let config = Config {
        credentials: Arc::new(StaticCredentials(credentials(Some(TOKEN)))),
        writes: Rate { interval: Duration::ZERO, burst: 1 },
        ..config(&server.url)
    };
    let client = Client::new(config.clone()).unwrap();
    let mut said = format!("{client:?} {:?} {:?}", config.credentials, create());
    for _ in 0..7 {
        said = match client.create_image_cache(&create()).await {
            Ok(created) => format!("{said} {created:?}"),
            Err(error) => format!("{said} {error} {error:?}"),
        };
    }
    assert_eq!(server.seen().len(), 7);
    let logged = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert_eq!(logged.matches("cloud call").count(), 7, "{logged}");
    assert!(logged.contains("CreateImageCache") && logged.contains("status=400"), "{logged}");
    for text in [said, logged] {
        assert!(!text.contains("hunter2") && !text.contains("ImageRegistryCredential"), "{text}");
    }
}

#[test]
fn a_client_is_not_made_of_a_senseless_configuration() {
    let base = config("http://127.0.0.1:1");
    let region = Config { region: "cn hangzhou".into(), ..base.clone() };
    assert!(matches!(Client::new(region), Err(ConfigError::Endpoint(_))));
    let endpoint = Config { endpoint: Some("http://eci.example.com".into()), ..base.clone() };
    assert!(matches!(Client::new(endpoint), Err(ConfigError::Endpoint(_))));
    let timeouts = Config { request_timeout: base.connect_timeout * 2, ..base.clone() };
    assert_eq!(Client::new(timeouts).unwrap_err(), ConfigError::Timeouts);
    let vpc = Config { endpoint: None, vpc: true, ..base };
    assert_eq!(Client::new(vpc).unwrap().endpoint().to_string(), "https://eci-vpc.cn-hangzhou.aliyuncs.com");
}
