//! `kubectl eci explain`: what profiles make of a pod, and why.
//!
//! The decision is that of `eci_core::profile::decide`, which admission asks too.

mod input;
mod networkings;
mod origin;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use eci_api::data_cache::DataCache;
use eci_api::eci_profile::{EciProfile, ImageCacheReference, ProfileMode};
use eci_api::image_cache::ImageCache;
use eci_core::placement::mark::{self, changed};
use eci_core::profile::caches::{CacheFacts, Caches};
use eci_core::profile::claims::Claims;
use eci_core::profile::data_caches::{self, DataCacheFacts, DataCaches};
use eci_core::profile::decide::{Change, Decision, Moment, Namespace, World, decide};
use eci_core::profile::networking::PodNetworking;
use eci_core::profile::nodes::VirtualNodes;
use eci_core::profile::patch::{self, Operation};
use eci_core::profile::{Labels, PROFILES_ANNOTATION, Profile, Profiles};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod};
use kube::Api;

use crate::args::{ExplainArgs, KubeArgs, Output};
use crate::claims;
use crate::error::Error;
use crate::kubernetes::{Kubernetes, list, of_kind};
use crate::manifest::{self, Document};

/// The label that the API server gives to every namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The namespace of a pod that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// What profiles make of one pod.
#[derive(Clone, Debug)]
struct Explained {
    namespace: String,
    name: String,
    /// The profiles that it says it was made with, with their generations.
    made_with: Option<String>,
    /// Whether the profiles as they are now make the pod that exists.
    exact: bool,
    priorities: BTreeMap<String, i32>,
    decision: Decision,
    /// The changes as a JSON patch.
    patch: Vec<Operation>,
    /// What happens when the pod may go to virtual nodes later.
    later: Option<Vec<Operation>>,
    /// For each profile in mode Audit that matches: what it would change in mode Enforce.
    audits: Vec<(String, Vec<Operation>)>,
    of_daemon_set: bool,
    /// Profiles that are older than the pod, apply to it, and had no part in it.
    missed: Vec<String>,
}

/// What a decision is made from, beside the pod.
struct Known {
    profiles: Vec<Profile>,
    /// When the spec of each was last written, as far as that is known.
    changed: BTreeMap<String, Timestamp>,
    operator_namespace: String,
    nodes: VirtualNodes,
    caches: Caches,
    data_caches: DataCaches,
    networkings: Vec<PodNetworking>,
    claims: Claims,
}

impl Known {
    fn new(args: &ExplainArgs) -> Result<Self, Error> {
        Ok(Self {
            profiles: Vec::new(),
            changed: BTreeMap::new(),
            operator_namespace: args.operator_namespace.clone(),
            nodes: args.nodes.virtual_nodes()?,
            caches: Caches::new(),
            data_caches: DataCaches::new(),
            networkings: Vec::new(),
            claims: Claims::new(),
        })
    }

    /// Reads what is known of the claims of a pod. Who may not do so is told what might be.
    async fn read_claims(&mut self, cluster: &Kubernetes, namespace: &str, pod: &Pod) -> Result<(), Error> {
        let claims = claims::read(&cluster.client, Some(namespace), std::slice::from_ref(pod)).await?;
        self.claims.extend(claims.unwrap_or_default());
        Ok(())
    }
}

pub(crate) async fn explain(args: &ExplainArgs) -> Result<String, Error> {
    if args.kube.all_namespaces {
        return Err(Error::Usage("--all-namespaces: a pod is in one namespace; use --namespace".to_owned()));
    }
    let explained = match &args.filename {
        Some(file) => {
            let pods = input::pods(file)?;
            if args.profiles.is_empty() { from_cluster(args, pods).await? } else { offline(args, pods)? }
        }
        None => vec![existing(args).await?],
    };
    match args.output {
        Output::Table => Ok(explained.iter().map(show::table).collect::<Vec<_>>().join("\n")),
        Output::Json => {
            let pods: Vec<_> = explained.iter().map(show::json).collect();
            Ok(format!("{}\n", serde_json::to_string_pretty(&serde_json::json!({ "pods": pods }))?))
        }
    }
}

/// Everything from files.
fn offline(args: &ExplainArgs, pods: Vec<Pod>) -> Result<Vec<Explained>, Error> {
    let documents = manifest::read(&args.profiles)?;
    let mut known = Known::new(args)?;
    known.networkings = documents.iter().filter_map(networkings::of_file).collect();
    for document in &documents {
        known
            .profiles
            .extend(input::ours::<EciProfile>(document, "EciProfile")?.iter().filter_map(Profile::of));
        known.data_caches.extend(input::ours::<DataCache>(document, "DataCache")?.as_ref().map(data_facts));
        known.caches.extend(input::ours::<ImageCache>(document, "ImageCache")?.as_ref().map(cache_facts));
    }
    if known.profiles.is_empty() {
        let files: Vec<_> = args.profiles.iter().map(|path| path.display().to_string()).collect();
        return Err(Error::Manifest {
            path: files.join(", "),
            why: "there is no EciProfile of the group eci-operator.io in it".to_owned(),
        });
    }
    pods.into_iter()
        .map(|pod| {
            let namespace = namespace_of(&pod, &args.kube, None);
            let labels = match &args.namespace_labels {
                Some(labels) => labels.iter().cloned().collect(),
                None => labels_in(&documents, &namespace)?,
            };
            judge(&known, &namespace, labels, &pod)
        })
        .collect()
}

/// A pod of a file, and the profiles of the cluster.
async fn from_cluster(args: &ExplainArgs, pods: Vec<Pod>) -> Result<Vec<Explained>, Error> {
    let cluster = Kubernetes::connect(&args.kube).await?;
    let mut known = known(&cluster, args).await?;
    let mut all = Vec::new();
    for pod in pods {
        let namespace = namespace_of(&pod, &args.kube, cluster.namespace.as_deref());
        let labels = match &args.namespace_labels {
            Some(labels) => labels.iter().cloned().collect(),
            None => namespace_labels(&cluster, &namespace).await?,
        };
        read_data_caches(&cluster, &namespace, &pod, &mut known).await?;
        known.read_claims(&cluster, &namespace, &pod).await?;
        all.push(judge(&known, &namespace, labels, &pod)?);
    }
    Ok(all)
}

/// A pod of the cluster.
async fn existing(args: &ExplainArgs) -> Result<Explained, Error> {
    let name = input::name(&args.pod)?;
    let cluster = Kubernetes::connect(&args.kube).await?;
    let namespace = cluster.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let pod = api.get_opt(name).await?;
    let pod = pod.ok_or_else(|| Error::NotFound(format!("no pod {name} in namespace {namespace}")))?;
    let mut known = known(&cluster, args).await?;
    read_data_caches(&cluster, &namespace, &pod, &mut known).await?;
    known.read_claims(&cluster, &namespace, &pod).await?;
    judge(&known, &namespace, namespace_labels(&cluster, &namespace).await?, &pod)
}

async fn known(cluster: &Kubernetes, args: &ExplainArgs) -> Result<Known, Error> {
    let mut known = Known::new(args)?;
    let objects: Vec<EciProfile> = of_kind(&Api::all(cluster.client.clone())).await?;
    known.changed = objects
        .iter()
        .filter_map(|object| Some((object.metadata.name.clone()?, changed(&object.metadata))))
        .collect();
    let profiles: Vec<_> = objects.iter().filter_map(Profile::of).collect();
    // Nobody needs to be allowed to read caches that no profile speaks of.
    let refs = profiles.iter().filter_map(|profile| profile.spec.image_cache.as_ref()).flat_map(|c| &c.refs);
    let namespaces: std::collections::BTreeSet<_> =
        refs.map(|reference| reference.namespace.clone()).collect();
    for namespace in namespaces {
        let api: Api<ImageCache> = Api::namespaced(cluster.client.clone(), &namespace);
        known.caches.extend(list(&api, None).await?.iter().map(cache_facts));
    }
    // Likewise of PodNetworkings.
    if profiles.iter().any(|profile| profile.spec.network.is_some()) {
        known.networkings = networkings::of_cluster(cluster).await?;
    }
    Ok(Known { profiles, ..known })
}

/// Reads the DataCaches of a pod's namespace, if the pod or a profile speaks of any.
async fn read_data_caches(
    cluster: &Kubernetes,
    namespace: &str,
    pod: &Pod,
    known: &mut Known,
) -> Result<(), Error> {
    let wanted = known.profiles.iter().any(|profile| !profile.spec.data_caches.is_empty());
    if wanted || data_caches::asked(pod).is_some() {
        let api: Api<DataCache> = Api::namespaced(cluster.client.clone(), namespace);
        known.data_caches.extend(list(&api, None).await?.iter().map(data_facts));
    }
    Ok(())
}

async fn namespace_labels(cluster: &Kubernetes, namespace: &str) -> Result<Labels, Error> {
    let api: Api<NamespaceObject> = Api::all(cluster.client.clone());
    let found = api.get_opt(namespace).await?;
    let found = found.ok_or_else(|| {
        Error::Usage(format!(
            "the cluster has no namespace {namespace}: choose another with --namespace, or say its labels with --namespace-labels"
        ))
    })?;
    Ok(found.metadata.labels.unwrap_or_default())
}

fn labels_in(documents: &[Document], namespace: &str) -> Result<Labels, Error> {
    let Some((document, labels)) =
        documents.iter().find_map(|document| Some((document, input::labels_of(document, namespace)?)))
    else {
        return Ok(Labels::new());
    };
    serde_json::from_value(labels).map_err(|error| Error::Manifest {
        path: document.file.clone(),
        why: format!("{}: metadata.labels: {error}", document.path()),
    })
}

fn namespace_of(pod: &Pod, args: &KubeArgs, context: Option<&str>) -> String {
    let own = pod.metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    own.or(args.namespace.as_deref()).or(context).unwrap_or(DEFAULT_NAMESPACE).to_owned()
}

/// An ImageCache, as far as pods are concerned: they start from one that is Ready.
fn cache_facts(cache: &ImageCache) -> (ImageCacheReference, CacheFacts) {
    let status = cache.status.as_ref();
    let going = cache.metadata.deletion_timestamp.is_some();
    let ready = !going
        && status.is_some_and(|status| {
            status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        });
    let reference = ImageCacheReference {
        namespace: cache.metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        name: cache.metadata.name.clone().unwrap_or_default(),
    };
    let usable = status.and_then(|status| status.image_cache_id.clone()).filter(|_| ready);
    (reference, CacheFacts { usable, images: cache.spec.images.clone() })
}

/// A DataCache, likewise.
fn data_facts(cache: &DataCache) -> ((String, String), DataCacheFacts) {
    let conditions = cache.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let meta = &cache.metadata;
    let namespace = meta.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let facts = DataCacheFacts {
        bucket: cache.spec.bucket.clone(),
        path: cache.spec.path.clone(),
        available: meta.deletion_timestamp.is_none() && ready.is_some_and(|ready| ready.status == "True"),
        reason: ready.map_or_else(|| "NotSeen".to_owned(), |ready| ready.reason.clone()),
    };
    ((namespace, meta.name.clone().unwrap_or_default()), facts)
}

fn judge(known: &Known, namespace: &str, mut labels: Labels, pod: &Pod) -> Result<Explained, Error> {
    labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
    let world = World {
        nodes: known.nodes.clone(),
        caches: known.caches.clone(),
        data_caches: known.data_caches.clone(),
        networkings: known.networkings.clone(),
        claims: known.claims.clone(),
        ..World::default()
    };
    let of = Namespace { name: namespace, labels: &labels };
    let profiles = Profiles::new(known.profiles.iter().cloned(), &known.operator_namespace);
    let origin = origin::origin(&profiles, &world, of, pod)?;
    let decision = eci_core::profile::decide::explain(&profiles, &world, of, &origin.pod, Moment::Creation);
    let patch = patch::patch(&origin.pod, &decision.changes);
    let later = if decision.deferred {
        let created = origin::apply(&origin.pod, &decision.changes)?;
        let changes = decide(&profiles, &world, of, &created, Moment::Spill).changes;
        Some(patch::patch(&created, &changes))
    } else {
        None
    };
    let mut audits = Vec::new();
    let matched = decision.tried.iter().filter(|tried| tried.mismatch.is_none());
    for tried in matched.filter(|tried| tried.mode == ProfileMode::Audit) {
        let enforced = known.profiles.iter().cloned().map(|profile| enforce(profile, &tried.profile));
        let profiles = Profiles::new(enforced, &known.operator_namespace);
        let enforced = decide(&profiles, &world, of, &origin.pod, Moment::Creation).changes;
        let mark =
            |change: &Change| matches!(change, Change::Annotation(key, _) if key == PROFILES_ANNOTATION);
        let new = |change: &Change| !mark(change) && !decision.changes.contains(change);
        let more: Vec<_> = enforced.into_iter().filter(new).collect();
        audits.push((tried.profile.clone(), patch::patch(&origin.pod, &more)));
    }
    let owners = pod.metadata.owner_references.iter().flatten();
    let of_daemon_set = owners.into_iter().any(|o| o.controller == Some(true) && o.kind == "DaemonSet");
    let missed = if of_daemon_set { Vec::new() } else { missed(known, &decision, pod) };
    Ok(Explained {
        namespace: namespace.to_owned(),
        name: pod.metadata.name.clone().or_else(|| pod.metadata.generate_name.clone()).unwrap_or_default(),
        made_with: origin::made_with(pod).map(str::to_owned),
        exact: origin.exact,
        priorities: known
            .profiles
            .iter()
            .map(|profile| (profile.name.clone(), profile.spec.priority))
            .collect(),
        decision,
        patch,
        later,
        audits,
        of_daemon_set,
        missed,
    })
}

/// The profiles that the pod was made without, though they were there: the operator did not answer when it was created.
fn missed(known: &Known, decision: &Decision, pod: &Pod) -> Vec<String> {
    let Some(created) = pod.metadata.creation_timestamp.as_ref().map(|time| time.0) else {
        return Vec::new();
    };
    let mark = origin::made_with(pod);
    let applies = decision.tried.iter().filter(|tried| tried.mismatch.is_none());
    let enforced = applies.filter(|tried| tried.mode == ProfileMode::Enforce).map(|tried| &tried.profile);
    let is_missed = |name: &&String| {
        known.changed.get(*name).is_some_and(|changed| mark::misses(mark, created, name, *changed))
    };
    enforced.filter(is_missed).cloned().collect()
}

/// The profile as it would be in mode Enforce, if it has the name.
fn enforce(profile: Profile, name: &str) -> Profile {
    if profile.name != name {
        return profile;
    }
    let mut spec = (*profile.spec).clone();
    spec.mode = ProfileMode::Enforce;
    Profile { spec: Arc::new(spec), ..profile }
}
