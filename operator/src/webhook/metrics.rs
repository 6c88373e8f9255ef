//! What is counted of admission. Every label has few values, all of them ours.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    resource: &'static str,
    outcome: &'static str,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The object stays as it is.
    Unchanged,
    /// It is changed.
    Changed,
    /// It is refused.
    Denied,
    /// There was no question that could be read.
    Malformed,
    /// It could not be answered.
    Failed,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "Unchanged",
            Self::Changed => "Changed",
            Self::Denied => "Denied",
            Self::Malformed => "Malformed",
            Self::Failed => "Failed",
        }
    }
}

/// The metrics of admission. Copies count together.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    expiry: Gauge<i64, AtomicI64>,
    programmed: Gauge<i64, AtomicI64>,
}

impl AdmissionMetrics {
    /// Registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Histogram::new([0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0]),
            expiry: Gauge::default(),
            programmed: Gauge::default(),
        };
        let help = "Questions of the API server to the webhook, by resource and what became of them";
        registry.register("admission_requests", help, metrics.requests.clone());
        registry.register_with_unit(
            "admission_duration",
            "Time that the webhook takes for an answer, from the last byte of the question",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "webhook_certificate_expiry_timestamp",
            "When the certificate of the webhook expires, in Unix time; 0 while there is none, or somebody else keeps it fresh",
            Unit::Seconds,
            metrics.expiry.clone(),
        );
        let help = "Whether the webhook configurations are as the profiles want them (1); 0 otherwise, and in standbys";
        registry.register("webhook_programmed", help, metrics.programmed.clone());
        metrics
    }

    pub(super) fn answered(&self, resource: &'static str, outcome: Outcome, took: Duration) {
        self.requests.get_or_create(&RequestLabels { resource, outcome: outcome.as_str() }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn certificate_expires(&self, at: i64) {
        self.expiry.set(at);
    }

    pub(super) fn programmed(&self, programmed: bool) {
        self.programmed.set(i64::from(programmed));
    }
}
