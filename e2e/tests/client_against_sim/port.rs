//! Every action of the port.

use eci_core::cloud::{CacheState, CloudId, Meaning, UpdateImageCache};
use eci_sim::Settings;

use crate::twins::{Answer, Call, STS_TOKEN, Twins, keep_for, large, small, tags, token};

/// The life of a cache with everything on, through every action.
async fn live(twins: &Twins) {
    let created = twins.create(large("token-1")).await;
    let id = &created.id;
    assert_eq!(twins.create(large("token-1")).await, created, "the same token gives the first answer");
    assert_eq!(twins.look(id).await.unwrap().state, CacheState::Preparing);
    twins.advance(90);
    let ready = twins.look(id).await.unwrap();
    assert_eq!(ready.state, CacheState::Ready, "the logins were right: {ready:?}");
    assert_eq!(ready.tags, large("t").tags);
    assert_eq!(ready.progress_percent, Some(100));

    let update = UpdateImageCache {
        elimination_strategy: Some(String::new()),
        tags: Some(tags([("k", "v")])),
        standard_copies: Some(4),
        flash_copies: Some(5),
        resource_group_id: Some("rg-2".to_owned()),
        ..keep_for(id, "update-1", 9)
    };
    assert_eq!(twins.ask(&Call::Update(update.clone())).await, Ok(Answer::Done));
    let busy = twins.refused(&Call::Update(keep_for(id, "update-2", 10))).await;
    assert_eq!(busy.meaning, Meaning::Busy);
    twins.advance(60);
    let same = UpdateImageCache { token: token("update-3"), ..update };
    assert_eq!(twins.ask(&Call::Update(same)).await, Ok(Answer::Done), "nothing to change is success");
    assert_eq!(twins.look(id).await.unwrap().elimination_strategy.unwrap_or_default(), "");

    twins.ask(&Call::Tag(id.clone(), tags([("a/b", "1 +"), ("empty", ""), ("k", "w")]))).await.unwrap();
    twins.ask(&Call::Untag(id.clone(), vec!["empty".to_owned(), "never".to_owned()])).await.unwrap();
    assert_eq!(twins.look(id).await.unwrap().tags, tags([("a/b", "1 +"), ("k", "w")]));

    assert!(matches!(
        twins.ask(&Call::Usage).await,
        Ok(Answer::Usage(usage)) if usage.used_image_caches == Some(1) && usage.max_image_caches == Some(500)
    ));
    let delete = Call::Delete(id.clone(), token("delete-1"));
    assert_eq!(twins.ask(&delete).await, Ok(Answer::Done));
    assert_eq!(twins.ask(&delete).await, Ok(Answer::Done), "a delete may be repeated");
    assert_eq!(twins.look(id).await, None);
    assert_eq!(twins.ledger().len(), 3, "made, updated, deleted, each once: {:?}", twins.ledger());
}

#[tokio::test]
async fn every_action_means_the_same_over_http_with_a_permanent_key() {
    live(&Twins::new(Settings::default()).await).await;
}

#[tokio::test]
async fn every_action_means_the_same_over_http_with_a_temporary_key() {
    live(&Twins::with(Settings::default(), Some(STS_TOKEN), |_| ()).await).await;
}

#[tokio::test]
async fn lists_are_complete_in_pages_of_twenty_and_filtered_by_all_tags() {
    let twins = Twins::new(Settings::default()).await;
    for n in 0..45 {
        let mut call = small(&format!("token-{n}"));
        call.tags = tags([("team", "a +&"), ("parity", if n % 2 == 0 { "even" } else { "odd" })]);
        twins.create(call).await;
    }
    let sizes = |pages: Vec<Vec<_>>| pages.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(twins.list(&tags([("team", "a +&")])).await), [20, 20, 5]);
    assert_eq!(sizes(twins.list(&tags([("team", "a +&"), ("parity", "odd")])).await), [20, 2]);
    assert_eq!(sizes(twins.list(&tags([("team", "a +&"), ("parity", "neither")])).await), [0]);
    assert_eq!(sizes(twins.list(&tags([])).await), [20, 20, 5]);
}

#[tokio::test]
async fn a_build_that_fails_shows_why() {
    let twins = Twins::new(Settings::default()).await;
    let mut call = small("token");
    call.request.images = vec!["mirror.example.com/nonexistent:1".to_owned()];
    let id = twins.create(call).await.id;
    twins.advance(90);
    let failed = twins.look(&id).await.unwrap();
    assert_eq!(failed.state, CacheState::Failed);
    assert!(failed.events.iter().any(|event| event.message.contains("manifest unknown")), "{failed:?}");
}

#[tokio::test]
async fn what_the_cloud_does_not_accept_is_invalid_and_makes_nothing() {
    let twins = Twins::new(Settings::default()).await;
    let mut calls = Vec::new();
    for spoil in [
        (|call| call.request.images.clear()) as fn(&mut eci_core::cloud::CreateImageCache),
        |call| call.request.size_gib = 5,
        |call| call.request.retention_days = Some(0),
        |call| call.request.name.clear(),
        |call| call.tags = tags([("acs:mine", "reserved")]),
        |call| call.tags = (0..21).map(|n| (format!("k{n}"), String::new())).collect(),
        |call| call.request.v_switch_ids = (0..11).map(|n| format!("vsw-{n}")).collect(),
    ] {
        let mut call = small("token");
        spoil(&mut call);
        calls.push(call);
    }
    for call in calls {
        // Over HTTP an empty list cannot be told from none, so the words differ: only the meanings are compared.
        let error =
            crate::twins::put(&twins.client, &Call::Create(Box::new(call.clone()))).await.unwrap_err();
        assert_eq!(error.meaning, Meaning::Invalid, "{call:?}: {error}");
        assert!(error.request_id.is_some(), "{error}");
    }
    assert_eq!(twins.ledger().len(), 0);
    assert_eq!(twins.received("CreateImageCache"), 7);
}

#[tokio::test]
async fn a_cache_that_does_not_exist_is_not_found() {
    let twins = Twins::new(Settings::default()).await;
    let id = CloudId::parse("imc-unknown").unwrap();
    assert_eq!(twins.look(&id).await, None);
    for call in [
        Call::Update(keep_for(&id, "u", 3)),
        Call::Tag(id.clone(), tags([("k", "v")])),
        Call::Untag(id.clone(), vec!["k".to_owned()]),
    ] {
        assert_eq!(twins.refused(&call).await.meaning, Meaning::NotFound, "{call:?}");
    }
}

#[tokio::test]
async fn a_full_quota_refuses_until_there_is_room() {
    let twins = Twins::new(Settings { max_image_caches: 2, ..Settings::default() }).await;
    let first = twins.create(small("a")).await.id;
    twins.create(small("b")).await;
    let full = twins.refused(&Call::Create(Box::new(small("c")))).await;
    assert_eq!((full.meaning, full.code.as_deref()), (Meaning::QuotaExceeded, Some("QuotaExceeded")));
    twins.ask(&Call::Delete(first, token("d"))).await.unwrap();
    twins.create(small("c")).await;
}
