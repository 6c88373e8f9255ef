//! Where the data of a DataCache comes from.

use serde_json::{Value, json};

use super::report::{Fields, Ledger};
use super::syntax;

/// Most options of a source.
const MAX_OPTIONS: usize = 20;
/// Most options of an NFS mount.
const MAX_MOUNT_OPTIONS: usize = 20;

const TOKEN: &str = "is a secret, which no manifest should have: put it into a Secret and name it in spec.source.accessTokenSecretRef";
const SECRET: &str = "looks like a secret, which no manifest should have: put it into a Secret and name that in spec.source.custom.optionsFrom";

/// Parts of keys whose values are likely to be secret.
const SECRET_WORDS: [&str; 6] = ["secret", "token", "password", "accesskey", "credential", "sk"];

/// `spec.source`; `None` when there is none that could be written, of which a line tells.
pub(super) fn source(given: Option<Value>, ledger: &mut Ledger) -> Option<Value> {
    let path = "spec.dataSource";
    let mut given = Fields::of(Some(given?), path, ledger);
    let kind = given.text("type", ledger);
    let options = options(given.take("options"), ledger);
    given.finish(ledger);
    let Some(kind) = kind else {
        ledger.broken("spec.dataSource.type", "is missing: URL, NAS, OSS or SNAPSHOT");
        return None;
    };
    match kind.as_str() {
        "URL" => url(options, ledger),
        "NAS" => nas(options, ledger),
        _ => custom(&kind, options, ledger),
    }
}

/// The options, with the lengths of their keys taken off, as the wire has them (`#3#url`).
fn options(given: Option<Value>, ledger: &mut Ledger) -> Fields {
    let path = "spec.dataSource.options";
    let mut plain = serde_json::Map::new();
    for (key, path, value) in Fields::of(given, path, ledger).rest() {
        let short = unprefixed(&key).to_owned();
        if plain.contains_key(&short) {
            ledger.broken(&path, "is there twice, once with the length of its key");
        } else {
            plain.insert(short, value);
        }
    }
    Fields::of(Some(Value::Object(plain)), path, ledger)
}

/// `#3#url` is `url`.
fn unprefixed(key: &str) -> &str {
    let stripped = key.strip_prefix('#').and_then(|rest| rest.split_once('#'));
    stripped.filter(|(length, name)| length.parse() == Ok(name.len())).map_or(key, |(_, name)| name)
}

fn url(mut options: Fields, ledger: &mut Ledger) -> Option<Value> {
    let at = |key: &str| format!("spec.dataSource.options.{key}");
    if options.take("accessToken").is_some() {
        ledger.none(&at("accessToken"), TOKEN);
    }
    let found = if let Some(hub) = options.text("repoSource", ledger) {
        repository(&hub, &mut options, ledger)
    } else {
        match options.text("url", ledger) {
            Some(url) if syntax::url(&url) => {
                ledger.kept(&at("url"), "spec.source.url.url");
                Some(json!({ "type": "URL", "url": { "url": url } }))
            }
            // Not shown: it may contain a login.
            _ => {
                ledger.broken(
                    &at("url"),
                    "must be an address with http:// or https://, without spaces and without a login",
                );
                None
            }
        }
    };
    options.finish(ledger);
    if found.is_some() {
        ledger.kept("spec.dataSource.type", "spec.source.type");
    }
    found
}

fn repository(hub: &str, options: &mut Fields, ledger: &mut Ledger) -> Option<Value> {
    let at = |key: &str| format!("spec.dataSource.options.{key}");
    let (kind, field, repository_type) = match hub {
        "HuggingFace/Model" => ("HuggingFace", "huggingFace", "Model"),
        "HuggingFace/DataSet" => ("HuggingFace", "huggingFace", "DataSet"),
        "ModelScope/Model" => ("ModelScope", "modelScope", "Model"),
        "ModelScope/DataSet" => ("ModelScope", "modelScope", "DataSet"),
        _ => {
            ledger.broken(
                &at("repoSource"),
                "must be HuggingFace/Model, HuggingFace/DataSet, ModelScope/Model or ModelScope/DataSet",
            );
            return None;
        }
    };
    let Some(id) = options.text("repoId", ledger).filter(|id| syntax::repository(id)) else {
        ledger.broken(&at("repoId"), "must be the ID of a repository, such as owner/name");
        return None;
    };
    let mut repository = json!({ "repoID": id, "repoType": repository_type });
    ledger.kept(&at("repoSource"), &format!("spec.source.{field}.repoType"));
    ledger.kept(&at("repoId"), &format!("spec.source.{field}.repoID"));
    if let Some(revision) = options.text("revision", ledger) {
        if syntax::revision(&revision) {
            repository["revision"] = json!(revision);
            ledger.kept(&at("revision"), &format!("spec.source.{field}.revision"));
        } else {
            ledger.broken(&at("revision"), "must be a branch, tag or commit");
            return None;
        }
    }
    Some(json!({ "type": kind, field: repository }))
}

fn nas(mut options: Fields, ledger: &mut Ledger) -> Option<Value> {
    let at = |key: &str| format!("spec.dataSource.options.{key}");
    let server = options.text("server", ledger).filter(|server| syntax::server(server));
    let path = options.text("path", ledger).filter(|path| {
        path.starts_with('/') && path.chars().count() <= 1024 && !path.contains(char::is_control)
    });
    let version = options.text("vers", ledger);
    let mount = options.text("options", ledger);
    options.finish(ledger);
    let (Some(server), Some(path)) = (server, path) else {
        ledger.broken("spec.dataSource.options", "must have a server, which is a host, and an absolute path");
        return None;
    };
    ledger.kept("spec.dataSource.type", "spec.source.type");
    ledger.kept(&at("server"), "spec.source.nas.server");
    ledger.kept(&at("path"), "spec.source.nas.path");
    let mut nas = json!({ "server": server, "path": path });
    match version.as_deref() {
        None => {}
        Some(version @ ("3" | "4" | "4.0" | "4.1" | "4.2")) => {
            nas["version"] = json!(version);
            ledger.kept(&at("vers"), "spec.source.nas.version");
        }
        Some(_) => ledger.broken(&at("vers"), "must be 3, 4, 4.0, 4.1 or 4.2; the cloud's default here"),
    }
    if let Some(mount) = mount {
        let all: std::collections::BTreeSet<_> =
            mount.split(',').map(str::trim).filter(|option| !option.is_empty()).collect();
        if all.len() <= MAX_MOUNT_OPTIONS && all.iter().all(|option| syntax::mount_option(option)) {
            nas["mountOptions"] = json!(all);
            ledger.kept(&at("options"), "spec.source.nas.mountOptions");
        } else {
            let note = format!(
                "must be at most {MAX_MOUNT_OPTIONS} options such as nolock or rsize=1048576; none here"
            );
            ledger.broken(&at("options"), note);
        }
    }
    Some(json!({ "type": "NAS", "nas": nas }))
}

fn custom(kind: &str, options: Fields, ledger: &mut Ledger) -> Option<Value> {
    let good = kind.len() <= 32
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !good {
        ledger.broken("spec.dataSource.type", "must be URL, NAS, OSS, SNAPSHOT or another word in capitals");
        return None;
    }
    let note = "the options of this type are documented nowhere, so they are passed on as they are";
    ledger.changed("spec.dataSource.type", "spec.source.custom.cloudType", note);
    let mut custom = json!({ "cloudType": kind });
    for (number, (key, path, value)) in options.rest().into_iter().enumerate() {
        let lower = key.to_lowercase();
        match value {
            _ if SECRET_WORDS.iter().any(|word| lower.contains(word)) => ledger.none(&path, SECRET),
            _ if number >= MAX_OPTIONS => ledger.none(&path, "a source has at most 20 options"),
            Value::String(text) if text.len() <= 2048 && (1..=128).contains(&key.len()) => {
                ledger.kept(&path, &format!("spec.source.custom.options[{key}]"));
                custom["options"][key] = json!(text);
            }
            _ => ledger.broken(&path, "must be a text in quotes of at most 2048 characters"),
        }
    }
    Some(json!({ "type": "Custom", "custom": custom }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_key_is_taken_off_when_it_is_right() {
        for (key, plain) in [
            ("#3#url", "url"),
            ("url", "url"),
            ("#4#url", "#4#url"),
            ("#url", "#url"),
            ("##", "##"),
            ("#0#", ""),
        ] {
            assert_eq!(unprefixed(key), plain);
        }
    }
}
