//! `kubectl eci migrate`: the vendor's objects as ours, with a report of every field.
//!
//! Pure but for reading files and the cluster: nothing is written. What the API server or the vendor's component writes
//! (status but for the ID of a cache, uid, generation and so on) is passed over; every other field has a line.

mod caches;
mod conditions;
mod effects;
mod lists;
mod report;
mod selectors;
mod show;
mod sources;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::args::MigrateArgs;
use crate::error::Error;
use crate::kubernetes::{Kubernetes, list};
use crate::manifest::{self, Document, cut};
use caches::{Cache, Way};
use report::{Ledger, Line, Outcome};

/// The vendor's ConfigMap.
const CONFIG_MAP: &str = "eci-profile";
/// Its namespace.
const SYSTEM_NAMESPACE: &str = "kube-system";
/// The namespace of caches when nobody says one.
const DEFAULT_NAMESPACE: &str = "default";

/// A kind of the vendor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vendors {
    ConfigMap,
    Selector,
    ImageCache,
    DataCache,
}

/// The kinds that are objects of their own: group, version, kind, plural.
const KINDS: [(&str, &str, &str, &str, Vendors); 4] = [
    ("eci.aliyun.com", "v1", "Selector", "selectors", Vendors::Selector),
    ("eci.aliyun.com", "v1beta1", "Selector", "selectors", Vendors::Selector),
    ("eci.alibabacloud.com", "v1", "ImageCache", "imagecaches", Vendors::ImageCache),
    ("eci.aliyun.com", "v1alpha1", "DataCache", "datacaches", Vendors::DataCache),
];

impl Vendors {
    /// What an object is; `None` for one that is not the vendor's.
    fn of(document: &Document) -> Option<Self> {
        if document.kind() == "ConfigMap" && document.name() == CONFIG_MAP {
            return Some(Self::ConfigMap);
        }
        let kind = KINDS.iter().find(|(group, version, kind, ..)| {
            document.kind() == *kind && document.api_version() == format!("{group}/{version}")
        });
        kind.map(|(.., vendors)| *vendors)
    }
}

/// What becomes of the vendor's objects.
#[derive(Clone, Debug, Default)]
struct Migration {
    /// Ours, each with kind and name for people.
    objects: Vec<(String, Value)>,
    lines: Vec<Line>,
    names: BTreeSet<String>,
}

impl Migration {
    /// Lines about what becomes no object.
    fn note(&mut self, ledger: Ledger) {
        self.lines.extend(ledger.lines);
    }

    /// A profile, or the lines that say why there is none.
    fn profile(&mut self, profile: Option<(String, Value)>, mut ledger: Ledger) {
        let object = profile.map(|(name, spec)| {
            let name = self.free("EciProfile", &name, &mut ledger);
            let path = format!("EciProfile {name}");
            let object = json!({
                "apiVersion": "eci-operator.io/v1alpha1", "kind": "EciProfile",
                "metadata": { "name": name }, "spec": spec,
            });
            self.objects.push((path.clone(), object));
            path
        });
        ledger.becomes(object);
        self.note(ledger);
    }

    /// A cache, or the lines that say why there is none.
    fn cache(&mut self, cache: Option<Cache>, mut ledger: Ledger) {
        let object = cache.map(|cache| {
            let name = self.free(cache.kind, &cache.name, &mut ledger);
            let path = format!("{} {}/{name}", cache.kind, cache.namespace);
            let mut object = json!({
                "apiVersion": "eci-operator.io/v1alpha1", "kind": cache.kind,
                "metadata": { "name": name, "namespace": cache.namespace }, "spec": cache.spec,
            });
            for (field, map) in [("labels", cache.labels), ("annotations", cache.annotations)] {
                if !map.is_empty() {
                    object["metadata"][field] = json!(map);
                }
            }
            self.objects.push((path.clone(), object));
            path
        });
        ledger.becomes(object);
        self.note(ledger);
    }

    /// A name of the kind that no other object of this migration has.
    fn free(&mut self, kind: &str, name: &str, ledger: &mut Ledger) -> String {
        let mut free = name.to_owned();
        let mut number = 2;
        while !self.names.insert(format!("{kind} {free}")) {
            free = syntax::numbered(name, number);
            number += 1;
        }
        if free != name {
            let note = format!("{free}: another object has the name {name}");
            ledger.changed("(name)", "metadata.name", note);
        }
        free
    }

    fn broken(&self) -> usize {
        self.lines.iter().filter(|line| line.outcome == Outcome::Broken).count()
    }
}

/// Migrates objects; those that are not the vendor's are named in the second answer.
fn convert(documents: &[Document], way: &Way) -> (Migration, Vec<String>) {
    let mut migration = Migration::default();
    let mut passed = Vec::new();
    for document in documents {
        match Vendors::of(document) {
            Some(Vendors::ConfigMap) => selectors::config_map(document, &mut migration),
            Some(Vendors::Selector) => selectors::selector(document, &mut migration),
            Some(Vendors::ImageCache) => caches::image_cache(document, way, &mut migration),
            Some(Vendors::DataCache) => caches::data_cache(document, way, &mut migration),
            None => passed.push(format!(
                "{}: {} ({})",
                document.file,
                document.path(),
                cut(document.api_version())
            )),
        }
    }
    units(&mut migration);
    (migration, passed)
}

/// What the ConfigMap adds up annotation by annotation, profiles take whole from one: tells where that may matter.
fn units(migration: &mut Migration) {
    let units = [
        (
            "spec.spot",
            "/spec/spot",
            &["strategy", "priceLimit", "protectionHours", "fallback", "release"][..],
        ),
        (
            "spec.network.vSwitchIDs and securityGroupIDs",
            "/spec/network",
            &["vSwitchIDs", "securityGroupIDs"],
        ),
    ];
    for (unit, pointer, fields) in units {
        let mut with: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
        for (path, object) in &migration.objects {
            let Some(value) = object.pointer(pointer) else { continue };
            let set: Vec<_> = fields.iter().copied().filter(|field| !value[*field].is_null()).collect();
            if !set.is_empty() {
                with.entry(set).or_insert(path);
            }
        }
        if with.len() > 1 {
            let profiles: Vec<_> = with.values().copied().collect();
            let mut ledger = Ledger::new("all selectors", "");
            ledger.changed(
                "(how they add up)",
                unit,
                format!("a pod gets it whole from the first profile that sets any of it, where selectors added up annotation by annotation: see whether pods match several of {}", profiles.join(", ")),
            );
            migration.note(ledger);
        }
    }
}

pub(crate) async fn migrate(args: &MigrateArgs) -> Result<(String, Result<(), Error>), Error> {
    if args.kube.all_namespaces {
        return Err(Error::Usage(
            "--all-namespaces: caches are written for one namespace; use --namespace".to_owned(),
        ));
    }
    let (documents, namespace) = if args.filename.is_empty() {
        let cluster = Kubernetes::connect(&args.kube).await?;
        (from_cluster(&cluster).await?, cluster.namespace.clone())
    } else {
        (manifest::read(&args.filename)?, args.kube.namespace.clone())
    };
    let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    if !syntax::namespace(&namespace) {
        return Err(Error::Usage(format!("{:?} is no name of a namespace", cut(&namespace))));
    }
    let (migration, passed) = convert(&documents, &Way { namespace, adopt: args.adopt });
    if migration.lines.is_empty() {
        return Err(Error::Usage(nothing(args, &passed)));
    }
    let text = show::show(&migration, &passed, args.output)?;
    let result = match migration.broken() {
        0 => Ok(()),
        broken => Err(Error::Incomplete(format!(
            "{broken} fields could not be migrated: they are the broken ones of the report"
        ))),
    };
    Ok((text, result))
}

fn nothing(args: &MigrateArgs, passed: &[String]) -> String {
    let wanted = "no ConfigMap eci-profile, and no Selector, ImageCache or DataCache of the groups eci.aliyun.com and eci.alibabacloud.com in a version that is known";
    let found = match passed {
        [] => String::new(),
        [one] => format!("; there is {one}"),
        [one, rest @ ..] => format!("; there is {one}, and {} more", rest.len()),
    };
    if args.filename.is_empty() {
        format!("there is {wanted}, in the cluster")
    } else {
        format!("there is {wanted}, in the files{found}")
    }
}

/// The vendor's objects of a cluster. A kind that it does not know has none.
async fn from_cluster(cluster: &Kubernetes) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    if let Some(map) = maps.get_opt(CONFIG_MAP).await? {
        documents
            .push(Document { file: "cluster".to_owned(), object: with_type(json!(map), "v1", "ConfigMap") });
    }
    let mut seen = BTreeSet::new();
    for (group, version, kind, plural, _) in KINDS {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
        match list(&api, None).await {
            Ok(objects) => {
                let api_version = format!("{group}/{version}");
                for object in objects {
                    // One object is served in every version.
                    if object.metadata.uid.clone().is_none_or(|uid| seen.insert(uid)) {
                        let object = with_type(serde_json::to_value(object)?, &api_version, kind);
                        documents.push(Document { file: "cluster".to_owned(), object });
                    }
                }
            }
            Err(Error::Kubernetes(kube::Error::Api(status))) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(documents)
}

/// Items of lists come without their type.
fn with_type(mut object: Value, api_version: &str, kind: &str) -> Value {
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    object
}
