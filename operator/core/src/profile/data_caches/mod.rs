//! Which data caches a pod mounts, and where.
//!
//! The vendor mounts a data cache by its bucket, in an annotation, and its path, as a hostPath volume; the annotation
//! holds one bucket for the pod. A pod asks by name, and the name means a DataCache of its own namespace, so that nobody
//! mounts what another tenant has paid for. A pod that asks never starts without what it asked for: it waits at a
//! scheduling gate, or is refused.

mod reach;
mod refusal;

use std::collections::BTreeMap;

use eci_api::eci_profile::DataCacheMount;
use k8s_openapi::api::core::v1::{Container, HostPathVolumeSource, Pod, PodSpec, Volume, VolumeMount};
use sha2::{Digest, Sha256};

pub use reach::Reach;
pub use refusal::{Asker, Cause, Dropped, Refusal};

use super::Profile;
use super::decision::{Change, ContainerAt, Field, Winner};

/// Annotation of a pod that asks for data caches: `model-a=/models/a,model-b=/models/b`, names of DataCaches in its
/// namespace and where its containers see them. At most [`MAX_MOUNTS`].
pub const DATA_CACHES_ANNOTATION: &str = "eci-operator.io/data-caches";
/// Annotation of a pod that says what happens while a data cache is not Available: [`WAIT_GATE`] or [`WAIT_DENY`].
pub const DATA_CACHE_WAIT_ANNOTATION: &str = "eci-operator.io/data-cache-wait";
/// The pod is made and waits; also when the annotation is absent.
pub const WAIT_GATE: &str = "gate";
/// The pod is refused.
pub const WAIT_DENY: &str = "deny";
/// Scheduling gate of a pod that waits for its data caches.
pub const DATA_CACHE_GATE: &str = "eci-operator.io/data-cache";
/// The vendor's annotation with the bucket of all data caches of a pod.
pub const BUCKET_ANNOTATION: &str = "k8s.aliyun.com/eci-data-cache-bucket";
/// How the names of the volumes begin that data caches are mounted by.
pub const VOLUME_PREFIX: &str = "eci-data-cache-";
/// Most data caches that a pod mounts, as in the schema of EciProfile.
pub const MAX_MOUNTS: usize = 20;

/// Longest mount path, in characters, as in the schema of EciProfile.
const MAX_PATH: usize = 512;
/// Longest name of a DataCache.
const MAX_NAME: usize = 63;
/// Longest piece of a foreign text in a message, in characters.
const QUOTE: usize = 80;

/// A DataCache, as far as pods are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataCacheFacts {
    /// Its bucket.
    pub bucket: String,
    /// Its path in the bucket, absolute.
    pub path: String,
    /// Whether pods can mount it now.
    pub available: bool,
    /// The reason of its condition Ready, for messages.
    pub reason: String,
}

/// The DataCaches of the cluster, by namespace and name.
pub type DataCaches = BTreeMap<(String, String), DataCacheFacts>;

/// What a pod asks for by its annotation; `None` when it does not ask.
pub fn asked(pod: &Pod) -> Option<Result<Vec<DataCacheMount>, Refusal>> {
    let annotation = pod.metadata.annotations.as_ref()?.get(DATA_CACHES_ANNOTATION)?;
    Some(parse(annotation))
}

/// Whether a volume is one that data caches are mounted by.
pub fn is_ours(volume: &Volume) -> bool {
    volume.name.starts_with(VOLUME_PREFIX) && volume.host_path.is_some()
}

fn parse(annotation: &str) -> Result<Vec<DataCacheMount>, Refusal> {
    let mut mounts = Vec::new();
    for item in annotation.split(',') {
        let wrong = |what| Refusal::Syntax { item: quote(item), what };
        let (name, path) = item.trim().split_once('=').ok_or(wrong("has no ="))?;
        let (name, path) = (name.trim(), path.trim());
        if !is_name(name) {
            return Err(wrong("does not begin with the name of a DataCache"));
        }
        if !is_clean(path) {
            return Err(wrong("does not end with a clean absolute path"));
        }
        if mounts.len() == MAX_MOUNTS {
            return Err(wrong("is one too many: a pod mounts at most 20"));
        }
        mounts.push(DataCacheMount { name: name.to_owned(), mount_path: path.to_owned() });
    }
    Ok(mounts)
}

fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    name.len() <= MAX_NAME
        && bytes.iter().all(|b| inner(*b) || matches!(b, b'-' | b'.'))
        && bytes.first().is_some_and(|b| inner(*b))
        && bytes.last().is_some_and(|b| inner(*b))
}

/// As the schema of EciProfile wants mount paths.
fn is_clean(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    path.chars().count() <= MAX_PATH
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
        && !path.contains(|c: char| c == ':' || c == '\\' || c.is_control())
}

fn quote(text: &str) -> String {
    text.chars().take(QUOTE).collect()
}

/// Whether one path is the other or inside it.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('/').filter(|p| !p.is_empty()), b.split('/').filter(|p| !p.is_empty()));
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) if a == b => {}
            (Some(_), Some(_)) => return false,
            _ => return true,
        }
    }
}

/// Name of the volume for a DataCache: a name of a DataCache may have dots, that of a volume may not.
fn volume_name(cache: &str) -> String {
    let digest = hex::encode(Sha256::digest(cache.as_bytes()));
    format!("{VOLUME_PREFIX}{}", digest.get(..12).unwrap_or_default())
}

/// A data cache that the pod mounts.
struct Chosen<'a> {
    asker: Asker,
    name: String,
    mount_path: String,
    facts: &'a DataCacheFacts,
}

/// What is known when data caches are chosen.
pub(super) struct Choosing<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its spec.
    pub spec: &'a PodSpec,
    /// Its namespace.
    pub namespace: &'a str,
    /// DataCaches of the cluster.
    pub caches: &'a DataCaches,
    /// The profiles that apply, in order.
    pub profiles: &'a [&'a Profile],
    /// What keeps the pod from virtual nodes, if something but its own annotation has its way.
    pub kept_away: Option<&'a str>,
}

/// What comes of it.
#[derive(Default)]
pub(super) struct Outcome {
    /// Volumes, mounts, the annotation, the gate.
    pub changes: Vec<Change>,
    /// Who set each mount path.
    pub winners: BTreeMap<Field, Winner>,
    /// What is left out.
    pub dropped: Vec<Dropped>,
    /// Whether the pod mounts any.
    pub any: bool,
    /// The bucket of all, if the pod does not name it yet.
    pub bucket: Option<String>,
}

impl<'a> Choosing<'a> {
    /// Chooses. The pod's own come first, then those of the profiles in order; a profile's are taken all or not at all,
    /// but for mount paths that others have set before.
    pub(super) fn choose(&self) -> Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        let named = self.annotation(BUCKET_ANNOTATION);
        let mut chosen: Vec<Chosen<'a>> = Vec::new();
        if let Some(mounts) = asked(self.pod) {
            if self.kept_away.is_some() {
                return Err(Refusal::RegularNodes);
            }
            self.resolve(&Asker::Annotation, &mounts?, &mut chosen)?;
        }
        let mut bucket = named.cloned();
        if let (Some(first), Some(found)) = (chosen.first(), named)
            && first.facts.bucket != *found
        {
            let needed = first.facts.bucket.clone();
            return Err(Refusal::OtherBucket { asker: Asker::Annotation, needed, found: quote(found) });
        }
        bucket = bucket.or_else(|| chosen.first().map(|first| first.facts.bucket.clone()));
        for profile in self.profiles.iter().filter(|profile| !profile.spec.data_caches.is_empty()) {
            if let Some(who) = self.kept_away {
                let cause = Cause::RegularNodes { who: who.to_owned() };
                outcome.dropped.push(Dropped { profile: profile.name.clone(), cause });
                continue;
            }
            match self.of_profile(profile, bucket.as_deref(), &chosen)? {
                Ok(more) => {
                    bucket = bucket.or_else(|| more.first().map(|first| first.facts.bucket.clone()));
                    chosen.extend(more);
                }
                Err(cause) => outcome.dropped.push(Dropped { profile: profile.name.clone(), cause }),
            }
        }
        outcome.winners = chosen
            .iter()
            .map(|chosen| {
                let winner = match &chosen.asker {
                    Asker::Annotation => Winner::Pod,
                    Asker::Profile(name) => Winner::Profile(name.clone()),
                };
                (Field::DataCache(chosen.mount_path.clone()), winner)
            })
            .collect();
        outcome.any = !chosen.is_empty();
        self.mount(&chosen, &mut outcome.changes)?;
        outcome.changes.extend(self.gate(&chosen)?);
        outcome.bucket = bucket.filter(|_| outcome.any && named.is_none());
        Ok(outcome)
    }

    fn annotation(&self, name: &str) -> Option<&'a String> {
        self.pod.metadata.annotations.as_ref()?.get(name)
    }

    /// What one asks for, in one bucket and side by side.
    fn resolve(
        &self,
        asker: &Asker,
        mounts: &[DataCacheMount],
        chosen: &mut Vec<Chosen<'a>>,
    ) -> Result<(), Refusal> {
        for mount in mounts {
            let key = (self.namespace.to_owned(), mount.name.clone());
            let Some(facts) = self.caches.get(&key) else {
                let (name, namespace) = (quote(&mount.name), quote(self.namespace));
                return Err(Refusal::NotFound { asker: asker.clone(), name, namespace });
            };
            if let Some(first) = chosen.first().filter(|first| first.facts.bucket != facts.bucket) {
                let (first, second) = (first.facts.bucket.clone(), facts.bucket.clone());
                return Err(Refusal::Buckets { asker: asker.clone(), first, second });
            }
            let other = chosen.iter().find(|other| overlap(&other.mount_path, &mount.mount_path));
            if let Some(other) = other {
                let (first, second) = (quote(&other.mount_path), quote(&mount.mount_path));
                return Err(Refusal::Overlap { asker: asker.clone(), first, second });
            }
            let (name, mount_path) = (mount.name.clone(), mount.mount_path.clone());
            chosen.push(Chosen { asker: asker.clone(), name, mount_path, facts });
        }
        Ok(())
    }

    /// What a profile adds, or why it adds nothing.
    fn of_profile(
        &self,
        profile: &Profile,
        bucket: Option<&str>,
        before: &[Chosen<'a>],
    ) -> Result<Result<Vec<Chosen<'a>>, Cause>, Refusal> {
        let taken = |mount: &&DataCacheMount| !before.iter().any(|b| b.mount_path == mount.mount_path);
        let mounts: Vec<_> = profile.spec.data_caches.iter().filter(taken).cloned().collect();
        let mut chosen = Vec::new();
        self.resolve(&Asker::Profile(profile.name.clone()), &mounts, &mut chosen)?;
        if let (Some(first), Some(bucket)) = (chosen.first(), bucket)
            && first.facts.bucket != bucket
        {
            let (theirs, first) = (first.facts.bucket.clone(), quote(bucket));
            return Ok(Err(Cause::Bucket { bucket: theirs, first }));
        }
        for mount in &chosen {
            if let Some(first) = before.iter().find(|b| overlap(&b.mount_path, &mount.mount_path)) {
                let (path, first) = (quote(&mount.mount_path), quote(&first.mount_path));
                return Ok(Err(Cause::Overlap { path, first }));
            }
        }
        Ok(Ok(chosen))
    }

    /// Volumes, and mounts in every container that does not have them yet.
    fn mount(&self, chosen: &[Chosen<'a>], changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let mut made: Vec<String> = Vec::new();
        for cache in chosen {
            let name = volume_name(&cache.name);
            let present = self.spec.volumes.iter().flatten().find(|volume| volume.name == name);
            let path = |volume: &Volume| volume.host_path.as_ref().map(|host| host.path.clone());
            match present {
                Some(volume) if path(volume).as_ref() != Some(&cache.facts.path) => {
                    return Err(Refusal::VolumeTaken { volume: name, name: cache.name.clone() });
                }
                None if !made.contains(&name) => {
                    let host_path = HostPathVolumeSource { path: cache.facts.path.clone(), type_: None };
                    let volume =
                        Volume { name: name.clone(), host_path: Some(host_path), ..Volume::default() };
                    changes.push(Change::Volume(Box::new(volume)));
                    made.push(name);
                }
                _ => {}
            }
        }
        let init = self.spec.init_containers.iter().flatten().enumerate();
        let main = self.spec.containers.iter().enumerate();
        let all = init
            .map(|(i, container)| (ContainerAt::Init(i), container))
            .chain(main.map(|(i, container)| (ContainerAt::Main(i), container)));
        for (at, container) in all {
            for cache in chosen {
                if let Some(mount) = missing(cache, container)? {
                    changes.push(Change::Mount(at, mount));
                }
            }
        }
        Ok(())
    }

    /// The gate, if the pod has to wait and does not yet.
    fn gate(&self, chosen: &[Chosen<'a>]) -> Result<Option<Change>, Refusal> {
        let wait = self.annotation(DATA_CACHE_WAIT_ANNOTATION).map_or(WAIT_GATE, String::as_str);
        if !matches!(wait, WAIT_GATE | WAIT_DENY) {
            return Err(Refusal::Wait { found: quote(wait) });
        }
        let Some(missing) = chosen.iter().find(|chosen| !chosen.facts.available) else { return Ok(None) };
        let known = Some(missing.facts.reason.as_str()).filter(|reason| !reason.is_empty());
        let (name, reason) = (missing.name.clone(), quote(known.unwrap_or("Pending")));
        if wait == WAIT_DENY {
            return Err(Refusal::NotAvailable { name, reason });
        }
        if self.spec.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
            return Err(Refusal::GateWithNode { name, reason });
        }
        let gated = self.spec.scheduling_gates.iter().flatten().any(|gate| gate.name == DATA_CACHE_GATE);
        Ok((!gated).then(|| Change::Gate(DATA_CACHE_GATE.to_owned())))
    }
}

/// The mount that a container does not have yet.
fn missing(cache: &Chosen<'_>, container: &Container) -> Result<Option<VolumeMount>, Refusal> {
    let name = volume_name(&cache.name);
    let mounts = container.volume_mounts.iter().flatten();
    let used = mounts.map(|mount| (&mount.mount_path, mount.name == name));
    let devices = container.volume_devices.iter().flatten().map(|device| (&device.device_path, false));
    let mut all = used.chain(devices);
    let path = &cache.mount_path;
    match all.find(|(other, _)| overlap(other, path)) {
        Some((other, true)) if other == path => Ok(None),
        Some((other, _)) => Err(Refusal::PathTaken {
            asker: cache.asker.clone(),
            path: quote(path),
            container: quote(&container.name),
            other: quote(other),
        }),
        None => Ok(Some(VolumeMount {
            name,
            mount_path: path.clone(),
            read_only: Some(true),
            ..VolumeMount::default()
        })),
    }
}
