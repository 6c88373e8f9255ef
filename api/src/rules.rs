//! Validation rules that several kinds share, so that one question is judged and answered in the same words.

use kube::core::{Message, Rule};

fn rule(expression: &str, message: &str) -> Rule {
    Rule::new(expression).message(Message::Message(message.to_owned()))
}

/// The root of every kind that owns a cloud resource.
pub(crate) fn name() -> Rule {
    rule(
        "size(self.metadata.name) <= 63",
        "metadata.name must have at most 63 characters: it becomes part of the cloud resource's name",
    )
}

/// A cache size, as `CacheSize::parse` reads it.
pub(crate) fn size_syntax() -> Rule {
    rule("self.matches('^[1-9][0-9]*(Gi|Ti)$')", "must be a whole number of Gi or Ti, such as 40Gi")
}

/// The range of a cache size. The field has at most ten characters, so that int() cannot overflow; what
/// [`size_syntax`] refuses passes here, so that only one message is shown.
pub(crate) fn size_range() -> Rule {
    rule(
        "!self.matches('^[1-9][0-9]*(Gi|Ti)$') || (self.endsWith('Gi') ? int(self.replace('Gi','')) >= 20 && int(self.replace('Gi','')) <= 32768 : int(self.replace('Ti','')) <= 32)",
        "must be between 20Gi and 32768Gi (32Ti)",
    )
}

/// Lengths of the keys of tags.
pub(crate) fn tag_keys() -> Rule {
    rule("self.all(k, size(k) >= 1 && size(k) <= 128)", "a key has 1 to 128 characters")
}

/// Keys of tags that are ours or the vendor's.
pub(crate) fn reserved_tag_keys() -> Rule {
    rule(
        "!self.exists(k, k.startsWith('eci-operator.io/') || k.startsWith('aliyun') || k.startsWith('acs:'))",
        "keys that start with eci-operator.io/, aliyun or acs: are reserved",
    )
}

/// Hosts of registries.
pub(crate) fn registry_hosts() -> Rule {
    rule(
        "self.all(r, r.host.matches('^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?$'))",
        "a host is a name or address with an optional port, without a scheme or path, such as registry.example.com:5000",
    )
}

/// A registry is listed because it needs something.
pub(crate) fn registry_entries() -> Rule {
    rule(
        "self.all(r, has(r.insecureSkipTLSVerify) || has(r.plainHTTP))",
        "each entry sets insecureSkipTLSVerify or plainHTTP; leave out registries that need neither",
    )
}

/// Lengths of the keys of labels: a prefix of 253 characters, a slash and a name of 63.
pub(crate) fn label_keys() -> Rule {
    rule("self.all(k, size(k) >= 1 && size(k) <= 317)", "a key has 1 to 317 characters")
}

/// An absolute path in the form that volume mounts take.
pub(crate) fn clean_path_syntax() -> Rule {
    rule(
        r"self.matches('^(/[^/:[:cntrl:]\\\\]+)+$')",
        "must be an absolute path without empty parts and without / at the end, colon, backslash or control character, such as /models/a",
    )
}

/// A path that means what it says.
pub(crate) fn clean_path_parts() -> Rule {
    rule(
        "!self.split('/').exists(part, part == '.' || part == '..')",
        "must be a clean path: no part of it is . or ..",
    )
}

/// A length of time in hours, minutes and seconds. Sixteen characters at most cannot overflow.
const DURATION: &str = "^([0-9]{1,6}(h|m|s))+$";

/// The form of a length of time.
pub(crate) fn duration_syntax() -> Rule {
    rule(
        &format!("self.matches('{DURATION}')"),
        "must be a length of time in hours, minutes and seconds, such as 30s or 1h30m",
    )
}

/// Its range; what [`duration_syntax`] refuses passes here.
pub(crate) fn duration_range(min: &str, max: &str) -> Rule {
    rule(
        &format!(
            "!self.matches('{DURATION}') || (duration(self) >= duration('{min}') && duration(self) <= duration('{max}'))"
        ),
        &format!("must be between {min} and {max}"),
    )
}

/// A quantity of Kubernetes that is not negative.
pub(crate) fn quantity(example: &str) -> Rule {
    rule(
        "isQuantity(self) && !self.startsWith('-')",
        &format!("must be a quantity that is not negative, such as {example}"),
    )
}
