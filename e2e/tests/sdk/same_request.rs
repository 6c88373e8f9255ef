//! Our client sends what the SDK sent in the group `same-request`; the simulator must have decoded both to the same.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use eci_aliyun::credentials::{Credentials, StaticCredentials};
use eci_aliyun::pace::Rate;
use eci_aliyun::{ACTIONS, Client, Config, SPOT_ACTIONS, SpotClient};
use eci_api::data_cache::DataCacheRequest;
use eci_api::eip::{ChargeType, Eip, Isp};
use eci_api::image_cache::{AcrInstance, EliminationStrategy, ImageCacheRequest, OsType};
use eci_core::cloud::{
    ClientToken, Cloud as _, CloudId, CreateDataCache, CreateImageCache, Place, RegistryCredential,
    UpdateDataCache, UpdateImageCache,
};
use eci_core::spot::market::{AdviceQuery, HistoryQuery, Name, SpotMarket as _, Wanted};
use eci_sim::admin;
use eci_sim::log::Requests;

type Parameters = BTreeMap<String, String>;

/// Parameters that one side cannot send, each with the reason. What the transport adds (action, version, date, nonce,
/// signature) is in headers on both sides and never becomes a parameter.
const ONE_SIDED: [(&str, &str); 1] =
    [("OsType", "newer than this version of the SDK, which has no field for it")];

/// Builds are over after so many seconds with the simulator's usual tempo.
const BUILD: u64 = 90;

/// What was compared.
pub(crate) struct Compared {
    requests: usize,
    actions: usize,
    parameters: usize,
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, actions, parameters } = self;
        write!(f, "{requests} requests of {actions} actions with {parameters} parameters, the same from both")
    }
}

/// Compares the SDK's requests, still in the simulator's log, with ours.
pub(crate) async fn compare(endpoint: &str) -> anyhow::Result<Compared> {
    let simulator = admin::Client::new(endpoint);
    let from_sdk = simulator.requests().await?;
    // The same seed gives the same IDs and page tokens again, so these are compared as well.
    simulator.reset().await?;
    send(endpoint, &simulator).await?;
    let from_client = simulator.requests().await?;
    differences(&from_sdk, &from_client)
}

fn differences(from_sdk: &Requests, from_client: &Requests) -> anyhow::Result<Compared> {
    let mut compared = Compared { requests: 0, actions: 0, parameters: 0 };
    let mut differences = Vec::new();
    for action in ACTIONS.into_iter().chain(SPOT_ACTIONS) {
        let none = VecDeque::new();
        let of = |requests: &'_ Requests| requests.get(action).unwrap_or(&none).clone();
        let (sdk, client) = (of(from_sdk), of(from_client));
        if sdk.is_empty() || sdk.len() != client.len() {
            bail!(
                "{action}: {} requests from the SDK, {} from the client; conformance.py must end with the group \
                 same-request, and both must send the same calls",
                sdk.len(),
                client.len()
            );
        }
        compared.actions += 1;
        compared.requests += sdk.len();
        for (number, (sdk, client)) in (1..).zip(sdk.into_iter().zip(client)) {
            compared.parameters += client.len();
            for name in sdk.keys().chain(client.keys().filter(|name| !sdk.contains_key(*name))) {
                let (theirs, ours) = (sdk.get(name), client.get(name));
                if !is_same(name, theirs, ours) {
                    differences.push(format!("{action} {number}: {name}: SDK {theirs:?}, client {ours:?}"));
                }
            }
        }
    }
    if !differences.is_empty() {
        bail!("the SDK and the client send different requests:\n{}", differences.join("\n"));
    }
    Ok(compared)
}

fn is_same(name: &str, theirs: Option<&String>, ours: Option<&String>) -> bool {
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if is_boolean(theirs) => theirs.eq_ignore_ascii_case(ours),
        (Some(_), Some(_)) => theirs == ours,
        _ => ONE_SIDED.iter().any(|(known, _)| *known == name),
    }
}

fn is_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

/// The calls of the group `same-request` in `conformance.py`, in its order.
async fn send(endpoint: &str, simulator: &admin::Client) -> anyhow::Result<()> {
    let client = Client::new(config(endpoint))?;
    let id = client.create_image_cache(&everything()?).await?.id;
    for number in 0..20 {
        client.create_image_cache(&little(number)?).await?;
    }
    let team = tags(&[("team", "a")]);
    let page = client.list_image_caches(&team, None).await?.next.context("there is no second page")?;
    client.list_image_caches(&team, Some(&page)).await?;
    simulator.advance(BUILD).await?;
    client.describe_image_cache(&id).await?.context("the cache is not known")?;
    client.tag_image_cache(&id, &tags(&[("a/b", "1 +"), ("z", "")])).await?;
    client.untag_image_cache(&id, &text(&["a/b", "z"])).await?;
    client.update_image_cache(&update(&id)?).await?;
    client.usage().await?;
    client.delete_image_cache(&id, &token("delete-1")?).await?;
    load_data(&client, simulator).await?;
    ask_the_market(&SpotClient::new(config(endpoint))?).await
}

async fn load_data(client: &Client, simulator: &admin::Client) -> anyhow::Result<()> {
    let id = client.create_data_cache(&all_of_a_data_cache()?).await?;
    client.list_data_caches(&tags(&[("team", "a")]), None).await?;
    client.find_data_caches(&Place::new("models", "/a b/ü")).await?;
    simulator.advance(BUILD).await?;
    client.describe_data_cache(&id).await?.context("the data cache is not known")?;
    client.tag_data_cache(&id, &tags(&[("a/b", "1 +"), ("z", "")])).await?;
    client.untag_data_cache(&id, &text(&["a/b", "z"])).await?;
    let update = UpdateDataCache {
        id: id.clone(),
        token: token("update-2")?,
        retention_days: Some(9),
        tags: Some(tags(&[("k", "v")])),
        resource_group_id: Some("rg-2".to_owned()),
    };
    client.update_data_cache(&update).await?;
    client.delete_data_cache(&id, &token("delete-2")?).await?;
    Ok(())
}

fn all_of_a_data_cache() -> anyhow::Result<CreateDataCache> {
    Ok(CreateDataCache {
        token: token("data-everything")?,
        request: DataCacheRequest {
            name: "dc-1".to_owned(),
            bucket: "models".to_owned(),
            path: "/a b/ü".to_owned(),
            source_type: "URL".to_owned(),
            source_options: tags(&[("url", "https://example.com/private/a?b=c&d=%20")]),
            size_gib: 30,
            retention_days: Some(7),
            v_switch_ids: text(&["vsw-1"]),
            security_group_id: Some("sg-1".to_owned()),
            eip: Some(Eip {
                bandwidth: Some(10),
                isp: Some(Isp::BgpPro),
                charge_type: Some(ChargeType::PayByBandwidth),
                common_bandwidth_package_id: Some("cbwp-1".to_owned()),
                address_pool_id: Some("pippool-1".to_owned()),
            }),
            resource_group_id: Some("rg-1".to_owned()),
            ..DataCacheRequest::default()
        },
        secret_options: [("accessToken".to_owned(), "made-up-token".into())].into(),
        tags: tags(&[("empty", ""), ("k/x", "v +&=%"), ("team", "a")]),
    })
}

async fn ask_the_market(client: &SpotClient) -> anyhow::Result<()> {
    let name = |text| Name::parse(text).context("that is no name");
    let query = HistoryQuery {
        instance_type: name("ecs.c6.xlarge")?,
        zone: Some(name("cn-hangzhou-b")?),
        protection_hours: 0,
        from: "2026-01-02T03:04:05Z".parse()?,
        to: "2026-01-30T03:04:05Z".parse()?,
    };
    client.price_history(&query, 7).await?;
    client.advice(&AdviceQuery { wanted: Wanted::Size { vcpu: 4, memory_gib: 8 }, zone: None }).await?;
    let types = Wanted::Types(vec![name("ecs.c6.xlarge")?, name("ecs.c7.xlarge")?]);
    client.advice(&AdviceQuery { wanted: types, zone: Some(name("cn-hangzhou-b")?) }).await?;
    Ok(())
}

/// With the key that `eci-sim` and `conformance.py` make up, and without limits of its own.
fn config(endpoint: &str) -> Config {
    let credentials = Credentials {
        access_key_id: "FAKE-ACCESS-KEY-ID".to_owned(),
        access_key_secret: "FAKE-ACCESS-KEY-SECRET".into(),
        security_token: None,
        expiry: None,
    };
    let mut config = Config::new("cn-hangzhou", Arc::new(StaticCredentials(credentials)));
    config.endpoint = Some(endpoint.to_owned());
    config.writes = Rate { interval: Duration::ZERO, burst: 1 };
    config.reads = config.writes;
    config
}

fn everything() -> anyhow::Result<CreateImageCache> {
    Ok(CreateImageCache {
        token: token("create-everything")?,
        request: ImageCacheRequest {
            name: "a b+ü/%7E*~".to_owned(),
            images: text(&["private.example.com/app:1.0", "mirror.example.com/library/nginx:1.27"]),
            size_gib: 25,
            retention_days: Some(7),
            v_switch_ids: text(&["vsw-1", "vsw-2"]),
            security_group_id: Some("sg-1".to_owned()),
            eip_instance_id: Some("eip-1".to_owned()),
            resource_group_id: Some("rg-1".to_owned()),
            plain_http_registries: text(&["plain.example.com:5000"]),
            insecure_registries: text(&["self.example.com", "other.example.com"]),
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
        tags: tags(&[("empty", ""), ("k/x", "v +&=%"), ("team", "a"), ("ünï", "中")]),
    })
}

fn little(number: usize) -> anyhow::Result<CreateImageCache> {
    Ok(CreateImageCache {
        token: token(&format!("create-{number}"))?,
        request: ImageCacheRequest {
            name: "little".to_owned(),
            images: text(&["mirror.example.com/a:1"]),
            size_gib: 20,
            flash: Some(false),
            ..ImageCacheRequest::default()
        },
        credentials: Vec::new(),
        tags: tags(&[("team", "a")]),
    })
}

fn update(id: &CloudId) -> anyhow::Result<UpdateImageCache> {
    Ok(UpdateImageCache {
        id: id.clone(),
        token: token("update-1")?,
        retention_days: Some(9),
        elimination_strategy: Some(String::new()),
        tags: Some(tags(&[("k", "v")])),
        standard_copies: Some(4),
        flash_copies: Some(5),
        resource_group_id: Some("rg-2".to_owned()),
    })
}

fn login(server: &str, user_name: &str, password: &str) -> RegistryCredential {
    RegistryCredential {
        server: server.to_owned(),
        user_name: user_name.to_owned(),
        password: password.into(),
    }
}

fn token(text: &str) -> anyhow::Result<ClientToken> {
    ClientToken::new(text).context("that is no client token")
}

fn tags(pairs: &[(&str, &str)]) -> Parameters {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn text(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}
