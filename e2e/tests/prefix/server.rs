//! The API server in memory, in which the fire in virtual time burns, answers a driver as the real one does.

use std::path::Path;

use anyhow::{Result, ensure};
use eci_api::FINALIZER;
use eci_api::image_cache::ImageCache;
use eci_core::image_cache::ImageCacheKind;
use eci_e2e::bench::crash::shell::Server;
use eci_e2e::testbed::{ControlPlane, StartOptions};
use eci_operator::kind::Key;
use eci_operator::kubernetes::{KubeError, Objects};
use eci_operator::patch;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// What is done to an object: by the driver on its newest copy or on its first one, and by people.
#[derive(Clone, Copy, Debug)]
enum Step {
    Status(&'static str, Which),
    Add(Which),
    Remove(Which),
    Edit(&'static str),
    Delete,
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Which {
    Newest,
    First,
}

const STEPS: [Step; 19] = {
    use Step::{Add, Delete, Edit, Get, Remove, Status};
    use Which::{First, Newest};
    [
        Get,
        Add(Newest),
        Add(First),
        Status(r#"{"lastAttempt":1,"ownerUID":"u"}"#, Newest),
        // Nothing changes.
        Status(r#"{"lastAttempt":1}"#, Newest),
        Status(r#"{"lastAttempt":2}"#, First),
        Edit(r#"{"retentionDays":3}"#),
        Edit(r#"{"retentionDays":3}"#),
        Status(r#"{"ownerUID":null,"observedGeneration":2}"#, Newest),
        Status("null", Newest),
        Remove(First),
        Delete,
        Status(r#"{"lastAttempt":3}"#, Newest),
        Delete,
        Remove(First),
        Remove(Newest),
        Get,
        Status(r#"{"lastAttempt":4}"#, Newest),
        Delete,
    ]
};

/// People, on either server.
enum People {
    Real(Box<Api<ImageCache>>),
    Memory(Server),
}

impl People {
    async fn act(&self, key: &Key, step: Step) -> Result<()> {
        let place = ("imagecaches".to_owned(), key.namespace.clone(), key.name.clone());
        match (self, step) {
            (Self::Real(api), Step::Edit(spec)) => {
                let patch = json!({ "spec": serde_json::from_str::<Value>(spec)? });
                api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
            (Self::Real(api), _) => drop(api.delete(&key.name, &DeleteParams::default()).await),
            (Self::Memory(server), Step::Edit(spec)) => {
                let fields: Value = serde_json::from_str(spec)?;
                server.change(&place, |object| {
                    for (field, value) in fields.as_object().into_iter().flatten() {
                        object["spec"][field] = value.clone();
                    }
                });
            }
            (Self::Memory(server), _) => server.delete(&place),
        }
        Ok(())
    }
}

/// What the steps come to, without what no two servers have in common.
async fn story(client: Client, people: People, key: &Key) -> Result<Vec<String>> {
    let objects = Objects::new(client);
    let first = objects.get::<ImageCacheKind>(key).await?;
    let mut newest = first.clone();
    let mut told = Vec::new();
    for step in STEPS {
        let copy = |which| if which == Which::First { first.clone() } else { newest.clone() };
        let finalizers = |object: &Option<ImageCache>| {
            object.as_ref().map(|o| o.finalizers().to_vec()).unwrap_or_default()
        };
        let version = |object: &Option<ImageCache>| {
            object.as_ref().and_then(kube::ResourceExt::resource_version).unwrap_or_default()
        };
        let answer = match step {
            Step::Get => objects.get::<ImageCacheKind>(key).await,
            Step::Edit(_) | Step::Delete => {
                people.act(key, step).await?;
                objects.get::<ImageCacheKind>(key).await
            }
            Step::Status(difference, which) => {
                let patch = patch::status(&serde_json::from_str(difference)?, &version(&copy(which)));
                objects.patch_status::<ImageCacheKind>(key, &patch).await.map(Some)
            }
            Step::Add(which) => {
                let copy = copy(which);
                let patch = patch::add_finalizer(&finalizers(&copy), &version(&copy));
                objects.patch::<ImageCacheKind>(key, patch).await.map(Some)
            }
            Step::Remove(which) => {
                let patch = patch::remove_finalizer(&[FINALIZER.to_owned()], &version(&copy(which)));
                objects.patch::<ImageCacheKind>(key, patch.unwrap_or_default()).await.map(Some)
            }
        };
        told.push(match answer {
            Ok(Some(object)) => {
                let moved = version(&Some(object.clone())) != version(&newest);
                let line = format!(
                    "generation {:?}, deleting {}, finalizers {:?}, status {}, new version {moved}",
                    object.metadata.generation,
                    object.metadata.deletion_timestamp.is_some(),
                    object.finalizers(),
                    json!(object.status)
                );
                newest = Some(object);
                line
            }
            Ok(None) => "there is none".into(),
            Err(KubeError::Conflict { .. }) => "conflict".into(),
            Err(error) => error.to_string(),
        });
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_in_memory_answers_as_the_real_one() -> Result<()> {
    let plane = ControlPlane::start(StartOptions::api_only()).await?;
    let crd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/imagecaches.yaml");
    plane.kubectl(["apply", "--server-side", "-f", &crd.display().to_string()]).await?.ok()?;
    plane.kubectl(["wait", "--for=condition=Established", "crd/imagecaches.eci-operator.io"]).await?.ok()?;
    let key = Key { namespace: "default".into(), name: "web".into() };
    let object: ImageCache = serde_json::from_value(json!({
        "apiVersion": "eci-operator.io/v1alpha1", "kind": "ImageCache", "metadata": { "name": "web" },
        "spec": { "images": ["registry.example.com/shop/web:1"] }, "status": { "lastAttempt": 9 },
    }))?;
    let api: Api<ImageCache> = Api::namespaced(plane.client()?, &key.namespace);
    api.create(&PostParams::default(), &object).await?;
    let real = story(plane.client()?, People::Real(Box::new(api)), &key).await?;

    let server = Server::new(1, (jiff::Timestamp::UNIX_EPOCH, tokio::time::Instant::now()));
    let object_place = ("imagecaches".to_owned(), key.namespace.clone(), key.name.clone());
    server.create(&object_place, json!(object));
    let memory = story(server.client(), People::Memory(server), &key).await?;
    for ((step, real), memory) in STEPS.iter().zip(&real).zip(&memory) {
        ensure!(real == memory, "{step:?}: the real one: {real}; in memory: {memory}");
    }
    ensure!(real.iter().any(|line| line == "conflict") && real.last().is_some_and(|l| l == "there is none"));
    Ok(())
}
