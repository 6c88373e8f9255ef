//! What is applied comes back as it was, for specs of all shapes.

use anyhow::{Context as _, Result};
use eci_api::data_cache::DataCacheSpec;
use eci_api::eci_profile::EciProfileSpec;
use http::{Method, Request};
use kube::Client;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{DATA_CACHE, ECI_PROFILE, Resource, plane, send, specs};

/// Random specs of each kind.
const SPECS: usize = 50;

/// Applies `spec` on the server side, as GitOps tools do, and gives back the object as stored.
async fn apply(client: &Client, resource: Resource, name: &str, spec: &Value) -> Result<Value> {
    let path = format!("{}/{name}", resource.collection());
    let object = json!({
        "apiVersion": "eci-operator.io/v1alpha1",
        "kind": resource.kind,
        "metadata": { "name": name },
        "spec": spec,
    });
    let query = "?fieldManager=round-trip&fieldValidation=Strict";
    let applied = send(client, Method::PATCH, &format!("{path}{query}"), &object).await?;
    applied.map_err(anyhow::Error::msg).with_context(|| format!("apply {spec}"))?;
    let get = Request::builder().method(Method::GET).uri(path).body(Vec::new())?;
    Ok(client.request::<Value>(get).await?)
}

/// Applies specs of `strategy`: each comes back equal, and a second apply of what came back changes nothing.
async fn survive<T>(resource: Resource, strategy: impl Strategy<Value = T>) -> Result<()>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let client = plane().await?.client()?;
    let mut runner = TestRunner::deterministic();
    for number in 0..SPECS {
        let spec = strategy.new_tree(&mut runner).map_err(|why| anyhow::anyhow!("{why}"))?.current();
        let name = format!("random-{number}");
        let stored = apply(&client, resource, &name, &serde_json::to_value(&spec)?).await?;
        let read: T = serde_json::from_value(stored["spec"].clone())?;
        assert_eq!(read, spec);
        assert_eq!(
            serde_json::to_value(&read)?,
            stored["spec"],
            "the types lose a field of the stored object"
        );
        let again = apply(&client, resource, &name, &stored["spec"]).await?;
        assert_eq!(again["metadata"]["generation"], 1, "applying what is stored changed the spec");
    }
    Ok(())
}

#[tokio::test]
async fn a_data_cache_comes_back_as_it_was_applied() -> Result<()> {
    survive::<DataCacheSpec>(DATA_CACHE, specs::data_cache()).await
}

#[tokio::test]
async fn a_profile_comes_back_as_it_was_applied() -> Result<()> {
    survive::<EciProfileSpec>(ECI_PROFILE, specs::profile::eci_profile()).await
}
