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
