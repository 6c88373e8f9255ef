//! What is said to people: meanings become reasons, situations become conditions.

use eci_api::condition::{ConditionType, Reason, Wanted};

use crate::cloud::{CloudError, Meaning};

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Passes by itself, soon.
    Transient,
    /// Passes by itself or by somebody's hand, in minutes; after half an hour somebody should look.
    Slow,
    /// Does not pass without a person. Tried again on a slow clock all the same.
    Stuck,
}

/// The one place that turns a meaning into a reason, a class, and what to do.
pub fn explain(error: &CloudError) -> (Reason, Class, String) {
    let (reason, class, advice) = match error.meaning {
        Meaning::NotSent => (
            Reason::CloudUnavailable,
            Class::Transient,
            "The cloud's endpoint cannot be reached; check DNS, the network policy and --endpoint.",
        ),
        Meaning::Unknown => (
            Reason::CloudUnavailable,
            Class::Transient,
            "No usable answer from the cloud; it is asked again.",
        ),
        Meaning::NoCredentials => (
            Reason::CredentialsMissing,
            Class::Stuck,
            "The operator has no cloud credentials; create the Secret that the chart value credentials.existingSecret names, with the keys access-key-id and access-key-secret; it is read without a restart. Or choose another source by credentials.source.",
        ),
        Meaning::BadCredentials => (
            Reason::CredentialsRejected,
            Class::Stuck,
            "The cloud does not accept the operator's access key, token or role; replace it, or correct the role's trust policy.",
        ),
        Meaning::ClockSkew => (
            Reason::ClockSkew,
            Class::Stuck,
            "The clock of the operator's node and the cloud's differ by more than 15 minutes; correct the node's clock.",
        ),
        Meaning::Denied => (
            Reason::PermissionDenied,
            Class::Stuck,
            "Grant the operator's RAM identity the permission that the message names.",
        ),
        Meaning::AccountRestricted => (
            Reason::AccountRestricted,
            Class::Stuck,
            "The account may not use ECI; activate the service or resolve the restriction in the console.",
        ),
        Meaning::Throttled => {
            (Reason::Throttled, Class::Transient, "The cloud asks for fewer calls; the operator slows down.")
        }
        Meaning::Busy => {
            (Reason::CloudBusy, Class::Transient, "The cloud is busy with this resource; it is asked again.")
        }
        Meaning::QuotaExceeded => {
            (Reason::QuotaExceeded, Class::Slow, "Raise the quota or delete resources that nobody uses.")
        }
        Meaning::NoStock => (
            Reason::NoStock,
            Class::Slow,
            "The zone has no stock; add a vSwitch of another zone to spec.network.vSwitchIDs.",
        ),
        Meaning::NoAddress => (
            Reason::VSwitchFull,
            Class::Slow,
            "No free address is left; add another vSwitch to spec.network.vSwitchIDs or extend the EIP pool.",
        ),
        Meaning::Arrears => (Reason::Arrears, Class::Slow, "The account has unpaid bills."),
        Meaning::TokenMismatch | Meaning::NotFound | Meaning::Invalid => (
            Reason::CloudRefused,
            Class::Stuck,
            "The cloud refused the call; correct what its message names.",
        ),
    };
    // Not the request's ID: it is new at each try, and a message that is new is a write of the status.
    let code = error.code.as_ref().map(|code| format!(", code {code}")).unwrap_or_default();
    (reason, class, format!("{advice} ({}: {}{code})", error.action, error.message))
}

/// The class of a reason that [`explain`] gave, and a meaning that stands for it: a recorded refusal has no more.
pub(super) fn class_of(reason: Reason) -> (Class, Meaning) {
    match reason {
        Reason::CloudUnavailable | Reason::Throttled | Reason::CloudBusy => {
            (Class::Transient, Meaning::Throttled)
        }
        Reason::QuotaExceeded | Reason::NoStock | Reason::VSwitchFull | Reason::Arrears => {
            (Class::Slow, Meaning::QuotaExceeded)
        }
        Reason::CredentialsMissing
        | Reason::CredentialsRejected
        | Reason::PermissionDenied
        | Reason::AccountRestricted
        | Reason::ClockSkew => (Class::Stuck, Meaning::BadCredentials),
        _ => (Class::Stuck, Meaning::Invalid),
    }
}

/// Where an object stands, in words.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    /// Whether the resource can be used; `None` when nobody knows.
    pub(super) ready: Option<bool>,
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) progress: Progress,
}

/// Whether the current generation is achieved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is, and nothing is under way.
    Achieved,
    /// It is not; work goes on or is waited for.
    Reconciling,
    /// It is not, and needs a person.
    Stalled,
    /// It is, but the resource is being replaced or changed.
    Updating,
    /// It is not, and the usable resource is being replaced or changed for it.
    Rolling,
    /// Suspended.
    Paused,
    /// It is being deleted, and somebody uses it.
    Blocked,
}

impl Situation {
    pub(super) fn new(ready: bool, reason: Reason, progress: Progress, message: impl Into<String>) -> Self {
        Self { ready: Some(ready), reason, message: message.into(), progress }
    }

    /// The conditions that say it. `Ready` stays true while a usable resource serves, whatever is under way.
    pub(super) fn conditions(&self) -> Vec<Wanted> {
        let want = |type_, status, reason| Wanted { type_, status, reason, message: self.message.clone() };
        let serving = self.ready == Some(true) && self.progress != Progress::Achieved;
        let ready = if serving {
            Wanted {
                type_: ConditionType::Ready,
                status: Some(true),
                reason: Reason::Available,
                message: "The resource is usable; see the other conditions for what is under way.".into(),
            }
        } else {
            want(ConditionType::Ready, self.ready, self.reason)
        };
        let mut all = vec![ready];
        let also = |type_| want(type_, Some(true), self.reason);
        match self.progress {
            Progress::Achieved => {}
            Progress::Reconciling => all.push(also(ConditionType::Reconciling)),
            Progress::Stalled => all.push(also(ConditionType::Stalled)),
            Progress::Updating => all.push(also(ConditionType::Updating)),
            Progress::Rolling => {
                all.extend([also(ConditionType::Reconciling), also(ConditionType::Updating)]);
            }
            Progress::Paused => all.push(also(ConditionType::Paused)),
            Progress::Blocked => all.push(also(ConditionType::DeletionBlocked)),
        }
        all
    }
}
