//! The wire protocol, over real connections with requests signed by hand.

use std::time::Duration;

use crate::common::{Received, Signer, send, serve, start};
use eci_sim::faults::{Effect, Fault, Seen};
use eci_sim::server::ServerHandle;
use eci_sim::{Clock, Key, KeyState, Settings, Sim};
use serde_json::json;
use tokio::net::TcpListener;

const CREATE: [(&str, &str); 12] = [
    ("RegionId", "cn-hangzhou"),
    ("ImageCacheName", "one two"),
    ("ClientToken", "token-1"),
    ("Image.1", "private.example.com/app:1.0"),
    ("Image.2", "nginx:1.27"),
    ("ImageRegistryCredential.1.Server", "private.example.com"),
    ("ImageRegistryCredential.1.UserName", "robot"),
    ("ImageRegistryCredential.1.Password", "made-up-password"),
    ("Tag.1.Key", "eci-operator.io/name"),
    ("Tag.1.Value", "a+b c"),
    ("RetentionDays", "7"),
    ("Flash", "False"),
];

type Parameters = &'static [(&'static str, &'static str)];

const LIST: [(&str, &str); 1] = [("RegionId", "cn-hangzhou")];

async fn v3(server: &ServerHandle, nonce: &str, action: &str, parameters: &[(&str, &str)]) -> Received {
    let address = server.local_addr();
    send(address, &Signer::new(nonce).v3(address, action, parameters)).await
}

#[tokio::test]
async fn a_cache_is_created_described_updated_tagged_and_deleted_over_http() {
    let (server, sim) = serve(Settings::default()).await;
    let created = v3(&server, "n1", "CreateImageCache", &CREATE).await;
    assert_eq!(created.status, 200, "{created:?}");
    let id = created.json()["ImageCacheId"].as_str().unwrap().to_owned();
    assert_eq!(created.header("x-acs-request-id").as_deref(), created.json()["RequestId"].as_str());

    sim.advance(Duration::from_secs(90));
    let described = v3(&server, "n2", "DescribeImageCaches", &LIST).await.json();
    let mut cache = described["ImageCaches"][0].clone();
    let events = cache["Events"].take();
    let snapshot = cache["SnapshotId"].take();
    assert!(snapshot.as_str().unwrap().starts_with("s-"));
    assert_eq!(events[0]["Reason"], "Pulling");
    assert_eq!(events[0]["LastTimestamp"], "2026-01-02T03:04:05Z");
    assert_eq!(
        cache,
        json!({
            "ImageCacheId": id,
            "ImageCacheName": "one two",
            "RegionId": "cn-hangzhou",
            "Status": "Ready",
            "Progress": "100%",
            "Images": ["private.example.com/app:1.0", "nginx:1.27"],
            "ImageCacheSize": 20,
            "CreationTime": "2026-01-02T03:04:05Z",
            "ExpireDateTime": "2026-01-09T03:04:05Z",
            "ContainerGroupId": created.json()["ContainerGroupId"],
            "SnapshotId": null,
            "Tags": [{ "Key": "eci-operator.io/name", "Value": "a+b c" }],
            "Events": null,
        })
    );
    assert_eq!((&described["TotalCount"], &described["NextToken"]), (&json!(1), &json!("")));

    let by_id = [("RegionId", "cn-hangzhou"), ("ImageCacheId", id.as_str())];
    let update = [by_id.as_slice(), &[("EliminationStrategy", "LRU")]].concat();
    assert_eq!(v3(&server, "n3", "UpdateImageCache", &update).await.status, 200);
    sim.advance(Duration::from_mins(1));
    assert_eq!(v3(&server, "n4", "UpdateImageCache", &update).await.code(), "NoNeedUpdate");

    let resource =
        [("RegionId", "cn-hangzhou"), ("ResourceType", "ImageCache"), ("ResourceId.1", id.as_str())];
    let tag = [resource.as_slice(), &[("Tag.1.Key", "k"), ("Tag.1.Value", "v")]].concat();
    assert_eq!(v3(&server, "n5", "TagResources", &tag).await.status, 200);
    let untag = [resource.as_slice(), &[("TagKey.1", "eci-operator.io/name")]].concat();
    assert_eq!(v3(&server, "n6", "UntagResources", &untag).await.status, 200);
    let tags = v3(&server, "n7", "ListTagResources", &resource).await.json();
    assert_eq!(
        tags["TagResources"],
        json!([{ "ResourceId": id, "ResourceType": "ImageCache", "TagKey": "k", "TagValue": "v" }])
    );

    let usage = v3(&server, "n8", "ListUsage", &LIST).await.json();
    assert_eq!(usage["Attributes"]["UsedImageCacheCount"], 1);
    let regions = v3(&server, "n9", "DescribeRegions", &[]).await.json();
    assert_eq!(regions["Regions"][0]["RegionId"], "cn-hangzhou");
    assert_eq!(v3(&server, "n10", "DeleteImageCache", &by_id).await.status, 200);
    assert_eq!(v3(&server, "n11", "DescribeImageCaches", &by_id).await.json()["ImageCaches"], json!([]));
    server.shutdown().await;
}

#[tokio::test]
async fn signature_v1_is_accepted_by_get_and_post() {
    let (server, _) = serve(Settings::default()).await;
    let address = server.local_addr();
    for method in ["GET", "POST"] {
        let signer = Signer { method: method.to_owned(), ..Signer::new(method) };
        let answer = send(address, &signer.v1(address, "CreateImageCache", &CREATE)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let spoiled = Signer::new("n").v1(address, "ListUsage", &LIST).replace("cn-hangzhou", "cn-hangzhov");
    assert_eq!(send(address, &spoiled).await.code(), "SignatureDoesNotMatch");
    server.shutdown().await;
}

#[tokio::test]
async fn requests_that_are_not_entitled_are_refused_with_the_vendors_codes() {
    let (server, sim) = serve(Settings::default()).await;
    let address = server.local_addr();
    for (id, token, state) in [
        ("sts", Some("FAKE-TOKEN/+="), KeyState::Active),
        ("expired", Some("FAKE-TOKEN/+="), KeyState::TokenExpired),
        ("removed", None, KeyState::Unknown),
        ("inactive", None, KeyState::Inactive),
        ("denied", None, KeyState::Denied),
    ] {
        let security_token = token.map(Into::into);
        sim.add_key(Key { id: id.into(), secret: "FAKE-SECRET".into(), security_token, state });
    }
    let with_key = |key: &str, token: Option<&str>| Signer {
        key: key.to_owned(),
        secret: "FAKE-SECRET".to_owned(),
        token: token.map(str::to_owned),
        ..Signer::new(&format!("{key}-{token:?}"))
    };
    let dated = |date: &str| Signer { date: date.to_owned(), ..Signer::new(date) };
    let wrong = Signer { secret: "FAKE-WRONG".to_owned(), ..Signer::new("wrong") };
    for (signer, status, code) in [
        (Signer::new("first"), 200, "OK"),
        (Signer::new("first"), 400, "SignatureNonceUsed"),
        (wrong, 400, "SignatureDoesNotMatch"),
        (with_key("nobody", None), 404, "InvalidAccessKeyId.NotFound"),
        (with_key("removed", None), 404, "InvalidAccessKeyId.NotFound"),
        (with_key("inactive", None), 403, "InvalidAccessKeyId.Inactive"),
        (with_key("denied", None), 403, "NoPermission"),
        (with_key("sts", Some("FAKE-TOKEN/+=")), 200, "OK"),
        (with_key("sts", Some("another")), 400, "InvalidSecurityToken.Malformed"),
        (with_key("sts", None), 400, "InvalidSecurityToken.Malformed"),
        (with_key("expired", Some("FAKE-TOKEN/+=")), 400, "InvalidSecurityToken.Expired"),
        (dated("2026-01-02T02:49:05Z"), 200, "OK"),
        (dated("2026-01-02T02:49:04Z"), 400, "InvalidTimeStamp.Expired"),
        (dated("2026-01-02T03:19:06Z"), 400, "InvalidTimeStamp.Expired"),
        (dated("2026-01-02T03:04Z"), 400, "InvalidTimeStamp.Format"),
    ] {
        for (scheme, nonce) in [("v3", signer.nonce.clone()), ("v1", format!("{}-v1", signer.nonce))] {
            // The replay must be one for each scheme.
            let signer = Signer { nonce, ..signer.clone() };
            let request = match scheme {
                "v3" => signer.v3(address, "ListUsage", &LIST),
                _ => signer.v1(address, "ListUsage", &LIST),
            };
            let answer = send(address, &request).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{scheme} {}", signer.nonce);
        }
    }
    let body = send(address, &with_key("nobody", None).v3(address, "ListUsage", &LIST)).await.json();
    let mut fields: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["Code", "HostId", "Message", "Recommend", "RequestId"]);
    assert_eq!(body["HostId"], address.to_string());
    server.shutdown().await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_the_vendors_codes() {
    let (server, _) = serve(Settings::default()).await;
    let address = server.local_addr();
    let cases: [(&str, Parameters, u16, &str, &str); 9] = [
        ("CreateContainerThing", &LIST, 404, "InvalidAction.NotFound", "action"),
        ("ListUsage", &[], 400, "MissingParameter", "RegionId"),
        ("ListUsage", &[("RegionId", "cn-beijing")], 404, "InvalidRegionId.NotFound", "cn-hangzhou"),
        ("CreateImageCache", &LIST, 400, "MissingParameter", "ImageCacheName"),
        ("DeleteImageCache", &LIST, 400, "MissingParameter", "ImageCacheId"),
        ("DescribeImageCaches", &[LIST[0], ("Limit", "many")], 400, "InvalidParameter", "Limit"),
        ("DescribeImageCaches", &[LIST[0], ("Tags.1.Key", "k")], 400, "InvalidParameter", "Tags.1.Key"),
        ("DescribeImageCaches", &[LIST[0], ("Tag.1.Value", "v")], 400, "MissingParameter", "Tag.1.Key"),
        (
            "TagResources",
            &[LIST[0], ("ResourceType", "VirtualNode")],
            400,
            "InvalidParameter",
            "ResourceType",
        ),
    ];
    for (number, (action, parameters, status, code, named)) in cases.into_iter().enumerate() {
        let answer = v3(&server, &format!("n{number}"), action, parameters).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{action}");
        assert!(answer.json()["Message"].as_str().unwrap().contains(named), "{answer:?}");
    }
    let put = Signer { method: "PUT".to_owned(), ..Signer::new("put") };
    assert_eq!(send(address, &put.v3(address, "ListUsage", &LIST)).await.code(), "UnsupportedHTTPMethod");
    let bare = format!("POST /?Action=ListUsage HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    assert_eq!(send(address, &bare).await.code(), "MissingParameter");
    server.shutdown().await;
}

#[tokio::test]
async fn faults_reach_the_wire_and_the_ledger_knows_what_had_its_effect() {
    let half = |fault: Fault| Fault { answer: Seen::Truncated, effect: Some(Effect::Now), ..fault };
    let not_json = Fault { answer: Seen::NotJson(502), effect: Some(Effect::Now), ..Fault::default() };
    let failed_after = Fault { effect: Some(Effect::Now), ..Fault::refused("InternalError") };
    for (fault, status, made) in [
        (Fault::lost_before(), 0, 0),
        (Fault::lost_after(), 0, 1),
        (Fault { answer: Seen::Silence(5), ..Fault::default() }, 0, 1),
        (half(Fault::default()), 200, 1),
        (not_json, 502, 1),
        (Fault::refused("QuotaExceeded"), 403, 0),
        (failed_after, 500, 1),
        (Fault::throttled(1_500), 400, 0),
        (Fault { effect: Some(Effect::Never), ..Fault::default() }, 503, 0),
    ] {
        let (server, sim) = serve(Settings::default()).await;
        sim.add_fault(fault.clone().on("CreateImageCache").times(1));
        let answer = v3(&server, "n1", "CreateImageCache", &CREATE).await;
        assert_eq!(answer.status, status, "{fault:?}: {answer:?}");
        let effects = sim.with_world(|world, _| world.ledger().len());
        assert_eq!(effects, made, "{fault:?}");
        match fault.answer {
            Seen::Truncated => {
                let promised: usize = answer.header("content-length").unwrap().parse().unwrap();
                assert!(answer.body.len() < promised, "{answer:?}");
                assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_err());
            }
            Seen::NotJson(_) => assert!(answer.body.starts_with("<html>")),
            Seen::Error { retry_after_ms: Some(_), .. } => {
                assert_eq!(answer.header("x-acs-retry-after").as_deref(), Some("1500"));
            }
            _ => {}
        }
        let again = v3(&server, "n2", "CreateImageCache", &CREATE).await;
        assert_eq!(again.status, 200, "the fault is used up");
        assert_eq!(sim.with_world(|world, _| world.ledger().len()), 1, "{fault:?}: never a second cache");
        server.shutdown().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_late_has_its_effect_at_once() {
    let (server, sim) = serve(Settings::default()).await;
    sim.add_fault(Fault { latency_ms: 250, ..Fault::default() });
    let before = sim.now();
    assert_eq!(v3(&server, "n1", "CreateImageCache", &CREATE).await.status, 200);
    assert_eq!(sim.now().duration_since(before).as_millis(), 250, "a standing clock moves by what is waited");
    assert_eq!(sim.with_world(|world, _| world.ledger()[0].at), start());
    server.shutdown().await;
}

#[tokio::test]
async fn shutting_down_frees_the_port_even_while_a_request_hangs() {
    let sim = Sim::new(1, Settings::default(), Clock::System);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = eci_sim::server::serve(listener, sim.clone()).unwrap();
    let address = server.local_addr();
    sim.add_key(Key {
        id: crate::common::KEY.into(),
        secret: crate::common::SECRET.into(),
        security_token: None,
        state: KeyState::Active,
    });
    sim.add_fault(Fault { answer: Seen::Silence(3_600_000), ..Fault::default() });
    let date = sim.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let request = Signer { date, ..Signer::new("n") }.v3(address, "CreateImageCache", &CREATE);
    let hanging = tokio::spawn(async move { send(address, &request).await });
    let arrived = async {
        while sim.calls().of("CreateImageCache") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("the request arrives");
    server.shutdown().await;
    assert_eq!(hanging.await.unwrap().status, 0);
    TcpListener::bind(address).await.expect("the port is free");
}
