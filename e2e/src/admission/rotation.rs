//! Certificates and their authorities are replaced under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client};
use serde_json::Value;

use super::{PATIENCE, mark, tried};
use crate::eventually::eventually;
use crate::stack::NAMESPACE;

/// How many ask at once.
const ASKERS: usize = 4;

/// What became of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Questions {
    /// Pods that were tried.
    pub asked: usize,
    /// Those of them that came out without their mark: the webhook's answer did not arrive.
    pub lost: usize,
}

/// Tries pods, some at once, until the authority of the webhook's certificates has been replaced by another. The operator
/// is to have a short `caLifetime`, and the pod to be one that a profile selects.
pub async fn under_load(client: &Client, pods: &Api<Pod>, template: &Value) -> Result<Questions> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let bundle = async || -> Result<String> {
        let mut data = secrets.get("eci-operator-webhook").await?.data.context("no data")?;
        Ok(String::from_utf8(data.remove("ca.crt").context("no ca.crt")?.0)?)
    };
    let first = bundle().await?;
    let (done, asked, lost) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let asking = async || {
        while !done.load(Ordering::Relaxed) {
            asked.fetch_add(1, Ordering::Relaxed);
            // Without the webhook's answer the pod is made without its mark.
            if mark(&tried(pods, template).await?).is_none() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        anyhow::Ok(())
    };
    let askers = futures::future::try_join_all((0..ASKERS).map(|_| asking()));
    let rotated = async {
        let seen = eventually("another authority alone", PATIENCE, || async {
            let now = bundle().await.map_err(|error| error.to_string())?;
            let count = now.matches("BEGIN CERTIFICATE").count();
            if count == 1 && now != first { Ok(()) } else { Err(format!("{count} authorities")) }
        })
        .await;
        done.store(true, Ordering::Relaxed);
        seen
    };
    tokio::try_join!(askers, rotated)?;
    Ok(Questions { asked: asked.into_inner(), lost: lost.into_inner() })
}
