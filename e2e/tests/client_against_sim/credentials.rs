//! Who may call: keys, tokens, clocks.

use std::sync::Arc;

use eci_aliyun::{Client, Config};
use eci_core::cloud::{CloudError, Meaning};
use eci_sim::{KeyState, Settings};
use jiff::SignedDuration;

use crate::twins::{Call, KEY, SECRET, STS_TOKEN, Twins, Watch, config, credentials, put, small};

/// What a client configured in this way is told.
async fn told(twins: &Twins, configure: impl FnOnce(&mut Config)) -> Result<(), CloudError> {
    let mut config = config(&twins.http, &twins.served, None);
    configure(&mut config);
    let client = Client::new(config).unwrap();
    let result = put(&client, &Call::Create(Box::new(small("token")))).await;
    if let Err(error) = &result {
        let shown = format!("{error} {error:?}");
        assert!(![SECRET, STS_TOKEN, "FAKE-WRONG"].iter().any(|secret| shown.contains(secret)), "{shown}");
        assert_eq!(twins.ledger().len(), 0, "who may not call makes nothing");
    }
    result.map(drop)
}

fn key(id: &str, secret: &str, token: Option<&str>) -> impl FnOnce(&mut Config) {
    let credentials = credentials(id, secret, token);
    move |config| config.credentials = credentials
}

fn refusal(result: Result<(), CloudError>) -> (Meaning, String) {
    let error = result.expect_err("the call must be refused");
    (error.meaning, error.code.unwrap_or_default())
}

#[tokio::test]
async fn wrong_keys_are_bad_credentials() {
    let permanent = Twins::new(Settings::default()).await;
    let temporary = Twins::with(Settings::default(), Some(STS_TOKEN), |_| ()).await;
    for (twins, id, secret, token, code) in [
        (&permanent, KEY, "FAKE-WRONG", None, "SignatureDoesNotMatch"),
        (&permanent, "FAKE-NOBODY", SECRET, None, "InvalidAccessKeyId.NotFound"),
        (&permanent, KEY, SECRET, Some(STS_TOKEN), "InvalidSecurityToken.Malformed"),
        (&temporary, KEY, SECRET, None, "InvalidSecurityToken.Malformed"),
        (&temporary, KEY, SECRET, Some("FAKE-WRONG"), "InvalidSecurityToken.Malformed"),
        (&temporary, KEY, "FAKE-WRONG", Some(STS_TOKEN), "SignatureDoesNotMatch"),
    ] {
        let result = told(twins, key(id, secret, token)).await;
        assert_eq!(refusal(result), (Meaning::BadCredentials, code.to_owned()));
    }
    told(&permanent, key(KEY, SECRET, None)).await.unwrap();
    told(&temporary, key(KEY, SECRET, Some(STS_TOKEN))).await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_good_may_stop_being_so() {
    let twins = Twins::with(Settings::default(), Some(STS_TOKEN), |_| ()).await;
    for (state, meaning, code) in [
        (KeyState::Unknown, Meaning::BadCredentials, "InvalidAccessKeyId.NotFound"),
        (KeyState::Inactive, Meaning::BadCredentials, "InvalidAccessKeyId.Inactive"),
        (KeyState::TokenExpired, Meaning::BadCredentials, "InvalidSecurityToken.Expired"),
        (KeyState::Denied, Meaning::Denied, "NoPermission"),
    ] {
        assert!(twins.served.set_key_state(KEY, state));
        let result = told(&twins, key(KEY, SECRET, Some(STS_TOKEN))).await;
        assert_eq!(refusal(result), (meaning, code.to_owned()));
    }
    twins.served.set_key_state(KEY, KeyState::Active);
    told(&twins, key(KEY, SECRET, Some(STS_TOKEN))).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_more_than_fifteen_minutes_off_is_named() {
    for (minutes, accepted) in [(-16, false), (16, false), (-14, true), (14, true)] {
        let twins = Twins::new(Settings::default()).await;
        let watch = Watch { sim: twins.served.clock().clone(), ahead: SignedDuration::from_mins(minutes) };
        let result = told(&twins, |config| config.clock = Arc::new(watch)).await;
        if accepted {
            result.unwrap();
        } else {
            let error = result.unwrap_err();
            assert_eq!(error.meaning, Meaning::ClockSkew);
            let ours = (twins.served.now() + SignedDuration::from_mins(minutes)).to_string();
            assert!(error.message.contains(&ours) && error.message.contains("the cloud's"), "{error}");
        }
    }
}

#[tokio::test]
async fn another_regions_endpoint_refuses_for_good() {
    let twins = Twins::new(Settings::default()).await;
    let result = told(&twins, |config| config.region = "cn-beijing".to_owned()).await;
    assert_eq!(refusal(result), (Meaning::Invalid, "InvalidRegionId.NotFound".to_owned()));
}
