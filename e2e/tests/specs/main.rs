//! ImageCaches pushed to every edge of their schema and through every state that is declared, and back: nothing panics,
//! no state is a trap, and each object ends usable with one cache in the cloud. On virtual time, without a cluster; the
//! API server judges the same mutations as the schema's own words say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod mutations;
mod states;
mod throttling;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use eci_api::condition::Reason;
use eci_e2e::testbed::{ControlPlane, StartOptions};
use http::Request;
use serde_json::{Value, json};

use mutations::{Claim, Mutation};
use world::{World, declared_states};

/// What ends in another state than usable although the API server takes it, and in which.
const NOT_USABLE: [(&str, &str); 1] = [("suspend: true", "Suspended")];

/// Fields that a usable spec cannot have.
const LEFT_OUT: [&str; 2] = ["acrInstances[].serviceRoleARN", "acrInstances[].userRoleARN"];

/// Reasons that nothing here can reach, with the file and the test that does.
const REACHED_ELSEWHERE: [(&str, &str, &str); 8] = [
    ("Pending", "e2e/tests/image_cache/told.rs", "an_object_that_waits_for_its_turn_says_so_and_gets_it"),
    (
        "SecretForbidden",
        "e2e/tests/image_cache/told.rs",
        "a_secret_that_may_not_be_read_names_the_missing_rule_and_heals",
    ),
    (
        "BucketPathTaken",
        "e2e/tests/data_cache/place.rs",
        "a_place_of_somebody_else_is_named_left_alone_and_built_when_it_is_free",
    ),
    ("InUse", "e2e/tests/image_cache/in_use.rs", "a_cache_that_pods_would_start_from_stays_until_none_would"),
    (
        "UsersUnknown",
        "e2e/tests/image_cache/told.rs",
        "a_secret_that_may_not_be_read_names_the_missing_rule_and_heals",
    ),
    ("Matched", "e2e/tests/image_cache/matched.rs", COUNTED),
    ("NeverMatched", "e2e/tests/image_cache/matched.rs", COUNTED),
    ("PartialOnly", "e2e/tests/image_cache/matched.rs", COUNTED),
];
const COUNTED: &str = "hits_and_misses_are_counted_and_a_cache_that_is_never_matched_says_so";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The schema of a spec, from the CRD that is shipped.
fn schema() -> Result<Value> {
    let crd: Value =
        serde_saphyr::from_str(&fs::read_to_string(repository().join("crds/imagecaches.yaml"))?)?;
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    let mut schema = schema.cloned().context("the CRD has no schema of a spec")?;
    // It is immutable, so that no edit leads there or back; its states are in the table of states.
    schema["properties"]
        .as_object_mut()
        .and_then(|fields| fields.remove("adopt"))
        .context("no spec.adopt")?;
    Ok(schema)
}

/// Every field, each with a value from the middle. The examples of texts are such that they can be cut and padded.
fn base() -> Value {
    json!({
        "images": ["registry.example.com/shop/web", "internal.example.com:5000/tools/shell:3"],
        "imagePullSecrets": [{ "name": "registry-login" }],
        "registries": [
            { "host": "internal.example.com", "plainHTTP": true, "insecureSkipTLSVerify": false },
            { "host": "registry.example.com:5000", "plainHTTP": false, "insecureSkipTLSVerify": true },
        ],
        "acrInstances": [
            { "id": "cri-example", "name": "shared", "regionID": "cn-shanghai", "domains": ["shared.example.com"] },
        ],
        "size": "100Gi",
        "retentionDays": 30,
        "network": {
            "vSwitchIDs": ["vsw-example", "vsw-other"], "securityGroupID": "sg-example", "eipInstanceID": "eip-example",
        },
        "resourceGroupID": "rg-example",
        "tags": { "team": "shop" },
        "flash": true,
        "reuseLayers": true,
        "snapshotCopies": { "standard": 2, "flash": 3 },
        "eliminationStrategy": "LRU",
        "osType": "Linux",
        "deletionPolicy": "Delete",
        "suspend": false,
    })
}

/// Edges that only an expression of the schema knows.
fn of_expressions() -> Vec<Mutation> {
    let table = [
        ("size", "20Gi", Claim::Taken),
        ("size", "32768Gi", Claim::Taken),
        ("size", "1Ti", Claim::Taken),
        ("size", "32Ti", Claim::Taken),
        ("size", "19Gi", Claim::Refused),
        ("size", "32769Gi", Claim::Refused),
        ("size", "33Ti", Claim::Refused),
        ("size", "020Gi", Claim::Refused),
        ("size", "40GB", Claim::Refused),
        ("size", "-40Gi", Claim::Refused),
        ("size", "99999999Ti", Claim::Refused),
    ];
    let mutation = |(field, value, claim): (&str, &str, Claim)| {
        let mut spec = base();
        spec[field] = json!(value);
        Mutation { name: format!("{field}: {value}"), claim, spec }
    };
    table.into_iter().map(mutation).collect()
}

fn all_mutations() -> Result<Vec<Mutation>> {
    let mut all = mutations::of(&schema()?, &base(), &LEFT_OUT)?;
    all.extend(of_expressions());
    let names: BTreeSet<_> = all.iter().map(|mutation| &mutation.name).collect();
    ensure!(names.len() == all.len(), "two mutations have one name");
    Ok(all)
}

/// Where an object came to rest: `Available`, or the reason of the condition that says why it did not.
fn end(world: &World) -> Option<String> {
    if world.is_well("a") {
        return Some("Available".into());
    }
    let object = world.object("a").ok()?;
    let mut conditions = object.status.iter().flat_map(|status| &status.conditions);
    let resting = conditions.find(|c| {
        c.observed_generation == object.metadata.generation
            && (matches!(c.type_.as_str(), "Stalled" | "Paused") || c.reason == "BuildFailed")
    });
    resting.map(|c| c.reason.clone())
}

async fn comes_to_rest(world: &mut World) -> Result<String> {
    world.until("it comes to rest", |world| end(world).is_some()).await?;
    end(world).context("it rests")
}

/// Back to the base: usable, and what the cloud has is what the base asks for.
async fn goes_back(world: &mut World) -> Result<()> {
    world.edit("a", &base())?;
    world.until_well("a").await?;
    let living = world.living("a");
    let mut images = living[0].images.clone();
    images.sort();
    ensure!(
        images == ["internal.example.com:5000/tools/shell:3", "registry.example.com/shop/web"],
        "{images:?}"
    );
    ensure!(living[0].size_gib == 100, "{} GiB", living[0].size_gib);
    ensure!(living[0].elimination_strategy.as_deref() == Some("LRU"), "{:?}", living[0].elimination_strategy);
    let own = living[0].tags.iter().filter(|(key, _)| !key.starts_with("eci-operator.io/"));
    ensure!(own.eq([(&"team".to_owned(), &"shop".to_owned())]), "{:?}", living[0].tags);
    let days = living[0].expires.context("it expires")?.duration_since(living[0].created).as_hours() / 24;
    ensure!(days == 30, "it expires after {days} days");
    Ok(())
}

/// Three ways to meet a mutation: born with it, edited to it, edited to it and back before anything is done.
/// Where it ends the first two times.
async fn survives(spec: &Value) -> Result<[String; 2]> {
    let mut world = World::new().with_any_secret();
    world.create("a", spec)?;
    let born = comes_to_rest(&mut world).await.context("born with it")?;
    goes_back(&mut world).await.context("born with it, and back")?;

    world.edit("a", spec)?;
    let edited = comes_to_rest(&mut world).await.context("edited")?;
    goes_back(&mut world).await.context("edited, and back")?;

    world.edit("a", spec)?;
    world.for_a_while(std::time::Duration::from_secs(12)).await?;
    goes_back(&mut world).await.context("edited and back in the middle")?;
    Ok([born, edited])
}

#[tokio::test]
async fn every_field_at_every_edge_ends_as_expected_and_back_in_one_usable_cache() -> Result<()> {
    let (mut ends, mut unreadable, mut wrong) = (BTreeMap::<String, usize>::new(), 0, Vec::new());
    let expected: BTreeMap<_, _> = NOT_USABLE.into();
    let mut met = BTreeSet::new();
    let all = all_mutations()?;
    for Mutation { name, claim, spec } in &all {
        if World::new().create("a", spec).is_err() {
            // The type does not take it: the watch leaves such an object out.
            if *claim != Claim::Refused {
                wrong.push(format!("{name}: the API server takes it, the type does not"));
            }
            unreadable += 1;
            continue;
        }
        match survives(spec).await {
            Err(error) => wrong.push(format!("{name}: {error:#}")),
            Ok(both) => {
                *ends.entry(both[0].clone()).or_default() += 1;
                let wanted = expected.get(name.as_str()).copied();
                met.extend(wanted.is_some().then_some(name.as_str()));
                if *claim == Claim::Taken && both.iter().any(|end| end != wanted.unwrap_or("Available")) {
                    wrong.push(format!("{name}: it ends in {both:?}"));
                }
            }
        }
    }
    println!("{} mutations, {unreadable} of them unreadable, the others ended {ends:?}", all.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(expected.keys().all(|name| met.contains(name)), "NOT_USABLE has what there is not: only {met:?}");
    Ok(())
}

#[tokio::test]
async fn every_declared_state_is_reached_left_and_healed() -> Result<()> {
    let shown = states::all().await?;
    let elsewhere = REACHED_ELSEWHERE.map(|(reason, ..)| reason);
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let missing = |seen: &BTreeSet<String>| -> Vec<&str> {
        let there = |reason: &&&str| !seen.contains(**reason) && !elsewhere.contains(*reason);
        reasons.iter().filter(there).copied().filter(|reason| *reason != "Available").collect()
    };
    let never = missing(&shown.reasons);
    assert!(
        never.is_empty(),
        "never reached: {never:?}; make it reachable here, or name the test that reaches it"
    );
    let trapped = missing(&shown.healed);
    assert!(trapped.is_empty(), "never healed: {trapped:?}");
    assert!(shown.reasons.contains("Available"));
    for word in declared_states() {
        assert!(shown.states.contains(word), "the cloud's {word} was never reached: {:?}", shown.states);
        assert!(word == "Ready" || shown.left.contains(word), "the cloud's {word} was never left");
    }
    assert_eq!(
        shown.types,
        ["Paused", "Ready", "Reconciling", "Stalled", "Updating"].map(str::to_owned).into(),
        "types of conditions"
    );
    for (reason, file, test) in REACHED_ELSEWHERE {
        assert!(reasons.contains(reason), "{reason} is declared no more: take it out of REACHED_ELSEWHERE");
        assert!(
            !shown.reasons.contains(reason),
            "{reason} is reached here: take it out of REACHED_ELSEWHERE"
        );
        let source = fs::read_to_string(repository().join(file))?;
        assert!(source.contains(&format!("fn {test}(")), "{file} has no {test}, which reaches {reason}");
        assert!(source.contains(reason), "{file} does not speak of {reason}");
    }
    println!("{} of {} reasons reached and healed", shown.healed.len() + 1, reasons.len());
    Ok(())
}

#[tokio::test]
async fn half_an_hour_of_throttling_costs_few_calls_and_no_second_cache() -> Result<()> {
    throttling::all().await
}

#[tokio::test]
async fn the_api_server_takes_and_refuses_what_the_schema_says() -> Result<()> {
    let plane = ControlPlane::start(StartOptions::api_only()).await?;
    let crd = repository().join("crds/imagecaches.yaml");
    plane.kubectl(["apply", "--server-side", "-f", &crd.to_string_lossy()]).await?.ok()?;
    let wait = ["wait", "--for=condition=Established", "--timeout=30s", "crd/imagecaches.eci-operator.io"];
    plane.kubectl(wait).await?.ok()?;
    let client = plane.client()?;
    let path =
        "/apis/eci-operator.io/v1alpha1/namespaces/default/imagecaches?dryRun=All&fieldValidation=Strict";
    let (mut taken, mut refused, mut wrong) = (0, 0, Vec::new());
    for Mutation { name, claim, spec } in all_mutations()? {
        let object = json!({
            "apiVersion": "eci-operator.io/v1alpha1", "kind": "ImageCache", "metadata": { "name": "a" }, "spec": spec,
        });
        let request = Request::post(path).header("content-type", "application/json");
        let answer = client.request::<Value>(request.body(serde_json::to_vec(&object)?)?).await;
        match (&answer, claim) {
            (Ok(_), Claim::Taken | Claim::Open) => taken += 1,
            (Err(kube::Error::Api(_)), Claim::Refused | Claim::Open) => refused += 1,
            (Ok(_), Claim::Refused) => wrong.push(format!("{name}: taken")),
            (Err(error), _) => wrong.push(format!("{name}: {error}")),
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
