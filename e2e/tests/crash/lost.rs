//! While the operator is away, what it knew and what it worked for is taken away.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::image_cache::ImageCache;
use eci_e2e::eventually::eventually;
use eci_e2e::stack::{Caches, Stack, StackOptions};
use eci_sim::faults::{Effect, Fault, Seen};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_secs(30);
/// How long something may take that waits for a window of looking.
const WINDOW: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_is_lost_while_the_operator_is_away_is_found_again() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let (kept, doomed) = (stack.namespace("kept").await?, stack.namespace("doomed").await?);
    for name in ["wiped", "mistaken", "again"] {
        kept.create(name, json!({ "images": [format!("registry.example.com/shop/{name}:1")] })).await?;
    }
    with_login(&stack, &doomed, "ready").await?;
    for name in ["wiped", "mistaken", "again"] {
        kept.says(name, "True", "Available", SOON).await?;
    }
    doomed.says("ready", "True", "Available", SOON).await?;
    let unanswered =
        Fault { effect: Some(Effect::Later(2_000)), answer: Seen::Silence(60_000), ..Fault::default() };
    stack.cloud().add_fault(&unanswered.on("CreateImageCache").times(1)).await?;
    with_login(&stack, &doomed, "unresolved").await?;
    eventually("a create call is under way", SOON, || async {
        let calls = stack.cloud().calls().await.map_err(|error| error.to_string())?;
        let answers = calls.counts.get("CreateImageCache").cloned().unwrap_or_default();
        if answers.contains_key("silence") { Ok(()) } else { Err("it has not come".to_owned()) }
    })
    .await?;
    stack.kill_operator().await?;

    // A backup without statuses, one that gave an object the status of another, an object that was made anew from a
    // manifest, and a namespace that goes with its secret while a call of its object has no answer.
    let foreign = kept.get("wiped").await?.status;
    let nothing = Patch::Merge(json!({ "status": Value::Null }));
    kept.api().patch_status("wiped", &PatchParams::default(), &nothing).await?;
    let mistaken = ImageCache { status: foreign, ..kept.get("mistaken").await? };
    kept.api().replace_status("mistaken", &PostParams::default(), &mistaken).await?;
    made_anew(&kept, "again").await?;
    let namespaces: Api<Namespace> = Api::all(stack.client()?);
    namespaces.delete("doomed", &DeleteParams::default()).await?;

    stack.start_operator().await?;
    for name in ["wiped", "mistaken", "again"] {
        kept.says(name, "True", "Available", WINDOW).await?;
        let (made, alive) = (stack.billed("kept", name).await?, stack.living("kept", name).await?);
        ensure!(made.len() == 1 && alive.len() == 1, "{name}: {} made, {} alive", made.len(), alive.len());
        let owner = alive[0].tags.get("eci-operator.io/uid").cloned();
        ensure!(owner == kept.get(name).await?.uid(), "{name}: the cache is tagged with {owner:?}");
    }
    eventually("the namespace is gone", WINDOW, || async {
        match namespaces.get_opt("doomed").await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is there".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    for name in ["ready", "unresolved"] {
        ensure!(stack.living("doomed", name).await?.is_empty(), "{name} was left behind");
        ensure!(stack.billed("doomed", name).await?.len() == 1, "{name} was made again");
    }
    ensure!(stack.forbidden()?.is_empty(), "{:?}", stack.forbidden()?);
    another_cluster_id(&mut stack).await
}

/// An older status names an older cache. What was made since is hidden by lists that lag, and the object goes at once: that
/// somebody else wrote its status is all that tells of it.
#[tokio::test]
async fn a_restored_status_leaves_nothing_behind_when_its_object_is_deleted() -> Result<()> {
    let mut stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("restored").await?;
    caches.create("web", json!({ "images": ["registry.example.com/shop/web:1"] })).await?;
    caches.says("web", "True", "Available", SOON).await?;
    let before = caches.get("web").await?.status;
    ensure!(before.as_ref().is_some_and(|status| status.lost_time.is_none()), "{before:?}");
    // Almost as long as the window of looking.
    let lag = json!({ "minMs": 10_000, "maxMs": 10_000 });
    stack.cloud().settings(json!({ "listLag": lag })).await?;
    caches.patch("web", json!({ "spec": { "images": ["registry.example.com/shop/web:2"] } })).await?;
    eventually("a second cache is made", SOON, || async {
        let made = stack.billed("restored", "web").await.map_err(|error| error.to_string())?;
        if made.len() == 2 { Ok(()) } else { Err(format!("{} made", made.len())) }
    })
    .await?;
    stack.kill_operator().await?;
    let restored = ImageCache { status: before, ..caches.get("web").await? };
    caches.api().replace_status("web", &PostParams::default(), &restored).await?;
    caches.delete("web").await?;

    stack.start_operator().await?;
    eventually("the operator knows that it was not the last to write", SOON, || async {
        let status = caches.get("web").await.map_err(|error| error.to_string())?.status;
        if status.is_some_and(|status| status.lost_time.is_some()) { Ok(()) } else { Err("it does not") }
            .map_err(str::to_owned)
    })
    .await?;
    caches.is_gone("web", WINDOW).await?;
    let alive = stack.living("restored", "web").await?;
    ensure!(alive.is_empty(), "left behind: {alive:?}");
    Ok(())
}

/// An object that needs a secret of its namespace.
async fn with_login(stack: &Stack, caches: &Caches, name: &str) -> Result<()> {
    let config = r#"{"auths":{"private.example.com":{"username":"robot","password":"made-up-password"}}}"#;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "login", "namespace": caches.namespace() },
        "stringData": { ".dockerconfigjson": config },
    });
    stack.plane().kubectl_stdin(["apply", "-f", "-"], &secret.to_string()).await?.ok()?;
    let image = format!("private.example.com/{name}:1");
    caches.create(name, json!({ "images": [image], "imagePullSecrets": [{ "name": "login" }] })).await?;
    Ok(())
}

/// The object goes without its finalizer, and comes back under its name with the status of the one before.
async fn made_anew(caches: &Caches, name: &str) -> Result<()> {
    let before = caches.get(name).await?;
    caches.patch(name, json!({ "metadata": { "finalizers": null } })).await?;
    caches.delete(name).await?;
    caches.is_gone(name, SOON).await?;
    let spec = serde_json::to_value(&before.spec)?;
    let mut after = caches.create(name, spec).await?;
    ensure!(after.uid() != before.uid(), "it has the same UID");
    after.status = before.status;
    caches.api().replace_status(name, &PostParams::default(), &after).await?;
    Ok(())
}

/// An operator with another cluster ID would take none of the caches for its own: it does not start, and does nothing.
async fn another_cluster_id(stack: &mut Stack) -> Result<()> {
    ensure!(stack.stop_operator().await?, "it did not end as one that was asked to");
    let before = stack.cloud().ledger().await?;
    stack.add_argument("--cluster-id=another");
    stack.launch_operator().await?;
    let operator = stack.operator().context("the operator was just started")?;
    eventually("the operator ends", SOON, || async {
        match operator.exit_status() {
            Some(status) if !status.success() => Ok(()),
            Some(status) => Err(format!("it ended with {status}")),
            None => Err("it runs".to_owned()),
        }
    })
    .await?;
    let log = operator.log_tail(100);
    ensure!(log.contains("\"another\"") && log.contains("remembers"), "{log}");
    ensure!(stack.cloud().ledger().await? == before, "it changed something in the cloud");
    Ok(())
}
