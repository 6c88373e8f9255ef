//! Who the operator is to the cloud: its access key, its clock, its permissions.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use eci_e2e::stack::{Caches, Stack, StackOptions};
use eci_sim::KeyState;
use eci_sim::faults::{Fault, Seen};

use crate::{LATER, Needs, asked_for, heals, is_still_ready, ready, told};

pub(crate) async fn rows() -> Result<()> {
    let stack = Stack::start(StackOptions { credentials: false, ..StackOptions::default() }).await?;
    let caches = stack.namespace("identity").await?;
    credentials_given(&stack, &caches).await.context("credentials that come after the operator")?;
    ready(&caches, "healthy").await?;
    key_rotated(&stack, &caches).await.context("a key that is disabled and rotated")?;
    clock_corrected(&stack, &caches).await.context("a clock that is wrong and corrected")?;
    permission_granted(&stack, &caches).await.context("a permission that is missing and granted")?;
    let operator = stack.operator().context("the operator runs")?;
    operator.check_alive().context("all of it was one process")?;
    Ok(())
}

/// The operator is ready without credentials, and objects that come and go meanwhile learn why nothing happens.
async fn credentials_given(stack: &Stack, caches: &Caches) -> Result<()> {
    for name in ["early", "short-lived"] {
        asked_for(caches, name).await?;
        let words = ["credentials.existingSecret", "access-key-id", "without a restart"];
        told(caches, name, "CredentialsMissing", Needs::Person, &words).await?;
    }
    caches.delete("short-lived").await?;
    stack.give_credentials()?;
    heals(caches, "early").await?;
    caches.is_gone("short-lived", LATER).await?;
    let billed = stack.billed("identity", "short-lived").await?.len();
    ensure!(
        billed == 0,
        "{billed} caches were billed for an object that was deleted before there were credentials"
    );
    Ok(())
}

/// The mounted secret changes, and the operator goes on without a restart.
async fn key_rotated(stack: &Stack, caches: &Caches) -> Result<()> {
    stack.cloud().set_key_state("FAKE-ACCESS-KEY-ID", KeyState::Inactive).await?;
    asked_for(caches, "locked-out").await?;
    let words = ["access key", "replace it", "InvalidAccessKeyId.Inactive"];
    told(caches, "locked-out", "CredentialsRejected", Needs::Person, &words).await?;
    is_still_ready(caches, "healthy").await?;

    stack.cloud().add_key("FAKE-ROTATED-ID", "FAKE-ROTATED-SECRET", None).await?;
    let dir = stack.plane().dir().join("credentials");
    fs::write(dir.join("access-key-id"), "FAKE-ROTATED-ID")?;
    // The pair is not switched at once, as a mounted secret's is: what is sent meanwhile is refused, and tried again.
    fs::write(dir.join("access-key-secret"), "FAKE-ROTATED-SECRET")?;
    heals(caches, "locked-out").await?;

    let log = stack.operator().context("the operator runs")?.log_tail(100_000);
    ensure!(log.len() > 1_000 && !log.contains("FAKE-ROTATED-SECRET"), "the log has the access key");
    Ok(())
}

async fn clock_corrected(stack: &Stack, caches: &Caches) -> Result<()> {
    // The simulated clock can be wound, but not against signatures.
    stack.cloud().add_fault(&Fault::refused("InvalidTimeStamp.Expired")).await?;
    asked_for(caches, "late").await?;
    let words = ["clock of the operator's node", "15 minutes", "our clock says", "the cloud's"];
    told(caches, "late", "ClockSkew", Needs::Person, &words).await?;
    is_still_ready(caches, "healthy").await?;
    stack.cloud().clear_faults().await?;
    heals(caches, "late").await
}

async fn permission_granted(stack: &Stack, caches: &Caches) -> Result<()> {
    let refused = Fault {
        answer: Seen::Error {
            code: "Forbidden.RAM".into(),
            status: Some(403),
            message: Some("User not authorized to operate on the specified resource.".into()),
            retry_after_ms: None,
        },
        ..Fault::default()
    };
    stack.cloud().add_fault(&refused.on("DescribeImageCaches")).await?;
    asked_for(caches, "unseen").await?;
    let words = ["Grant the operator's RAM identity", "DescribeImageCaches", "Forbidden.RAM"];
    told(caches, "unseen", "PermissionDenied", Needs::Person, &words).await?;
    is_still_ready(caches, "healthy").await?;
    stack.cloud().clear_faults().await?;
    heals(caches, "unseen").await
}
