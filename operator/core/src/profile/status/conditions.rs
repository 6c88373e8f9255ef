//! The conditions of a profile: how one is set, and what a change of them means to people.

use eci_api::condition::{ConditionType, MESSAGE_LIMIT, ProfileReason, whole_seconds};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The conditions of a profile while they are made.
pub(super) struct Conditions {
    pub(super) list: Vec<Condition>,
    pub(super) generation: i64,
    pub(super) now: Timestamp,
}

impl Conditions {
    /// Sets one, in its place. Its transition time moves only with its status.
    pub(super) fn set(
        &mut self,
        type_: ConditionType,
        status: Option<bool>,
        reason: ProfileReason,
        message: &str,
    ) {
        let status = word(status);
        let place = self.list.iter().position(|condition| condition.type_ == type_.as_str());
        let since = place
            .and_then(|place| self.list.get(place))
            .filter(|condition| condition.status == status)
            .map_or_else(
                || Time(whole_seconds(self.now)),
                |condition| condition.last_transition_time.clone(),
            );
        let condition = Condition {
            type_: type_.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.chars().take(MESSAGE_LIMIT).collect(),
            last_transition_time: since,
            observed_generation: Some(self.generation),
        };
        match place.and_then(|place| self.list.get_mut(place)) {
            Some(known) => *known = condition,
            None => self.list.push(condition),
        }
    }

    /// The message that a condition has, if it says that already.
    pub(super) fn message(
        &self,
        type_: ConditionType,
        status: Option<bool>,
        reason: ProfileReason,
    ) -> Option<String> {
        let known = self.list.iter().find(|condition| condition.type_ == type_.as_str())?;
        let same = known.status == word(status) && known.reason == reason.as_str();
        same.then(|| known.message.clone())
    }

    pub(super) fn remove(&mut self, type_: ConditionType) {
        self.list.retain(|condition| condition.type_ != type_.as_str());
    }
}

const fn word(status: Option<bool>) -> &'static str {
    match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    }
}

/// Something that people are told about a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether somebody has to look after it.
    pub warning: bool,
    /// In a word.
    pub reason: String,
    /// In a sentence.
    pub message: String,
}

/// The conditions whose changes are told, with the status that is a fault.
const TOLD: [(ConditionType, &str); 6] = [
    (ConditionType::Accepted, "False"),
    (ConditionType::Conflicted, "True"),
    (ConditionType::Stalled, "True"),
    (ConditionType::NetworkReady, "False"),
    (ConditionType::PriceLimitSufficient, "False"),
    (ConditionType::EvictionReady, "False"),
];

/// What is to be told of a change of conditions: faults that are new or have another reason, faults that are no more, and
/// that the profile is ready. What only says the same in other words is not.
pub fn told(before: &[Condition], after: &[Condition]) -> Vec<Told> {
    fn of<'a>(all: &'a [Condition], type_: &str) -> Option<&'a Condition> {
        all.iter().find(|condition| condition.type_ == type_)
    }
    let mut words: Vec<Told> = Vec::new();
    let mut tell = |warning: bool, condition: &Condition| {
        let said = words.iter().any(|word| word.reason == condition.reason);
        // One that is not valid is stalled for the same reason.
        if !said {
            let (reason, message) = (condition.reason.clone(), condition.message.clone());
            words.push(Told { warning, reason, message });
        }
    };
    for (type_, fault) in TOLD {
        let type_ = type_.as_str();
        let (was, is) = (of(before, type_), of(after, type_));
        let was_fault = was.filter(|condition| condition.status == fault);
        let is_fault = is.filter(|condition| condition.status == fault);
        match (was_fault, is_fault) {
            (was, Some(is)) if was.is_none_or(|was| was.reason != is.reason) => tell(true, is),
            (Some(_), None) => {
                if let Some(is) = is {
                    tell(false, is);
                }
            }
            _ => {}
        }
    }
    let ready = ConditionType::Ready.as_str();
    let is_ready = |condition: &&Condition| condition.status == "True";
    let (was, is) = (of(before, ready).filter(is_ready), of(after, ready).filter(is_ready));
    if let Some(is) = is
        && was.is_none_or(|was| was.reason != is.reason)
    {
        tell(false, is);
    }
    words
}
