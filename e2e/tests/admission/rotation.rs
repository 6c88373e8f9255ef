//! Certificates and their authorities are replaced under load, and no question is lost.

use anyhow::{Result, ensure};
use eci_e2e::admission::rotation::{Questions, under_load};
use serde_json::json;

use super::{annotates, marked, namespace, pod, profile, stack};

#[tokio::test]
async fn no_question_is_lost_while_authorities_come_and_go() -> Result<()> {
    let stack = stack(json!({ "webhook": { "caLifetime": "30s" } })).await?;
    let client = stack.client()?;
    let pods = namespace(&client, "rotation", json!({})).await?;
    profile(&client, "rotation", annotates("rotation", "example.com/note", "x")).await?;
    let template = pod("a", "rotation");
    marked(&pods, &template, Some("rotation@1")).await?;
    let Questions { asked, lost } = under_load(&client, &pods, &template).await?;
    ensure!(lost == 0, "{lost} of {asked} questions were lost");
    println!("{asked} questions through a whole rotation, none lost");
    Ok(())
}
