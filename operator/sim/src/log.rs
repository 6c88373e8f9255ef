//! What was called, for tests and people. Holds no secret.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Most calls that are kept one by one.
const RECENT_CALLS: usize = 500;

/// Most decoded requests that are kept for each action.
const RECENT_REQUESTS: usize = 50;

/// A call and what its caller saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// When it arrived, in the world's time.
    pub at: Timestamp,
    /// Action.
    pub action: String,
    /// Client token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// `OK`, the code of an error, or how the answer was lost: `closed`, `silence`, `truncated`, `notJson`.
    pub answer: String,
}

/// Calls so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    /// How many, by action and answer.
    pub counts: BTreeMap<String, BTreeMap<String, u64>>,
    /// The newest, oldest first.
    pub recent: VecDeque<CallRecord>,
}

impl Calls {
    /// How many calls of an action there were, whatever the answer.
    pub fn of(&self, action: &str) -> u64 {
        self.counts.get(action).map_or(0, |answers| answers.values().sum())
    }
}

/// Decoded parameters of the newest requests, by action, oldest first; values of secrets are digests.
pub type Requests = BTreeMap<String, VecDeque<BTreeMap<String, String>>>;

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) calls: Calls,
    pub(crate) requests: Requests,
}

impl Log {
    pub(crate) fn call(&mut self, record: CallRecord) {
        let answers = self.calls.counts.entry(record.action.clone()).or_default();
        *answers.entry(record.answer.clone()).or_default() += 1;
        push(&mut self.calls.recent, record, RECENT_CALLS);
    }

    pub(crate) fn request(&mut self, action: &str, parameters: BTreeMap<String, String>) {
        push(self.requests.entry(action.to_owned()).or_default(), parameters, RECENT_REQUESTS);
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}
