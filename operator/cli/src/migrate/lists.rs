//! Lists that the vendor writes into one text, with commas.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::report::Ledger;
use super::syntax;
use crate::manifest::cut;

/// A value and the path that it was found at.
pub(super) type Found = (String, String);

/// Most registries of an object.
const MAX_REGISTRIES: usize = 20;
/// Most Container Registry instances of an object.
const MAX_ACR: usize = 5;
/// Most sizes and instance types of a profile.
const MAX_CANDIDATES: usize = 5;

/// The parts of a text, without doubles and empty ones, in order.
fn parts(text: &str) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    text.split(',').map(str::trim).filter(|part| !part.is_empty() && seen.insert(*part)).collect()
}

/// IDs; `None` when one of them is none, or when there are too many.
pub(super) fn ids(
    text: &str,
    prefix: &str,
    most: usize,
    path: &str,
    ledger: &mut Ledger,
) -> Option<Vec<String>> {
    let ids = parts(text);
    if let Some(bad) = ids.iter().find(|id| !syntax::id(id, prefix)) {
        ledger.broken(path, format!("{:?} is no ID that starts with {prefix} in lower case", cut(bad)));
        return None;
    }
    if ids.is_empty() || ids.len() > most {
        ledger.broken(path, format!("must have 1 to {most} IDs, and has {}", ids.len()));
        return None;
    }
    Some(ids.into_iter().map(str::to_owned).collect())
}

/// `spec.instance.candidates`.
pub(super) fn candidates(text: &str, path: &str, ledger: &mut Ledger) -> Option<Value> {
    let mut all = Vec::new();
    for part in parts(text) {
        let Some(candidate) = candidate(part) else {
            ledger.broken(path, format!("{:?} is no size such as 2-4Gi and no instance type", cut(part)));
            return None;
        };
        all.push(candidate);
    }
    if all.is_empty() || all.len() > MAX_CANDIDATES {
        ledger.broken(path, format!("must have 1 to {MAX_CANDIDATES} entries, and has {}", all.len()));
        return None;
    }
    Some(json!(all))
}

fn candidate(text: &str) -> Option<Value> {
    let lower = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    if let Some(rest) = text.strip_prefix("ecs.") {
        let good = rest.split_once('.').is_some_and(|(family, size)| lower(family) && lower(size));
        return (good && text.len() <= 64).then(|| json!({ "instanceType": text }));
    }
    let whole =
        |text: &str| !text.starts_with('0') && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (cpu, memory) = text.split_once('-')?;
    let amount = memory.strip_suffix("Gi")?;
    let good = (matches!(cpu, "0.25" | "0.5") || whole(cpu)) && (amount == "0.5" || whole(amount));
    (good && cpu.len() <= 4 && memory.len() <= 8).then(|| json!({ "cpu": cpu, "memory": memory }))
}

/// `spec.registries`, from the lists of those that talk plain HTTP and those whose certificate is not checked.
pub(super) fn registries(
    plain: Option<&Found>,
    insecure: Option<&Found>,
    ledger: &mut Ledger,
) -> Option<Value> {
    let mut hosts: Vec<(String, Value)> = Vec::new();
    for (found, field) in [(plain, "plainHTTP"), (insecure, "insecureSkipTLSVerify")] {
        let Some((path, text)) = found else { continue };
        let (good, bad): (Vec<_>, Vec<_>) =
            parts(text).into_iter().partition(|host| syntax::registry_host(host));
        if !bad.is_empty() {
            let bad = cut(&bad.join(", "));
            ledger.broken(path, format!("{bad}: a registry is a host with an optional port; name each"));
        }
        for host in good {
            if let Some((_, entry)) = hosts.iter_mut().find(|(known, _)| known == host) {
                entry[field] = json!(true);
            } else if hosts.len() == MAX_REGISTRIES {
                ledger
                    .none(path, format!("an object has at most {MAX_REGISTRIES} registries: {}", cut(host)));
            } else {
                hosts.push((host.to_owned(), json!({ "host": host, field: true })));
            }
        }
        if hosts.iter().any(|(_, entry)| !entry[field].is_null()) {
            ledger.kept(path, &format!("spec.registries[].{field}"));
        }
    }
    (!hosts.is_empty()).then(|| hosts.into_iter().map(|(_, entry)| entry).collect())
}

/// `spec.acrInstances`. Roles belong to the instances in the order of the lists.
pub(super) fn acr_instances(
    ids: &Found,
    service: Option<&Found>,
    user: Option<&Found>,
    ledger: &mut Ledger,
) -> Option<Value> {
    let (path, text) = ids;
    let mut all = Vec::new();
    for part in parts(text) {
        let (region, id) = part.rsplit_once(':').map_or((None, part), |(region, id)| (Some(region), id));
        if !syntax::acr_id(id) || region.is_some_and(|region| !syntax::region(region)) {
            ledger.broken(path, format!("{:?} is no cri-… and no region:cri-…", cut(part)));
            return None;
        }
        let mut entry = json!({ "id": id });
        if let Some(region) = region {
            entry["regionID"] = json!(region);
        }
        if all.iter().any(|other: &Value| other["id"] == entry["id"]) {
            ledger.broken(path, format!("{id} is there twice, in two regions"));
            return None;
        }
        all.push(entry);
    }
    if all.is_empty() || all.len() > MAX_ACR {
        ledger.broken(path, format!("must have 1 to {MAX_ACR} instances, and has {}", all.len()));
        return None;
    }
    ledger.kept(path, "spec.acrInstances[].id");
    for (found, field) in [(service, "serviceRoleARN"), (user, "userRoleARN")] {
        let Some((path, text)) = found else { continue };
        let arns: Vec<_> = text.split(',').map(str::trim).collect();
        if arns.len() != all.len() || !arns.iter().all(|arn| syntax::role_arn(arn)) {
            let note = "must have one role such as acs:ram::1234567890:role/name for each instance";
            ledger.broken(path, note);
            continue;
        }
        for (entry, arn) in all.iter_mut().zip(arns) {
            entry[field] = json!(arn);
        }
        ledger.kept(path, &format!("spec.acrInstances[].{field}"));
    }
    Some(json!(all))
}
