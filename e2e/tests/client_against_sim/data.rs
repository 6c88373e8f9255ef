//! Data caches: every action, and what the vendor documents nowhere, under both of its behaviours.

use eci_aliyun::encode::MapKeys;
use eci_api::data_cache::DataCacheRequest;
use eci_api::eip::{ChargeType, Eip, Isp};
use eci_core::cloud::{
    CloudId, CreateDataCache, DataCacheState, DataCacheView, Meaning, Place, UpdateDataCache,
};
use eci_sim::Settings;
use eci_sim::world::settings::OptionKeys;

use crate::twins::{Answer, Call, Twins, tags, token};

/// A create call with everything on, and text that encoders trip over.
fn large(token_text: &str, path: &str) -> CreateDataCache {
    CreateDataCache {
        token: token(token_text),
        request: DataCacheRequest {
            name: "a b+ü/%7E*~".to_owned(),
            bucket: "models".to_owned(),
            path: path.to_owned(),
            source_type: "URL".to_owned(),
            source_options: tags([("url", "https://example.com/private/ü?a=b&c=%20+"), ("revision", "")]),
            size_gib: 40,
            retention_days: Some(7),
            v_switch_ids: vec!["vsw-1".to_owned(), "vsw-2".to_owned()],
            security_group_id: Some("sg-1".to_owned()),
            eip: Some(Eip {
                isp: Some(Isp::BgpPro),
                charge_type: Some(ChargeType::PayByTraffic),
                common_bandwidth_package_id: Some("cbwp-1".to_owned()),
                address_pool_id: Some("pippool-1".to_owned()),
                ..Eip::default()
            }),
            resource_group_id: Some("rg-1".to_owned()),
            ..DataCacheRequest::default()
        },
        secret_options: [("accessToken".to_owned(), "made-up-token".into())].into(),
        tags: tags([("k/x", "v +&=%"), ("ünï", "中"), ("empty", "")]),
    }
}

async fn create(twins: &Twins, call: CreateDataCache) -> CloudId {
    match twins.ask(&Call::CreateData(Box::new(call))).await {
        Ok(Answer::CreatedData(id)) => id,
        other => panic!("{other:?}"),
    }
}

async fn look(twins: &Twins, id: &CloudId) -> Option<Box<DataCacheView>> {
    match twins.ask(&Call::DescribeData(id.clone())).await {
        Ok(Answer::FoundData(view)) => view,
        other => panic!("{other:?}"),
    }
}

async fn page(twins: &Twins, call: Call) -> Vec<String> {
    match twins.ask(&call).await {
        Ok(Answer::DataPage(items, _)) => items.iter().map(|view| view.id.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

fn keep_for(id: &CloudId, token_text: &str, days: i32) -> UpdateDataCache {
    UpdateDataCache {
        id: id.clone(),
        token: token(token_text),
        retention_days: Some(days),
        tags: None,
        resource_group_id: None,
    }
}

/// The life of a cache with everything on, through every action.
async fn live(twins: &Twins) {
    let id = create(twins, large("token-1", "/a b/ü/")).await;
    assert_eq!(create(twins, large("token-1", "/a b/ü/")).await, id, "the same token gives the first answer");
    assert_eq!(look(twins, &id).await.unwrap().state, DataCacheState::Loading);
    twins.advance(70);
    let creating = look(twins, &id).await.unwrap();
    assert_eq!(creating.state, DataCacheState::Creating);
    assert!(creating.progress_percent.is_some_and(|percent| (50..100).contains(&percent)), "{creating:?}");
    twins.advance(30);
    let view = look(twins, &id).await.unwrap();
    assert_eq!(view.state, DataCacheState::Available, "the token was right: {view:?}");
    assert_eq!((view.tags, view.size_gib), (large("t", "/a").tags, Some(40)));
    assert!(view.expiration_time.is_some() && view.snapshot_id.is_some());

    let place = Place::new("models", "/a b/ü");
    assert_eq!(view.place, place);
    assert_eq!(page(twins, Call::FindData(place.clone())).await, [id.to_string()]);
    assert!(page(twins, Call::FindData(Place::new("models", "/a b"))).await.is_empty());
    assert!(page(twins, Call::FindData(Place::new("default", "/a b/ü"))).await.is_empty());
    assert_eq!(page(twins, Call::ListData(tags([("ünï", "中")]), None)).await, [id.to_string()]);
    assert!(page(twins, Call::ListData(tags([("ünï", "other")]), None)).await.is_empty());

    let update = UpdateDataCache {
        tags: Some(tags([("k", "v")])),
        resource_group_id: Some("rg-2".to_owned()),
        ..keep_for(&id, "update-1", 9)
    };
    assert_eq!(twins.ask(&Call::UpdateData(update.clone())).await, Ok(Answer::Done));
    let busy = twins.refused(&Call::UpdateData(keep_for(&id, "update-2", 10))).await;
    assert_eq!(busy.meaning, Meaning::Busy);
    twins.advance(60);
    let same = UpdateDataCache { token: token("update-3"), ..update };
    assert_eq!(twins.ask(&Call::UpdateData(same)).await, Ok(Answer::Done), "nothing to change is success");

    twins.ask(&Call::TagData(id.clone(), tags([("a/b", "1 +"), ("k", "w")]))).await.unwrap();
    twins.ask(&Call::UntagData(id.clone(), vec!["a/b".to_owned(), "never".to_owned()])).await.unwrap();
    assert_eq!(look(twins, &id).await.unwrap().tags, tags([("k", "w")]));
    assert!(matches!(
        twins.ask(&Call::Usage).await,
        Ok(Answer::Usage(usage)) if usage.used_data_caches == Some(1) && usage.max_data_caches == Some(100)
    ));

    let delete = Call::DeleteData(id.clone(), token("delete-1"));
    assert_eq!(twins.ask(&delete).await, Ok(Answer::Done));
    assert_eq!(twins.ask(&delete).await, Ok(Answer::Done), "a delete may be repeated");
    assert_eq!(look(twins, &id).await, None);
    assert_eq!(twins.ledger().len(), 3, "made, updated, deleted, each once: {:?}", twins.ledger());
    assert!(!format!("{:?}", twins.served.requests()).contains("made-up-token"), "the log has no secret");
}

#[tokio::test]
async fn every_action_on_data_caches_means_the_same_over_http() {
    live(&Twins::new(Settings::default()).await).await;
}

#[tokio::test]
async fn keys_of_options_are_written_as_the_cloud_reads_them() {
    for (keys, reads) in
        [(MapKeys::LengthPrefixed, OptionKeys::LengthPrefixed), (MapKeys::Plain, OptionKeys::Plain)]
    {
        let settings = Settings { option_keys: reads, ..Settings::default() };
        live(&Twins::with(settings, None, |config| config.map_keys = keys).await).await;
    }
    for (keys, reads) in
        [(MapKeys::LengthPrefixed, OptionKeys::Plain), (MapKeys::Plain, OptionKeys::LengthPrefixed)]
    {
        let settings = Settings { option_keys: reads, ..Settings::default() };
        let twins = Twins::with(settings, None, |config| config.map_keys = keys).await;
        let refused =
            eci_core::cloud::Cloud::create_data_cache(&twins.client, &large("t", "/a")).await.unwrap_err();
        assert_eq!(refused.meaning, Meaning::Invalid, "{keys:?}: {refused}");
        assert!(!refused.to_string().contains("made-up-token"), "{refused}");
    }
}

#[tokio::test]
async fn a_place_that_is_taken_refuses_or_takes_a_second_cache_as_the_switch_says() {
    let twins = Twins::new(Settings::default()).await;
    let first = create(&twins, large("token-1", "/a")).await;
    let second = Call::CreateData(Box::new(large("token-2", "/a/")));
    assert_eq!(twins.refused(&second).await.meaning, Meaning::Invalid);
    assert_eq!(page(&twins, Call::FindData(Place::new("models", "/a/"))).await, [first.to_string()]);
    twins.both(|sim| sim.with_world(|world, _| world.settings.taken_place_code = None));
    let second = create(&twins, large("token-3", "/a")).await;
    let both = page(&twins, Call::FindData(Place::new("models", "/a"))).await;
    assert_eq!(both, [second.to_string(), first.to_string()]);
}

#[tokio::test]
async fn quota_reserved_bucket_and_unknown_ids_mean_what_they_mean_for_image_caches() {
    let twins =
        Twins::new(Settings { max_data_caches: 1, delete_unknown_fails: true, ..Settings::default() }).await;
    create(&twins, large("token-1", "/a")).await;
    let full = twins.refused(&Call::CreateData(Box::new(large("token-2", "/b")))).await;
    assert_eq!(full.meaning, Meaning::QuotaExceeded);
    let mut reserved = large("token-3", "/b");
    reserved.request.bucket = "eci-system".to_owned();
    assert_eq!(twins.refused(&Call::CreateData(Box::new(reserved))).await.meaning, Meaning::Invalid);
    let unknown = CloudId::parse("edc-unknown").unwrap();
    assert_eq!(look(&twins, &unknown).await, None);
    for call in [
        Call::DeleteData(unknown.clone(), token("t1")),
        Call::UpdateData(keep_for(&unknown, "t2", 3)),
        Call::TagData(unknown.clone(), tags([("k", "v")])),
    ] {
        assert_eq!(twins.refused(&call).await.meaning, Meaning::NotFound, "{call:?}");
    }
}
