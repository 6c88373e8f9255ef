//! What the vendor documents nowhere is a named switch of the simulator; here are both settings of each.

use eci_aliyun::sign::ParameterNames;
use eci_core::cloud::{CacheState, CloudId, Meaning};
use eci_sim::Settings;
use eci_sim::world::settings::{CanonicalNames, Lag, SnapshotDeleted};

use crate::twins::{Answer, Call, Twins, keep_for, large, small, tags, token};

fn unknown() -> CloudId {
    CloudId::parse("imc-unknown").unwrap()
}

#[tokio::test]
async fn a_token_is_good_for_as_long_as_the_cloud_remembers_it() {
    // Milliseconds, and whether the token still holds after one minute and after two days.
    for (token_life_ms, after_a_minute, after_two_days) in
        [(None, true, true), (Some(120_000), true, false), (Some(0), false, false)]
    {
        let twins = Twins::new(Settings { token_life_ms, ..Settings::default() }).await;
        let first = twins.create(small("token")).await;
        twins.advance(60);
        assert_eq!(twins.create(small("token")).await == first, after_a_minute, "{token_life_ms:?}");
        twins.advance(2 * 86_400);
        assert_eq!(twins.create(small("token")).await == first, after_two_days, "{token_life_ms:?}");
    }
}

#[tokio::test]
async fn a_token_with_another_request_is_a_mismatch_under_its_usual_name_and_a_refusal_under_any() {
    for (code, meaning) in
        [("IdempotentParameterMismatch", Meaning::TokenMismatch), ("Brand.New.Code", Meaning::Invalid)]
    {
        let settings = Settings { token_mismatch_code: code.to_owned(), ..Settings::default() };
        let twins = Twins::new(settings).await;
        twins.create(small("token")).await;
        let failure = twins.refused(&Call::Create(Box::new(large("token")))).await;
        assert_eq!((failure.meaning, failure.code.as_deref()), (meaning, Some(code)));
        assert_eq!(twins.ledger().len(), 1);
    }
}

#[tokio::test]
async fn deleting_what_is_unknown_is_done_or_not_found() {
    for delete_unknown_fails in [false, true] {
        let twins = Twins::new(Settings { delete_unknown_fails, ..Settings::default() }).await;
        let answer = twins.ask(&Call::Delete(unknown(), token("delete"))).await;
        match answer {
            Ok(answer) => assert!(!delete_unknown_fails && answer == Answer::Done),
            Err(failure) => assert!(delete_unknown_fails && failure.meaning == Meaning::NotFound),
        }
    }
}

#[tokio::test]
async fn an_unknown_cache_is_not_found_whatever_the_code_for_it() {
    for code in ["InvalidParameter.NotFound", "ImageCache.NotFound", "InvalidImageCacheId.NotFound"] {
        let settings =
            Settings { unknown_id_code: code.to_owned(), delete_unknown_fails: true, ..Settings::default() };
        let twins = Twins::new(settings).await;
        for call in [
            Call::Update(keep_for(&unknown(), "update", 3)),
            Call::Delete(unknown(), token("delete")),
            Call::Tag(unknown(), tags([("k", "v")])),
            Call::Untag(unknown(), vec!["k".to_owned()]),
        ] {
            let failure = twins.refused(&call).await;
            assert_eq!((failure.meaning, failure.code.as_deref()), (Meaning::NotFound, Some(code)));
        }
    }
}

#[tokio::test]
async fn lists_and_lookups_show_the_world_as_late_as_they_lag() {
    for (list_ms, lookup_ms) in [(0, 0), (60_000, 0), (0, 60_000), (60_000, 60_000)] {
        let settings = Settings {
            list_lag: Lag::fixed(list_ms),
            lookup_lag: Lag::fixed(lookup_ms),
            ..Settings::default()
        };
        let twins = Twins::new(settings).await;
        let id = twins.create(small("token")).await.id;
        let seen = async || (twins.list(&tags([])).await[0].len() == 1, twins.look(&id).await.is_some());
        assert_eq!(seen().await, (list_ms == 0, lookup_ms == 0), "just made");
        twins.advance(61);
        assert_eq!(seen().await, (true, true), "made a minute ago");
        twins.ask(&Call::Delete(id.clone(), token("delete"))).await.unwrap();
        assert_eq!(seen().await, (list_ms > 0, lookup_ms > 0), "just deleted");
        twins.advance(61);
        assert_eq!(seen().await, (false, false), "deleted a minute ago");
    }
}

#[tokio::test]
async fn no_call_of_the_port_depends_on_how_parameter_names_are_signed() {
    for canonical_names in [CanonicalNames::Raw, CanonicalNames::Encoded] {
        for parameter_names in [ParameterNames::Raw, ParameterNames::Encoded] {
            let settings = Settings { canonical_names, ..Settings::default() };
            let twins = Twins::with(settings, None, |config| config.parameter_names = parameter_names).await;
            let id = twins.create(large("token")).await.id;
            twins.advance(90);
            for call in [
                Call::List(large("token").tags, None),
                Call::Update(keep_for(&id, "update", 3)),
                Call::Tag(id.clone(), tags([("a/b #", "c")])),
                Call::Untag(id.clone(), vec!["a/b #".to_owned()]),
                Call::Usage,
                Call::Delete(id.clone(), token("delete")),
            ] {
                twins.ask(&call).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_cache_whose_snapshot_is_gone_fails_or_loses_its_snapshot() {
    for snapshot_deleted in [SnapshotDeleted::TurnsFailed, SnapshotDeleted::LosesId] {
        let twins = Twins::new(Settings { snapshot_deleted, ..Settings::default() }).await;
        let id = twins.create(small("token")).await.id;
        twins.advance(90);
        let snapshot = twins.look(&id).await.unwrap().snapshot_id.unwrap();
        twins.both(|sim| assert!(sim.with_world(|world, now| world.delete_snapshot(now, &snapshot))));
        let view = twins.look(&id).await.unwrap();
        assert_eq!(view.state == CacheState::Failed, snapshot_deleted == SnapshotDeleted::TurnsFailed);
        assert_eq!(view.snapshot_id, None);
    }
}

#[tokio::test]
async fn a_network_may_be_required() {
    for require_network in [false, true] {
        let twins = Twins::new(Settings { require_network, ..Settings::default() }).await;
        let bare = twins.ask(&Call::Create(Box::new(small("bare")))).await;
        assert_eq!(bare.is_err_and(|failure| failure.meaning == Meaning::Invalid), require_network);
        twins.create(large("networked")).await;
    }
}
