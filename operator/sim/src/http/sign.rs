//! Verification of signatures, from the request as it was received. Written from the documentation alone; the client
//! crate has its own code for the other side.

use std::collections::BTreeMap;

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Digest as _;

use crate::world::ApiError;
use crate::world::settings::CanonicalNames;

/// Everything but `A–Z a–z 0–9 - _ . ~` is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Headers without which a V3 signature signs too little.
const MUST_BE_SIGNED: [&str; 6] =
    ["host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];

const V3: &str = "ACS3-HMAC-SHA256";

/// A request as received.
#[derive(Clone, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Not decoded.
    pub(crate) query: &'a str,
    /// Names in lower case.
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
}

/// What a signed request says of itself. Its Debug form would show a token, so it has none.
pub(crate) struct Claim {
    pub(crate) action: String,
    pub(crate) version: String,
    pub(crate) key_id: String,
    pub(crate) nonce: String,
    pub(crate) time: Timestamp,
    pub(crate) security_token: Option<String>,
    /// Parameters of the action, without those of the signature.
    pub(crate) parameters: BTreeMap<String, String>,
    proof: Proof,
}

enum Proof {
    V1 { string_to_sign: String, signature: Vec<u8> },
    V3 { string_to_sign: String, signature: Vec<u8> },
}

impl Claim {
    /// Reads a request.
    pub(crate) fn read(received: &Received<'_>, names: CanonicalNames) -> Result<Self, ApiError> {
        let parameters = decode_query(received.query)?;
        let scheme = received.headers.get("authorization").filter(|value| value.starts_with(V3));
        match scheme {
            Some(authorization) => Self::read_v3(received, parameters, authorization, names),
            None => Self::read_v1(received, parameters),
        }
    }

    /// Whether the holder of this secret signed it.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        match &self.proof {
            Proof::V3 { string_to_sign, signature } => {
                let Ok(mac) = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()) else { return false };
                mac.chain_update(string_to_sign.as_bytes()).verify_slice(signature).is_ok()
            }
            Proof::V1 { string_to_sign, signature } => {
                let key = format!("{secret}&");
                let Ok(mac) = Hmac::<sha1::Sha1>::new_from_slice(key.as_bytes()) else { return false };
                mac.chain_update(string_to_sign.as_bytes()).verify_slice(signature).is_ok()
            }
        }
    }

    fn read_v3(
        received: &Received<'_>,
        parameters: BTreeMap<String, String>,
        authorization: &str,
        names: CanonicalNames,
    ) -> Result<Self, ApiError> {
        let fields =
            authorization.strip_prefix(V3).and_then(|rest| rest.strip_prefix(' ')).unwrap_or_default();
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(|| incomplete(&format!("Authorization has no {name}")))
        };
        let (key_id, signed, signature) =
            (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        let signed: Vec<&str> = signed.split(';').collect();
        let token = received.headers.get("x-acs-security-token");
        let must = MUST_BE_SIGNED.into_iter().chain(token.map(|_| "x-acs-security-token"));
        if let Some(missing) = must.into_iter().find(|name| !signed.contains(name)) {
            return Err(incomplete(&format!("the header {missing} is not signed")));
        }
        if !signed.is_sorted() {
            return Err(incomplete("the signed headers are not sorted"));
        }
        let header = |name: &str| {
            received
                .headers
                .get(name)
                .map(|value| value.trim())
                .ok_or_else(|| incomplete(&format!("no header {name}")))
        };
        let body_hash = hex::encode(sha2::Sha256::digest(received.body));
        if header("x-acs-content-sha256")? != body_hash {
            return Err(incomplete("x-acs-content-sha256 is not the hash of the body"));
        }
        let mut canonical_headers = String::new();
        for name in &signed {
            canonical_headers.extend([name, ":", header(name)?, "\n"]);
        }
        let pairs = parameters.iter().map(|(name, value)| match names {
            CanonicalNames::Raw => (name.clone(), encode(value)),
            CanonicalNames::Encoded => (encode(name), encode(value)),
        });
        let canonical = [
            received.method,
            received.path,
            &join(pairs.collect()),
            &canonical_headers,
            &signed.join(";"),
            &body_hash,
        ]
        .join("\n");
        let digest = hex::encode(sha2::Sha256::digest(canonical.as_bytes()));
        Ok(Self {
            action: header("x-acs-action")?.to_owned(),
            version: version(header("x-acs-version")?)?,
            key_id: key_id.to_owned(),
            nonce: header("x-acs-signature-nonce")?.to_owned(),
            time: time(header("x-acs-date")?)?,
            security_token: token.map(|token| token.trim().to_owned()),
            parameters,
            proof: Proof::V3 { string_to_sign: format!("{V3}\n{digest}"), signature: lower_hex(signature)? },
        })
    }

    fn read_v1(received: &Received<'_>, mut parameters: BTreeMap<String, String>) -> Result<Self, ApiError> {
        let signature = parameters.remove("Signature").ok_or_else(|| ApiError::missing("Signature"))?;
        let pairs = parameters.iter().map(|(name, value)| (encode(name), encode(value))).collect();
        let string_to_sign = format!("{}&%2F&{}", received.method, encode(&join(pairs)));
        let mut take = |name: &str| parameters.remove(name).ok_or_else(|| ApiError::missing(name));
        let (method, scheme) = (take("SignatureMethod")?, take("SignatureVersion")?);
        if method != "HMAC-SHA1" || scheme != "1.0" {
            return Err(incomplete("only HMAC-SHA1 of version 1.0 is known"));
        }
        let version = version(&take("Version")?)?;
        let (action, key_id) = (take("Action")?, take("AccessKeyId")?);
        let (nonce, written) = (take("SignatureNonce")?, take("Timestamp")?);
        let security_token = parameters.remove("SecurityToken");
        if parameters.remove("Format").is_some_and(|format| !format.eq_ignore_ascii_case("json")) {
            return Err(ApiError::invalid("Format", "only JSON is known"));
        }
        let signature =
            base64::engine::general_purpose::STANDARD.decode(&signature).map_err(|_| does_not_match())?;
        let time = time(&written)?;
        let proof = Proof::V1 { string_to_sign, signature };
        Ok(Self { action, version, key_id, nonce, time, security_token, parameters, proof })
    }
}

/// The refusal of a signature.
pub(crate) fn does_not_match() -> ApiError {
    ApiError::new("SignatureDoesNotMatch", "The specified signature does not match our calculation.")
}

fn incomplete(why: &str) -> ApiError {
    ApiError::new(
        "IncompleteSignature",
        format!("The request signature does not conform to the standards: {why}."),
    )
}

/// Versions of the APIs that are answered here: of ECI, and of ECS.
const VERSIONS: [&str; 3] = ["2018-08-08", "2014-05-26", "2016-04-28"];

fn version(version: &str) -> Result<String, ApiError> {
    if VERSIONS.contains(&version) {
        Ok(version.to_owned())
    } else {
        Err(ApiError::new(
            "InvalidVersion",
            "The specified API version does not exist: 2018-08-08 (ECI), 2014-05-26 (ECS) and 2016-04-28 (VPC) do.",
        ))
    }
}

/// The only form that the documentation allows: whole seconds, UTC.
fn time(text: &str) -> Result<Timestamp, ApiError> {
    text.parse().ok().filter(|_| text.len() == 20 && text.ends_with('Z')).ok_or_else(|| {
        ApiError::new("InvalidTimeStamp.Format", "The time stamp is not yyyy-MM-ddTHH:mm:ssZ.")
    })
}

fn lower_hex(text: &str) -> Result<Vec<u8>, ApiError> {
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    hex::decode(text).ok().filter(|_| is_lower).ok_or_else(does_not_match)
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn join(mut pairs: Vec<(String, String)>) -> String {
    pairs.sort();
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Decodes a query: `+` and `%20` are both a space. Every name may come once.
fn decode_query(query: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name)?;
        if parameters.insert(name.clone(), decode(value)?).is_some() {
            return Err(ApiError::invalid(&name, "it is there twice"));
        }
    }
    Ok(parameters)
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let bad = || ApiError::new("InvalidParameter", "The query is not percent-encoded UTF-8.");
    let mut rest = spaced.as_str();
    while let Some((_, after)) = rest.split_once('%') {
        if !after.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
            return Err(bad());
        }
        rest = after;
    }
    percent_decode_str(&spaced).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| bad())
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
