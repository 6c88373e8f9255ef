//! Signatures of requests, as pure functions: version 3 (`ACS3-HMAC-SHA256`), which the client uses, and version 1
//! (`HMAC-SHA1`), which leaves no doubt about parameter names with special characters.
//!
//! Signed values hold secrets (registry passwords travel in the query), so nothing here has a Debug form.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::encode::encode;

/// Name of the version 3 algorithm.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// SHA-256 of an empty body.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// How parameter names stand in the canonical query of version 3. No difference for names of letters, digits and
/// dots; for others the vendor's documents and its libraries disagree, and the server has not been asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParameterNames {
    /// As they are: what the official Python, Go and TypeScript libraries do.
    #[default]
    Raw,
    /// Percent-encoded: what the documents say.
    Encoded,
}

/// What version 3 signs.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Method, upper-case.
    pub method: &'a str,
    /// Path, `/` for this API.
    pub path: &'a str,
    /// Decoded parameters, in any order.
    pub query: &'a [(String, String)],
    /// Headers to sign, in any order; must include `host` and every `x-acs-` header that is sent.
    pub headers: &'a [(&'a str, &'a str)],
    /// Hexadecimal SHA-256 of the body.
    pub body_sha256: &'a str,
}

/// A version 3 signature with the steps that led to it.
pub struct Signed {
    /// The request in its canonical form.
    pub canonical_request: String,
    /// What the key was applied to.
    pub string_to_sign: String,
    /// Hexadecimal.
    pub signature: String,
    /// Value of the `Authorization` header.
    pub authorization: String,
}

/// Signs by version 3.
pub fn v3(request: &Request<'_>, names: ParameterNames, key_id: &str, secret: &SecretString) -> Signed {
    let mut headers: Vec<(String, &str)> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    headers.sort();
    let canonical_headers = joined(
        headers.iter().map(|(name, value)| {
            format!(
                "{name}:{value}
"
            )
        }),
        "",
    );
    let signed_headers = joined(headers.iter().map(|(name, _)| name.clone()), ";");
    let query = canonical_query(request.query, |name| match names {
        ParameterNames::Raw => name.to_owned(),
        ParameterNames::Encoded => encode(name),
    });
    let canonical_request =
        [request.method, request.path, &query, &canonical_headers, &signed_headers, request.body_sha256]
            .join("\n");
    let string_to_sign = format!("{ALGORITHM}\n{}", hex::encode(Sha256::digest(&canonical_request)));

    let key = block_key::<Sha256>(secret.expose_secret().as_bytes());
    let mut mac = Hmac::<Sha256>::new(&key.into());
    mac.update(string_to_sign.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let authorization =
        format!("{ALGORITHM} Credential={key_id},SignedHeaders={signed_headers},Signature={signature}");
    Signed { canonical_request, string_to_sign, signature, authorization }
}

/// A version 1 signature with the step that led to it.
pub struct SignedV1 {
    /// What the key was applied to.
    pub string_to_sign: String,
    /// Base64; the value of the parameter `Signature`.
    pub signature: String,
}

/// Signs by version 1. `query` holds all parameters, the public ones too, but `Signature`.
pub fn v1(method: &str, query: &[(String, String)], secret: &SecretString) -> SignedV1 {
    let string_to_sign = format!("{method}&%2F&{}", encode(&canonical_query(query, encode)));
    let key = block_key::<Sha1>(format!("{}&", secret.expose_secret()).as_bytes());
    let mut mac = Hmac::<Sha1>::new(&key.into());
    mac.update(string_to_sign.as_bytes());
    SignedV1 { string_to_sign, signature: BASE64_STANDARD.encode(mac.finalize().into_bytes()) }
}

fn canonical_query(query: &[(String, String)], write_name: impl Fn(&str) -> String) -> String {
    let mut pairs: Vec<_> = query.iter().collect();
    pairs.sort();
    joined(pairs.into_iter().map(|(name, value)| format!("{}={}", write_name(name), encode(value))), "&")
}

fn joined(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// The key padded to the block of both hashes, as HMAC itself would do: a key of this type cannot be refused.
fn block_key<D: Digest>(key: &[u8]) -> [u8; 64] {
    let mut block = [0; 64];
    let digest;
    let bytes = if key.len() > block.len() {
        digest = D::digest(key);
        digest.as_slice()
    } else {
        key
    };
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    block
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_longer_than_a_block_are_hashed_as_the_standard_says() {
        // RFC 4231, test case 6.
        let mut mac = Hmac::<Sha256>::new(&block_key::<Sha256>(&[0xaa; 131]).into());
        mac.update(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hex::encode(mac.finalize().into_bytes()),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn the_hash_of_an_empty_body_is_right() {
        assert_eq!(EMPTY_SHA256, hex::encode(Sha256::digest(b"")));
    }

    #[test]
    fn encoded_names_change_the_canonical_query_only_where_they_must() {
        let sign = |name: &str, names| {
            let query = [(name.to_owned(), "v".to_owned())];
            let request = Request {
                method: "POST",
                path: "/",
                query: &query,
                headers: &[("host", "h")],
                body_sha256: EMPTY_SHA256,
            };
            v3(&request, names, "id", &SecretString::from("secret"))
        };
        let hashed = "DataSource.Options.#6#repoId";
        assert_eq!(
            sign(hashed, ParameterNames::Encoded).canonical_request.lines().nth(2),
            Some("DataSource.Options.%236%23repoId=v")
        );
        assert_ne!(
            sign(hashed, ParameterNames::Encoded).signature,
            sign(hashed, ParameterNames::Raw).signature
        );
        assert_eq!(
            sign("Image.1", ParameterNames::Encoded).signature,
            sign("Image.1", ParameterNames::Raw).signature
        );
    }

    proptest! {
        #[test]
        fn the_order_of_parameters_and_headers_does_not_matter(
            pairs in prop::collection::btree_map(any::<String>(), any::<String>(), 0..6)
                .prop_map(|map| map.into_iter().collect::<Vec<_>>())
                .prop_flat_map(|sorted| (Just(sorted.clone()), Just(sorted).prop_shuffle())),
            secret in any::<String>(),
        ) {
            let secret = SecretString::from(secret);
            let sign = |query: &[(String, String)], headers: &[(&str, &str)]| {
                let request = Request { method: "POST", path: "/", query, headers, body_sha256: EMPTY_SHA256 };
                v3(&request, ParameterNames::Encoded, "id", &secret).authorization
            };
            let (sorted, shuffled) = pairs;
            prop_assert_eq!(
                sign(&sorted, &[("host", "h"), ("x-acs-action", "A")]),
                sign(&shuffled, &[("X-Acs-Action", " A "), ("host", "h")])
            );
            prop_assert_eq!(v1("POST", &sorted, &secret).signature, v1("POST", &shuffled, &secret).signature);
        }
    }
}
