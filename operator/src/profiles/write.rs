//! Writes a status, and tells of what it changes.

use std::sync::Arc;

use eci_api::eci_profile::{EciProfile, EciProfileStatus};
use eci_core::profile::status::Told;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::kubernetes::{FIELD_MANAGER, KubeError, call};
use crate::patch;
use crate::report::Reporter;

/// A status to be written.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// Of which profile.
    pub(super) profile: Arc<str>,
    /// The merge patch; refused when the object is not the one that it was made for.
    pub(super) patch: Value,
    /// What people are told when it is written.
    pub(super) told: Vec<Told>,
    /// The generation whose numbers of pods it has, if it has them.
    pub(super) counted: Option<i64>,
    /// What it adds to the pods that were lost.
    pub(super) lost: i64,
    /// What it adds to the pods that were degraded.
    pub(super) degraded: i64,
}

/// How it went.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is written.
    Written(Box<EciProfile>),
    /// The profile changed meanwhile, or is gone: the watch tells.
    Changed,
    /// It failed.
    Failed,
}

/// The patch that makes the status of `profile` say `new`; `None` when it does.
pub(super) fn difference(profile: &EciProfile, new: &EciProfileStatus) -> Option<Value> {
    let json = |status: &EciProfileStatus| serde_json::to_value(status).unwrap_or_default();
    let old = profile.status.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), json);
    let difference = patch::merge(&old, &json(new))?;
    Some(patch::status(&difference, profile.metadata.resource_version.as_deref().unwrap_or_default()))
}

/// Sends it.
pub(super) async fn send(client: &Client, reporter: Option<&Reporter>, write: &Write) -> Outcome {
    let profiles: Api<EciProfile> = Api::all(client.clone());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let target = || format!("EciProfile {}", write.profile);
    let patch = Patch::Merge(&write.patch);
    let sent = profiles.patch_status(&write.profile, &params, &patch);
    match call("write the status of", target, sent).await {
        Ok(Some(profile)) => {
            for Told { warning, reason, message } in &write.told {
                let profile = &write.profile;
                if *warning {
                    tracing::warn!(%profile, reason, "{message}");
                } else {
                    tracing::info!(%profile, reason, "{message}");
                }
            }
            if let Some(reporter) = reporter {
                for word in &write.told {
                    reporter.told(&profile, word).await;
                }
            }
            Outcome::Written(Box::new(profile))
        }
        Ok(None) | Err(KubeError::Conflict { .. }) => Outcome::Changed,
        Err(error) => {
            tracing::warn!(%error, "the status of a profile is not written; trying again");
            Outcome::Failed
        }
    }
}
