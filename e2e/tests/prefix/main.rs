//! The reconcile stopped after every prefix of what it does, and started again as after a crash: on a real API server,
//! for any kind. Triggers are dropped, doubled and late, copies of the object and lists of the cloud are old.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod life;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use eci_core::image_cache::ImageCacheKind;
use eci_e2e::testbed::{ControlPlane, StartOptions};
use futures::StreamExt as _;
use serde_json::{Value, json};

use life::{Chaos, Ended, Life, Stop, Story};

/// Lives at once; the API server is on two cores.
const AT_ONCE: usize = 4;
/// More stops than any life has; a guard against one that never ends.
const MOST_STOPS: usize = 200;

impl Life for ImageCacheKind {
    fn manifest(name: &str) -> Value {
        json!({
            "apiVersion": "eci-operator.io/v1alpha1",
            "kind": "ImageCache",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "images": ["registry.example.com/shop/web:1"] },
        })
    }

    fn edit() -> Value {
        json!({ "spec": { "images": ["registry.example.com/shop/web:2"] } })
    }
}

/// Lives through every stop: one life for each time that a whole life comes by a place.
async fn sweep<K: Life>(plane: &ControlPlane, chaos: Chaos) -> Result<()> {
    let whole =
        Story::<K>::new(plane.client()?, format!("{}-whole", chaos.name()), chaos, None).live().await?;
    ensure!(whole.ended == Ended::Never, "nothing was to stop it");
    let stops: Vec<Stop> =
        whole.places.iter().flat_map(|(place, times)| (0..*times).map(|nth| (place.clone(), nth))).collect();
    ensure!(stops.len() < MOST_STOPS, "a life has {} places to stop", stops.len());
    let client = plane.client()?;
    let lives = futures::stream::iter(stops.iter().enumerate()).map(|(n, stop)| {
        let name = format!("{}-{n}", chaos.name());
        let story = Story::<K>::new(client.clone(), name, chaos, Some(stop.clone()));
        async move { story.live().await.with_context(|| format!("{}: stopped {stop:?}", chaos.name())) }
    });
    let told: Vec<_> = lives.buffer_unordered(AT_ONCE).collect().await;
    let mut places = BTreeMap::new();
    for story in told {
        if let Ended::At(place) = story?.ended {
            *places.entry(place).or_insert(0) += 1;
        }
    }
    println!("{}: {} lives, stopped {places:?}", chaos.name(), stops.len());
    for step in ["AddFinalizer", "Write", "Create", "Status", "Delete", "RemoveFinalizer"] {
        for moment in ["before", "after"] {
            ensure!(
                places.contains_key(&format!("{moment} {step}")),
                "no life was stopped {moment} {step}: {places:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconcile_stopped_anywhere_makes_one_resource_and_leaves_none() -> Result<()> {
    let plane = Arc::new(ControlPlane::start(StartOptions::api_only()).await?);
    let crd = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/imagecaches.yaml");
    plane.kubectl(["apply", "--server-side", "-f", &crd.display().to_string()]).await?.ok()?;
    plane.kubectl(["wait", "--for=condition=Established", "crd/imagecaches.eci-operator.io"]).await?.ok()?;
    Box::pin(sweep::<ImageCacheKind>(&plane, Chaos::None)).await?;
    Box::pin(sweep::<ImageCacheKind>(&plane, Chaos::Everything)).await
}
