//! Two equal worlds: one behind the client and HTTP, one in process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eci_aliyun::clock::{Clock, SystemClock};
use eci_aliyun::credentials::{Credentials, StaticCredentials};
use eci_aliyun::pace::Rate;
use eci_aliyun::{Client, Config};
use eci_api::image_cache::{AcrInstance, EliminationStrategy, ImageCacheRequest, OsType};
use eci_core::cloud::{
    ClientToken, Cloud, CloudError, CloudId, CreateDataCache, CreateImageCache, CreatedImageCache,
    DataCacheView, ImageCacheView, Meaning, PageToken, Place, RegistryCredential, UpdateDataCache,
    UpdateImageCache, Usage,
};
use eci_sim::faults::Fault;
use eci_sim::server::{self, ServerHandle};
use eci_sim::{Key, KeyState, Settings, Sim, SimCloud};
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

pub(crate) const KEY: &str = "FAKE-ACCESS-KEY-ID";
pub(crate) const SECRET: &str = "FAKE-ACCESS-KEY-SECRET";
/// A token with everything that a header takes and an encoder could spoil.
pub(crate) const STS_TOKEN: &str = "FAKE/+=%20~*TOKEN";

const SEED: u64 = 7;

pub(crate) type Tags = BTreeMap<String, String>;

/// One call of the port.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Create(Box<CreateImageCache>),
    List(Tags, Option<PageToken>),
    Describe(CloudId),
    Update(UpdateImageCache),
    Delete(CloudId, ClientToken),
    Tag(CloudId, Tags),
    Untag(CloudId, Vec<String>),
    CreateData(Box<CreateDataCache>),
    ListData(Tags, Option<PageToken>),
    DescribeData(CloudId),
    FindData(Place),
    UpdateData(UpdateDataCache),
    DeleteData(CloudId, ClientToken),
    TagData(CloudId, Tags),
    UntagData(CloudId, Vec<String>),
    Usage,
}

/// What it came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Created(CreatedImageCache),
    Page(Vec<ImageCacheView>, Option<PageToken>),
    Found(Option<Box<ImageCacheView>>),
    CreatedData(CloudId),
    DataPage(Vec<DataCacheView>, Option<PageToken>),
    FoundData(Option<Box<DataCacheView>>),
    Usage(Usage),
    Done,
}

/// What both sides must agree on when it failed. The IDs of requests differ; so do the words about an answer that was
/// lost, about clocks, where the client adds what both say, and about keys, where it drops what quotes the request.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) meaning: Meaning,
    pub(crate) code: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// Of a refusal that has nothing to do with clocks and keys.
    pub(crate) message: Option<String>,
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        let comparable =
            error.is_refusal() && !matches!(error.meaning, Meaning::ClockSkew | Meaning::BadCredentials);
        let message = comparable.then_some(error.message);
        Self { meaning: error.meaning, code: error.code, retry_after: error.retry_after, message }
    }
}

/// Puts one call to a cloud.
pub(crate) async fn put(cloud: &impl Cloud, call: &Call) -> Result<Answer, CloudError> {
    Ok(match call {
        Call::Create(call) => Answer::Created(cloud.create_image_cache(call).await?),
        Call::List(tags, page) => {
            let list = cloud.list_image_caches(tags, page.as_ref()).await?;
            Answer::Page(list.items, list.next)
        }
        Call::Describe(id) => Answer::Found(cloud.describe_image_cache(id).await?.map(Box::new)),
        Call::Update(call) => cloud.update_image_cache(call).await.map(|()| Answer::Done)?,
        Call::Delete(id, token) => cloud.delete_image_cache(id, token).await.map(|()| Answer::Done)?,
        Call::Tag(id, tags) => cloud.tag_image_cache(id, tags).await.map(|()| Answer::Done)?,
        Call::Untag(id, keys) => cloud.untag_image_cache(id, keys).await.map(|()| Answer::Done)?,
        Call::CreateData(call) => Answer::CreatedData(cloud.create_data_cache(call).await?),
        Call::ListData(tags, page) => {
            let list = cloud.list_data_caches(tags, page.as_ref()).await?;
            Answer::DataPage(list.items, list.next)
        }
        Call::DescribeData(id) => Answer::FoundData(cloud.describe_data_cache(id).await?.map(Box::new)),
        Call::FindData(place) => Answer::DataPage(cloud.find_data_caches(place).await?, None),
        Call::UpdateData(call) => cloud.update_data_cache(call).await.map(|()| Answer::Done)?,
        Call::DeleteData(id, token) => cloud.delete_data_cache(id, token).await.map(|()| Answer::Done)?,
        Call::TagData(id, tags) => cloud.tag_data_cache(id, tags).await.map(|()| Answer::Done)?,
        Call::UntagData(id, keys) => cloud.untag_data_cache(id, keys).await.map(|()| Answer::Done)?,
        Call::Usage => Answer::Usage(cloud.usage().await?),
    })
}

/// Both worlds, with one clock that stands still.
pub(crate) struct Twins {
    pub(crate) client: Client,
    /// The world behind HTTP.
    pub(crate) served: Sim,
    pub(crate) http: ServerHandle,
    in_process: SimCloud,
}

impl Twins {
    /// Called with a permanent key.
    pub(crate) async fn new(settings: Settings) -> Self {
        Self::with(settings, None, |_| ()).await
    }

    /// Called with a temporary key if there is a token, and with whatever `configure` changes.
    pub(crate) async fn with(
        settings: Settings,
        token: Option<&str>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let world = || Sim::new(SEED, settings.clone(), eci_sim::Clock::manual(start));
        let served = world();
        served.add_key(Key {
            id: KEY.into(),
            secret: SECRET.into(),
            security_token: token.map(Into::into),
            state: KeyState::Active,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = server::serve(listener, served.clone()).unwrap();
        let mut config = config(&http, &served, token);
        configure(&mut config);
        let client = Client::new(config).unwrap();
        Self { client, served, http, in_process: SimCloud::new(world(), Duration::from_secs(10)) }
    }

    /// The port in process.
    pub(crate) fn in_process(&self) -> &SimCloud {
        &self.in_process
    }

    /// Puts a call to both; they must agree.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Answer, Failure> {
        let over_http = put(&self.client, call).await.map_err(Failure::from);
        let in_process = put(&self.in_process, call).await.map_err(Failure::from);
        assert_eq!(over_http, in_process, "the client (left) and the port in process (right) on {call:?}");
        over_http
    }

    /// As [`Twins::ask`], for a call that must be refused or lost.
    pub(crate) async fn refused(&self, call: &Call) -> Failure {
        self.ask(call).await.expect_err("the call must fail")
    }

    /// Creates a cache in both worlds.
    pub(crate) async fn create(&self, call: CreateImageCache) -> CreatedImageCache {
        match self.ask(&Call::Create(Box::new(call))).await {
            Ok(Answer::Created(created)) => created,
            other => panic!("{other:?}"),
        }
    }

    /// The state of a cache in both worlds; `None` when it is not known.
    pub(crate) async fn look(&self, id: &CloudId) -> Option<Box<ImageCacheView>> {
        match self.ask(&Call::Describe(id.clone())).await {
            Ok(Answer::Found(view)) => view,
            other => panic!("{other:?}"),
        }
    }

    /// All that a list of both worlds shows, page by page.
    pub(crate) async fn list(&self, tags: &Tags) -> Vec<Vec<ImageCacheView>> {
        let (mut pages, mut next) = (Vec::new(), None);
        loop {
            match self.ask(&Call::List(tags.clone(), next)).await {
                Ok(Answer::Page(items, following)) => {
                    pages.push(items);
                    next = following;
                }
                other => panic!("{other:?}"),
            }
            if next.is_none() {
                return pages;
            }
        }
    }

    /// Does something to both worlds.
    pub(crate) fn both(&self, act: impl Fn(&Sim)) {
        act(&self.served);
        act(self.in_process.sim());
    }

    /// Both worlds live on.
    pub(crate) fn advance(&self, seconds: u64) {
        self.both(|sim| sim.advance(Duration::from_secs(seconds)));
    }

    /// A fault between each caller and its world.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.both(|sim| sim.add_fault(fault.clone()));
    }

    /// What was made and ended, with every parameter that arrived; equal in both worlds.
    pub(crate) fn ledger(&self) -> Vec<String> {
        let ledger = |sim: &Sim| {
            sim.with_world(|world, _| {
                world.ledger().iter().map(|entry| serde_json::to_string(entry).unwrap()).collect::<Vec<_>>()
            })
        };
        let served = ledger(&self.served);
        assert_eq!(served, ledger(self.in_process.sim()), "the world behind HTTP (left) and the other");
        served
    }

    /// How many requests of an action came over HTTP.
    pub(crate) fn received(&self, action: &str) -> u64 {
        self.served.calls().of(action)
    }
}

/// A client for a served world, with its time and without limits of its own.
pub(crate) fn config(server: &ServerHandle, sim: &Sim, token: Option<&str>) -> Config {
    let mut config = Config::new("cn-hangzhou", credentials(KEY, SECRET, token));
    config.endpoint = Some(server.url());
    config.clock = Arc::new(Watch { sim: sim.clock().clone(), ahead: SignedDuration::ZERO });
    config.writes = Rate { interval: Duration::ZERO, burst: 1 };
    config.reads = config.writes;
    config
}

pub(crate) fn credentials(id: &str, secret: &str, token: Option<&str>) -> Arc<StaticCredentials> {
    Arc::new(StaticCredentials(Credentials {
        access_key_id: id.to_owned(),
        access_key_secret: secret.into(),
        security_token: token.map(Into::into),
        expiry: None,
    }))
}

/// A client's clock: the simulator's time of day, wrong by `ahead`.
pub(crate) struct Watch {
    pub(crate) sim: eci_sim::Clock,
    pub(crate) ahead: SignedDuration,
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        self.sim.now() + self.ahead
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }
}

pub(crate) fn token(text: &str) -> ClientToken {
    ClientToken::new(text).unwrap()
}

pub(crate) fn tags<const N: usize>(pairs: [(&str, &str); N]) -> Tags {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The smallest create call.
pub(crate) fn small(token_text: &str) -> CreateImageCache {
    CreateImageCache {
        token: token(token_text),
        request: ImageCacheRequest {
            name: "small".to_owned(),
            images: vec!["mirror.example.com/a:1".to_owned()],
            size_gib: 20,
            ..ImageCacheRequest::default()
        },
        credentials: Vec::new(),
        tags: Tags::new(),
    }
}

/// A create call with everything on, and text that encoders trip over.
pub(crate) fn large(token_text: &str) -> CreateImageCache {
    let text = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    let login = |server: &str, user_name: &str, password: &str| RegistryCredential {
        server: server.to_owned(),
        user_name: user_name.to_owned(),
        password: password.into(),
    };
    CreateImageCache {
        token: token(token_text),
        request: ImageCacheRequest {
            name: "a b+ü/%7E*~".to_owned(),
            images: text(&["private.example.com/app@sha256:00", "mirror.example.com/nginx:1.27"]),
            size_gib: 25,
            retention_days: Some(7),
            v_switch_ids: text(&["vsw-1", "vsw-2"]),
            security_group_id: Some("sg-1".to_owned()),
            eip_instance_id: Some("eip-1".to_owned()),
            resource_group_id: Some("rg-1".to_owned()),
            plain_http_registries: text(&["plain.example.com:5000"]),
            insecure_registries: text(&["other.example.com", "self.example.com"]),
            acr_instances: vec![AcrInstance {
                id: "cri-1".to_owned(),
                name: Some("team".to_owned()),
                region_id: Some("cn-beijing".to_owned()),
                domains: text(&["a.example.com", "b.example.com"]),
                service_role_arn: Some("acs:ram::1:role/x".to_owned()),
                user_role_arn: Some("acs:ram::2:role/y".to_owned()),
            }],
            flash: Some(true),
            reuse_layers: Some(true),
            standard_copies: Some(2),
            flash_copies: Some(3),
            elimination_strategy: Some(EliminationStrategy::Lru),
            os_type: Some(OsType::Linux),
            ..ImageCacheRequest::default()
        },
        credentials: vec![
            login("private.example.com", "robot", "made-up-password"),
            login("other.example.com", "robot$user", "p@ss word+/=%~*"),
        ],
        tags: tags([("k/x", "v +&=%"), ("ünï", "中"), ("empty", "")]),
    }
}

/// An update call that changes the days.
pub(crate) fn keep_for(id: &CloudId, token_text: &str, days: i32) -> UpdateImageCache {
    UpdateImageCache {
        id: id.clone(),
        token: token(token_text),
        retention_days: Some(days),
        elimination_strategy: None,
        tags: None,
        standard_copies: None,
        flash_copies: None,
        resource_group_id: None,
    }
}
