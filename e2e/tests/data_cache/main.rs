//! A DataCache from nothing to Available to deleted: the real operator with its chart's permissions, a real API server,
//! the simulated cloud over HTTP with real signatures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod endings;
mod in_use;
mod life;
mod mount;
mod place;

use std::time::Duration;

use anyhow::Result;
use eci_e2e::stack::{Stack, StackOptions};
use eci_e2e::testbed::StartOptions;
use eci_sim::world::call::{Effect, LedgerEntry};
use eci_sim::world::data_cache::DataView;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long something may take that is a matter of seconds.
const SOON: Duration = Duration::from_mins(1);
/// How long something may take that is looked at once a minute, or waits for a window of looking.
const LATER: Duration = Duration::from_mins(3);

/// One stack for all tests that neither kill the operator nor script faults of every call.
async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_init(|| async {
            // With a scheduler and nodes on which pods run.
            let options = StackOptions { plane: StartOptions::default(), ..StackOptions::default() };
            Stack::start(options).await.expect("the stack starts")
        })
        .await
}

/// Writes an object.
async fn apply(stack: &Stack, object: &Value) -> Result<()> {
    stack.plane().kubectl_stdin(["apply", "-f", "-"], &object.to_string()).await?.ok()?;
    Ok(())
}

/// A spec with a file of a web server.
fn file(path: &str, url: &str) -> Value {
    json!({ "bucket": "models", "path": path, "source": { "type": "URL", "url": { "url": url } } })
}

/// What the cloud has at a path of the bucket `models`.
async fn at(stack: &Stack, path: &str) -> Result<Vec<DataView>> {
    let mut views = stack.cloud().data_caches().await?;
    views.retain(|view| view.bucket == "models" && view.path == path);
    Ok(views)
}

/// What was made and deleted at a path, in order.
async fn story(stack: &Stack, path: &str) -> Result<Vec<&'static str>> {
    let mut ids = Vec::new();
    let mut story = Vec::new();
    for LedgerEntry { id, effect, .. } in stack.cloud().ledger().await? {
        match effect {
            Effect::CreatedData { spec, .. } if spec.path == path => {
                ids.push(id);
                story.push("made");
            }
            Effect::Deleted { .. } if ids.contains(&id) => story.push("deleted"),
            _ => {}
        }
    }
    Ok(story)
}
