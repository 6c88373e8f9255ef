//! From spec to request, and from secrets to options.

use std::collections::BTreeMap;

use eci_core::cloud::{DataCacheState, Place};
use eci_core::cloud_resource::Kind as _;
use eci_core::data_cache::{DataCacheKind, OptionError, desired, record, secret_options, status, take_over};
use eci_core::pull_secret::PullSecret;
use eci_core::sweeper::Orphan;
use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::{Value, json};

use crate::scene::{Scene, defaults, id, object, spec, view};

fn options(source: &Value) -> (String, Value, Vec<String>, Option<String>) {
    let mut spec = spec();
    spec["source"] = source.clone();
    let request = desired(&object(&spec), &defaults()).request.unwrap();
    (request.source_type, json!(request.source_options), request.source_secrets, request.access_token_key)
}

#[test]
fn every_source_becomes_the_options_that_the_vendor_documents() {
    let token = json!({ "name": "hub", "key": "token" });
    let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    for (source, type_, wanted, secrets, key) in [
        (
            json!({ "type": "URL", "url": { "url": "https://example.com/a" }, "accessTokenSecretRef": token }),
            "URL",
            json!({ "url": "https://example.com/a" }),
            named(&["hub"]),
            Some("token"),
        ),
        (
            json!({ "type": "HuggingFace", "huggingFace": { "repoID": "a/b", "revision": "v1" } }),
            "URL",
            json!({ "repoSource": "HuggingFace/Model", "repoId": "a/b", "revision": "v1" }),
            vec![],
            None,
        ),
        (
            json!({ "type": "ModelScope", "modelScope": { "repoID": "a/b", "repoType": "DataSet" } }),
            "URL",
            json!({ "repoSource": "ModelScope/DataSet", "repoId": "a/b" }),
            vec![],
            None,
        ),
        (
            json!({ "type": "NAS", "nas": {
                "server": "nas.example.com", "path": "/x", "version": "4.0", "mountOptions": ["ro", "nolock"],
            } }),
            "NAS",
            json!({ "server": "nas.example.com", "path": "/x", "vers": "4.0", "options": "ro,nolock" }),
            vec![],
            None,
        ),
        (
            json!({ "type": "Custom", "custom": {
                "cloudType": "OSS", "options": { "bucket": "b" }, "optionsFrom": [{ "name": "z" }, { "name": "a" }],
            } }),
            "OSS",
            json!({ "bucket": "b" }),
            named(&["a", "z"]),
            None,
        ),
    ] {
        let found = options(&source);
        assert_eq!(found, (type_.to_owned(), wanted, secrets, key.map(str::to_owned)), "{source}");
    }
}

#[test]
fn what_a_spec_may_not_say_is_a_problem_with_the_name_of_the_field() {
    for (change, named) in [
        (json!({ "bucket": "eci-system" }), "spec.bucket"),
        (json!({ "path": "a" }), "spec.path"),
        (json!({ "size": "1Gi" }), "spec.size"),
        (json!({ "source": null }), "spec.source is missing"),
        (json!({ "source": { "type": "NAS" } }), "spec.source.nas"),
        (json!({ "source": { "type": "Custom" } }), "spec.source.custom"),
    ] {
        let mut spec = spec();
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = desired(&object(&spec), &defaults()).request.unwrap_err();
        assert!(
            problem.message.contains(named) && problem.message.starts_with("DataCache ns/model: "),
            "{problem:?}"
        );
    }
    let problem = desired(&object(&spec()), &eci_core::image_cache::Defaults::default()).request.unwrap_err();
    assert_eq!(problem.reason.as_str(), "NetworkMissing");
}

fn secret(name: &str, data: &[(&str, &[u8])]) -> PullSecret {
    let data =
        data.iter().map(|(key, value)| ((*key).to_owned(), SecretSlice::from(value.to_vec()))).collect();
    PullSecret { name: name.to_owned(), type_: "Opaque".to_owned(), data }
}

#[test]
fn secrets_become_options_and_no_message_has_a_part_of_them() {
    let mut request = desired(&object(&spec()), &defaults()).request.unwrap();
    request.access_token_key = Some("token".into());
    let found =
        secret_options(&request, &[secret("hub", &[("token", b"hunter2\n"), ("other", b"x")])]).unwrap();
    let shown: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.expose_secret())).collect();
    assert_eq!(shown, [("accessToken", "hunter2")]);

    request.access_token_key = None;
    let found = secret_options(&request, &[secret("s", &[("ak", b"1"), ("sk", b"2")])]).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["ak", "sk"]);

    let long = vec![b'x'; 5_000];
    request.access_token_key = Some("token".into());
    for (secrets, expected) in [
        (vec![secret("hub", &[])], OptionError::Missing("hub".into(), "token".into())),
        (vec![secret("hub", &[("token", b" \n")])], OptionError::Value("hub".into(), "token".into())),
        (vec![secret("hub", &[("token", b"\xff\xfe")])], OptionError::Value("hub".into(), "token".into())),
        (vec![secret("hub", &[("token", &long)])], OptionError::Value("hub".into(), "token".into())),
    ] {
        let error = secret_options(&request, &secrets).unwrap_err();
        assert_eq!(error, expected);
    }
    request.access_token_key = None;
    let twice = [secret("a", &[("k", b"hunter2")]), secret("b", &[("k", b"hunter2")])];
    let error = secret_options(&request, &twice).unwrap_err();
    assert!(matches!(error, OptionError::Twice(..)) && !error.to_string().contains("hunter2"), "{error}");
    request.source_options.insert("k".into(), "v".into());
    assert!(matches!(secret_options(&request, &twice[..1]), Err(OptionError::Twice(..))));
    let many: BTreeMap<String, String> = (0..41).map(|n| (n.to_string(), String::new())).collect();
    request.source_options = many;
    assert_eq!(secret_options(&request, &[]).unwrap_err(), OptionError::TooMany);
}

#[test]
fn a_status_gives_back_the_record_that_it_was_made_from() {
    let t = Scene::usable();
    let written = t.status.clone().unwrap();
    assert_eq!((written.bucket.as_deref(), written.path.as_deref()), (Some("models"), Some("/a")));
    assert_eq!(written.cloud_status.as_deref(), Some("Available"));
    let read = record(Some(&written));
    assert!(read.usable && read.whole && read.seen);
    let again = status(Some(&written), &read, None, None, 1, t.now.wall);
    assert_eq!(again, written);
    let json = serde_json::to_value(&written).unwrap();
    assert_eq!(record(Some(&serde_json::from_value(json).unwrap())), read);
}

#[test]
fn states_have_their_phases_and_an_unknown_word_is_a_build() {
    use eci_core::cloud_resource::Phase;
    for (word, phase) in [
        ("Loading", Phase::Building),
        ("Creating", Phase::Building),
        ("Available", Phase::Usable),
        ("Failed", Phase::Failed),
        ("Updating", Phase::Changing),
        ("UpdateFailed", Phase::ChangeFailed),
        ("Ready", Phase::Building),
    ] {
        let mut seen = view("edc-1", "/a", BTreeMap::new());
        seen.state = DataCacheState::parse(word);
        assert_eq!(DataCacheKind::phase(&seen), phase, "{word}");
    }
}

#[test]
fn an_orphan_is_offered_for_adoption_unless_its_place_could_break_out_of_a_shell() {
    let orphan = Orphan { id: id("edc-1"), made_for: Some(("ns".into(), "model".into())) };
    let manifest = take_over(&view("edc-1", "/a", BTreeMap::new()), &orphan).unwrap();
    assert_eq!(manifest["spec"]["adopt"]["dataCacheID"], "edc-1");
    assert_eq!(manifest["spec"]["path"], "/a");
    let mut hostile = view("edc-1", "/a", BTreeMap::new());
    hostile.place = Place::new("models", "/a'; rm -rf /; '");
    assert_eq!(take_over(&hostile, &orphan), None);
    let nobodys = Orphan { made_for: None, ..orphan };
    assert_eq!(take_over(&view("edc-1", "/a", BTreeMap::new()), &nobodys), None);
}
