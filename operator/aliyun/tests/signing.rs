//! Signatures, byte for byte, against the vendor's library and documentation.

use std::collections::BTreeMap;

use eci_aliyun::sign::{self, EMPTY_SHA256, ParameterNames};
use secrecy::SecretString;
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    scheme: String,
    access_key_id: String,
    access_key_secret: SecretString,
    method: String,
    query: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    canonical_request: Option<String>,
    string_to_sign: String,
    authorization: Option<String>,
    signature: String,
}

#[test]
fn every_vector_is_reproduced_byte_for_byte() {
    let file: File = serde_json::from_str(include_str!("data/signing-vectors.json")).unwrap();
    let (mut v1, mut v3) = (0, 0);
    for vector in file.vectors {
        let name = &vector.name;
        let query: Vec<_> = vector.query.into_iter().collect();
        if vector.scheme == "v1" {
            let signed = sign::v1(&vector.method, &query, &vector.access_key_secret);
            assert_eq!(signed.string_to_sign, vector.string_to_sign, "{name}");
            assert_eq!(signed.signature, vector.signature, "{name}");
            v1 += 1;
        } else {
            let headers: Vec<_> = vector.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let request = sign::Request {
                method: &vector.method,
                path: "/",
                query: &query,
                headers: &headers,
                body_sha256: EMPTY_SHA256,
            };
            let signed =
                sign::v3(&request, ParameterNames::Raw, &vector.access_key_id, &vector.access_key_secret);
            assert_eq!(Some(signed.canonical_request), vector.canonical_request, "{name}");
            assert_eq!(signed.string_to_sign, vector.string_to_sign, "{name}");
            assert_eq!(signed.signature, vector.signature, "{name}");
            assert_eq!(Some(signed.authorization), vector.authorization, "{name}");
            v3 += 1;
        }
    }
    assert_eq!((v1, v3), (7, 8), "all vectors were run");
}
