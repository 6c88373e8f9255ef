//! What the API server answers to an eviction, by meaning.
//!
//! One status code has several meanings, each with its own rule (`pods/eviction` in Kubernetes 1.33–1.37,
//! `pkg/registry/core/pod/storage/eviction.go`):
//!
//! | code | how it is told apart | meaning |
//! | --- | --- | --- |
//! | 2xx | | [`Accepted`](Answer::Accepted) |
//! | 429 | cause `DisruptionBudget`, no Retry-After | [`BudgetExhausted`](Answer::BudgetExhausted) |
//! | 429 | cause `DisruptionBudget` and Retry-After | [`BudgetNotProcessed`](Answer::BudgetNotProcessed) |
//! | 429 | no such cause | [`Overloaded`](Answer::Overloaded) |
//! | 409 | `details.kind` poddisruptionbudgets | [`BudgetContended`](Answer::BudgetContended): the server gave up after 20 tries |
//! | 409 | `details.kind` Pod, text about the UID | [`StaleUid`](Answer::StaleUid): the budget was charged all the same |
//! | 409 | else | [`PodChanged`](Answer::PodChanged): a pending pod changed under the server's 20 tries |
//! | 403 | cause NamespaceTerminating, or text of it | [`NamespaceTerminating`](Answer::NamespaceTerminating) |
//! | 403 | `details.kind` poddisruptionbudget(s) | [`BudgetFull`](Answer::BudgetFull) (2,000 entries) or [`BudgetNegative`](Answer::BudgetNegative) |
//! | 403 | text of a webhook | [`WebhookRefused`](Answer::WebhookRefused) |
//! | 403, 401 | else | [`NotPermitted`](Answer::NotPermitted) |
//! | 404 | | [`Gone`](Answer::Gone) |
//! | 500 | the text about more than one budget | [`SeveralBudgets`](Answer::SeveralBudgets) |
//! | any | text of an admission webhook | [`WebhookRefused`](Answer::WebhookRefused) |
//! | 400, 405, 413, 415, 422 | | [`Invalid`](Answer::Invalid): sent again it is refused again |
//! | other 5xx | | [`ServerFailed`](Answer::ServerFailed) |
//! | none | | [`Unknown`](Answer::Unknown) (perhaps done) or [`NotSent`](Answer::NotSent) |

use std::time::Duration;

/// A reply that is no success: code and metav1.Status, as far as they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// HTTP status code.
    pub code: u16,
    /// `reason`.
    pub reason: &'a str,
    /// `message`.
    pub message: &'a str,
    /// `details.kind`.
    pub kind: &'a str,
    /// `details.causes`: reason and message of each.
    pub causes: &'a [(&'a str, &'a str)],
    /// `details.retryAfterSeconds`, or the header Retry-After, in seconds; 0 counts as none.
    pub retry_after: Option<u32>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A success: 200 or 201.
    Success,
    /// A reply that is no success.
    Refused(Refusal<'a>),
    /// No reply that could be read, though the request may have arrived: time-out, broken connection.
    Lost,
    /// The request cannot have arrived: connection refused, no TLS session.
    NotSent,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The pod is being deleted.
    Accepted,
    /// The budget allows none now. With the server's own words.
    BudgetExhausted(String),
    /// The budget's controller has not seen its newest spec, or the pod changed while it was judged.
    BudgetNotProcessed,
    /// The server is busy. Wait as long before any other request.
    Overloaded(Duration),
    /// Too many at once on one budget.
    BudgetContended,
    /// The pod of that name is another one. The budget has been charged for up to two minutes.
    StaleUid,
    /// The pod changed while the server judged it.
    PodChanged,
    /// `disruptedPods` of the budget is full.
    BudgetFull,
    /// `disruptionsAllowed` of the budget is negative.
    BudgetNegative,
    /// More than one budget selects the pod; the API server can't evict it.
    SeveralBudgets,
    /// An admission webhook or policy refuses. With its words.
    WebhookRefused(String),
    /// The namespace is being deleted, and the pod with it.
    NamespaceTerminating,
    /// The operator has no permission. With the server's words.
    NotPermitted(String),
    /// The pod is gone.
    Gone,
    /// The request itself is refused. With the server's words.
    Invalid(String),
    /// The server failed. With its words.
    ServerFailed(String),
    /// Nobody knows whether it was done.
    Unknown,
    /// It was not done.
    NotSent,
}

impl Answer {
    /// The word in metrics: CamelCase, stable, one of [`KINDS`](Self::KINDS).
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::BudgetExhausted(_) => "BudgetExhausted",
            Self::BudgetNotProcessed => "BudgetNotProcessed",
            Self::Overloaded(_) => "Overloaded",
            Self::BudgetContended => "BudgetContended",
            Self::StaleUid => "StaleUid",
            Self::PodChanged => "PodChanged",
            Self::BudgetFull => "BudgetFull",
            Self::BudgetNegative => "BudgetNegative",
            Self::SeveralBudgets => "SeveralBudgets",
            Self::WebhookRefused(_) => "WebhookRefused",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::NotPermitted(_) => "NotPermitted",
            Self::Gone => "Gone",
            Self::Invalid(_) => "Invalid",
            Self::ServerFailed(_) => "ServerFailed",
            Self::Unknown => "Unknown",
            Self::NotSent => "NotSent",
        }
    }

    /// Every word of [`kind`](Self::kind).
    pub const KINDS: &'static [&'static str] = &[
        "Accepted",
        "BudgetExhausted",
        "BudgetNotProcessed",
        "Overloaded",
        "BudgetContended",
        "StaleUid",
        "PodChanged",
        "BudgetFull",
        "BudgetNegative",
        "SeveralBudgets",
        "WebhookRefused",
        "NamespaceTerminating",
        "NotPermitted",
        "Gone",
        "Invalid",
        "ServerFailed",
        "Unknown",
        "NotSent",
    ];
}

/// Wait after an overload that names no time.
const OVERLOAD_WAIT: Duration = Duration::from_secs(1);
/// Longest wait after an overload: a spot instance has no more time than that.
const LONGEST_OVERLOAD_WAIT: Duration = Duration::from_secs(10);
/// The cause of a refusal that a budget is the reason for.
const BUDGET_CAUSE: &str = "DisruptionBudget";

/// What a reply to an eviction means. Any input is safe; foreign text is cut to [`super::why::TEXT_LIMIT`].
pub fn classify(reply: &Reply<'_>) -> Answer {
    match reply {
        Reply::Success => Answer::Accepted,
        Reply::Lost => Answer::Unknown,
        Reply::NotSent => Answer::NotSent,
        Reply::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal<'_>) -> Answer {
    let words = || super::why::foreign(refusal.message);
    let by_webhook = refusal.message.contains("admission webhook")
        || refusal.message.contains("ValidatingAdmissionPolicy")
        || refusal.message.contains("failed calling webhook");
    let budget = refusal.causes.iter().find(|(reason, _)| *reason == BUDGET_CAUSE);
    // Both forms occur: the resource in conflicts, the singular in the two refusals with 403.
    let about_budget = refusal.kind.to_ascii_lowercase().starts_with("poddisruptionbudget");
    match refusal.code {
        200..=299 => Answer::Accepted,
        429 => match (budget, refusal.retry_after.filter(|seconds| *seconds > 0)) {
            (Some(_), Some(_)) => Answer::BudgetNotProcessed,
            (Some((_, message)), None) => Answer::BudgetExhausted(super::why::foreign(message)),
            (None, _) if by_webhook => Answer::WebhookRefused(words()),
            (None, Some(seconds)) => {
                Answer::Overloaded(Duration::from_secs(seconds.into()).min(LONGEST_OVERLOAD_WAIT))
            }
            (None, None) => Answer::Overloaded(OVERLOAD_WAIT),
        },
        409 if about_budget => Answer::BudgetContended,
        409 if refusal.message.contains("UID in") => Answer::StaleUid,
        409 => Answer::PodChanged,
        403 if is_namespace_terminating(refusal) => Answer::NamespaceTerminating,
        403 if (about_budget || budget.is_some()) && refusal.message.contains("is negative") => {
            Answer::BudgetNegative
        }
        403 if (about_budget || budget.is_some()) && refusal.message.contains("too big") => {
            Answer::BudgetFull
        }
        404 if refusal.kind.is_empty() && refusal.reason != "NotFound" => Answer::ServerFailed(words()),
        404 => Answer::Gone,
        500 if refusal.message.contains("more than one PodDisruptionBudget") => Answer::SeveralBudgets,
        _ if by_webhook => Answer::WebhookRefused(words()),
        401 | 403 => Answer::NotPermitted(words()),
        400 | 405 | 413 | 415 | 422 => Answer::Invalid(words()),
        504 => Answer::Unknown,
        _ => Answer::ServerFailed(words()),
    }
}

fn is_namespace_terminating(refusal: &Refusal<'_>) -> bool {
    refusal.causes.iter().any(|(reason, _)| *reason == "NamespaceTerminating")
        || refusal.message.contains("because it is being terminated")
}
