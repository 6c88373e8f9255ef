//! What the cloud says of profiles before their pods are there.

use anyhow::{Result, ensure};
use eci_api::eci_profile::EciProfile;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{condition, quiet, says};

#[tokio::test]
async fn vswitches_and_price_limits_are_judged_before_pods_fail_for_them() -> Result<()> {
    let stack = quiet().await;
    let client = stack.client()?;
    let api: Api<EciProfile> = Api::all(client.clone());
    let make = async |name: &str, mut spec: Value| -> Result<()> {
        spec["selector"] = json!({ "podSelector": { "matchLabels": { "app": name } } });
        let profile = json!({
            "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile", "metadata": { "name": name }, "spec": spec,
        });
        api.create(&PostParams::default(), &serde_json::from_value(profile)?).await?;
        Ok(())
    };
    let network = |id: &str| json!({ "network": { "vSwitchIDs": [id] } });
    let limit = |limit: &str| {
        json!({
            "instance": { "candidates": [{ "instanceType": "ecs.c6.xlarge" }] },
            "spot": { "strategy": "SpotWithPriceLimit", "priceLimit": limit },
        })
    };
    make("reaches", network("vsw-example")).await?;
    make("astray", network("vsw-nowhere")).await?;
    make("stingy", limit("0.001")).await?;
    make("lavish", limit("999")).await?;
    for (name, type_, status, reason, words) in [
        ("reaches", "NetworkReady", "True", "VSwitchesUsable", "free addresses"),
        ("astray", "NetworkReady", "False", "VSwitchNotFound", "vsw-nowhere"),
        ("stingy", "PriceLimitSufficient", "False", "PriceLimitUnderMarket", "raise it to at least"),
        ("lavish", "PriceLimitSufficient", "True", "PriceLimitSufficient", "never above"),
    ] {
        let said = says(&client, name, reason, |status| {
            condition(status, type_).is_some_and(|(_, said, _)| said == reason)
        });
        let said = said.await?;
        let (is, _, message) = condition(&said, type_).unwrap();
        ensure!(is == status && message.contains(words), "{name}: {is} {message:?}");
    }
    // An edited profile is asked about anew, and one that asks for nothing says nothing.
    let patch = json!({ "spec": { "network": { "vSwitchIDs": ["vsw-other"] } } });
    api.patch("astray", &PatchParams::default(), &Patch::Merge(patch)).await?;
    let found =
        |status: &_| condition(status, "NetworkReady").is_some_and(|(_, said, _)| said == "VSwitchesUsable");
    says(&client, "astray", "the other vSwitch", found).await?;
    let patch = json!({ "spec": { "network": null } });
    api.patch("reaches", &PatchParams::default(), &Patch::Merge(patch)).await?;
    says(&client, "reaches", "no vSwitch", |status| condition(status, "NetworkReady").is_none()).await?;
    Ok(())
}
