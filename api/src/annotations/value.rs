//! What the value of an annotation may be.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value as Json;

/// The type of an annotation's value. Its `Display` says what is expected, as in "must be …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Some of these words in the order of preference, with commas.
    Words(&'static [&'static str]),
    /// A whole number in a range, both ends included.
    Integer {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// Whole numbers with commas.
    Integers,
    /// A price per hour with at most three decimals.
    Price,
    /// An ID that starts with the prefix.
    Id(&'static str),
    /// IDs that start with the prefix, with commas.
    Ids {
        /// How each starts.
        prefix: &'static str,
        /// The most that the cloud takes; `None` when no limit is documented.
        most: Option<usize>,
    },
    /// IDs of Container Registry instances, each with its region before a colon when it is another one.
    AcrInstances,
    /// Words with commas.
    List,
    /// Sizes and instance types in the order of preference, with commas.
    Sizes,
    /// A name and a version with `=`.
    Version,
    /// An amount of storage.
    Storage,
    /// A bandwidth in bits per second with a unit.
    Bandwidth,
    /// An IPv4 or IPv6 address.
    Address,
    /// A JSON array of objects with `host` and `ip`.
    Hosts,
    /// Keys and values with colons, separated by commas, at most this many.
    Tags(usize),
    /// Any JSON text.
    Json,
    /// An absolute path.
    Path,
    /// Any text that is not empty.
    Text,
}

impl Value {
    /// Whether `text` is such a value.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Bool => matches!(text, "true" | "false"),
            Self::Word(words) => words.contains(&text),
            Self::Words(words) => text.split(',').all(|word| words.contains(&word)),
            Self::Integer { min, max } => {
                is_digits(text) && text.parse::<i64>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::Integers => text.split(',').all(is_digits),
            Self::Price => is_price(text),
            Self::Id(prefix) => is_id(text, prefix),
            Self::Ids { prefix, most } => {
                text.split(',').all(|id| is_id(id, prefix))
                    && most.is_none_or(|most| text.split(',').count() <= most)
            }
            Self::AcrInstances => text.split(',').all(|item| {
                let (region, id) = item.rsplit_once(':').map_or((None, item), |(r, id)| (Some(r), id));
                region.is_none_or(is_word) && is_id(id, "cri-")
            }),
            Self::List => text.split(',').all(is_printed),
            Self::Sizes => text.split(',').all(is_size),
            Self::Version => text
                .split_once('=')
                .is_some_and(|(name, version)| is_word(name) && version.split('.').all(is_digits)),
            Self::Storage => is_amount(text, &["Ki", "Mi", "Gi", "Ti", "k", "M", "G", "T", ""]),
            Self::Bandwidth => is_amount(text, &["k", "K", "M", "G", ""]),
            Self::Address => text.parse::<IpAddr>().is_ok(),
            Self::Hosts => is_hosts(text),
            Self::Tags(most) => {
                let tag = |item: &str| item.split_once(':').is_some_and(|(key, _)| !key.trim().is_empty());
                text.split(',').all(tag) && text.split(',').count() <= most
            }
            Self::Json => serde_json::from_str::<Json>(text).is_ok(),
            Self::Path => text.starts_with('/') && !text.contains(char::is_control),
            Self::Text => !text.trim().is_empty(),
        }
    }

    /// A CEL expression that is true when `text`, an expression for a string, is such a value; `None` for types that
    /// the API server is not asked to judge.
    pub(crate) fn cel(self, text: &str) -> Option<String> {
        let words = |words: &[&str]| words.iter().map(|w| format!("'{w}'")).collect::<Vec<_>>().join(", ");
        Some(match self {
            Self::Bool => format!("{text} in ['true', 'false']"),
            Self::Word(list) => format!("{text} in [{}]", words(list)),
            Self::Words(list) => format!("{text}.matches('^({0})(,({0}))*$')", list.join("|")),
            Self::Integer { min, max } => {
                format!("{text}.matches('^[0-9]{{1,10}}$') && int({text}) >= {min} && int({text}) <= {max}")
            }
            Self::Integers => format!("{text}.matches('^[0-9]+(,[0-9]+)*$')"),
            Self::Bandwidth => format!("{text}.matches('^[1-9][0-9]*[kKMG]?$')"),
            Self::Id(prefix) => format!("{text}.matches('^{prefix}[a-zA-Z0-9-]+$')"),
            Self::Path => format!("{text}.startsWith('/')"),
            _ => return None,
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("\"true\" or \"false\""),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Words(words) => write!(f, "one or more of {} with commas between them", words.join(", ")),
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Integers => f.write_str("whole numbers with commas between them"),
            Self::Price => f.write_str("a price per hour above 0 with at most three decimals, such as 0.5"),
            Self::Id(prefix) => write!(f, "an ID that starts with {prefix}"),
            Self::Ids { prefix, most } => {
                write!(f, "IDs that start with {prefix}, with commas between them")?;
                most.map_or(Ok(()), |most| write!(f, ", at most {most}"))
            }
            Self::AcrInstances => {
                f.write_str("IDs such as cri-…, or region:cri-… for another region, with commas between them")
            }
            Self::List => f.write_str("words without spaces, with commas between them"),
            Self::Sizes => f.write_str(
                "sizes such as 2-4Gi and instance types such as ecs.c6.xlarge, with commas between them",
            ),
            Self::Version => f.write_str("a name and a version, such as tesla=525.85.12"),
            Self::Storage => f.write_str("an amount of storage, such as 50Gi"),
            Self::Bandwidth => f.write_str("a bandwidth, such as 10M"),
            Self::Address => f.write_str("an IP address"),
            Self::Hosts => f.write_str("a JSON array of objects with host and ip"),
            Self::Tags(most) => write!(f, "at most {most} tags such as key:value with commas between them"),
            Self::Json => f.write_str("JSON"),
            Self::Path => f.write_str("an absolute path"),
            Self::Text => f.write_str("a text that is not empty"),
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_printed(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(is_word)
}

fn is_price(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').map_or((text, None), |(w, d)| (w, Some(d)));
    is_digits(whole)
        && decimals.is_none_or(|d| is_digits(d) && d.len() <= 3)
        && text.bytes().any(|b| (b'1'..=b'9').contains(&b))
}

fn is_amount(text: &str, units: &[&str]) -> bool {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    is_digits(digits) && !digits.starts_with('0') && units.contains(&unit)
}

/// `2-4Gi`, `0.5-1Gi` or `ecs.c6.xlarge`.
fn is_size(text: &str) -> bool {
    let number = |text: &str| text.split('.').count() <= 2 && text.split('.').all(is_digits);
    let pair = |text: &str| {
        text.split_once('-')
            .is_some_and(|(cpu, memory)| number(cpu) && memory.strip_suffix("Gi").is_some_and(number))
    };
    let type_ =
        |text: &str| text.starts_with("ecs.") && text.split('.').count() == 3 && text.split('.').all(is_word);
    pair(text) || type_(text)
}

fn is_hosts(text: &str) -> bool {
    let host = |item: &Json| {
        item.get("host").and_then(Json::as_str).is_some_and(is_printed)
            && item.get("ip").and_then(Json::as_str).is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
    };
    serde_json::from_str::<Vec<Json>>(text).is_ok_and(|items| items.iter().all(host))
}
