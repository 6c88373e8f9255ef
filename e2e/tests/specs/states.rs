//! Every state that is declared, with what leads into it and what leads out.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eci_api::REQUESTED_AT;
use eci_sim::faults::Fault;
use eci_sim::world::call::{Call, Change};
use eci_sim::world::settings::{Lag, SnapshotDeleted};
use serde_json::{Value, json};

use crate::world::{Shown, World};

/// A usable object whose cloud has what a single cause needs.
async fn well(name: &str, spec: &Value) -> Result<World> {
    let mut world = World::new();
    world.create(name, spec)?;
    world.until_well(name).await?;
    Ok(world)
}

fn spec(more: &Value) -> Value {
    let mut spec = json!({ "images": ["registry.example.com/shop/web:1"] });
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    spec
}

fn settings(world: &World, change: impl FnOnce(&mut eci_sim::Settings)) {
    world.sim.with_world(|world, _| change(&mut world.settings));
}

/// Checks that the condition with this reason has all of these words.
fn words(world: &World, name: &str, reason: &str, words: &[&str]) -> Result<()> {
    let status = world.object(name)?.status.clone().context("a status")?;
    let said = status.conditions.iter().find(|c| c.reason == reason).context("the reason")?;
    for word in words {
        ensure!(said.message.contains(word), "{word:?} is not in {:?}", said.message);
    }
    Ok(())
}

/// Runs everything and says what it showed.
pub(crate) async fn all() -> Result<Shown> {
    let mut shown = Shown::default();
    for (code, reason) in REFUSALS {
        for action in ["CreateImageCache", "DescribeImageCaches", "UpdateImageCache", "DeleteImageCache"] {
            let told = refused(action, code, reason).await;
            shown.add(told.with_context(|| format!("{action} is refused with {code}"))?);
        }
    }
    macro_rules! run {
        ($($name:ident),+ $(,)?) => { $(shown.add($name().await.context(stringify!($name))?);)+ };
    }
    run!(
        lost_answers,
        edited,
        build_fails_once_and_for_good,
        vanishes,
        expires,
        is_eliminated,
        is_deleted,
        is_released,
        is_suspended,
        spec_is_invalid,
        network_is_missing,
        secret_is_missing_then_broken,
        credentials_are_missing,
        moves_to_another_region_and_back,
        the_view_of_the_cloud_is_suspect,
        an_update_by_hand_fails,
        loses_its_snapshot,
        needs_a_privileged_namespace,
        is_adopted,
        is_adopted_by_two,
    );
    Ok(shown)
}

/// The vendor's codes and the reasons that they end in.
const REFUSALS: [(&str, &str); 13] = [
    ("InvalidAccessKeyId.Inactive", "CredentialsRejected"),
    ("Forbidden.RAM", "PermissionDenied"),
    ("InvalidTimeStamp.Expired", "ClockSkew"),
    ("QuotaExceeded", "QuotaExceeded"),
    ("OperationDenied.NoStock", "NoStock"),
    ("InvalidVSwitchId.IpNotEnough", "VSwitchFull"),
    ("Account.Arrearage", "Arrears"),
    ("ServiceNotEnabled", "AccountRestricted"),
    ("Throttling.User", "Throttled"),
    ("ServiceUnavailable", "CloudUnavailable"),
    ("OperationConflict", "CloudBusy"),
    ("InvalidParameter.Made.Up", "CloudRefused"),
    ("QuotaExceeded", "QuotaExceeded"),
];

/// An action that is always refused with this code ends in this reason, and in a usable object, or none, when it is
/// refused no more.
async fn refused(action: &str, code: &str, reason: &str) -> Result<Shown> {
    let fault = || Fault::refused(code).on(action);
    let mut world = World::new();
    match action {
        "CreateImageCache" | "DescribeImageCaches" => {
            world.sim.add_fault(fault());
            world.create("a", &spec(&json!({})))?;
        }
        "UpdateImageCache" => {
            world = well("a", &spec(&json!({}))).await?;
            world.sim.add_fault(fault());
            world.edit("a", &spec(&json!({ "retentionDays": 7 })))?;
        }
        _ => {
            world = well("a", &spec(&json!({}))).await?;
            world.sim.add_fault(fault());
            world.delete("a")?;
        }
    }
    // Nobody knows what became of a create call that got no answer.
    let unresolved = action == "CreateImageCache" && reason == "CloudUnavailable";
    world.until_says("a", if unresolved { "Resolving" } else { reason }).await?;
    world.sim.clear_faults();
    if action == "DeleteImageCache" {
        world.until("it is gone", |world| !world.exists("a")).await?;
        ensure!(world.living("a").is_empty(), "the cloud still has it");
        world.create("a", &spec(&json!({})))?;
    }
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn lost_answers() -> Result<Shown> {
    let mut shown = Shown::default();
    for fault in [Fault::lost_after(), Fault::lost_before(), Fault::delayed(15_000)] {
        let mut world = World::new();
        world.sim.add_fault(fault.on("CreateImageCache").times(1));
        world.create("a", &spec(&json!({})))?;
        world.until_says("a", "Resolving").await?;
        words(&world, "a", "Resolving", &["looks for its resource"])?;
        world.until_well("a").await?;
        shown.add(world.shown);
    }
    Ok(shown)
}

async fn edited() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({}))).await?;
    world.edit("a", &spec(&json!({ "images": ["registry.example.com/shop/web:2"] })))?;
    world.until_says("a", "Replacing").await?;
    world.until_well("a").await?;
    world.edit("a", &spec(&json!({ "images": ["registry.example.com/shop/web:2"], "retentionDays": 9 })))?;
    world.until_says("a", "UpdateInProgress").await?;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn build_fails_once_and_for_good() -> Result<Shown> {
    let bad = spec(&json!({ "images": ["registry.example.com/shop/nonexistent:1"] }));
    let mut world = World::new();
    world.create("a", &bad)?;
    world.until_says("a", "BuildFailed").await?;
    world.until_says("a", "BuildFailedPermanently").await?;
    words(&world, "a", "BuildFailedPermanently", &["manifest unknown", "eci-operator.io/requested-at"])?;
    ensure!(world.living("a").len() <= 1, "failed builds are left behind");
    world.edit("a", &spec(&json!({})))?;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn vanishes() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({}))).await?;
    let id = world.living("a").first().context("a cache")?.id.clone();
    world.sim.with_world(|world, now| world.vanish(now, &id));
    world.until_says("a", "Vanished").await?;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn expires() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({ "retentionDays": 1 }))).await?;
    world.sim.clock().advance(Duration::from_hours(25));
    world.until_says("a", "Expired").await?;
    world.annotate("a", REQUESTED_AT, "again")?;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn is_eliminated() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({ "eliminationStrategy": "LRU" }))).await?;
    settings(&world, |settings| settings.max_image_caches = 1);
    world.create("b", &spec(&json!({})))?;
    world.until_well("b").await?;
    world.until_says("a", "Eliminated").await?;
    settings(&world, |settings| settings.max_image_caches = 500);
    world.annotate("a", REQUESTED_AT, "again")?;
    world.until_well("a").await?;
    Ok(world.shown)
}

/// The cloud goes on showing it for a while.
async fn is_deleted() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({}))).await?;
    settings(&world, |settings| settings.lookup_lag = Lag::fixed(20_000));
    world.delete("a")?;
    world.until_says("a", "Deleting").await?;
    world.until("it is gone", |world| !world.exists("a")).await?;
    let mut shown = world.shown.clone();
    world.create("a", &spec(&json!({})))?;
    world.until_well("a").await?;
    shown.healed.insert("Deleting".into());
    shown.add(world.shown);
    Ok(shown)
}

/// Nobody knows yet what became of its create call.
async fn is_released() -> Result<Shown> {
    let retained = spec(&json!({ "deletionPolicy": "Retain" }));
    let mut world = World::new();
    world.sim.add_fault(Fault::lost_before().on("CreateImageCache").times(1));
    world.create("a", &retained)?;
    world.until_says("a", "Resolving").await?;
    world.delete("a")?;
    world.until_says("a", "Releasing").await?;
    world.until("it is gone", |world| !world.exists("a")).await?;
    let mut shown = world.shown.clone();
    shown.healed.insert("Releasing".into());
    world.create("a", &retained)?;
    world.until_well("a").await?;
    shown.add(world.shown);
    Ok(shown)
}

async fn is_suspended() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({}))).await?;
    world.edit("a", &spec(&json!({ "suspend": true })))?;
    world.until_says("a", "Suspended").await?;
    world.edit("a", &spec(&json!({})))?;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn spec_is_invalid() -> Result<Shown> {
    let twice = json!({ "images": ["nginx:1", "docker.io/library/nginx:1"] });
    let mut world = World::new();
    world.create("a", &twice)?;
    world.until_says("a", "InvalidSpec").await?;
    world.edit("a", &spec(&json!({})))?;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn network_is_missing() -> Result<Shown> {
    let mut world = World::new();
    world.defaults.v_switch_ids.clear();
    world.create("a", &spec(&json!({})))?;
    world.until_says("a", "NetworkMissing").await?;
    words(&world, "a", "NetworkMissing", &["spec.network.vSwitchIDs"])?;
    world.edit("a", &spec(&json!({ "network": { "vSwitchIDs": ["vsw-own"] } })))?;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn secret_is_missing_then_broken() -> Result<Shown> {
    let mut world = World::new();
    let private =
        json!({ "images": ["private.example.com/web:1"], "imagePullSecrets": [{ "name": "login" }] });
    world.create("a", &private)?;
    world.until_says("a", "SecretNotFound").await?;
    world.store_secret("login", "{");
    world.until_says("a", "SecretInvalid").await?;
    let login = json!({ "auths": { "private.example.com": { "username": "robot", "password": "made-up-password" } } });
    world.store_secret("login", &login.to_string());
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn credentials_are_missing() -> Result<Shown> {
    let mut world = World::new();
    world.credentials = false;
    world.create("a", &spec(&json!({})))?;
    world.until_says("a", "CredentialsMissing").await?;
    world.credentials = true;
    world.until_well("a").await?;
    Ok(world.shown)
}

async fn moves_to_another_region_and_back() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({}))).await?;
    let home = std::mem::replace(&mut world.region, "cn-elsewhere".into());
    world.until_says("a", "RegionChanged").await?;
    words(&world, "a", "RegionChanged", &["cn-hangzhou", "cn-elsewhere", "Run an operator for"])?;
    world.region = home;
    world.until_well("a").await?;
    Ok(world.shown)
}

/// The cloud shows none of eight caches for a while, neither in lists nor by ID.
async fn the_view_of_the_cloud_is_suspect() -> Result<Shown> {
    let mut world = World::new();
    let names: Vec<_> = (0..8).map(|n| format!("a{n}")).collect();
    for name in &names {
        world.create(name, &spec(&json!({})))?;
    }
    for name in &names {
        world.until_well(name).await?;
    }
    let long_ago = Fault { lag_ms: 86_400_000, ..Fault::default() };
    world.sim.add_fault(long_ago.on("DescribeImageCaches"));
    for name in &names {
        world.until_says(name, "CloudViewSuspect").await?;
        words(&world, name, "CloudViewSuspect", &["rebuilds nothing"])?;
    }
    world.for_a_while(Duration::from_hours(1)).await?;
    world.sim.clear_faults();
    for name in &names {
        world.until_well(name).await?;
    }
    let made = world.sim.with_world(|world, _| world.ledger().len());
    ensure!(made == names.len(), "{made} effects in the cloud for {} objects", names.len());
    Ok(world.shown)
}

/// Somebody changes the images in the console, to some that cannot be pulled.
async fn an_update_by_hand_fails() -> Result<Shown> {
    let mut world = well("a", &spec(&json!({}))).await?;
    let id = world.living("a").first().context("a cache")?.id.clone();
    let images = Some(vec!["registry.example.com/shop/nonexistent:1".to_owned()]);
    let change = Box::new(Change { images, ..Change::default() });
    let call = Call::UpdateImageCache { id: id.clone(), token: None, change };
    world
        .sim
        .with_world(|world, now| world.call(now, &call))
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let shows = |word: &'static str| {
        move |world: &World| {
            let status = world.object("a").ok().and_then(|object| object.status.clone());
            status.and_then(|status| status.cloud_status).as_deref() == Some(word)
        }
    };
    world.until("it shows Updating", shows("Updating")).await?;
    world.until("it shows UpdateFailed", shows("UpdateFailed")).await?;
    world.until_well("a").await?;
    ensure!(world.living("a")[0].id != id, "it is not replaced");
    Ok(world.shown)
}

/// Somebody deletes the snapshot. What the cloud shows then is documented nowhere.
async fn loses_its_snapshot() -> Result<Shown> {
    let mut shown = Shown::default();
    for rule in [SnapshotDeleted::TurnsFailed, SnapshotDeleted::LosesId] {
        let mut world = well("a", &spec(&json!({}))).await?;
        settings(&world, |settings| settings.snapshot_deleted = rule);
        let before = world.living("a").first().context("a cache")?.clone();
        let snapshot = before.snapshot_id.context("a snapshot")?;
        ensure!(world.sim.with_world(|world, now| world.delete_snapshot(now, &snapshot)));
        world.until_says("a", "Broken").await?;
        world.until_well("a").await?;
        ensure!(world.living("a")[0].id != before.id, "{rule:?}: it is not replaced");
        shown.add(world.shown);
    }
    Ok(shown)
}

async fn needs_a_privileged_namespace() -> Result<Shown> {
    let instances = json!([{ "id": "cri-example", "serviceRoleARN": "acs:ram::123456789012:role/pull" }]);
    let mut world = World::new();
    world.privileged = false;
    world.create("a", &spec(&json!({ "acrInstances": instances })))?;
    world.until_says("a", "NamespaceNotPrivileged").await?;
    ensure!(world.living("a").is_empty(), "it was built");
    world.privileged = true;
    world.until_well("a").await?;
    Ok(world.shown)
}

/// A cache that outlived its object, by way of every reason not to take it over.
async fn retained() -> Result<(World, String)> {
    let mut world = well("old", &spec(&json!({ "deletionPolicy": "Retain" }))).await?;
    let id = world.living("old").first().context("a cache")?.id.clone();
    world.delete("old")?;
    world.until("it is gone", |world| !world.exists("old")).await?;
    Ok((world, id))
}

async fn is_adopted() -> Result<Shown> {
    let (mut world, id) = retained().await?;
    let adopting = |id: &str, more: &Value| {
        let mut spec = spec(&json!({ "deletionPolicy": "Delete", "adopt": { "imageCacheID": id } }));
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        spec
    };
    world.create("a", &adopting(&id, &json!({ "size": "77Gi" })))?;
    world.until_says("a", "AdoptionMismatch").await?;
    world.edit("a", &adopting("imc-none", &json!({})))?;
    world.until_says("a", "AdoptionNotFound").await?;
    world.edit("a", &adopting(&id, &json!({})))?;
    world.until_says("a", "Available").await?;
    let status = world.object("a")?.status.clone().context("a status")?;
    ensure!(status.image_cache_id.as_deref() == Some(id.as_str()), "{status:?}");
    // The cache still has the name that it was made with.
    let living = world.living("old");
    ensure!(living.len() == 1 && world.living("a").is_empty(), "something was built");
    ensure!(!living[0].tags.contains_key("eci-operator.io/retained"), "{:?}", living[0].tags);
    let mut shown = world.shown.clone();
    for reason in ["AdoptionMismatch", "AdoptionNotFound", "Adopting"] {
        shown.healed.insert(reason.into());
    }
    world.delete("a")?;
    world.until("it is gone", |world| !world.exists("a")).await?;
    ensure!(world.living("old").is_empty(), "the policy was Delete");
    Ok(shown)
}

async fn is_adopted_by_two() -> Result<Shown> {
    let (mut world, id) = retained().await?;
    let both = spec(&json!({ "deletionPolicy": "Retain", "adopt": { "imageCacheID": id } }));
    world.create("a", &both)?;
    world.create("b", &both)?;
    world.until_says("a", "Available").await?;
    world.until_says("b", "AdoptionConflict").await?;
    world.delete("a")?;
    world.until("it is gone", |world| !world.exists("a")).await?;
    ensure!(world.living("old").len() == 1, "it was deleted");
    world.until_says("b", "Available").await?;
    let mut shown = world.shown.clone();
    shown.healed.insert("AdoptionConflict".into());
    Ok(shown)
}
