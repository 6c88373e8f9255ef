//! `kubectl eci spot advise`.

use eci_sim::faults::Fault;
use eci_sim::world::market::PriceRule;
use eci_sim::{KeyState, Settings};
use serde_json::Value;

use crate::{KEY, Kubectl, SECRET, market};

const ADVISE: [&str; 3] = ["eci", "spot", "advise"];
const SIZE: [&str; 5] = ["--vcpu=4", "--memory=8Gi", "--region", "cn-hangzhou", "--ecs-endpoint"];

fn args<'a>(endpoint: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ADVISE.into_iter().chain(SIZE).chain([endpoint]).chain(more.iter().copied()).collect()
}

/// Every price the same part of the regular one.
fn flat(percent: u8) -> Settings {
    let mut settings = Settings::default();
    settings.market.prices = vec![PriceRule { instance_type: None, zone: None, since: None, percent }];
    settings
}

#[tokio::test]
async fn kubectl_finds_the_plugin_and_shows_prices_interruptions_and_a_limit() {
    let (server, sim) = market(flat(20)).await;
    let kubectl = Kubectl::new().with_key();
    let shown = kubectl.run(&args(&server.url(), &[])).await.ok();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines[0].starts_with("Spot instances of 4 vCPU and 8 GiB in cn-hangzhou: CNY for an hour"),
        "{shown}"
    );
    let columns =
        ["INSTANCE", "TYPE", "ZONE", "NOW", "LOWEST", "MEDIAN", "P90", "HIGHEST", "REGULAR", "INTERRUPTED"];
    assert!(lines[2].split_whitespace().zip(columns).all(|(found, wanted)| found == wanted), "{shown}");
    // 4 vCPU at 0.15 and 8 GiB at 0.03 are 0.84, of which a fifth is 0.168; a tenth more is 0.1848.
    let rows: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("ecs.c6.xlarge")).collect();
    assert_eq!(rows.len(), 3, "one for each zone:\n{shown}");
    for row in rows {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[2..4], ["0.168", "(-80%)"], "{row}");
        assert_eq!(cells[4..9], ["0.168", "0.168", "0.168", "0.168", "0.840"], "{row}");
        assert!(cells[9].ends_with('%') && cells[10] == "0.185", "{row}");
    }
    assert!(shown.contains("priceLimit \"0.185\", a tenth above the highest price."), "{shown}");
    assert_eq!(sim.calls().of("DescribeSpotAdvice"), 1);
    assert_eq!(sim.calls().of("DescribeSpotPriceHistory"), 2 * 3, "two types of this size, 3 pages each");
}

#[tokio::test]
async fn json_has_every_number_as_the_text_that_a_profile_takes() {
    let (server, _sim) = market(flat(20)).await;
    let kubectl = Kubectl::new().with_key();
    let more = ["-o", "json", "--zone=cn-hangzhou-b", "--price-limit=0.1"];
    let shown: Value = serde_json::from_str(&kubectl.run(&args(&server.url(), &more)).await.ok()).unwrap();
    assert_eq!(shown["size"], serde_json::json!({ "vcpu": 4, "memoryGiB": 8 }));
    let offers = shown["offers"].as_array().unwrap();
    assert_eq!(offers.len(), 2, "{shown}");
    let price = &offers[0]["price"];
    assert_eq!((&price["now"], &price["median"]), (&"0.168".into(), &"0.168".into()), "{shown}");
    assert_eq!(
        (&price["suggestedLimit"], &price["suggestedLimitBasis"]),
        (&"0.185".into(), &"HighestPrice".into())
    );
    assert_eq!(price["perMilleOfTimeAbovePriceLimit"], 1_000);
    assert!(price["hoursKnown"].as_i64().unwrap() >= 719, "{shown}");
    assert!(offers.iter().all(|offer| offer["zone"] == "cn-hangzhou-b"));
    assert_eq!(shown["priceLimit"]["reason"], "PriceLimitUnderMarket");
    assert_eq!(shown["priceLimit"]["sufficient"], false);
}

#[tokio::test]
async fn a_market_near_the_regular_price_advises_the_regular_price() {
    let (server, _sim) = market(flat(95)).await;
    let shown = Kubectl::new().with_key().run(&args(&server.url(), &["--price-limit=0.8"])).await.ok();
    assert!(shown.contains("priceLimit \"0.840\", the pay-as-you-go price"), "{shown}");
    assert!(shown.contains("The market was never above priceLimit 0.800"), "{shown}");
}

#[tokio::test]
async fn a_size_that_does_not_exist_is_rounded_up_and_said_so_and_types_can_be_named() {
    let (server, sim) = market(flat(20)).await;
    let kubectl = Kubectl::new().with_key();
    let url = server.url();
    let odd = [
        "eci",
        "spot",
        "advise",
        "--vcpu=3500m",
        "--memory=7Gi",
        "--region=cn-hangzhou",
        "--ecs-endpoint",
        &url,
    ];
    let shown = kubectl.run(&odd).await.ok();
    assert!(shown.contains("Billed as 4 vCPU and 8 GiB"), "{shown}");
    let types = [
        "eci",
        "spot",
        "advise",
        "--instance-type=ecs.g6.large,ecs.r6.large",
        "--region=cn-hangzhou",
        "--ecs-endpoint",
        &url,
    ];
    let shown = kubectl.run(&types).await.ok();
    assert_eq!(shown.lines().filter(|line| line.starts_with("ecs.")).count(), 6, "{shown}");
    let asked = sim.requests()["DescribeSpotAdvice"].back().cloned().unwrap();
    assert_eq!(asked.get("InstanceTypes.2").map(String::as_str), Some("ecs.r6.large"));
}

#[tokio::test]
async fn what_goes_wrong_is_said_with_what_to_do_and_without_secrets() {
    let (server, sim) = market(Settings::default()).await;
    let url = server.url();
    let without_key = Kubectl::new().run(&args(&url, &[])).await.failed();
    assert!(
        without_key
            .contains("no ALIBABA_CLOUD_ACCESS_KEY_ID in the environment; set it; or use --credentials-dir"),
        "{without_key}"
    );

    let kubectl = Kubectl::new().with_key();
    sim.set_key_state(KEY, KeyState::Denied);
    let denied = kubectl.run(&args(&url, &[])).await.failed();
    assert!(
        denied.contains("code NoPermission") && denied.contains("allow the actions ecs:DescribeSpotAdvice"),
        "{denied}"
    );
    sim.set_key_state(KEY, KeyState::Active);

    sim.add_fault(Fault::refused("InvalidZoneId.NotFound").times(1));
    let refused = kubectl.run(&args(&url, &[])).await.failed();
    assert!(
        refused.contains("DescribeSpotAdvice: ") && refused.contains("check --region, --zone"),
        "{refused}"
    );

    let nobody = kubectl.run(&args("http://127.0.0.1:1", &[])).await.failed();
    assert!(nobody.contains("check the network, --region and --ecs-endpoint"), "{nobody}");
    let elsewhere = kubectl.run(&args("http://example.com", &[])).await.failed();
    assert!(elsewhere.contains("plain http"), "{elsewhere}");

    for (more, words) in [
        (&["--price-limit=0.1234"][..], "at most three decimals"),
        (&["--protection-hours=2"], "0..=1"),
        (&["--vcpu=4"], "cannot be used multiple times"),
        (&["--instance-type=ecs.c6.large"], "cannot be used with"),
        (&["--zone=a b"], "letters, digits"),
    ] {
        let usage = kubectl.run(&args(&url, more)).await;
        assert_eq!(usage.code, Some(2), "{usage:?}");
        assert!(usage.err.contains(words), "{}", usage.err);
    }
    let huge = [
        "eci",
        "spot",
        "advise",
        "--vcpu=65",
        "--memory=8Gi",
        "--region=cn-hangzhou",
        "--ecs-endpoint",
        &url,
    ];
    let huge = kubectl.run(&huge).await.failed();
    assert!(huge.contains("the largest has 64 vCPU and 512 GiB; name instance types"), "{huge}");
    for text in [without_key, denied, refused, nobody, elsewhere, huge] {
        assert!(text.starts_with("error: ") && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn a_market_that_knows_nothing_says_so() {
    let mut settings = Settings::default();
    settings.market.without_advice = true;
    let (server, _sim) = market(settings).await;
    let empty = Kubectl::new().with_key().run(&args(&server.url(), &[])).await.failed();
    assert!(empty.contains("no price and no advice for spot instances of 4 vCPU and 8 GiB"), "{empty}");
}

#[tokio::test]
async fn help_and_completion_need_no_cloud_and_no_cluster() {
    let kubectl = Kubectl::new();
    let help = kubectl.run(&["eci", "spot", "advise", "--help"]).await.ok();
    for words in [
        "Usage: kubectl eci spot advise",
        "--vcpu",
        "--memory",
        "--price-limit",
        "ECI_REGION",
        "[default: table]",
    ] {
        assert!(help.contains(words), "{words}:\n{help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = kubectl.run(&["eci", "completion", shell]).await.ok();
        assert!(script.contains("kubectl-eci") && script.contains("advise"), "{shell}:\n{script}");
    }
    let version = kubectl.run(&["eci", "--version"]).await.ok();
    assert!(version.starts_with("kubectl-eci "), "{version}");
}
