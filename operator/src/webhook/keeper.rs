//! Keeps certificates fresh: the authorities in their Secret, and this process's own certificate.
//!
//! Every process reads the Secret and signs a certificate for itself. Whoever comes first makes it; afterwards only the
//! process that leads changes it. When is decided by [`eci_core::admission::authorities`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eci_core::admission::authorities::{Step, step};
use eci_core::time::until;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::sync::watch;

use super::certificate::{Authorities, CertificateError, Leaf, Wardrobe, from_pem};
use super::metrics::AdmissionMetrics;
use super::owner::{Owner, owner};
use crate::clock::Clock;
use crate::kubernetes::{FIELD_MANAGER, KubeError, call, with_causes};
use crate::lease::Leadership;

/// The Secret with the authorities, in the operator's namespace.
pub const SECRET: &str = "eci-operator-webhook";
/// Longest that the keeper sleeps: the wall clock may jump.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// How long it waits after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// How often files of others are looked at; a mounted Secret follows its source within a minute or two.
const FILES_EVERY: Duration = Duration::from_secs(10);
/// Largest file, in bytes.
const FILE_SIZE: u64 = 256 * 1024;

/// What keeping certificates needs.
pub(super) struct Keeper {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// The ClusterRole whose end is that of the Secret.
    pub(super) owner: Option<String>,
    /// The names that certificates must have.
    pub(super) names: Vec<String>,
    /// Life of a new authority.
    pub(super) lifetime: Duration,
    pub(super) clock: Clock,
    pub(super) leadership: Leadership,
    pub(super) wardrobe: Arc<Wardrobe>,
    pub(super) metrics: AdmissionMetrics,
    /// What the API server is to trust, as PEM.
    pub(super) bundle: watch::Sender<Option<Arc<str>>>,
    /// What the configurations were last seen to trust.
    pub(super) programmed: watch::Receiver<Option<Arc<str>>>,
    /// Turns true with the first certificate.
    pub(super) dressed: watch::Sender<bool>,
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
}

impl Keeper {
    /// Keeps the Secret and the certificate. It never ends.
    pub(super) async fn run(mut self) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut seen = watch_object(api.clone(), SECRET).default_backoff().boxed();
        let mut secret: Option<Option<Secret>> = None;
        let mut leaf: Option<Leaf> = None;
        let mut trouble: Option<String> = None;
        loop {
            let now = self.clock.now().wall;
            let next = match &secret {
                // Not looked yet: only the watch can say.
                None => Ok(LONGEST_SLEEP),
                Some(found) => self.keep(&api, found.as_ref(), &mut leaf, now).await,
            };
            let sleep = match next {
                Ok(sleep) => {
                    if trouble.take().is_some() {
                        tracing::info!("the webhook has its certificates again");
                    }
                    sleep
                }
                Err(error) => {
                    let error = error.to_string();
                    if trouble.as_ref() != Some(&error) {
                        tracing::warn!(
                            error,
                            "the webhook's certificates cannot be kept fresh; trying again"
                        );
                        trouble = Some(error);
                    }
                    PAUSE
                }
            };
            tokio::select! {
                found = seen.next() => match found {
                    Some(Ok(found)) => secret = Some(found),
                    Some(Err(error)) => {
                        let error = with_causes(&error);
                        tracing::debug!(error, "cannot watch the Secret of the webhook's authorities");
                    }
                    None => return,
                },
                _ = self.programmed.changed() => {}
                () = tokio::time::sleep(sleep.min(LONGEST_SLEEP)) => {}
            }
        }
    }

    /// Does what is due, and says how long nothing else is.
    async fn keep(
        &self,
        api: &Api<Secret>,
        found: Option<&Secret>,
        leaf: &mut Option<Leaf>,
        now: Timestamp,
    ) -> Result<Duration, KeepError> {
        let Some(secret) = found else {
            let first = Authorities::first(now, self.lifetime)?;
            self.create(api, &first).await?;
            // The watch shows it, or the one that another process made.
            return Ok(PAUSE);
        };
        let none = BTreeMap::new();
        let read = Authorities::read(secret.data.as_ref().unwrap_or(&none));
        let read = read.and_then(|authorities| {
            let fresh = leaf.as_ref().is_some_and(|leaf| {
                Some(leaf.signer.as_str()) == authorities.signer() && now < leaf.life.renewal()
            });
            let new = if fresh { None } else { Some(authorities.sign(&self.names, now)?) };
            Ok((authorities, new))
        });
        let (authorities, new) = match read {
            Ok(read) => read,
            Err(error) if self.leadership.holds() => {
                tracing::warn!(%error, "new authorities for the webhook are made in place of the old");
                self.replace(api, secret, &Authorities::first(now, self.lifetime)?).await?;
                return Ok(PAUSE);
            }
            Err(error) => return Err(error.into()),
        };
        let bundle: Arc<str> = authorities.bundle().into();
        self.bundle.send_if_modified(|old| {
            let differs = old.as_ref() != Some(&bundle);
            *old = Some(Arc::clone(&bundle));
            differs
        });
        if let Some(new) = new {
            tracing::info!(signer = new.signer, expires = %new.life.expires, "the webhook has a new certificate");
            self.wardrobe.wear(Arc::clone(&new.key));
            self.metrics.certificate_expires(new.life.expires.as_second());
            *leaf = Some(new);
            self.dressed.send_if_modified(|dressed| !std::mem::replace(dressed, true));
        }
        let renewal = leaf.as_ref().map_or(PAUSE, |leaf| until(leaf.life.renewal(), Duration::ZERO, now));
        if !self.leadership.holds() {
            return Ok(renewal.min(LONGEST_SLEEP));
        }
        let known = self.programmed.borrow().as_ref() == Some(&bundle);
        let changed = match step(&authorities.lives(), known, now) {
            Step::Wait(at) => return Ok(renewal.min(until(at, Duration::ZERO, now))),
            Step::Create => Authorities::first(now, self.lifetime)?,
            Step::Introduce => authorities.introduce(now, self.lifetime)?,
            Step::Promote => authorities.promote(),
            Step::Retire => authorities.retire(),
        };
        self.replace(api, secret, &changed).await?;
        tracing::info!(signer = changed.signer(), "the webhook's authorities have changed");
        Ok(PAUSE)
    }

    async fn create(&self, api: &Api<Secret>, authorities: &Authorities) -> Result<(), KubeError> {
        let owner_references = match owner(&self.client, self.owner.as_ref()).await? {
            Owner::None => None,
            Owner::Found(owner) => Some(vec![owner]),
            Owner::Gone => return Ok(()),
        };
        let metadata = ObjectMeta { name: Some(SECRET.into()), owner_references, ..ObjectMeta::default() };
        let secret = Secret {
            metadata,
            data: Some(authorities.write()),
            type_: Some("Opaque".into()),
            ..Secret::default()
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match call("create", || self.target(), api.create(&params, &secret)).await {
            // Another process was faster.
            Err(KubeError::Conflict { .. }) => Ok(()),
            Ok(None) => Err(KubeError::Failed {
                action: "create",
                target: self.target(),
                message: format!("the namespace {} does not exist", self.namespace),
            }),
            other => other.map(drop),
        }
    }

    /// Writes the authorities in place of those of `old`, unless somebody else has changed it.
    async fn replace(
        &self,
        api: &Api<Secret>,
        old: &Secret,
        authorities: &Authorities,
    ) -> Result<(), KubeError> {
        let secret = Secret { data: Some(authorities.write()), ..old.clone() };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match call("write", || self.target(), api.replace(SECRET, &params, &secret)).await {
            // The watch shows what it is now.
            Ok(_) | Err(KubeError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn target(&self) -> String {
        format!("Secret {}/{SECRET}", self.namespace)
    }
}

/// Certificates that somebody else keeps fresh, in a directory.
pub(super) struct Files {
    pub(super) directory: PathBuf,
    pub(super) wardrobe: Arc<Wardrobe>,
    pub(super) bundle: watch::Sender<Option<Arc<str>>>,
    pub(super) dressed: watch::Sender<bool>,
}

impl Files {
    /// Follows the files. It never ends.
    pub(super) async fn run(self) {
        let mut seen: Option<[Vec<u8>; 3]> = None;
        let mut trouble: Option<String> = None;
        loop {
            match self.read() {
                Ok(files) if seen.as_ref() != Some(&files) => match self.put_on(&files) {
                    Ok(()) => {
                        tracing::info!(directory = %self.directory.display(), "the webhook has a new certificate");
                        (seen, trouble) = (Some(files), None);
                    }
                    Err(error) => self.complain(&mut trouble, &error),
                },
                Ok(_) => trouble = None,
                Err(error) => self.complain(&mut trouble, &error),
            }
            tokio::time::sleep(FILES_EVERY).await;
        }
    }

    fn complain(&self, before: &mut Option<String>, error: &CertificateError) {
        let error = error.to_string();
        if before.as_ref() != Some(&error) {
            let directory = self.directory.display();
            tracing::warn!(%directory, error, "the webhook's certificate cannot be read; trying again");
            *before = Some(error);
        }
    }

    fn read(&self) -> Result<[Vec<u8>; 3], CertificateError> {
        let ca = match file(&self.directory, "ca.crt") {
            Err(CertificateError::File { .. }) if !self.directory.join("ca.crt").exists() => Vec::new(),
            other => other?,
        };
        Ok([file(&self.directory, "tls.crt")?, file(&self.directory, "tls.key")?, ca])
    }

    fn put_on(&self, [certificate, key, ca]: &[Vec<u8>; 3]) -> Result<(), CertificateError> {
        let key = from_pem(certificate, key)?;
        let ca = std::str::from_utf8(ca).map_err(|_| CertificateError::File {
            file: "ca.crt".to_owned(),
            why: "it is no PEM".to_owned(),
        })?;
        // The API server first: what it does not know yet must not be used. It takes a moment, as the file does.
        self.bundle.send_replace(Some(ca.into()));
        self.wardrobe.wear(key);
        self.dressed.send_replace(true);
        Ok(())
    }
}

fn file(directory: &Path, name: &str) -> Result<Vec<u8>, CertificateError> {
    let path = directory.join(name);
    let error = |why: String| CertificateError::File { file: path.display().to_string(), why };
    let size = std::fs::metadata(&path).map_err(|e| error(e.to_string()))?.len();
    if size > FILE_SIZE {
        return Err(error(format!("it has {size} bytes, more than {FILE_SIZE}")));
    }
    std::fs::read(&path).map_err(|e| error(e.to_string()))
}
