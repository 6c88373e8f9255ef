//! The vendor's ImageCache and DataCache objects, as ours.

use std::collections::BTreeMap;

use eci_api::annotations::PREFIX;
use eci_api::image_reference::ImageReference;
use serde_json::{Value, json};

use super::report::{Fields, Ledger};
use super::{Migration, lists, syntax};
use crate::manifest::{Document, cut};

/// Most images of an ImageCache.
const MAX_IMAGES: usize = 20;
/// Most pull secrets of an ImageCache.
const MAX_SECRETS: usize = 10;
/// GiB of a cache.
const SIZES: (i64, i64) = (20, 32_768);
/// Days that a cache is kept.
const DAYS: (i64, i64) = (1, 65_536);
/// What kubectl writes for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const BUILT_ANEW: &str = "the cache is built anew; with --adopt the existing one is taken over";
const TAKE_OVER: &str = "the cache is taken over; delete the vendor's object with --cascade=orphan only when its component has been removed, or it deletes the cache in the cloud";

/// What a cache of ours is made of.
pub(super) struct Cache {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, Value>,
    pub(super) annotations: BTreeMap<String, Value>,
    pub(super) spec: Value,
}

/// How caches are migrated.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The namespace that they get; the vendor's have none.
    pub(super) namespace: String,
    /// Whether the caches of the cloud are taken over.
    pub(super) adopt: bool,
}

pub(super) fn image_cache(document: &Document, way: &Way, migration: &mut Migration) {
    let mut ledger = Ledger::new(&document.path(), "");
    let cache = of_image_cache(document, way, &mut ledger);
    migration.cache(cache, ledger);
}

fn of_image_cache(document: &Document, way: &Way, ledger: &mut Ledger) -> Option<Cache> {
    let mut cache = start("ImageCache", document, way, ledger);
    let mut fields = Fields::of(document.object.get("spec").cloned(), "spec", ledger);
    let images = images(&mut fields, ledger);
    size(&mut fields, "imageCacheSize", &mut cache.spec, ledger);
    days(&mut fields, &mut cache.spec, ledger);
    pull_secrets(&mut fields, way, &mut cache, ledger);
    fields.finish(ledger);
    annotations(document, &mut cache, ledger);
    let id = document.object.pointer("/status/imageCacheId").and_then(Value::as_str);
    match id {
        Some(id) if way.adopt && syntax::id(id, "imc-") => {
            cache.spec["adopt"] = json!({ "imageCacheID": id });
            cache.spec["deletionPolicy"] = json!("Retain");
            ledger.changed("status.imageCacheId", "spec.adopt.imageCacheID", TAKE_OVER);
        }
        Some(_) if way.adopt => {
            ledger.broken("status.imageCacheId", "is no ID that starts with imc-; the cache is built anew");
        }
        Some(_) => ledger.none("status.imageCacheId", BUILT_ANEW),
        None if way.adopt => {
            ledger.none("status.imageCacheId", "there is none to take over: the cache is built anew");
        }
        None => {}
    }
    let Some(images) = images else {
        ledger.broken(
            "spec.images",
            "no ImageCache is written: with fewer images it would not cover the pods that need it",
        );
        return None;
    };
    cache.spec["images"] = json!(images);
    Some(cache)
}

/// Name, labels and annotations.
fn start(kind: &'static str, document: &Document, way: &Way, ledger: &mut Ledger) -> Cache {
    let name = match syntax::name(document.name()) {
        Some(name) if name == document.name() => {
            ledger.kept("metadata.name", "metadata.name");
            name
        }
        Some(name) => {
            ledger.changed(
                "metadata.name",
                "metadata.name",
                format!("{name}: names have at most 63 characters"),
            );
            name
        }
        None => {
            ledger.broken("metadata.name", "is missing, or cannot be a name; `cache` here");
            "cache".to_owned()
        }
    };
    let note = format!("{}: ours are in a namespace, which --namespace says", way.namespace);
    ledger.changed("(no namespace)", "metadata.namespace", note);
    let mut cache = Cache {
        kind,
        namespace: way.namespace.clone(),
        name,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        spec: json!({}),
    };
    let given = document.object.pointer("/metadata/labels").cloned();
    for (key, path, value) in Fields::of(given, "metadata.labels", ledger).rest() {
        let good = value.as_str().is_some_and(syntax::label_value) && syntax::key(&key);
        if good && !key.starts_with("eci-operator.io/") {
            ledger.kept(&path, &format!("metadata.labels[{key}]"));
            cache.labels.insert(key, value);
        } else {
            ledger.broken(&path, "is no label that Kubernetes takes, or one of the operator's own");
        }
    }
    cache
}

fn images(fields: &mut Fields, ledger: &mut Ledger) -> Option<Vec<String>> {
    let path = fields.path("images");
    let Some(Value::Array(given)) = fields.take("images") else {
        ledger.broken(&path, "must be a list of images");
        return None;
    };
    let mut all: Vec<String> = Vec::new();
    let mut normal = Vec::new();
    for (number, image) in given.iter().enumerate() {
        let path = format!("{path}[{number}]");
        let text = image.as_str().unwrap_or_default();
        match ImageReference::parse(text) {
            Err(error) => {
                ledger.broken(&path, format!("{}: {error}", cut(&image.to_string())));
                return None;
            }
            Ok(reference) if normal.contains(&reference.normal_form()) => {
                ledger.changed(&path, "spec.images", "is there twice; once here");
            }
            Ok(reference) => {
                normal.push(reference.normal_form());
                all.push(text.to_owned());
                ledger.kept(&path, "spec.images");
            }
        }
    }
    if all.is_empty() || all.len() > MAX_IMAGES {
        ledger.broken(&path, format!("must have 1 to {MAX_IMAGES} images, and has {}", all.len()));
        return None;
    }
    Some(all)
}

fn size(fields: &mut Fields, key: &str, spec: &mut Value, ledger: &mut Ledger) {
    let path = fields.path(key);
    if let Some(gib) = fields.number(key, SIZES, ledger) {
        spec["size"] = json!(format!("{gib}Gi"));
        ledger.changed(&path, "spec.size", format!("is written as {gib}Gi"));
    }
}

fn days(fields: &mut Fields, spec: &mut Value, ledger: &mut Ledger) {
    let path = fields.path("retentionDays");
    if let Some(days) = fields.number("retentionDays", DAYS, ledger) {
        spec["retentionDays"] = json!(days);
        ledger.kept(&path, "spec.retentionDays");
    }
}

/// Secrets, each `namespace:name`. Ours are of the namespace of the cache.
fn pull_secrets(fields: &mut Fields, way: &Way, cache: &mut Cache, ledger: &mut Ledger) {
    let path = fields.path("imagePullSecrets");
    let given = match fields.take("imagePullSecrets") {
        None => return,
        Some(Value::Array(given)) => given,
        Some(other) => {
            return ledger.broken(&path, format!("must be a list, not {}", cut(&other.to_string())));
        }
    };
    let mut names: Vec<String> = Vec::new();
    for (number, secret) in given.iter().enumerate() {
        let path = format!("{path}[{number}]");
        let text = secret.as_str().unwrap_or_default();
        let (namespace, name) = text.split_once(':').unwrap_or((way.namespace.as_str(), text));
        if !syntax::namespace(namespace) || !syntax::object_name(name) {
            let found = cut(&secret.to_string());
            ledger.broken(&path, format!("must be namespace:name, not {found}"));
            continue;
        }
        if names.iter().any(|other| other == name) {
            ledger.broken(
                &path,
                format!("{name} is the name of a secret before it, too: ours are of one namespace"),
            );
            continue;
        }
        if names.len() == MAX_SECRETS {
            ledger.none(&path, format!("an ImageCache has at most {MAX_SECRETS} secrets"));
            continue;
        }
        let to = "spec.imagePullSecrets[].name";
        if namespace == way.namespace {
            ledger.kept(&path, to);
        } else {
            let note = format!(
                "secrets are of the cache's namespace: copy {name} from {namespace} to {}, or choose --namespace {namespace}",
                way.namespace
            );
            ledger.changed(&path, to, note);
        }
        names.push(name.to_owned());
    }
    if !names.is_empty() {
        let names: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
        cache.spec["imagePullSecrets"] = json!(names);
    }
}

/// Settings that the vendor has as annotations of the ImageCache.
fn annotations(document: &Document, cache: &mut Cache, ledger: &mut Ledger) {
    let given = document.object.pointer("/metadata/annotations").cloned();
    let mut found: BTreeMap<String, lists::Found> = BTreeMap::new();
    for (key, path, value) in Fields::of(given, "metadata.annotations", ledger).rest() {
        let Value::String(text) = value else {
            ledger.broken(&path, format!("must be a text in quotes, not {}", cut(&value.to_string())));
            continue;
        };
        if let Some(name) = key.strip_prefix(PREFIX) {
            found.insert(name.to_owned(), (path, text));
        } else if key.starts_with("eci-operator.io/") {
            ledger.none(&path, "annotations of eci-operator.io/ are the operator's own");
        } else if key != LAST_APPLIED {
            ledger.kept(&path, &format!("metadata.annotations[{key}]"));
            cache.annotations.insert(key, json!(text));
        }
    }
    let spec = &mut cache.spec;
    if let Some((path, text)) = found.remove("vswitch-ids")
        && let Some(ids) = lists::ids(&text, "vsw-", 10, &path, ledger)
    {
        spec["network"]["vSwitchIDs"] = json!(ids);
        ledger.kept(&path, "spec.network.vSwitchIDs");
    }
    if let Some((path, text)) = found.remove("security-group-id")
        && let Some(ids) = lists::ids(&text, "sg-", 1, &path, ledger)
    {
        spec["network"]["securityGroupID"] = json!(ids[0]);
        ledger.kept(&path, "spec.network.securityGroupID");
    }
    if let Some((path, text)) = found.remove("resource-group-id") {
        if syntax::resource_group(&text) {
            spec["resourceGroupID"] = json!(text);
            ledger.kept(&path, "spec.resourceGroupID");
        } else {
            ledger.broken(&path, format!("{:?} is no ID of a resource group", cut(&text)));
        }
    }
    if let Some(ids) = found.remove("acr-instance-ids") {
        let (service, user) = (found.remove("acr-service-arns"), found.remove("acr-user-arns"));
        if let Some(all) = lists::acr_instances(&ids, service.as_ref(), user.as_ref(), ledger) {
            spec["acrInstances"] = all;
        }
    }
    let (plain, insecure) = (found.remove("plain-http-registry"), found.remove("insecure-registry"));
    if let Some(all) = lists::registries(plain.as_ref(), insecure.as_ref(), ledger) {
        spec["registries"] = all;
    }
    for (name, field) in [("imc-enable-reuse", "reuseLayers"), ("imc-enable-flash", "flash")] {
        let Some((path, text)) = found.remove(name) else { continue };
        match text.as_str() {
            "true" | "false" => {
                spec[field] = json!(text == "true");
                ledger.kept(&path, &format!("spec.{field}"));
            }
            other => ledger.broken(&path, format!("must be \"true\" or \"false\", not {:?}", cut(other))),
        }
    }
    if let Some((path, text)) = found.remove("imc-os-type") {
        match text.to_lowercase().as_str() {
            "linux" | "windows" => {
                spec["osType"] = json!(if text.eq_ignore_ascii_case("linux") { "Linux" } else { "Windows" });
                ledger.kept(&path, "spec.osType");
            }
            _ => ledger.broken(&path, format!("must be linux or windows, not {:?}", cut(&text))),
        }
    }
    for (name, (path, _)) in found {
        match name.as_str() {
            "imc-cpu-arch" => ledger.none(&path, "an ImageCache has no field for the architecture"),
            _ => ledger.none(&path, "is no annotation of an ImageCache that the vendor documents"),
        }
    }
}

pub(super) fn data_cache(document: &Document, way: &Way, migration: &mut Migration) {
    let mut ledger = Ledger::new(&document.path(), "");
    let cache = of_data_cache(document, way, &mut ledger);
    migration.cache(cache, ledger);
}

fn of_data_cache(document: &Document, way: &Way, ledger: &mut Ledger) -> Option<Cache> {
    let mut cache = start("DataCache", document, way, ledger);
    let given = document.object.pointer("/metadata/annotations").cloned();
    for (key, path, value) in Fields::of(given, "metadata.annotations", ledger).rest() {
        if value.is_string() && !key.starts_with("eci-operator.io/") && key != LAST_APPLIED {
            ledger.kept(&path, &format!("metadata.annotations[{key}]"));
            cache.annotations.insert(key, value);
        } else if key != LAST_APPLIED {
            ledger.broken(&path, "is no text, or one of the operator's own");
        }
    }
    let mut fields = Fields::of(document.object.get("spec").cloned(), "spec", ledger);
    let bucket = fields.text("bucket", ledger);
    let path = fields.text("path", ledger);
    size(&mut fields, "size", &mut cache.spec, ledger);
    days(&mut fields, &mut cache.spec, ledger);
    let source = super::sources::source(fields.take("dataSource"), ledger);
    network(fields.take("netConfig"), &mut cache.spec, ledger);
    fields.finish(ledger);
    let mut whole = true;
    match &bucket {
        Some(bucket) if syntax::bucket(bucket) => {
            cache.spec["bucket"] = json!(bucket);
            ledger.kept("spec.bucket", "spec.bucket");
        }
        None if !ledger.speaks_of("spec.bucket") => {}
        _ => {
            ledger.broken("spec.bucket", "must have lower-case letters, digits and -, and not be eci-system");
            whole = false;
        }
    }
    if let Some(path) = path.filter(|path| syntax::clean_path(path)) {
        cache.spec["path"] = json!(path);
        ledger.kept("spec.path", "spec.path");
    } else {
        ledger.broken("spec.path", "must be absolute and clean, such as /models/a");
        whole = false;
    }
    if !whole {
        // Bucket and path are what pods know the cache by.
        return None;
    }
    if way.adopt {
        let id = document.object.pointer("/status/dataCacheId").and_then(Value::as_str);
        cache.spec["adopt"] = match id.filter(|id| syntax::id(id, "edc-")) {
            Some(id) => json!({ "dataCacheID": id }),
            None => json!({ "existing": true }),
        };
        cache.spec["deletionPolicy"] = json!("Retain");
        ledger.changed("(cache in the cloud)", "spec.adopt", TAKE_OVER);
    } else {
        ledger.changed("(cache in the cloud)", "spec.source", "a second cache with this bucket and path cannot be built beside the vendor's: delete that one first, or take it over with --adopt");
    }
    match source {
        Some(source) => cache.spec["source"] = source,
        None if way.adopt => {}
        None => {
            ledger.broken(
                "spec.dataSource",
                "no DataCache is written: nobody knows where its data comes from; --adopt needs no source",
            );
            return None;
        }
    }
    Some(cache)
}

fn network(given: Option<Value>, spec: &mut Value, ledger: &mut Ledger) {
    let mut net = Fields::of(given, "spec.netConfig", ledger);
    if let Some(text) = net.text("vSwitchId", ledger)
        && let Some(ids) = lists::ids(&text, "vsw-", 10, "spec.netConfig.vSwitchId", ledger)
    {
        spec["network"]["vSwitchIDs"] = json!(ids);
        ledger.kept("spec.netConfig.vSwitchId", "spec.network.vSwitchIDs");
    }
    if let Some(text) = net.text("securityGroupId", ledger)
        && let Some(ids) = lists::ids(&text, "sg-", 1, "spec.netConfig.securityGroupId", ledger)
    {
        spec["network"]["securityGroupID"] = json!(ids[0]);
        ledger.kept("spec.netConfig.securityGroupId", "spec.network.securityGroupID");
    }
    for (_, path, _) in net.rest() {
        ledger.none(&path, "is no field that the vendor documents; an EIP for the build is spec.eip, or spec.network.eipInstanceID");
    }
}
