//! Cloud resources that belong to no object are told of, with a way out that works, and are not touched.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Caches, NAMESPACE, Stack, StackOptions};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::dry_run::logged;
use crate::metrics::shows;
use crate::{LATER, SOON};

/// Takes an object away so that the operator never learns of it.
async fn torn_away(caches: &Caches, name: &str) -> Result<()> {
    caches.patch(name, json!({ "metadata": { "finalizers": null } })).await?;
    caches.delete(name).await?;
    caches.is_gone(name, SOON).await
}

#[tokio::test]
async fn what_belongs_to_no_object_is_told_of_and_can_be_taken_over_as_the_log_says() -> Result<()> {
    let values =
        json!({ "timing": { "resolveWindow": "12s", "requestTimeout": "2s", "pollInterval": "5s" } });
    let mut stack = Stack::start(StackOptions { values, ..StackOptions::default() }).await?;
    let caches = stack.namespace("swept").await?;
    for name in ["lost", "kept"] {
        caches.create(name, json!({ "images": ["registry.example.com/shop/web:1"], "size": "25Gi" })).await?;
    }
    caches.says("kept", "True", "Available", SOON).await?;
    let lost = caches.says("lost", "True", "Available", SOON).await?;
    let id = lost.status.and_then(|status| status.image_cache_id).context("it has an ID")?;
    ensure!(stack.stop_operator().await?, "the operator ends when asked to");
    torn_away(&caches, "lost").await?;
    stack.start_operator().await?;

    let kind = [("kind", "image cache")];
    shows(&stack, "eci_operator_orphans", &kind, 0.0).await?;
    shows(&stack, "eci_operator_orphans", &kind, 1.0).await?;
    let delete = format!("aliyun eci DeleteImageCache --RegionId cn-hangzhou --ImageCacheId {id}");
    let line = logged(&stack, &["belongs to no object", &delete, "swept/lost"]).await?;
    let events: Api<Event> = Api::namespaced(stack.client()?, NAMESPACE);
    let note = eventually("an event on the ConfigMap with the cluster's ID", SOON, || async {
        let found = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let about = |event: &Event| {
            event.reason.as_deref() == Some("OrphansFound")
                && event.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some("eci-operator-cluster-id")
        };
        let event = found.items.into_iter().find(about).ok_or_else(|| "no such event".to_owned())?;
        event.note.ok_or_else(|| "an event without a note".to_owned())
    })
    .await?;
    ensure!(note.contains(&id), "{note}");
    ensure!(stack.living("swept", "lost").await?.len() == 1, "the sweeper deletes nothing");

    let manifest = line.split_once("<<<'").and_then(|(_, rest)| rest.split_once('\'')).map(|(text, _)| text);
    let manifest = manifest.context("the line has a manifest")?;
    stack.plane().kubectl_stdin(["apply", "--validate=strict", "-f", "-"], manifest).await?.ok()?;
    let back = caches.says("lost", "True", "Available", LATER).await?;
    ensure!(
        back.status.and_then(|status| status.image_cache_id).as_ref() == Some(&id),
        "it is another cache"
    );
    shows(&stack, "eci_operator_orphans", &kind, 0.0).await?;
    for name in ["lost", "kept"] {
        ensure!(stack.billed("swept", name).await?.len() == 1, "{name} was built again");
    }
    let forbidden = stack.forbidden()?;
    ensure!(forbidden.is_empty(), "{forbidden:?}");
    Ok(())
}
