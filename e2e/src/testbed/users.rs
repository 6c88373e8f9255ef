//! Users and servers with certificates of the control plane's authority.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use kube::{Client, Config};

use super::components::Components;
use super::control_plane::{ControlPlane, read_config};
use super::error::Error;

/// What a server on 127.0.0.1 needs so that the API server trusts it.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authority's certificate, PEM: a webhook's caBundle.
    pub ca: String,
}

/// Files of users so far: tests beside each other may ask for the same user.
static USERS: AtomicU32 = AtomicU32::new(0);

impl ControlPlane {
    /// Writes a kubeconfig for a user, and a group if given (`system:masters` may do everything), so that the audit
    /// log tells him from others. Each call makes a file and a key of its own.
    pub fn kubeconfig_for_user(&self, user: &str, group: Option<&str>) -> Result<PathBuf, Error> {
        let file: String = user.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let file = format!("user-{file}-{}", USERS.fetch_add(1, Ordering::Relaxed));
        let path = self.pki.path(&format!("{file}.kubeconfig"));
        let components =
            Components { binaries: self.binaries, dir: self.dir(), pki: &self.pki, server: self.server() };
        components.write_kubeconfig(&path, &file, user, group)
    }

    /// How such a user connects. No retries.
    pub async fn config_for_user(&self, user: &str, group: Option<&str>) -> Result<Config, Error> {
        read_config(&self.kubeconfig_for_user(user, group)?).await
    }

    /// A client of [`ControlPlane::config_for_user`], a member of `system:masters`.
    pub async fn client_for_user(&self, user: &str) -> Result<Client, Error> {
        let config = self.config_for_user(user, Some("system:masters")).await?;
        Client::try_from(config).map_err(Error::kube(format!("make a client for {user}")))
    }

    /// A certificate for a server on 127.0.0.1.
    pub fn serving(&self, name: &str) -> Result<Serving, Error> {
        self.pki.server(name)?;
        let ca = self.pki.ca_path();
        Ok(Serving {
            certificate: self.pki.path(&format!("{name}.crt")),
            key: self.pki.path(&format!("{name}.key")),
            ca: fs::read_to_string(&ca).map_err(Error::io("read", &ca))?,
        })
    }
}
