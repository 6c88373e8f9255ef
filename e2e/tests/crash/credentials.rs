//! The credentials end, again and again.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_aliyun::credentials::temporary::TOO_YOUNG;
use eci_e2e::stack::{DataCaches, Programs, Stack, StackOptions};
use eci_e2e::testbed::ControlPlane;
use eci_sim::world::call::{Effect, LedgerEntry};
use eci_sim::{Digest, RoleSettings};
use serde_json::json;

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_secs(30);
const ROLE: &str = "acs:ram::1234567890123456:role/eci-operator";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa";
/// Fetches of credentials that are waited for.
const FETCHES: u64 = 3;
/// Bound of the objects that are made meanwhile.
const MOST_OBJECTS: usize = 20;

#[tokio::test]
async fn temporary_credentials_and_the_token_behind_them_rotate_and_no_call_is_lost() -> Result<()> {
    let options = StackOptions {
        values: json!({
            "controllers": ["imagecache"],
            "credentials": { "source": "oidc", "rrsa": { "roleARN": ROLE, "oidcProviderARN": PROVIDER } },
        }),
        ..StackOptions::default()
    };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, Programs::beside_this_one()?, &options).await?;
    stack.add_argument(&format!("--sts-endpoint={}", stack.sim_url()));
    rotate(&stack, 0).await?;
    stack.start_operator().await?;
    let caches = stack.namespace("rotation").await?;
    let mut objects = 0;
    while fetches(&stack).await? < FETCHES {
        ensure!(objects < MOST_OBJECTS, "{} fetches after {objects} objects", fetches(&stack).await?);
        rotate(&stack, objects).await?;
        let name = format!("web-{objects}");
        caches
            .create(&name, json!({ "images": [format!("registry.example.com/shop/web:{objects}")] }))
            .await?;
        caches.says(&name, "True", "Available", SOON).await?;
        ensure!(stack.billed("rotation", &name).await?.len() == 1, "{name} was made more than once");
        objects += 1;
    }
    for (action, answers) in &stack.cloud().calls().await?.counts {
        ensure!(answers.keys().all(|answer| answer == "OK"), "{action}: {answers:?}");
    }
    let operator = stack.operator().context("the operator runs")?;
    operator.check_alive().context("all of it was one process")?;
    let log = operator.log_tail(100_000);
    ensure!(log.contains("new temporary credentials") && !log.contains("FAKE"), "{log}");
    Ok(())
}

/// The kubelet writes a new token; the one before is accepted for a moment longer.
async fn rotate(stack: &Stack, nth: usize) -> Result<()> {
    let token = |nth: usize| format!("header.FAKE-{nth}.signature");
    let roles = RoleSettings {
        role_arn: Some(ROLE.into()),
        oidc_provider_arn: Some(PROVIDER.into()),
        oidc_tokens: vec![Digest::of(&token(nth.saturating_sub(1))), Digest::of(&token(nth))],
        life_ms: Some(12_000),
        ..RoleSettings::default()
    };
    stack.cloud().set_roles(&roles).await?;
    let file = stack.oidc_token_file();
    let fresh = file.with_extension("new");
    fs::write(&fresh, token(nth))?;
    Ok(fs::rename(fresh, file)?)
}

async fn fetches(stack: &Stack) -> Result<u64> {
    Ok(stack.cloud().calls().await?.of("AssumeRoleWithOIDC"))
}

#[tokio::test]
async fn a_nodes_role_that_is_revoked_before_its_time_is_fetched_anew_and_no_object_hears_of_it() -> Result<()>
{
    let options = StackOptions {
        values: json!({ "controllers": ["imagecache", "datacache"], "credentials": { "source": "ecs" } }),
        ..StackOptions::default()
    };
    let plane = ControlPlane::start(options.plane.clone()).await?;
    let mut stack = Stack::around(plane, Programs::beside_this_one()?, &options).await?;
    stack.add_argument(&format!("--metadata-endpoint={}", stack.sim_url()));
    stack
        .cloud()
        .set_roles(&RoleSettings { node_role: Some("worker".into()), ..RoleSettings::default() })
        .await?;
    stack.start_operator().await?;
    let caches = stack.namespace("node").await?;
    let data = DataCaches::beside(&caches);
    let mut made = 0;
    for round in 0..3 {
        if round > 0 {
            // A refusal of younger ones is not believed to be theirs.
            tokio::time::sleep(TOO_YOUNG).await;
            stack.cloud().revoke_temporary_keys().await?;
        }
        let (image, url) =
            (format!("registry.example.com/shop/web:{round}"), format!("https://example.com/{round}.tar"));
        let source = json!({ "type": "URL", "url": { "url": url } });
        let name = format!("web-{round}");
        caches.create(&name, json!({ "images": [image] })).await?;
        data.create(&name, json!({ "bucket": "b", "path": format!("/node/{round}"), "source": source }))
            .await?;
        caches.says(&name, "True", "Available", SOON).await?;
        data.says(&name, "True", "Available", SOON).await?;
        made += 2;
    }
    let created =
        |entry: &&LedgerEntry| matches!(entry.effect, Effect::Created { .. } | Effect::CreatedData { .. });
    let ledger = stack.cloud().ledger().await?;
    ensure!(ledger.iter().filter(created).count() == made, "{ledger:?}");
    let operator = stack.operator().context("the operator runs")?;
    operator.check_alive().context("all of it was one process")?;
    let log = operator.log_tail(100_000);
    let fetched = log.matches("new temporary credentials").count();
    ensure!(fetched == 3, "{fetched} fetches:\n{log}");
    ensure!(!log.contains("CredentialsRejected"), "an object heard of it:\n{log}");
    Ok(())
}
