//! The control plane's certificates, made afresh for each one.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::error::Error;

/// The first address of the service range: what `kubernetes.default` resolves to.
const SERVICE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// A certificate authority and the directory in which its files are.
pub(crate) struct Pki {
    dir: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// Makes the authority (`ca.crt`), the API server's certificate (`apiserver.crt`, `.key`) and the keys that sign
    /// and verify service account tokens (`service-account.key`, `.pub`) in `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let mut params = named("eci-testbed-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let pki = Self { dir: dir.to_owned(), ca };
        write_private(&pki.ca_path(), &pki.ca.pem())?;

        let mut server = named("kube-apiserver", None);
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.subject_alt_names =
            vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into()), SanType::IpAddress(SERVICE_IP)];
        for name in ["localhost", "kubernetes.default.svc"] {
            server.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        pki.issue("apiserver", &server)?;
        let tokens = KeyPair::generate()?;
        write_private(&pki.path("service-account.key"), &tokens.serialize_pem())?;
        write_private(&pki.path("service-account.pub"), &tokens.public_key_pem())?;
        Ok(pki)
    }

    /// Issues a client certificate (`<file>.crt`, `.key`) for a user, and a group if given.
    pub(crate) fn client(&self, file: &str, user: &str, group: Option<&str>) -> Result<(), Error> {
        let mut params = named(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(file, &params)
    }

    /// Issues a certificate (`<file>.crt`, `.key`) for a server on 127.0.0.1.
    pub(crate) fn server(&self, file: &str) -> Result<(), Error> {
        let mut params = named(file, None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        self.issue(file, &params)
    }

    /// A file of this authority.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// The authority's certificate.
    pub(crate) fn ca_path(&self) -> PathBuf {
        self.path("ca.crt")
    }

    fn issue(&self, file: &str, params: &CertificateParams) -> Result<(), Error> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.ca)?;
        write_private(&self.path(&format!("{file}.crt")), &certificate.pem())?;
        write_private(&self.path(&format!("{file}.key")), &key.serialize_pem())
    }
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").field("dir", &self.dir).finish_non_exhaustive()
    }
}

fn named(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(Error::io("write", path))
}
