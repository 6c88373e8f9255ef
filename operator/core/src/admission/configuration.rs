//! The webhook configurations, as the API server is to have them.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use super::entries::{self, Entries, Entry, Failure, Reach};

/// How long the API server waits for an answer, in seconds.
pub const TIMEOUT_SECONDS: i32 = 3;
/// Path of reviews that may change pods.
pub const PODS_PATH: &str = "/pods";
/// Path of reviews that only check Services and DaemonSets.
pub const CHECKS_PATH: &str = "/checks";
/// Name of the entry for Services and DaemonSets.
const CHECKS: &str = "checks.eci-operator.io";

/// Where the API server finds the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A base URL, without a path: for an operator outside of the cluster.
    Url(String),
    /// A Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// What both configurations have.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Their name. It sorts before `vk-webhook`, the vendor's, which is therefore asked later.
    pub name: String,
    /// Whose end is theirs: the chart's ClusterRole, so that nothing is left after it was uninstalled.
    pub owner: Option<OwnerReference>,
    /// Where the operator is.
    pub target: Target,
    /// Certificates of authorities that the API server is to trust, as PEM; its own when empty.
    pub ca_bundle: String,
}

impl Frame {
    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            owner_references: self.owner.clone().map(|owner| vec![owner]),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), "eci-operator".to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    fn client(&self, path: &str) -> WebhookClientConfig {
        let ca_bundle = (!self.ca_bundle.is_empty()).then(|| ByteString(self.ca_bundle.clone().into_bytes()));
        match &self.target {
            Target::Url(url) => WebhookClientConfig {
                ca_bundle,
                url: Some(format!("{}{path}", url.trim_end_matches('/'))),
                service: None,
            },
            Target::Service { namespace, name } => WebhookClientConfig {
                ca_bundle,
                url: None,
                service: Some(ServiceReference {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    path: Some(path.to_owned()),
                    port: Some(443),
                }),
            },
        }
    }
}

fn rule(group: &str, resource: &str, operations: &[&str]) -> RuleWithOperations {
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    RuleWithOperations {
        api_groups: words(&[group]),
        api_versions: words(&["v1"]),
        operations: words(operations),
        resources: words(&[resource]),
        scope: Some("Namespaced".to_owned()),
    }
}

/// The configuration for pods that are created. Pods that exist, and their subresources, are never asked about.
pub fn mutating(frame: &Frame, entries: &Entries) -> MutatingWebhookConfiguration {
    let webhook = |entry: &Entry| MutatingWebhook {
        name: entry.name.clone(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: frame.client(PODS_PATH),
        failure_policy: Some(word(entry.failure).to_owned()),
        match_conditions: entry.condition.as_ref().map(|(name, expression)| {
            vec![MatchCondition { name: (*name).to_owned(), expression: expression.clone() }]
        }),
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(entry.namespaces.clone()),
        object_selector: Some(entry.objects.clone()),
        // A label that another webhook adds can be what a profile selects; a second answer adds nothing to a first.
        reinvocation_policy: Some("IfNeeded".to_owned()),
        rules: Some(vec![rule("", "pods", &["CREATE"])]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
    };
    MutatingWebhookConfiguration {
        metadata: frame.metadata(),
        webhooks: Some(entries.pods.iter().map(webhook).collect()),
    }
}

/// The configuration for what is only checked.
pub fn validating(frame: &Frame, reach: &Reach) -> ValidatingWebhookConfiguration {
    let webhook = ValidatingWebhook {
        name: CHECKS.to_owned(),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: frame.client(CHECKS_PATH),
        failure_policy: Some(word(Failure::Ignore).to_owned()),
        match_conditions: None,
        match_policy: Some("Equivalent".to_owned()),
        namespace_selector: Some(entries::namespaces_in(reach)),
        object_selector: Some(entries::all_objects()),
        rules: Some(vec![
            rule("", "services", &["CREATE", "UPDATE"]),
            rule("apps", "daemonsets", &["CREATE", "UPDATE"]),
        ]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
    };
    ValidatingWebhookConfiguration { metadata: frame.metadata(), webhooks: Some(vec![webhook]) }
}

const fn word(failure: Failure) -> &'static str {
    match failure {
        Failure::Ignore => "Ignore",
        Failure::Fail => "Fail",
    }
}

/// Whether `actual` says all that `wanted` says. The API server adds defaults, and others labels of their own; lists
/// are equal in length.
pub fn contains(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| actual.get(key).is_some_and(|actual| contains(actual, wanted)))
        }
        (Value::Array(actual), Value::Array(wanted)) => {
            actual.len() == wanted.len() && actual.iter().zip(wanted).all(|(a, w)| contains(a, w))
        }
        _ => actual == wanted,
    }
}
