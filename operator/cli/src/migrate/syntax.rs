//! What the schemas of our kinds take, where a wrong value is to be told before the API server refuses the object.

/// Longest name of an object of ours.
const LONGEST_NAME: usize = 63;
/// Longest value of a label.
const LONGEST_LABEL: usize = 63;
/// Longest prefix of a key.
const LONGEST_PREFIX: usize = 253;

fn chars(text: &str, also: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

fn lower(text: &str, also: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c))
}

fn ends_alphanumeric(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
}

/// An ID of the cloud, such as `vsw-…`.
pub(super) fn id(text: &str, prefix: &str) -> bool {
    text.len() <= 64 && text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && lower(rest, "-"))
}

/// The ID of a Container Registry instance.
pub(super) fn acr_id(text: &str) -> bool {
    text.len() <= 64 && text.strip_prefix("cri-").is_some_and(|rest| !rest.is_empty() && lower(rest, ""))
}

/// A region.
pub(super) fn region(text: &str) -> bool {
    (1..=64).contains(&text.len()) && lower(text, "-")
}

/// A role of an account.
pub(super) fn role_arn(text: &str) -> bool {
    let role = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/"));
    let good = |(account, role): (&str, &str)| {
        !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit()) && !role.is_empty()
    };
    text.len() <= 256 && !text.contains('\n') && role.is_some_and(good)
}

/// A resource group.
pub(super) fn resource_group(text: &str) -> bool {
    (1..=64).contains(&text.len()) && chars(text, "_-")
}

/// The host of a registry with an optional port.
pub(super) fn registry_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let good_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 253 && server(host) && port.is_none_or(good_port)
}

/// A host name or address.
pub(super) fn server(text: &str) -> bool {
    text.len() <= 253 && ends_alphanumeric(text) && chars(text, ".-")
}

/// The value of a label.
pub(super) fn label_value(text: &str) -> bool {
    text.is_empty() || (text.len() <= LONGEST_LABEL && ends_alphanumeric(text) && chars(text, "-_."))
}

/// The key of a label or an annotation.
pub(super) fn key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let good_prefix = |prefix: &str| {
        prefix.len() <= LONGEST_PREFIX
            && prefix.split('.').all(|part| ends_alphanumeric(part) && lower(part, "-"))
    };
    label_value(name) && !name.is_empty() && prefix.is_none_or(good_prefix)
}

/// The name of an object in Kubernetes, of at most 253 characters.
pub(super) fn object_name(text: &str) -> bool {
    text.len() <= 253 && ends_alphanumeric(text) && lower(text, "-.")
}

/// The name of a namespace.
pub(super) fn namespace(text: &str) -> bool {
    text.len() <= 63 && ends_alphanumeric(text) && lower(text, "-")
}

/// A name that our objects may have, as near to this one as can be; `None` when nothing is left of it.
pub(super) fn name(text: &str) -> Option<String> {
    let plain = text.to_lowercase();
    let mapped: String = plain
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' })
        .take(LONGEST_NAME)
        .collect();
    // Parts between dots begin and end with letters or digits.
    let parts: Vec<_> =
        mapped.split('.').map(|part| part.trim_matches('-')).filter(|p| !p.is_empty()).collect();
    Some(parts.join(".")).filter(|name| !name.is_empty())
}

/// A name with a number, so that it differs from another.
pub(super) fn numbered(name: &str, number: usize) -> String {
    let end = format!("-{number}");
    let kept: String = name.chars().take(LONGEST_NAME - end.len()).collect();
    format!("{}{end}", kept.trim_end_matches(['-', '.']))
}

/// A path of a data cache.
pub(super) fn clean_path(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.contains([':', '\\'])
            && !part.contains(char::is_control)
    };
    (2..=512).contains(&text.chars().count())
        && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

/// A bucket of data caches.
pub(super) fn bucket(text: &str) -> bool {
    text.len() <= 63 && ends_alphanumeric(text) && lower(text, "-") && text != "eci-system"
}

/// The address of a file on a web server, without a login.
pub(super) fn url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@')
    };
    (8..=2048).contains(&text.chars().count())
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && rest.is_some_and(host)
}

/// An option of an NFS mount.
pub(super) fn mount_option(text: &str) -> bool {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    (1..=64).contains(&text.len())
        && !name.is_empty()
        && lower(name, "_")
        && value.is_none_or(|value| !value.is_empty() && chars(value, "._:/-"))
}

/// The ID of a repository.
pub(super) fn repository(text: &str) -> bool {
    let part = |part: &str| {
        part.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') && chars(part, "._-")
    };
    text.len() <= 193 && text.split('/').count() <= 2 && text.split('/').all(part)
}

/// A branch, tag or commit.
pub(super) fn revision(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && chars(text, "._/-")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> bool;

    #[test]
    fn names_become_names_that_an_api_server_takes() {
        for (text, becomes) in [
            ("web", Some("web")),
            ("Web_Front 1", Some("web-front-1")),
            ("-a.-b-.", Some("a.b")),
            ("选择器", None),
            ("---", None),
            ("", None),
        ] {
            assert_eq!(name(text).as_deref(), becomes, "{text}");
        }
        let long = name(&"x".repeat(200)).unwrap();
        assert_eq!(long.len(), 63);
        assert_eq!(numbered(&long, 12).len(), 63);
        assert_eq!(numbered("web", 2), "web-2");
    }

    #[test]
    fn what_the_schemas_refuse_is_refused() {
        assert!(id("vsw-1a", "vsw-"));
        for bad in ["vsw-", "vsw-A", "sg-1", "vsw-a,"] {
            assert!(!id(bad, "vsw-"), "{bad}");
        }
        let table: [(Check, &[&str], &[&str]); 9] = [
            (label_value, &["", "a", "A_b.c-1"], &["-a", "a-", "a b", "ä"]),
            (key, &["a", "example.com/a", "A_b"], &["", "/a", "a/", "Example.com/a", "a/b/c", "-a"]),
            (
                registry_host,
                &["r.example.com", "10.0.0.1:5000"],
                &["*", "https://a", "a/b", "a:", "a:123456"],
            ),
            (clean_path, &["/a", "/a/b.c"], &["", "/", "a", "/a/", "//a", "/a/../b", "/a:b"]),
            (bucket, &["a", "models-1"], &["", "eci-system", "A", "-a", "a_b"]),
            (url, &["https://a/b?c", "http://a"], &["ftp://a", "https://", "https://u:p@a/b", "https://a b"]),
            (mount_option, &["nolock", "vers=3"], &["", "=3", "a=", "A=1", "a b"]),
            (repository, &["a/b", "a", "Qwen/Qwen2.5-7B"], &["", "a/b/c", "/a", "a/", "-a"]),
            (role_arn, &["acs:ram::1234:role/x"], &["acs:ram::a:role/x", "acs:ram::1:role/", "x"]),
        ];
        for (number, (holds, good, bad)) in table.iter().enumerate() {
            for text in *good {
                assert!(holds(text), "{number}: {text}");
            }
            for text in *bad {
                assert!(!holds(text), "{number}: {text}");
            }
        }
    }
}
