//! Whether the cloud has caches with this cluster's ID in their tags that are of no object of this cluster: of another
//! live cluster with the same ID, as a copy of this one would be.

use std::collections::BTreeSet;

use eci_aliyun::Client;
use eci_api::data_cache::DataCache;
use eci_api::image_cache::ImageCache;
use eci_core::cloud::{Cloud as _, CloudError, PageToken};
use eci_core::cloud_resource::identity::{TAG_CLUSTER, TAG_NAME, TAG_NAMESPACE, TAG_UID};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use crate::args::DoctorArgs;
use crate::cloud;
use crate::error::Error;
use crate::findings::{Finding, Findings, Severity, path};
use crate::kubernetes::{Kubernetes, allowed, list, present};
use crate::manifest::cut;

pub(super) const CLUSTER_TAGS: &str = "cluster-tags";

/// The ConfigMap in which the operator remembers the ID, and its key.
const REMEMBERED: (&str, &str) = ("eci-operator-cluster-id", "clusterID");
/// Most pages of a list of the cloud.
const MOST_PAGES: usize = 500;

/// Tags of a cloud resource.
type Tags = std::collections::BTreeMap<String, String>;

/// A cache in the cloud.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) tags: Tags,
}

/// An object of ours.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub(super) uid: String,
    /// IDs of the cloud resources that its status knows.
    pub(super) ids: BTreeSet<String>,
    /// Whether it is just making one, which its status does not know yet.
    pub(super) busy: bool,
}

/// Makes the check, if it is asked for.
pub(super) async fn check(cluster: &Kubernetes, args: &DoctorArgs, all: &mut Findings) -> Result<(), Error> {
    let Some(region) = args.region.as_deref().filter(|_| args.cloud) else { return Ok(()) };
    let id = match &args.cluster_id {
        Some(id) => id.clone(),
        None => match remembered(cluster, &args.operator_namespace).await? {
            Ok(id) => id,
            Err(why) => {
                all.skip(CLUSTER_TAGS, why);
                return Ok(());
            }
        },
    };
    let client =
        match cloud::caches(region, args.endpoint.as_ref(), args.vpc, args.credentials_dir.as_deref()) {
            Ok(client) => client,
            Err(error) => {
                all.skip(CLUSTER_TAGS, error.to_string());
                return Ok(());
            }
        };
    // The cloud first: what is made meanwhile is then among the objects.
    let resources = match resources(&client, &id).await {
        Ok(Some(resources)) => resources,
        Ok(None) => return Err(Error::TooMany("caches in the cloud".to_owned())),
        Err(error) => {
            all.skip(CLUSTER_TAGS, Error::Cloud { error }.to_string());
            return Ok(());
        }
    };
    let images = present(list(&Api::<ImageCache>::all(cluster.client.clone()), None).await);
    let data = present(list(&Api::<DataCache>::all(cluster.client.clone()), None).await);
    match (allowed(images)?, allowed(data)?) {
        (Ok(images), Ok(data)) => {
            let objects: Vec<_> = images.iter().map(of_image).chain(data.iter().map(of_data)).collect();
            all.add(CLUSTER_TAGS, findings(&id, &resources, &objects));
        }
        (Err(why), _) | (_, Err(why)) => all.skip(CLUSTER_TAGS, why),
    }
    Ok(())
}

/// The ID that the operator remembers, or why it is not known.
async fn remembered(cluster: &Kubernetes, namespace: &str) -> Result<Result<String, String>, Error> {
    let (name, key) = REMEMBERED;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let found = allowed(maps.get_opt(name).await.map_err(Error::from))?;
    Ok(found.and_then(|map| {
        map.and_then(|map| map.data?.remove(key)).ok_or_else(|| {
            format!(
                "there is no ConfigMap {namespace}/{name}, in which the operator remembers the cluster's ID: use --operator-namespace or --cluster-id"
            )
        })
    }))
}

/// Everything with the cluster's tag; `None` when that is more than can be looked at.
async fn resources(client: &Client, cluster: &str) -> Result<Option<Vec<Resource>>, CloudError> {
    let tags = Tags::from([(TAG_CLUSTER.to_owned(), cluster.to_owned())]);
    let mut all = Vec::new();
    let mut page: Option<PageToken> = None;
    for _ in 0..MOST_PAGES {
        let found = client.list_image_caches(&tags, page.as_ref()).await?;
        let of = |view: eci_core::cloud::ImageCacheView| Resource {
            kind: "ImageCache",
            id: view.id.to_string(),
            tags: view.tags,
        };
        all.extend(found.items.into_iter().map(of));
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    if page.is_some() {
        return Ok(None);
    }
    for _ in 0..MOST_PAGES {
        let found = client.list_data_caches(&tags, page.as_ref()).await?;
        let of = |view: eci_core::cloud::DataCacheView| Resource {
            kind: "DataCache",
            id: view.id.to_string(),
            tags: view.tags,
        };
        all.extend(found.items.into_iter().map(of));
        page = found.next;
        if page.is_none() {
            return Ok(Some(all));
        }
    }
    Ok(None)
}

fn of_image(cache: &ImageCache) -> Object {
    let mut object = Object { uid: cache.metadata.uid.clone().unwrap_or_default(), ..Object::default() };
    if let Some(status) = &cache.status {
        object.ids.extend(status.image_cache_id.iter().chain(&status.adopting_image_cache_id).cloned());
        object.ids.extend(status.successor.iter().map(|successor| successor.image_cache_id.clone()));
        object.ids.extend(status.retiring.iter().cloned());
        object.busy = status.operation.is_some();
    }
    object
}

fn of_data(cache: &DataCache) -> Object {
    let mut object = Object { uid: cache.metadata.uid.clone().unwrap_or_default(), ..Object::default() };
    if let Some(status) = &cache.status {
        object.ids.extend(status.data_cache_id.iter().chain(&status.adopting_data_cache_id).cloned());
        object.ids.extend(status.retiring.iter().cloned());
        object.busy = status.operation.is_some();
    }
    object
}

/// What is of nobody here.
pub(super) fn findings(cluster: &str, resources: &[Resource], objects: &[Object]) -> Vec<Finding> {
    let found = resources.iter().filter_map(|resource| {
        let tag = |name: &str| resource.tags.get(name).map(String::as_str).unwrap_or_default();
        let made_for = path(resource.kind, Some(&cut(tag(TAG_NAMESPACE))), Some(&cut(tag(TAG_NAME))));
        let owner = objects.iter().find(|object| object.uid == tag(TAG_UID) && !object.uid.is_empty());
        let what = match owner {
            None => format!("was made for {made_for}, which this cluster has not, or has made anew since"),
            // A copy of this cluster has the same objects.
            Some(owner) if !owner.busy && !owner.ids.contains(&resource.id) => {
                format!("was made for {made_for}, whose status does not know it")
            }
            Some(_) => return None,
        };
        Some(Finding {
            check: CLUSTER_TAGS,
            severity: Severity::Warning,
            object: format!("{} in the cloud", cut(&resource.id)),
            what,
            remedy: format!(
                "if another cluster lives with the ID {cluster}, such as a copy of this one, set --cluster-id there before the two delete each other's caches; else the object went and left its cache: delete it in the cloud, or take it over by spec.adopt"
            ),
        })
    });
    found.collect()
}
