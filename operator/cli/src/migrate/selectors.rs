//! The selectors of the `eci-profile` ConfigMap and of the Selector objects, as EciProfiles.

use serde_json::{Value, json};

use super::conditions::{Unreadable, selection};
use super::effects::effects;
use super::report::{Fields, Ledger};
use super::{Migration, syntax};
use crate::manifest::{Document, cut};

/// Distance between the priorities of two selectors of a ConfigMap, so that others fit between them.
const STEP: usize = 10;
/// Most selectors of one ConfigMap: an object has at most 1.5 MiB.
const MAX_SELECTORS: usize = 10_000;
/// The range of our priorities.
const MAX_PRIORITY: i64 = 1_000_000_000;

const COMPONENT: &str =
    "configures the vendor's virtual node component, which goes on reading this ConfigMap: leave it there";
const FIRST_ONLY: &str = "all profiles that match a pod add up; of Selectors only the one with the highest priority applied. Where two select the same pods, say in each what is meant";
const OVERWRITE: &str = "a profile never overwrites what a pod says itself; a Selector did";

/// What a key of the ConfigMap becomes.
fn setting(key: &str) -> Option<(&'static str, &'static str)> {
    Some(match key {
        "vSwitchIds" | "vswitchIds" | "vswitch" => (
            "chart value network.vSwitchIDs",
            "the default for the builds of caches; pods get theirs from the virtual node component, which goes on reading it here",
        ),
        "securityGroupId" | "securitygroup" => (
            "chart value network.securityGroupID",
            "the default for the builds of caches; pods get theirs from the virtual node component, which goes on reading it here",
        ),
        "regionId" | "region" => (
            "chart value region",
            "the operator's region; the virtual node component goes on reading it here",
        ),
        _ => return None,
    })
}

/// Keys of the ConfigMap that concern the vendor's component alone.
const COMPONENT_KEYS: [&str; 18] = [
    "vpcId",
    "vpc",
    "resourceGroupId",
    "resourcegroup",
    "enableClusterIp",
    "enableHybridMode",
    "enableLinuxArm64Node",
    "enablePVCController",
    "enablePrivateZone",
    "enableReuseSSLKey",
    "enableLogController",
    "slsMachineGroup",
    "featureGates",
    "kube-proxy",
    "privatezone",
    "quota-cpu",
    "quota-memory",
    "quota-pods",
];

/// The ConfigMap `eci-profile`.
pub(super) fn config_map(document: &Document, migration: &mut Migration) {
    let source = document.path();
    let mut ledger = Ledger::new(&source, "");
    let mut data = Fields::of(document.object.get("data").cloned(), "data", &mut ledger);
    let list = data.text("selectors", &mut ledger);
    for (key, path, value) in data.rest() {
        if !value.is_string() {
            ledger.broken(&path, "must be a text: the API server takes no ConfigMap with another value");
        } else if let Some((to, note)) = setting(&key) {
            ledger.changed(&path, to, note);
        } else if COMPONENT_KEYS.contains(&key.as_str()) {
            ledger.none(&path, COMPONENT);
        } else {
            ledger.none(&path, "is no key that the vendor documents");
        }
    }
    for key in ["binaryData", "immutable"] {
        if document.object.get(key).is_some() {
            ledger.none(key, "means nothing to the vendor's component");
        }
    }
    let selectors = match list.as_deref().map(serde_json::from_str::<Value>) {
        None => Vec::new(),
        Some(Ok(Value::Array(list))) if list.len() <= MAX_SELECTORS => list,
        Some(Ok(Value::Array(list))) => {
            ledger.broken(
                "data.selectors",
                format!("has {} selectors; at most {MAX_SELECTORS} are read", list.len()),
            );
            Vec::new()
        }
        Some(Ok(_)) => {
            ledger.broken("data.selectors", "must be a JSON array of selectors");
            Vec::new()
        }
        Some(Err(error)) => {
            ledger.broken(
                "data.selectors",
                format!("is no JSON, so that the vendor's component applies none of its selectors: {error}"),
            );
            Vec::new()
        }
    };
    migration.note(ledger);
    let count = selectors.len();
    for (number, selector) in selectors.into_iter().enumerate() {
        let mut ledger = Ledger::new(&source, &format!("data.selectors[{number}]."));
        let priority = i64::try_from((count - number) * STEP).unwrap_or(MAX_PRIORITY);
        let profile = of_config_map(selector, number, priority, &mut ledger);
        migration.profile(profile, ledger);
    }
}

/// The name and the spec of a profile, if there is anything that it could do.
type Profile = Option<(String, Value)>;

fn of_config_map(selector: Value, number: usize, priority: i64, ledger: &mut Ledger) -> Profile {
    if !selector.is_object() {
        ledger.broken("", format!("must be an object, not {}", cut(&selector.to_string())));
        return None;
    }
    let mut fields = Fields::of(Some(selector), "", ledger);
    let usual = format!("eci-profile-{}", number + 1);
    let name = match fields.text("name", ledger).filter(|name| !name.is_empty()) {
        None => {
            ledger.changed(
                "name",
                "metadata.name",
                format!("is missing, which the vendor refuses; {usual} here"),
            );
            usual
        }
        Some(text) => named(&text, "name", usual, ledger),
    };
    let mut spec = json!({ "priority": priority, "selector": {} });
    ledger.changed("(order)", "spec.priority", "the earlier selector wins, so it has the higher priority");
    let sides = [("namespaceSelector", "namespaceSelector"), ("objectSelector", "podSelector")];
    let mut any = false;
    for (theirs, ours) in sides {
        let Some(given) = fields.take(theirs) else { continue };
        match selection(given, theirs, false, ledger) {
            Ok(Some(side)) => {
                spec["selector"][ours] = side;
                any = true;
            }
            Ok(None) => {}
            Err(Unreadable) => return refused(fields, ledger),
        }
    }
    if any {
        spec["placement"] = json!({ "policy": "VirtualNodesOnly" });
        ledger.kept("(matching pods go to virtual nodes)", "spec.placement.policy");
    }
    let effect = fields.take("effect");
    let has_effect =
        effect.as_ref().is_some_and(|effect| effect.as_object().is_none_or(|map| !map.is_empty()));
    effects(effect, "effect", &mut spec, ledger);
    fields.finish(ledger);
    if !any && !has_effect {
        ledger.broken("", "selects nothing and does nothing");
        return None;
    }
    if !any {
        everything(&mut spec, ledger);
    }
    Some((name, spec))
}

/// Says of all fields that are left that nothing became of them.
fn refused(fields: Fields, ledger: &mut Ledger) -> Profile {
    for (_, path, _) in fields.rest() {
        ledger.none(
            &path,
            "no profile is written: with a part of its selector missing it would select other pods",
        );
    }
    None
}

/// A selector without any condition: its effects are for all pods on virtual nodes.
fn everything(spec: &mut Value, ledger: &mut Ledger) {
    let system = json!(["kube-node-lease", "kube-public", "kube-system"]);
    spec["selector"] = json!({ "namespaceSelector": { "matchExpressions": [
        { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": system }
    ] } });
    if spec.as_object_mut().and_then(|spec| spec.remove("placement")).is_some() {
        ledger.none(
            "(virtual nodes for every pod)",
            "no profile sends every pod of the cluster to virtual nodes: select those that you mean",
        );
    }
    ledger.changed(
        "(no condition)",
        "spec.selector",
        "all pods but those of system namespaces get the effects; on regular nodes the vendor's annotations mean nothing",
    );
}

fn named(text: &str, field: &str, usual: String, ledger: &mut Ledger) -> String {
    match syntax::name(text) {
        Some(name) if name == text => {
            ledger.kept(field, "metadata.name");
            name
        }
        Some(name) => {
            ledger.changed(
                field,
                "metadata.name",
                format!("{name}: names have at most 63 lower-case letters, digits, - and ."),
            );
            name
        }
        None => {
            ledger.changed(field, "metadata.name", format!("{usual}: of this name no letter can be kept"));
            usual
        }
    }
}

/// A Selector object of the standalone component.
pub(super) fn selector(document: &Document, migration: &mut Migration) {
    let mut ledger = Ledger::new(&document.path(), "");
    let profile = of_selector(document, &mut ledger);
    migration.profile(profile, ledger);
}

fn of_selector(document: &Document, ledger: &mut Ledger) -> Profile {
    let usual = "selector".to_owned();
    let name = named(document.name(), "metadata.name", usual, ledger);
    if document.namespace().is_some() {
        ledger.none(
            "metadata.namespace",
            "profiles have no namespace: they are for the whole cluster, as Selectors were",
        );
    }
    let mut fields = Fields::of(document.object.get("spec").cloned(), "spec", ledger);
    let mut spec = json!({ "selector": {} });
    let priority = fields.take("priority").unwrap_or_else(|| json!(0));
    match priority.as_i64() {
        Some(priority) if priority.abs() <= MAX_PRIORITY => {
            spec["priority"] = json!(priority);
            ledger.changed("spec.priority", "spec.priority", FIRST_ONLY);
        }
        Some(priority) => {
            spec["priority"] = json!(priority.clamp(-MAX_PRIORITY, MAX_PRIORITY));
            ledger.changed(
                "spec.priority",
                "spec.priority",
                format!("is brought within -{MAX_PRIORITY} to {MAX_PRIORITY}; and {FIRST_ONLY}"),
            );
        }
        None => {
            let found = cut(&priority.to_string());
            ledger.broken("spec.priority", format!("must be a whole number, not {found}; 0 here"));
        }
    }
    let mut any = false;
    for (theirs, ours) in [("namespaceLabels", "namespaceSelector"), ("objectLabels", "podSelector")] {
        let Some(given) = fields.take(theirs) else { continue };
        match selection(given, &fields.path(theirs), true, ledger) {
            Ok(Some(side)) => {
                spec["selector"][ours] = side;
                any = true;
            }
            Ok(None) => {}
            Err(Unreadable) => return refused(fields, ledger),
        }
    }
    policy(fields.take("policy"), &mut spec, ledger);
    let placed = !spec["placement"].is_null();
    let effect = fields.take("effect");
    let has_effect = effect.is_some();
    if has_effect {
        ledger.changed("spec.effect", "spec", OVERWRITE);
    } else {
        ledger.none("spec.effect", "is missing, which stops the vendor's component; a profile needs none");
    }
    effects(effect, "spec.effect", &mut spec, ledger);
    fields.finish(ledger);
    if !any && (placed || !has_effect) {
        ledger.broken("spec", "selects every pod of the cluster, which no profile does: give it objectLabels or namespaceLabels");
        return None;
    }
    if !any {
        everything(&mut spec, ledger);
    }
    Some((name, spec))
}

/// Where the pods may run.
fn policy(given: Option<Value>, spec: &mut Value, ledger: &mut Ledger) {
    let to = "spec.placement.policy";
    let Some(given) = given else {
        ledger.none(
            "spec.policy",
            "is missing, which stops the vendor's component; the profile says nothing of nodes",
        );
        return;
    };
    let mut fields = Fields::of(Some(given), "spec.policy", ledger);
    let known = [
        ("virtualNodeOnly", "VirtualNodesOnly"),
        ("normalNodeOnly", "RegularNodesOnly"),
        ("normalNodePrefer", "PreferRegularNodes"),
        ("fair", "Fair"),
    ];
    let mut chosen: Option<&str> = None;
    for (theirs, ours) in known {
        let Some(value) = fields.take(theirs) else { continue };
        let path = fields.path(theirs);
        if chosen.is_some() {
            ledger.broken(&path, "a second policy beside another");
            continue;
        }
        chosen = Some(ours);
        let note = match theirs {
            "virtualNodeOnly" => "the pod's own nodeSelector stays, where a Selector replaced it",
            "fair" => "the toleration is there when the pod is created, where a Selector added it later",
            "normalNodeOnly" => "virtual nodes are excluded by affinity, where a Selector did nothing",
            _ => "after spec.placement.spillAfter without a node, 30s unless you say so",
        };
        ledger.changed(&path, to, note);
        for (_, path, _) in Fields::of(Some(value), &path, ledger).rest() {
            ledger.none(&path, "a profile bounds what pods take on virtual nodes by spec.placement.limits (pods, cpu, memory)");
        }
    }
    if fields.take("namespaceResourceLimit").is_some() {
        ledger.none(
            "spec.policy.namespaceResourceLimit",
            "did nothing in the vendor's component; a profile has spec.placement.limits",
        );
        // A Selector with nothing else is not one without a policy.
        chosen = chosen.or(Some(""));
    }
    let unknown = fields.rest();
    for (_, path, _) in &unknown {
        ledger.broken(path, "is no policy that the vendor documents");
    }
    match chosen {
        Some("") => {}
        Some(ours) => spec["placement"] = json!({ "policy": ours }),
        None if unknown.is_empty() => {
            spec["placement"] = json!({ "policy": "VirtualNodesOnly" });
            ledger.changed("spec.policy", to, "an empty policy means virtual nodes only");
        }
        None => {}
    }
}
