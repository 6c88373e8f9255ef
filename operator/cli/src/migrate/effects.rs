//! Annotations and labels that the vendor's selectors give to pods, as fields of an EciProfile.

use std::collections::BTreeMap;

use eci_api::annotations::{self, PREFIX, Scope, Writer};
use serde_json::{Value, json};

use super::lists;
use super::report::{Fields, Ledger};
use super::syntax;
use crate::manifest::cut;

/// Labels by which the vendor's component sends pods to virtual nodes.
const ROUTES: [&str; 2] = ["alibabacloud.com/eci", "eci"];
/// Most annotations, and most labels, of a profile.
const MAX_EFFECTS: usize = 50;
/// Longest value of an annotation of a profile.
const MAX_VALUE: usize = 4096;

const NEEDS_STRATEGY: &str = "does nothing without k8s.aliyun.com/eci-spot-strategy in the same effect: a profile has its spot settings as a whole";
const NEEDS_EIP: &str = "does nothing without k8s.aliyun.com/eci-with-eip: \"true\" in the same effect";

/// Effects of a selector, written into the spec of a profile.
pub(super) fn effects(effect: Option<Value>, path: &str, spec: &mut Value, ledger: &mut Ledger) {
    let mut effect = Fields::of(effect, path, ledger);
    let given = Annotations::read(effect.take("annotations"), &effect.path("annotations"), ledger);
    let label_path = effect.path("labels");
    let given_labels = Fields::of(effect.take("labels"), &label_path, ledger);
    effect.finish(ledger);
    if let Some(given) = given {
        given.fill(spec, ledger);
    }
    labels(given_labels, spec, ledger);
}

fn labels(given: Fields, spec: &mut Value, ledger: &mut Ledger) {
    for (number, (key, path, value)) in given.rest().into_iter().enumerate() {
        let Value::String(value) = value else {
            ledger.broken(&path, format!("must be a text in quotes, not {}", cut(&value.to_string())));
            continue;
        };
        if ROUTES.contains(&key.as_str()) {
            if value == "true" {
                spec["placement"] = json!({ "policy": "VirtualNodesOnly" });
                let note =
                    "a profile sends pods to virtual nodes by placement, so that the scheduler knows of it";
                ledger.changed(&path, "spec.placement.policy", note);
            } else {
                ledger.none(&path, "only the value \"true\" means something");
            }
        } else if key.starts_with("eci-operator.io/") {
            ledger.none(&path, "labels of eci-operator.io/ are the operator's own");
        } else if !syntax::key(&key) || !syntax::label_value(&value) {
            ledger.broken(&path, "is no label that Kubernetes takes: pods with it could not be created");
        } else if number >= MAX_EFFECTS {
            ledger.none(&path, "a profile has at most 50 labels: use a second one with the same selector");
        } else {
            let to = format!("spec.effects.labels[{key}]");
            spec["effects"]["labels"][key] = json!(value);
            ledger.kept(&path, &to);
        }
    }
}

/// Annotations that are still to be written, each with its path in the vendor's object.
struct Annotations {
    left: BTreeMap<String, (String, String)>,
}

impl Annotations {
    fn read(given: Option<Value>, path: &str, ledger: &mut Ledger) -> Option<Self> {
        let given = Fields::of(Some(given?), path, ledger);
        let mut left = BTreeMap::new();
        for (key, path, value) in given.rest() {
            match value {
                Value::String(value) => {
                    left.insert(key, (path, value));
                }
                other => {
                    ledger
                        .broken(&path, format!("must be a text in quotes, not {}", cut(&other.to_string())));
                }
            }
        }
        Some(Self { left })
    }

    fn fill(mut self, spec: &mut Value, ledger: &mut Ledger) {
        self.spot(spec, ledger);
        self.network(spec, ledger);
        self.eip(spec, ledger);
        self.ipv6(spec, ledger);
        self.instance(spec, ledger);
        self.images(spec, ledger);
        if let Some((path, value)) = self.known("acr-instance-ids", ledger) {
            let arns = ["acr-service-arns", "acr-user-arns"].map(|name| self.known(name, ledger));
            let [service, user] = arns;
            let found = lists::acr_instances(&(path, value), service.as_ref(), user.as_ref(), ledger);
            if let Some(found) = found {
                spec["acrInstances"] = found;
            }
        }
        let plain = self.known("plain-http-registry", ledger);
        let insecure = self.known("insecure-registry", ledger);
        if let Some(found) = lists::registries(plain.as_ref(), insecure.as_ref(), ledger) {
            spec["registries"] = found;
        }
        for (count, (key, (path, value))) in self.left.into_iter().enumerate() {
            other(count, &key, &path, &value, spec, ledger);
        }
    }

    /// An annotation of the vendor's with a value of its type.
    fn known(&mut self, name: &str, ledger: &mut Ledger) -> Option<(String, String)> {
        let name = format!("{PREFIX}{name}");
        let (path, value) = self.left.remove(&name)?;
        let annotation = annotations::find(&name)?;
        if annotation.value.accepts(&value) {
            Some((path, value))
        } else {
            ledger.broken(&path, format!("must be {}, not {:?}", annotation.value, cut(&value)));
            None
        }
    }

    fn spot(&mut self, spec: &mut Value, ledger: &mut Ledger) {
        let strategy = self.known("eci-spot-strategy", ledger);
        let limit = self.known("eci-spot-price-limit", ledger);
        let rest = ["eci-spot-duration", "eci-spot-fallback", "eci-spot-release-strategy"];
        let [duration, fallback, release] = rest.map(|name| self.known(name, ledger));
        let Some((path, strategy)) = strategy else {
            for (path, _) in [limit, duration, fallback, release].into_iter().flatten() {
                ledger.none(&path, NEEDS_STRATEGY);
            }
            return;
        };
        let limited = strategy == "SpotWithPriceLimit";
        let mut spot = json!({ "strategy": strategy });
        match limit {
            Some((path, limit)) if limited && limit.len() <= 12 => {
                spot["priceLimit"] = json!(limit);
                ledger.kept(&path, "spec.spot.priceLimit");
            }
            Some((path, _)) if limited => ledger.broken(&path, "is longer than any price"),
            Some((path, _)) => ledger.none(&path, "does nothing with the strategy SpotAsPriceGo"),
            None => {}
        }
        if limited && spot["priceLimit"].is_null() {
            ledger.broken(
                &path,
                "SpotWithPriceLimit needs k8s.aliyun.com/eci-spot-price-limit in the same effect; without it there are no spot settings",
            );
            for (path, _) in [duration, fallback, release].into_iter().flatten() {
                ledger.none(&path, "there are no spot settings that it could belong to");
            }
            return;
        }
        ledger.kept(&path, "spec.spot.strategy");
        if let Some((path, hours)) = duration {
            spot["protectionHours"] = json!(i32::from(hours != "0"));
            ledger.kept(&path, "spec.spot.protectionHours");
        }
        if let Some((path, fallback)) = fallback {
            spot["fallback"] = json!(if fallback == "true" { "PayAsYouGo" } else { "None" });
            ledger.kept(&path, "spec.spot.fallback");
        }
        if let Some((path, _)) = release {
            spot["release"] = json!("Evict");
            let note = "the operator evicts at the notice, instead of the virtual node";
            ledger.changed(&path, "spec.spot.release", note);
        }
        spec["spot"] = spot;
    }

    fn network(&mut self, spec: &mut Value, ledger: &mut Ledger) {
        let lists =
            [("eci-vswitch", "vsw-", 10, "vSwitchIDs"), ("eci-security-group", "sg-", 5, "securityGroupIDs")];
        for (name, prefix, most, field) in lists {
            let Some((path, text)) = self.known(name, ledger) else { continue };
            if let Some(ids) = lists::ids(&text, prefix, most, &path, ledger) {
                spec["network"][field] = json!(ids);
                ledger.kept(&path, &format!("spec.network.{field}"));
            }
        }
    }

    fn eip(&mut self, spec: &mut Value, ledger: &mut Ledger) {
        let with = self.known("eci-with-eip", ledger);
        let made = with.as_ref().is_some_and(|(_, value)| value == "true");
        let mut eip = json!({});
        let parts = [
            ("eip-bandwidth", "bandwidth", ""),
            ("eip-isp", "isp", ""),
            ("eip-internet-charge-type", "chargeType", ""),
            ("eip-common-bandwidth-package-id", "commonBandwidthPackageID", "cbwp-"),
            ("eip-public-ip-address-pool-id", "addressPoolID", "pippool-"),
        ];
        for (name, field, prefix) in parts {
            let Some((path, value)) = self.known(name, ledger) else { continue };
            if !made {
                ledger.none(&path, NEEDS_EIP);
            } else if !prefix.is_empty() && !syntax::id(&value, prefix) {
                ledger.broken(&path, format!("must be an ID that starts with {prefix}"));
            } else {
                eip[field] = value.parse::<i32>().map_or_else(|_| json!(value), |number| json!(number));
                ledger.kept(&path, &format!("spec.network.eip.{field}"));
            }
        }
        match with {
            Some((path, _)) if made => {
                spec["network"]["eip"] = eip;
                ledger.kept(&path, "spec.network.eip");
            }
            Some((path, _)) => ledger.none(&path, "is what happens anyway"),
            None => {}
        }
    }

    fn ipv6(&mut self, spec: &mut Value, ledger: &mut Ledger) {
        let enable = self.known("eci-enable-ipv6", ledger);
        let internet = self.known("eci-ipv6-bandwidth-enable", ledger);
        let bandwidth = self.known("eci-ipv6-bandwidth", ledger);
        let is = |found: &Option<(String, String)>| found.as_ref().is_some_and(|(_, value)| value == "true");
        let (enabled, outside) = (is(&enable), is(&internet));
        let mbit = bandwidth.as_ref().and_then(|(_, value)| megabits(value));
        match enable {
            Some((path, _)) if enabled => {
                spec["network"]["ipv6"] = json!({});
                ledger.kept(&path, "spec.network.ipv6");
            }
            Some((path, _)) => ledger.none(&path, "is what happens anyway"),
            None => {}
        }
        let to = "spec.network.ipv6.internetBandwidth";
        match (internet, bandwidth) {
            (Some((on, _)), Some((path, _))) if enabled && outside => {
                if let Some(mbit) = mbit {
                    spec["network"]["ipv6"]["internetBandwidth"] = json!(mbit);
                    ledger.kept(&on, to);
                    ledger.kept(&path, to);
                } else {
                    ledger.none(&on, "there is no bandwidth that a profile could have");
                    ledger.broken(&path, "must be a whole number of Mbit/s from 1M to 1000M");
                }
            }
            (on, bandwidth) => {
                let note = "does nothing without k8s.aliyun.com/eci-enable-ipv6, k8s.aliyun.com/eci-ipv6-bandwidth-enable and k8s.aliyun.com/eci-ipv6-bandwidth together; a profile has them as spec.network.ipv6.internetBandwidth";
                for (path, _) in on.into_iter().chain(bandwidth) {
                    ledger.none(&path, note);
                }
            }
        }
    }

    fn instance(&mut self, spec: &mut Value, ledger: &mut Ledger) {
        if let Some((path, text)) = self.known("eci-use-specs", ledger)
            && let Some(candidates) = lists::candidates(&text, &path, ledger)
        {
            spec["instance"]["candidates"] = candidates;
            ledger.kept(&path, "spec.instance.candidates");
        }
        let Some((path, text)) = self.known("eci-extra-ephemeral-storage", ledger) else { return };
        let whole = |unit: &str| text.strip_suffix(unit).and_then(|n| n.parse::<i64>().ok());
        let gib = whole("Gi").or_else(|| whole("Ti").and_then(|tib| tib.checked_mul(1024)));
        let to = "spec.storage.extraEphemeral";
        match gib.filter(|gib| (1..=32_768).contains(gib)).map(|gib| format!("{gib}Gi")) {
            None => {
                let found = cut(&text);
                ledger.broken(&path, format!("must be a whole number of Gi up to 32768Gi, not {found:?}"));
            }
            Some(amount) => {
                if amount == text {
                    ledger.kept(&path, to);
                } else {
                    ledger.changed(&path, to, format!("is written as {amount}"));
                }
                spec["storage"]["extraEphemeral"] = json!(amount);
            }
        }
    }

    fn images(&mut self, spec: &mut Value, ledger: &mut Ledger) {
        if let Some((path, value)) = self.known("eci-auto-imc", ledger) {
            spec["imageCache"]["mode"] = json!(if value == "true" { "Auto" } else { "None" });
            ledger.kept(&path, "spec.imageCache.mode");
        }
        if let Some((path, _)) = self.known("eci-imc-id", ledger) {
            ledger.none(&path, "a profile names ImageCaches, not IDs: make one with spec.adopt.imageCacheID, and name it in spec.imageCache.refs with the mode Pinned");
        }
        if let Some((path, _)) = self.known("eci-data-cache-bucket", ledger) {
            ledger.none(
                &path,
                "a profile names DataCaches with the paths that they appear at: spec.dataCaches",
            );
        }
    }
}

/// An annotation that no typed field of a profile writes.
fn other(count: usize, key: &str, path: &str, value: &str, spec: &mut Value, ledger: &mut Ledger) {
    let to = format!("spec.effects.annotations[{key}]");
    let known = annotations::find(key);
    if key.starts_with("eci-operator.io/") {
        ledger.none(path, "annotations of eci-operator.io/ are the operator's own");
    } else if !syntax::key(key) {
        ledger.broken(path, "is no key that Kubernetes takes: pods with it could not be created");
    } else if value.chars().count() > MAX_VALUE {
        ledger.broken(path, format!("is longer than {MAX_VALUE} characters"));
    } else if count >= MAX_EFFECTS {
        ledger.none(path, "a profile has at most 50 annotations: use a second one with the same selector");
    } else if known.is_some_and(|annotation| annotation.writer == Writer::System) {
        ledger.none(path, "is a report of the virtual node, not a setting");
    } else if known.is_some_and(|annotation| annotation.scope == Scope::OnePod) {
        ledger.none(path, "its value can belong to one pod at a time: write it into that pod");
    } else if let Some(field) = known.and_then(|annotation| annotation.profile_field) {
        // A typed field that was not asked for above has no way in from an annotation.
        ledger.none(path, format!("is written by {field} only"));
    } else if let Some(bad) =
        known.filter(|annotation| annotation.writer == Writer::User && !annotation.value.accepts(value))
    {
        ledger.broken(path, format!("must be {}, not {:?}", bad.value, cut(value)));
    } else {
        if known.is_none() && key.starts_with(PREFIX) {
            ledger.changed(path, &to, "is not known: the virtual node ignores what it does not know");
        } else if known.is_some_and(|annotation| annotation.writer == Writer::Legacy) {
            ledger.changed(path, &to, "is a name of the past that newer virtual nodes may ignore");
        } else {
            ledger.kept(path, &to);
        }
        spec["effects"]["annotations"][key] = json!(value);
    }
}

/// Mbit/s of a bandwidth such as `100M`.
fn megabits(text: &str) -> Option<i32> {
    let (digits, factor) = match text.strip_suffix('G') {
        Some(digits) => (digits, 1_000),
        None => (text.strip_suffix('M')?, 1),
    };
    digits.parse::<i32>().ok()?.checked_mul(factor).filter(|mbit| (1..=1_000).contains(mbit))
}
