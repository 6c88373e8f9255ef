//! What an object says while it waits for something outside of the cloud.

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::{Stack, StackOptions, condition, message};
use eci_sim::faults::{Fault, Seen};
use futures::future::try_join_all;
use serde_json::json;

use crate::in_use::usable;
use crate::{SOON, WINDOW};

#[tokio::test]
async fn an_object_that_waits_for_its_turn_says_so_and_gets_it() -> Result<()> {
    let options = StackOptions { request_timeout: "10s", resolve_window: "40s", ..StackOptions::default() };
    let stack = Stack::start(options).await?;
    let caches = stack.namespace("queue").await?;
    let slow = Fault { answer: Seen::Silence(3_000), ..Fault::default() };
    stack.cloud().add_fault(&slow.on("CreateImageCache")).await?;
    let names: Vec<_> = (0..8).map(|n| format!("web{n}")).collect();
    let create = |name: &String| {
        let (caches, name) = (caches.clone(), name.clone());
        async move { caches.create(&name, json!({ "images": ["nginx"] })).await }
    };
    try_join_all(names.iter().map(create)).await?;
    let said = eci_e2e::eventually::eventually("somebody waits", SOON, || async {
        let list = caches.api().list(&kube::api::ListParams::default()).await.map_err(|e| e.to_string())?;
        let waiting = list
            .items
            .into_iter()
            .find(|c| condition(c, "Ready") == Some(("False".into(), "Pending".into())));
        waiting.ok_or_else(|| "nobody says Pending".to_owned())
    });
    let said = said.await?;
    ensure!(condition(&said, "Reconciling") == Some(("True".into(), "Pending".into())), "{said:?}");
    ensure!(message(&said, "Ready")?.contains("next as soon as there is room"));
    stack.cloud().clear_faults().await?;
    for name in &names {
        caches.says(name, "True", "Available", WINDOW * 2).await?;
        ensure!(stack.billed("queue", name).await?.len() == 1, "{name} was billed twice");
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_names_the_missing_rule_and_heals() -> Result<()> {
    let stack = Stack::start(StackOptions::default()).await?;
    let caches = stack.namespace("forbidden").await?;
    let config = r#"{"auths":{"private.example.com":{"username":"robot","password":"made-up-password"}}}"#;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": { "name": "login", "namespace": "forbidden" },
        "stringData": { ".dockerconfigjson": config },
    });
    let plane = stack.plane();
    plane.kubectl_stdin(["apply", "-f", "-"], &secret.to_string()).await?.ok()?;
    let role = plane.kubectl(["get", "clusterrole", "eci-operator", "-o", "json"]).await?.ok()?;
    let role: serde_json::Value = serde_json::from_str(&role)?;
    let rules = role["rules"].as_array().context("rules")?;
    let without: Vec<_> = rules.iter().filter(|r| !r["resources"].to_string().contains("secrets")).collect();
    ensure!(without.len() + 1 == rules.len(), "one rule is about secrets");
    let set = async |rules: serde_json::Value| {
        let patch = json!({ "rules": rules }).to_string();
        plane.kubectl(["patch", "clusterrole", "eci-operator", "--type=merge", "-p", &patch]).await?.ok()
    };
    set(json!(without)).await?;
    let spec = json!({ "images": ["private.example.com/a:1"], "imagePullSecrets": [{ "name": "login" }] });
    caches.create("web", spec).await?;
    let told = caches.says("web", "False", "SecretForbidden", SOON).await?;
    ensure!(condition(&told, "Stalled").is_some() && condition(&told, "Reconciling").is_none());
    let sentence = message(&told, "Stalled")?;
    for word in ["forbidden/login", "verb get on secrets in namespace forbidden", "spec.imagePullSecrets"] {
        ensure!(sentence.contains(word), "{word:?} is not in {sentence:?}");
    }
    set(json!(rules)).await?;
    caches.says("web", "True", "Available", WINDOW).await?;
    users_unknown(&stack).await
}

/// Who may not look whether a cache is in use does not delete it, and says which rule is missing.
async fn users_unknown(stack: &Stack) -> Result<()> {
    let caches = stack.namespace("unknown").await?;
    usable(&caches, "web").await?;
    let plane = stack.plane();
    let role = plane.kubectl(["get", "clusterrole", "eci-operator", "-o", "json"]).await?.ok()?;
    let role: serde_json::Value = serde_json::from_str(&role)?;
    let rules = role["rules"].as_array().context("rules")?;
    let without: Vec<_> = rules.iter().filter(|r| !r["resources"].to_string().contains("cronjobs")).collect();
    ensure!(without.len() + 1 == rules.len(), "one rule is about cronjobs");
    let set = async |rules: serde_json::Value| {
        let patch = json!({ "rules": rules }).to_string();
        plane.kubectl(["patch", "clusterrole", "eci-operator", "--type=merge", "-p", &patch]).await?.ok()
    };
    set(json!(without)).await?;
    caches.delete("web").await?;
    let told = caches.until("web", "the deletion waits", SOON, |cache| {
        condition(cache, "DeletionBlocked") == Some(("True".into(), "UsersUnknown".into()))
    });
    let sentence = message(&told.await?, "DeletionBlocked")?;
    for word in ["verb list on", "jobs.batch", "eci-operator.io/force-delete=true"] {
        ensure!(sentence.contains(word), "{word:?} is not in {sentence:?}");
    }
    set(json!(rules)).await?;
    caches.is_gone("web", WINDOW).await
}
