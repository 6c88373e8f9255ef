//! What a decision costs in process.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use eci_core::admission::answer;
use eci_core::profile::decide::{Namespace, World};
use eci_core::profile::{Profile, Profiles};
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::json;

use super::{percentile, template};
use crate::testbed::Stopwatch;

/// How many decisions of each.
const DECISIONS: usize = 5_000;

/// Decisions against so many profiles.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decided {
    pub(super) profiles: usize,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

/// Teams with profiles of their own and one for all: what a large cluster has.
pub(super) fn decisions(count: usize) -> Result<Decided> {
    let profile = |n: usize| -> Result<Profile> {
        let selector = match n % 4 {
            0 => json!({ "namespaceSelector": { "matchLabels": { "team": format!("team-{n}") } } }),
            1 => json!({ "podSelector": { "matchLabels": { "app": format!("app-{n}"), "tier": "batch" } } }),
            2 => json!({ "podSelector": { "matchExpressions": [
                { "key": "app", "operator": "In", "values": [format!("app-{n}"), format!("app-{}", n + 1)] },
                { "key": "stage", "operator": "NotIn", "values": ["test"] }] } }),
            _ => json!({ "namespaceSelector": { "matchLabels": {
                "kubernetes.io/metadata.name": format!("ns-{n}") } },
                "podSelector": { "matchExpressions": [{ "key": "spot", "operator": "Exists" }] } }),
        };
        let mut spec = json!({ "priority": n % 7, "selector": selector });
        spec["spot"] = json!({ "strategy": "SpotAsPriceGo", "release": "Evict" });
        spec["network"] = json!({ "vSwitchIDs": ["vsw-a"] });
        Ok(Profile { name: format!("p{n:04}"), generation: 1, spec: Arc::new(serde_json::from_value(spec)?) })
    };
    let mut all = (0..count).map(profile).collect::<Result<Vec<_>>>()?;
    let base = json!({ "priority": -5, "selector": { "namespaceSelector": { "matchExpressions": [
        { "key": "team", "operator": "Exists" }] } }, "placement": { "policy": "Fair" } });
    all.push(Profile {
        name: "base".to_owned(),
        generation: 1,
        spec: Arc::new(serde_json::from_value(base)?),
    });
    let profiles = Profiles::new(all, "eci-system");
    let world = World::default();
    let mut times = Vec::with_capacity(DECISIONS);
    for n in 0..DECISIONS {
        let team = format!("team-{}", n % count);
        let name = format!("ns-{}", n % count);
        let labels = BTreeMap::from([
            ("kubernetes.io/metadata.name".to_owned(), name.clone()),
            ("team".to_owned(), team),
        ]);
        let mut object = template("p");
        object["metadata"]["labels"] = json!({ "app": format!("app-{}", n % count), "tier": "batch" });
        let pod: Pod = serde_json::from_value(object)?;
        let namespace = Namespace { name: &name, labels: &labels };
        let start = Stopwatch::start();
        let answer = answer::pod(&profiles, &world, namespace, &pod);
        times.push(start.elapsed());
        ensure!(!answer.patch.is_empty(), "the profile for all did not match");
    }
    let us = |percent| percentile(&mut times.clone(), percent).as_secs_f64() * 1e6;
    Ok(Decided { profiles: count, p50_us: us(50), p99_us: us(99) })
}
