//! The tables of what must be refused, one for each kind.

use std::fs;

use anyhow::Result;
use http::Method;
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{KINDS, Resource, plane, repository, send};

/// Nothing is stored and unknown fields are refused.
const STRICT: &str = "?dryRun=All&fieldValidation=Strict";

/// A line of the table of bad manifests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    /// What is wrong with it.
    why: String,
    /// The whole spec.
    spec: Value,
    /// Further metadata.
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
    /// Further fields beside the spec.
    #[serde(default)]
    top: serde_json::Map<String, Value>,
    /// The spec of the object that is changed; absent when one is created.
    before: Option<Value>,
    /// What the message must contain.
    expect: Vec<String>,
}

impl Bad {
    fn object(&self, kind: &str, number: usize) -> Value {
        let mut object = json!({
            "apiVersion": "eci-operator.io/v1alpha1",
            "kind": kind,
            "metadata": { "name": format!("bad-{number}") },
            "spec": self.spec,
        });
        for (key, value) in &self.metadata {
            object["metadata"][key] = value.clone();
        }
        for (key, value) in &self.top {
            object[key] = value.clone();
        }
        object
    }

    /// Sends it and says what is wrong with the answer, if anything.
    async fn judge(&self, client: &Client, resource: Resource, number: usize) -> Result<Option<String>> {
        let collection = resource.collection();
        let mut object = self.object(resource.kind, number);
        let answer = if let Some(before) = &self.before {
            let mut existing = object.clone();
            existing["spec"] = before.clone();
            let created = send(client, Method::POST, &collection, &existing).await?;
            object["metadata"] = created.map_err(anyhow::Error::msg)?["metadata"].clone();
            send(client, Method::PUT, &format!("{collection}/bad-{number}{STRICT}"), &object).await?
        } else {
            send(client, Method::POST, &format!("{collection}{STRICT}"), &object).await?
        };
        Ok(match answer {
            Ok(_) => Some("was accepted".to_owned()),
            Err(message) => {
                let missing: Vec<_> = self.expect.iter().filter(|words| !message.contains(*words)).collect();
                (!missing.is_empty()).then(|| format!("lacks {missing:?} in: {message}"))
            }
        })
    }
}

#[tokio::test]
async fn every_bad_manifest_is_refused_with_words_that_help() -> Result<()> {
    let client = plane().await?.client()?;
    let mut wrong = Vec::new();
    for resource in KINDS {
        let file = format!("e2e/manifests/bad/{}.yaml", resource.kind.to_lowercase());
        let table: Vec<Bad> = serde_saphyr::from_str(&fs::read_to_string(repository().join(&file))?)?;
        assert!(table.len() >= 40, "{file} has only {} lines", table.len());
        for (number, bad) in table.iter().enumerate() {
            assert!(!bad.expect.is_empty(), "{}: nothing is expected", bad.why);
            if let Some(complaint) = bad.judge(&client, resource, number).await? {
                wrong.push(format!("{}: {}: {complaint}", resource.kind, bad.why));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
