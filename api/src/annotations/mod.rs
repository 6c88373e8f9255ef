//! The annotations with which the vendor's virtual nodes are told how to run a pod, as data, and a check of them.
//!
//! They count on pods of virtual nodes only, when the pod is made only, and each value is a text. Facts: the vendor's
//! annotation page and spot guide as of 2026; the vendor's component ignores what it does not understand, so a typing
//! error costs money or protection without a word. That is why they are checked here.

mod catalogue;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

pub use catalogue::CATALOGUE;
pub use value::Value;

/// How the names of the vendor's annotations begin, but for two of Kubernetes.
pub const PREFIX: &str = "k8s.aliyun.com/";
/// Most findings of one check; more would help nobody.
pub const MAX_FINDINGS: usize = 50;
/// Longest piece of a foreign text in a finding, in characters.
const QUOTE: usize = 80;

/// One annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Its full name.
    pub name: &'static str,
    /// What its value may be.
    pub value: Value,
    /// Whether many pods may carry one value.
    pub scope: Scope,
    /// Who writes it.
    pub writer: Writer,
    /// The field of EciProfile that writes it, if one does.
    pub profile_field: Option<&'static str>,
    /// Where the facts come from.
    pub source: Source,
}

/// Whether many pods may carry one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A template or profile may give it to many pods.
    Template,
    /// The value (an address, an EIP) can belong to one pod at a time.
    OnePod,
}

/// Who writes an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The user.
    User,
    /// The user, before it was replaced by another name.
    Legacy,
    /// The virtual node, to report.
    System,
}

/// Where the facts about an annotation come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The vendor's page about annotations.
    AnnotationPage,
    /// The vendor's guide to spot instances.
    SpotGuide,
    /// Samples and older pages: not confirmed by a primary source.
    Secondary,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but perhaps not as it was meant.
    Warning,
    /// It cannot work.
    Error,
}

/// What is wrong with an annotation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The value is not of the type.
    #[error("must be {expected}, not {found:?}")]
    Value {
        /// The type.
        expected: Value,
        /// The value, cut to 80 characters.
        found: String,
    },
    /// It does nothing without another annotation.
    #[error("needs {other}{}", .value.map(|value| format!(": {value:?}")).unwrap_or_default())]
    Needs {
        /// The other annotation.
        other: &'static str,
        /// The value that it needs, if a particular one.
        value: Option<&'static str>,
    },
    /// Only one of the two can be meant.
    #[error("cannot be combined with {other}: set one of them")]
    Excludes {
        /// The other annotation.
        other: &'static str,
    },
    /// Another annotation wins.
    #[error("does nothing beside {other}, which wins")]
    Overruled {
        /// The other annotation.
        other: &'static str,
    },
    /// Nobody knows it.
    #[error("is not known, and the virtual node ignores what it does not know{}", .near.map(|near| format!(": is {near} meant?")).unwrap_or_default())]
    Unknown {
        /// A known name that differs by one or two letters.
        near: Option<&'static str>,
    },
    /// An older name.
    #[error("is a name of the past that newer virtual nodes may ignore")]
    Legacy,
    /// Reports of the virtual node.
    #[error("is written by the virtual node as a report; what it is set to has no effect")]
    WrittenBySystem,
}

/// Something that is wrong with the annotations of a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation} {problem}")]
pub struct Finding {
    /// Name of the annotation, cut to 80 characters.
    pub annotation: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub problem: Problem,
}

/// The annotation of that full name.
pub fn find(name: &str) -> Option<&'static Annotation> {
    CATALOGUE.iter().find(|annotation| annotation.name == name)
}

/// Everything that is wrong with the annotations of a pod or of its template, in the order of their names, at most
/// [`MAX_FINDINGS`]. Annotations of others are passed over. Any input is safe.
pub fn check(annotations: &BTreeMap<String, String>) -> Vec<Finding> {
    let each = annotations.iter().filter_map(|(name, text)| one(name, text));
    let mut findings: Vec<Finding> = each.chain(together(annotations)).take(MAX_FINDINGS).collect();
    findings.sort_by(|a, b| a.annotation.cmp(&b.annotation));
    findings
}

fn finding(annotation: &str, severity: Severity, problem: Problem) -> Finding {
    Finding { annotation: quote(annotation), severity, problem }
}

fn quote(text: &str) -> String {
    text.chars().take(QUOTE).collect()
}

/// What is wrong with an annotation by itself.
fn one(name: &str, text: &str) -> Option<Finding> {
    let Some(annotation) = find(name) else {
        let unknown = || finding(name, Severity::Warning, Problem::Unknown { near: near(name) });
        return name.starts_with(PREFIX).then(unknown);
    };
    match annotation.writer {
        Writer::System => Some(finding(name, Severity::Warning, Problem::WrittenBySystem)),
        Writer::Legacy => Some(finding(name, Severity::Warning, Problem::Legacy)),
        Writer::User if annotation.value.accepts(text) => None,
        Writer::User => {
            let problem = Problem::Value { expected: annotation.value, found: quote(text) };
            Some(finding(name, Severity::Error, problem))
        }
    }
}

/// A rule over two annotations.
enum Rule {
    /// The first does nothing without the second, with this value if one is given.
    Needs(&'static str, &'static str, Option<&'static str>),
    /// The first with this value cannot work without the second.
    Demands(&'static str, &'static str, &'static str),
    /// Not both.
    Excludes(&'static str, &'static str),
    /// The second wins when it has this value, or any if none is given.
    Overruled(&'static str, &'static str, Option<&'static str>),
}

use Rule::{Demands, Excludes, Needs, Overruled};

const POOL: &str = "k8s.aliyun.com/eci-privatepool-matchcriteria";
const POOL_ID: &str = "k8s.aliyun.com/eci-privatepool-id";
const SPOT: &str = "k8s.aliyun.com/eci-spot-strategy";
const PRICE: &str = "k8s.aliyun.com/eci-spot-price-limit";
const PINNED: &str = "k8s.aliyun.com/eci-imc-id";
const ACR: &str = "k8s.aliyun.com/acr-instance-ids";
const BUCKET: &str = "k8s.aliyun.com/eci-data-cache-bucket";
const LEVEL: &str = "k8s.aliyun.com/eci-data-cache-pl";
const IOPS: &str = "k8s.aliyun.com/eci-data-cache-provisionedIops";
const BURSTING: &str = "k8s.aliyun.com/eci-data-cache-burstingEnabled";
const NEW_EIP: &str = "k8s.aliyun.com/eci-with-eip";
const IPV6: &str = "k8s.aliyun.com/eci-enable-ipv6";
const IPV6_INTERNET: &str = "k8s.aliyun.com/eci-ipv6-bandwidth-enable";
const PERFECT: &str = "k8s.aliyun.com/imc-perfect-match";

/// What the annotations mean for each other.
const RULES: &[Rule] = &[
    Demands(POOL, "Target", POOL_ID),
    Needs(POOL_ID, POOL, Some("Target")),
    Demands(SPOT, "SpotWithPriceLimit", PRICE),
    Needs(PRICE, SPOT, Some("SpotWithPriceLimit")),
    Needs("k8s.aliyun.com/eci-spot-duration", SPOT, None),
    Needs("k8s.aliyun.com/eci-spot-fallback", SPOT, None),
    Needs("k8s.aliyun.com/eci-spot-release-strategy", SPOT, None),
    Overruled("k8s.aliyun.com/eci-auto-imc", PINNED, None),
    Overruled(PERFECT, PINNED, None),
    Overruled("k8s.aliyun.com/imc-match-count-request", PINNED, None),
    Overruled("k8s.aliyun.com/imc-match-count-request", PERFECT, Some("true")),
    Needs("k8s.aliyun.com/acr-service-arns", ACR, None),
    Needs("k8s.aliyun.com/acr-user-arns", ACR, None),
    Needs(LEVEL, BUCKET, None),
    Needs(IOPS, BUCKET, None),
    Needs(BURSTING, BUCKET, None),
    // Both of these make the disk an AutoPL one, which has no level.
    Excludes(IOPS, LEVEL),
    Excludes(BURSTING, LEVEL),
    Excludes("k8s.aliyun.com/eci-eip-instanceid", NEW_EIP),
    Needs("k8s.aliyun.com/eip-bandwidth", NEW_EIP, Some("true")),
    Needs("k8s.aliyun.com/eip-common-bandwidth-package-id", NEW_EIP, Some("true")),
    Needs("k8s.aliyun.com/eip-isp", NEW_EIP, Some("true")),
    Needs("k8s.aliyun.com/eip-internet-charge-type", NEW_EIP, Some("true")),
    Needs("k8s.aliyun.com/eip-public-ip-address-pool-id", NEW_EIP, Some("true")),
    Needs(IPV6_INTERNET, IPV6, Some("true")),
    Needs("k8s.aliyun.com/eci-ipv6-bandwidth", IPV6_INTERNET, Some("true")),
    Needs("k8s.aliyun.com/eci-fixed-ip-retain-hour", "k8s.aliyun.com/eci-fixed-ip", Some("true")),
];

/// What is wrong between annotations.
fn together(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = Finding> {
    // "false" switches a thing off: then it is as if it were not there.
    let text = |name: &str| annotations.get(name).map(String::as_str).filter(|text| *text != "false");
    let is = move |name: &str, value: Option<&str>| text(name).is_some_and(|t| value.is_none_or(|v| v == t));
    RULES.iter().filter_map(move |rule| {
        let (name, severity, problem) = match *rule {
            Needs(name, other, value) if is(name, None) && !is(other, value) => {
                (name, Severity::Warning, Problem::Needs { other, value })
            }
            Demands(name, value, other) if is(name, Some(value)) && !is(other, None) => {
                (name, Severity::Error, Problem::Needs { other, value: None })
            }
            Excludes(name, other) if is(name, None) && is(other, None) => {
                (name, Severity::Error, Problem::Excludes { other })
            }
            Overruled(name, other, value) if is(name, None) && is(other, value) => {
                (name, Severity::Warning, Problem::Overruled { other })
            }
            _ => return None,
        };
        Some(finding(name, severity, problem))
    })
}

/// The known name that `name` most resembles, if it is at most two letters away.
fn near(name: &str) -> Option<&'static str> {
    const MOST: usize = 2;
    let letters = name.chars().count();
    let close = |a: &&Annotation| a.writer == Writer::User && a.name.len().abs_diff(letters) <= MOST;
    let ranked = CATALOGUE.iter().filter(close).map(|a| (distance(name, a.name), a.name));
    ranked.min().filter(|(letters, _)| *letters <= MOST).map(|(_, name)| name)
}

/// How many letters must be put in, taken out or changed to get from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let best = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            (diagonal, left) = (above, best);
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or_default()
}
