//! PersistentVolumeClaims of pods, with what their volumes and StorageClasses say of them.

use std::collections::BTreeMap;

use eci_core::profile::claims::{Claims, facts};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, Client};

use crate::error::Error;
use crate::kubernetes::{allowed, list};

/// The claims of one namespace, or of all, or why they could not be read. Nothing is asked when the pods mount none.
pub(crate) async fn read(
    client: &Client,
    namespace: Option<&str>,
    pods: &[Pod],
) -> Result<Result<Claims, String>, Error> {
    let volumes = pods.iter().flat_map(|pod| pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()));
    if !volumes.into_iter().any(|volume| volume.persistent_volume_claim.is_some()) {
        return Ok(Ok(Claims::new()));
    }
    let claims = match namespace {
        Some(namespace) => Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let claims = allowed(list(&claims, None).await)?;
    let volumes = allowed(list(&Api::<PersistentVolume>::all(client.clone()), None).await)?;
    let classes = allowed(list(&Api::<StorageClass>::all(client.clone()), None).await)?;
    let read = (|| Ok((claims?, volumes?, classes?)))();
    Ok(read.map(|(claims, volumes, classes)| join(&claims, volumes, classes)))
}

fn join(
    claims: &[PersistentVolumeClaim],
    volumes: Vec<PersistentVolume>,
    classes: Vec<StorageClass>,
) -> Claims {
    let volumes: BTreeMap<_, _> =
        volumes.into_iter().filter_map(|volume| Some((volume.metadata.name.clone()?, volume))).collect();
    let classes: BTreeMap<_, _> =
        classes.into_iter().filter_map(|class| Some((class.metadata.name.clone()?, class))).collect();
    let known = claims.iter().filter_map(|claim| {
        let spec = claim.spec.as_ref()?;
        let volume = spec.volume_name.as_ref().and_then(|name| volumes.get(name));
        let class = spec.storage_class_name.as_ref().and_then(|name| classes.get(name));
        let key = (claim.metadata.namespace.clone()?, claim.metadata.name.clone()?);
        Some((key, facts(claim, volume, class)))
    });
    known.collect()
}
