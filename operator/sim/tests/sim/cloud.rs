//! The port in process keeps its contract.

use std::collections::BTreeMap;
use std::time::Duration;

use eci_api::image_cache::ImageCacheRequest;
use eci_core::cloud::{
    CacheState, ClientToken, Cloud as _, CloudId, CreateImageCache, Meaning, RegistryCredential,
    UpdateImageCache,
};
use eci_sim::faults::{Effect, Fault, Seen};
use eci_sim::{Clock, Settings, Sim, SimCloud};

const PATIENCE: Duration = Duration::from_secs(10);

fn cloud(settings: Settings) -> SimCloud {
    let start = "2026-01-02T03:04:05Z".parse().unwrap();
    SimCloud::new(Sim::new(1, settings, Clock::manual(start)), PATIENCE)
}

fn create(token: &str, name: &str) -> CreateImageCache {
    CreateImageCache {
        token: ClientToken::new(token).unwrap(),
        request: ImageCacheRequest {
            name: name.to_owned(),
            images: vec!["private.example.com/app:1".to_owned()],
            size_gib: 20,
            ..ImageCacheRequest::default()
        },
        credentials: vec![RegistryCredential {
            server: "private.example.com".to_owned(),
            user_name: "robot".to_owned(),
            password: "made-up-password".into(),
        }],
        tags: BTreeMap::from([("name".to_owned(), name.to_owned())]),
    }
}

fn made(cloud: &SimCloud) -> usize {
    cloud.sim().with_world(|world, _| world.ledger().len())
}

#[tokio::test]
async fn a_cache_lives_through_the_port() {
    let cloud = cloud(Settings::default());
    let created = cloud.create_image_cache(&create("t", "a")).await.unwrap();
    let state =
        async |cloud: &SimCloud| cloud.describe_image_cache(&created.id).await.unwrap().map(|v| v.state);
    assert_eq!(state(&cloud).await, Some(CacheState::Preparing));
    cloud.sim().advance(Duration::from_secs(90));
    assert_eq!(state(&cloud).await, Some(CacheState::Ready), "the login was right");
    let update = UpdateImageCache {
        id: created.id.clone(),
        token: ClientToken::new("u").unwrap(),
        retention_days: Some(3),
        elimination_strategy: None,
        tags: None,
        standard_copies: None,
        flash_copies: None,
        resource_group_id: None,
    };
    cloud.update_image_cache(&update).await.unwrap();
    let busy = UpdateImageCache { token: ClientToken::new("v").unwrap(), ..update.clone() };
    assert_eq!(cloud.update_image_cache(&busy).await.unwrap_err().meaning, Meaning::Busy);
    cloud.sim().advance(Duration::from_mins(1));
    cloud.update_image_cache(&busy).await.expect("nothing to change is success");
    let tags = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    cloud.tag_image_cache(&created.id, &tags).await.unwrap();
    cloud.untag_image_cache(&created.id, &["name".to_owned()]).await.unwrap();
    let view = cloud.list_image_caches(&tags, None).await.unwrap().items.pop().unwrap();
    assert_eq!((view.tags, view.id), (tags, created.id.clone()));
    assert_eq!(cloud.usage().await.unwrap().used_image_caches, Some(1));
    cloud.delete_image_cache(&created.id, &ClientToken::new("d").unwrap()).await.unwrap();
    assert_eq!(state(&cloud).await, None);
}

#[tokio::test]
async fn lost_answers_are_unknown_and_a_repeated_create_makes_nothing_twice() {
    for fault in [
        Fault::lost_before(),
        Fault::lost_after(),
        Fault::delayed(5_000),
        Fault { answer: Seen::Truncated, ..Fault::default() },
        Fault { answer: Seen::NotJson(502), ..Fault::default() },
        Fault { effect: Some(Effect::Now), ..Fault::refused("InternalError") },
        Fault { latency_ms: 60_000, ..Fault::default() },
    ] {
        let cloud = cloud(Settings::default());
        cloud.sim().add_fault(fault.clone().times(1));
        let lost = cloud.create_image_cache(&create("t", "a")).await.unwrap_err();
        assert_eq!(lost.meaning, Meaning::Unknown, "{fault:?}");
        let again = cloud.create_image_cache(&create("t", "a")).await.unwrap();
        cloud.sim().advance(Duration::from_mins(1));
        assert_eq!(made(&cloud), 1, "{fault:?}");
        assert!(cloud.describe_image_cache(&again.id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_silent_cloud_costs_no_more_than_the_callers_patience() {
    let cloud = cloud(Settings::default());
    let before = cloud.sim().now();
    for fault in [
        Fault { answer: Seen::Silence(3_600_000), ..Fault::default() },
        Fault { latency_ms: 3_600_000, ..Fault::default() },
    ] {
        cloud.sim().add_fault(fault.times(1));
        assert_eq!(cloud.usage().await.unwrap_err().meaning, Meaning::Unknown);
    }
    assert_eq!(cloud.sim().now().duration_since(before).unsigned_abs(), PATIENCE * 2);
}

#[tokio::test]
async fn refusals_have_a_meaning_a_code_and_the_time_to_wait() {
    let cloud = cloud(Settings::default());
    for (code, meaning) in [
        ("QuotaExceeded", Meaning::QuotaExceeded),
        ("OperationDenied.NoStock", Meaning::NoStock),
        ("InvalidVSwitchId.IpNotEnough", Meaning::NoAddress),
        ("Account.Arrearage", Meaning::Arrears),
        ("ServiceNotEnabled", Meaning::AccountRestricted),
        ("InvalidAccessKeyId.NotFound", Meaning::BadCredentials),
        ("InvalidTimeStamp.Expired", Meaning::ClockSkew),
        ("NoPermission", Meaning::Denied),
        ("OperationConflict", Meaning::Busy),
        ("ServiceUnavailable", Meaning::Unknown),
        ("SignatureNonceUsed", Meaning::Unknown),
        ("InvalidVSwitchId.NotFound", Meaning::Invalid),
        ("InvalidParameter.CPU.Memory", Meaning::Invalid),
    ] {
        cloud.sim().add_fault(Fault::refused(code).times(1));
        let error = cloud.create_image_cache(&create("t", "a")).await.unwrap_err();
        assert_eq!((error.meaning, error.code.as_deref()), (meaning, Some(code)));
    }
    cloud.sim().add_fault(Fault::throttled(700).times(1));
    let throttled = cloud.usage().await.unwrap_err();
    assert_eq!(
        (throttled.meaning, throttled.retry_after),
        (Meaning::Throttled, Some(Duration::from_millis(700)))
    );
    assert_eq!(made(&cloud), 0);

    cloud.create_image_cache(&create("t", "a")).await.unwrap();
    let mismatch = cloud.create_image_cache(&create("t", "b")).await.unwrap_err();
    assert_eq!(mismatch.meaning, Meaning::TokenMismatch);
    cloud.sim().with_world(|world, _| world.settings.delete_unknown_fails = true);
    let (id, token) = (CloudId::parse("imc-unknown").unwrap(), ClientToken::new("d").unwrap());
    let gone = cloud.delete_image_cache(&id, &token).await.unwrap_err();
    assert_eq!(gone.meaning, Meaning::NotFound);
}

#[tokio::test]
async fn lists_come_in_pages_of_twenty() {
    let cloud = cloud(Settings::default());
    for n in 0..45 {
        cloud.create_image_cache(&create(&format!("t{n}"), "same")).await.unwrap();
    }
    let tags = BTreeMap::from([("name".to_owned(), "same".to_owned())]);
    let (mut sizes, mut page) = (Vec::new(), None);
    loop {
        let list = cloud.list_image_caches(&tags, page.as_ref()).await.unwrap();
        sizes.push(list.items.len());
        page = list.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [20, 20, 5]);
}
