//! The client of the spot market, and the port in process: the same answers from the same market.

use eci_aliyun::credentials::StaticCredentials;
use eci_aliyun::spot::SpotClient;
use eci_core::cloud::{CloudError, Meaning};
use eci_core::spot::market::{Advice, AdviceQuery, HistoryPage, HistoryQuery, Name, SpotMarket, Wanted};
use eci_sim::faults::{Fault, Seen};
use eci_sim::world::market::LastOffset;
use eci_sim::{KeyState, Settings, SimCloud};
use std::sync::Arc;
use std::time::Duration;

use crate::twins::{self, Failure, KEY, Twins};

/// What both sides answer.
#[derive(Debug, PartialEq)]
enum Answer {
    Prices(HistoryPage),
    Advice(Vec<Advice>),
}

enum Call {
    Prices(HistoryQuery, u32),
    Advice(AdviceQuery),
}

struct Market {
    twins: Twins,
    client: SpotClient,
}

impl Market {
    async fn new(settings: Settings) -> Self {
        let twins = Twins::new(settings).await;
        let client = SpotClient::new(twins::config(&twins.http, &twins.served, None)).unwrap();
        Self { twins, client }
    }

    async fn ask(&self, call: &Call) -> Result<Answer, Failure> {
        let over_http = put(&self.client, call).await.map_err(Failure::from);
        let in_process: &SimCloud = self.twins.in_process();
        let in_process = put(in_process, call).await.map_err(Failure::from);
        assert_eq!(over_http, in_process, "the client (left) and the port in process (right)");
        over_http
    }

    async fn page(&self, query: &HistoryQuery, page: u32) -> HistoryPage {
        match self.ask(&Call::Prices(query.clone(), page)).await {
            Ok(Answer::Prices(page)) => page,
            other => panic!("{other:?}"),
        }
    }
}

async fn put(market: &impl SpotMarket, call: &Call) -> Result<Answer, CloudError> {
    Ok(match call {
        Call::Prices(query, page) => Answer::Prices(market.price_history(query, *page).await?),
        Call::Advice(query) => Answer::Advice(market.advice(query).await?),
    })
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// 30 days, up to the instant at which the simulator's clock stands.
fn history(kind: &str, zone: Option<&str>) -> HistoryQuery {
    HistoryQuery {
        instance_type: name(kind),
        zone: zone.map(name),
        protection_hours: 1,
        from: "2025-12-03T03:04:05Z".parse().unwrap(),
        to: "2026-01-02T03:04:05Z".parse().unwrap(),
    }
}

fn sized() -> AdviceQuery {
    AdviceQuery { wanted: Wanted::Size { vcpu: 4, memory_gib: 8 }, zone: None }
}

fn both() -> [Call; 2] {
    [Call::Prices(history("ecs.c6.xlarge", None), 0), Call::Advice(sized())]
}

#[tokio::test]
async fn prices_of_30_days_come_page_by_page_whatever_the_last_page_says() {
    for last_offset in [LastOffset::Zero, LastOffset::Missing, LastOffset::Count] {
        let mut settings = Settings::default();
        settings.market.last_offset = last_offset;
        let market = Market::new(settings).await;
        let query = history("ecs.c6.xlarge", None);
        let (mut points, mut next, mut pages) = (Vec::new(), Some(0), 0);
        while let Some(from) = next {
            let page = market.page(&query, from).await;
            assert_eq!(page.currency.as_deref(), Some("CNY"));
            points.extend(page.points);
            next = page.next;
            pages += 1;
        }
        assert_eq!(points.len(), 3 * 720, "three zones, an hour each");
        assert_eq!(pages, if last_offset == LastOffset::Count { 4 } else { 3 });
        assert!(points.iter().all(|p| p.pay_as_you_go.is_some_and(|regular| p.price <= regular)));
        let times: std::collections::BTreeSet<_> = points.iter().map(|p| (p.zone.clone(), p.at)).collect();
        assert_eq!(times.len(), points.len(), "none twice");
    }
}

#[tokio::test]
async fn one_zone_can_be_asked_for() {
    let market = Market::new(Settings::default()).await;
    let page = market.page(&history("ecs.c6.xlarge", Some("cn-hangzhou-b")), 0).await;
    assert_eq!((page.points.len(), page.next), (720, None));
    assert!(page.points.iter().all(|point| point.zone == name("cn-hangzhou-b")));
    let query = AdviceQuery { zone: Some(name("cn-hangzhou-b")), ..sized() };
    let Ok(Answer::Advice(found)) = market.ask(&Call::Advice(query)).await else { panic!("refused") };
    assert_eq!(
        found.iter().map(|a| a.instance_type.as_str()).collect::<std::collections::BTreeSet<_>>().len(),
        2
    );
    assert!(found.iter().all(|a| a.zone == name("cn-hangzhou-b") && a.interruption.is_some()), "{found:?}");
}

#[tokio::test]
async fn advice_comes_by_size_and_by_types_and_may_be_empty() {
    let market = Market::new(Settings::default()).await;
    let Ok(Answer::Advice(by_size)) = market.ask(&Call::Advice(sized())).await else { panic!("refused") };
    let types = vec![name("ecs.c6.xlarge"), name("ecs.c7.xlarge")];
    let query = AdviceQuery { wanted: Wanted::Types(types), zone: None };
    let Ok(Answer::Advice(by_types)) = market.ask(&Call::Advice(query)).await else { panic!("refused") };
    assert_eq!((by_size.len(), by_size == by_types), (6, true));

    let mut settings = Settings::default();
    settings.market.without_advice = true;
    settings.market.without_history = vec!["ecs.c6.xlarge".to_owned()];
    let market = Market::new(settings).await;
    assert_eq!(market.ask(&Call::Advice(sized())).await, Ok(Answer::Advice(Vec::new())));
    let page = market.page(&history("ecs.c6.xlarge", None), 0).await;
    assert_eq!((page.points.len(), page.next), (0, None));
}

#[tokio::test]
async fn documented_codes_have_their_meaning() {
    let market = Market::new(Settings::default()).await;
    for (code, meaning) in [
        ("MissingParameter", Meaning::Invalid),
        ("UnsupportedParameter", Meaning::Invalid),
        ("InvalidParams.StartTime", Meaning::Invalid),
        ("InvalidZoneId.NotFound", Meaning::Invalid),
        ("InvalidInstanceType.ValueNotSupported", Meaning::Invalid),
        ("InvalidSpotDuration", Meaning::Invalid),
        ("InvalidUserType.NotSupported", Meaning::AccountRestricted),
        ("Abs.InvalidAccount.NotFound", Meaning::AccountRestricted),
        ("Forbedden.NotSupportRAM", Meaning::Denied),
        ("Forbbiden.SubUser", Meaning::Denied),
        ("Forbidden.RAM", Meaning::Denied),
        ("OperationDenied.RegionIdNotSupported", Meaning::Invalid),
        ("InvalidParam.TypeAndCpuMem.Conflict", Meaning::Invalid),
        ("Unavailable.Regions", Meaning::Invalid),
        ("Throttling.User", Meaning::Throttled),
    ] {
        for call in both() {
            market.twins.fault(&Fault::refused(code).times(1));
            let failure = market.ask(&call).await.unwrap_err();
            assert_eq!((failure.meaning, failure.code.as_deref()), (meaning, Some(code)));
        }
    }
}

#[tokio::test]
async fn a_read_without_an_answer_is_repeated_and_then_given_up() {
    let market = Market::new(Settings::default()).await;
    for fault in [
        Fault::lost_after(),
        Fault { answer: Seen::Truncated, ..Fault::default() },
        Fault { answer: Seen::NotJson(502), ..Fault::default() },
        Fault::refused("OperationDenied.QueryFail"),
    ] {
        for call in both() {
            market.twins.served.add_fault(fault.clone().times(2));
            put(&market.client, &call).await.unwrap();
            market.twins.served.add_fault(fault.clone().times(3));
            assert_eq!(put(&market.client, &call).await.unwrap_err().meaning, Meaning::Unknown, "{fault:?}");
        }
    }
    assert_eq!(market.twins.received("DescribeSpotAdvice"), 4 * (3 + 3));
}

#[tokio::test]
async fn a_key_without_permission_or_of_another_secret_is_refused() {
    let market = Market::new(Settings::default()).await;
    market.twins.served.set_key_state(KEY, KeyState::Denied);
    for call in both() {
        assert_eq!(put(&market.client, &call).await.unwrap_err().meaning, Meaning::Denied);
    }
    let mut config = twins::config(&market.twins.http, &market.twins.served, None);
    let credentials: Arc<StaticCredentials> = twins::credentials(KEY, "another", None);
    config.credentials = credentials;
    let stranger = SpotClient::new(config).unwrap();
    let error = put(&stranger, &Call::Advice(sized())).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::BadCredentials);
    assert!(error.message.contains("the access key secret is wrong"), "{error}");
}

#[tokio::test]
async fn a_slow_market_is_not_waited_for_for_ever() {
    let twins = Twins::new(Settings::default()).await;
    let mut config = twins::config(&twins.http, &twins.served, None);
    config.connect_timeout = Duration::from_millis(100);
    config.request_timeout = Duration::from_millis(300);
    let client = SpotClient::new(config).unwrap();
    twins.served.add_fault(Fault { answer: Seen::Silence(60_000), ..Fault::default() });
    let error = put(&client, &Call::Advice(sized())).await.unwrap_err();
    assert_eq!(error.meaning, Meaning::Unknown, "{error}");
}
