//! Requests recorded from the official Python SDK with a made-up secret: each must be accepted, and refused as soon
//! as one byte of what is signed differs.

use crate::world::settings::Settings;
use proptest::prelude::*;

use super::*;
use crate::http::actions;

const SECRET: &str = "FAKE-ACCESS-KEY-SECRET";

/// Request line and headers, as recorded.
const RECORDED: [(&str, &str); 6] = [
    ("v1-create", include_str!("../../tests/data/v1-create-image-cache.txt")),
    ("v1-describe", include_str!("../../tests/data/v1-describe-image-caches.txt")),
    ("v1-describe-sts", include_str!("../../tests/data/v1-describe-image-caches-sts.txt")),
    ("v3-create", include_str!("../../tests/data/v3-create-image-cache.txt")),
    ("v3-describe", include_str!("../../tests/data/v3-describe-image-caches.txt")),
    ("v3-describe-sts", include_str!("../../tests/data/v3-describe-image-caches-sts.txt")),
];

#[derive(Clone)]
struct Recording {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
}

impl Recording {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let mut line = lines.next().unwrap().split(' ');
        let (method, target) = (line.next().unwrap().to_owned(), line.next().unwrap());
        let (path, query) = target.split_once('?').unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { method, path: path.to_owned(), query: query.to_owned(), headers }
    }

    fn claim(&self) -> Result<Claim, ApiError> {
        let received = Received {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: b"",
        };
        Claim::read(&received, CanonicalNames::Raw)
    }

    fn is_accepted(&self) -> bool {
        self.claim().is_ok_and(|claim| claim.key_id == "FAKE-ACCESS-KEY-ID" && claim.is_signed_with(SECRET))
    }
}

/// Another byte that may stand in a request.
fn other(byte: u8) -> char {
    if byte == b'7' { '8' } else { '7' }
}

fn with_byte_changed(text: &str, at: usize) -> String {
    let mut changed = text.to_owned();
    changed.replace_range(at..=at, &other(text.as_bytes()[at]).to_string());
    changed
}

#[test]
fn recorded_requests_of_the_official_sdk_are_accepted() {
    for (name, text) in RECORDED {
        let recording = Recording::parse(text);
        let claim = recording.claim().unwrap();
        assert!(claim.is_signed_with(SECRET), "{name}");
        assert!(!claim.is_signed_with("another secret"), "{name}");
        assert_eq!(claim.key_id, "FAKE-ACCESS-KEY-ID", "{name}");
        let action = if name.contains("create") { "CreateImageCache" } else { "DescribeImageCaches" };
        assert_eq!(claim.action, action, "{name}");
        assert_eq!(claim.security_token.is_some(), name.ends_with("sts"), "{name}");
        assert!(claim.parameters.contains_key("RegionId") && !claim.parameters.contains_key("Signature"));
    }
}

#[test]
fn a_space_that_travels_as_plus_is_signed_as_percent_20() {
    let recording = Recording::parse(RECORDED[3].1);
    assert!(recording.query.contains("p%40ss+word%2B%2F%3D"));
    let claim = recording.claim().unwrap();
    assert_eq!(claim.parameters["ImageRegistryCredential.1.Password"], "p@ss word+/=");
    let respelled = Recording { query: recording.query.replace("ss+word", "ss%20word"), ..recording };
    assert!(respelled.is_accepted());
}

#[test]
fn one_changed_byte_of_the_query_is_refused() {
    for (name, text) in RECORDED {
        let recording = Recording::parse(text);
        for at in 0..recording.query.len() {
            let query = with_byte_changed(&recording.query, at);
            let changed = Recording { query, ..recording.clone() };
            assert!(!changed.is_accepted(), "{name}: byte {at} of the query");
        }
    }
}

#[test]
fn one_changed_byte_of_a_signed_header_or_of_the_signature_is_refused() {
    for (name, text) in RECORDED.iter().filter(|(name, _)| name.starts_with("v3")) {
        let recording = Recording::parse(text);
        let unsigned = ["accept-encoding", "content-length"];
        let signed = recording.headers.iter().filter(|(header, _)| !unsigned.contains(&header.as_str()));
        for (header, value) in signed {
            for at in 0..value.len() {
                let mut changed = recording.clone();
                changed.headers.insert(header.clone(), with_byte_changed(value, at));
                assert!(!changed.is_accepted(), "{name}: byte {at} of {header}");
            }
        }
    }
}

#[test]
fn another_method_path_or_body_is_refused() {
    for (name, text) in RECORDED {
        let recording = Recording::parse(text);
        let method = Recording { method: "GET".to_owned(), ..recording.clone() };
        assert!(!method.is_accepted(), "{name}: another method");
        if name.starts_with("v3") {
            let path = Recording { path: "/x".to_owned(), ..recording.clone() };
            assert!(!path.is_accepted(), "{name}: another path");
            let received = Received {
                method: &recording.method,
                path: &recording.path,
                query: &recording.query,
                headers: &recording.headers,
                body: b"x",
            };
            let refusal = Claim::read(&received, CanonicalNames::Raw).err().unwrap();
            assert_eq!(refusal.code, "IncompleteSignature", "{name}: another body");
        }
    }
}

#[test]
fn a_header_that_must_be_signed_cannot_be_left_out() {
    for header in MUST_BE_SIGNED.into_iter().chain(["x-acs-security-token"]) {
        let mut recording = Recording::parse(RECORDED[5].1);
        let authorization = recording.headers["authorization"].replace(&format!("{header};"), "");
        recording
            .headers
            .insert("authorization".to_owned(), authorization.replace(&format!(";{header}"), ""));
        assert_eq!(
            recording.claim().err().map(|e| e.code).as_deref(),
            Some("IncompleteSignature"),
            "{header}"
        );
    }
}

#[test]
fn names_without_special_characters_sign_alike_either_way() {
    let recording = Recording::parse(RECORDED[3].1);
    let received = Received {
        method: &recording.method,
        path: &recording.path,
        query: &recording.query,
        headers: &recording.headers,
        body: b"",
    };
    assert!(Claim::read(&received, CanonicalNames::Encoded).unwrap().is_signed_with(SECRET));
    // And a name with them signs differently.
    let query = format!("{}&DataSource.Options.%2310%23repoSource=x", recording.query);
    let received = Received { query: &query, ..received };
    let proof = |names| match Claim::read(&received, names).unwrap().proof {
        Proof::V3 { string_to_sign, .. } | Proof::V1 { string_to_sign, .. } => string_to_sign,
    };
    assert_ne!(proof(CanonicalNames::Raw), proof(CanonicalNames::Encoded));
}

#[test]
fn queries_that_are_no_queries_are_refused() {
    for query in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=1&a=2", "%ff=1"] {
        assert!(decode_query(query).is_err(), "{query}");
    }
    assert_eq!(
        decode_query("a&b=&&c=1%2B+2").unwrap().into_iter().collect::<Vec<_>>(),
        [
            ("a".to_owned(), String::new()),
            ("b".to_owned(), String::new()),
            ("c".to_owned(), "1+ 2".to_owned())
        ]
    );
}

/// Text made of what queries are made of, and of what they are not.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("%".to_owned()),
        Just("%ff".to_owned()),
        Just("+&=".to_owned()),
        Just("RegionId=cn-hangzhou&".to_owned()),
        "(Image|Tag|ResourceId|AcrRegistryInfo)\\.[0-9]{1,20}(\\.(Key|Domain\\.[0-9]|InstanceId))?=",
        "(Limit|ImageCacheSize|Flash|NextToken)=[-0-9a-z]{0,20}&",
        ".{0,8}",
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_request_makes_the_verifier_or_the_decoder_panic(
        query in hostile(), header in hostile(), which in 0..6_usize
    ) {
        let mut recording = Recording::parse(RECORDED[which].1);
        recording.query = query;
        let at = header.len() % recording.headers.len();
        let name = recording.headers.keys().nth(at).cloned().unwrap_or_default();
        recording.headers.insert(name, format!("{V3} {header}"));
        prop_assert!(!recording.is_accepted());
        if let Ok(parameters) = decode_query(&recording.query) {
            for (action, version) in actions::KNOWN {
                let _ = actions::decode(action, version, parameters.clone(), &Settings::default());
            }
        }
    }
}
