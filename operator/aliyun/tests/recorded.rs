//! Requests that the vendor's official Python library sent to a loopback server, replayed: their signatures are
//! computed again, and our own encoding of the same calls has to give the same parameters.
#![expect(clippy::unwrap_used, reason = "tests, with helpers that clippy does not know as such")]

use std::collections::BTreeMap;

use eci_aliyun::encode::{MapKeys, Params, query};
use eci_aliyun::request;
use eci_aliyun::sign::{self, ParameterNames};
use eci_api::data_cache::DataCacheRequest;
use eci_api::eip::{ChargeType, Eip, Isp};
use eci_api::image_cache::{AcrInstance, EliminationStrategy, ImageCacheRequest};
use eci_core::cloud::{ClientToken, CloudId, CreateDataCache, CreateImageCache, RegistryCredential};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

const SECRET: &str = "FAKE-ACCESS-KEY-SECRET";

/// Parameters that are not the call's own but version 1's.
const PUBLIC_V1: [&str; 10] = [
    "Action",
    "Format",
    "Version",
    "Timestamp",
    "SignatureNonce",
    "SignatureMethod",
    "SignatureVersion",
    "AccessKeyId",
    "SecurityToken",
    "Signature",
];

struct Recorded {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: BTreeMap<String, String>,
}

impl Recorded {
    fn parse(text: &str) -> Self {
        let (head, decoded) = text.split_once("\n\n").unwrap();
        let (line, headers) = head.split_once('\n').unwrap();
        let [method, target, _] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (path, query) = target.split_once('?').unwrap();
        let query = decode(query);
        let decoded: Vec<_> = decoded
            .lines()
            .map(|line| line.split_once(" = ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(query, decoded, "the recording agrees with itself");
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers: headers
                .lines()
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
        }
    }

    /// The parameters of the call itself, by name; booleans in lower case, as case does not matter for them.
    fn own(&self) -> BTreeMap<String, String> {
        let own = self.query.iter().filter(|(name, _)| !PUBLIC_V1.contains(&name.as_str()));
        own.cloned().map(|(name, value)| (name, lower_boolean(value))).collect()
    }

    fn check_v3(&self) {
        let authorization = &self.headers["authorization"];
        let signed_headers = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
        let headers: Vec<_> =
            signed_headers.split(';').map(|name| (name, self.headers[name].as_str())).collect();
        let request = sign::Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body_sha256: &self.headers["x-acs-content-sha256"],
        };
        let signed = sign::v3(&request, ParameterNames::Raw, "FAKE-ACCESS-KEY-ID", &SECRET.into());
        assert_eq!(&signed.authorization, authorization);
    }

    fn check_v1(&self) {
        let (signature, query): (Vec<_>, Vec<_>) =
            self.query.iter().cloned().partition(|(name, _)| name == "Signature");
        assert_eq!(sign::v1(&self.method, &query, &SECRET.into()).signature, signature[0].1);
    }
}

fn decode(query: &str) -> Vec<(String, String)> {
    let text = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8().unwrap().into_owned();
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn lower_boolean(value: String) -> String {
    if matches!(value.as_str(), "True" | "False") { value.to_lowercase() } else { value }
}

/// Both recordings of one call: their signatures hold, and `params` is what both say.
fn replay(v3: &str, v1: &str, params: &Params) {
    let (v3, v1) = (Recorded::parse(v3), Recorded::parse(v1));
    v3.check_v3();
    v1.check_v1();
    let ours: BTreeMap<_, _> = decode(&query(&params.sorted())).into_iter().collect();
    assert_eq!(ours, v3.own());
    assert_eq!(ours, v1.own());
}

#[test]
fn create_image_cache() {
    let call = CreateImageCache {
        token: ClientToken::new("11111111-2222-3333-4444-555555555555").unwrap(),
        request: ImageCacheRequest {
            name: "cache-one".into(),
            images: vec![
                "registry.example.com/ns/app:1.0".into(),
                "mirror.example.com/library/nginx:1.27".into(),
            ],
            size_gib: 25,
            retention_days: Some(7),
            v_switch_ids: vec!["vsw-1".into(), "vsw-2".into()],
            security_group_id: Some("sg-1".into()),
            acr_instances: vec![AcrInstance {
                id: "cri-1".into(),
                name: None,
                region_id: Some("cn-hangzhou".into()),
                domains: vec!["a.example.com".into(), "b.example.com".into()],
                service_role_arn: None,
                user_role_arn: None,
            }],
            flash: Some(false),
            reuse_layers: Some(true),
            elimination_strategy: Some(EliminationStrategy::Lru),
            ..Default::default()
        },
        credentials: vec![RegistryCredential {
            server: "registry.example.com".into(),
            user_name: "robot$user".into(),
            password: SecretString::from("p@ss word+/="),
        }],
        tags: [("managed-by".to_owned(), "operator".to_owned())].into(),
    };
    replay(
        include_str!("data/wire/v3-create-image-cache.txt"),
        include_str!("data/wire/v1-create-image-cache.txt"),
        &request::create_image_cache("cn-hangzhou", &call),
    );
}

/// The recorded call has filters that the port does not use: they are added to ours.
fn describe_image_caches() -> Params {
    let mut params = request::describe_image_cache("cn-hangzhou", &CloudId::parse("imc-0001").unwrap());
    params.list("MatchImage", ["nginx:1.27"]).set("ImageFullMatch", true).set("NextToken", "AAAA==").objects(
        "Tag",
        [("managed-by", "operator")],
        |params, (key, value)| {
            params.set("Key", key).set("Value", value);
        },
    );
    params
}

#[test]
fn describe_image_caches_with_a_plain_key() {
    replay(
        include_str!("data/wire/v3-describe-image-caches.txt"),
        include_str!("data/wire/v1-describe-image-caches.txt"),
        &describe_image_caches(),
    );
}

#[test]
fn describe_image_caches_with_temporary_credentials() {
    replay(
        include_str!("data/wire/v3-describe-image-caches-sts.txt"),
        include_str!("data/wire/v1-describe-image-caches-sts.txt"),
        &describe_image_caches(),
    );
}

#[test]
fn create_data_cache_with_length_prefixed_options() {
    let options = BTreeMap::from(
        [("repoSource", "HuggingFace/Model"), ("repoId", "stabilityai/sd-2-1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let call = CreateDataCache {
        token: ClientToken::new("66666666-7777-8888-9999-000000000000").unwrap(),
        request: DataCacheRequest {
            name: "dc-1".into(),
            bucket: "default".into(),
            path: "/model/test/".into(),
            source_type: "URL".into(),
            source_options: options,
            size_gib: 30,
            retention_days: Some(7),
            v_switch_ids: vec!["vsw-1".into()],
            security_group_id: Some("sg-1".into()),
            eip: Some(Eip {
                bandwidth: Some(10),
                isp: Some(Isp::Bgp),
                charge_type: Some(ChargeType::PayByTraffic),
                ..Default::default()
            }),
            ..Default::default()
        },
        secret_options: BTreeMap::new(),
        tags: [("managed-by".to_owned(), "operator".to_owned())].into(),
    };
    let params = request::create_data_cache("cn-hangzhou", &call, MapKeys::LengthPrefixed);
    replay(
        include_str!("data/wire/v3-create-data-cache.txt"),
        include_str!("data/wire/v1-create-data-cache.txt"),
        &params,
    );
}

#[test]
fn describe_data_caches() {
    let ids = ["edc-0001", "edc-0002"].map(|id| CloudId::parse(id).unwrap());
    let mut params = request::describe_data_caches("cn-hangzhou", &ids);
    // The recorded call has a filter that the port uses only without IDs.
    params.set("Bucket", "default");
    replay(
        include_str!("data/wire/v3-describe-data-caches.txt"),
        include_str!("data/wire/v1-describe-data-caches.txt"),
        &params,
    );
}
