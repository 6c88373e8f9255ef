//! A cloud that throttles for half an hour, with and without saying for how long.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_sim::faults::{Fault, Seen};
use serde_json::json;

use crate::world::World;

/// How long the cloud throttles.
const MINUTES: u64 = 30;
/// What the cloud asks for, when it does.
const PAUSE_MS: u64 = 45_000;
/// A back-off of 1, 2, 4, … 60 s, moved by a tenth at most, takes so many tries to the first minute and then one every
/// 54 s.
const TRIES: u64 = 7 + MINUTES * 60 / 54;

fn fault(pause_ms: Option<u64>) -> Fault {
    let (code, message) = ("Throttling.User".to_owned(), None);
    Fault {
        answer: Seen::Error { code, status: None, message, retry_after_ms: pause_ms },
        ..Fault::default()
    }
}

fn spec(more: &str) -> serde_json::Value {
    json!({ "images": [format!("registry.example.com/shop/{more}:1")] })
}

/// Every action is throttled: objects that are new, healthy, edited and deleted.
pub(crate) async fn of_everything(pause_ms: Option<u64>) -> Result<()> {
    let mut world = World::new();
    for name in ["healthy", "edited", "replaced", "deleted"] {
        world.create(name, &spec(name))?;
    }
    for name in ["healthy", "edited", "replaced", "deleted"] {
        world.until_well(name).await?;
    }
    let (before, billed) = (world.sim.calls(), world.sim.with_world(|world, _| world.ledger().len()));
    world.sim.add_fault(fault(pause_ms));
    world.create("new", &spec("new"))?;
    world.edit("edited", &json!({ "images": spec("edited")["images"], "retentionDays": 9 }))?;
    world.edit("replaced", &spec("other"))?;
    world.delete("deleted")?;
    for name in ["new", "edited", "replaced", "deleted"] {
        world.until_says(name, "Throttled").await.context(name)?;
    }
    let writes = ["healthy", "new", "edited", "replaced", "deleted"].map(|name| world.writes(name));
    world.for_a_while(Duration::from_mins(MINUTES)).await?;
    for (name, before) in ["healthy", "new", "edited", "replaced", "deleted"].into_iter().zip(writes) {
        let more = world.writes(name)? - before?;
        ensure!(more <= 1, "{name}: {more} writes of a status that says the same all the while");
    }
    for (name, usable) in [("healthy", true), ("edited", true), ("replaced", true), ("new", false)] {
        let status = world.object(name)?.status.clone().context("a status")?;
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").context("Ready")?;
        ensure!((ready.status == "True") == usable, "{name}: Ready is {}", ready.status);
        ensure!(
            !status.conditions.iter().any(|c| c.type_ == "Stalled"),
            "{name} is stalled: it only has to wait"
        );
        let said = status.conditions.iter().find(|c| c.reason == "Throttled");
        ensure!(
            name == "healthy" || said.is_some_and(|c| c.message.contains("slows down")),
            "{name}: {said:?}"
        );
    }
    // The lists are one for all objects. The poller waits for at most half a minute, or as long as it is asked to.
    let after = world.sim.calls();
    for action in ["CreateImageCache", "UpdateImageCache", "DeleteImageCache", "DescribeImageCaches"] {
        let calls = after.of(action) - before.of(action);
        let most = match (action, pause_ms) {
            // The object that is deleted is looked at, too.
            ("DescribeImageCaches", None) => MINUTES * 60 / 27 + 2 * TRIES,
            ("DescribeImageCaches", Some(pause)) => 2 * MINUTES * 60_000 / pause + 12,
            (_, None) => TRIES,
            (_, Some(pause)) => MINUTES * 60_000 / pause + 6,
        };
        ensure!(calls <= most, "{action} was called {calls} times in {MINUTES} minutes, not at most {most}");
    }
    world.sim.clear_faults();
    for name in ["healthy", "new", "edited", "replaced"] {
        world.until_well(name).await.context(name)?;
    }
    world.until("it is gone", |world| !world.exists("deleted")).await?;
    let created = world.sim.with_world(|world, _| {
        world
            .ledger()
            .iter()
            .filter(|e| matches!(e.effect, eci_sim::world::call::Effect::Created { .. }))
            .count()
    });
    ensure!(created == billed + 2, "{created} caches were billed for 5 objects and one change of images");
    Ok(())
}

/// Only create calls are throttled, so that each try is one.
pub(crate) async fn of_creates(pause_ms: Option<u64>) -> Result<()> {
    let mut world = World::new();
    world.sim.add_fault(fault(pause_ms).on("CreateImageCache"));
    let names: Vec<_> = (0..6).map(|n| format!("new-{n}")).collect();
    for name in &names {
        world.create(name, &spec(name))?;
        world.until_says(name, "Throttled").await?;
    }
    world.for_a_while(Duration::from_mins(MINUTES)).await?;
    let calls = world.sim.calls().of("CreateImageCache");
    let most = TRIES * 6 + 12;
    ensure!((12..=most).contains(&calls), "{calls} create calls for 6 objects in {MINUTES} minutes");
    world.sim.clear_faults();
    for name in &names {
        world.until_well(name).await?;
    }
    let billed = world.sim.with_world(|world, _| world.ledger().len());
    ensure!(billed == names.len(), "{billed} caches were billed for {} objects", names.len());
    Ok(())
}

pub(crate) async fn all() -> Result<()> {
    for pause_ms in [None, Some(PAUSE_MS)] {
        of_everything(pause_ms).await.with_context(|| format!("everything, asked to wait {pause_ms:?}"))?;
        of_creates(pause_ms).await.with_context(|| format!("creates, asked to wait {pause_ms:?}"))?;
    }
    Ok(())
}
