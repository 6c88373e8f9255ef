//! What the API server says of an annotation of a profile, the checker of `eci-api` says too.

use anyhow::Result;
use eci_api::annotations::{CATALOGUE, Scope, Value as Type, Writer};
use http::Method;
use serde_json::json;

use crate::{ECI_PROFILE, plane, send};

/// Values of all types, right and wrong, and at the ends of ranges.
const SAMPLES: &[&str] = &[
    "",
    "true",
    "True",
    "0",
    "1",
    "9",
    "10",
    "100",
    "101",
    "1440",
    "1441",
    "50000",
    "50001",
    "99999999999",
    "-1",
    "+10",
    "6,5",
    "6,",
    "10M",
    "0M",
    "10MB",
    "Open",
    "open",
    "fail-fast",
    "PL3",
    "economy,general",
    "economy,",
    "VSwitchRandom",
    "eap-1",
    "eap-",
    "/core",
    "core",
];

#[tokio::test]
async fn the_api_server_and_the_checker_agree_on_annotations_of_profiles() -> Result<()> {
    let client = plane().await?.client()?;
    let path = format!("{}?dryRun=All", ECI_PROFILE.collection());
    let (mut accepted, mut refused, mut wrong) = (0, 0, Vec::new());
    let free = CATALOGUE.iter().filter(|annotation| {
        annotation.writer == Writer::User
            && annotation.profile_field.is_none()
            && annotation.scope == Scope::Template
    });
    for annotation in free {
        // The other types are beyond rules of the API server: only the checker judges them.
        let judged = matches!(
            annotation.value,
            Type::Bool
                | Type::Word(_)
                | Type::Words(_)
                | Type::Integer { .. }
                | Type::Integers
                | Type::Bandwidth
                | Type::Id(_)
                | Type::Path
        );
        for sample in SAMPLES {
            let profile = json!({
                "apiVersion": "eci-operator.io/v1alpha1",
                "kind": "EciProfile",
                "metadata": { "name": "agreement" },
                "spec": {
                    "selector": { "podSelector": { "matchLabels": { "a": "b" } } },
                    "effects": { "annotations": { annotation.name: sample } },
                },
            });
            let server = send(&client, Method::POST, &path, &profile).await?;
            if server.is_ok() == (annotation.value.accepts(sample) || !judged) {
                *(if server.is_ok() { &mut accepted } else { &mut refused }) += 1;
            } else {
                wrong.push(format!("{}={sample:?}: {:?}", annotation.name, server.err()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(accepted > 50 && refused > 300, "{accepted} accepted, {refused} refused");
    Ok(())
}
