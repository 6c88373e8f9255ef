//! Certificates and their authorities are replaced under load, and no question is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::NAMESPACE;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;

use super::{PATIENCE, annotates, mark, marked, namespace, pod, profile, stack, tried};

/// How many ask at once.
const ASKERS: usize = 4;

#[tokio::test]
async fn no_question_is_lost_while_authorities_come_and_go() -> Result<()> {
    let stack = stack(json!({ "webhook": { "caLifetime": "30s" } })).await?;
    let client = stack.client()?;
    let pods = namespace(&client, "rotation", json!({})).await?;
    profile(&client, "rotation", annotates("rotation", "example.com/note", "x")).await?;
    let template = pod("a", "rotation");
    marked(&pods, &template, Some("rotation@1")).await?;
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
            let made = tried(&pods, &template).await?;
            if mark(&made).is_none() {
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
    let (asked, lost) = (asked.into_inner(), lost.into_inner());
    ensure!(lost == 0, "{lost} of {asked} questions were lost");
    println!("{asked} questions through a whole rotation, none lost");
    Ok(())
}
