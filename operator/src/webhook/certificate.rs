//! Certificates of the webhook: authorities, how they are written into a Secret, and what they sign.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use eci_core::admission::authorities::{Life, Role};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

/// The key of the Secret with the certificates that are to be trusted, for people and for other programs.
pub(super) const BUNDLE_KEY: &str = "ca.crt";
/// The key of the Secret with the authorities, theirs keys included.
pub(super) const AUTHORITIES_KEY: &str = "authorities.json";
/// Most authorities at once.
const AUTHORITIES: usize = 3;
/// How far the clock of an API server may be behind ours.
const SKEW: Duration = Duration::from_hours(1);

/// A certificate that cannot be made or used. What it says has no key in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    /// It cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Use(#[from] rustls::Error),
    /// The machine gives no random numbers.
    #[error("cannot make a certificate: the machine gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The Secret is not as it was written.
    #[error("the Secret of the webhook's authorities is not as the operator wrote it: {0}")]
    Broken(&'static str),
    /// A file is not what it must be.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: String,
        /// Why not.
        why: String,
    },
}

/// An authority.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Authority {
    role: Role,
    name: String,
    life: Life,
    certificate: String,
    /// Gone when it has stopped signing.
    key: Option<SecretString>,
}

impl Authority {
    fn new(role: Role, life: Life) -> Result<Self, CertificateError> {
        let mut random = [0_u8; 4];
        getrandom::fill(&mut random)?;
        let name = format!("eci-operator webhook {}", hex::encode(random));
        let key = KeyPair::generate()?;
        let certificate = authority(&name, life)?.self_signed(&key)?.pem();
        let key = Some(SecretString::from(key.serialize_pem()));
        Ok(Self { role, name, life, certificate, key })
    }
}

/// The authorities, as one Secret has them.
#[derive(Clone, Debug)]
pub(super) struct Authorities(Vec<Authority>);

impl Authorities {
    /// The first ones.
    pub(super) fn first(now: Timestamp, lifetime: Duration) -> Result<Self, CertificateError> {
        Ok(Self(vec![Authority::new(Role::Current, Life::begin(now, lifetime))?]))
    }

    /// Reads what [`Self::write`] has written.
    pub(super) fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, CertificateError> {
        let broken = CertificateError::Broken;
        let text = data.get(AUTHORITIES_KEY).ok_or(broken("authorities.json is missing"))?;
        // The error could quote a key.
        let all: Vec<Authority> =
            serde_json::from_slice(&text.0).map_err(|_| broken("authorities.json cannot be read"))?;
        let current = all.iter().filter(|a| a.role == Role::Current && a.key.is_some()).count();
        if all.len() > AUTHORITIES || current != 1 {
            return Err(broken(
                "there must be one authority that signs, and one before and after it at most",
            ));
        }
        Ok(Self(all))
    }

    /// As data of a Secret.
    pub(super) fn write(&self) -> BTreeMap<String, ByteString> {
        let all: Vec<_> = self
            .0
            .iter()
            .map(|authority| {
                json!({
                    "role": authority.role, "name": authority.name, "life": authority.life,
                    "certificate": authority.certificate,
                    "key": authority.key.as_ref().map(SecretString::expose_secret),
                })
            })
            .collect();
        BTreeMap::from([
            (AUTHORITIES_KEY.to_owned(), ByteString(json!(all).to_string().into_bytes())),
            (BUNDLE_KEY.to_owned(), ByteString(self.bundle().into_bytes())),
        ])
    }

    /// What the API server is to trust, as PEM.
    pub(super) fn bundle(&self) -> String {
        self.0.iter().map(|authority| authority.certificate.as_str()).collect()
    }

    /// Role and life of each.
    pub(super) fn lives(&self) -> Vec<(Role, Life)> {
        self.0.iter().map(|authority| (authority.role, authority.life)).collect()
    }

    /// The name of the one that signs.
    pub(super) fn signer(&self) -> Option<&str> {
        self.current().map(|authority| authority.name.as_str())
    }

    fn current(&self) -> Option<&Authority> {
        self.0.iter().find(|authority| authority.role == Role::Current)
    }

    /// With a successor.
    pub(super) fn introduce(mut self, now: Timestamp, lifetime: Duration) -> Result<Self, CertificateError> {
        self.0.retain(|authority| authority.role == Role::Current);
        self.0.push(Authority::new(Role::Next, Life::begin(now, lifetime))?);
        Ok(self)
    }

    /// The successor signs.
    #[must_use]
    pub(super) fn promote(mut self) -> Self {
        self.0.retain(|authority| authority.role != Role::Previous);
        for authority in &mut self.0 {
            match authority.role {
                Role::Next => authority.role = Role::Current,
                Role::Current | Role::Previous => {
                    authority.role = Role::Previous;
                    authority.key = None;
                }
            }
        }
        self
    }

    /// Without the predecessor.
    #[must_use]
    pub(super) fn retire(mut self) -> Self {
        self.0.retain(|authority| authority.role != Role::Previous);
        self
    }

    /// A certificate for these names, checked as the API server will check it.
    pub(super) fn sign(&self, names: &[String], now: Timestamp) -> Result<Leaf, CertificateError> {
        let broken = CertificateError::Broken;
        let signer = self.current().ok_or(broken("there is no authority that signs"))?;
        let key = signer.key.as_ref().ok_or(broken("the authority that signs has no key"))?;
        let ca_key = KeyPair::from_pem(key.expose_secret()).map_err(|_| broken("the key cannot be read"))?;
        let issuer = Issuer::new(authority(&signer.name, signer.life)?, ca_key);
        let life = signer.life.leaf(now);
        let key = KeyPair::generate()?;
        let certificate = leaf(names, life)?.signed_by(&key, &issuer)?;
        self.verify(&certificate, names, now)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider())?;
        Ok(Leaf { key: Arc::new(key), life, signer: signer.name.clone() })
    }

    /// Whether a client that trusts the bundle takes the certificate. It does not when somebody has changed the Secret.
    fn verify(
        &self,
        certificate: &Certificate,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.bundle().as_bytes()) {
            let root = root.map_err(|_| CertificateError::Broken("a certificate cannot be read"))?;
            roots.add(root)?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
            .build()
            .map_err(|_| CertificateError::Broken("there is no certificate"))?;
        let name = names.first().cloned().unwrap_or_default();
        let name = ServerName::try_from(name).map_err(|_| rustls::Error::UnsupportedNameType)?;
        let since = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
        verifier.verify_server_cert(certificate.der(), &[], &name, &[], UnixTime::since_unix_epoch(since))?;
        Ok(())
    }
}

/// What TLS is done with.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn valid(params: &mut CertificateParams, life: Life) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or_default());
    params.not_before = epoch + seconds(life.issued).saturating_sub(SKEW);
    params.not_after = epoch + seconds(life.expires);
}

fn authority(name: &str, life: Life) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut params, life);
    Ok(params)
}

fn leaf(names: &[String], life: Life) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "eci-operator webhook");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    valid(&mut params, life);
    Ok(params)
}

/// A certificate with its key, as the server uses it.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) life: Life,
    /// Who signed it.
    pub(super) signer: String,
}

/// A certificate and key from files, as PEM.
pub(super) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, CertificateError> {
    let file = |file: &str, why: &str| CertificateError::File { file: file.to_owned(), why: why.to_owned() };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| file("tls.crt", "there is no certificate that can be read"))?;
    if chain.is_empty() {
        return Err(file("tls.crt", "there is no certificate"));
    }
    // The error could quote the key.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| file("tls.key", "there is no private key that can be read"))?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

/// Gives each new connection the certificate of the moment. Connections that exist go on.
#[derive(Debug, Default)]
pub(super) struct Wardrobe(RwLock<Option<Arc<CertifiedKey>>>);

impl Wardrobe {
    /// From now on this one.
    pub(super) fn wear(&self, key: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }
}

impl ResolvesServerCert for Wardrobe {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    const LIFE: Duration = Duration::from_secs(1_000);

    fn names() -> Vec<String> {
        vec!["eci-operator-webhook.eci-system.svc".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn what_was_written_is_read_and_signs_for_every_name() {
        let written = Authorities::first(at(0), LIFE).unwrap().write();
        let read = Authorities::read(&written).unwrap();
        let leaf = read.sign(&names(), at(10)).unwrap();
        assert_eq!((leaf.life.expires, Some(leaf.signer.as_str())), (at(210), read.signer()));
        read.sign(&["127.0.0.1".to_owned()], at(10)).unwrap();
        read.sign(&["::1".to_owned()], at(10)).unwrap();
        let shown = format!("{read:?}");
        assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    }

    #[test]
    fn every_installation_has_an_authority_of_its_own() {
        let [one, other] = [(); 2].map(|()| Authorities::first(at(0), LIFE).unwrap());
        assert_ne!(one.signer(), other.signer());
        let (one, other) = (one.write(), other.write());
        for (key, value) in &one {
            assert_ne!(Some(value), other.get(key), "{key}");
        }
    }

    #[test]
    fn through_a_rotation_each_certificate_is_trusted_by_the_bundle_of_its_time() {
        let first = Authorities::first(at(0), LIFE).unwrap();
        let old = first.signer().unwrap().to_owned();
        let both = first.introduce(at(600), LIFE).unwrap();
        assert_eq!(both.bundle().matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(both.sign(&names(), at(610)).unwrap().signer, old);
        let promoted = Authorities::read(&both.promote().write()).unwrap();
        let new = promoted.sign(&names(), at(700)).unwrap();
        assert_ne!(new.signer, old);
        assert_eq!(promoted.bundle().matches("BEGIN CERTIFICATE").count(), 2);
        let kept = String::from_utf8(promoted.write()[AUTHORITIES_KEY].0.clone()).unwrap();
        assert_eq!(kept.matches("PRIVATE KEY").count(), 2, "one key, its begin and its end: {}", kept.len());
        let alone = promoted.retire();
        assert_eq!(alone.bundle().matches("BEGIN CERTIFICATE").count(), 1);
        alone.sign(&names(), at(900)).unwrap();
    }

    #[test]
    fn a_secret_that_somebody_changed_is_broken_and_its_words_are_not_quoted() {
        let good = Authorities::first(at(0), LIFE).unwrap().write();
        let other = Authorities::first(at(0), LIFE).unwrap();
        let swapped = {
            let text = String::from_utf8(good[AUTHORITIES_KEY].0.clone()).unwrap();
            let mut all: serde_json::Value = serde_json::from_str(&text).unwrap();
            all[0]["certificate"] = json!(other.bundle());
            all.to_string()
        };
        for (text, readable) in [
            (None, false),
            (Some("hunter2".to_owned()), false),
            (Some("[]".to_owned()), false),
            (Some(r#"[{"key":"hunter2"}]"#.to_owned()), false),
            (Some(swapped), true),
        ] {
            let data = text.map(|text| (AUTHORITIES_KEY.to_owned(), ByteString(text.into_bytes())));
            let read = Authorities::read(&data.into_iter().collect());
            assert_eq!(read.is_ok(), readable, "{read:?}");
            let error = match read {
                Ok(read) => read.sign(&names(), at(1)).unwrap_err(),
                Err(error) => error,
            };
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn files_of_others_are_read_and_broken_ones_told_apart() {
        let key = KeyPair::generate().unwrap();
        let made = leaf(&names(), Life::begin(at(0), LIFE)).unwrap().self_signed(&key).unwrap();
        let (pem, key) = (made.pem(), key.serialize_pem());
        from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
        let other = KeyPair::generate().unwrap().serialize_pem();
        assert!(from_pem(pem.as_bytes(), other.as_bytes()).is_err());
        assert!(from_pem(b"", key.as_bytes()).unwrap_err().to_string().starts_with("tls.crt: "));
        assert!(from_pem(pem.as_bytes(), b"hunter2").unwrap_err().to_string().starts_with("tls.key: "));
    }
}
