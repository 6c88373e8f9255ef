//! The API server's pods and `decide` agree, on many pods, with and without a hostile vendor's webhook.

use anyhow::{Result, ensure};
use eci_e2e::admission::agreement::Agreement;
use eci_e2e::vendor::{Behaviour, Vendor};

use super::shared;

/// Of all pods one in so many is tried; no way of making a part of them is left out.
const STEP: usize = 5;

#[tokio::test]
async fn pods_come_out_as_decide_says_also_beside_a_hostile_vendor() -> Result<()> {
    let stack = shared().await;
    let agreement = Agreement::prepare(&stack.client()?).await?;
    let tried = agreement.holds(STEP).await?;
    ensure!(
        tried.changed > tried.pods / 2,
        "only {} of {} pods were changed at all",
        tried.changed,
        tried.pods
    );
    let vendor = Vendor::start(stack.plane(), Behaviour::HOSTILE).await?;
    agreement.holds(STEP).await?;
    drop(vendor);
    println!("{} pods, twice, no difference", tried.pods);
    Ok(())
}
