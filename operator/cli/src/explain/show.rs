//! An explanation as tables and as JSON.

use eci_core::profile::decide::Winner;
use eci_core::profile::patch::Operation;
use serde_json::{Value, json};

use super::Explained;
use crate::table::table as columns;

/// Head of a table of changes.
const CHANGES: [&str; 2] = ["CHANGE", "VALUE"];
/// What there is nothing of.
const NONE: &str = "-";
/// Longest value in a table, in characters; JSON has all of it.
const LONGEST: usize = 120;

pub(super) fn table(of: &Explained) -> String {
    let mut parts = vec![head(of)];
    if of.decision.tried.is_empty() {
        parts.push("There is no EciProfile.\n".to_owned());
    } else {
        parts.push(columns(["PROFILE", "PRIORITY", "MODE", "APPLIES", "WHY NOT"], &profiles(of)));
    }
    if !of.decision.winners.is_empty() {
        let rows = of.decision.winners.iter().map(|(field, winner)| [field.to_string(), who(winner)]);
        parts.push(columns(["FIELD", "DECIDED BY"], &rows.collect::<Vec<_>>()));
    }
    if !of.patch.is_empty() {
        parts.push(columns(CHANGES, &changes(&of.patch)));
    } else if of.decision.tried.iter().any(|tried| tried.mismatch.is_none()) {
        parts.push("Nothing changes.\n".to_owned());
    }
    if let Some(later) = &of.later {
        parts.push("The pod may go to virtual nodes later only: when it was unschedulable for spec.placement.spillAfter, within spec.placement.limits. Then:\n".to_owned());
        parts.push(columns(CHANGES, &changes(later)));
    }
    for (profile, would) in &of.audits {
        let audit = format!("Profile {profile} is in mode Audit. In mode Enforce it would change");
        if would.is_empty() {
            parts.push(format!("{audit} nothing more.\n"));
        } else {
            parts.extend([format!("{audit} this too:\n"), columns(CHANGES, &changes(would))]);
        }
    }
    parts.extend(of.decision.findings.iter().map(|finding| format!("Warning: {finding}\n")));
    parts.extend(of.decision.warnings.iter().map(|warning| format!("Warning: {warning}\n")));
    parts.extend(of.decision.rules.iter().map(|finding| format!("Warning: {finding}\n")));
    parts.extend(of.decision.denial.iter().map(|denial| format!("Denied: {denial}\n")));
    parts.join("\n")
}

fn head(of: &Explained) -> String {
    let made = match (&of.made_with, of.exact) {
        (None, _) => String::new(),
        (Some(made), true) => {
            format!("Made with {made}. Below stands what profiles added to what it says itself.\n")
        }
        (Some(made), false) => format!(
            "Made with {made}, which would make another pod of it now. Below stands what would be decided now.\n"
        ),
    };
    let missed = if of.missed.is_empty() {
        String::new()
    } else {
        format!(
            "It was made without {}, which was there before it: the operator did not answer when it was created. That cannot be put in later: delete the pod, and its workload makes one that has it.\n",
            of.missed.join(" and ")
        )
    };
    let daemon = if of.of_daemon_set {
        "It belongs to a DaemonSet: such pods run where their DaemonSet puts them, and profiles leave them as they are.\n"
    } else {
        ""
    };
    format!("Pod {}/{}\n{made}{missed}{daemon}", of.namespace, of.name)
}

fn profiles(of: &Explained) -> Vec<[String; 5]> {
    let tried = of.decision.tried.iter().map(|tried| {
        let priority = of.priorities.get(&tried.profile).map_or_else(|| NONE.to_owned(), i32::to_string);
        let (applies, why) = match &tried.mismatch {
            None => ("yes", NONE.to_owned()),
            Some(mismatch) => ("no", mismatch.to_string()),
        };
        let name = if tried.generation > 0 {
            format!("{}@{}", tried.profile, tried.generation)
        } else {
            tried.profile.clone()
        };
        [name, priority, format!("{:?}", tried.mode), applies.to_owned(), why]
    });
    tried.collect()
}

fn who(winner: &Winner) -> String {
    match winner {
        Winner::Pod => "the pod itself".to_owned(),
        Winner::Profile(name) => format!("profile {name}"),
        Winner::PodNetworking(name) => format!("PodNetworking {name}"),
    }
}

/// The operations that say something: not those that only make room for others.
fn changes(patch: &[Operation]) -> Vec<[String; 2]> {
    let empty = |value: &Value| {
        value.as_object().is_some_and(serde_json::Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    };
    let told = patch.iter().filter(|operation| !empty(&operation.value));
    told.map(|operation| [path(&operation.path), short(&operation.value)]).collect()
}

/// A JSON pointer as people write a field.
fn path(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part == "-" {
            text.push_str("[+]");
        } else if part.contains(['.', '/']) {
            text.extend(["[", &part, "]"]);
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part);
        }
    }
    text
}

fn short(value: &Value) -> String {
    let whole = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let clean: String = whole.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().count() > LONGEST {
        let cut: String = clean.chars().take(LONGEST).collect();
        format!("{cut}…")
    } else {
        clean
    }
}

pub(super) fn json(of: &Explained) -> Value {
    let tried = of.decision.tried.iter().map(|tried| {
        json!({
            "profile": tried.profile,
            "generation": tried.generation,
            "priority": of.priorities.get(&tried.profile),
            "mode": tried.mode,
            "applies": tried.mismatch.is_none(),
            "firstClauseFailed": tried.mismatch.as_ref().map(ToString::to_string),
        })
    });
    let fields = of.decision.winners.iter().map(|(field, winner)| {
        let (by, profile) = match winner {
            Winner::Pod => ("Pod", None),
            Winner::Profile(name) => ("Profile", Some(name)),
            Winner::PodNetworking(_) => ("PodNetworking", None),
        };
        json!({ "field": field.to_string(), "decidedBy": by, "profile": profile })
    });
    let warnings = of.decision.findings.iter().map(|finding| {
        json!({
            "annotation": finding.annotation,
            "severity": format!("{:?}", finding.severity),
            "message": finding.to_string(),
        })
    });
    let more = of
        .decision
        .warnings
        .iter()
        .map(|warning| json!({ "severity": "Warning", "message": warning.to_string() }));
    let rules = of.decision.rules.iter().map(|finding| {
        json!({ "rule": finding.rule.name(), "mode": finding.mode.as_str(), "message": finding.to_string() })
    });
    let audits = of.audits.iter().map(|(profile, patch)| json!({ "profile": profile, "patch": patch }));
    json!({
        "namespace": of.namespace,
        "name": of.name,
        "madeWith": of.made_with,
        "asDecidedNow": of.exact,
        "ofDaemonSet": of.of_daemon_set,
        "missed": of.missed,
        "profiles": tried.collect::<Vec<_>>(),
        "fields": fields.collect::<Vec<_>>(),
        "patch": of.patch,
        "deferred": of.decision.deferred,
        "laterPatch": of.later,
        "audits": audits.collect::<Vec<_>>(),
        "warnings": warnings.chain(more).collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "denial": of.decision.denial.as_ref().map(ToString::to_string),
    })
}
