//! Answers that are lost, late or not from the cloud, and pauses that it asks for.

use std::time::Duration;

use eci_aliyun::Client;
use eci_core::cloud::Meaning;
use eci_sim::faults::{Effect, Fault, Seen};
use eci_sim::{Clock, Key, KeyState, Settings, Sim, server};
use tokio::net::TcpListener;

use crate::twins::{Answer, Call, KEY, SECRET, Twins, config, keep_for, put, small, tags, token};

fn seen(answer: Seen) -> Fault {
    Fault { effect: Some(Effect::Now), answer, ..Fault::default() }
}

fn error(code: &str, effect: Effect) -> Fault {
    Fault { effect: Some(effect), ..Fault::refused(code) }
}

/// Every way in which nobody learns what became of a call, and whether it had its effect at once.
fn losses() -> Vec<(Fault, bool)> {
    vec![
        (Fault::lost_before(), false),
        (Fault::lost_after(), true),
        (Fault::delayed(5_000), false),
        (seen(Seen::Silence(100)), true),
        (seen(Seen::Truncated), true),
        (seen(Seen::NotJson(200)), true),
        (seen(Seen::NotJson(302)), true),
        (seen(Seen::NotJson(502)), true),
        (error("InternalError", Effect::Now), true),
        (error("InternalError", Effect::Never), false),
        (error("ServiceUnavailable", Effect::Now), true),
        (error("ServiceUnavailable", Effect::Never), false),
    ]
}

#[tokio::test]
async fn a_create_of_unknown_outcome_is_sent_once_and_its_token_makes_nothing_twice() {
    for (fault, at_once) in losses() {
        let twins = Twins::new(Settings::default()).await;
        twins.fault(&fault.clone().on("CreateImageCache").times(1));
        let create = Call::Create(Box::new(small("token")));
        assert_eq!(twins.refused(&create).await.meaning, Meaning::Unknown, "{fault:?}");
        assert_eq!(twins.received("CreateImageCache"), 1, "{fault:?}: a write is never repeated by itself");
        assert_eq!(twins.ledger().len(), usize::from(at_once), "{fault:?}");
        let created = twins.create(small("token")).await;
        twins.advance(10);
        assert_eq!(twins.ledger().len(), 1, "{fault:?}");
        assert!(twins.look(&created.id).await.is_some());
    }
}

#[tokio::test]
async fn an_effect_that_comes_after_its_answer_was_lost_is_found() {
    let twins = Twins::new(Settings::default()).await;
    twins.fault(&Fault::delayed(5_000).on("CreateImageCache").times(1));
    let mut call = small("token");
    call.tags = tags([("owner", "me")]);
    assert_eq!(twins.refused(&Call::Create(Box::new(call.clone()))).await.meaning, Meaning::Unknown);
    assert_eq!(twins.list(&call.tags).await, [vec![]]);
    twins.advance(5);
    let [page] = &twins.list(&call.tags).await[..] else { panic!("one page") };
    assert_eq!(page.len(), 1);
    assert_eq!(twins.create(call).await.id, page[0].id, "the token is known by now");
}

#[tokio::test]
async fn every_other_write_of_unknown_outcome_is_sent_once() {
    for (fault, _) in losses() {
        let twins = Twins::new(Settings::default()).await;
        let id = twins.create(small("token")).await.id;
        twins.advance(90);
        for (action, call) in [
            ("UpdateImageCache", Call::Update(keep_for(&id, "update", 3))),
            ("TagResources", Call::Tag(id.clone(), tags([("k", "v")]))),
            ("UntagResources", Call::Untag(id.clone(), vec!["k".to_owned()])),
            ("DeleteImageCache", Call::Delete(id.clone(), token("delete"))),
        ] {
            twins.fault(&fault.clone().on(action).times(1));
            assert_eq!(twins.refused(&call).await.meaning, Meaning::Unknown, "{action} {fault:?}");
            assert_eq!(twins.received(action), 1, "{action} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_read_of_unknown_outcome_is_repeated_twice() {
    let twins = Twins::new(Settings::default()).await;
    for (fault, lost, passes) in [
        (seen(Seen::Closed), 2, true),
        (seen(Seen::Truncated), 2, true),
        (error("ServiceUnavailable", Effect::Never), 2, true),
        (seen(Seen::NotJson(502)), 3, false),
    ] {
        let before = twins.received("ListUsage");
        twins.served.add_fault(fault.clone().on("ListUsage").times(lost));
        let answer = put(&twins.client, &Call::Usage).await.map_err(|error| error.meaning);
        assert_eq!(answer.is_ok(), passes, "{fault:?} {answer:?}");
        if let Err(meaning) = answer {
            assert_eq!(meaning, Meaning::Unknown);
        }
        assert_eq!(twins.received("ListUsage") - before, 3, "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_the_time_out_is_unknown_and_had_its_effect() {
    // The only test in which time passes: the client's patience is real.
    let sim = Sim::new(1, Settings::default(), Clock::System);
    sim.add_key(Key { id: KEY.into(), secret: SECRET.into(), security_token: None, state: KeyState::Active });
    let server = server::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), sim.clone()).unwrap();
    let mut config = config(&server, &sim, None);
    config.connect_timeout = Duration::from_millis(400);
    config.request_timeout = Duration::from_secs(1);
    let client = Client::new(config).unwrap();
    for fault in
        [Fault { latency_ms: 600_000, ..Fault::default() }, seen(Seen::Silence(600_000))].map(|f| f.times(1))
    {
        let call = small(&format!("token-{}", fault.latency_ms));
        sim.add_fault(fault);
        let lost = put(&client, &Call::Create(Box::new(call.clone()))).await.unwrap_err();
        assert_eq!(lost.meaning, Meaning::Unknown, "{lost}");
        put(&client, &Call::Create(Box::new(call))).await.unwrap();
    }
    assert_eq!(sim.with_world(|world, _| world.ledger().len()), 2);
}

#[tokio::test]
async fn nobody_listening_means_not_sent() {
    let twins = Twins::new(Settings::default()).await;
    let Twins { client, http, .. } = twins;
    http.shutdown().await;
    for call in [Call::Create(Box::new(small("token"))), Call::Usage] {
        let error = put(&client, &call).await.unwrap_err();
        assert_eq!(error.meaning, Meaning::NotSent, "{error}");
        assert!(error.is_not_sent() && error.is_refusal());
    }
}

#[tokio::test]
async fn throttling_says_how_long_to_wait_and_the_client_keeps_to_it() {
    let twins = Twins::new(Settings::default()).await;
    twins.fault(&Fault::throttled(60_000).on("CreateImageCache").times(1));
    let create = Call::Create(Box::new(small("token")));
    let throttled = twins.refused(&create).await;
    assert_eq!(
        (throttled.meaning, throttled.retry_after),
        (Meaning::Throttled, Some(Duration::from_mins(1)))
    );

    let early = put(&twins.client, &create).await.unwrap_err();
    assert_eq!(early.meaning, Meaning::Throttled);
    assert!(early.retry_after.is_some_and(|wait| wait > Duration::from_secs(50)), "{early:?}");
    assert_eq!(twins.received("CreateImageCache"), 1, "what came too early was not sent");
    assert!(matches!(twins.ask(&Call::Usage).await, Ok(Answer::Usage(_))), "other actions are not held up");
}

#[tokio::test]
async fn throttling_comes_in_many_forms() {
    let twins = Twins::new(Settings::default()).await;
    for (fault, retry_after) in [
        (Fault::refused("Throttling"), None),
        (Fault::refused("Throttling.Api"), None),
        (Fault::throttled(3), Some(Duration::from_millis(3))),
        (answer("Throttling.User", 429, None), None),
        (answer("Brand.New.Limit", 429, None), None),
    ] {
        for call in [Call::Create(Box::new(small("token"))), Call::Usage] {
            twins.fault(&fault.clone().times(1));
            let failure = twins.refused(&call).await;
            assert_eq!(
                (failure.meaning, failure.retry_after),
                (Meaning::Throttled, retry_after),
                "{fault:?}"
            );
        }
    }
    assert_eq!(twins.ledger().len(), 0);
}

fn answer(code: &str, status: u16, retry_after_ms: Option<u64>) -> Fault {
    let code = code.to_owned();
    Fault {
        answer: Seen::Error { code, status: Some(status), message: None, retry_after_ms },
        ..Fault::default()
    }
}
